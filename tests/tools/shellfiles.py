"""The files that make the command line known to shells and to `man`, made of its parser.

`python -m tests.tools.shellfiles` writes them, as `python -m tests.tools.redraw` does.
"""

import argparse
import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import shtab
from argparse_manpage import manpage

from server.cli import command_line as cli, completion, parser as parsers
from server.process import exits
from server.version import VERSION

MANUAL: Final = completion.DIRECTORY / "turntape.1"
"""The manual page."""

COLUMNS: Final = 10_000
"""Width of the usage lines: `man` wraps them, where versions of Python differ in how they do."""

_ADDED: Final = " (default: %(default)s)"
"""The words that argparse adds to the help of a flag that can be negated, before Python 3.13."""


def parser() -> parsers.Parser:
    """The parser of the command line, with the arguments of every command."""
    return _declared(cli.make_parser())


def _declared(one: parsers.Parser) -> parsers.Parser:
    one.declare_now()
    for action in one._actions:
        if action.help is not None:
            action.help = action.help.removesuffix(_ADDED)
        if action.type is Path:
            action.complete = shtab.FILE  # type: ignore[attr-defined]  # where shtab looks
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                _declared(below)
    return one


def completions() -> dict[Path, str]:
    """The file of each shell, by its path."""
    return {
        completion.DIRECTORY / name: shtab.complete(parser(), shell=shell)
        for shell, name in completion.FILES.items()
    }


def manual() -> str:
    """The manual page: no date is in it, for it is made of what the parser says."""
    whole = parser()
    about = {
        "project_name": f"turntape {VERSION}",
        "manual_title": "Turntape",
        "manual_section": 1,
        "date": "",
    }
    with _columns():
        text = str(manpage.Manpage(whole, about))
    head, _, rest = text.partition("\n.SH NAME\nturntape\n")
    summary = "an OpenAI\\-compatible server in front of Codex"
    return f"{head}\n.SH NAME\nturntape \\- {summary}\n{rest.rstrip()}\n{_STATUSES}{_FURTHER}"


_STATUSES: Final = f""".SH EXIT STATUS
{exits.CLEAN}: done. {exits.FAILED}: it failed, or something is wrong. {exits.USAGE}: a flag, a \
filter or a setting is wrong. {exits.NOT_FOUND}: of a log, nothing was found.
"""

_FURTHER: Final = """.SH ENVIRONMENT
.B turntape config
prints every variable, its value, its source and its meaning.
.SH FILES
.TP
.I ~/.local/state/turntape
what the server keeps, unless PROXY_DATA_DIR names another directory
"""


@contextlib.contextmanager
def _columns() -> Iterator[None]:
    """Have argparse wrap for the same width wherever this runs."""
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = str(COLUMNS)
    try:
        yield
    finally:
        del os.environ["COLUMNS"]
        if before is not None:
            os.environ["COLUMNS"] = before


def files() -> dict[Path, str]:
    """Every file, by its path."""
    return {**completions(), MANUAL: manual()}


def write() -> None:
    """Write all of them."""
    for path, text in files().items():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write()
