"""The content of a compressed segment is read at any place; damage is located and passed over."""

import io
import os
import random
import tracemalloc
from pathlib import Path

import pytest

from engine.log.cold import members, reading
from tests.support.logs import coldlogs

LINES = [b'{"stream":"st_%d","text":"%s"}\n' % (n, b"ab" * (n % 50)) for n in range(400)]
CONTENT = b"".join(LINES)


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    coldlogs.small_members(monkeypatch)


def parts_of(content: bytes, segment: int = 7) -> list[bytes]:
    """The members of a compressed segment."""
    step = members.CONTENT_BYTES
    starts = range(0, len(content), step)
    whole = [members.encode(segment, at, content[at : at + step]) for at in starts]
    return [*whole, members.encode(segment, len(content), b"")]


def write(path: Path, *parts: bytes) -> Path:
    path.write_bytes(b"".join(parts))
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write(tmp_path / "events-00000007.jsonl.gz", *parts_of(CONTENT))


def test_every_line_is_there(path: Path) -> None:
    with reading.open_members(path, 7) as file:
        assert file.readlines() == LINES
        assert file.tell() == len(CONTENT)
        assert file.read() == b""


def test_any_offset_is_read_as_in_the_plain_one(path: Path) -> None:
    rng = random.Random(1)
    plain = io.BytesIO(CONTENT)
    with reading.open_members(path, 7) as file:
        for _ in range(500):
            at, count = rng.randrange(len(CONTENT) + 100), rng.randrange(4000)
            assert file.seek(at) == plain.seek(at)
            assert file.read(count) == plain.read(count)
            assert file.readline() == plain.readline()
            assert file.tell() == plain.tell()
        assert file.seek(0, os.SEEK_END) == len(CONTENT)
        assert file.seek(-5, os.SEEK_END) == len(CONTENT) - 5
        assert file.seek(2, os.SEEK_CUR) == len(CONTENT) - 3


def test_an_empty_segment(tmp_path: Path) -> None:
    path = write(tmp_path / "e.gz", members.encode(7, 0, b""))
    with reading.open_members(path, None) as file:
        assert (file.read(), file.seek(0, os.SEEK_END)) == (b"", 0)


def test_content_that_fills_its_members_exactly(tmp_path: Path) -> None:
    content = b"x" * (3 * members.CONTENT_BYTES)
    with reading.open_members(write(tmp_path / "f.gz", *parts_of(content)), 7) as file:
        assert file.read() == content


