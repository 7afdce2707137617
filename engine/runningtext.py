"""A text that has gone out, known without keeping it: by its length and a checksum.

The problem: a provider sends a text in pieces and then once more as a whole. If a piece was lost
on the way, the whole is longer than what went out by just that much, and its tail, pasted by
length, makes an answer that looks whole and is not. So the whole is held against what went out,
and only what continues it counts.
"""

import zlib
from typing import Final

FOLDED: Final = 512
"""Pieces that are kept before they are folded into the checksum: one join for many pieces costs
a tenth of a checksum for each."""


class RunningText:
    """One text that comes in pieces.

    Attributes:
        pieces: the latest. A hot path appends to them what `add` would, and calls `fold` when
            there are `FOLDED`.
    """

    __slots__ = ("_crc", "_length", "pieces")

    def __init__(self) -> None:
        self.pieces: list[str] = []
        self._length = 0
        self._crc = 0

    @property
    def begun(self) -> bool:
        """Whether anything has gone out."""
        return self._length > 0 or any(self.pieces)

    def add(self, piece: str) -> None:
        """Another piece has gone out."""
        self.pieces.append(piece)
        if len(self.pieces) >= FOLDED:
            self.fold()

    def rest_of(self, whole: str) -> str | None:
        """Return the part of a whole text behind all that went out; None if it does not continue
        that."""
        self.fold()
        if len(whole) < self._length or _crc(whole[: self._length]) != self._crc:
            return None
        return whole[self._length :]

    def fold(self) -> None:
        """Replace the pieces by their length and checksum."""
        text = "".join(self.pieces)
        self.pieces.clear()
        self._length += len(text)
        self._crc = _crc(text, self._crc)


def _crc(text: str, before: int = 0) -> int:
    return zlib.crc32(text.encode("utf-8", "surrogatepass"), before)


class Texts:
    """The texts of one choice that went out, to compare a repeated message with."""

    def __init__(self) -> None:
        self.content = RunningText()
        self.reasoning = RunningText()
        self.refusal = RunningText()
