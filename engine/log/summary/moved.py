"""Finds out whether a sidecar's rows still say where their streams begin, once a segment before it
was rewritten.

Of a stream that is being erased its first record went first, and the row is then all that knows
what was asked: while a sidecar has such a row it is not to be made again.
"""

import contextlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from engine import regular
from engine.log.cold import reading
from engine.log.format import stubs
from engine.log.read import drafts, segments
from engine.log.summary import scan, sidecars

_BEGUN: Final = re.compile(
    rb'(?m)^\{"summary":"((?:[^"\\]|\\.)*)","at":\[\d+,\d+\],"t":\d+,"begun":\[(\d+),(\d+)\]'
)


def has_moved(directory: Path, number: int) -> bool:
    """Whether a sealed sidecar points to where a beginning is not any more, and may be made again.

    Only the rows of streams that began in an earlier segment are looked at, which are few.

    Args:
        number: of its segment.

    Raises:
        NotRegular, OSError: it cannot be read, or a segment cannot.
    """
    with regular.reader(directory / sidecars.name_of(number)) as file:
        data = file.read()
    begun: dict[int, dict[bytes, int]] = {}
    for stream, segment, offset in _BEGUN.findall(data):
        if int(segment) != number:
            begun.setdefault(int(segment), {})[stream] = int(offset)
    lost = {segment: _lost(directory, segment, streams) for segment, streams in begun.items()}
    if not any(lost.values()):
        return False
    moved = False
    for segment, streams in begun.items():
        for stream, line in _firsts(directory, segment):
            if stream in streams and stubs.is_stub(line):
                return False
            moved = moved or stream in lost[segment]
    return moved


def _firsts(directory: Path, number: int) -> Iterator[tuple[bytes, bytes]]:
    """The first lines of streams in a segment; none of one that has gone."""
    with contextlib.suppress(FileNotFoundError):
        for stream, _, line in scan.firsts(directory / segments.segment_name(number)):
            yield stream, line


def _lost(directory: Path, number: int, streams: Mapping[bytes, int]) -> set[bytes]:
    """Which streams do not begin at these offsets of a segment; none of one that has gone."""
    lost: set[bytes] = set()
    with contextlib.ExitStack() as held:
        try:
            file = held.enter_context(drafts.reader(directory / segments.segment_name(number)))
        except FileNotFoundError:
            return lost
        for stream, offset in sorted(streams.items(), key=lambda each: each[1]):
            expected = b'{"stream":"%b","seq":0,' % stream
            try:
                file.seek(offset)
                if file.read(len(expected)) != expected:
                    lost.add(stream)
            except reading.Damaged:  # whoever reads it is told
                continue
    return lost
