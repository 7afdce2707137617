"""The members of a record between its place and its checksum: the event's, then the machine's."""

import functools
from collections.abc import Iterable
from typing import Final

import msgspec

from machines import events, outputs

_encode: Final = msgspec.json.Encoder().encode


def decided(decision: outputs.Decision) -> bytes:
    """What a scanner decided, as members that a replay of a masked log reads."""
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
    *more: events.ReasoningKind,
) -> tuple[bytes, bytes]:
    """What stands before and after the text in the record of a delta with one output.

    Args:
        more: the delta's members after its choice.
    """
    before, after = _encode(kind("", choice, *more))[1:-1].split(b'""')
    return before, after + outcome(state, (output,))


def outcome(state: str, outputs: Iterable[type[outputs.AnyOutput]]) -> bytes:
    """What the machine made of the event: its state, and the tags of its outputs."""
    tags = [output.__struct_config__.tag for output in outputs]
    return b',"state":%b,"out":%b' % (_encode(state), _encode(tags))
