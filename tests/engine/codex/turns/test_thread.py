"""A thread leaves nothing behind, whatever its process says to it, and its last words are kept."""

import asyncio
import itertools

import pytest
import structlog

from engine.codex.protocol.channel import OVERLOADED
from machines.events import StreamInput, ThreadChanged, TurnChanged, TurnFinished
from tests.support.providers.turnscene import OPENING, TURN, Scene, Server, run


def moves(*changes: ThreadChanged | TurnChanged) -> list[tuple[str, str, str]]:
    return [(each.before, each.trigger, each.after) for each in changes]


def test_a_turn_that_goes_well_is_told_with_its_stream() -> None:
    async def scene() -> None:
        server = Server()
        play = Scene(server)
        await server.until("turn/start")
        server.say_text("Hello")
        server.say(lambda its: its.item_completed("Hello") + its.completed("Hello", 1))
        await play.end()
        assert moves(*play.changes) == [
            ("new", "start_sent", "starting"),
            ("starting", "started", "running"),
            ("silent", "spoke", "speaking"),
            ("speaking", "item_whole", "whole"),
            ("whole", "completed", "over"),
            ("running", "turn_over", "released"),
        ]
        assert {each.choice for each in play.changes} == {2}
        assert {each.late_of for each in play.changes} == {""}
        ids = [each.thread_id for each in play.changes if isinstance(each, ThreadChanged)]
        assert ids == ["", "thread 1", "thread 1"]
        assert server.late == []

    run(scene())


def test_what_comes_after_the_end_of_its_stream_goes_to_its_process() -> None:
    async def scene() -> None:
        server = Server()
        play = Scene(server)
        await server.until("turn/start")
        server.say_text("so far")
        before = len(play.changes)
        play.turn.cancel()
        await asyncio.sleep(0.01)
        assert len(play.changes) == before
        assert moves(*server.late) == [
            ("speaking", "cancel", "cancelled"),
            ("running", "given_up", "interrupting"),
            ("interrupting", "interrupted", "released"),
        ]
        assert {each.late_of for each in server.late} == {TURN.stream_id}
        assert server.left == 1

    run(scene())


def test_a_thread_that_nobody_wants_is_released_once_it_has_started() -> None:
    async def scene() -> None:
        server = Server(deaf=("thread/start",))
        play = Scene(server)
        await server.until("thread/start")
        play.turn.cancel()
        assert (moves(*server.late)[-1], server.left) == (("starting", "given_up", "orphaned"), 0)
        server.answer(server.unanswered[0])
        await asyncio.sleep(0.01)
        assert moves(*server.late)[-1] == ("orphaned", "started", "released")
        assert server.methods == [OPENING[0], "thread/unsubscribe"]
        assert server.left == 1

    run(scene())


def test_a_thread_whose_process_dies_while_it_is_stopped_is_gone() -> None:
    async def scene() -> None:
        server = Server(deaf=("turn/interrupt",))
        play = Scene(server)
        await server.until("turn/start")
        play.turn.cancel()
        server.die()
        await asyncio.sleep(0.01)
        assert moves(*server.late)[-1] == ("interrupting", "process_lost", "gone")
        assert server.left == 1

    run(scene())


def test_a_thread_whose_process_dies_in_the_moment_of_its_start_is_not_listened_to() -> None:
    """The process has lost all its turns before this one is made."""

    async def scene() -> None:
        server = Server(deaf=("thread/start",))
        play = Scene(server)
        await server.until("thread/start")
        server.answer(server.unanswered[0])
        server.die()
        await play.end()
        assert ("running", "process_lost", "gone") in moves(*play.changes)
        assert server.left == server.seats
        assert server.routes.turns == {}

    run(scene())


@pytest.mark.parametrize("number", range(1, 10))
def test_a_stream_that_ends_by_what_it_is_told_leaves_nothing_behind(
    number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bug of ours that a notice meets ends its stream within the call that tells of it."""

    async def scene() -> None:
        server = Server()
        play = Scene(server)
        told = itertools.count(1)
        take = play.event

        def ends(event: StreamInput) -> None:
            take(event)
            if next(told) == number:
                play.turn.cancel()

        monkeypatch.setattr(play, "event", ends)
        await asyncio.sleep(0.1)
        if "turn/start" in server.methods:
            assert server.methods.index("turn/start") < server.methods.index("turn/interrupt")
        assert ("thread/start" in server.methods) == ("thread/unsubscribe" in server.methods)
        assert server.left == 1
        assert server.routes.turns == {}

    run(scene())


def test_what_the_life_of_a_process_cannot_take_is_said_and_costs_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Full(list[object]):
        def append(self, _: object) -> None:
            raise RuntimeError("planted")

    async def scene() -> None:
        server = Server()
        monkeypatch.setattr(server, "late", Full())
        other, left = Scene(server), Scene(server)
        await server.until_heard(2 * len(OPENING))
        left.turn.cancel()
        server.say_text("Hello")
        server.say(lambda its: its.completed("Hello", 1))
        assert await other.end() == TurnFinished("stop", 2)
        assert server.left == 2

    with structlog.testing.capture_logs() as lines:
        run(scene())
    # It names no stream: what fails there is the log that all of them share.
    told = [line for line in lines if line["event"] == "defect"]
    assert {line["boundary"] for line in told} == {"record"}


def test_what_becomes_of_an_attempt_that_another_follows_goes_to_its_process() -> None:
    """Its stream may end before the thread of the first attempt does."""

    async def scene() -> None:
        first, second = Server(refusals={"turn/start": OVERLOADED}), Server()
        play = Scene(first, second)
        await second.until("turn/start")
        second.say_text("Hello")
        second.say(lambda its: its.completed("Hello", 1))
        assert await play.end() == TurnFinished("stop", 2)
        assert moves(*first.late) == [("interrupting", "interrupted", "released")]
        assert second.late == []
        assert (first.left, second.left) == (1, 1)

    run(scene())
