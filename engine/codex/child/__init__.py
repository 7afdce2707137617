"""The child process and what it lives in: its pipe, its home, its settings, its model catalog.

What starts or ends a process comes in, and what it is started with; it knows no turn.
"""
