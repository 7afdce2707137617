"""`turntape inspect`: an older name. Of a path it is `log`, of one request it is `show`."""

import argparse
from pathlib import Path
from typing import Final

from server.cli import printing, readback

SUCCESSORS: Final = {False: "turntape log PATH", True: "turntape show --all --log PATH ID"}
"""The commands to use instead, by whether one request was asked for."""


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    command.add_argument(
        "path", type=Path, metavar="PATH", help="a log's directory, or one file of it"
    )
    command.add_argument("--request", metavar="ID", help="one request or stream")


def run(options: argparse.Namespace) -> int:
    """List a log's streams, or print the records of one."""
    is_one = options.request is not None
    status = readback.inspect_command(options)
    printing.complain(f"inspect is an older name: use `{SUCCESSORS[is_one]}`")
    return status
