"""The SQLite store where a part of it breaks: one response of a group, or the file under it."""

import asyncio
import contextlib
import os
import shutil
import socket
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import structlog

from engine import containment
from engine.store import (
    file as responsefile,
    files as storefiles,
    schema as responseschema,
    sqlite as sqlitestore,
)
from engine.store.store import Health, Limits, StoredResponse, StoreError
from tests.engine.store.store_contract import KEY, STILL, UNLIMITED, put, response, there
from tests.support.process import machinetime

NAMES = [str(number) for number in range(9)]


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "responses.sqlite"


@contextlib.asynccontextmanager
async def opened(path: Path, clock: Clock, limits: Limits = UNLIMITED) -> Any:
    store = sqlitestore.SqliteStore(path, limits, STILL, clock)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


def forbid(path: Path, what: str, action: str = "ABORT") -> None:
    """Have SQLite refuse a response or an item, by its id."""
    table, column = (
        ("responses", "response_id") if what.startswith("resp_") else ("items", "item_id")
    )
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute(
            f"CREATE TRIGGER no BEFORE INSERT ON {table} WHEN new.{column} = '{what}'"
            f" BEGIN SELECT RAISE({action}, 'no'); END"
        )


SPOILT: dict[str, Callable[[StoredResponse], StoredResponse]] = {
    "refused by SQLite": lambda good: good,
    "its last item refused by SQLite": lambda good: good,
    "a number too large": lambda good: msgspec.structs.replace(good, created_at=1 << 70),
    "half of a surrogate pair": lambda good: msgspec.structs.replace(
        good, previous_response_id="\ud800"
    ),
    "an item that is not one": lambda good: msgspec.structs.replace(
        good, output=(msgspec.Raw(b"[]"),)
    ),
}
"""What one of nine responses may have that cannot be written."""


@pytest.mark.parametrize("how", SPOILT)
def test_of_a_group_only_what_cannot_be_written_is_refused(
    path: Path, clock: Clock, how: str
) -> None:
    group = [SPOILT[how](response(name)) if name == "4" else response(name) for name in NAMES]

    async def run() -> None:
        async with opened(path, clock) as store:
            if how == "refused by SQLite":
                forbid(path, "resp_4")
            elif how == "its last item refused by SQLite":
                forbid(path, "out_4")
            outcomes = await asyncio.gather(*map(store.put, group), return_exceptions=True)
            assert [each for each in outcomes if each is None] == [None] * 8
            assert isinstance(outcomes[4], Exception)
            assert await there(store, *NAMES) == "0 1 2 3 5 6 7 8"
            if how != "an item that is not one":
                assert isinstance(outcomes[4], StoreError)
                assert (store.health, store.counts.failures) == (Health.FAILING, 1)
            await store.put(response("next"))
            assert store.health == Health.WORKING
        async with opened(path, clock) as store:
            assert await there(store, *NAMES, "next") == "0 1 2 3 5 6 7 8 next"

    asyncio.run(run())


def test_where_sqlite_gives_up_on_all_of_a_group_all_are_told(path: Path, clock: Clock) -> None:
    async def run() -> None:
        async with opened(path, clock) as store:
            forbid(path, "resp_4", "ROLLBACK")
            group = map(store.put, map(response, NAMES))
            outcomes = await asyncio.gather(*group, return_exceptions=True)
            assert [type(each) for each in outcomes] == [StoreError] * 9
            assert store.counts.failures == 9
            await put(store, *(response(name) for name in NAMES if name != "4"))
            assert await there(store, *NAMES) == "0 1 2 3 5 6 7 8"

    asyncio.run(run())


