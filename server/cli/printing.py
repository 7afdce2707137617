"""The output of commands: text that somebody else wrote is shown, and steers no terminal.

A model's name, an id or a path may hold whatever a client, a provider or a file system let
through: escape sequences, line feeds that forge a row, marks that turn the reading direction.
"""

import sys
import textwrap
import unicodedata
from collections.abc import Iterable
from typing import Final

COLUMNS: Final = 100
"""Width of a line of a report, as that of diagnostics on a terminal."""


def printable(text: str) -> str:
    """The text in one line, with everything that is not drawn in its place as an escape."""
    if text.isprintable():
        return text
    return "".join(map(_printable, text))


def _printable(character: str) -> str:
    if character.isprintable() or unicodedata.category(character) == "Zs":
        return character
    return character.encode("unicode_escape").decode()


def fit(text: str, width: int) -> str:
    """Return a text in one line of so many columns at the most."""
    shown = printable(text)
    if columns(shown) <= width:
        return shown
    kept, used = [], 0
    for character in shown:
        used += _columns(character)
        if used > width - 1:
            break
        kept.append(character)
    return "".join(kept) + "…"


def columns(text: str) -> int:
    """Return how many columns a printable text has."""
    return len(text) if text.isascii() else sum(map(_columns, text))


def _columns(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def folded(text: str, indent: int) -> list[str]:
    """The text in lines of at most `COLUMNS`, those after the first with so many blanks before."""
    return textwrap.wrap(
        printable(text), COLUMNS, subsequent_indent=" " * indent, break_on_hyphens=False
    )


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
    from server import diagnostics  # most commands have nothing to complain of

    diagnostics.say(f"turntape: {printable(text)}")
