"""Whether the files of a store are those that it opened, and what is refused in their place."""

import os
import socket
from pathlib import Path

import pytest

from engine import regular
from engine.store.files import LOGS, SUFFIXES, Lost, Problem, StoreFiles


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A store's file, with those beside it."""
    path = tmp_path / "responses.sqlite"
    for suffix in SUFFIXES:
        beside(path, suffix).write_bytes(b"x" * 100)
    return path


def beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def begun(path: Path) -> StoreFiles:
    """What is known of them when they are opened."""
    files = StoreFiles(path)
    files.begin()
    return files


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_that_goes_or_is_another_is_noticed(path: Path, suffix: str) -> None:
    files, file = begun(path), beside(path, suffix)
    assert files.lost() is None
    other = file.with_name("other")
    other.write_bytes(file.read_bytes())
    other.replace(file)
    assert files.lost() == Lost(file.name, Problem.REPLACED)
    file.unlink()
    assert files.lost() == Lost(file.name, Problem.DELETED)


def test_a_file_that_comes_with_the_first_write_is_no_other(path: Path) -> None:
    log = beside(path, LOGS[0])
    log.unlink()
    files = begun(path)
    log.touch()
    assert files.lost() is None
    log.unlink()
    assert files.lost() == Lost(log.name, Problem.DELETED)


def test_a_file_that_is_cut_is_noticed_but_not_where_the_store_cut_it(path: Path) -> None:
    files = begun(path)
    os.truncate(path, 99)
    assert (files.is_cut, files.lost()) == (True, Lost(path.name, Problem.CUT_SHORT))
    files.note_size()
    assert (files.is_cut, files.lost()) == (False, None)
    path.write_bytes(b"y" * 200)
    assert files.lost() is None


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("kind", ["link", "pipe", "directory", "socket"])
def test_what_is_no_file_is_refused_in_each_place(path: Path, suffix: str, kind: str) -> None:
    files, place = StoreFiles(path), beside(path, suffix)
    files.refuse_others()
    place.unlink()
    files.refuse_others()
    match kind:
        case "link":
            place.symlink_to(path.with_name("elsewhere"))
        case "pipe":
            os.mkfifo(place)
        case "directory":
            place.mkdir()
        case _:
            with socket.socket(socket.AF_UNIX) as made:
                made.bind(str(place))
    with pytest.raises(regular.NotRegular):
        files.refuse_others()


def test_logs_of_a_file_that_is_gone_are_removed_and_others_left(path: Path) -> None:
    files = begun(path)
    mine, other = (beside(path, suffix) for suffix in LOGS)
    replacement = path.with_name("new")
    replacement.touch()
    replacement.replace(other)
    files.remove_logs()
    assert (mine.exists(), other.exists(), path.exists()) == (False, True, True)
