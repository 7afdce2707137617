"""The SQLite store: the contract, and what only files, disks, kills and threads can show."""

import asyncio
import contextlib
import itertools
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import structlog
import uvloop

from engine.store import file as responsefile, schema as responseschema, sqlite as sqlitestore
from engine.store.store import Limits, StoredResponse, StoreError
from tests.engine.store.store_contract import KEY, STILL, UNLIMITED, StoreContract, item, response
from tests.support.logs import fulldisk, logs

pytestmark = pytest.mark.slow

FRAME_BYTES = 24 + 4096
"""A page in the write-ahead log, and what stands before it."""


class TestSqliteStore(StoreContract):
    def make(
        self, directory: Path, limits: Limits, now: Callable[[], float]
    ) -> sqlitestore.SqliteStore:
        return sqlitestore.SqliteStore(directory / "responses.sqlite", limits, now)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "responses.sqlite"


@contextlib.asynccontextmanager
async def opened(path: Path, limits: Limits = UNLIMITED) -> Any:
    store = sqlitestore.SqliteStore(path, limits, STILL)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


def beside(path: Path) -> list[Path]:
    """The file and those that belong to it."""
    return sorted(path.parent.glob(f"{path.name}*"))


def size(path: Path) -> int:
    """Bytes of a file."""
    return path.stat().st_size


def whole(path: Path) -> bool:
    """Whether SQLite finds nothing wrong with a file."""
    with contextlib.closing(sqlite3.connect(path)) as database:
        checked = database.execute("PRAGMA integrity_check").fetchall()
        orphans = database.execute("PRAGMA foreign_key_check").fetchall()
    return checked == [("ok",)] and orphans == []


def commits(path: Path) -> int:
    """How many commits the write-ahead log holds: frames that give the file's size after them."""
    log = path.with_name(f"{path.name}-wal").read_bytes()[32:]
    frames = [log[at : at + 24] for at in range(0, len(log), FRAME_BYTES)]
    return sum(frame[4:8] != bytes(4) for frame in frames)


