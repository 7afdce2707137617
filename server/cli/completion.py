"""`turntape complete`: what a shell needs to complete the command line."""

import argparse
from pathlib import Path
from typing import Final

from server.cli import printing

FILES: Final = {"bash": "turntape.bash", "zsh": "_turntape", "fish": "turntape.fish"}
"""The file of each shell, named as it looks for it; `tests.tools.shellfiles` writes them."""

DIRECTORY: Final = Path(__file__).parent / "shell"
"""Where they are, with the manual page: the wheel installs them below `share/` as well."""


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    command.add_argument("shell", choices=tuple(FILES), help="the shell that is to complete")


def run(options: argparse.Namespace) -> int:
    """Print the file of a shell."""
    text = (DIRECTORY / FILES[options.shell]).read_text(encoding="utf-8")
    printing.say_each(text.splitlines())
    return 0