def test_only_the_member_that_is_asked_for_is_unpacked(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unpacked: list[int] = []
    decode = members.decode

    def counted(member: members.Member, data: bytes) -> bytes:
        unpacked.append(member.offset)
        return decode(member, data)

    monkeypatch.setattr(members, "decode", counted)
    at = 5 * members.CONTENT_BYTES
    with reading.open_members(path, 7) as file:
        file.seek(at + 10)
        file.readline()
    assert at in unpacked
    assert set(unpacked) <= {at, at + members.CONTENT_BYTES}


def problem(path: Path, number: int | None = 7) -> reading.Damaged:
    """What is found wrong with a file that is read through."""
    with pytest.raises(reading.Damaged) as found, reading.open_members(path, number) as file:
        file.read()
        file.seek(0, os.SEEK_END)
    assert found.value.filename == str(path)
    return found.value


PARTS = 2
"""Index of the member that is damaged."""


def swapped(parts: list[bytes]) -> None:
    parts[1], parts[2] = parts[2], parts[1]


def removed(parts: list[bytes]) -> None:
    del parts[PARTS]


def doubled(parts: list[bytes]) -> None:
    parts.insert(PARTS, parts[PARTS])


def of_another_segment(parts: list[bytes]) -> None:
    parts[PARTS] = parts_of(CONTENT, segment=8)[PARTS]


def without_its_end(parts: list[bytes]) -> None:
    parts.pop()


def cut_in_a_member(parts: list[bytes]) -> None:
    del parts[PARTS + 1 :]
    parts[PARTS] = parts[PARTS][:-9]


def cut_in_a_header(parts: list[bytes]) -> None:
    del parts[PARTS + 1 :]
    parts[PARTS] = parts[PARTS][:20]


def with_more(parts: list[bytes]) -> None:
    parts.append(b"\0")


def with_an_end_in_the_middle(parts: list[bytes]) -> None:
    parts.insert(PARTS, members.encode(7, PARTS * members.CONTENT_BYTES, b""))


def a_short_one_in_the_middle(parts: list[bytes]) -> None:
    parts[PARTS] = members.encode(7, PARTS * members.CONTENT_BYTES, b"short\n")
    parts[PARTS + 1] = members.encode(
        7, PARTS * members.CONTENT_BYTES + 6, b"x" * members.CONTENT_BYTES
    )


def a_wrong_size(parts: list[bytes]) -> None:
    part = bytearray(parts[PARTS])
    part[32] ^= 1
    parts[PARTS] = bytes(part)


def a_wrong_length(parts: list[bytes]) -> None:
    part = bytearray(parts[PARTS])
    part[37] ^= 1
    parts[PARTS] = bytes(part)


def a_bit(parts: list[bytes]) -> None:
    part = bytearray(parts[PARTS])
    part[200] ^= 1
    parts[PARTS] = bytes(part)


def zeros(parts: list[bytes]) -> None:
    parts[PARTS] = bytes(len(parts[PARTS]))


DAMAGES = (
    *(swapped, removed, doubled, of_another_segment, without_its_end, cut_in_a_member),
    *(cut_in_a_header, with_more, with_an_end_in_the_middle, a_short_one_in_the_middle),
    *(a_wrong_size, a_wrong_length, a_bit, zeros),
)


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_what_is_damaged_is_located(tmp_path: Path, damage: object) -> None:
    assert callable(damage)
    parts = parts_of(CONTENT)
    before = list(parts)
    damage(parts)
    found = problem(write(tmp_path / "events-00000007.jsonl.gz", *parts))
    same = next(i for i, part in enumerate([*parts, None]) if [*before, b""][i] != part)
    places = {sum(map(len, parts[:index])) for index in (same, same - 1, same + 1)}
    assert any(f"(byte {place} of the file)" in str(found) for place in places), found


def test_a_member_of_another_segment_is_seen_in_a_file_without_a_name(tmp_path: Path) -> None:
    parts = parts_of(CONTENT)
    of_another_segment(parts)
    found = problem(write(tmp_path / "mine.gz", *parts), None)
    assert "of segment 8 is here" in str(found)


def test_lines_behind_a_damaged_member_are_read(tmp_path: Path) -> None:
    parts = parts_of(CONTENT)
    a_bit(parts)
    path = write(tmp_path / "events-00000007.jsonl.gz", *parts)
    found: list[bytes] = []
    damages = 0
    with reading.open_members(path, 7) as file:
        while True:
            try:
                line = file.readline()
            except reading.Damaged as error:
                damages += 1
                at = reading.resume(file, error)
                assert at is not None
                assert at > error.offset == PARTS * members.CONTENT_BYTES
                continue
            if not line:
                break
            found.append(line)
    lost = [line for line in LINES if line not in found]
    assert damages == 1
    assert found == [line for line in LINES if line not in lost]
    assert members.CONTENT_BYTES <= sum(map(len, lost)) <= members.CONTENT_BYTES + 300


def test_behind_a_damaged_header_there_is_nothing_to_go_on_with(tmp_path: Path) -> None:
    parts = parts_of(CONTENT)
    zeros(parts)
    path = write(tmp_path / "events-00000007.jsonl.gz", *parts)
    with reading.open_members(path, 7) as file:
        with pytest.raises(reading.Damaged) as found:
            file.read()
        assert reading.resume(file, found.value) is None
        with pytest.raises(reading.Damaged):  # not an end that looks like one
            file.read()


def test_a_line_that_spans_members_is_whole(tmp_path: Path) -> None:
    line = b"y" * (20 * members.CONTENT_BYTES) + b"\n"
    path = write(tmp_path / "l.gz", *parts_of(b"first\n" + line + b"last\n"))
    with reading.open_members(path, 7) as file:
        assert list(file) == [b"first\n", line, b"last\n"]


def test_a_reader_s_memory_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(members, "CONTENT_BYTES", 1 << 20)
    path = write(tmp_path / "m.gz", *parts_of(CONTENT * 1500))
    length = 0
    with reading.open_members(path, 7) as file:
        tracemalloc.start()
        for line in file:
            length += len(line)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert length == 1500 * len(CONTENT) > 20 << 20
    assert most < 6 << 20
