"""The output of commands: text that somebody else wrote is shown, and steers no terminal.

A model's name, an id or a path may hold whatever a client, a provider or a file system let
through: escape sequences, line feeds that forge a row, marks that turn the reading direction.
"""

import codecs
import sys
import textwrap
import unicodedata
from collections.abc import Iterable
from typing import Final

COLUMNS: Final = 100
"""Width of a line of a report, as that of diagnostics on a terminal."""


PLAIN_SIGNS: Final = {"…": "~", "·": ".", "×": "x", "→": ">"}
"""The signs that commands draw with, where an encoding has them not: of the same width."""

ERRORS: Final = "turntape"
"""Name of the way in which what an encoding has not is written: `write_plainly`."""


def write_plainly(error: UnicodeError) -> tuple[str | bytes, int]:
    """Write a sign of ours in ASCII, and any other character as an escape: a handler of `codecs`.

    Raises:
        UnicodeError: it is of decoding.
    """
    if not isinstance(error, UnicodeEncodeError):
        raise error
    character = error.object[error.start]
    escape = character.encode("ascii", "backslashreplace").decode()
    return PLAIN_SIGNS.get(character, escape), error.start + 1


codecs.register_error(ERRORS, write_plainly)


def printable(text: str) -> str:
    """The text in one line, with everything that is not drawn in its place as an escape."""
    if text.isprintable():
        return text
    return "".join(map(_printable, text))


def _printable(character: str) -> str:
    if character.isprintable() or unicodedata.category(character) == "Zs":
        return character
    return character.encode("unicode_escape").decode()


def counted(count: int, what: str) -> str:
    """A number of things, in words: `1 stream`, `2 streams`."""
    return f"{count} {what}{'' if count == 1 else 's'}"


def columns(text: str) -> int:
    """How many columns a printable text has on a terminal: wide characters have two."""
    return len(text) if text.isascii() else sum(map(_columns, text))


def _columns(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def fit(text: str, width: int | None) -> str:
    """The text in one line of so many columns at the most; None: whole."""
    shown = printable(text)
    if width is None or columns(shown) <= width:
        return shown
    kept, used = [], 0
    for character in shown:
        used += _columns(character)
        if used > width - 1:
            break
        kept.append(character)
    return "".join(kept) + "…"


def padded(text: str, width: int) -> str:
    """The text in one line of just so many columns."""
    shown = fit(text, width)
    return shown + " " * (width - columns(shown))


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


def complain(*sentences: str) -> None:
    """Print what is wrong to stderr, in order with diagnostics: a sentence a line."""
    from server import diagnostics  # most commands have nothing to complain of

    for sentence in sentences:
        diagnostics.say(f"turntape: {printable(sentence)}")
