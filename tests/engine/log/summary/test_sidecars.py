"""A sidecar that is whole is known to be, and no other passes for one."""

import errno
import os
import zlib
from pathlib import Path

import msgspec
import pytest

from engine import regular
from engine.log.format import sealed
from engine.log.summary import rows, sidecars
from tests.support.logs import summaries
from tests.support.process import readme
from tests.tools import redraw

ROWS = [rows.Summary(summary=f"st_{n}", at=(3, n), t=100 - n, trigger="x") for n in range(20)]


def write(directory: Path, segment_bytes: int = 500) -> Path:
    sidecar = sidecars.Sidecar(directory, 3)
    sidecar.append(ROWS[:5])
    sidecar.append(ROWS[5:])
    sidecar.append([])
    sidecar.seal(segment_bytes, syncs=True)
    return directory / sidecars.name_of(3)


def test_a_sealed_sidecar_says_what_it_holds(tmp_path: Path) -> None:
    path = write(tmp_path)
    last = sidecars.last_line(path)
    assert last is not None
    assert (last.sealed, last.rows, last.first, last.last, last.bytes) == (3, 20, 81, 100, 500)
    assert sidecars.is_whole(path, 500)
    assert not sidecars.is_whole(path, 501)
    assert path.stat().st_mode & 0o777 == 0o600


def test_rows_with_a_text_are_those_that_are_read_and_no_second_one(tmp_path: Path) -> None:
    head, *lines = write(tmp_path).read_bytes().splitlines(keepends=True)
    last = lines.pop()

    def lie(at: int, name: str) -> bytes:
        return rows.written(msgspec.structs.replace(ROWS[at], request_id=name))

    def found(text: bytes, *changed: bytes) -> list[str]:
        data = b"".join([head, *changed, last])
        wanted = [row for row in sidecars.rows_in(data, 3) if text in rows.written(row)]
        assert [*sidecars.rows_with(text, data, 3)] == wanted
        return [row.request_id or row.summary for row in wanted]

    assert found(b'"st_4"', *lines) == ["st_4"]
    assert found(b'"st_1', *lines) == ["st_1", *(f"st_{n}" for n in range(10, 20))]
    assert found(b"victim", *lines[:5], lie(4, "victim"), *lines[5:]) == []  # the same place again
    assert found(b"victim", *lines[:9], lie(4, "victim"), *lines[9:]) == []  # behind later ones
    assert found(b"victim", *lines[:4], lie(4, "victim"), *lines[4:]) == ["victim"]  # the first
    assert found(b'"st_4"', *lines[:4], lie(4, "victim"), *lines[4:]) == ["victim"]
    damaged = lines[8].replace(b"st_8", b"st_9")
    assert found(b'"st_4"', damaged, *lines) == ["st_4"]  # what is no row is before none
    assert found(b'"st_1', damaged, *lines[1:3], lie(1, "st_1"), *lines[10:12]) == [
        *("st_1", "st_10", "st_11")
    ]
    assert found(b"nothing", *lines) == []


def test_every_change_is_seen(tmp_path: Path) -> None:
    path = write(tmp_path)
    data = path.read_bytes()
    for at in range(0, len(data), 7):
        path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        assert not sidecars.is_whole(path, 500), at
        path.write_bytes(data[:at])
        assert not sidecars.is_whole(path, 500), at
    path.write_bytes(data + data)
    assert not sidecars.is_whole(path, 500)


def test_rows_of_another_version_are_not_whole(tmp_path: Path) -> None:
    path = write(tmp_path)
    first, rest = path.read_bytes().split(b"\n", 1)
    older = sealed.seal(first.replace(b'"schema":2', b'"schema":1').rpartition(b',"crc"')[0])
    crc = zlib.crc32(older + rest[: rest.rindex(b'{"sealed"')])
    last = msgspec.json.decode(rest[rest.rindex(b'{"sealed"') :])
    del last["crc"]
    last["crc32"] = f"{crc:08x}"
    end = sealed.seal(msgspec.json.encode(last)[:-1])
    path.write_bytes(older + rest[: rest.rindex(b'{"sealed"')] + end)
    assert sidecars.last_line(path) is not None
    assert not sidecars.is_whole(path, 500)


def test_a_directory_shows_one_sidecar_a_segment(tmp_path: Path) -> None:
    write(tmp_path)
    for name in ("events-00000003.summary.open", "events-00000004.summary.open"):
        (tmp_path / name).touch()
    (tmp_path / "events-00000002.summary.new").touch()
    (tmp_path / "events-00000001.summary.old").touch()
    (tmp_path / "events-00000005.jsonl").touch()
    found, drafts = sidecars.list_sidecars(tmp_path)
    assert [(each.number, each.is_sealed) for each in found] == [(3, True), (4, False)]
    assert [path.name for path in drafts] == ["events-00000002.summary.new"]


def test_a_write_that_fails_leaves_no_half_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sidecar = sidecars.Sidecar(tmp_path, 3)
    sidecar.append(ROWS[:2])
    before = (tmp_path / "events-00000003.summary.open").read_bytes()
    write = os.write
    calls = iter(range(2))

    def short(fd: int, data: bytes) -> int:
        if next(calls):
            raise OSError(errno.ENOSPC, "full")
        return write(fd, data[:10])

    monkeypatch.setattr(os, "write", short)
    with pytest.raises(OSError, match="full"):
        sidecar.append(ROWS[2:])
    sidecar.release()
    assert (tmp_path / "events-00000003.summary.open").read_bytes() == before


def test_a_link_in_its_place_is_no_file(tmp_path: Path) -> None:
    target = tmp_path / "elsewhere"
    target.write_text("mine")
    (tmp_path / "events-00000003.summary.open").symlink_to(target)
    with pytest.raises(regular.NotRegular):
        sidecars.Sidecar(tmp_path, 3)
    assert target.read_text() == "mine"


def test_the_lines_that_the_page_shows_are_a_sidecar(tmp_path: Path) -> None:
    path = tmp_path / sidecars.name_of(17)
    path.write_text("".join(readme.examples(redraw.DOCS / "events.md", "jsonl")))
    last = sidecars.last_line(path)
    assert last is not None
    assert sidecars.is_whole(path, last.bytes)
    (row,) = summaries.rows_of(tmp_path)
    assert rows.written(row) in path.read_bytes()
