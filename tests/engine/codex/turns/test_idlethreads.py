"""The thread of a whole answer takes the next turn of its conversation, and of no other."""

import asyncio
import gc
import weakref
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from engine import failures, worker
from engine.codex.turns import attempt, idlethreads
from machines import events
from machines.events import ReuseMissed, ThreadReused, TokensCounted, TurnFinished, Usage
from tests.support.providers.turnscene import COUNTS, OPENING, TURN, Scene, Server, run

FIRST = msgspec.structs.replace(TURN, choice=0, output_schema=None, key_id="alice")
GOES_ON = OPENING[1:]


def grown(turn: worker.Turn, answer: str = "Hello", asks: str = "more", **fields: Any) -> Any:
    """The next turn of a conversation."""
    new = (
        worker.Message("assistant", (worker.TextPart(answer),)),
        worker.Message("user", (worker.TextPart(asks),)),
    )
    return msgspec.structs.replace(turn, messages=turn.messages + new, **fields)


class Talk:
    """Conversations on one server."""

    def __init__(self, most: int = 8, ttl: float = 60) -> None:
        self.server = Server()
        self.idle = idlethreads.IdleThreads(most, ttl)

    def begin(self, turn: worker.Turn) -> Scene:
        return Scene(self.server, turn=turn, idle=self.idle)

    async def answered(
        self, turn: worker.Turn, thread: int = 1, text: str = "Hello", **how: Any
    ) -> Scene:
        """A turn that is answered so on a thread, and kept."""
        play = self.begin(turn)
        await self.started(turn)
        self.server.say_whole(text, thread, **how)
        assert await play.end() == TurnFinished("stop", turn.choice)
        play.turn.keep()
        return play

    async def started(self, _: worker.Turn) -> None:
        begun = self.server.methods.count("turn/start")
        while self.server.methods.count("turn/start") == begun:
            await self.server.until_heard(len(self.server.heard) + 1)
        await asyncio.sleep(0.001)

    @property
    def released(self) -> int:
        return self.server.methods.count("thread/unsubscribe")


def scene(play: Callable[[Talk], Awaitable[None]], **limits: Any) -> None:
    """Run a scene of one talk."""

    async def played() -> None:
        await play(Talk(**limits))

    run(played())


def missed(play: Scene) -> list[str]:
    return [event.reason for event in play.of(ReuseMissed)]


def test_only_what_is_new_is_sent_to_the_thread() -> None:
    async def play(talk: Talk) -> None:
        first = await talk.answered(FIRST)
        assert (missed(first), first.of(ThreadReused)) == ([], [])
        assert talk.server.methods == OPENING
        assert (talk.server.seats, talk.server.left, talk.idle.count) == (1, 1, 1)
        assert talk.server.routes.turns == {}
        await asyncio.sleep(2)
        second = await talk.answered(grown(FIRST), text="And more")
        assert talk.server.methods == [*OPENING, *GOES_ON]
        history, start = (line["params"] for line in talk.server.heard[3:])
        assert [item["content"][0]["text"] for item in history["items"]] == ["more"]
        assert history["threadId"] == start["threadId"] == "thread 1"
        (reused,) = second.of(ThreadReused)
        assert reused.thread_id == "thread 1"
        assert 2_000_000 <= reused.idle_us < 3_000_000
        assert (talk.server.seats, talk.server.left) == (2, 2)
        third = await talk.answered(grown(grown(FIRST), "And more"))
        assert third.of(ThreadReused)
        assert talk.idle.counts == idlethreads.ReuseCounts(begun=1, reused=2, kept=3)

    scene(play)


def test_the_counts_of_each_turn_are_its_own() -> None:
    async def play(talk: Talk) -> None:
        turn = FIRST
        for _ in range(3):
            play = await talk.answered(turn)
            prompt, completion = COUNTS["inputTokens"], COUNTS["outputTokens"]
            assert play.of(TokensCounted) == [TokensCounted(Usage(prompt, completion))]
            turn = grown(turn)

    scene(play)


