"""Erases streams from a log: of each of their records a stub is left, which keeps its place.

Nothing else of the log changes, so its counts go on and its other streams stay as they were. The
oldest segment is rewritten first: from then on nothing of a stream is shown, since its beginning
is a stub, and as long as anything is left of it its end is, by which it is found: the same may be
asked for again. The summary beside a segment follows it at once; where a kill came between the
two, the ids that it has still are something to erase.

Of a stream whose segment has gone the sidecar has a row still: of that are left the same figures
as of a stub. A segment is rewritten line by line: an erasure needs memory for its streams alone.

A stream that has a record in the segment that a server writes to is not touched at all, nor is one
that has not ended: more of it is to come.
"""

import collections
import contextlib
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from engine.log.derive import orphans, rowfiles, segmentfile
from engine.log.find import catalog
from engine.log.format import chain, sealed, stubs
from engine.log.read import manifest, segments
from engine.log.summary import rows, scan
from engine.log.write import rewriting
from machines import parse

_START: Final = b'{"stream":"'


class Purged(msgspec.Struct):
    """The extent of an erasure, done or planned.

    Attributes:
        streams: their ids.
        records: how many they had.
        rows: how many of them had but a row, since their segment has gone.
        segments: numbers of those that were rewritten, oldest first.
        busy: streams that were left alone, since a server writes to them.
    """

    streams: set[str] = msgspec.field(default_factory=set)
    records: int = 0
    rows: int = 0
    segments: list[int] = msgspec.field(default_factory=list)
    busy: set[str] = msgspec.field(default_factory=set)


Progress = Callable[[int, int], object]
"""Told how many segments were looked at, of how many."""


def plan(directory: Path, streams: Collection[str], *, is_written: bool) -> Purged:
    """Return what erasing streams would do; nothing is written.

    Args:
        is_written: whether a server writes to the log: to the segments that are not closed.

    Raises:
        NotRegular, OSError: the log cannot be read.
    """
    known, present = segments.examine(directory)
    found = Purged(busy=_busy(known, present, streams) if is_written else set())
    for segment in present:
        wanted = _wanted(_lines(segment), streams)
        for stream in found.busy & wanted.keys():
            del wanted[stream]
        if wanted:
            found.segments.append(segment.number)
        found.streams |= wanted.keys()
        found.records += sum(wanted.values())
    behind = {row.summary for row in rowfiles.left(directory)}.intersection(streams)
    found.streams |= behind - found.busy
    numbers = {each.number for each in present}
    lone = orphans.streams(directory, numbers, streams, is_written=is_written) - found.busy
    found.rows = len(lone)
    found.streams |= found.busy | lone
    return found


def purge(
    directory: Path,
    streams: Collection[str],
    now_us: int,
    progress: Progress,
    *,
    forgets_key: bool = False,
) -> Purged:
    """Erase streams, all that can be.

    Args:
        forgets_key: whether the figures that are left are of no key.

    Raises:
        Damaged: a segment is not what the log says; those that are older were rewritten.
        LogLocked: another process erases streams there.
        Changed, NotRegular, OSError: likewise, of files that cannot be read or written.
    """
    with rewriting.Rewriter(directory) as rewriter:
        known, present = segments.examine(directory)
        closed = [each for each in present if _is_closed(known, each)]
        is_written = rewriter.owner is not None
        found = Purged(busy=_busy(known, present, streams) if is_written else set())
        going = set(streams) - found.busy
        ends = _Ends(directory, going, closed, forgets_key=forgets_key)
        found.streams |= {row.summary for row in rowfiles.left(directory)} & going
        for done, segment in enumerate(closed):
            progress(done, len(closed))
            holds = known.holds(segment.number)
            wanted = _wanted(_lines(segment), going)
            if not wanted:
                continue
            lines = segmentfile.lines(segment.path, holds)
            content = _without(lines, going, ends, segment.number, now_us)
            if _replace(directory, rewriter, segment, holds, content):
                found.segments.append(segment.number)
                found.records += sum(wanted.values())
                found.streams |= wanted.keys()
        progress(len(closed), len(closed))
        rowfiles.remake(directory, closed, going)
        manner = orphans.Manner(now_us, forgets_key)
        numbers = {each.number for each in segments.list_segments(directory)}
        erased = orphans.erase(directory, numbers, going, manner, is_written=is_written)
        found.rows = len(erased)
        found.streams |= erased
    return found


