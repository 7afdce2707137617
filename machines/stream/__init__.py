"""The machine of one client's stream: its states, its choices, its cut-off, its finish.

What decides which outputs a client gets comes in; how they are spelled as bytes does not.
"""
