"""`turntape config`: every setting, its value and its source."""

import argparse
import os

from server.cli import configcheck, configured, printing
from server.config import load as configuration


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Declare the command's arguments; those of the settings come beside them."""
    command.add_argument(
        "--check", action="store_true", help="only say whether a server would take it"
    )
    configured.add_arguments(command)


def run(options: argparse.Namespace) -> int:
    """Show the configuration, or only whether it is one."""
    config = configured.load(options)
    if options.check:
        return configcheck.run(config, os.environ)
    rows = configuration.describe(config)
    width = max(len(row.name) for row in rows)
    for row in rows:
        printing.say(f"{row.name:<{width}}  {row.value}  ({row.source})  {row.meaning}")
    return 0
