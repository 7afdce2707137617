"""What every worker keeps: cases that each worker's own test class inherits.

A subclass says how its worker is made ready, and which of its turns take which course:

    whole   the texts of `SAID`, counts, a finish
    open    the first of them, then nothing for longer than a test takes
    broken  the first of them, then a failure
"""

import abc
import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Literal

import msgspec
import pytest
import uvloop

from engine import slices, worker
from machines import events
from machines.events import (
    TextDelta,
    TokensCounted,
    TurnFailed,
    TurnFinished,
)
from tests.support.process import machinetime

SAID = ("no ", "no ", "né")
"""What a whole answer says."""

WAIT_S = machinetime.HANG_S
"""Seconds after which something that should have come is given up."""

Course = Literal["whole", "open", "broken"]

ENDS = (TurnFinished, TurnFailed)


class Feed:
    """Keeps a turn's events; `on_event` is told of each, within the call that brings it."""

    def __init__(self) -> None:
        self.events: list[events.StreamInput] = []
        self.on_event: Callable[[events.StreamInput], None] = lambda _: None
        self._grown = asyncio.Event()

    def event(self, event: events.StreamInput) -> None:
        """Take one event."""
        self.events.append(event)
        self._grown.set()
        self.on_event(event)

    def of(self, *kinds: type[events.StreamEvent]) -> list[events.StreamInput]:
        """The events of some kinds so far."""
        return [event for event in self.events if isinstance(event, kinds)]

    async def until(self, *kinds: type[events.StreamEvent], count: int = 1) -> None:
        """Wait for events of some kinds."""
        async with asyncio.timeout(WAIT_S):
            while len(self.of(*kinds)) < count:
                self._grown.clear()
                await self._grown.wait()

    @property
    def text(self) -> str:
        """The answer so far."""
        return "".join(event.text for event in self.events if isinstance(event, TextDelta))


Scene = Callable[[worker.Worker], Awaitable[None]]


