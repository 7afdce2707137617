"""The life of one turn, against an app-server that is written here by hand, in virtual time."""

import asyncio
import time
from typing import Any

import msgspec
import pytest
import structlog.testing

from bench import appframes
from engine import failures, worker
from engine.codex import loginlink, sharedlogin
from engine.codex.protocol import appserver, notifications
from engine.codex.request import preparation
from engine.codex.turns import (
    attempt,
    forksources,
    idlethreads,
    parking,
    reader as codex,
    states,
    thread,
    turn as codexturn,
    verdicts,
)
from machines.events import (
    RetryScheduled,
    RpcReplied,
    RpcSent,
    TextDelta,
    TokensCounted,
    TurnFailed,
    TurnFinished,
    TurnStarted,
)
from tests.support.providers.turnscene import OPENING, TURN, Scene, Server, run, takes

# --- A turn that goes well ---


def test_a_turn_asks_for_a_thread_its_history_and_an_answer() -> None:
    async def scene() -> None:
        server = Server()
        play = Scene(server)
        await server.until("turn/start")
        server.say_text("Hel", "lo")
        server.say(lambda turn: turn.item_completed("Hello") + turn.completed("Hello", 2))
        assert await play.end() == TurnFinished("stop", 2)
        assert server.methods == [*OPENING, "thread/unsubscribe"]
        thread, history, start, release = (line["params"] for line in server.heard)
        assert (thread["model"], thread["ephemeral"], thread["cwd"]) == ("gpt-5.5", True, "/empty")
        said = [(item["role"], item["content"][0]["text"]) for item in history["items"]]
        assert said == [("developer", "Be brief."), ("user", "hi")]
        assert (start["input"], start["effort"]) == ([], "low")
        assert start["outputSchema"] == {"type": "object"}
        assert {history["threadId"], start["threadId"], release["threadId"]} == {"thread 1"}
        assert (server.seats, server.left, server.suspicions) == (1, 1, [])
        assert server.routes.turns == {}

    run(scene())


def test_its_requests_and_replies_are_told_and_so_is_its_start() -> None:
    async def scene() -> None:
        server = Server()
        play = Scene(server)
        await server.until("turn/start")
        await asyncio.sleep(0.01)
        assert play.events == [
            RpcSent("thread/start", 1, 2),
            RpcReplied(1, choice=2),
            RpcSent("thread/inject_items", 2, 2),
            RpcSent("turn/start", 3, 2),
            RpcReplied(2, choice=2),
            RpcReplied(3, choice=2),
            TurnStarted("thread 1", "00000000-0000-7000-9000-000000000001", 2),
        ]
        play.turn.cancel()

    run(scene())


def test_history_and_turn_are_asked_for_without_waiting() -> None:
    async def scene() -> None:
        server = Server(deaf=("thread/inject_items", "turn/start"))
        play = Scene(server)
        await server.until("turn/start")
        assert server.methods == OPENING
        play.turn.cancel()

    run(scene())


def test_an_answer_may_be_faster_than_the_reply() -> None:
    async def scene() -> None:
        server = Server(deaf=("turn/start",))
        play = Scene(server)
        await server.until("turn/start")
        server.say_text("Hello")
        server.say(lambda turn: turn.completed("Hello", 1))
        server.answer(server.unanswered[0])
        assert await play.end() == TurnFinished("stop", 2)
        assert [type(event) for event in play.events[-3:]] == [
            TextDelta,
            TokensCounted,
            TurnFinished,
        ]
        assert (server.left, server.methods) == (1, [*OPENING, "thread/unsubscribe"])

    run(scene())


def test_a_reply_that_never_comes_is_no_failure_of_a_whole_answer() -> None:
    async def scene() -> None:
        server = Server(deaf=("turn/start",))
        play = Scene(server)
        await server.until("turn/start")
        server.say_text("Hello")
        server.say(lambda turn: turn.completed("Hello", 1))
        await asyncio.sleep(60)
        assert play.of(TurnFinished, TurnFailed) == [TurnFinished("stop", 2)]
        assert server.suspicions == ["turn/start unanswered"]
        assert server.left == 1

    run(scene())


