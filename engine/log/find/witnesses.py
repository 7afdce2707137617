"""Holds rows against the records that they are made of.

A sidecar is a help and no witness: it may be older than its segment, or somebody may have written
it who knows how a checksum is made. So before a row is shown, or anything is decided by it, its
first and its last record are read where it says that they are, and the row is made of them again.
Two records take 25 µs, and each MiB of compressed segments that has one 2 ms: so it is done for
the rows that are shown, and not for all that there are.

A segment that was rewritten since has its lines elsewhere: where a row points to another line than
its stream's beginning, that is looked for in the same segment.

What has gone with its segment has no witness but the row. A row that is not there cannot be held
against anything.
"""

import contextlib
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import msgspec

from engine.log.cold import reading
from engine.log.format import sealed, stubs
from engine.log.read import drafts, segments
from engine.log.summary import rows, scan
from machines import parse

ROWS_AT_ONCE: Final = 4_000
"""Rows that are held against their records in one pass: what is kept of these is about 1 KiB."""

_STREAM: Final = re.compile(rb'\{"stream":("(?:[^"\\]|\\.)*"),"seq":')


class _Erased(msgspec.Struct, frozen=True, gc=False):
    """A stub in a record's place, and not of a last one."""

    stream: str


class _Damaged(msgspec.Struct, frozen=True, gc=False):
    """A record that is not as it was written, that this version cannot read, or that has gone by
    now: whoever reads the log is told. `stream` is None where not even that can be read."""

    stream: str | None


_Told = rows.Begun | rows.Summary | _Erased | _Damaged | None
"""The word of a line about a stream: its beginning; its row, without its beginning; or none."""

Place = tuple[int, int]


def wrong(
    held: Iterable[rows.Summary], files: Mapping[int, segments.SegmentInfo]
) -> list[rows.Summary]:
    """Return the rows that are not what their records say, as far as those are there.

    Args:
        files: the segments that are there, by number.

    Raises:
        NotRegular, OSError: a segment cannot be read.
    """
    ordered = sorted((row for row in held if row.at[0] in files), key=lambda row: row.at)
    found: list[rows.Summary] = []
    unbegun: dict[str, rows.Summary] = {}
    for start in range(0, len(ordered), ROWS_AT_ONCE):
        some = ordered[start : start + ROWS_AT_ONCE]
        places = {row.at for row in some} | {row.begun for row in some if row.begun is not None}
        told = dict(_read(places, files))
        moved = dict(_elsewhere(some, told, files))
        for row in some:
            if not _is_right(row, told, moved):
                found.append(row)
            elif _lacks_beginning(row) and not (row.begun and row.begun[0] in files):
                unbegun[row.summary] = row
    if unbegun:
        last = max(row.at[0] for row in unbegun.values())
        older = [each for number, each in sorted(files.items()) if number <= last]
        found += [unbegun[stream] for stream, _ in scan.beginnings({*unbegun}, older)]
    return found


def _is_right(
    row: rows.Summary, told: Mapping[Place, _Told], moved: Mapping[tuple[int, str], _Told]
) -> bool:
    """Whether a row is made of what its places tell; that it has no beginning is believed."""
    last = told.get(row.at)
    if isinstance(last, _Damaged):
        return last.stream in (None, row.summary)
    if not isinstance(last, rows.Summary):
        return False
    if row.begun is None or last.purged:
        return row == last
    first = told.get(row.begun, _Damaged(None))
    if not _is_of(row.summary, first):
        first = moved.get((row.begun[0], row.summary))
    if isinstance(first, rows.Begun):
        return msgspec.structs.replace(row, begun=first.place) == rows.begun_as(last, first)
    # No other tells what was asked.
    return isinstance(first, _Erased | _Damaged) and row == rows.asked_as(last, row)


def _is_of(stream: str, first: _Told) -> bool:
    """Whether a line may be a stream's first."""
    if isinstance(first, rows.Begun):
        return first.opening.stream == stream
    return isinstance(first, _Erased | _Damaged) and first.stream in (None, stream)


def _elsewhere(
    held: Iterable[rows.Summary],
    told: Mapping[Place, _Told],
    files: Mapping[int, segments.SegmentInfo],
) -> Iterator[tuple[tuple[int, str], _Told]]:
    """Look for the beginnings that are not where their rows say, in the segments that these
    say: by number and stream."""
    lost: dict[int, dict[bytes, str]] = {}
    for row in held:
        place = row.begun
        if place is not None and place in told and not _is_of(row.summary, told[place]):
            stream = msgspec.json.encode(row.summary)[1:-1]
            lost.setdefault(place[0], {})[stream] = row.summary
    for number, streams in lost.items():
        with contextlib.suppress(FileNotFoundError):  # retention was faster
            for stream, offset, line in scan.firsts(files[number].path):
                if stream in streams:
                    yield (number, streams[stream]), _told_by((number, offset), line)


def _lacks_beginning(row: rows.Summary) -> bool:
    """Whether a row is of what must have begun somewhere: neither a refusal nor a life has."""
    return not (row.is_refusal or row.is_life or row.purged)


def _read(
    places: set[Place], files: Mapping[int, segments.SegmentInfo]
) -> Iterator[tuple[Place, _Told]]:
    """Read the lines at these places, in the order of the log; what has gone is left out."""
    by_number: dict[int, list[Place]] = {}
    for place in sorted(places):
        by_number.setdefault(place[0], []).append(place)
    for number, some in by_number.items():
        if number not in files:
            continue
        try:
            file = drafts.reader(files[number].path)
        except FileNotFoundError:  # retention was faster
            yield from ((place, _Damaged(None)) for place in some)
            continue
        with file:
            for place in some:
                try:
                    file.seek(max(0, place[1]))
                    line = file.readline(sealed.LINE_LIMIT)
                except reading.Damaged:
                    yield place, _Damaged(None)
                else:
                    yield place, _told_by(place, line)


def _told_by(place: Place, line: bytes) -> _Told:
    head = _STREAM.match(line)
    if head is None:
        return None
    try:
        stream = msgspec.json.decode(head[1], type=str)
        if not sealed.is_sealed(line):
            return _Damaged(stream)
        if scan.is_first(line):
            return rows.opening(place, line)
        if scan.is_last(line):
            return rows.summarize(place, line, None)
        if stubs.is_stub(line):
            is_last = stubs.read(line).ended != b"null"
            return rows.of_stub(place, line) if is_last else _Erased(stream)
    except parse.ParseError:
        return _Damaged(stream)
    except msgspec.DecodeError:
        return _Damaged(None)
    return None