@contextlib.contextmanager
def writer(path: Path, name: str) -> Iterator[subprocess.Popen[str]]:
    """A process that keeps responses until it is killed, at the latest at the end."""
    with subprocess.Popen(
        (sys.executable, "-m", "tests.engine.store.store_writer", path, name),
        cwd=logs.ROOT,
        env=logs.child_environment(),
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        try:
            yield child
        finally:
            child.kill()


def killed_after(path: Path, name: str, lines: int) -> list[list[str]]:
    """What a process said that was killed when it had said so many lines."""
    with writer(path, name) as child:
        assert child.stdout is not None
        said = []
        for line in child.stdout:
            if line.endswith("\n"):
                said.append(line.split())
            if len(said) == lines:
                child.send_signal(signal.SIGKILL)
    assert child.returncode == -signal.SIGKILL
    return said


@pytest.mark.long
def test_a_killed_process_loses_nothing_that_it_kept(path: Path) -> None:
    kept: dict[str, str] = {}
    deleted: set[str] = set()

    async def look() -> None:
        async with opened(path) as store:
            for name, previous in kept.items():
                found = await store.get(f"resp_{name}", KEY)
                assert found is not None, name
                assert found.previous_response_id == (
                    None if previous == "None" else f"resp_{previous}"
                )
                turn = int(name.rsplit("-", 1)[1])
                text = msgspec.json.decode(found.input[0])["content"]
                assert text == f"{name} {'x' * (turn * 997 % 30_000)}"
            for name in list(kept)[-8:]:
                turns = int(name.rsplit("-", 1)[1]) + 1
                assert len(await store.conversation(f"resp_{name}", KEY)) == 3 * turns
            for name in deleted:
                assert await store.get(f"resp_{name}", KEY) is None

    for run, lines in enumerate((1, 2, 9, 50, 120, 300, 401, 502)):
        for line in killed_after(path, str(run), lines):
            if line[0] == "kept":
                kept[line[1]] = line[2]
            elif line[0] == "deleted":
                deleted.add(line[1])
        asyncio.run(look())
        assert whole(path)
    assert len(kept) > 500
    assert len(deleted) > 50


def test_a_process_killed_while_it_makes_the_file_leaves_one_that_opens(path: Path) -> None:
    async def keep_one() -> None:
        async with opened(path) as store:
            await store.put(response("1"))
            assert await store.get("resp_1", KEY) == response("1")

    path.parent.mkdir()
    path.touch()
    asyncio.run(keep_one())
    path.unlink()
    with contextlib.closing(sqlite3.connect(path)) as database:
        for pragma in responseschema.PRAGMAS:
            database.execute(f"PRAGMA {pragma}")
    assert size(path) > 0
    asyncio.run(keep_one())
    assert whole(path)


def test_a_store_is_one_process_s_alone(path: Path) -> None:
    with writer(path, "other") as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "opened\n"

        async def refused() -> str:
            store = sqlitestore.SqliteStore(path, UNLIMITED, STILL)
            with pytest.raises(StoreError) as caught:
                await store.open()
            await store.close()
            return str(caught.value)

        said = asyncio.run(refused())
        assert said == f"{path}: process {child.pid} keeps its responses here already"

    async def free() -> None:
        async with opened(path):
            assert str(os.getpid()) in await refused()
        async with opened(path):
            pass

    asyncio.run(free())


def test_only_the_owner_can_read_what_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "state" / "turntape" / "responses.sqlite"

    async def run() -> None:
        async with opened(path) as store:
            await store.put(response("1"))
            assert len(beside(path)) == 4
            for each in beside(path):
                assert each.stat().st_mode & 0o777 == 0o600, each
        path.chmod(0o644)
        async with opened(path):
            assert path.stat().st_mode & 0o777 == 0o600

    before = os.umask(0)
    try:
        asyncio.run(run())
    finally:
        os.umask(before)
    for directory in (path.parent, path.parent.parent):
        assert directory.stat().st_mode & 0o777 == 0o700


def test_after_a_clean_end_everything_is_in_one_file(path: Path) -> None:
    async def run() -> None:
        async with opened(path) as store:
            await store.put(response("1"))

    asyncio.run(run())
    assert [each.name for each in beside(path)] == ["responses.sqlite", "responses.sqlite.lock"]
    copy = path.with_name("copy")
    shutil.copy(path, copy)
    assert whole(copy)


def test_puts_that_wait_together_are_committed_together(path: Path) -> None:
    async def run() -> None:
        async with opened(path) as store:
            await store.prune()  # which empties the write-ahead log
            for number in range(20):
                await store.put(response(f"alone-{number}"))
            alone = commits(path)
            await store.prune()
            await asyncio.gather(*(store.put(response(f"{number}")) for number in range(200)))
            assert alone == 20
            assert 1 <= commits(path) < 10

    uvloop.run(run())


def test_a_group_has_an_end(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlitestore, "GROUP_BYTES", 10 * response("100").size)

    async def run() -> None:
        async with opened(path) as store:
            await store.prune()
            await asyncio.gather(*(store.put(response(f"{n}")) for n in range(100, 300)))
            assert commits(path) == 20

    uvloop.run(run())


def test_a_thousand_puts_in_flight_are_not_copied_while_they_wait(path: Path) -> None:
    def made(number: int) -> StoredResponse:
        return response(str(number), input=(item(f"in_{number}", "x" * 40_000),))

    async def run() -> None:
        async with opened(path) as store:
            waiting = [made(number) for number in range(1000)]
            held, _ = tracemalloc.get_traced_memory()
            tracemalloc.reset_peak()
            await asyncio.gather(*map(store.put, waiting))
            _, peak = tracemalloc.get_traced_memory()
            assert held > 40_000_000
            assert peak - held < held / 4

    tracemalloc.start()
    try:
        uvloop.run(run())
    finally:
        tracemalloc.stop()


def test_the_loop_turns_while_a_commit_takes_long(path: Path) -> None:
    async def run() -> None:
        async with opened(path) as store:
            await store.put(response("1"))
            with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
                put = asyncio.create_task(store.put(response("2")))
                for _ in range(100):
                    await asyncio.sleep(0.001)
                assert not put.done()
                other.execute("COMMIT")
            await put
            assert await store.get("resp_2", KEY) == response("2")

    uvloop.run(run())


def test_the_loop_is_not_held_by_what_is_written(path: Path) -> None:
    """With the work on the loop its longest callback would cost a put's whole processor time.

    Processor time, for on a busy machine either may stand still for long.
    """
    callbacks: list[float] = []
    puts: list[float] = []

    async def turn() -> None:
        while True:
            begun = time.thread_time()
            await asyncio.sleep(0)
            callbacks.append(time.thread_time() - begun)

    async def run() -> None:
        large = (item("in", "x" * (8 << 20)),)
        async with opened(path) as store:
            turning = asyncio.create_task(turn())
            for number in range(9):
                begun = time.process_time()
                await store.put(response(str(number), input=large))
                puts.append(time.process_time() - begun)
            turning.cancel()

    uvloop.run(run())
    assert sorted(callbacks)[-5] < sorted(puts)[4] / 3


def test_a_file_that_somebody_keeps_locked_is_an_error_not_a_hang(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(responseschema, "BUSY_S", 0.05)

    async def run() -> None:
        async with opened(path) as store:
            with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
                with pytest.raises(StoreError, match="database is locked"):
                    await store.put(response("1"))
                assert await store.get("resp_1", KEY) is None
                other.execute("ROLLBACK")
            await store.check()
            await store.put(response("1"))
            assert store.counts.failures == 1

    with structlog.testing.capture_logs() as said:
        asyncio.run(run())
    assert [(line["event"], line["log_level"]) for line in said] == [
        ("response_store_failing", "error"),
        ("response_store_recovered", "warning"),
    ]


def test_a_copy_can_be_made_while_it_is_written_and_opens_as_a_store(path: Path) -> None:
    copy = path.with_name("copy.sqlite")

    async def run() -> None:
        async with opened(path) as store:
            await store.put(response("1"))

            async def write() -> None:
                for number in range(2, 1000):
                    await store.put(response(str(number)))

            writing = asyncio.create_task(write())
            with contextlib.closing(sqlite3.connect(path, check_same_thread=False)) as other:
                await asyncio.to_thread(other.execute, "VACUUM INTO ?", (str(copy),))
            writing.cancel()
        async with opened(copy) as store:
            assert await store.get("resp_1", KEY) == response("1")
            await store.put(response("new"))

    uvloop.run(run())
    assert whole(copy)


def test_what_is_deleted_is_in_no_file_any_more(path: Path) -> None:
    secret = "a text that the client wants gone "

    def holders() -> list[str]:
        return [each.name for each in beside(path) if secret.encode() in each.read_bytes()]

    async def run() -> None:
        async with opened(path) as store:
            await store.put(response("0", input=(item("in_0", "x" * 50_000),)))
            await store.put(response("1", input=(item("in_1", secret * 1000),)))
            await store.put(response("2", input=(item("in_2", secret),)))
            await store.prune()
            assert holders() == ["responses.sqlite"]
            assert await store.delete("resp_1", KEY)
            assert await store.delete("resp_2", KEY)
            await store.prune()
            assert holders() == []

    asyncio.run(run())


def test_the_file_shrinks_with_what_it_holds(path: Path) -> None:
    async def run() -> None:
        async with opened(path) as store:
            for number in range(100):
                await store.put(response(str(number), input=(item("in", "x" * 50_000),)))
            await store.prune()
            assert size(path) > 5_000_000
            for number in range(0, 100, 2):
                await store.delete(f"resp_{number}", KEY)
            await store.prune()
            assert size(path) < 3_000_000
        assert whole(path)

    asyncio.run(run())


def test_space_is_given_back_a_mebibyte_a_step(path: Path) -> None:
    file = responsefile.ResponseFile(path)
    file.put([response("1", body=b"x" * (5 << 20))], max_bytes=0)
    file.checkpoint()
    sizes = [size(path)]
    assert file.delete("resp_1", KEY)
    while file.compact():
        file.checkpoint()
        sizes.append(size(path))
    file.close()
    steps = [before - after for before, after in itertools.pairwise(sizes)]
    assert 4 <= len(steps) <= 6
    assert max(steps) < 1_100_000


def test_a_full_store_that_is_written_to_stays_within_its_size(path: Path) -> None:
    cap = 2_000_000
    text = "x" * 100_000

    async def run() -> None:
        async with opened(path, Limits(max_bytes=cap)) as store:
            for number in range(20):
                batch = range(10 * number, 10 * number + 10)
                await asyncio.gather(
                    *(store.put(response(str(n), input=(item("in", text),))) for n in batch)
                )
                await store.prune()
                assert size(path) <= cap
                assert await store.get(f"resp_{batch[-1]}", KEY) is not None
            assert store.counts.responses_pruned > 180

    asyncio.run(run())


def test_a_lower_limit_is_reached_in_steps_between_which_others_pass(path: Path) -> None:
    async def run() -> None:
        async with opened(path) as store:
            for number in range(200):
                text = "x" * 100_000
                await store.put(response(str(number), input=(item("in", text),)))
        async with opened(path, Limits(max_bytes=1_000_000)) as store:
            await store.put(response("new"))
            assert store.counts.responses_pruned < 5
            pruning = asyncio.create_task(store.prune())
            steps = set()
            while not pruning.done():
                assert await store.get("resp_new", KEY) is not None
                steps.add(store.counts.responses_pruned)
            assert len(steps) > 10
            assert 185 < store.counts.responses_pruned < 200
        assert size(path) <= 1_000_000

    with structlog.testing.capture_logs() as said:
        uvloop.run(run())
    (line,) = said
    assert line["event"] == "responses_pruned"
    assert line["count"] > 185
    assert line["bytes"] > 18_500_000


def refusal(path: Path) -> str:
    """Why a store cannot be opened; its files are as they were."""
    before = {each: each.read_bytes() for each in beside(path) if each.suffix != ".lock"}

    async def run() -> str:
        store = sqlitestore.SqliteStore(path, UNLIMITED, STILL)
        with pytest.raises(StoreError) as caught:
            await store.open()
        await store.close()
        assert store.counts.failures == 1
        return str(caught.value).removeprefix(f"{path}: ")

    with structlog.testing.capture_logs() as said:
        why = asyncio.run(run())
    assert said == []  # whoever opens it says why nothing was started
    for each, content in before.items():
        assert each.read_bytes() == content
    return why


async def keep_some(path: Path) -> None:
    async with opened(path) as store:
        for number in range(50):
            await store.put(response(str(number), input=(item("in", "x" * 20_000),)))


def test_a_file_that_is_none_of_ours_is_refused_and_left_alone(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("once upon a time\n" * 1000)
    assert refusal(path) == "file is not a database"
    path.unlink()
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE recipes (name TEXT)")
    assert refusal(path) == "it is another program's database"


def test_a_damaged_file_is_refused_and_left_alone(path: Path) -> None:
    asyncio.run(keep_some(path))
    sound = path.read_bytes()
    for begin in (16, 5 * 4096, len(sound) // 2):
        path.write_bytes(sound[:begin] + b"\xa5" * 9000 + sound[begin + 9000 :])
        assert refusal(path).startswith(
            ("it is damaged", "file is not a database", "database disk image is malformed")
        )
    path.write_bytes(sound[: len(sound) // 2])
    assert refusal(path) == "database disk image is malformed"
    path.write_bytes(sound)
    asyncio.run(keep_some(path))


def test_damage_that_is_met_later_is_an_error_not_a_hang(path: Path) -> None:
    async def run() -> None:
        async with opened(path) as store:
            for number in range(300):
                await store.put(response(str(number), input=(item("in", "x" * 20_000),)))
            await store.prune()
            with path.open("r+b") as file:
                file.seek(30 * 4096)
                file.write(b"\xa5" * 1_000_000)
            with pytest.raises(StoreError, match="malformed"):
                for number in range(300):
                    await store.get(f"resp_{number}", KEY)
            assert await store.get("resp_299", KEY) is not None
            await store.prune()

    asyncio.run(run())
    assert "damaged" in refusal(path) or "malformed" in refusal(path)


def test_a_file_of_an_older_version_is_brought_up_to_date_and_one_of_a_newer_refused(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def look() -> None:
        async with opened(path) as store:
            assert (await store.get("resp_0", KEY)) is not None

    asyncio.run(keep_some(path))
    with monkeypatch.context() as later:
        more = "ALTER TABLE responses ADD COLUMN note TEXT; CREATE INDEX notes ON responses (note)"
        later.setattr(responseschema, "MIGRATIONS", (*responseschema.MIGRATIONS, more))
        asyncio.run(look())
        asyncio.run(look())
        assert whole(path)
    assert refusal(path) == "a newer version wrote it: schema 2, this one knows 1"


def test_a_migration_that_fails_changes_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asyncio.run(keep_some(path))
    with monkeypatch.context() as later:
        more = "ALTER TABLE responses ADD COLUMN note TEXT; CREATE INDEX i ON responses (none)"
        later.setattr(responseschema, "MIGRATIONS", (*responseschema.MIGRATIONS, more))
        store = sqlitestore.SqliteStore(path, UNLIMITED, STILL)
        with pytest.raises(StoreError, match="no such column: none"):
            asyncio.run(store.open())
    asyncio.run(keep_some(path))
    assert whole(path)


def test_a_commit_is_forced_to_the_disk(path: Path) -> None:
    path.parent.mkdir()
    with contextlib.closing(responseschema.connect(path)) as database:
        asked = {
            name: database.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("journal_mode", "synchronous", "auto_vacuum", "secure_delete")
        }
    assert asked == {"journal_mode": "wal", "synchronous": 2, "auto_vacuum": 2, "secure_delete": 1}


def test_a_full_disk_refuses_clearly_and_loses_nothing(tmp_path: Path) -> None:
    assert fulldisk.in_namespace("full-store", tmp_path) == {
        "kept_some": True,
        "said": "data/responses.sqlite: database or disk is full",
        "failures": 2,
        "there_when_full": True,
        "there_after_a_restart": True,
        "went_on": True,
        "there_at_the_end": True,
    }


def test_a_read_only_disk_is_said_at_the_start(tmp_path: Path) -> None:
    seen = fulldisk.in_namespace("read-only-store", tmp_path)
    assert seen.pop("writable") == "opened"
    for said in seen.values():
        assert said.startswith(f"{tmp_path}/data/responses.sqlite: ")
        assert "Read-only file system" in said
