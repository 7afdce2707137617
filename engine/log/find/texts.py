"""Searches the texts of a log's streams: what was asked, answered, thought and called.

A word may be split over several deltas, so the texts of each stream are joined as they come; one
pass over the segments does it for all streams at once. Where a log is masked every letter is `*`:
nothing is found there, and how many streams that is can be said.
"""

import re
from collections.abc import Iterator
from typing import Final

import msgspec

from engine.log.find import catalog
from engine.log.format import records
from engine.log.summary import rows, scan
from machines import parse

EVENTS: Final = re.compile(
    rb'^\{"stream":"(?P<stream>[^"\\]*)","seq":\d+,"seg":\d+,"t":\d+,"event":"'
    rb'(?P<event>opened|text_delta|reasoning_delta|refusal_delta|tool_called|tool_call_delta)"'
)
"""The events that have texts, and the streams that they are of: ids that are made here need no
escapes."""


class Match(msgspec.Struct):
    """The streams that a search has found.

    Attributes:
        streams: ids of those that have every word.
        masked: ids of those whose texts are masked.
    """

    streams: set[str]
    masked: set[str]


class _Texts(msgspec.Struct, gc=False):
    """The members of a record that hold texts."""

    text: str = ""
    arguments: str | None = ""
    name: str | None = ""
    choice: int = 0
    content: str = "full"
    request: msgspec.Raw = msgspec.Raw(b"")


_TEXTS: Final = msgspec.json.Decoder(_Texts)


def search(
    found: catalog.Catalog, among: list[rows.Summary], words: tuple[str, ...], tell: catalog.Tell
) -> Match:
    """Find the streams among these rows whose texts have all words, whatever their case.

    Raises:
        OSError: the log cannot be read.
    """
    wanted = {row.summary for row in among}
    numbers = {n for row in among for n in range((row.begun or row.at)[0], row.at[0] + 1)}
    if any(row.kind == rows.OPEN for row in among):
        numbers |= {n for n in found.files if n >= min(numbers)}
    missing = {stream: {word.casefold() for word in words} for stream in wanted}
    match = Match(set(), set())
    tails: dict[tuple[str, str, int], str] = {}
    longest = max(map(len, words))
    total = sum(found.files[n].size for n in numbers if n in found.files)
    done = 0
    for number in sorted(numbers & found.files.keys()):
        for stream, event, line in _lines(found, number, wanted):
            try:
                told = parse.parse(line, _TEXTS, records.DEPTH)
            except parse.ParseError:
                continue
            if told.content == "masked":
                match.masked.add(stream)
            place = stream, event, told.choice
            text = _text(told).casefold()
            joined = tails.get(place, "") + text
            missing[stream] -= {word for word in missing[stream] if word in joined}
            tails[place] = joined[-longest:]
            if not missing[stream]:
                match.streams.add(stream)
        done += found.files[number].size
        tell(done, total)
    return match


def _lines(
    found: catalog.Catalog, number: int, wanted: set[str]
) -> Iterator[tuple[str, str, bytes]]:
    """Yield the records of a segment that have texts of these streams."""
    try:
        for _, whole in scan.blocks(found.files[number].path):
            for line in whole.splitlines(keepends=True):
                head = EVENTS.match(line)
                if head is not None and (stream := head["stream"].decode()) in wanted:
                    yield stream, head["event"].decode(), line
    except FileNotFoundError:  # retention was faster
        return


def _text(told: _Texts) -> str:
    if told.request:
        try:
            request = msgspec.json.decode(told.request)
        except (msgspec.DecodeError, RecursionError):
            return ""
        return "\n".join(_strings(request))
    return told.text or f"{told.name or ''}{told.arguments or ''}"


def _strings(value: object) -> list[str]:
    """All texts of a JSON value, without names of members."""
    found: list[str] = []
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, str):
            found.append(each)
        elif isinstance(each, dict):
            waiting += each.values()
        elif isinstance(each, list):
            waiting += each
    return found
