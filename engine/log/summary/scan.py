"""Finds the first and last records of requests in a segment, among all the others.

Nearly every record is a token's. So they are not read: a segment is searched for the three events
that matter, a block at a time, and only the lines that have one are looked at. A client may have
put the same letters into its request, so the place in the line counts too.
"""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from engine.log.cold import reading
from engine.log.format import sealed
from engine.log.read import drafts, segments
from engine.log.summary import rows
from machines import parse

BLOCK_BYTES: Final = 1 << 18
"""How much is searched at a time: the interpreter is held for 0.1 ms."""

NEW_LINE: Final = ord("\n")

OPENED: Final = b'"event":"opened"'
LAST: Final = (b'"event":"terminal"', b'"event":"request_rejected"')

ENDED: Final = b'"ended":{'
"""In the stub of the last record of a stream that was erased."""

_EVENTS: Final = (OPENED, *LAST)

_HEAD: Final = re.compile(
    rb'\{"stream":"(?:[^"\\]|\\.)*","seq":\d+,"seg":\d+,(?:"t":\d+,(?="event":)|"purged":\d+,)'
)
"""The members of a record before its event, or of a stub before what is left of its."""

_STREAM: Final = re.compile(rb'\{"stream":"((?:[^"\\]|\\.)*)"')

_ZEROTH: Final = b',"seq":0,'
"""Behind the stream of its first line, be that a record or a stub."""


class Found(NamedTuple):
    """A first or last record, and where in its segment it is.

    Attributes:
        event: `OPENED`, one of `LAST`, or `ENDED`.
    """

    offset: int
    event: bytes
    line: bytes


def find(
    path: Path, events: Iterable[bytes] = (*_EVENTS, ENDED), start: int = 0
) -> Iterator[Found]:
    """Search a segment up to its last whole line; what is damaged is passed over.

    Args:
        start: offset of the line to begin with.

    Raises:
        NotRegular, OSError: it cannot be read.
    """
    for offset, whole in blocks(path, start):
        yield from _within(whole, offset, events)


def starting(
    path: Path, start: bytes, begin: int = 0, end: int | None = None
) -> Iterator[tuple[int, bytes]]:
    """Find the whole lines of a segment that start with these bytes, and where they are.

    Args:
        begin: offset of the line to begin with.
        end: offset before which a line must begin; None: no limit.

    Raises:
        NotRegular, OSError: it cannot be read.
    """
    for offset, whole in blocks(path, begin):
        at = whole.find(start)
        while at >= 0:
            stop = whole.index(b"\n", at) + 1
            if end is not None and offset + at >= end:
                return
            if at == 0 or whole[at - 1] == NEW_LINE:
                yield offset + at, whole[at:stop]
            at = whole.find(start, stop)
        if end is not None and offset + len(whole) >= end:
            return


def firsts(path: Path) -> Iterator[tuple[bytes, int, bytes]]:
    """Find the first lines of streams in a segment, records and stubs, damaged ones too.

    Returns:
        The stream, as JSON has it between its quotes; the offset of the line; the line.

    Raises:
        NotRegular, OSError: it cannot be read.
    """
    for offset, whole in blocks(path):
        at = whole.find(_ZEROTH)
        while at >= 0:
            start = whole.rfind(b"\n", 0, at) + 1
            end = whole.index(b"\n", at) + 1
            head = _STREAM.match(whole, start)
            if head is not None and head.end() == at:
                yield head[1], offset + start, whole[start:end]
            at = whole.find(_ZEROTH, at + 1)


