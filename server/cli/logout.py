"""`turntape logout`: removes the login of the server's Codex."""

import argparse

from server.cli import configured, login


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Declare the flags of all settings."""
    configured.add_arguments(command)


def run(options: argparse.Namespace) -> int:
    """Log the server's Codex out."""
    return login.log_out(configured.load_quiet(options))