@pytest.mark.parametrize(
    ("later", "reason"),
    [
        (grown(FIRST, "Hello!"), "history_edited"),
        (grown(msgspec.structs.replace(FIRST, messages=FIRST.messages[::-1])), "unknown"),
        (grown(FIRST, key_id="bob"), "unknown"),
        (grown(FIRST, conversation="mine"), "unknown"),
        (grown(FIRST, target="gpt-6-sol"), "options_changed"),
        (grown(FIRST, tools=(worker.Tool("add"),)), "options_changed"),
        (grown(FIRST, effort=None), "effort_unset"),
    ],
)
def test_anything_else_has_a_new_thread(later: worker.Turn, reason: str) -> None:
    async def play(talk: Talk) -> None:
        await talk.answered(FIRST)
        play = talk.begin(later)
        await talk.started(later)
        assert missed(play) == [reason]
        assert talk.server.methods == [*OPENING, *OPENING]
        assert talk.idle.missed == {reason: 1}
        play.turn.cancel()

    scene(play)


def test_an_effort_that_is_given_again_is_no_other_conversation() -> None:
    async def play(talk: Talk) -> None:
        await talk.answered(FIRST)
        second = await talk.answered(grown(FIRST, effort="high"))
        assert second.of(ThreadReused)
        assert talk.server.heard[-1]["params"]["effort"] == "high"

    scene(play)


def test_the_first_of_parallel_requests_takes_the_thread() -> None:
    async def play(talk: Talk) -> None:
        await talk.answered(FIRST)
        scenes = [talk.begin(grown(FIRST, asks=text)) for text in ("a", "b")]
        await talk.server.until_heard(len(OPENING) + len(GOES_ON) + len(OPENING))
        assert [missed(each) for each in scenes] == [[], ["in_use"]]
        assert len(scenes[0].of(ThreadReused)) == 1
        for each in scenes:
            each.turn.cancel()

    scene(play)


@pytest.mark.parametrize(
    "how", [{"steps": 2}, {"steps": 0}, {"kind": "contextCompaction"}, {"text": ""}]
)
def test_a_thread_that_holds_more_than_its_client_was_told_is_released(how: Any) -> None:
    async def play(talk: Talk) -> None:
        await talk.answered(FIRST, **how)
        await asyncio.sleep(0.01)
        assert (talk.released, talk.idle.count, talk.server.left) == (1, 0, 1)

    scene(play)


def test_a_thread_is_released_whose_answer_did_not_reach_its_client_whole() -> None:
    async def play(talk: Talk) -> None:
        play = talk.begin(FIRST)
        await talk.started(FIRST)
        talk.server.say_whole("Hello")
        await play.end()
        play.turn.cancel()
        await asyncio.sleep(0.01)
        assert (talk.released, talk.idle.count, talk.server.left) == (1, 0, 1)
        assert talk.server.methods.count("turn/interrupt") == 0
        later = talk.begin(grown(FIRST))
        await talk.started(FIRST)
        assert missed(later) == ["not_kept"]
        later.turn.cancel()

    scene(play)


def test_a_turn_that_is_interrupted_leaves_no_thread() -> None:
    async def play(talk: Talk) -> None:
        await talk.answered(FIRST)
        second = talk.begin(grown(FIRST))
        await talk.started(FIRST)
        second.turn.cancel()
        await asyncio.sleep(0.01)
        assert talk.server.methods[-2:] == ["turn/interrupt", "thread/unsubscribe"]
        assert (talk.idle.count, talk.server.left) == (0, 2)

    scene(play)


def test_a_thread_waits_so_long_and_no_longer() -> None:
    async def play(talk: Talk) -> None:
        await talk.answered(FIRST)
        await asyncio.sleep(9)
        assert talk.released == 0
        await asyncio.sleep(2)
        assert (talk.released, talk.idle.counts.expired) == (1, 1)
        assert [(each.trigger, each.late_of) for each in talk.server.late] == [("expired", "st_1")]
        later = talk.begin(grown(FIRST))
        await talk.started(FIRST)
        assert missed(later) == ["expired"]
        later.turn.cancel()

    scene(play, ttl=10)


def other(number: int, **fields: Any) -> worker.Turn:
    """The first request of another conversation."""
    asked = (worker.Message("user", (worker.TextPart(f"{number}"),)),)
    return msgspec.structs.replace(FIRST, messages=asked, **fields)


