"""Exit statuses of the program; `docs/commands.md` has them as a table."""

CLEAN = 0
"""It did what it was asked for; of a server: it was asked to stop, and did."""

FAILED = 1
"""It could not start, or a part of it could not be ended; of a replay: it differs."""

USAGE = 2
"""A flag or a setting is wrong, and nothing was begun; of a log: it is damaged."""

NOT_FOUND = 3
"""A log has nothing of what was asked for, or several things of the name."""

SIGNALLED = 128
"""And the number of the signal that has ended a command, as shells have it."""