def _replace(
    directory: Path,
    rewriter: rewriting.Rewriter,
    segment: segments.SegmentInfo,
    holds: chain.Figures | None,
    content: Iterable[bytes],
) -> bool:
    """Put other content in the place of a segment's, and have its summary follow; whether it is
    there, or retention was faster."""
    try:
        return rewriter.replace(segment, holds, content)
    except FileNotFoundError:
        if segment.number in {each.number for each in segments.list_segments(directory)}:
            raise
        return False
    finally:  # it may be there even where that failed
        rowfiles.remake(directory, [segment], ())


def _lines(segment: segments.SegmentInfo) -> Iterator[bytes]:
    """The lines of a segment; none of one that retention has deleted meanwhile."""
    with contextlib.suppress(FileNotFoundError):
        yield from segmentfile.lines(segment.path, None)


def _is_closed(known: manifest.Manifest, segment: segments.SegmentInfo) -> bool:
    """Whether nobody writes to a segment any more; one that is older than the chain is closed."""
    return known.holds(segment.number) is not None or (
        known.chain is not None and not known.is_headed(segment.number)
    )


def _busy(
    known: manifest.Manifest, present: list[segments.SegmentInfo], streams: Collection[str]
) -> set[str]:
    """Which streams a server writes to: those with a record in a segment that is not closed, and
    those without a last one."""
    found: set[str] = set()
    begun: set[str] = set()
    ended: set[str] = set()
    for segment in present:
        is_closed = _is_closed(known, segment)
        for line in _lines(segment):
            stream = _stream_of(line)
            if stream not in streams:
                continue
            is_stub = stubs.is_stub(line)
            if not is_stub:
                begun.add(stream)
                if not is_closed:
                    found.add(stream)
            if is_stub or scan.is_last(line):
                ended.add(stream)
    return found | (begun - ended)


def _wanted(lines: Iterable[bytes], streams: Collection[str]) -> collections.Counter[str]:
    """How many records a segment has of each of these streams, without stubs."""
    found: collections.Counter[str] = collections.Counter()
    for line in lines:
        stream = _stream_of(line)
        if stream in streams and not stubs.is_stub(line):
            found[stream] += 1
    return found


def _stream_of(line: bytes) -> str:
    """The stream that a line is of; empty of any other line. Ids have nothing to escape."""
    if not line.startswith(_START):
        return ""
    end = line.find(b'"', len(_START))
    return line[len(_START) : end].decode(errors="replace")


class _Ends:
    """Makes the figures that the last stub of a stream keeps.

    A purge that was killed has erased the beginning, which they are made of too, and a last record
    may be damaged: then they are taken from the row that is still there.
    """

    def __init__(
        self,
        directory: Path,
        streams: Collection[str],
        closed: list[segments.SegmentInfo],
        *,
        forgets_key: bool,
    ) -> None:
        self._directory = directory
        self._forgets_key = forgets_key
        self._begun: dict[str, rows.Begun] = dict(scan.beginnings(set(streams), closed))
        self._rows = self._known(set(streams) - self._begun.keys())

    def of(self, stream: str, line: bytes, place: tuple[int, int]) -> dict[str, Any] | None:
        """Return the figures of a stream, by its last record; None where nothing tells them."""
        if sealed.is_sealed(line):
            row = self._rows.get(stream)
            row = row or rows.summarize(place, line, self._begun.get(stream))
        else:
            row = self._known({stream}).get(stream)
        return None if row is None else rows.left_of(row, forgets_key=self._forgets_key)

    def _known(self, streams: Collection[str]) -> dict[str, rows.Summary]:
        found = catalog.Catalog(self._directory)
        return {row.summary: row for row in found.ended_like(lambda row: row.summary in streams)}


def _without(
    lines: Iterable[bytes],
    streams: Collection[str],
    ends: _Ends,
    number: int,
    now_us: int,
) -> Iterator[bytes]:
    """The lines of a segment, with stubs in the place of these streams' records.

    Raises:
        Damaged: one of them is too damaged to say what its place is.
    """
    offset = 0
    for line in lines:
        stream = _stream_of(line)
        if stream in streams and not stubs.is_stub(line):
            yield _stub(line, ends, (number, offset), now_us)
        else:
            yield line
        offset += len(line)


def _stub(line: bytes, ends: _Ends, place: tuple[int, int], now_us: int) -> bytes:
    try:
        at = stubs.place(line)
    except parse.ParseError:
        raise segmentfile.Damaged(
            f"{segments.segment_name(place[0])}: corrupt: the record at byte {place[1]} cannot be"
            " erased, for it is not known which one it is"
        ) from None
    ended = ends.of(at.stream, line, place) if scan.is_last(line) else None
    return stubs.line(at.stream, at.seq, at.seg, now_us, ended)
