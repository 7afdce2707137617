"""Codex's traces: none are kept, and a database that cannot be changed is no failure."""

import asyncio
import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog.testing

from engine.codex.child import home as codexhome, traces
from engine.codex.protocol import appserver
from tests.support.providers.pipe import Pipe, message
from tests.support.providers.provider import Provider

TABLE = "CREATE TABLE logs (id INTEGER PRIMARY KEY AUTOINCREMENT, level TEXT NOT NULL)"
INSERT = "INSERT INTO logs (level) VALUES (?), (?)"


@contextlib.contextmanager
def codexs_own(directory: Path, name: str = "logs_2.sqlite") -> Iterator[sqlite3.Connection]:
    """A database of traces as Codex holds it, with two rows in it."""
    opened = sqlite3.connect(directory / name)
    with contextlib.closing(opened):
        opened.execute("PRAGMA journal_mode=WAL")
        opened.execute(TABLE)
        insert(opened)
        yield opened


def insert(database: sqlite3.Connection) -> None:
    with database:
        database.execute(INSERT, ("TRACE", "ERROR"))


def rows(database: sqlite3.Connection) -> int:
    (count,) = database.execute("SELECT count(*) FROM logs").fetchone()
    return int(count)


def test_what_is_inserted_from_then_on_is_left_out(tmp_path: Path) -> None:
    with codexs_own(tmp_path) as database:
        for _ in range(2):  # a second process of the same home does so too
            asyncio.run(traces.stop(tmp_path))
            insert(database)
        assert rows(database) == 2


def test_other_databases_are_left_alone(tmp_path: Path) -> None:
    with codexs_own(tmp_path, "state_5.sqlite") as database:
        asyncio.run(traces.stop(tmp_path))
        insert(database)
        assert rows(database) == 4
    asyncio.run(traces.stop(tmp_path / "missing"))


@pytest.mark.parametrize("change", ["DROP TABLE logs", "BEGIN EXCLUSIVE"])
def test_a_database_that_cannot_be_changed_is_told_of(
    change: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(traces, "LOCK_WAIT_S", 0.0)
    with codexs_own(tmp_path) as database:
        database.execute(change)
        with structlog.testing.capture_logs() as lines:
            asyncio.run(traces.stop(tmp_path))
    (line,) = lines
    assert (line["event"], line["log_level"]) == ("codex_traces_grow", "warning")
    assert line["database"] == str(tmp_path / "logs_2.sqlite")


@pytest.mark.codex
def test_turns_of_the_real_binary_are_not_traced(tmp_path: Path) -> None:
    with Provider() as provider:
        setup = codexhome.Setup(data_dir=tmp_path, base_url=provider.url)
        codexhome.prepare(setup)
        with Pipe(setup) as pipe:
            pipe.handshake()
            (database,) = setup.sqlite_dir.glob("logs_*.sqlite")
            with contextlib.closing(sqlite3.connect(database)) as opened:
                # It writes some hundreds at a time, so a turn or two may be written later.
                written = max(turns(pipe, setup, opened) for _ in range(2))
                assert written > 0
                asyncio.run(traces.stop(setup.sqlite_dir))
                opened.execute("DELETE FROM logs")
                opened.commit()
                assert turns(pipe, setup, opened) == 0


def turns(pipe: Pipe, setup: codexhome.Setup, opened: sqlite3.Connection) -> int:
    """Ten turns, one after the other; how many rows there are then."""
    for _ in range(10):
        params = appserver.ThreadStartParams(model="gpt-5.5", cwd=str(setup.cwd))
        thread_id = pipe.start(params, message("user", "hi"))
        pipe.call("turn/start", appserver.TurnStartParams(thread_id=thread_id))
        pipe.notification("turn/completed", thread_id)
    return rows(opened)
