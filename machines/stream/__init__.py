"""One client's stream: its states, its choices, where it is cut and how it finishes."""
