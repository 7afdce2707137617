"""One target after another, until one of them says something: what the stream and they see."""

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
import structlog

from engine import slices, worker, workerkinds
from engine.routing import fallback as engine_fallback, limits
from machines import events
from machines.events import (
    FallbackSkipped,
    FallbackTaken,
    RpcSent,
    TextDelta,
    TokensCounted,
    TurnFailed,
    TurnFinished,
)
from tests.support.process import machinetime

BROKEN = TurnFailed("upstream_error", "upstream_error", "broken")
AT_FAULT = TurnFailed("upstream_error", "bad", "your fault", status=400)
WHOLE: tuple[events.StreamInput, ...] = (
    TextDelta("Hi"),
    TokensCounted(events.Usage(3, 4)),
    TurnFinished("stop"),
)


MEMBERS = msgspec.Raw(b'{"a":1}')
BESIDE: tuple[events.StreamInput, ...] = (
    events.ExtraMembers("chunk", MEMBERS),
    events.ExtraMembers("choice", MEMBERS, followed=True),
)
"""What goes with output, and is none."""


class Kept:
    """The stream's feed: keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[events.StreamInput] = []

    def event(self, event: events.StreamInput) -> None:
        self.told.append(event)


class Running:
    """A turn of `Target`; `calls` is what was done to it."""

    def __init__(self, turn: worker.Turn, feed: worker.Feed) -> None:
        self.turn = turn
        self.feed = feed
        self.calls: list[str] = []

    def cancel(self) -> None:
        self.calls.append("cancel")

    def pause(self) -> None:
        self.calls.append("pause")

    def resume(self) -> None:
        self.calls.append("resume")

    def keep(self) -> None:
        self.calls.append("keep")

    def say(self, *said: events.StreamInput) -> None:
        """Have the worker say something of this turn's choice."""
        for event in said:
            if hasattr(event, "choice"):
                event = msgspec.structs.replace(event, choice=self.turn.choice)
            self.feed.event(event)


class Target:
    """A worker whose turns say what a test has them say.

    Args:
        at_once: what every turn says while it is begun.
        refuses: the code it refuses every turn with.
    """

    def __init__(
        self, name: str, *at_once: events.StreamInput, refuses: str | None = None
    ) -> None:
        self.name = name
        self.kind = msgspec.structs.replace(workerkinds.SCRIPTED, name=name)
        self.accepts: worker.AnyModel | worker.ListedModels = worker.AnyModel()
        self.turns: list[Running] = []
        self._at_once = at_once
        self._refuses = refuses

    async def start(self) -> None:
        """It is always ready."""

    async def stop(self) -> None:
        """It holds nothing."""

    def health(self) -> worker.Health:
        return worker.Health(True, "ready")

    def versions(self) -> dict[str, str]:
        return {}

    def models(self) -> tuple[str, ...]:
        return ()

    def describe(self, model: str) -> worker.ModelCard:
        return worker.ModelCard()

    def check(self, turn: worker.Turn) -> slices.Steps[worker.Runner]:
        yield
        if self._refuses is not None:
            raise worker.TurnRefused(self._refuses, "refused", "model")
        return self

    def run(self, turn: worker.Turn, feed: worker.Feed) -> Running:
        running = Running(turn, feed)
        self.turns.append(running)
        running.say(*self._at_once)
        return running


def turns(n: int = 1, a_turn: int = 1) -> tuple[worker.Turn, ...]:
    return tuple(
        worker.Turn(
            stream_id="st_1",
            request_id="req_1",
            target="m",
            messages=(),
            choice=choice,
            choices=a_turn,
        )
        for choice in range(0, n, a_turn)
    )


