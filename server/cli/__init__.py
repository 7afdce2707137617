"""The command line: one module a command."""

from server.cli.command_line import main as main
