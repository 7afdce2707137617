"""The options of the commands over a log, as their parsers have them, for `docs/commands.md`."""

import argparse
import importlib
from typing import Final

from server.cli import commands, parser as parsers

OLDER: Final = ("replay", "inspect")
"""Older names of commands over a log."""

COMMANDS: Final = {
    each.name: each
    for each in commands.COMMANDS
    if each.module.startswith("server.cli.log.") or each.name in OLDER
}
"""The commands that have a section, by name."""

_ADDED: Final = " (default: %(default)s)"
"""The words that argparse adds to the help of a flag that can be negated, before Python 3.13."""


def options(name: str) -> str:
    """Return the table of a command's arguments and options."""
    parser = parsers.Parser(prog=f"turntape {name}")
    importlib.import_module(COMMANDS[name].module).add_arguments(parser)
    actions = [each for each in parser._actions if each.dest != "help"]
    actions.sort(key=lambda each: bool(each.option_strings))
    rows = [_row(each) for each in actions]
    return "\n".join(("| | |", "| --- | --- |", *rows))


def _row(option: argparse.Action) -> str:
    meaning = (option.help or "").removesuffix(_ADDED)
    return f"| {_cell(_names(option))} | {_cell(meaning)} |"


def _names(option: argparse.Action) -> str:
    """How an option is written, with what it takes."""
    value = _value(option)
    if not option.option_strings:
        return f"`{value}`"
    return ", ".join(f"`{flag} {value}`".replace(" `", "`") for flag in option.option_strings)


def _value(option: argparse.Action) -> str:
    if option.nargs == 0:
        return ""
    if option.metavar is not None:
        return str(option.metavar)
    if option.choices is not None:
        return "|".join(map(str, option.choices))
    return option.dest.upper()


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
