"""The settings: how each is declared, read, explained and refused."""