def test_the_thread_that_was_idle_for_longest_makes_room() -> None:
    async def play(talk: Talk) -> None:
        for number in range(1, 3):
            await talk.answered(other(number), number)
        await talk.answered(grown(other(1)))  # it is the other one now
        await talk.answered(other(3), 3)
        assert (talk.idle.counts.evicted, talk.released, talk.idle.count) == (1, 1, 2)
        later = talk.begin(grown(other(2)))
        await talk.started(FIRST)
        assert missed(later) == ["evicted"]
        later.turn.cancel()

    scene(play, most=2)


def test_a_long_conversation_counts_as_several() -> None:
    async def play(talk: Talk) -> None:
        for number in range(1, 4):
            await talk.answered(other(number), number)
        assert talk.idle.count == 3
        asked = (worker.Message("user", (worker.TextPart("x" * (2 << 20)),)),)
        await talk.answered(msgspec.structs.replace(FIRST, messages=asked), 4)
        assert (talk.idle.count, talk.idle.counts.evicted) == (2, 2)
        asked = (worker.Message("user", (worker.TextPart("x" * (4 << 20)),)),)
        await talk.answered(msgspec.structs.replace(FIRST, messages=asked), 5)
        assert (talk.idle.count, talk.released) == (2, 3)

    scene(play, most=4)


def test_what_is_told_alike_is_kept_once() -> None:
    async def play(talk: Talk) -> None:
        await talk.answered(FIRST, 1)
        await talk.answered(FIRST, 2)
        assert (talk.idle.count, talk.released) == (1, 1)
        third = await talk.answered(grown(FIRST), 2)
        assert [event.thread_id for event in third.of(ThreadReused)] == ["thread 2"]

    scene(play)


def test_a_thread_whose_process_has_gone_is_not_waited_for() -> None:
    async def play(talk: Talk) -> None:
        await talk.answered(FIRST)
        talk.server.die()
        assert [each.after for each in talk.server.late] == ["gone"]
        talk.server = Server()
        later = talk.begin(grown(FIRST))
        await talk.started(FIRST)
        assert missed(later) == ["worker_lost"]
        assert talk.server.methods == OPENING
        later.turn.cancel()

    scene(play)


@pytest.mark.parametrize("refused", ["thread/inject_items", "turn/start"])
def test_a_thread_that_codex_has_no_more_is_replaced(refused: str) -> None:
    async def play(talk: Talk) -> None:
        await talk.answered(FIRST)
        talk.server.refuses_once(refused)
        later = talk.begin(grown(FIRST))
        await later.after(ReuseMissed)
        assert missed(later) == ["upstream_error"]
        await talk.server.until_heard(len(OPENING) + len(GOES_ON) + 1 + len(OPENING))
        talk.server.say_whole("Hello", 2)
        assert await later.end() == TurnFinished("stop")
        assert len(later.of(events.RetryScheduled)) == 0

    scene(play)


def test_a_bug_before_a_thread_goes_on_keeps_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    def bug(*_: Any) -> None:
        raise RuntimeError

    async def play(talk: Talk) -> None:
        await talk.answered(FIRST)
        monkeypatch.setattr(attempt.Attempt, "_next_turn", bug)
        failing = talk.begin(grown(FIRST))
        assert await failing.end() == failures.DEFECT.event(0)
        failing.turn.cancel()
        assert (talk.server.seats, talk.server.left, talk.released) == (2, 2, 1)

    scene(play)


def test_none_is_kept_where_it_is_turned_off() -> None:
    async def play(talk: Talk) -> None:
        await talk.answered(FIRST)
        second = await talk.answered(grown(FIRST), 2)
        assert second.of(ThreadReused, ReuseMissed) == []
        await asyncio.sleep(0.01)
        assert (talk.released, talk.idle.counts) == (2, idlethreads.ReuseCounts())

    scene(play, most=0)


def test_a_stop_releases_every_thread() -> None:
    async def play(talk: Talk) -> None:
        await talk.answered(FIRST)
        talk.idle.close()
        await asyncio.sleep(0.01)
        assert (talk.released, talk.idle.count) == (1, 0)

    scene(play)


def test_nothing_is_left_of_a_thread_that_made_room() -> None:
    left = []

    async def play(talk: Talk) -> None:
        for number in range(1, 6):
            await talk.answered(other(number), number)
            (idle,) = talk.idle._threads.values()
            left.append(weakref.ref(idle.attempt))
        await asyncio.sleep(0.01)
        del idle
        gc.collect()
        assert [each() is None for each in left] == [True] * 4 + [False]

    scene(play, most=1)
