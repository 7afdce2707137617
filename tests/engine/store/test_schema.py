"""The file of a store: whose it is, which version of it, and that a part of a change is none."""

import os
import sqlite3
import stat
from pathlib import Path

import pytest

from engine import regular
from engine.store import schema as responseschema
from engine.store.store import StoreError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "er" / "responses.sqlite"


def names(database: sqlite3.Connection) -> set[str]:
    return {name for (name,) in database.execute("SELECT name FROM sqlite_master")}


def test_a_store_is_one_process_s_and_says_whose(path: Path) -> None:
    held = responseschema.lock(path)
    with pytest.raises(StoreError, match=f"process {os.getpid()} keeps its responses here"):
        responseschema.lock(path)
    os.close(held)
    os.close(responseschema.lock(path))


def test_what_is_made_is_its_owners(path: Path) -> None:
    os.close(responseschema.lock(path))
    responseschema.connect(path).close()
    assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0
    assert [stat.S_IMODE(each.stat().st_mode) for each in path.parents[:2]] == [0o700, 0o700]
    path.chmod(0o644)
    responseschema.connect(path).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_new_file_has_this_versions_schema_and_is_known_again(path: Path) -> None:
    os.close(responseschema.lock(path))
    for _ in range(2):
        database = responseschema.connect(path)
        assert names(database) >= {"responses", "items"}
        assert database.execute("PRAGMA user_version").fetchone() == (
            len(responseschema.MIGRATIONS),
        )
        assert database.execute("PRAGMA application_id").fetchone() == (
            responseschema.APPLICATION_ID,
        )
        assert database.execute("PRAGMA synchronous").fetchone() == (2,)
        database.close()


def test_an_older_file_is_brought_up_to_date(path: Path) -> None:
    path.parent.mkdir(parents=True)
    old = sqlite3.connect(path)
    old.executescript(responseschema.MIGRATIONS[0])
    old.execute(f"PRAGMA application_id = {responseschema.APPLICATION_ID}")
    old.execute("PRAGMA user_version = 1")
    old.close()
    database = responseschema.connect(path)
    assert database.execute("PRAGMA user_version").fetchone() == (len(responseschema.MIGRATIONS),)
    database.close()


@pytest.mark.parametrize(
    ("statements", "why"),
    [
        (("CREATE TABLE theirs (x)",), "another program's database"),
        (("PRAGMA application_id = 7",), "another program's database"),
        (
            (
                f"PRAGMA application_id = {responseschema.APPLICATION_ID}",
                "PRAGMA user_version = 99",
            ),
            "a newer version wrote it: schema 99",
        ),
    ],
)
def test_a_file_that_is_not_for_this_version_is_refused_as_it_is(
    path: Path, statements: tuple[str, ...], why: str
) -> None:
    path.parent.mkdir(parents=True)
    theirs = sqlite3.connect(path)
    for statement in statements:
        theirs.execute(statement)
    theirs.commit()
    theirs.close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match=why):
        responseschema.connect(path)
    assert path.read_bytes() == before


def test_a_link_in_its_place_is_not_followed(path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.symlink_to(path.with_name("elsewhere"))
    with pytest.raises(regular.NotRegular):
        responseschema.connect(path)
    assert not path.with_name("elsewhere").exists()


def test_what_fails_half_way_has_not_been(path: Path) -> None:
    os.close(responseschema.lock(path))
    database = responseschema.connect(path)
    database.execute("CREATE TABLE notes (text)")

    def write(text: str, fails: bool) -> None:
        with responseschema.savepoint(database):
            database.execute("INSERT INTO notes VALUES (?)", (text,))
            if fails:
                raise ValueError(text)

    with responseschema.transaction(database):
        write("first", fails=False)
        with pytest.raises(ValueError, match="second"):
            write("second", fails=True)
    with pytest.raises(ValueError, match="third"), responseschema.transaction(database):
        database.execute("INSERT INTO notes VALUES ('third')")
        raise ValueError("third")
    assert database.execute("SELECT text FROM notes").fetchall() == [("first",)]
    database.close()