# --- A turn that has no end ---


def test_a_whole_answer_without_an_end_is_finished_for_it() -> None:
    async def scene() -> None:
        server = Server()
        play = Scene(server)
        await server.until("turn/start")
        server.say_text("Hello")
        server.say(lambda turn: turn.item_completed("Hello"))
        with takes(states.ITEM_GRACE_S, states.ITEM_GRACE_S + 0.1):
            assert await play.end() == TurnFinished("stop", 2)
        assert play.of(TokensCounted) == [TokensCounted(None, 2)]
        assert server.methods == [*OPENING, "turn/interrupt", "thread/unsubscribe"]
        assert server.left == 1

    run(scene())


def test_an_answer_that_goes_on_is_not_finished() -> None:
    async def scene() -> None:
        server = Server()
        play = Scene(server)
        await server.until("turn/start")
        server.say_text("Hello")
        server.say(lambda turn: turn.item_completed("Hello"))
        await asyncio.sleep(states.ITEM_GRACE_S - 1)
        server.say(lambda turn: turn.started())
        await asyncio.sleep(2 * states.ITEM_GRACE_S)
        assert play.of(TurnFinished, TurnFailed) == []
        server.say(lambda turn: turn.completed("Hello", 1))
        assert await play.end() == TurnFinished("stop", 2)
        assert server.methods == [*OPENING, "thread/unsubscribe"]

    run(scene())


# --- A turn that is not wanted any more ---


def test_a_cancelled_turn_is_interrupted_and_released() -> None:
    async def scene() -> None:
        server = Server(deaf=("turn/interrupt",))
        play = Scene(server)
        await server.until("turn/start")
        server.say_text("so far")
        play.turn.cancel()
        before = list(play.events)
        params = await server.until("turn/interrupt")
        assert params == {"threadId": "thread 1", "turnId": ""}
        server.say(lambda turn: b"".join(turn.deltas(["more"])) + turn.interrupted())
        assert server.methods == [*OPENING, "turn/interrupt", "thread/unsubscribe"]
        assert server.left == 0
        server.answer(server.unanswered[0])
        await asyncio.sleep(0.01)
        assert (server.left, server.suspicions, play.events) == (1, [], before)
        play.turn.cancel()

    run(scene())


def test_an_interrupt_that_is_not_answered_makes_the_process_suspect() -> None:
    async def scene() -> None:
        server = Server(deaf=("turn/interrupt",))
        play = Scene(server)
        await server.until("turn/start")
        play.turn.cancel()
        await server.until("turn/interrupt")
        await asyncio.sleep(thread.INTERRUPT_GRACE_S - 0.1)
        assert (server.left, server.suspicions) == (0, [])
        await asyncio.sleep(0.2)
        assert (server.left, server.suspicions) == (1, ["turn/interrupt unanswered"])

    run(scene())


def test_an_interrupt_that_comes_too_late_is_refused_and_that_is_all() -> None:
    async def scene() -> None:
        server = Server(refusals={"turn/interrupt": -32600})
        play = Scene(server)
        await server.until("turn/start")
        play.turn.cancel()
        await server.until("thread/unsubscribe")
        await asyncio.sleep(5)
        assert (server.left, server.suspicions) == (1, [])

    run(scene())


def test_an_interrupt_that_a_busy_process_refuses_is_tried_again() -> None:
    async def scene() -> None:
        server = Server(refusals={"turn/interrupt": -32001})
        play = Scene(server)
        await server.until("turn/start")
        play.turn.cancel()
        await asyncio.sleep(0.95)
        assert server.methods[len(OPENING) :] == ["turn/interrupt", "thread/unsubscribe"] * 10
        assert (server.left, server.suspicions) == (0, [])
        server.takes_again("turn/interrupt")
        await asyncio.sleep(0.1)
        assert (server.left, server.suspicions) == (1, [])
        await asyncio.sleep(thread.INTERRUPT_GRACE_S)
        assert server.methods.count("turn/interrupt") == 11

    run(scene())


