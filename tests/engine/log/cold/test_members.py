"""A member is a gzip file of its own, says what it is, and no bit of it changes unseen."""

import gzip
import random
import struct
import zlib

import pytest

from engine.log.cold import members

CONTENT = b"".join(b'{"stream":"st_%d","text":"***** ***"}\n' % number for number in range(300))


@pytest.fixture
def data() -> bytes:
    return members.encode(17, 1 << 20, CONTENT)


def read(data: bytes) -> bytes:
    return members.decode(members.parse_header(data), data)


def test_it_comes_back_as_it_was(data: bytes) -> None:
    assert members.parse_header(data) == members.Member(17, 1 << 20, len(data), len(CONTENT))
    assert read(data) == CONTENT
    assert len(data) < len(CONTENT) / 5


def test_gzip_reads_it_too(data: bytes) -> None:
    end = members.encode(17, (1 << 20) + len(CONTENT), b"")
    assert gzip.decompress(data + end) == CONTENT


def test_the_last_member_is_empty() -> None:
    end = members.encode(17, 5, b"")
    assert len(end) == members.END_BYTES
    assert members.parse_header(end).is_end
    assert read(end) == b""


def test_the_same_content_makes_the_same_bytes(data: bytes) -> None:
    assert members.encode(17, 1 << 20, CONTENT) == data


def test_what_cannot_be_compressed_fits_into_the_limit() -> None:
    noise = random.Random(1).randbytes(members.CONTENT_BYTES)
    hard = members.encode(1, 0, noise)
    assert members.CONTENT_BYTES < len(hard) <= members.MEMBER_LIMIT
    assert read(hard) == noise


def test_a_changed_bit_is_seen_or_changes_nothing(data: bytes) -> None:
    """The last byte of a deflate stream may have bits that mean nothing."""
    unseen = 0
    for at in range(len(data)):
        for bit in range(8):
            changed = bytearray(data)
            changed[at] ^= 1 << bit
            try:
                member = members.parse_header(bytes(changed))
                found = members.decode(member, bytes(changed[: member.size]))
            except members.Malformed:
                continue
            # What a header says of its place is held against the file, by who reads it.
            assert found == CONTENT
            unseen += at < 16 or at >= members.HEADER_BYTES
    assert unseen < 8


def test_a_bomb_is_not_unpacked(data: bytes) -> None:
    bomb = zlib.compressobj(9, zlib.DEFLATED, -15)
    body = bomb.compress(bytes(1 << 28)) + bomb.flush()
    assert len(body) < members.CONTENT_BYTES
    said = members.Member(17, 0, members.HEADER_BYTES + len(body) + 8, 1000)
    head = data[:16] + struct.pack("<QQII", *said)
    with pytest.raises(members.Malformed, match="does not hold what it says"):
        read(head + body + struct.pack("<II", 0, 1000))


@pytest.mark.parametrize(
    ("size", "content"),
    [
        (members.MEMBER_LIMIT + 1, 10),
        (100, members.CONTENT_BYTES + 1),
        (members.END_BYTES - 1, 0),
        ((1 << 32) - 1, (1 << 32) - 1),
    ],
)
def test_a_size_that_none_may_have_is_refused_before_anything_is_read(
    data: bytes, size: int, content: int
) -> None:
    head = data[:16] + struct.pack("<QQII", 1, 0, size, content)
    with pytest.raises(members.Malformed, match="larger"):
        members.parse_header(head)


def test_a_gzip_file_of_somebody_else_is_none() -> None:
    with pytest.raises(members.Malformed, match="no compressed member begins here"):
        members.parse_header(gzip.compress(CONTENT))
