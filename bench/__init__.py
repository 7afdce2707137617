"""Load generator, guards and budgets."""