class Scene:
    """A stream whose turns were begun on the first of some targets.

    Args:
        shared: of the targets, those that answer all choices with one turn.
    """

    def __init__(
        self,
        *targets: Target,
        n: int = 1,
        shared: tuple[str, ...] = (),
        patience: float = 0,
        bounds: limits.Limits = limits.NONE,
    ) -> None:
        self.feed = Kept()
        self.taken: list[str] = []
        self.twice = asyncio.Event()

        def work(target: Target) -> tuple[worker.Turn, ...]:
            return turns(n, n if target.name in shared else 1)

        def candidate(target: Target) -> engine_fallback.Candidate:
            def prepare() -> engine_fallback.TargetRequest:
                return engine_fallback.TargetRequest(work(target), bounds)

            return engine_fallback.Candidate(f"{target.name}'s", "m", target, prepare)

        first, *others = targets
        refused = None
        try:
            slices.at_once(first.check(work(first)[0]))
        except worker.TurnRefused as refusal:
            refused = refusal
        runner = engine_fallback.Fallback(
            first,
            [candidate(target) for target in others],
            patience,
            self._take,
            refused,
        )
        self.shares = [runner.run(turn, self.feed) for turn in work(first)]

    def _take(self, candidate: engine_fallback.Candidate, _: FallbackTaken) -> None:
        self.taken.append(candidate.name)
        if len(self.taken) == 2:
            self.twice.set()

    @property
    def told(self) -> list[Any]:
        return list(self.feed.told)


def scene(play: Callable[[], Any]) -> None:
    """Play a scene within a loop."""

    async def run() -> None:
        result = play()
        if result is not None:
            await result

    asyncio.run(run())


def test_what_the_first_says_goes_on_as_it_comes() -> None:
    def play() -> None:
        first, second = Target("a"), Target("b")
        stream = Scene(first, second)
        first.turns[0].say(RpcSent("x", 1), *WHOLE, BROKEN)
        assert stream.told == [RpcSent("x", 1), *WHOLE, BROKEN]
        assert (second.turns, stream.taken) == ([], [])

    scene(play)


def test_a_failure_before_output_is_passed_over_and_said() -> None:
    def play() -> None:
        first, second = Target("a"), Target("b")
        stream = Scene(first, second)
        first.turns[0].say(RpcSent("x", 1), TokensCounted(events.Usage(9, 9)), *BESIDE, BROKEN)
        assert stream.told == [RpcSent("x", 1), FallbackTaken("m", "b", "upstream_error")]
        assert stream.taken == ["b's"]
        assert first.turns[0].calls == ["cancel"]
        first.turns[0].say(TextDelta("too late"))
        second.turns[0].say(*WHOLE)
        assert stream.told[2:] == list(WHOLE)

    scene(play)


@pytest.mark.parametrize(
    "output",
    [
        TextDelta(""),
        events.ReasoningDelta("hm"),
        events.RefusalDelta("no"),
        events.ExtraMembers("delta", MEMBERS),
        events.ToolCalled("c", "f", "{}"),
        events.ToolCallDelta(0),
        TurnFinished("stop"),
    ],
)
def test_after_any_output_a_failure_is_the_streams(output: events.StreamInput) -> None:
    def play() -> None:
        first, second = Target("a"), Target("b")
        stream = Scene(first, second)
        counted = TokensCounted(events.Usage(3, 1))
        first.turns[0].say(counted, *BESIDE, output, BROKEN)
        assert stream.told == [counted, *BESIDE, output, BROKEN]
        assert second.turns == []

    scene(play)


@pytest.mark.parametrize(
    ("failed", "passes"),
    [
        (BROKEN, True),
        (AT_FAULT, False),
        (TurnFailed("rejected", "worker_not_ready", ""), True),
        (TurnFailed("rejected", "worker_busy", ""), True),
        (TurnFailed("worker_lost", "worker_exited", ""), True),
        (TurnFailed("empty", "empty_upstream", ""), True),
        (TurnFailed("upstream_error", "context_length_exceeded", ""), False),
        (TurnFailed("upstream_error", "x", "", status=429), True),
        (TurnFailed("upstream_error", "x", "", status=504), True),
        (TurnFailed("upstream_error", "x", "", status=403), False),
        (TurnFailed("upstream_error", "x", "", status=422), False),
    ],
)
def test_a_request_at_fault_is_told_so(failed: TurnFailed, passes: bool) -> None:
    def play() -> None:
        first, second = Target("a"), Target("b")
        stream = Scene(first, second)
        first.turns[0].say(failed)
        assert bool(second.turns) == passes
        assert (failed in stream.told) != passes

    scene(play)


