"""`turntape stats`: how the streams of a log ended, and how long they took."""

import argparse
import datetime
import math
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

import msgspec

from engine.log.find import query
from engine.log.summary import rows
from server.cli import printing
from server.cli.log import asking, columns, commands, lookups, terminal
from server.cli.log.terminal import Line, Piece
from server.process import exits

PERCENTILES: Final = (50, 95, 99)

NAME: Final = 20
"""Columns of a group's name at the least."""

SPREADS: Final = 2
"""Percentiles of a group: of TTFT, and of the longest gap."""

NONE: Final = "(none)"
"""In place of an empty name."""


class Group(msgspec.Struct):
    """Streams that are counted together.

    Attributes:
        kinds: how many ended in each way.
        failed: how many failed; refusals by how many they stand for.
        ttft: percentiles of the time to the first content or reasoning, in microseconds.
        gap: percentiles of the longest silence of each, in microseconds.
    """

    name: str
    streams: int
    failed: int
    kinds: dict[str, int]
    ttft: dict[str, int]
    gap: dict[str, int]

    @property
    def share(self) -> float:
        """The part that failed."""
        return self.failed / self.streams if self.streams else 0.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    asking.add_arguments(parser)
    parser.add_argument("--by", choices=("code", "model", "hour", "key"), help="a line for each")


def run(options: argparse.Namespace) -> int:
    """Count the streams that are asked for; 3 where there are none."""
    path = commands.path_of(options.path, options.log)
    selected = asking.Selected(path, options)
    counted = [row for row in selected.rows if row.kind != rows.OPEN]
    if not counted:
        printing.complain(*lookups.nothing_in(path, selected.catalog.covered()))
        return exits.NOT_FOUND
    counted.sort(key=lambda row: row.t)
    groups = group(counted, _name_of(options.by, selected.zone)) if options.by else []
    good, bad = turn(counted)
    if options.json:
        told = {
            "first": min(row.began_us for row in counted),
            "last": counted[-1].t,
            "all": _plain(make("all", counted)),
            "purged": _purged(counted),
            "by": {options.by: [_plain(each) for each in groups]} if options.by else {},
            "last_good": good and good.summary,
            "first_bad": bad and bad.summary,
        }
        sys.stdout.write(msgspec.json.encode(told).decode() + "\n")
        return exits.CLEAN
    lines = _lines(counted, groups, options.by, selected.zone, terminal.width())
    terminal.show(lines)
    return exits.CLEAN


def make(name: str, counted: Iterable[rows.Summary]) -> Group:
    """Count streams together."""
    counted = list(counted)
    kinds: dict[str, int] = {}
    for row in counted:
        kinds[row.kind] = kinds.get(row.kind, 0) + row.count
    return Group(
        name,
        sum(kinds.values()),
        sum(row.count for row in counted if query.is_failed(row)),
        dict(sorted(kinds.items(), key=lambda each: -each[1])),
        percentiles(row.ttft_us for row in counted if row.ttft_us is not None),
        percentiles(row.longest_gap_us for row in counted if not row.is_refusal),
    )


def group(counted: list[rows.Summary], name_of: Callable[[rows.Summary], str]) -> list[Group]:
    """Count streams by a name: those with the most failures first; hours in their order."""
    by_name: dict[str, list[rows.Summary]] = {}
    for row in counted:
        by_name.setdefault(name_of(row), []).append(row)
    made = [make(name, each) for name, each in by_name.items()]
    if all(_is_hour(each.name) for each in made):
        return sorted(made, key=lambda each: each.name)
    return sorted(made, key=lambda each: (-each.failed, -each.streams, each.name))


def turn(counted: list[rows.Summary]) -> tuple[rows.Summary | None, rows.Summary | None]:
    """Return the last good stream before the first bad one, and that one.

    Args:
        counted: in the order in which they ended.
    """
    good = None
    for row in counted:
        if query.is_failed(row):
            return good, row
        good = row
    return good, None


def percentiles(values: Iterable[int]) -> dict[str, int]:
    """Return percentiles by nearest rank; empty without values."""
    ordered = sorted(values)
    if not ordered:
        return {}
    return {f"p{p}": ordered[math.ceil(len(ordered) * p / 100) - 1] for p in PERCENTILES}


def _purged(counted: Iterable[rows.Summary]) -> int:
    """How many of them were erased; refusals by how many they stand for."""
    return sum(row.count for row in counted if row.purged)


def _plain(counted: Group) -> dict[str, Any]:
    members: dict[str, Any] = msgspec.to_builtins(counted)
    return {**members, "share_failed": round(counted.share, 6)}


