"""Finds the streams that are to be erased: by their key, or by when they ended.

Only the first and the last records are looked at, so a whole log is gone through as fast as it can
be searched.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from engine.log.derive import rowfiles
from engine.log.find import catalog, stories
from engine.log.format import records, stubs
from engine.log.read import segments
from engine.log.summary import scan
from machines import events, parse


class Kept(NamedTuple):
    """A response that was kept: its id, and the name of its key."""

    response: str
    key: str


class Chosen(msgspec.Struct):
    """Streams, and what they left behind elsewhere.

    Attributes:
        streams: their ids.
        responses: the responses that were kept of them, by stream.
    """

    streams: set[str] = msgspec.field(default_factory=set)
    responses: dict[str, Kept] = msgspec.field(default_factory=dict)


class _First(msgspec.Struct, frozen=True, gc=False):
    """What is looked at of a first record, and of a last one."""

    stream: str
    t: int
    key: str = ""
    stored: bool = False
    completion_id: str = ""


class _Left(msgspec.Struct, frozen=True, gc=False):
    """What is looked at of what a stub keeps."""

    t: int


_FIRSTS: Final = msgspec.json.Decoder(_First)
_LEFT: Final = msgspec.json.Decoder(_Left)


def of_stories(found: Iterable[stories.Story]) -> Chosen:
    """Return these streams."""
    chosen = Chosen()
    for story in found:
        chosen.streams.add(story.stream)
        opened = story.records[0].load() if story.records else None
        if isinstance(opened, events.Opened) and opened.stored:
            chosen.responses[story.stream] = Kept(opened.completion_id, opened.key)
    return chosen


def of_key(directory: Path, key: str) -> Chosen:
    """Return all streams and refusals of a key, by its name.

    Raises:
        NotRegular, OSError: the log cannot be read.
    """
    chosen = Chosen()
    for found in _search(directory):
        if found.event not in (scan.OPENED, scan.LAST[1]):
            continue
        first = parse.parse(found.line, _FIRSTS, records.DEPTH)
        if first.key == key:
            _take(chosen, first)
    # A purge that was stopped may have erased the beginnings alone.
    for row in catalog.Catalog(directory).ended_like(lambda row: row.key == key):
        if not row.purged:
            chosen.streams.add(row.summary)
    # Or all of a stream, but for its row.
    chosen.streams |= {row.summary for row in rowfiles.left(directory) if row.key == key}
    return chosen


def before(directory: Path, when_us: int) -> Chosen:
    """Return all streams, refusals and lives of processes that ended before a time; those too of
    which a row alone is left.

    Args:
        when_us: microseconds since the epoch.

    Raises:
        NotRegular, OSError: the log cannot be read.
    """
    begun: dict[str, _First] = {}
    ended: dict[str, int] = {}
    for found in _search(directory):
        if found.event == scan.ENDED:
            stub = stubs.read(found.line)
            ended[stub.stream] = parse.parse(stub.ended, _LEFT, records.DEPTH).t
            continue
        record = parse.parse(found.line, _FIRSTS, records.DEPTH)
        if found.event == scan.OPENED:
            begun[record.stream] = record
        else:
            ended[record.stream] = record.t
    chosen = Chosen()
    for stream, at in ended.items():
        if at < when_us:
            _take(chosen, begun.get(stream, _First(stream, at)))
    log = catalog.Catalog(directory)
    for row in log.ended_like(lambda row: row.t < when_us and row.at[0] not in log.files):
        if not row.purged:
            chosen.streams.add(row.summary)
    return chosen


def both(one: Chosen, other: Chosen) -> Chosen:
    """Return the streams that two choices have in common."""
    kept = {each: one.responses[each] for each in one.responses.keys() & other.responses.keys()}
    return Chosen(one.streams & other.streams, kept)


def _take(chosen: Chosen, first: _First) -> None:
    chosen.streams.add(first.stream)
    if first.stored:
        chosen.responses[first.stream] = Kept(first.completion_id, first.key)


def _search(directory: Path) -> Iterator[scan.Found]:
    for segment in segments.examine(directory)[1]:
        yield from scan.find(segment.path)