def blocks(path: Path, offset: int = 0) -> Iterator[tuple[int, bytes]]:
    """Read the whole lines of a segment from an offset on, a block at a time and with its offset;
    what is damaged of a compressed one is left out.

    Raises:
        NotRegular, OSError: it cannot be read.
    """
    with drafts.reader(path) as file:
        file.seek(offset)
        while True:
            try:
                block = file.read(BLOCK_BYTES)
                if block and not block.endswith(b"\n"):
                    block += file.readline(sealed.LINE_LIMIT)
            except reading.Damaged as error:
                file.seek(offset)
                yield offset, _whole(file.read(error.offset - offset))
                resumed = reading.resume(file, error)
                if resumed is None:
                    return
                offset = resumed
                continue
            whole = _whole(block)
            yield offset, whole
            if len(whole) < len(block) or not block:
                return
            offset += len(whole)


def _whole(block: bytes) -> bytes:
    """The lines of a block that have an end."""
    return block[: block.rfind(b"\n") + 1]


def event_of(rest: bytes) -> bytes | None:
    """Return the event of a record if it is a first or last one of a request.

    Args:
        rest: the record from the value of `t` on.
    """
    start = rest.find(b",") + 1
    if not rest.startswith(_EVENTS, start):  # most are none, and a short answer has some fifteen
        return None
    return next(event for event in _EVENTS if rest.startswith(event, start))


def is_first(line: bytes) -> bool:
    """Whether a record is the first one of a stream."""
    head = _HEAD.match(line)
    return head is not None and line.startswith(OPENED, head.end())


def is_last(line: bytes) -> bool:
    """Whether a record is the last one of a request."""
    head = _HEAD.match(line)
    return head is not None and line.startswith(LAST, head.end())


def key_of(line: bytes) -> str | None:
    """Return the name of the key that a request was made with, by its first record or by that of
    its refusal; None by any other."""
    head = _HEAD.match(line)
    if head is None or not line.startswith((OPENED, LAST[1]), head.end()):
        return None
    if not sealed.is_sealed(line):
        return None
    try:
        return rows.opening((0, 0), line).opening.key
    except parse.ParseError:
        return None


def _within(block: bytes, offset: int, events: Iterable[bytes]) -> list[Found]:
    found = []
    for event in events:
        at = block.find(event)
        while at >= 0:
            start = block.rfind(b"\n", 0, at) + 1
            end = block.index(b"\n", at) + 1
            head = _HEAD.match(block, start)
            if head is not None and head.end() == at:
                line = block[start:end]
                if sealed.is_sealed(line):
                    found.append(Found(offset + start, event, line))
            at = block.find(event, end)
    return sorted(found)


def beginnings(
    streams: set[str], before: list[segments.SegmentInfo]
) -> Iterator[tuple[str, rows.Begun]]:
    """Look for the beginnings of streams, in the newest segment first.

    Args:
        streams: their ids; those that are found are taken out.
        before: the segments, oldest first; one that goes meanwhile is passed over.

    Raises:
        NotRegular, OSError: one cannot be read.
    """
    for segment in reversed(before):
        if not streams:
            return
        try:
            for found in find(segment.path, (OPENED,)):
                begun = begin(segment.number, found)
                if begun is not None and begun.opening.stream in streams:
                    streams.discard(begun.opening.stream)
                    yield begun.opening.stream, begun
        except FileNotFoundError:  # retention was faster
            continue


def begun_in(segment: segments.SegmentInfo, ended: set[bytes]) -> dict[str, rows.Begun]:
    """The streams that began in a segment, but for those that are known to have ended.

    Args:
        ended: their ids, as JSON has them between its quotes: nearly all are among them, and to
            look at their first records would take longer than all else.
    """
    begun: dict[str, rows.Begun] = {}
    try:
        for found in find(segment.path, (OPENED,)):
            head = _STREAM.match(found.line)
            if head is not None and head[1] in ended:
                continue
            first = begin(segment.number, found)
            if first is not None:
                begun[first.opening.stream] = first
    except FileNotFoundError:  # retention was faster
        return {}
    return begun


def begin(number: int, found: Found) -> rows.Begun | None:
    """Return what an `opened` record says; None where this version cannot read it."""
    try:
        return rows.opening((number, found.offset), found.line)
    except parse.ParseError:
        return None