def _name_of(by: str, zone: datetime.tzinfo | None) -> Callable[[rows.Summary], str]:
    match by:
        case "code":
            return lambda row: row.code or (row.kind if query.is_failed(row) else NONE)
        case "hour":
            return lambda row: _hour(row.t, zone)
        case "key":
            return lambda row: row.key or NONE
        case _:
            return lambda row: row.model or NONE


def _hour(microseconds: int, zone: datetime.tzinfo | None) -> str:
    moment = datetime.datetime.fromtimestamp(microseconds / 1e6, datetime.UTC).astimezone(zone)
    return moment.strftime("%Y-%m-%d %H:00")


def _is_hour(name: str) -> bool:
    return len(name) == 16 and name.endswith(":00")


def _lines(
    counted: list[rows.Summary],
    groups: list[Group],
    by: str | None,
    zone: datetime.tzinfo | None,
    width: int | None,
) -> Iterator[Line]:
    whole = make("all", counted)
    first = lookups.time_of(min(row.began_us for row in counted), zone)
    last = lookups.time_of(counted[-1].t, zone)
    span = f"{first} to {last}"
    fits = width is None or len(span) <= width
    yield from ([Piece(line)] for line in ((span,) if fits else (first, f"to {last}")))
    share, streams = f"{whole.share:.1%}", printing.counted(whole.streams, "stream")
    yield [Piece(f"{streams}, {whole.failed} failed ({share})", "bold")]
    if purged := _purged(counted):
        yield [Piece(f"{purged} of them purged: their figures are left", "dim")]
    yield []
    for kind, count in whole.kinds.items():
        style = columns.STYLES.get(kind, "bold red")
        yield [
            Piece(f"  {kind:<14}", style),
            Piece(f"{count:>8}  {count / whole.streams:>6.1%}"),
        ]
    yield []
    yield [Piece(f"  {'':<14}{'p50':>8}{'p95':>8}{'p99':>8}", "bold")]
    for name, values in (("ttft", whole.ttft), ("longest gap", whole.gap)):
        yield [Piece(f"  {name:<14}{_spread(values, 8)}")]
    yield from _turn_lines(counted, zone, width)
    if by is not None:
        yield []
        yield from _group_lines(groups, by, width)


def _turn_lines(
    counted: list[rows.Summary], zone: datetime.tzinfo | None, width: int | None
) -> Iterator[Line]:
    good, bad = turn(counted)
    if bad is None:
        return
    yield []
    for name, row, style in (("last good", good, ""), ("first bad", bad, "bold")):
        if row is None:
            continue
        line = f"  {name:<10}  {lookups.time_of(row.t, zone)}"
        if width is not None and len(line) + 2 + printing.columns(row.summary) > width:
            yield [Piece(line, style)]
            line = "  "
        yield [Piece(f"{line}  {row.summary}", style)]
    detail = f"  {'':<10}  {bad.kind} {columns.detail_of(bad)}"
    yield [Piece(printing.fit(detail, width))]


def _group_lines(groups: list[Group], by: str, width: int | None) -> Iterator[Line]:
    """A table; a narrow terminal does without the gaps, and a narrower one without TTFT."""
    names = {id(each): printing.printable(each.name) for each in groups}
    longest = max(NAME, *map(printing.columns, names.values()))
    head = f"  {'p50':>6} {'p95':>6} {'p99':>6}"
    spreads = SPREADS if width is None else max(0, min(SPREADS, (width - NAME - 15) // len(head)))
    rest = 15 + spreads * len(head)
    first = longest if width is None else max(NAME, min(longest, width - rest))
    if spreads:
        titles = "".join(f"  {title:<20}" for title in ("ttft", "longest gap")[:spreads])
        yield [Piece(f"{'':<{first}} {'':>7} {'':>6}{titles}", "bold")]
    yield [Piece(f"{by:<{first}} {'streams':>7} {'failed':>6}{head * spreads}", "bold")]
    for each in groups:
        failed = f"{each.share:.1%}"
        shown = (each.ttft, each.gap)[:spreads]
        yield [
            Piece(f"{printing.padded(names[id(each)], first)} {each.streams:>7} "),
            Piece(f"{failed:>6}", "bold red" if each.failed else ""),
            Piece("".join(f"  {_spread(values, 6)}" for values in shown)),
        ]


def _spread(values: dict[str, int], width: int) -> str:
    blank = "" if width > 6 else " "
    return blank.join(f"{columns.duration(values.get(f'p{p}')):>{width}}" for p in PERCENTILES)