def test_a_bug_of_ours_in_a_commit_is_told_counted_and_over(
    path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    async def run() -> None:
        async with opened(path, clock) as store:
            with monkeypatch.context() as patched:
                patched.setattr(responsefile.ResponseFile, "put", broken)
                before = containment.counts["store"]
                with pytest.raises(StoreError):
                    await store.put(response("1"))
                assert containment.counts["store"] == before + 1
                await store.prune()
            await store.put(response("2"))
            assert await there(store, "1", "2") == "2"

    asyncio.run(run())


def gone(path: Path) -> None:
    for each in path.parent.glob(f"{path.name}*"):
        each.unlink()


def file_gone(path: Path) -> None:
    path.unlink()


def emptied(path: Path) -> None:
    for each in (path, path.with_name(f"{path.name}-wal")):
        os.truncate(each, 0)


def directory_gone(path: Path) -> None:
    shutil.rmtree(path.parent)


def replaced(path: Path) -> None:
    other = path.with_name("other")
    with contextlib.closing(responsefile.ResponseFile(other)) as file:
        file.put([response("other")], max_bytes=0)
    other.rename(path)


@pytest.mark.parametrize("lose", [gone, file_gone, emptied, directory_gone, replaced])
def test_a_file_that_is_lost_is_noticed_and_made_anew(
    path: Path, clock: Clock, lose: Callable[[Path], None]
) -> None:
    async def run() -> None:
        async with opened(path, clock) as store:
            await put(store, response("1"), response("2"))
            clock.seconds += 2
            await store.put(response("3"))
            with structlog.testing.capture_logs() as logged:
                lose(path)
                clock.seconds += 2
                await store.put(response("4"))
            assert [line["event"] for line in logged] == ["response_store_lost"]
            assert (store.health, store.counts.files_lost) == (Health.WORKING, 1)
            found = await there(store, "1", "3", "4", "other")
            assert found == ("4 other" if lose is replaced else "4")
        async with opened(path, clock) as store:
            assert await there(store, "1", "3", "4") == "4"

    asyncio.run(run())


@pytest.mark.parametrize("suffix", ["-wal", "-shm", ".lock"])
def test_a_file_beside_it_that_is_lost_costs_nothing(
    path: Path, clock: Clock, suffix: str
) -> None:
    async def run() -> None:
        async with opened(path, clock) as store:
            await store.put(response("1"))
            clock.seconds += 2
            await store.put(response("2"))
            path.with_name(f"{path.name}{suffix}").unlink()
            clock.seconds += 2
            await store.put(response("3"))
            assert await there(store, "1", "2", "3") == "1 2 3"
            with pytest.raises(StoreError, match="keeps its responses here already"):
                await sqlitestore.SqliteStore(path, UNLIMITED, STILL).open()
            copy = path.with_name("copy")
            shutil.copytree(path.parent, copy)
        # As after a kill: what is on the disk at that moment is all of it.
        async with opened(copy / path.name, clock) as store:
            assert await there(store, "1", "2", "3") == "1 2 3"

    asyncio.run(run())


def blocked(path: Path) -> None:
    gone(path)
    path.mkdir()


def unblocked(path: Path) -> None:
    path.rmdir()


def test_a_file_that_cannot_be_made_anew_is_tried_each_second(path: Path, clock: Clock) -> None:
    async def run() -> None:
        async with opened(path, clock) as store:
            await store.put(response("1"))
            blocked(path)
            for _ in range(3):
                clock.seconds += 2
                with pytest.raises(StoreError):
                    await store.put(response("2"))
                with pytest.raises(StoreError):
                    await store.get("resp_1", KEY)
                await store.check()
                await store.prune()
            assert store.health == Health.FAILING
            unblocked(path)
            clock.seconds += 2
            await store.put(response("3"))
            assert store.health == Health.WORKING
            assert await there(store, "1", "2", "3") == "3"

    with structlog.testing.capture_logs() as logged:
        asyncio.run(run())
    assert [line["event"] for line in logged] == [
        "response_store_lost",
        "response_store_failing",
        "response_store_recovered",
    ]


def test_a_look_is_enough_to_notice_a_loss_and_what_mends_it(path: Path, clock: Clock) -> None:
    async def run() -> None:
        async with opened(path, clock) as store:
            await store.check()
            blocked(path)
            clock.seconds += 1
            await store.check()
            assert (store.health, store.counts.files_lost) == (Health.FAILING, 1)
            unblocked(path)
            clock.seconds += 1
            await store.check()
            assert (store.health, store.counts.files_lost) == (Health.WORKING, 1)

    asyncio.run(run())
    assert path.is_file()


def test_a_store_that_nothing_can_be_written_to_is_failing_until_something_can(
    path: Path, clock: Clock
) -> None:
    async def run() -> None:
        async with opened(path, clock) as store:
            with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
                with pytest.raises(StoreError):
                    await store.put(response("1"))
                await store.check()
                assert (store.health, store.counts.failures) == (Health.FAILING, 1)
            await store.check()
            assert store.health == Health.WORKING

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(responseschema, "BUSY_S", 0.05)
        asyncio.run(run())


def test_a_file_of_which_a_part_is_missing_is_failing_until_it_is_moved_away(
    path: Path, clock: Clock
) -> None:
    large = (msgspec.Raw(msgspec.json.encode({"id": "in", "text": "x" * (1 << 20)})),)

    async def run() -> None:
        async with opened(path, clock) as store:
            await store.put(response("1", input=large))
            await store.prune()  # which empties the write-ahead log into the file
            os.truncate(path, 40_960)
            for _ in range(2):
                with pytest.raises(StoreError):
                    await store.get("resp_1", KEY)
                clock.seconds += 20
                await store.check()
                assert store.health == Health.FAILING
            gone(path)
            clock.seconds += 20
            await store.put(response("2"))
            assert (store.health, await there(store, "1", "2")) == (Health.WORKING, "2")

    asyncio.run(run())


def spoiled(path: Path) -> None:
    """Write nonsense over most of a file, which stays as long as it is."""
    with path.open("r+b") as file:
        file.seek(1 << 16)
        file.write(b"\xff" * (path.stat().st_size - (1 << 16)))


def test_a_file_with_nonsense_in_it_is_failing_until_it_is_moved_away(
    path: Path, clock: Clock
) -> None:
    # More than SQLite has in memory.
    large = (msgspec.Raw(msgspec.json.encode({"id": "in", "text": "x" * (8 << 20)})),)

    async def run() -> None:
        async with opened(path, clock) as store:
            await store.put(response("1", input=large))
            await store.prune()
            spoiled(path)
            with pytest.raises(StoreError):
                await store.get("resp_1", KEY)
            for _ in range(2):
                clock.seconds += 20
                await store.check()
                assert store.health == Health.FAILING
            gone(path)
            clock.seconds += 20
            await store.check()
            assert store.health == Health.WORKING

    with structlog.testing.capture_logs() as logged:
        asyncio.run(run())
    assert [line["event"] for line in logged] == [
        "response_store_failing",
        "response_store_recovered",
    ]


def test_room_that_cannot_be_made_is_made_by_a_later_put(path: Path, clock: Clock) -> None:
    async def run() -> None:
        limits = Limits(ttl_s=0, max_bytes=1 << 17)
        async with opened(path, clock, limits) as store:
            with contextlib.closing(sqlite3.connect(path)) as other:
                other.execute(
                    "CREATE TRIGGER no BEFORE DELETE ON responses"
                    " BEGIN SELECT RAISE(ABORT, 'no'); END"
                )
            for name in NAMES:
                await store.put(response(name, body=b"x" * (1 << 15)))
            assert await there(store, *NAMES) == " ".join(NAMES)
            assert (store.health, store.counts.failures > 0) == (Health.FAILING, True)
            with contextlib.closing(sqlite3.connect(path)) as other:
                other.execute("DROP TRIGGER no")
            await store.put(response("last", body=b"x" * (1 << 15)))
            assert (store.health, await there(store, "0", "last")) == (Health.WORKING, "last")

    asyncio.run(run())


def bound(path: Path) -> None:
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as listener:
        listener.bind(str(path))


OTHERS: dict[str, Callable[[Path], None]] = {
    "pipe": os.mkfifo,
    "directory": Path.mkdir,
    "socket": bound,
    "link": lambda path: path.symlink_to("target"),
}


@pytest.mark.parametrize("suffix", ["", "-wal", "-shm", ".lock"])
@pytest.mark.parametrize("kind", OTHERS)
def test_what_is_no_file_is_refused_by_its_name_and_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, suffix: str
) -> None:
    monkeypatch.chdir(tmp_path)  # the name of a socket must be short
    target = tmp_path / "target"
    target.write_text("somebody's")
    other = Path(f"responses.sqlite{suffix}")
    OTHERS[kind](other)

    async def run() -> None:
        store = sqlitestore.SqliteStore(Path("responses.sqlite"), UNLIMITED, STILL)
        with pytest.raises(StoreError, match=f"^{other}: is not a regular file$"):
            await store.open()

    asyncio.run(run())
    assert target.read_text() == "somebody's"


