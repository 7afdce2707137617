"""`python -m server`: the command line, from a checkout."""

from server import program

program.run()
