"""The form of a compressed segment: members of gzip, each of which is read without the others.

The problem: whoever looks for one stream wants a few kilobytes of a segment, and a file of gzip
can only be read from its beginning. So a segment is cut into parts of `CONTENT_BYTES`, and each
part is a gzip member of its own (RFC 1952), as in BGZF. The header of a member has an extra field:

    "TT"      2 bytes, and 24 as the length of what follows, little-endian as all of gzip
    segment   8 bytes: number of the segment
    offset    8 bytes: of the member's content in the segment's content
    size      4 bytes: of the member, from its first byte to its last
    content   4 bytes: of what it holds, `CONTENT_BYTES` in all but the last

The last member of a file is empty, so that a file that was cut is told from one that ends. All
else in a header is fixed, so what one bit of it says is checked. `gzip -t` and `zcat` read the
file as any other.
"""

import struct
import zlib
from typing import Final, NamedTuple

CONTENT_BYTES: Final = 1 << 20
"""Content of a member. Smaller ones are found sooner and compress worse: at 64 KiB a masked log
takes a fifth more room."""

LEVEL: Final = 6
"""The level of compression; it is the usual one of gzip."""

_HEADER: Final = struct.Struct("<4sIBBH2sHQQII")
_TRAILER: Final = struct.Struct("<II")

HEADER_BYTES: Final = _HEADER.size
"""Length of a member's header."""

_FIXED: Final = (b"\x1f\x8b\x08\x04", 0, 0, 255, 28, b"TT", 24)
"""The beginning of every header: gzip, deflate, an extra field; no time, no flags, no system; 28
bytes of extra fields, of which this is one with 24."""

_LEAST: Final = HEADER_BYTES + len(b"\x03\x00") + _TRAILER.size

END_BYTES: Final = _LEAST
"""Length of the empty member."""

MEMBER_LIMIT: Final = _LEAST + CONTENT_BYTES + CONTENT_BYTES // 1024
"""Bytes that a member may have: deflate stores what it cannot compress, with 5 bytes for every
16 KiB."""


class Malformed(ValueError):
    """Raised for bytes that are no member as it was written; says why."""


class Member(NamedTuple):
    """The header of a member.

    Attributes:
        segment: number of the segment that it is a part of.
        offset: of its content there.
        size: of the member, in bytes.
        content: bytes of its content; 0 for the last member.
    """

    segment: int
    offset: int
    size: int
    content: int

    @property
    def is_end(self) -> bool:
        """Whether it is the last member, which is empty."""
        return not self.content


def encode(segment: int, offset: int, content: bytes) -> bytes:
    """Compress a part of a segment; without content it is the last member."""
    deflate = zlib.compressobj(LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    body = deflate.compress(content) + deflate.flush()
    size = HEADER_BYTES + len(body) + _TRAILER.size
    header = _HEADER.pack(*_FIXED, segment, offset, size, len(content))
    return header + body + _TRAILER.pack(zlib.crc32(content), len(content))


def parse_header(header: bytes) -> Member:
    """Read the header of a member.

    Raises:
        Malformed: it is none, or says what no member may have.
    """
    if len(header) < HEADER_BYTES:
        raise Malformed("it ends before its last member")
    *fixed, segment, offset, size, content = _HEADER.unpack_from(header)
    if tuple(fixed) != _FIXED:
        raise Malformed("no compressed member begins here")
    if content > CONTENT_BYTES or not _LEAST <= size <= MEMBER_LIMIT:
        raise Malformed("a compressed member says that it is larger than one may be")
    return Member(segment, offset, size, content)


def decode(member: Member, data: bytes) -> bytes:
    """Return the content of a member; more than it says is never unpacked.

    Args:
        data: all bytes of the member.

    Raises:
        Malformed: they are not as they were written.
    """
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        content = inflate.decompress(memoryview(data)[HEADER_BYTES:], member.content + 1)
    except zlib.error:
        raise Malformed("a compressed member cannot be unpacked") from None
    if len(content) != member.content or not inflate.eof:
        raise Malformed("a compressed member does not hold what it says")
    if inflate.unused_data != _TRAILER.pack(zlib.crc32(content), len(content)):
        raise Malformed("the checksum of a compressed member does not fit")
    return content
