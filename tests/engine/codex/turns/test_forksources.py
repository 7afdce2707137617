"""A turn that no thread goes on with begins on a fork of its conversation's source, or as ever."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine import worker
from engine.codex.turns import forksources, idlethreads
from engine.codex.turns.forksources import ForkCounts
from machines import events
from machines.events import ReuseMissed, ThreadForked, TurnFinished
from tests.support.providers.turnscene import OPENING, TURN, Scene, Server, run

FORK = ["thread/fork", *OPENING[1:]]


def asked(text: str = "hi", **fields: Any) -> worker.Turn:
    """The first request of a conversation."""
    messages = (worker.Message("user", (worker.TextPart(text),)),)
    return msgspec.structs.replace(
        TURN, choice=0, output_schema=None, key_id="alice", messages=messages, **fields
    )


def goes_on(text: str = "hi", **fields: Any) -> worker.Turn:
    """A later request of it, of which no thread is known."""
    turn = asked(text, **fields)
    new = (
        worker.Message("assistant", (worker.TextPart("Hello"),)),
        worker.Message("user", (worker.TextPart("more"),)),
    )
    return msgspec.structs.replace(turn, messages=turn.messages + new)


class Reading(Server):
    """An app-server that reads the file of each source, as it is asked for a fork."""

    def __init__(self, **how: Any) -> None:
        super().__init__(**how)
        self.sources: list[Any] = []

    def _read(self, raw: bytes) -> None:
        line = msgspec.json.decode(raw)
        if line.get("method") == "thread/fork":
            path = Path(line["params"]["path"])
            self.sources.append(msgspec.json.decode(path.read_bytes()))
        super()._read(raw)


class Talk:
    """Conversations on one server."""

    def __init__(self, directory: Path | None, **how: Any) -> None:
        self.server = Reading(**how)
        self.idle = idlethreads.IdleThreads(8, 60)
        self.forks = forksources.ForkSources(directory)

    def begin(self, turn: worker.Turn) -> Scene:
        return Scene(self.server, turn=turn, idle=self.idle, forks=self.forks)

    async def asks(self, turn: worker.Turn) -> list[str]:
        """What is asked for until a turn has begun, and it is given up."""
        before = len(self.server.methods)
        play = self.begin(turn)
        await play.after(events.TurnStarted)
        methods = self.server.methods[before:]
        play.turn.cancel()
        await asyncio.sleep(0.1)
        return methods

    def forked_from(self) -> list[str]:
        heard = self.server.heard
        return [each["params"]["threadId"] for each in heard if each["method"] == "thread/fork"]


@pytest.fixture
def scene(tmp_path: Path) -> Callable[..., None]:
    def played(play: Callable[[Talk], Awaitable[None]], **how: Any) -> None:
        async def whole() -> None:
            await play(Talk(**{"directory": tmp_path} | how))

        run(whole())
        assert list(tmp_path.iterdir()) == []

    return played


Play = Callable[..., None]


def test_the_second_request_has_a_fork_with_the_whole_history(scene: Play) -> None:
    async def play(talk: Talk) -> None:
        assert await talk.asks(asked()) == OPENING
        assert await talk.asks(goes_on()) == FORK
        fork, history, _ = (line["params"] for line in talk.server.heard[-5:-2])
        anew = talk.server.heard[0]["params"]
        for same in ("model", "cwd", "approvalPolicy", "sandbox", "baseInstructions", "ephemeral"):
            assert fork[same] == anew[same]
        assert fork["excludeTurns"] is True
        texts = [item["content"][0]["text"] for item in history["items"]]
        assert texts == ["hi", "Hello", "more"]
        assert await talk.asks(goes_on()) == FORK
        assert talk.forked_from() == [fork["threadId"]] * 2
        (source,) = {each["payload"]["id"] for each in talk.server.sources}
        assert source == fork["threadId"]
        assert talk.forks.counts == ForkCounts(forked=2)
        assert talk.server.seats == talk.server.left == 3

    scene(play)


def test_a_fork_that_has_answered_is_a_thread_like_any_other(scene: Play) -> None:
    async def play(talk: Talk) -> None:
        play = talk.begin(goes_on())
        await play.after(events.TurnStarted)
        assert [each.reason for each in play.of(ReuseMissed)] == ["unknown"]
        assert play.of(ThreadForked) == [ThreadForked("thread 1")]
        talk.server.say_whole("Good")
        assert await play.end() == TurnFinished("stop")
        play.turn.keep()
        new = (
            worker.Message("assistant", (worker.TextPart("Good"),)),
            worker.Message("user", (worker.TextPart("last"),)),
        )
        later = goes_on()
        later = msgspec.structs.replace(later, messages=later.messages + new)
        assert await talk.asks(later) == OPENING[1:]

    scene(play)


@pytest.mark.parametrize(
    "turn",
    [
        asked(),
        goes_on(tools=(worker.Tool("add"),)),
        goes_on(reasoning_items=True),
        goes_on(web_search="live"),
    ],
)
def test_none_is_asked_for_where_it_could_not_serve(scene: Play, turn: worker.Turn) -> None:
    async def play(talk: Talk) -> None:
        for _ in range(2):
            assert await talk.asks(turn) == OPENING
        assert talk.forks.counts == ForkCounts()

    scene(play)


def test_none_is_asked_for_where_it_is_turned_off(scene: Play) -> None:
    async def play(talk: Talk) -> None:
        assert await talk.asks(goes_on()) == OPENING
        assert await talk.asks(asked(conversation="mine")) == OPENING
        assert await talk.asks(asked(conversation="mine")) == OPENING

    scene(play, directory=None)


def test_none_is_asked_for_of_a_codex_that_was_not_tested(scene: Play) -> None:
    async def play(talk: Talk) -> None:
        talk.server.tested = False
        assert await talk.asks(goes_on()) == OPENING

    scene(play)


def test_a_conversation_that_its_client_names_has_one_from_its_second_request_on(
    scene: Play,
) -> None:
    async def play(talk: Talk) -> None:
        for text, asks in (("a", OPENING), ("b", FORK), ("c", FORK)):
            assert await talk.asks(asked(text, conversation="mine")) == asks

    scene(play)


def test_two_callers_never_share_nor_two_conversations(scene: Play) -> None:
    async def play(talk: Talk) -> None:
        callers = [{"key_id": key} for key in ("alice", "bob", None, "")]
        named = [caller | {"conversation": name} for name in ("x", "y") for caller in callers]
        for fields in [*callers, *named]:
            turn = msgspec.structs.replace(goes_on(), **fields)
            assert await talk.asks(turn) == FORK
        assert await talk.asks(goes_on("other")) == FORK
        assert len(set(talk.forked_from())) == len(talk.forked_from()) == 13

    scene(play)


def test_parallel_requests_have_the_same_source(scene: Play) -> None:
    async def play(talk: Talk) -> None:
        scenes = [talk.begin(goes_on()) for _ in range(3)]
        for each in scenes:
            await each.after(events.TurnStarted)
        assert len(talk.forked_from()) == 3
        assert len(set(talk.forked_from())) == 1
        for each in scenes:
            each.turn.cancel()

    scene(play)


def test_a_fork_that_is_refused_is_a_new_thread_and_none_is_asked_for_some_time(
    scene: Play,
) -> None:
    async def play(talk: Talk) -> None:
        play = talk.begin(goes_on())
        await play.after(events.TurnStarted)
        assert talk.server.methods == ["thread/fork", *OPENING]
        assert (play.of(events.RetryScheduled, ThreadForked), play.attempts) == ([], [1])
        assert len([each for each in play.of(events.RpcReplied) if each.error]) == 1
        talk.server.say_whole("Good")
        assert await play.end() == TurnFinished("stop")
        assert talk.forks.counts == ForkCounts(unforked=1)
        assert await talk.asks(goes_on()) == OPENING
        await asyncio.sleep(forksources.PAUSE_S)
        talk.server.takes_again("thread/fork")
        assert await talk.asks(goes_on()) == FORK

    scene(play, refusals={"thread/fork": -32600})


def test_a_process_that_is_busy_is_asked_again(scene: Play) -> None:
    async def play(talk: Talk) -> None:
        assert await talk.asks(goes_on()) == ["thread/fork", *OPENING]
        talk.server.takes_again("thread/fork")
        assert await talk.asks(goes_on()) == FORK

    scene(play, refusals={"thread/fork": -32001})


def test_a_source_that_cannot_be_written_costs_the_turn_nothing(
    scene: Play, tmp_path: Path
) -> None:
    async def play(talk: Talk) -> None:
        for _ in range(2):
            assert await talk.asks(goes_on()) == OPENING
        assert talk.forks.counts == ForkCounts(unforked=1)

    scene(play, directory=tmp_path / "nowhere")


def test_a_turn_that_fails_on_a_fork_has_a_new_thread_next(scene: Play) -> None:
    async def play(talk: Talk) -> None:
        other = Server()
        play = Scene(talk.server, other, turn=goes_on(), idle=talk.idle, forks=talk.forks)
        await play.after(events.TurnStarted)
        talk.server.die()
        await other.until("turn/start")
        assert (talk.server.methods, other.methods) == (FORK, OPENING)
        play.turn.cancel()

    scene(play)


def test_a_fork_that_comes_too_late_is_released(scene: Play) -> None:
    async def play(talk: Talk) -> None:
        play = talk.begin(goes_on())
        await talk.server.until("thread/fork")
        play.turn.cancel()
        await asyncio.sleep(0.1)
        assert talk.server.left == 0
        talk.server.answer(talk.server.unanswered[0])
        await asyncio.sleep(0.1)
        left = talk.server.heard[-1]
        assert (left["method"], left["params"]["threadId"]) == ("thread/unsubscribe", "thread 1")
        assert talk.server.left == 1

    scene(play, deaf=("thread/fork",))


def test_so_many_names_are_remembered(scene: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    async def play(talk: Talk) -> None:
        for name in ("a", "b", "a", "c"):
            await talk.asks(asked(conversation=name))
        assert await talk.asks(asked(conversation="b")) == OPENING
        assert await talk.asks(asked(conversation="c")) == FORK

    monkeypatch.setattr(forksources, "NAMES_MAX", 2)
    scene(play)
