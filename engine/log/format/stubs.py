"""The form of a stub: what is left of a record whose stream was erased.

A stub keeps the record's place, so that the counts of its segment and its stream go on, and says
when it was erased. That of a stream's last record also keeps figures of how the stream ended, of
which usage is made: see `engine.log.summary.rows`.
"""

from typing import Any, Final

import msgspec

from engine.log.format import records, sealed
from machines import parse

PURGED: Final = "purged"
"""In place of the tag of an event."""


class Place(msgspec.Struct, gc=False):
    """The place of a record, whatever else is in it; `purged` is 0 but in a stub."""

    stream: str
    seq: int
    seg: int
    purged: int = 0

    @property
    def event(self) -> str:
        """The word in place of an event's tag: empty but of a stub."""
        return PURGED if self.purged else ""


class Stub(msgspec.Struct, frozen=True, gc=False):
    """A record that was erased.

    Attributes:
        stream: the one that it was of.
        seq: its count in the stream.
        seg: its count in the segment.
        purged: when it was erased, in microseconds since the epoch.
        ended: only in the last of a stream that had ended: figures of the request's
            [summary](#summaries).
    """

    stream: str
    seq: int
    seg: int
    purged: int
    ended: msgspec.Raw = msgspec.Raw(b"null")


_PLACES: Final = msgspec.json.Decoder(Place)
_STUBS: Final = msgspec.json.Decoder(Stub)
_MEMBER: Final = b'"purged":'
_encode: Final = msgspec.json.Encoder().encode


def place(line: bytes) -> Place:
    """Return the place of a record or a stub.

    Raises:
        ParseError: it is neither.
    """
    return parse.parse(line, _PLACES, records.DEPTH)


def is_stub(line: bytes) -> bool:
    """Return whether a line of a stream is a stub: no record has that member."""
    try:
        return _MEMBER in line and bool(place(line).purged)
    except parse.ParseError:
        return False


def read(line: bytes) -> Stub:
    """Return a stub.

    Raises:
        ParseError: it is none.
    """
    return parse.parse(line, _STUBS, records.DEPTH)


def line(
    stream: str, seq: int, seg: int, purged_us: int, ended: dict[str, Any] | None = None
) -> bytes:
    """The line of a stub."""
    members: dict[str, Any] = {"stream": stream, "seq": seq, "seg": seg, "purged": purged_us}
    if ended is not None:
        members["ended"] = ended
    return sealed.seal(_encode(members)[:-1])
