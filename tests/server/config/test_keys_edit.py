"""The file of keys is changed one change after another, and is whole at every moment."""

import concurrent.futures
import os
import stat
from pathlib import Path

import pytest

from server.config import keys_edit, keys_file
from tests.server import keyed


def add(path: Path, name: str) -> None:
    with keys_edit.editing(path) as file:
        file.keys[name] = keyed.held(name)


def test_a_file_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    before = os.umask(0)
    try:
        add(path, "alice")
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert keys_file.load(path) == {"alice": keyed.held("alice")}


def test_a_key_is_random_and_looks_like_one() -> None:
    keys = {keys_edit.make_key() for _ in range(100)}
    assert len(keys) == 100
    assert all(key.startswith("sk-tt-") and len(key) == 49 for key in keys)


def test_no_change_is_lost_where_many_are_made_at_once(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    names = [f"k{number}" for number in range(40)]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        adding = [pool.submit(add, path, name) for name in names]
        while not all(each.done() for each in adding):
            if path.exists():
                keys_file.load(path)  # whole, at any moment
        for each in adding:
            each.result()
    assert sorted(keys_file.load(path)) == sorted(names)
    assert {each.name for each in tmp_path.iterdir()} == {"keys.json", "keys.json.lock"}


def test_what_a_server_could_not_read_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    add(path, "alice")
    before = path.read_bytes()
    with pytest.raises(keys_file.KeysFileError), keys_edit.editing(path) as file:
        file.keys["bob"] = keyed.held("bob", expires="soon")
    with pytest.raises(KeyError), keys_edit.editing(path) as file:
        del file.keys["nobody"]
    assert path.read_bytes() == before


def test_a_file_that_cannot_be_used_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    path.write_text("{")
    path.chmod(0o600)
    with pytest.raises(keys_file.KeysFileError, match="is not JSON"):
        add(path, "alice")
    assert path.read_text() == "{"


def test_link_and_mode_stay_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    add(path, "alice")
    path.chmod(0o640)
    link = tmp_path / "link.json"
    link.symlink_to(path)
    add(link, "bob")
    assert link.is_symlink()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert list(keys_file.load(path)) == ["alice", "bob"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives a file away")
def test_root_leaves_the_file_to_the_servers_user(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    add(path, "alice")
    os.chown(path, 12345, 23456)
    add(path, "bob")
    assert (path.stat().st_uid, path.stat().st_gid) == (12345, 23456)
