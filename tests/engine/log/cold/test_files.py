"""Segments are found and opened in whichever form they lie there, also while that changes."""

import contextlib
import os
from pathlib import Path
from typing import Any

import pytest

from engine import regular
from engine.log.cold import files, members

CONTENT = b"one\ntwo\n"


def plain(directory: Path, number: int, content: bytes = CONTENT) -> Path:
    path = directory / files.segment_name(number)
    path.write_bytes(content)
    return path


def compressed(directory: Path, number: int, content: bytes = CONTENT) -> Path:
    path = directory / files.compressed_name(number)
    end = members.encode(number, len(content), b"")
    path.write_bytes(members.encode(number, 0, content) + end)
    return path


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("events-00000017.jsonl", 17),
        ("events-00000017.jsonl.gz", 17),
        ("events-123456789.jsonl", 123456789),
        ("events-0000000017.jsonl", None),
        ("events-00000017.jsonl.gz.new", None),
        ("events-00000017.summary", None),
        ("mine.jsonl.gz", None),
    ],
)
def test_a_name_has_a_number(name: str, number: int | None) -> None:
    assert files.number_of(name) == number


def test_both_forms_are_listed_in_their_order(tmp_path: Path) -> None:
    first, second = compressed(tmp_path, 1), plain(tmp_path, 2)
    (tmp_path / "events-00000003.jsonl.gz.new").touch()
    found = files.list_segments(tmp_path)
    assert [(each.number, each.path, each.size) for each in found] == [
        (1, first, first.stat().st_size),
        (2, second, len(CONTENT)),
    ]
    assert [each.is_compressed for each in found] == [True, False]


def test_where_both_lie_the_plain_one_counts(tmp_path: Path) -> None:
    compressed(tmp_path, 1, b"old\n")
    path = plain(tmp_path, 1)
    assert [each.path for each in files.list_segments(tmp_path)] == [path]
    for name in (files.segment_name(1), files.compressed_name(1)):
        with files.open_segment(tmp_path / name) as file:
            assert file.read() == CONTENT


def test_who_does_not_find_the_one_looks_for_the_other(tmp_path: Path) -> None:
    compressed(tmp_path, 1)
    plain(tmp_path, 2)
    for path in (tmp_path / files.segment_name(1), tmp_path / files.compressed_name(2)):
        with files.open_segment(path) as file:
            assert file.readlines() == [b"one\n", b"two\n"]
    with pytest.raises(FileNotFoundError) as missing:
        files.open_segment(tmp_path / files.segment_name(3))
    assert missing.value.filename == str(tmp_path / files.segment_name(3))


def test_one_that_is_compressed_while_it_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the two looks the plain one goes, and a third look finds one that came back."""
    path = plain(tmp_path, 1)
    opened: list[str] = []
    real = os.open

    def racing(name: Any, *arguments: Any) -> int:
        opened.append(Path(name).name)
        if len(opened) == 1:
            compressed(tmp_path, 1)
            path.unlink()
        if len(opened) == 2:
            (tmp_path / files.compressed_name(1)).unlink()
            plain(tmp_path, 1, b"rewritten\n")
        return real(name, *arguments)

    monkeypatch.setattr(os, "open", racing)
    with files.open_segment(path) as file:
        assert file.read() == b"rewritten\n"
    assert len(opened) == 3


def test_one_that_is_compressed_while_the_directory_is_read_is_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A large directory is read in parts: neither name may be seen."""
    plain(tmp_path, 1)
    plain(tmp_path, 2)
    real = Path.iterdir
    looks: list[int] = []

    def racing(path: Path) -> list[Path]:
        looks.append(1)
        names = list(real(path))
        if len(looks) == 1:
            compressed(tmp_path, 1)
            (tmp_path / files.segment_name(1)).unlink()
            names.remove(tmp_path / files.segment_name(1))
        return names

    monkeypatch.setattr(Path, "iterdir", racing)
    assert [each.number for each in files.list_segments(tmp_path)] == [1, 2]


def test_something_else_in_the_place_of_one_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / files.compressed_name(1))
    (tmp_path / files.compressed_name(2)).symlink_to(compressed(tmp_path, 3))
    for number in (1, 2):
        with pytest.raises(regular.NotRegular):
            files.open_segment(tmp_path / files.compressed_name(number))


def test_the_length_is_that_of_the_content(tmp_path: Path) -> None:
    path = compressed(tmp_path, 1)
    assert files.content_bytes(path) == len(CONTENT)
    assert files.content_bytes(plain(tmp_path, 2)) == len(CONTENT)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - members.END_BYTES)
    assert files.content_bytes(path) == len(CONTENT)  # before the damage
    path.write_bytes(b"")
    assert files.content_bytes(path) == 0


def test_both_forms_are_deleted(tmp_path: Path) -> None:
    paths = compressed(tmp_path, 1), plain(tmp_path, 1)
    files.remove(tmp_path, 1)
    files.remove(tmp_path, 1)
    assert not any(path.exists() for path in paths)


def test_descriptors_are_given_up(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - it lists itself
    for _ in range(20):
        with files.open_segment(compressed(tmp_path, 1)) as file:
            file.read(1)
        with contextlib.suppress(FileNotFoundError):
            files.open_segment(tmp_path / files.segment_name(9))
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208 - as above
