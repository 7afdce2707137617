"""The output of commands: text that somebody else wrote is shown, and steers no terminal.

A model's name, an id or a path may hold whatever a client, a provider or a file system let
through: escape sequences, line feeds that forge a row, marks that turn the reading direction.
"""

import sys
import unicodedata
from collections.abc import Iterable

from server import diagnostics


def printable(text: str) -> str:
    """The text in one line, with everything that is not drawn in its place as an escape."""
    if text.isprintable():
        return text
    return "".join(map(_printable, text))


def _printable(character: str) -> str:
    if character.isprintable() or unicodedata.category(character) == "Zs":
        return character
    return character.encode("unicode_escape").decode()


def say(*lines: str) -> None:
    """Print lines to stdout, at once."""
    for line in lines:
        sys.stdout.write(printable(line) + "\n")
    sys.stdout.flush()


def say_each(lines: Iterable[str]) -> None:
    """Print many lines to stdout."""
    for line in lines:
        sys.stdout.write(printable(line) + "\n")


def complain(text: str) -> None:
    """Print what is wrong to stderr, in order with diagnostics."""
    diagnostics.say(f"turntape: {printable(text)}")