def test_every_target_is_asked_once_and_the_last_failure_is_the_streams() -> None:
    def play() -> None:
        targets = [Target("a"), Target("b", BROKEN), Target("c", BROKEN)]
        stream = Scene(*targets)
        targets[0].turns[0].say(BROKEN)
        taken = [FallbackTaken("m", name, "upstream_error") for name in "bc"]
        assert stream.told == [*taken, BROKEN]
        assert [len(target.turns) for target in targets] == [1, 1, 1]
        assert [target.turns[0].calls[:1] for target in targets] == [["cancel"]] * 3

    scene(play)


def test_one_that_fails_while_it_is_begun_is_passed_over() -> None:
    def play() -> None:
        first, second = Target("a", BROKEN), Target("b", *WHOLE)
        stream = Scene(first, second, n=2)
        assert stream.told[:2] == [FallbackTaken("m", "b", "upstream_error"), TextDelta("Hi")]
        assert [running.turn.choice for running in first.turns] == [0]
        assert [running.turn.choice for running in second.turns] == [0, 1]
        assert first.turns[0].calls == ["cancel"]

    scene(play)


def test_one_that_refuses_the_turn_is_passed_over_before_it_is_begun() -> None:
    def play() -> None:
        first, second = Target("a", refuses="worker_unauthorized"), Target("b")
        stream = Scene(first, second, n=2)
        assert stream.told == [FallbackTaken("m", "b", "worker_unauthorized")]
        assert (first.turns, len(second.turns)) == ([], 2)

    scene(play)


def test_one_that_cannot_stand_in_is_skipped_and_said() -> None:
    def play() -> None:
        first, picky, third = Target("a"), Target("b", refuses="unsupported_content"), Target("c")
        stream = Scene(first, picky, third)
        first.turns[0].say(BROKEN)
        skipped = FallbackSkipped("m", "b", "unsupported_content")
        assert stream.told == [skipped, FallbackTaken("m", "c", "upstream_error")]
        assert picky.turns == []
        alone = Scene(Target("a", BROKEN), picky)
        assert alone.told == [skipped, BROKEN]

    scene(play)


def test_a_first_that_refuses_and_nobody_else_is_refused_as_it_said() -> None:
    def play() -> None:
        first, picky = Target("a", refuses="worker_not_ready"), Target("b", refuses="x")
        stream = Scene(first, picky, n=2)
        refused = TurnFailed("rejected", "worker_not_ready", "refused", param="model")
        assert stream.told == [FallbackSkipped("m", "b", "x"), refused]
        assert first.turns == []

    scene(play)


def test_a_choice_that_fails_takes_the_others_along() -> None:
    def play() -> None:
        first, second = Target("a"), Target("b")
        stream = Scene(first, second, n=3, shared=("b",))
        first.turns[1].say(BROKEN)
        assert [running.calls for running in first.turns] == [["cancel"]] * 3
        (running,) = second.turns
        assert (running.turn.choice, running.turn.choices) == (0, 3)
        stream.shares[0].pause()
        stream.shares[1].pause()
        stream.shares[0].cancel()
        stream.shares[1].cancel()
        assert running.calls == ["pause"]
        stream.shares[2].cancel()
        assert running.calls == ["pause", "cancel"]

    scene(play)


def test_after_output_of_one_choice_nobody_stands_in_for_another() -> None:
    def play() -> None:
        first, second = Target("a"), Target("b")
        stream = Scene(first, second, n=2)
        first.turns[0].say(TextDelta("Hi"))
        first.turns[1].say(BROKEN)
        assert stream.told[-1] == msgspec.structs.replace(BROKEN, choice=1)
        assert second.turns == []

    scene(play)


def test_of_a_turn_for_all_choices_each_may_be_cancelled() -> None:
    def play() -> None:
        first, second = Target("a"), Target("b")
        stream = Scene(first, second, n=2, shared=("a",))
        first.turns[0].say(BROKEN)
        (share,) = stream.shares
        share.pause()
        share.resume()
        share.keep()
        assert [running.calls for running in second.turns] == [["pause", "resume", "keep"]] * 2

    scene(play)


