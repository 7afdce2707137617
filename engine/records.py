"""The members of a record between its place and its checksum: the event's, then the machine's."""

import functools
from collections.abc import Iterable
from typing import Final

import msgspec

from machines import events

_encode: Final = msgspec.json.Encoder().encode


def decided(decision: events.Decision) -> bytes:
    """What a scanner decided, as members that a replay of a masked log reads."""
    if decision.cut is None:
        return b',"released":%d' % decision.released
    return b',"released":%d,"cut":"%b"' % (decision.released, decision.cut.encode())


@functools.cache
def around(
    kind: type[events.TextDelta | events.ReasoningDelta],
    choice: int,
    state: str,
    output: type[events.AnyOutput],
) -> tuple[bytes, bytes]:
    """What stands before and after the text in the record of a delta with one output."""
    before, after = _encode(kind("", choice))[1:-1].split(b'""')
    return before, after + outcome(state, (output,))


def outcome(state: str, outputs: Iterable[type[events.AnyOutput]]) -> bytes:
    """What the machine made of the event: its state, and the tags of its outputs."""
    tags = [output.__struct_config__.tag for output in outputs]
    return b',"state":%b,"out":%b' % (_encode(state), _encode(tags))
