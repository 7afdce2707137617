"""The members of a record: its place, the event's own, then the machine's, and its checksum."""

import functools
import re
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from machines import events, outputs, parse

DEPTH: Final = parse.MAX_DEPTH + 2
"""Levels of a record: those of the request that it keeps, and its own."""

OWN: Final = ("stream", "seq", "seg", "t", "event", "state", "out", "states", "crc")
"""Members that are of no event; beside them are those of `outputs.Decision`."""


class Line(msgspec.Struct, gc=False):
    """Members that every record has, whatever its event."""

    stream: str
    seq: int
    seg: int
    t: int
    event: str
    state: str
    out: tuple[str, ...]
    states: tuple[str, ...] = ()
    released: int | None = None
    schema: int = 1


LINES: Final = msgspec.json.Decoder(Line)
"""Reads a `Line`, and looks at nothing of the event's own."""

_TEXT_DELTA: Final = re.compile(
    rb'\{"stream":"[^"\\]*","seq":\d+,"seg":\d+,"t":\d+,"event":"text_delta",'
    rb'"text":"[^"\\]*(?:\\.[^"\\]*)*"(?:,"choice":\d+)?,'
    rb'"state":"[a-z_]+","out":\["content"\],"crc":"[0-9a-f]{8}"\}\n',
    re.DOTALL,
)
"""Nearly every record there is: to look at each of its members takes longer than all the rest."""

_MEMBERS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_encode: Final = msgspec.json.Encoder().encode


def unknown(line: bytes, event: events.StreamEvent) -> list[str]:
    """Names of members of a record that this version does not know.

    Raises:
        ParseError: it is no record.
    """
    if _TEXT_DELTA.fullmatch(line):
        return []
    return sorted(parse.parse(line, _MEMBERS, DEPTH).keys() - _known(type(event)))


@functools.cache
def _known(kind: type[events.StreamEvent]) -> frozenset[str]:
    return frozenset((*OWN, *outputs.Decision.__struct_fields__, *kind.__struct_fields__))


def decided(decision: outputs.Decision) -> bytes:
    """Encode a scanner's decision as members that a replay of a masked log reads."""
    members = _encode(decision)[1:-1]
    if decision.released == 0:  # it is what says that there was a decision
        members = b'"released":0' + (b"," + members if members else b"")
    return b"," + members


@functools.cache
def around(
    kind: type[events.TextDelta | events.ReasoningDelta],
    choice: int,
    state: str,
    output: type[outputs.AnyOutput],
    *more: Any,
) -> tuple[bytes, bytes]:
    """Return the bytes before and after the text in the record of a delta with one output.

    Args:
        more: the delta's members after its choice.
    """
    before, after = _encode(kind("", choice, *more))[1:-1].split(b'""')
    return before, after + outcome(state, (output,))


@functools.cache
def unmoved(state: str) -> bytes:
    """Encode a step without outputs, as `outcome` does: most events of a short answer are notices,
    and there is one such step for each state."""
    return outcome(state, ())


def outcome(
    state: str, outputs: Iterable[type[outputs.AnyOutput]], states: tuple[str, ...] = ()
) -> bytes:
    """Encode the machine's step: its state, the tags of its outputs, and all states that it passed
    through, where they were several."""
    tags = [output.__struct_config__.tag for output in outputs]
    found = b',"state":%b,"out":%b' % (_encode(state), _encode(tags))
    return found + b',"states":%b' % _encode(states) if states else found