def test_a_process_that_is_too_busy_to_stop_a_turn_is_suspect() -> None:
    async def scene() -> None:
        server = Server(refusals={"turn/interrupt": -32001})
        play = Scene(server)
        await server.until("turn/start")
        play.turn.cancel()
        await asyncio.sleep(thread.INTERRUPT_GRACE_S - thread.INTERRUPT_RETRY_S - 0.05)
        assert (server.left, server.suspicions) == (0, [])
        await asyncio.sleep(0.1)
        assert (server.left, server.suspicions) == (1, ["turn/interrupt refused"])

    run(scene())


def test_a_thread_that_starts_too_late_is_released() -> None:
    async def scene() -> None:
        server = Server(deaf=("thread/start",))
        play = Scene(server)
        await server.until("thread/start")
        play.turn.cancel()
        await asyncio.sleep(1)
        assert (server.methods, server.left) == (["thread/start"], 0)
        server.answer(server.unanswered[0])
        await asyncio.sleep(0.01)
        assert server.methods == ["thread/start", "thread/unsubscribe"]
        assert server.left == 1

    run(scene())


def test_a_thread_that_never_starts_leaves_the_seat() -> None:
    async def scene() -> None:
        server = Server(deaf=("thread/start",))
        play = Scene(server)
        await server.until("thread/start")
        play.turn.cancel()
        await asyncio.sleep(20)
        assert (server.methods, server.left) == (["thread/start"], 1)

    run(scene())


def test_a_turn_may_be_cancelled_while_it_waits_to_try_again() -> None:
    async def scene() -> None:
        server = Server(refusals={"thread/start": -32001})
        play = Scene(server)
        await asyncio.sleep(0.1)
        assert len(play.of(RetryScheduled)) == 1
        play.turn.cancel()
        await asyncio.sleep(60)
        assert (play.attempts, server.left) == ([1], 1)
        assert play.of(TurnFailed) == []

    run(scene())


# --- A turn that fails ---


def test_a_failure_before_any_output_is_tried_again_twice() -> None:
    async def scene() -> None:
        server = Server(refusals={"thread/start": -32001})
        play = Scene(server)
        with takes(0.25 + 0.5, 0.5 + 1.0 + 0.1):
            assert await play.end() == failures.BUSY.event(2)
        assert play.attempts == [1, 2, 3]
        retries = play.of(RetryScheduled)
        assert [(retry.attempt, retry.code) for retry in retries] == [
            (1, "worker_busy"),
            (2, "worker_busy"),
        ]
        assert 250 <= retries[0].delay_ms <= 500 <= retries[1].delay_ms <= 1000
        assert (server.seats, server.left) == (3, 3)

    run(scene())


def test_nothing_is_tried_again_after_output() -> None:
    async def scene() -> None:
        server = Server()
        play = Scene(server)
        await server.until("turn/start")
        server.say_text("so far")
        server.die()
        assert await play.end() == failures.LOST.event(2)
        assert (play.attempts, server.left) == ([1], 1)

    run(scene())


def test_a_whole_answer_survives_its_process() -> None:
    async def scene() -> None:
        server = Server()
        play = Scene(server)
        await server.until("turn/start")
        server.say_text("Hello")
        server.say(lambda turn: turn.item_completed("Hello"))
        server.die()
        assert await play.end() == TurnFinished("stop", 2)
        assert server.left == 1

    run(scene())


@pytest.mark.parametrize("method", OPENING)
def test_a_process_that_dies_before_any_output_is_followed_by_another(method: str) -> None:
    async def scene() -> None:
        first, second = Server(deaf=(method,)), Server()
        play = Scene(first, second)
        await first.until(method)
        first.die()
        await second.until("turn/start")
        second.say_text("Hello")
        second.say(lambda turn: turn.completed("Hello", 1))
        assert await play.end() == TurnFinished("stop", 2)
        assert [retry.code for retry in play.of(RetryScheduled)] == ["worker_exited"]
        assert (first.left, second.left) == (1, 1)

    run(scene())


