"""A run of segments that is checked by itself, and what its streams have to do with the others.

The problem: segments can be read at the same time, but streams span them. So the check of a range
replays the streams that begin and end in it. Of a stream that was open before it, or is open after
it, it hands over the records, and `Seams` replays those once it has the ranges before and after.

This is for logs that nothing is wrong with. What a reader makes of damage depends on all that it
read before: where a range meets a problem of any kind, or two ranges do not fit together, the log
is `Unsound`, and is to be read from its beginning, in one go.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import msgspec

from engine.log import replay
from engine.log.check import causes
from engine.log.cold import files
from engine.log.read import segments
from machines import events

TELL_RECORDS: Final = 4096
"""Records between two times that it is told how far a reading is."""

Tell = Callable[[int], object]
"""Called with bytes that were read since the last call."""


class Unsound(Exception):
    """Raised where a log cannot be checked in parts."""


class Range(msgspec.Struct, frozen=True):
    """Segments of one log, by their numbers; `pruned`: some before the first were deleted."""

    first: int
    last: int
    pruned: bool


class Checked(msgspec.Struct):
    """The findings of a check of a range.

    Attributes:
        groups: divergences of the streams that begin and end in it.
        begun: ids of the streams that begin in it.
        begun_before: streams that it has not the beginning of, and the number of the first record
            that it has.
        open: every stream that is open at its end, and the number of its next record.
        handed_over: records of streams that began before it or end after it, in their order.
        purged: the streams that were erased.
    """

    tally: replay.Tally
    groups: list[causes.Group] = []
    begun: set[str] = set()
    begun_before: dict[str, int] = {}
    open: dict[str, int] = {}
    handed_over: list[segments.Record] = []
    purged: set[str] = set()


def divide(path: Path, parts: int) -> list[Range]:
    """Divide a log's directory into at most so many ranges of about the same size; none where it
    cannot be divided: it is no directory of segments, or something is wrong with its chain."""
    if parts < 2 or not path.is_dir():
        return []
    known, found = segments.examine(path)
    if len(found) < 2 or known.problems or known.noted:
        return []
    sizes = [_content_bytes(each) for each in found]
    total = sum(sizes)
    ranges: list[Range] = []
    held, first = 0, found[0].number
    for each, own, following in zip(found, sizes, [*found[1:], None], strict=True):
        held += own
        if following is None or held >= total * (len(ranges) + 1) / parts:
            ranges.append(Range(first, each.number, pruned=bool(ranges) or found[0].number > 1))
            first = 0 if following is None else following.number
    return ranges


class _RangeCheck:
    """The check of one range."""

    def __init__(self, make_renderer: replay.MakeRenderer) -> None:
        self._groups = causes.Groups()
        self._run = replay.Replay(make_renderer, diverged=self._groups.take)
        self._found = Checked(self._run.tally)
        self._running: dict[str, list[tuple[segments.Record, segments.LoggedEvent]]] = {}
        self._ended: set[str] = set()

    def take(self, record: segments.Record, event: segments.LoggedEvent) -> None:
        """Take the next record of a stream that begins in the range."""
        if not record.seq:
            self._found.begun.add(record.stream)
        if isinstance(event, events.Opened):
            self._running[record.stream] = [(record, event)]
        elif record.stream in self._running:
            self._running[record.stream].append((record, event))
            if isinstance(event, events.Terminal):
                for each in self._running.pop(record.stream):
                    self._run.take(*each)
        else:  # the life of a worker process, or a request that was refused
            self._run.take(record, event)

    def hand_over(self, record: segments.Record, event: segments.LoggedEvent) -> None:
        """Take the next record of a stream that has begun before the range."""
        if record.stream in self._ended:
            raise Unsound
        if isinstance(event, events.Terminal):
            self._ended.add(record.stream)
        self._found.begun_before.setdefault(record.stream, record.seq)
        self._found.handed_over.append(record)

    def end(self, reading: segments.Reading, beyond: segments.Record | None) -> Checked:
        """What was found, once there are no more records.

        Args:
            beyond: the first record behind the range, which the reading has counted.
        """
        found = self._found
        found.groups = self._groups.sorted()
        found.open = {stream: each.next_seq for stream, each in reading.open.items()}
        if beyond is not None and beyond.seq:
            found.open[beyond.stream] = beyond.seq
        elif beyond is not None:
            found.open.pop(beyond.stream, None)
        for running in self._running.values():
            found.handed_over += [record for record, _ in running]
        found.purged = reading.purged
        return found


def check(path: Path, part: Range, make_renderer: replay.MakeRenderer, tell: Tell) -> Checked:
    """Check one range of a log.

    Raises:
        Unsound: there is something wrong with it.
        OSError: it cannot be read.
    """
    known, found = segments.examine(path)
    own = [each for each in found if part.first <= each.number <= part.last]
    after = [each for each in found if each.number > part.last][:1]  # it closes the last of ours
    reading = segments.Reading([*own, *after], known, pruned=part.pruned)
    checking = _RangeCheck(make_renderer)
    beyond: segments.Record | None = None
    for record in watched(reading, tell):
        if len(reading.measured) >= len(own):
            beyond = record
            break
        event = reading.load(record)
        if event is None:
            raise Unsound
        if record.stream in reading.incomplete:
            checking.hand_over(record, event)
        else:
            checking.take(record, event)
    if any(reading.counts.values()):
        raise Unsound
    return checking.end(reading, beyond)


def watched(reading: segments.Reading, tell: Tell) -> Iterator[segments.Record]:
    """The records of a reading; how far it is is told now and then."""
    told = count = 0
    before: segments.Record | None = None
    for record in reading:
        count += 1
        if before is not None and (count == TELL_RECORDS or record.path != before.path):
            done = before.offset + len(before.raw)
            tell(done - told)
            told, count = done if record.path == before.path else 0, 0
        before = record
        yield record
    if before is not None:
        tell(before.offset + len(before.raw) - told)


class Seams:
    """Puts ranges together, in their order, and replays the streams between them.

    Args:
        groups: takes what differs.
        pruned: whether streams may have begun before the first range.
    """

    def __init__(
        self, make_renderer: replay.MakeRenderer, groups: causes.Groups, *, pruned: bool
    ) -> None:
        self._run = replay.Replay(make_renderer, diverged=groups.take)
        self._groups = groups
        self._pruned = pruned
        self._open: dict[str, int] = {}
        self._incomplete: set[str] = set()
        self._purged: set[str] = set()
        self._tallies: list[replay.Tally] = [self._run.tally]

    def take(self, checked: Checked) -> None:
        """Add the next range.

        Raises:
            Unsound: it does not go on where the one before it ended.
        """
        if not self._open.keys().isdisjoint(checked.begun):
            raise Unsound
        for stream, seq in checked.begun_before.items():
            due = self._open.pop(stream, None)
            if due is None and self._pruned:
                self._incomplete.add(stream)
            elif due != seq:
                raise Unsound
        self._open.update(checked.open)
        for record in checked.handed_over:
            self._run.take(record, record.load())
        self._groups.join(checked.groups)
        self._purged |= checked.purged
        self._tallies.append(checked.tally)

    def end(self) -> replay.Tally:
        """The tally of all ranges together."""
        self._run.end(incomplete=self._incomplete, purged=self._purged)
        names = replay.Tally.__struct_fields__
        return replay.Tally(
            **{name: sum(getattr(each, name) for each in self._tallies) for name in names}
        )


def size(path: Path) -> int:
    """Bytes that there are to be read of a log, about; of compressed segments what they hold.

    Raises:
        OSError: it cannot be read.
    """
    if not path.is_dir():
        return path.stat().st_size
    found = segments.list_segments(path)
    return sum(map(_content_bytes, found)) or sum(
        each.stat().st_size for each in path.glob("*.jsonl")
    )


def _content_bytes(segment: segments.SegmentInfo) -> int:
    """Bytes that there are to be read of a segment; 0 where retention was faster."""
    try:
        return files.content_bytes(segment.path)
    except FileNotFoundError:
        return 0
