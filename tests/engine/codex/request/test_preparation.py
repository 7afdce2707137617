"""A turn is made ready once, beside everything else, and is sent in lines that hold nobody up."""

import asyncio
import itertools
from typing import Any

import msgspec
import pytest
import structlog

from engine import slices, worker
from engine.codex.request import conversation, preparation
from engine.slices import Steps
from machines.events import TurnFailed, TurnFinished
from tests.support.providers.turnscene import TURN, Scene, Server, run

TEXT = "x" * 1000


def long_turn(count: int) -> worker.Turn:
    """A turn with so many messages, each with its number."""
    messages = tuple(
        worker.Message("user", (worker.TextPart(f"{number} {TEXT}"),)) for number in range(count)
    )
    return msgspec.structs.replace(TURN, messages=messages)


def numbers(lines: list[dict[str, Any]]) -> list[int]:
    """The numbers of the messages in these lines."""
    items = [item for line in lines for item in line["params"]["items"]]
    return [int(item["content"][0]["text"].split()[0]) for item in items]


def test_a_long_conversation_is_sent_in_several_lines_in_its_order() -> None:
    async def scene() -> None:
        server = Server()
        play = Scene(server, turn=long_turn(3000))
        await server.until("turn/start")
        injected = [line for line in server.heard if line["method"] == "thread/inject_items"]
        assert len(injected) == 4
        assert numbers(injected) == list(range(3000))
        assert server.methods[-1] == "turn/start"
        server.say_text("so far")
        server.end_turn()
        assert isinstance(await play.end(), TurnFinished)

    run(scene())


def test_others_run_while_a_turn_is_made_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slices.Slice, "spent", True)

    async def scene() -> None:
        server = Server()
        play = Scene(server, turn=long_turn(100))
        rounds = 0
        while not server.heard:
            await asyncio.sleep(0)
            rounds += 1
        assert rounds >= 100
        play.turn.cancel()

    run(scene())


def test_others_run_between_two_lines_of_a_long_conversation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scene() -> None:
        server = Server()
        play = Scene(server, turn=long_turn(3000))
        await server.until("thread/start")
        monkeypatch.setattr(slices.Slice, "spent", True)
        heard = [len(server.heard)]
        while server.methods[-1] != "turn/start":
            await asyncio.sleep(0)
            heard.append(len(server.heard))
        # The last line of the conversation and the turn's start may come together.
        assert max(after - before for before, after in itertools.pairwise(heard)) <= 2
        assert heard[-1] == 6
        play.turn.cancel()

    run(scene())


def test_a_turn_that_is_cancelled_while_it_is_made_ready_gives_its_seat_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def endless(*_: Any) -> Steps[preparation.Prepared]:
        while True:
            yield

    monkeypatch.setattr(preparation, "prepare", endless)

    async def scene() -> None:
        server = Server()
        play = Scene(server)
        for _ in range(10):
            await asyncio.sleep(0)
        assert (server.seats, server.left) == (1, 0)
        play.turn.cancel()
        await asyncio.sleep(0.1)
        assert (server.left, server.heard, play.events) == (1, [], [])

    run(scene())


def test_what_cannot_be_made_ready_gives_its_seat_back(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> Steps[preparation.Prepared]:
        yield
        raise RuntimeError("broken")

    monkeypatch.setattr(preparation, "prepare", broken)

    async def scene() -> None:
        server = Server()
        with structlog.testing.capture_logs():
            failed = await Scene(server).end()
        assert isinstance(failed, TurnFailed)
        assert (failed.code, server.left) == ("internal_error", 1)

    run(scene())


def count_conversions(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The conversions of a conversation from now on, as they begin."""
    conversions: list[Any] = []
    usual = conversation.items

    def counted(*arguments: Any) -> Any:
        conversions.append(arguments)
        return usual(*arguments)

    monkeypatch.setattr(conversation, "items", counted)
    return conversions


def test_a_turn_that_is_tried_again_is_not_made_ready_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    conversions = count_conversions(monkeypatch)

    async def scene() -> None:
        dying, server = Server(), Server()
        play = Scene(dying, server, turn=long_turn(2))
        await dying.until("turn/start")
        dying.die()
        await server.until("turn/start")
        injected = [line for line in server.heard if line["method"] == "thread/inject_items"]
        assert numbers(injected) == [0, 1]
        server.say_text("so far")
        server.end_turn()
        assert isinstance(await play.end(), TurnFinished)

    run(scene())
    assert len(conversions) == 1


def test_the_turns_of_a_request_are_made_ready_once(monkeypatch: pytest.MonkeyPatch) -> None:
    conversions = count_conversions(monkeypatch)
    monkeypatch.setattr(slices.Slice, "spent", True)

    async def scene() -> None:
        turn, servers = long_turn(3), [Server() for _ in range(3)]
        prepared = preparation.Preparation(turn, lambda _: None)
        plays = [Scene(server, turn=turn, prepared=prepared) for server in servers]
        for play, server in zip(plays, servers, strict=True):
            await server.until("turn/start")
            injected = [line for line in server.heard if line["method"] == "thread/inject_items"]
            assert numbers(injected) == [0, 1, 2]
            play.turn.cancel()

    run(scene())
    assert len(conversions) == 1


def test_a_turn_is_made_ready_though_the_one_that_began_it_is_cancelled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(slices.Slice, "spent", True)

    async def scene() -> None:
        turn, cancelled, server = long_turn(100), Server(), Server()
        prepared = preparation.Preparation(turn, lambda _: None)
        plays = [Scene(each, turn=turn, prepared=prepared) for each in (cancelled, server)]
        for _ in range(50):
            await asyncio.sleep(0)
        plays[0].turn.cancel()
        await server.until("turn/start")
        injected = [line for line in server.heard if line["method"] == "thread/inject_items"]
        assert numbers(injected) == list(range(100))
        assert (cancelled.heard, cancelled.left) == ([], 1)
        plays[1].turn.cancel()

    run(scene())
