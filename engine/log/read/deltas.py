"""Reads the records of text deltas, which are nearly all there are, in one decoding.

The problem: a record is read three times, for its place, for its event, and for the members that
this version does not know, and each costs more than the machine's step. What this reads has no
member but those that a text delta may have, and is read once. It must not be less strict: where
anything is otherwise than it expects it gives up, and `engine.log.read.segments` reads the record
as every other, and says what is wrong.
"""

from typing import Final, Literal

import msgspec

from engine.log.format import sealed
from machines import events, outputs

MARK: Final = b'"event":"text_delta"'
"""The member that such a record has, behind its place."""

MARK_WITHIN: Final = 256
"""Bytes of a line within which the member is looked for; ids are shorter than that."""


class Delta(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """All members that the record of a text delta may have: its place, the event's own, the
    machine's, and those of `outputs.Decision`."""

    stream: str
    seq: int
    seg: int
    t: int
    event: Literal["text_delta"]
    text: str
    state: str
    out: tuple[str, ...]
    crc: str
    choice: int = 0
    states: tuple[str, ...] = ()
    released: int | None = None
    cut: outputs.Cut | None = None
    pieces: tuple[outputs.Piece, ...] | None = None
    joined: tuple[outputs.Joined, ...] = ()
    repeats: tuple[int, ...] = ()
    marked: tuple[int, ...] = ()

    @property
    def schema(self) -> int:
        """The version of the records: that of the stream's first, which has the member."""
        return 1

    def load(self) -> events.TextDelta:
        """Make the event."""
        return events.TextDelta(self.text, self.choice)

    @property
    def decision(self) -> outputs.Decision | None:
        """The scanner's decision, if the record has one."""
        if self.released is None:
            return None
        return outputs.Decision(
            self.released, self.cut, self.pieces, self.joined, self.repeats, self.marked
        )


_DELTAS: Final = msgspec.json.Decoder(Delta)


def read(line: bytes) -> Delta | None:
    """The record of a text delta; None for any other line, and for one that is not as expected.

    What it takes nests four levels at the most, so it need not look at the depth.
    """
    if not sealed.is_kind(line, "stream") or line.find(MARK, 0, MARK_WITHIN) < 0:
        return None
    try:
        return _DELTAS.decode(line)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
