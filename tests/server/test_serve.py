"""One server in this process: its background tasks, and an end that nothing keeps from coming."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
import structlog

from engine import containment
from engine.log.settings import LogState
from server import serve
from server.config import settings

FAILURES = 3
"""How often what is planted fails."""


class Failing:
    """A call that fails some times, counts its successes and tells when there were enough."""

    def __init__(self) -> None:
        self.failures = 0
        self.successes = 0
        self.enough = asyncio.Event()

    def __call__(self) -> None:
        if self.failures < FAILURES:
            self.failures += 1
            raise RuntimeError("planted")
        self.successes += 1
        if self.successes == FAILURES:
            self.enough.set()

    async def later(self) -> None:
        self()


class Running:
    """A server in this loop, from `async with` to its end."""

    def __init__(self, directory: Path, **changed: Any) -> None:
        values: dict[str, Any] = {"port": 0, "worker": "scripted", "drain_timeout_ms": 0}
        config = settings.Config(
            data_dir=directory, log_dir=directory / "log", **(values | changed)
        )
        self.bound = asyncio.Event()
        self.server: Any = serve.Server(config, {}, lambda *_: self.bound.set())

    async def __aenter__(self) -> Any:
        self._task = asyncio.ensure_future(self.server.run())
        bound = asyncio.ensure_future(self.bound.wait())
        await asyncio.wait((self._task, bound), return_when=asyncio.FIRST_COMPLETED)
        bound.cancel()
        return self.server

    async def __aexit__(self, *_: object) -> None:
        self.server.stop()
        await asyncio.wait_for(self._task, 30)


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Background tasks do not pause."""
    monkeypatch.setattr(serve, "PRUNE_S", 0)
    monkeypatch.setattr(containment, "RESTART_PAUSE_S", 0)


@pytest.mark.usefixtures("at_once")
def test_one_kind_of_pruning_that_fails_is_begun_again_and_keeps_no_other(tmp_path: Path) -> None:
    async def live() -> None:
        async with Running(tmp_path) as server:
            log, store = Failing(), Failing()
            server._log.prune = log
            server._store.prune = store.later
            await asyncio.wait_for(asyncio.gather(log.enough.wait(), store.enough.wait()), 30)

    before = containment.counts["task"]
    with structlog.testing.capture_logs() as lines:
        asyncio.run(live())
    defects = [line for line in lines if line["event"] == "defect"]
    assert sorted(line["task"] for line in defects) == [
        *["prune_log"] * FAILURES,
        *["prune_store"] * FAILURES,
    ]
    assert containment.counts["task"] - before == 2 * FAILURES


def test_one_stream_that_cannot_be_ended_keeps_neither_the_others_nor_the_server(
    tmp_path: Path,
) -> None:
    ended: list[str] = []

    class Stream:
        def __init__(self, name: str) -> None:
            self._name = name

        def event(self, _: object) -> None:
            if self._name == "second":
                raise RuntimeError("planted")
            ended.append(self._name)

    async def live() -> Any:
        async with Running(tmp_path, drain_timeout_ms=600_000) as server:
            names = ("first", "second", "third")
            server._context.streams.update({name: Stream(name) for name in names})
            server.stop()
        return server

    with structlog.testing.capture_logs() as lines:
        server = asyncio.run(live())
    assert ended == ["first", "third"]
    assert server.undone == []
    (defect,) = (line for line in lines if line["event"] == "defect")
    assert defect["boundary"] == "shutdown"
    assert lines[-1]["event"] == "stopped"


def test_a_stop_before_the_start_starts_nothing(tmp_path: Path) -> None:
    async def live() -> None:
        running = Running(tmp_path / "data")
        running.server.stop()
        await running.server.run()

    asyncio.run(live())
    assert not (tmp_path / "data").exists()


def test_a_stop_during_a_long_start_does_not_wait_for_it(tmp_path: Path) -> None:
    async def live() -> Any:
        running = Running(tmp_path)
        begun = asyncio.Event()

        async def long() -> None:
            begun.set()
            await asyncio.get_running_loop().create_future()

        running.server._store.interrupted = long
        task = asyncio.ensure_future(running.server.run())
        await asyncio.wait_for(begun.wait(), 30)
        running.server.stop()
        await asyncio.wait_for(task, 30)
        return running.server

    with structlog.testing.capture_logs() as lines:
        server = asyncio.run(live())
    assert [line["event"] for line in lines] == ["stop_asked", "stopped"]
    assert server.undone == []
    assert server._log._state is LogState.CLOSED


def test_a_drain_that_fails_is_the_end_of_the_drain(tmp_path: Path) -> None:
    async def live() -> None:
        async with Running(tmp_path, drain_timeout_ms=600_000) as server:
            usual = server._http.drain

            async def fail(seconds: float) -> int:
                server._http.drain = usual
                raise RuntimeError("planted")

            server._http.drain = fail
            server.stop()

    with structlog.testing.capture_logs() as lines:
        asyncio.run(live())
    (defect,) = (line for line in lines if line["event"] == "defect")
    assert defect["step"] == "drain"
    assert lines[-1]["event"] == "stopped"


def test_a_part_of_a_stop_that_fails_keeps_none_of_the_others(tmp_path: Path) -> None:
    async def live() -> None:
        async with Running(tmp_path) as server:

            def fail() -> None:
                raise RuntimeError("planted")

            server._readiness.look = fail
            server.stop()

    with structlog.testing.capture_logs() as lines:
        asyncio.run(live())
    assert {line["boundary"] for line in lines if line["event"] == "defect"} == {"shutdown"}
    assert lines[-1]["event"] == "stopped"
