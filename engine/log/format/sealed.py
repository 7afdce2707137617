"""The form of a line in the log's files, and of what is found wrong with one.

Every line is a JSON object that ends in a checksum over everything before it. Its first member
says what it is, in every version: a record of a `stream`, the header of a `segment`, an `entry` of
the chain, a `checkpoint`. So a line of one kind in the place of another is seen to be misplaced,
and a line of the right kind that this version cannot read is seen to be a later version's.
"""

import zlib
from pathlib import Path
from typing import Final, Literal, get_args

import msgspec

LINE_LIMIT: Final = 64 << 20
"""Bytes that a line may have, for writers and readers alike. Nothing that is kept of a request or
an answer comes near it; a reader of a damaged file must not fill its memory with one line."""

SEAL_BYTES: Final = len(b',"crc":"00000000"}\n')
"""Length of what `seal` adds."""

LineKind = Literal["stream", "segment", "entry", "checkpoint"]
"""The first member of a line."""

ProblemKind = Literal["torn", "corrupt", "later"]
"""The kinds of problems in a log: its writer was stopped there; it is not as it was written; a
later version wrote it, and this one does not know what it means."""


_BEGINNINGS: Final[dict[LineKind, bytes]] = {
    kind: b'{"%b":' % kind.encode() for kind in get_args(LineKind)
}


class Problem(msgspec.Struct, frozen=True):
    """Something in a log that cannot be taken as it is.

    Attributes:
        line: number in the file, from 1.
        offset: of the line's first byte in the file.
        stream: the one that is hurt, where the line says so.
    """

    kind: ProblemKind
    path: Path
    line: int
    offset: int
    reason: str
    stream: str | None = None

    def __str__(self) -> str:
        kind = "written by a later version" if self.kind == "later" else self.kind
        return f"{self.path}:{self.line} (byte {self.offset}): {kind}: {self.reason}"


def seal(body: bytes) -> bytes:
    """A line: its members, without the closing brace, and their checksum as the last."""
    return b'%b,"crc":"%08x"}\n' % (body, zlib.crc32(body))


def is_sealed(line: bytes) -> bool:
    """Whether a line is as it was written."""
    return line[-SEAL_BYTES:] == b',"crc":"%08x"}\n' % zlib.crc32(line[:-SEAL_BYTES])


def crc_of(line: bytes) -> str:
    """The checksum that a sealed line ends in, 8 hexadecimal digits."""
    return line[-11:-3].decode()


def is_kind(line: bytes, kind: LineKind) -> bool:
    """Whether a line is of this kind, in whatever version."""
    return line.startswith(_BEGINNINGS[kind])