def test_a_turn_is_kept_if_any_of_its_choices_is() -> None:
    def play() -> None:
        first, second = Target("a"), Target("b")
        stream = Scene(first, second, n=2, shared=("b",))
        first.turns[0].say(BROKEN)
        stream.shares[0].cancel()
        stream.shares[1].keep()
        assert second.turns[0].calls == ["keep"]

    scene(play)


def test_one_that_is_silent_for_too_long_is_left() -> None:
    async def play() -> None:
        first, second, third = Target("a"), Target("b"), Target("c")
        stream = Scene(first, second, third, patience=0.02)
        first.turns[0].say(RpcSent("x", 1))
        async with asyncio.timeout(machinetime.HANG_S):
            await stream.twice.wait()
        late = [FallbackTaken("m", name, "request_timeout") for name in "bc"]
        assert stream.told[1:] == late
        assert [target.turns[0].calls for target in (first, second)] == [["cancel"]] * 2
        await asyncio.sleep(0.05)
        assert stream.told[1:] == late, "the last one has the stream's own limit"
        third.turns[0].say(*WHOLE)
        assert stream.told[3:] == list(WHOLE)

    scene(play)


def test_one_that_is_late_goes_on_if_nobody_can_stand_in() -> None:
    async def play() -> None:
        first, picky = Target("a"), Target("b", refuses="x")
        stream = Scene(first, picky, patience=0.01)
        await asyncio.sleep(0.03)
        assert stream.told == [FallbackSkipped("m", "b", "x")]
        first.turns[0].say(*WHOLE)
        assert stream.told[1:] == list(WHOLE)
        assert first.turns[0].calls == []

    scene(play)


@pytest.mark.parametrize("end", ["output", "cancel", "failure"])
def test_nobody_is_late_any_more(end: str) -> None:
    async def play() -> None:
        first, second = Target("a"), Target("b")
        stream = Scene(first, second, patience=0.01)
        if end == "output":
            first.turns[0].say(TextDelta("Hi"))
        elif end == "cancel":
            stream.shares[0].cancel()
        else:
            first.turns[0].say(AT_FAULT)
        await asyncio.sleep(0.03)
        assert second.turns == []

    scene(play)


def test_limits_that_nobody_else_keeps_are_kept_of_who_stands_in() -> None:
    def play() -> None:
        first, second = Target("a"), Target("b")
        stream = Scene(first, second, bounds=limits.Limits(max_bytes=2))
        first.turns[0].say(BROKEN)
        second.turns[0].say(TextDelta("abc"), *WHOLE)
        assert stream.told[1:] == [TextDelta("ab"), TurnFinished("length", cut_short=True)]
        assert second.turns[0].calls == ["cancel"]
        free = Scene(Target("a", TextDelta("abc")), second, bounds=limits.Limits(max_bytes=2))
        assert free.told == [TextDelta("abc")]

    scene(play)


def test_a_bug_met_between_worker_and_stream_is_a_failure_of_the_stream() -> None:
    def play() -> None:
        first = Target("first")
        on = Scene(first)
        trial = first.turns[0].feed

        def broken(_: events.StreamInput) -> None:
            raise RuntimeError("planted")

        trial._first = broken  # type: ignore[attr-defined]  # planted
        with structlog.testing.capture_logs() as lines:
            first.turns[0].say(TextDelta("lost"), TextDelta("more"), TurnFinished("stop"))
        assert [(each.kind, each.code) for each in on.told] == [("defect", "internal_error")]
        assert [line["stream"] for line in lines if line["event"] == "defect"] == ["st_1"]

    scene(play)


def test_nobody_stands_in_for_one_that_a_bug_kept_from_being_begun() -> None:
    """Its stream has ended by the bug, and nobody would cancel what is begun for it later."""

    class Broken(Target):
        def run(self, turn: worker.Turn, feed: worker.Feed) -> Running:
            raise RuntimeError("planted")

    async def play() -> None:
        other = Target("b")
        with pytest.raises(RuntimeError):
            Scene(Broken("a"), other, patience=0.01)
        await asyncio.sleep(0.05)  # five times its patience: nothing may happen
        assert other.turns == []

    scene(play)
