"""`turntape diff BAD [GOOD]`: what was another in a stream that went wrong."""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from engine.log.find import catalog
from engine.log.summary import rows
from engine.log.timeline import compare, evidence, fold, gaps, timeline
from server.cli import printing
from server.cli.log import commands, picture, processes, selecting, terminal
from server.process import exits

WHOLE: Final = frozenset(("stop", "tool_calls", "function_call"))
"""The finish reasons of a stream that another is compared with: nothing cut it off."""

FLAGS: Final = ("model", "endpoint", "streaming", "n", "effort", "worker")
"""The flags that two streams should have in common, the most important first."""

OF_THE_END: Final = frozenset(("states", "finish", "usage", "status", "ending"))
"""Aspects that an end of another kind makes others by itself."""

ASPECT: Final = 24
VALUE: Final = 28
"""Columns of what is compared, and of a value beside another."""

BESIDE: Final = ASPECT + 2 * VALUE
"""Columns from which on two values stand beside each other."""


class Chosen(NamedTuple):
    """The stream that was found to compare with.

    Attributes:
        same: what it has in common, of `FLAGS`.
    """

    stream: str
    apart_us: int
    same: tuple[str, ...]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what it is asked for with."""
    commands.add_path(parser)
    parser.add_argument("bad", metavar="BAD", help="any name of the stream that went wrong")
    parser.add_argument(
        "good",
        metavar="GOOD",
        nargs="?",
        help="one that did not; else the nearest of its model, endpoint and flags",
    )
    parser.add_argument("--json", action="store_true", help="the differences as one JSON object")


def run(options: argparse.Namespace) -> int:
    """Compare the two.

    Raises:
        NotFound, Ambiguous: a name leads to no stream, or to several.
        WrittenLater, AllDamaged: nothing of one can be read.
        OSError: the log cannot be read.
    """
    path = commands.path_of(options.log)
    bad = _told(path, options.bad)
    if not _has_answer(bad):
        return exits.NOT_FOUND
    chosen = None
    if options.good is None:
        chosen = nearest(path, bad)
        if chosen is None:
            printing.complain(
                "no stream of this log is whole and has its model and endpoint",
                f"Name one to compare it with: turntape diff {options.bad} GOOD",
            )
            return exits.NOT_FOUND
    good = _told(path, options.good if chosen is None else chosen.stream)
    if not _has_answer(good):
        return exits.NOT_FOUND
    found = compare.compare(bad, good)
    if options.json:
        told = {"bad": bad.request.stream, "good": good.request.stream, "differences": found}
        sys.stdout.write(msgspec.json.encode(told).decode() + "\n")
    else:
        width = terminal.width()
        drawn = picture.laid(_lines(bad, good, chosen, found, width), width)
        printing.say_each(line.text for line in drawn)
    return exits.FAILED if found else exits.CLEAN


def _told(path: Path, name: str) -> timeline.Timeline:
    return processes.told(path, selecting.read(path, name))


def _has_answer(told: timeline.Timeline) -> bool:
    """Return whether a stream has an answer to compare; say so of one that has none."""
    name = told.request.stream
    if told.request.worker and not name.startswith(fold.LIFE):
        return True
    printing.complain(f"{name} has no answer to compare: `turntape show {name}` says why")
    return False


def nearest(path: Path, bad: timeline.Timeline) -> Chosen | None:
    """Return the stream to compare with: whole, of the same model and endpoint, with as many of
    the other flags as there are, and of these the nearest in time."""
    known = catalog.Catalog(path)
    best = _nearest(known, bad)
    while best is not None and known.hold([best]):
        best = _nearest(known, bad)
    if best is None:
        return None
    apart = abs(best.began_us - bad.request.opened_us)
    return Chosen(best.summary, apart, _same(best, bad))


def _nearest(known: catalog.Catalog, bad: timeline.Timeline) -> rows.Summary | None:
    best: tuple[int, int, rows.Summary] | None = None
    begun = bad.request.opened_us
    for row in known.ended_rows():
        is_good = row.kind == "completed" and WHOLE.issuperset(row.finish_reasons)
        is_there = not row.purged and row.at[0] in known.files
        if not is_good or not is_there or row.summary == bad.request.stream:
            continue
        same = _same(row, bad)
        if not {"model", "endpoint"} <= set(same):
            continue
        rank = (-len(same), abs(row.began_us - begun), row)
        if best is None or rank[:2] < best[:2]:
            best = rank
    return None if best is None else best[2]


def _same(row: rows.Summary, bad: timeline.Timeline) -> tuple[str, ...]:
    return tuple(name for name in FLAGS if getattr(row, name) == getattr(bad.request, name))


def _lines(
    bad: timeline.Timeline,
    good: timeline.Timeline,
    chosen: Chosen | None,
    found: tuple[compare.Difference, ...],
    width: int | None,
) -> Iterator[picture.Line]:
    for name, told in (("bad", bad), ("good", good)):
        ending = compare.ending(told.ending)
        yield picture.Line(f"{name:<5} {told.request.stream}  {ending}")
    yield picture.sentence_of(bad.verdict)
    if chosen is not None:
        same, others = ", ".join(chosen.same), [each for each in FLAGS if each not in chosen.same]
        yield picture.sentence_of(
            f"The good one was chosen: of those that are whole and have the same {same} it is the"
            f" nearest, {evidence.seconds(chosen.apart_us)} apart."
            + (f" None has the same {', '.join(others)} too." if others else "")
        )
    yield picture.Line("")
    if not found:
        yield picture.sentence_of("Nothing that matters differs.")
        return
    yield from _parted(bad, found)
    yield picture.Line("")
    is_wide = width is None or width >= BESIDE
    if is_wide:
        yield picture.Line(f"{'':<{ASPECT}}{'bad':<{VALUE}}good")
    for each in found:
        yield from _row(each, is_wide=is_wide)


def _parted(
    bad: timeline.Timeline, found: tuple[compare.Difference, ...]
) -> Iterator[picture.Line]:
    """Say when the two parted, and by what."""
    timed = [each for each in found if each.at_us is not None]
    first = min(timed, key=lambda each: each.at_us or 0, default=None)
    others = [each.aspect for each in found if each.at_us is None]
    if first is None or first.at_us is None:
        yield picture.sentence_of(
            f"{found[0].aspect}: {found[0].bad}, and in the good one {found[0].good}."
        )
        return
    is_by_end = all(each.aspect in OF_THE_END for each in timed)
    if not is_by_end or bad.ending.at_us - first.at_us > gaps.AT_END_US:
        yield picture.sentence_of(
            f"First in time: {first.aspect}, at {evidence.seconds(first.at_us)}: {first.bad}, and"
            f" in the good one {first.good}."
        )
    elif not others:
        yield picture.sentence_of(
            f"Before its end, at {evidence.seconds(bad.ending.at_us)}, nothing that matters was"
            " another than in the good one."
        )
    if others:
        yield picture.sentence_of(f"Asked otherwise, or of no time: {', '.join(others)}.")


def _row(each: compare.Difference, *, is_wide: bool) -> Iterator[picture.Line]:
    aspect, bad, good = map(printing.printable, (each.aspect, each.bad, each.good))
    longest = max(map(printing.columns, (bad, good)))
    if is_wide and longest < VALUE and printing.columns(aspect) < ASPECT:
        beside = printing.padded(aspect, ASPECT) + printing.padded(bad, VALUE)
        yield picture.Line(f"{beside}{good}")
        return
    yield picture.Line(aspect)
    indent = ASPECT if is_wide else len("  good  ")
    yield picture.Line(f"{'  bad':<{indent}}{bad}")
    yield picture.Line(f"{'  good':<{indent}}{good}")