@pytest.mark.parametrize("method", OPENING)
def test_a_request_that_is_never_answered_makes_the_process_suspect(method: str) -> None:
    async def scene() -> None:
        first, second = Server(deaf=(method,)), Server()
        play = Scene(first, second)
        with takes(10, 12):
            await second.until("turn/start")
        assert first.suspicions == [f"{method} unanswered"]
        second.say_text("Hello")
        second.say(lambda turn: turn.completed("Hello", 1))
        assert await play.end() == TurnFinished("stop", 2)

    run(scene())


@pytest.mark.parametrize("method", OPENING)
def test_a_refused_request_is_not_tried_again(method: str) -> None:
    async def scene() -> None:
        server = Server(refusals={method: -32600})
        play = Scene(server)
        failed = await play.end()
        assert isinstance(failed, TurnFailed)
        assert (failed.code, failed.message) == ("upstream_error", failures.REDACTED)
        assert (play.attempts, server.left) == ([1], 1)
        errors = [event.error for event in play.of(RpcReplied) if event.error is not None]
        assert errors == ["-32600: no"]

    run(scene())


def alone() -> preparation.Preparation:
    """What the only turn of a request is made of."""
    return preparation.Preparation(TURN, lambda _: None)


def nothing_kept() -> tuple[parking.Parking, idlethreads.IdleThreads, forksources.ForkSources]:
    """No thread that a turn could go on with."""
    return parking.Parking(64, 300), idlethreads.IdleThreads(0, 0), forksources.ForkSources(None)


def test_where_there_is_no_seat_the_turn_fails() -> None:
    async def nowhere(_: int) -> thread.Seat:
        raise codexturn.Unavailable(failures.NOT_READY)

    async def scene() -> None:
        play = Scene(Server())
        play.turn.cancel()
        turn = codexturn.CodexTurn(TURN, play, alone(), nowhere, *nothing_kept())
        assert await play.end() == failures.NOT_READY.event(2)
        turn.cancel()

    run(scene())


def test_a_defect_is_a_failure_and_gives_the_seat_back() -> None:
    async def scene() -> None:
        server = Server()
        whole = server.seat()

        def broken(_: worker.Turn) -> appserver.ThreadStartParams:
            raise ZeroDivisionError

        async def take(_: int) -> thread.Seat:
            return msgspec.structs.replace(whole, thread=broken)

        play = Scene(Server())
        play.turn.cancel()
        codexturn.CodexTurn(TURN, play, alone(), take, *nothing_kept())
        failed = await play.end()
        assert isinstance(failed, TurnFailed)
        assert failed.code == "internal_error"
        assert server.left == 1

    run(scene())


def raising(*_: Any, **__: Any) -> Any:
    raise RuntimeError("planted")


