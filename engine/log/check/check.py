"""Checks a log, in one process or in several: the result does not depend on how many."""

from collections.abc import Callable
from pathlib import Path

import msgspec

from engine.log import replay
from engine.log.check import causes, children, ranges
from engine.log.format import sealed
from engine.log.read import segments

Run = Callable[[Path, list[ranges.Range], replay.MakeRenderer, ranges.Tell], list[ranges.Checked]]
"""Checks the ranges of a log: `children.run`, and in tests without processes."""


class Result(msgspec.Struct, frozen=True):
    """The findings of a check of a log.

    Attributes:
        corrupt: how many places are not as they were written. What differs is only told of a log
            without any: of one that is damaged it may be the damage.
        problems: the first of them, and of those that are torn or later.
    """

    tally: replay.Tally
    groups: list[causes.Group]
    problems: list[sealed.Problem]
    corrupt: int

    @property
    def diverged(self) -> int:
        """The number of streams that differ."""
        return sum(each.count for each in self.groups)


def check(
    path: Path,
    make_renderer: replay.MakeRenderer,
    jobs: int,
    tell: ranges.Tell,
    run: Run = children.run,
) -> Result:
    """Check a whole log.

    Args:
        path: its directory, a file of records, or a directory of such files.
        make_renderer: a function of a module.
        jobs: processes at the most.

    Raises:
        ChildDied: one of them was killed.
        NotRegular, OSError: the log cannot be read.
    """
    parts = ranges.divide(path, jobs)
    if len(parts) > 1:
        try:
            found = run(path, parts, make_renderer, tell)
            return _joined(found, make_renderer, pruned=parts[0].pruned)
        except ranges.Unsound:
            pass
    return _in_one_go(path, make_renderer, tell)


def check_records(
    records: tuple[segments.Record, ...], make_renderer: replay.MakeRenderer
) -> Result:
    """Check the records of one stream."""
    groups = causes.Groups()
    run = replay.Replay(make_renderer, diverged=groups.take)
    later: set[str] = set()
    for record in records:
        try:
            run.take(record, record.load())
        except segments.LaterVersion:
            later.add(record.stream)
            break
    run.end(later)
    return Result(run.tally, groups.sorted(), [], 0)


def _joined(
    found: list[ranges.Checked], make_renderer: replay.MakeRenderer, *, pruned: bool
) -> Result:
    groups = causes.Groups()
    seams = ranges.Seams(make_renderer, groups, pruned=pruned)
    for checked in found:
        seams.take(checked)
    return Result(seams.end(), groups.sorted(), [], 0)


def _in_one_go(path: Path, make_renderer: replay.MakeRenderer, tell: ranges.Tell) -> Result:
    reading = segments.read(path)
    groups = causes.Groups()
    run = replay.Replay(make_renderer, diverged=groups.take)
    run.run(reading, ranges.watched(reading, tell))
    corrupt = reading.counts["corrupt"]
    return Result(run.tally, [] if corrupt else groups.sorted(), reading.problems, corrupt)
