"""Writes what the commands on pages of `docs/` print: `python -m tests.tools.debugpage`.

A page names each command in a mark, `<!-- shown: show … -->`, and has what it prints behind it.
They read the transcripts, which are the same on every machine, so what they print is too.
With `--check` nothing is written, and the exit status says whether anything would change.
"""

import argparse
import contextlib
import difflib
import io
import os
import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from typing import Final

from server.cli import command_line as cli
from server.cli.log import picture
from tests.support.logs import logs

PAGE: Final = logs.ROOT / "docs" / "debugging.md"

PAGES: Final = (PAGE, logs.ROOT / "docs" / "commands.md")

_BLOCK: Final = re.compile(r"(<!-- shown: ([^\n]*) -->\n\n```text\n)(.*?)(```\n)", re.DOTALL)


def shown(line: str) -> str:
    """Return what a command prints on a terminal, under the line that it was asked for with."""
    out = io.StringIO()
    with contextlib.chdir(logs.ROOT), contextlib.redirect_stdout(out), _columns():
        cli.main(shlex.split(line))
    printed = "".join(part.rstrip() + "\n" for part in out.getvalue().splitlines())
    return f"$ turntape {line}\n{printed}"


@contextlib.contextmanager
def _columns() -> Iterator[None]:
    """Have what is printed fit a terminal."""
    before = os.environ.pop("COLUMNS", None)
    os.environ["COLUMNS"] = str(picture.COLUMNS)
    try:
        yield
    finally:
        del os.environ["COLUMNS"]
        if before is not None:
            os.environ["COLUMNS"] = before


def put(page: str) -> str:
    """Return the page with what its commands print today."""
    return _BLOCK.sub(lambda block: block[1] + shown(block[2]) + block[4], page)


def main(arguments: Sequence[str] | None = None) -> int:
    """0 where the pages are written, or are as they would be; else 1."""
    parser = argparse.ArgumentParser(prog="python -m tests.tools.debugpage", description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare, and write nothing")
    options = parser.parse_args(arguments)
    is_current = True
    for page in PAGES:
        before = page.read_text(encoding="utf-8")
        after = put(before)
        if options.check:
            lines = difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=1)
            sys.stdout.writelines(line + "\n" for line in lines)
            is_current &= after == before
        else:
            page.write_text(after, encoding="utf-8")
    return 0 if is_current else 1


if __name__ == "__main__":
    sys.exit(main())