@pytest.mark.parametrize("when", ["interrupting", "interrupted", "unsubscribing", "late"])
def test_a_bug_met_while_a_turn_is_stopped_gives_the_seat_back(
    when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene() -> None:
        server = Server(deaf=("thread/start",) if when == "late" else ())
        play = Scene(server)
        await server.until("thread/start" if when == "late" else "turn/start")
        place = {
            "interrupting": "_ask_to_stop",
            "interrupted": "_interrupted",
            "unsubscribing": "_unsubscribe",
            "late": "_started",
        }
        monkeypatch.setattr(thread.Thread, place[when], raising)
        with structlog.testing.capture_logs() as lines:
            play.turn.cancel()
            await asyncio.sleep(0.01)
            if when == "late":
                server.answer(server.unanswered[0])
            await asyncio.sleep(0.01)
        assert server.left == 1
        assert server.routes.turns == {}
        assert "thread/unsubscribe" in server.methods or when == "late"
        assert "turn/interrupt" in server.methods or when == "late"
        assert [line["stream"] for line in lines if line["event"] == "defect"] == [TURN.stream_id]

    run(scene())


def test_a_bug_met_while_an_attempt_is_made_gives_the_seat_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scene() -> None:
        server = Server()
        monkeypatch.setattr(attempt.Attempt, "__init__", raising)
        with structlog.testing.capture_logs():
            play = Scene(server)
            failed = await play.end()
        assert isinstance(failed, TurnFailed)
        assert (failed.kind, failed.code, server.left) == ("defect", "internal_error", 1)

    run(scene())


@pytest.mark.parametrize("method", ["thread/inject_items", "turn/start"])
def test_a_request_that_fails_after_a_bug_was_met_is_not_to_blame(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene() -> None:
        server = Server(deaf=(method,))
        monkeypatch.setattr(codex.TurnReader, "text_delta", raising)
        with structlog.testing.capture_logs():
            play = Scene(server)
            await server.until("turn/start")
            server.say_text("so far")
            failed = await play.end()
        assert isinstance(failed, TurnFailed)
        assert (failed.kind, failed.code) == ("defect", "internal_error")
        assert server.seats == server.left == 1, "and it is not tried again"

    run(scene())


def test_a_turn_that_is_given_up_here_is_stopped_there() -> None:
    async def scene() -> None:
        server = Server()
        play = Scene(server)
        await server.until("turn/start")
        server.say_text("so far")
        server.say(lambda turn: turn.item_completed("something else"))
        failed = await play.end()
        assert isinstance(failed, TurnFailed)
        assert failed.code == "upstream_text_mismatch"
        assert await server.until("turn/interrupt")
        assert server.left == 1

    run(scene())


def ended_by(word: str) -> Scene:
    """A turn that fails by a word of Codex's; the quota is used up, and a link is known."""

    scenes: list[Scene] = []

    async def scene() -> None:
        server = Server()
        url = loginlink.Offer(url="https://login.example")
        server.shared = sharedlogin.SharedLogin(None, url)
        used = {"usedPercent": 100, "resetsAt": int(time.time()) + 900}
        quota = msgspec.convert({"primary": used}, notifications.RateLimitSnapshot)
        server.shared.quota_told(quota)
        play = Scene(server)
        await play.after(TurnStarted)
        error = {"message": "no", "codexErrorInfo": word}
        turn = {"id": "turn 1", "status": "failed", "items": [], "error": error}
        params = {"threadId": "thread 1", "turn": turn}
        server.channel.feed(appframes.notification("turn/completed", params))
        await play.end()
        scenes.append(play)

    run(scene())
    return scenes[0]


def test_a_used_up_quota_says_when_it_is_whole_again() -> None:
    (failed,) = ended_by("usageLimitExceeded").of(TurnFailed)
    assert failed.code == "usage_limit_exceeded"
    assert failed.retry_after is not None
    assert 800 < failed.retry_after <= 900


def test_a_login_that_the_provider_refuses_says_where_to_log_in() -> None:
    (failed,) = ended_by("unauthorized").of(TurnFailed)
    assert failed.code == "worker_unauthorized"
    assert failed.message.endswith("To log in, open https://login.example")
    assert failed.retry_after is None


@pytest.mark.parametrize("word", ["usageLimitExceeded", "unauthorized"])
def test_a_failure_whose_explanation_fails_is_told_without_it(
    word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("planted")

    monkeypatch.setattr(sharedlogin.SharedLogin, "with_reset", fail)
    monkeypatch.setattr(sharedlogin.SharedLogin, "with_link", fail)
    with structlog.testing.capture_logs() as lines:
        (failed,) = ended_by(word).of(TurnFailed)
    assert failed.code == verdicts.NAMED[word].code
    (defect,) = (line for line in lines if line["event"] == "defect")
    assert (defect["boundary"], defect["req_id"]) == ("turn", TURN.request_id)