def test_what_is_looked_at_costs_nothing_within_a_second(
    path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = []
    usual = storefiles.StoreFiles.lost

    def counted(files: storefiles.StoreFiles) -> storefiles.Lost | None:
        looks.append(clock.seconds)
        return usual(files)

    async def run() -> None:
        async with opened(path, clock) as store:
            for _ in range(20):
                await store.put(response("1"))
                clock.seconds += 0.25

    monkeypatch.setattr(storefiles.StoreFiles, "lost", counted)
    asyncio.run(run())
    assert looks == [0, 1, 2, 3, 4]


def test_a_locked_file_is_waited_for_once(
    path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first group waits for the lock; until a look finds it gone, no other does."""
    monkeypatch.setattr(responseschema, "BUSY_S", 0.2)
    tried: list[int] = []
    written = responsefile.ResponseFile.put

    def counted(file: Any, group: Any, *arguments: Any) -> Any:
        tried.append(len(group))
        return written(file, group, *arguments)

    monkeypatch.setattr(responsefile.ResponseFile, "put", counted)

    async def run() -> None:
        async with opened(path, clock) as store:
            await store.put(response("before"))
            with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
                group = map(store.put, map(response, NAMES))
                outcomes = await asyncio.gather(*group, return_exceptions=True)
                assert [type(each) for each in outcomes] == [StoreError] * 9
                assert store.counts.failures == 9
                tried.clear()
                await store.check()
                with pytest.raises(StoreError):
                    await store.put(response("at once"))
                assert (tried, store.health, store.counts.failures) == ([], Health.FAILING, 10)
                other.execute("ROLLBACK")
            await store.check()
            await store.put(response("after"))
            assert store.health == Health.WORKING
            assert store.counts.failures == 10
            assert await there(store, "before", "at once", "after") == "before after"

    asyncio.run(run())


def test_a_response_that_nobody_waits_for_any_longer_is_counted(
    path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_go_on = threading.Event()
    written = responsefile.ResponseFile.put

    def slow(*arguments: Any) -> Any:
        may_go_on.wait(machinetime.HANG_S)
        return written(*arguments)

    monkeypatch.setattr(responsefile.ResponseFile, "put", slow)

    async def run() -> None:
        async with opened(path, clock) as store:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await store.put(response("1"))
            assert store.counts.failures == 1
            may_go_on.set()

    asyncio.run(run())
