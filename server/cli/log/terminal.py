"""Where a command's output goes: how wide, whether in colour, whether through a pager."""

import contextlib
import os
import shlex
import sys
import time
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from server.cli import printing

WIDTH: Final = 80
"""Columns where nobody says how many there are."""

PATIENCE_S: Final = 1.0
"""How long something may take before it is said how far it is."""

NO_PAGER: Final = ("", "cat")
"""Values of PAGER that ask for none."""


class Piece(NamedTuple):
    """A part of a line.

    Attributes:
        style: as `rich` names it, such as `bold red`; empty: as the terminal has it.
    """

    text: str
    style: str = ""


Line = list[Piece]


def is_terminal() -> bool:
    """Whether people see the output as it is made."""
    return sys.stdout.isatty()


def width() -> int | None:
    """Columns that a line may have: of the terminal, or of COLUMNS; None where it may be of any
    length, since a program reads it.

    COLUMNS counts elsewhere than on a terminal too: `watch` sets it, and shows what does not fit
    no better than a terminal does. Source: ps(1) does the same.
    """
    if is_terminal():
        return _size().columns
    wanted = os.environ.get("COLUMNS", "")
    return int(wanted) or None if wanted.isascii() and wanted.isdigit() else None


def _size() -> os.terminal_size:
    import shutil  # with what packs archives, and most output goes elsewhere

    return shutil.get_terminal_size((WIDTH, 24))


def show(lines: Iterable[Line], *, pages: bool = True) -> None:
    """Print lines: in colour on a terminal, and through a pager where they are too many for it.

    What somebody else wrote is made harmless here: a piece has no control characters but ours.
    """
    if not is_terminal():
        for line in lines:
            sys.stdout.write(_plain(line) + "\n")
        return
    paint = _painter()
    made = [paint(line) for line in lines]
    pager = _pager() if pages and len(made) >= _size().lines else None
    if pager is None:
        sys.stdout.write("".join(f"{line}\n" for line in made))
        sys.stdout.flush()
        return
    import subprocess  # most output needs no pager

    environ = {"LESS": "FRX", **os.environ}
    with (
        contextlib.suppress(BrokenPipeError),  # who pages has enough
        subprocess.Popen(pager, stdin=subprocess.PIPE, env=environ) as child,  # noqa: S603 - the user's own choice
    ):
        assert child.stdin is not None
        text = "".join(f"{line}\n" for line in made)
        child.stdin.write(text.encode(sys.stdout.encoding, printing.ERRORS))
        child.stdin.close()


def _plain(line: Line) -> str:
    return "".join(printing.printable(piece.text) for piece in line).rstrip()


def _painter() -> Callable[[Line], str]:
    """Return what makes a line of the terminal's of ours: with `rich` in colour."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return _plain
    try:
        from rich import color, style  # an extra, and never on the serving path
    except ImportError:
        return _plain
    system = color.ColorSystem.STANDARD

    def paint(line: Line) -> str:
        shown = ((printing.printable(text), name) for text, name in line)
        return "".join(
            style.Style.parse(name).render(text, color_system=system) if name else text
            for text, name in shown
        ).rstrip()

    return paint


def _pager() -> list[str] | None:
    """The user's pager, where it is installed."""
    import shutil  # as in `_size`

    wanted = os.environ.get("PAGER", "less")
    if wanted in NO_PAGER:
        return None
    words = shlex.split(wanted)
    return words if words and shutil.which(words[0]) else None


class Progress:
    """Says on standard error how far something is, once it takes longer than `PATIENCE_S`.

    Args:
        what: is done, such as `searching`.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._begun = time.monotonic()
        self._is_shown = False
        self._is_wanted = sys.stderr.isatty()

    def __call__(self, done: int, total: int) -> None:
        """Take note of how much is done."""
        if not self._is_wanted or time.monotonic() - self._begun < PATIENCE_S:
            return
        if done < total:
            self._is_shown = True
            sys.stderr.write(f"\r{self._what}: {100 * done // max(1, total)} %\x1b[K")
        elif self._is_shown:
            self._is_shown = False
            sys.stderr.write("\r\x1b[K")
        sys.stderr.flush()
