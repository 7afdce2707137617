"""`turntape log`: the streams of a log, those that failed first, or as they end."""

import argparse
import sys
import time
from pathlib import Path
from typing import Any, Final

import msgspec

from engine.log.find import names
from engine.log.summary import rows
from server.cli import parser as parsers, printing
from server.cli.log import asking, columns, commands, lookups, terminal
from server.process import exits

FOLLOW_S: Final = 0.25
"""Pause between two looks of `-f`."""

SORTS: Final = {
    "failures": columns.is_failed_first,
    "time": lambda row: row.t,
    "slow": lambda row: -row.duration_us,
    "gap": lambda row: -row.longest_gap_us,
}
"""The orders of a list, by the name that `--sort` knows them by."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    asking.add_arguments(parser)
    parser.add_argument(
        "--sort",
        choices=SORTS,
        help="failures first, newest on top (on a terminal); time: newest last (elsewhere)",
    )
    parser.add_argument(
        "-n", type=parsers.whole(0), metavar="N", help="the newest N, or the first of --sort"
    )
    parser.add_argument("-f", "--follow", action="store_true", help="go on with what ends now")
    parser.add_argument("--no-pager", action="store_true", help="never through PAGER")


def run(options: argparse.Namespace) -> int:
    """List the streams that are asked for; 3 where there are none."""
    path = commands.path_of(options.path, options.log)
    selected = asking.Selected(path, options, lambda found: _ordered(found, options))
    listed = selected.rows
    shown = _shown(selected, options)
    if listed or not options.follow:
        shown.print(listed, pages=not (options.no_pager or options.follow))
    if options.follow:
        _follow(selected, shown)
    if not listed:
        printing.complain(*lookups.nothing_in(path, selected.catalog.covered()))
        return exits.NOT_FOUND
    return exits.CLEAN


def list_all(path: Path) -> int:
    """List all streams of a log, as `turntape log PATH` does."""
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return run(parser.parse_args([str(path)]))


def as_json(row: rows.Summary) -> dict[str, Any]:
    """Return a row for programs: with `stream` for its id, and all of its members by their
    names."""
    members: dict[str, Any] = msgspec.to_builtins(row)
    return {"stream": members.pop("summary"), "began": row.began_us, **members}


class _Shown:
    """The ways to print rows."""

    def __init__(self, lines: columns.Columns | None) -> None:
        self._lines = lines

    def print(self, listed: list[rows.Summary], *, pages: bool) -> None:
        """Print a list with its head."""
        if self._lines is None:
            self.add(listed)
        elif listed:
            terminal.show(self._lines.lines(listed), pages=pages)

    def add(self, listed: list[rows.Summary]) -> None:
        """Print further rows."""
        for row in listed:
            if self._lines is None:
                sys.stdout.write(msgspec.json.encode(as_json(row)).decode() + "\n")
            else:
                terminal.show(self._lines.line(row), pages=False)
        sys.stdout.flush()


def _shown(selected: asking.Selected, options: argparse.Namespace) -> _Shown:
    if options.json:
        return _Shown(None)
    return _Shown(columns.Columns(names.prefixes(selected.ids), selected.zone, terminal.width()))


def _ordered(listed: list[rows.Summary], options: argparse.Namespace) -> list[rows.Summary]:
    """The rows in their order, and as many of them as are asked for."""
    usual = "failures" if terminal.is_terminal() and not options.json else "time"
    if options.follow:
        usual = "time"
    name = options.sort or usual
    ordered = sorted(listed, key=SORTS[name])
    if options.n is None:
        return ordered
    first = len(ordered) - options.n if name == "time" else 0
    return ordered[max(0, first) :][: options.n]


def _follow(selected: asking.Selected, shown: _Shown) -> None:
    """Print what ends, until the command is stopped."""
    from engine.log.find import follow

    follower = follow.Follower(selected.catalog)
    while True:
        shown.add([row for row in follower.look() if selected.query.matches(row)])
        time.sleep(FOLLOW_S)