class WorkerContract(abc.ABC):
    """The cases.

    Attributes:
        broken_code: how a broken turn fails.
    """

    broken_code = "worker_exited"

    @abc.abstractmethod
    def ready(self, directory: Path) -> contextlib.AbstractAsyncContextManager[worker.Worker]:
        """A worker that takes turns, stopped at the end."""

    @abc.abstractmethod
    async def until_ready(self, runner: worker.Worker) -> None:
        """Wait until the worker takes turns."""

    @abc.abstractmethod
    def turn(self, course: Course) -> worker.Turn:
        """A turn that takes a course."""

    @abc.abstractmethod
    def refused(self) -> worker.Turn:
        """A turn that the worker cannot take."""

    def play(self, directory: Path, scene: Scene) -> None:
        """Run a scene with a ready worker."""

        async def run() -> None:
            async with self.ready(directory) as runner:
                await scene(runner)

        uvloop.run(run())

    def test_it_says_who_it_is_and_that_it_is_ready(self, tmp_path: Path) -> None:
        async def scene(runner: worker.Worker) -> None:
            assert runner.kind.name
            health = runner.health()
            assert (health.ready, health.state, health.code) == (True, "ready", None)
            models = runner.models()
            assert models
            assert len(set(models)) == len(models)
            assert all(runner.versions().values())

        self.play(tmp_path, scene)

    def test_a_whole_turn_says_everything_in_order_and_ends_once(self, tmp_path: Path) -> None:
        async def scene(runner: worker.Worker) -> None:
            slices.at_once(runner.check(self.turn("whole")))
            feed = Feed()
            runner.run(self.turn("whole"), feed)
            await feed.until(*ENDS)
            await self.another(runner)
            assert feed.text == "".join(SAID)
            assert len(feed.of(*ENDS)) == 1
            (counted,) = feed.of(TokensCounted)
            assert isinstance(counted, TokensCounted)
            assert counted.usage is not None
            assert isinstance(feed.events[-1], TurnFinished)
            told = [feed.events.index(event) for event in feed.of(TextDelta)]
            assert max(told) < feed.events.index(counted) < len(feed.events) - 1

        self.play(tmp_path, scene)

    def test_a_broken_turn_fails_once_and_says_nothing_more(self, tmp_path: Path) -> None:
        async def scene(runner: worker.Worker) -> None:
            feed = Feed()
            runner.run(self.turn("broken"), feed)
            await feed.until(*ENDS)
            await self.another(runner)
            assert feed.text == SAID[0]
            (failed,) = feed.of(*ENDS)
            assert failed is feed.events[-1]
            assert isinstance(failed, TurnFailed)
            assert (failed.code, bool(failed.message)) == (self.broken_code, True)

        self.play(tmp_path, scene)

    def test_many_turns_side_by_side_all_end(self, tmp_path: Path) -> None:
        async def scene(runner: worker.Worker) -> None:
            feeds = [Feed() for _ in range(8)]
            for feed in feeds:
                runner.run(self.turn("whole"), feed)
            for feed in feeds:
                await feed.until(*ENDS)
            await self.another(runner)
            assert {feed.text for feed in feeds} == {"".join(SAID)}
            assert [len(feed.of(*ENDS)) for feed in feeds] == [1] * 8

        self.play(tmp_path, scene)

    def test_a_cancelled_turn_says_nothing_more(self, tmp_path: Path) -> None:
        async def scene(runner: worker.Worker) -> None:
            feed = Feed()
            running = runner.run(self.turn("open"), feed)
            await feed.until(TextDelta)
            running.cancel()
            before = list(feed.events)
            running.cancel()
            await self.another(runner)
            assert feed.events == before
            assert feed.of(*ENDS) == []

        self.play(tmp_path, scene)

    @pytest.mark.parametrize("course", ["whole", "open", "broken"])
    def test_a_turn_cancelled_before_it_began_says_nothing(
        self, tmp_path: Path, course: Course
    ) -> None:
        async def scene(runner: worker.Worker) -> None:
            feed = Feed()
            runner.run(self.turn(course), feed).cancel()
            before = list(feed.events)
            await self.another(runner)
            assert feed.events == before

        self.play(tmp_path, scene)

    @pytest.mark.parametrize("kind", [TextDelta, TokensCounted, TurnFinished])
    def test_a_turn_may_be_cancelled_from_its_feed(
        self, tmp_path: Path, kind: type[events.StreamEvent]
    ) -> None:
        async def scene(runner: worker.Worker) -> None:
            feed = Feed()
            running = runner.run(self.turn("whole"), feed)
            feed.on_event = lambda event: running.cancel() if isinstance(event, kind) else None
            await feed.until(kind)
            await self.another(runner)
            assert isinstance(feed.events[-1], kind)
            assert len(feed.of(kind)) == 1

        self.play(tmp_path, scene)

    def test_a_turn_that_is_over_may_be_cancelled(self, tmp_path: Path) -> None:
        async def scene(runner: worker.Worker) -> None:
            for course in ("whole", "broken"):
                feed = Feed()
                running = runner.run(self.turn(course), feed)
                await feed.until(*ENDS)
                before = list(feed.events)
                running.cancel()
                running.cancel()
                await self.another(runner)
                assert feed.events == before

        self.play(tmp_path, scene)

    def test_events_carry_their_choice(self, tmp_path: Path) -> None:
        async def scene(runner: worker.Worker) -> None:
            feed = Feed()
            for choice in range(2):
                turn = msgspec.structs.replace(self.turn("whole"), choice=choice)
                runner.run(turn, feed)
            await feed.until(*ENDS, count=2)
            for choice in range(2):
                mine = [event for event in feed.events if getattr(event, "choice", 0) == choice]
                texts = [event.text for event in mine if isinstance(event, TextDelta)]
                assert "".join(texts) == "".join(SAID)
                assert isinstance(mine[-1], TurnFinished)

        self.play(tmp_path, scene)

    def test_what_it_cannot_take_is_refused_before_it_begins(self, tmp_path: Path) -> None:
        async def scene(runner: worker.Worker) -> None:
            with pytest.raises(worker.TurnRefused) as refusal:
                slices.at_once(runner.check(self.refused()))
            assert refusal.value.code
            assert refusal.value.message

        self.play(tmp_path, scene)

    def test_it_stops_in_time_whatever_runs(self, tmp_path: Path) -> None:
        async def scene(runner: worker.Worker) -> None:
            feed = Feed()
            running = runner.run(self.turn("open"), feed)
            await feed.until(TextDelta)
            async with asyncio.timeout(WAIT_S):
                await runner.stop()
            running.cancel()
            assert len(feed.of(*ENDS)) <= 1

        self.play(tmp_path, scene)

    async def another(self, runner: worker.Worker) -> None:
        """Run another turn to its end, so that what was on its way has come."""
        async with asyncio.timeout(WAIT_S):
            await self.until_ready(runner)
        feed = Feed()
        runner.run(self.turn("whole"), feed)
        await feed.until(*ENDS)
        assert feed.text == "".join(SAID)
