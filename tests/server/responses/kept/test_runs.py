"""Responses in the background as the server holds them: who finds one, and for how long."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import structlog

from server.api import sinks
from server.http import exchange as http
from server.responses.kept import runs
from server.responses.render.stream import ResponseEvents
from tests.server.responses.opening import opened

Scene = Callable[[runs.Runs], Awaitable[None]]


def play(scene: Scene) -> None:
    async def run() -> None:
        await scene(runs.Runs())

    asyncio.run(run())


def run_of(key_id: str = "key") -> runs.Run:
    return runs.Run(key_id, ResponseEvents(opened()), sinks.at_once)


async def end(every: runs.Runs, response_id: str, said: bytes) -> runs.Run:
    """A run that has said something and is over."""
    run = run_of()
    every.add(response_id, run)
    run.start(200, [])
    run.finish(said)
    assert await every.drain(1) == 0
    return run


def test_a_run_is_found_with_its_own_key_alone() -> None:
    async def scene(every: runs.Runs) -> None:
        run = run_of("one")
        every.add("resp_1", run)
        assert every.find("resp_1", "one") is run
        assert every.find("resp_1", "two") is None
        assert every.find("resp_1", "") is None
        assert every.find("resp_2", "one") is None
        run.finish()
        await every.drain(1)

    play(scene)


def test_a_run_that_is_over_is_found_until_it_is_forgotten() -> None:
    async def scene(every: runs.Runs) -> None:
        run = await end(every, "resp_1", b"x")
        assert every.find("resp_1", "key") is run
        every.forget("resp_1")
        every.forget("resp_1")
        assert every.find("resp_1", "key") is None

    play(scene)


def test_what_was_refused_is_found_by_nobody() -> None:
    async def scene(every: runs.Runs) -> None:
        run = run_of()
        every.add("resp_1", run)
        run.respond(429, [], b"{}")
        await every.drain(1)
        assert run.begun.is_set()
        assert run.refusal == runs.Refusal(429, [], b"{}")
        assert every.find("resp_1", "key") is None

    play(scene)


def test_of_runs_that_are_over_only_so_much_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "FOLLOWABLE_BYTES", 10)

    async def scene(every: runs.Runs) -> None:
        running = run_of()
        every.add("resp_0", running)
        running.write(b"x" * 100)
        for number in (1, 2, 3):
            run = run_of()
            every.add(f"resp_{number}", run)
            run.finish(b"x" * 5)
        await asyncio.sleep(0)
        found = [number for number in range(4) if every.find(f"resp_{number}", "key")]
        assert found == [0, 2, 3]
        running.finish()
        await every.drain(1)
        assert every.find("resp_0", "key") is None, "it is larger than all may be"

    play(scene)


def test_a_drain_counts_what_is_not_over() -> None:
    async def scene(every: runs.Runs) -> None:
        run = run_of()
        every.add("resp_1", run)
        assert await every.drain(0.01) == 1
        run.finish()
        assert await every.drain(1) == 0

    play(scene)


class Follower:
    """The exchange of a follower that reads at once; what it was sent."""

    stage = http.Stage.STREAMING
    buffered = 0

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.is_cut = False

    def start(self, status: int, headers: http.HeaderList) -> None:
        assert status == 200

    def write(self, data: bytes) -> None:
        self.sent.append(data)

    def finish(self) -> None:
        raise AssertionError("it was told that this is all")

    def abort(self) -> None:
        self.stage = http.Stage.CUT
        self.is_cut = True


def test_a_run_that_is_broken_off_is_kept_as_failed_before_its_followers_are_cut() -> None:
    async def scene(every: runs.Runs) -> None:
        renderer = ResponseEvents(opened())
        kept: list[Callable[[], None]] = []
        run = runs.Run("key", renderer, kept.append)
        every.add("resp_1", run)
        run.start(200, [])
        run.write(b"said so far")
        follower: Any = Follower()
        following = asyncio.ensure_future(run.follow(follower, [], -1))
        run.abort()
        await asyncio.sleep(0)
        assert renderer.answer.response is not None
        assert renderer.answer.response["status"] == "failed"
        (proceed,) = kept
        assert not run.over.is_set()
        assert not follower.is_cut
        proceed()
        await following
        assert (follower.sent, follower.is_cut) == ([b"said so far"], True)
        assert run.response == renderer.answer.response
        assert await every.drain(1) == 0

    play(scene)


def test_a_run_that_cannot_be_kept_when_it_is_broken_off_is_over_all_the_same() -> None:
    def broken(_: Callable[[], None]) -> None:
        raise RuntimeError("planted")

    async def scene(every: runs.Runs) -> None:
        run = runs.Run("key", ResponseEvents(opened()), broken)
        every.add("resp_1", run)
        run.abort()
        assert await every.drain(1) == 0

    with structlog.testing.capture_logs() as lines:
        play(scene)
    assert [line["event"] for line in lines] == ["defect"]
