"""Steps with calls on one thread: when they wait, when they are stopped, when a call is owed."""

import asyncio
from typing import Any

import msgspec
import pytest

from bench import appframes
from engine import failures, worker
from engine.codex.turns import attempt, parking, states, toolanswers
from engine.codex.turns.counting import STEPS_MAX
from machines.events import (
    CallDemanded,
    ParkMissed,
    RpcReplied,
    RpcSent,
    TextDelta,
    TokensCounted,
    ToolCalled,
    TurnFailed,
    TurnFinished,
    TurnResumed,
    TurnStarted,
    Usage,
)
from tests.support.providers.turnscene import OPENING, TURN, Scene, Server, run

TOOLS = (worker.Tool("add"), worker.Tool("shell_command"))

CALLING = msgspec.structs.replace(TURN, tools=TOOLS, choice=0)

OWING = msgspec.structs.replace(CALLING, call_required=True)

NOTES = (RpcSent, RpcReplied, TurnStarted)

RELEASE = ["turn/interrupt", "thread/unsubscribe"]


def told(play: Scene) -> list[Any]:
    """What a client could see of it."""
    return [event for event in play.events if not isinstance(event, NOTES)]


def results(*contents: str, text: str = "") -> worker.Turn:
    """The request after a step of as many calls of `add`."""
    calls = tuple(worker.Call(f"c{i}", "add", "{}") for i in range(len(contents)))
    parts = (worker.TextPart(text),) if text else ()
    brought = (
        worker.Message("tool", (worker.TextPart(content),), call_id=f"c{index}")
        for index, content in enumerate(contents)
    )
    answer = worker.Message("assistant", parts, calls=calls)
    return msgspec.structs.replace(CALLING, messages=(*TURN.messages, answer, *brought))


def test_a_step_is_its_calls_its_counts_and_its_end_and_then_it_waits() -> None:
    async def scene() -> None:
        server = Server()
        play = Scene(server, turn=CALLING)
        await server.until("turn/start")
        server.say_step(("c0", "add", "{}"), ("c1", "add", '{"a": 1.50}'), text="Wait.")
        assert await play.end() == TurnFinished("tool_calls")
        assert told(play) == [
            TextDelta("Wait."),
            ToolCalled("c0", "add", "{}"),
            ToolCalled("c1", "add", '{"a": 1.50}'),
            TokensCounted(Usage(10, 2)),
            TurnFinished("tool_calls"),
        ]
        assert server.methods == OPENING
        play.turn.keep()
        assert (server.methods, server.left) == (OPENING, 1)

    run(scene())


def test_results_go_to_the_questions_in_whatever_order_either_comes() -> None:
    async def scene() -> None:
        server = Server()
        lot = parking.Parking(64, 300)
        play = Scene(server, turn=CALLING, lot=lot)
        await server.until("turn/start")
        server.say_step(("c0", "add", "{}"), ("c1", "add", "{}"))
        server.ask_result(7, "c1")
        await play.end()
        play.turn.keep()
        assert server.answers == []
        second = Scene(server, turn=results("zero", "one"), lot=lot)
        await second.after(TurnResumed)
        assert [line["id"] for line in server.answers] == [7]
        server.ask_result(8, "c0")
        assert [
            (line["id"], line["result"]["contentItems"][0]["text"]) for line in server.answers
        ] == [(7, "one"), (8, "zero")]
        server.say(lambda turn: b"".join(turn.deltas(("Done.",))))
        server.end_turn()
        assert await second.end() == TurnFinished("stop")
        assert told(second)[:2] == [TurnResumed("thread 1"), TextDelta("Done.")]
        assert server.methods == [*OPENING, "thread/unsubscribe"]
        assert (server.seats, server.left) == (2, 2)

    run(scene())


def test_a_call_may_be_written_for_longer_than_a_whole_answer_may_be_silent() -> None:
    async def scene() -> None:
        server = Server()
        play = Scene(server, turn=CALLING)
        await server.until("turn/start")
        server.say_text("Let me look.")
        server.say(lambda turn: turn.item_completed("Let me look."))
        await asyncio.sleep(10 * states.STEP_GRACE_S)
        server.say_step(("c0", "add", "{}"))
        assert await play.end() == TurnFinished("tool_calls")
        assert play.of(ToolCalled) == [ToolCalled("c0", "add", "{}")]

    run(scene())


def test_a_step_that_was_not_whole_is_lost_with_its_process_though_its_text_was() -> None:
    async def scene() -> None:
        server = Server()
        play = Scene(server, turn=CALLING)
        await server.until("turn/start")
        server.say_text("Let me look.")
        server.say(lambda turn: turn.item_completed("Let me look."))
        server.die()
        assert await play.end() == failures.LOST.event(0)

    run(scene())


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("nobody", "{}"), ("add", ""), ("add", '{"a":'), ("add", "[1]"), ("add", '"\\ud83d"')],
)
def test_a_step_that_codex_would_answer_itself_is_stopped_at_once(
    name: str, arguments: str
) -> None:
    async def scene() -> None:
        server = Server()
        play = Scene(server, turn=CALLING)
        await server.until("turn/start")
        server.say_step(("c0", name, arguments), ("c1", "add", "{}"))
        assert server.methods == [*OPENING, *RELEASE]
        await play.end()
        assert play.of(ToolCalled)[0] == ToolCalled("c0", name, arguments)
        play.turn.keep()
        server.say_step(("c9", "add", "{}"))  # what it went on with meanwhile
        assert await play.end() == TurnFinished("tool_calls")
        assert (server.methods, server.left) == ([*OPENING, *RELEASE], 1)

    run(scene())


def test_a_client_that_left_lets_the_waiting_turn_go() -> None:
    async def scene() -> None:
        server = Server()
        play = Scene(server, turn=CALLING)
        await server.until("turn/start")
        server.say_step(("c0", "add", "{}"))
        await play.end()
        play.turn.cancel()
        await play.end()
        assert (server.methods, server.left) == ([*OPENING, *RELEASE], 1)

    run(scene())


def test_a_turn_that_died_with_its_results_is_run_again_on_its_history() -> None:
    async def scene() -> None:
        server, fresh = Server(), Server()
        lot = parking.Parking(64, 300)
        play = Scene(server, turn=CALLING, lot=lot)
        await server.until("turn/start")
        server.say_step(("c0", "add", "{}"))
        await play.end()
        play.turn.keep()
        second = Scene(fresh, turn=results("zero"), lot=lot)
        await second.after(TurnResumed)
        server.die()
        history = await fresh.until("thread/inject_items")
        assert second.of(ParkMissed) == [ParkMissed("worker_exited")]
        assert [item["type"] for item in history["items"]] == [
            "message",
            "message",
            "reasoning",
            "function_call",
            "function_call_output",
        ]
        second.turn.cancel()

    run(scene())


def test_an_owed_call_holds_the_text_back_until_it_comes() -> None:
    async def scene() -> None:
        server = Server()
        play = Scene(server, turn=OWING)
        await server.until("turn/start")
        server.say(lambda turn: b"".join(turn.deltas(("Let me ", "see."))))
        assert play.of(TextDelta) == []
        server.say_step(("c0", "add", "{}"))
        await play.end()
        assert told(play)[:3] == [
            TextDelta("Let me "),
            TextDelta("see."),
            ToolCalled("c0", "add", "{}"),
        ]

    run(scene())


def test_a_model_that_owes_a_call_is_asked_again_on_the_same_thread() -> None:
    async def scene() -> None:
        server = Server()
        play = Scene(server, turn=OWING)
        await server.until("turn/start")
        server.say_step(text="No.")
        server.end_turn()
        await play.after(CallDemanded)
        await server.until_heard(2 * len(OPENING) - 1)
        demand = server.heard[-2]["params"]["items"]
        assert [item["role"] for item in demand] == ["developer"]
        server.say_step(("c0", "add", "{}"))
        assert await play.end() == TurnFinished("tool_calls")
        assert told(play) == [
            CallDemanded(1),
            ToolCalled("c0", "add", "{}"),
            TokensCounted(Usage(20, 4)),
            TurnFinished("tool_calls"),
        ]

    run(scene())


def test_what_is_said_of_an_earlier_turn_is_no_news_to_the_next() -> None:
    async def scene() -> None:
        server = Server()
        play = Scene(server, turn=OWING)
        await server.until("turn/start")
        server.say_step(text="No.")
        server.end_turn()
        await play.after(CallDemanded)
        await server.until_heard(2 * len(OPENING) - 1)
        server.end_turn(number=1)
        await asyncio.sleep(1)
        assert play.of(CallDemanded) == [CallDemanded(1)]
        server.say_step(("c0", "add", "{}"))
        assert await play.end() == TurnFinished("tool_calls")

    run(scene())


def test_a_call_that_never_comes_is_a_failure() -> None:
    async def scene() -> None:
        server = Server()
        play = Scene(server, turn=OWING)
        for attempts in range(1, attempt.CALL_DEMANDS + 2):
            await server.until_heard(1 + 2 * attempts)
            server.say_step(text="No.")
            server.end_turn()
        failed = await play.end()
        assert isinstance(failed, TurnFailed)
        assert (failed.kind, failed.code) == ("upstream_error", "tool_choice_unsatisfied")
        assert play.of(CallDemanded) == [CallDemanded(1), CallDemanded(2)]
        assert play.of(TextDelta) == []
        assert play.attempts == [1]
        assert server.methods[-1] == "thread/unsubscribe"

    run(scene())


def test_a_step_that_is_silent_behind_a_call_is_given_a_result_to_go_on() -> None:
    async def scene() -> None:
        server = Server()
        play = Scene(server, turn=CALLING)
        await server.until("turn/start")
        server.ask_result(7, "c0")
        await asyncio.sleep(states.RESULT_PATIENCE_S - 0.1)
        assert server.answers == []
        await asyncio.sleep(0.2)
        server.ask_result(8, "c1")
        assert [line["id"] for line in server.answers] == [7, 8]
        server.say_step(("c0", "add", "{}"), ("c1", "add", "{}"))
        assert await play.end() == TurnFinished("tool_calls")
        assert server.methods == [*OPENING, *RELEASE]

    run(scene())


def test_a_model_that_calls_what_it_was_not_given_is_stopped() -> None:
    async def scene() -> None:
        server = Server()
        play = Scene(server)
        await server.until("turn/start")
        for _ in range(STEPS_MAX):
            server.count()
        assert play.of(TurnFailed) == []
        server.count()
        failed = await play.end()
        assert isinstance(failed, TurnFailed)
        assert failed.code == "upstream_error"
        assert server.methods == [*OPENING, *RELEASE]

    run(scene())


def failing(*_: Any) -> Any:
    raise RuntimeError("planted")


def test_a_turn_that_cannot_be_parked_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene() -> None:
        server = Server()
        lot = parking.Parking(64, 300)
        play = Scene(server, turn=CALLING, lot=lot)
        await server.until("turn/start")
        server.say_step(("c0", "add", "{}"))
        await play.end()
        monkeypatch.setattr(lot, "park", failing)
        with pytest.raises(RuntimeError):
            play.turn.keep()
        await play.end()
        assert (server.methods, server.left) == ([*OPENING, *RELEASE], 1)

    run(scene())


def test_a_turn_that_a_bug_has_hit_while_it_waited_takes_no_results(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scene() -> None:
        server, fresh = Server(), Server()
        lot = parking.Parking(64, 300)
        play = Scene(server, turn=CALLING, lot=lot)
        await server.until("turn/start")
        server.say_step(("c0", "add", "{}"))
        await play.end()
        play.turn.keep()
        with monkeypatch.context() as planted:
            planted.setattr(toolanswers.ToolAnswers, "result_requested", failing)
            server.ask_result(7, "c0")
        second = Scene(fresh, turn=results("zero"), lot=lot)
        history = await fresh.until("thread/inject_items")
        assert second.of(ParkMissed) == [ParkMissed("worker_lost")]
        assert history["items"][-1]["type"] == "function_call_output"
        assert server.methods == [*OPENING, *RELEASE]
        second.turn.cancel()

    run(scene())


def test_a_bug_between_the_end_of_a_turn_and_its_last_word_ends_its_stream(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stepped = attempt.Attempt._stepped

    def breaks(its: attempt.Attempt, step: Any) -> None:
        stepped(its, step)
        raise RuntimeError("planted")

    async def scene() -> None:
        monkeypatch.setattr(attempt.Attempt, "_stepped", breaks)
        server = Server()
        play = Scene(server, turn=CALLING)
        await server.until("turn/start")
        server.say_step(("c0", "add", "{}"))
        assert await play.end() == failures.DEFECT.event(0)
        assert server.methods == [*OPENING, *RELEASE]
        assert server.left == 1

    run(scene())


def thought(server: Server, text: str) -> None:
    ids = {"threadId": "thread 1", "turnId": "turn 1", "itemId": "rs_1"}
    params = {**ids, "summaryIndex": 0, "delta": text}
    server.channel.feed(appframes.notification("item/reasoning/summaryTextDelta", params))


def test_nothing_is_tried_again_once_the_client_has_heard_it_think() -> None:
    """A demand makes a next turn, and what was heard of the one before it stays heard."""

    async def scene() -> None:
        server = Server()
        play = Scene(server, turn=OWING)
        await server.until("turn/start")
        thought(server, "Hm.")
        server.say_step(text="No.")
        server.end_turn()
        await play.after(CallDemanded)
        server.die()
        assert await play.end() == failures.LOST.event(0)
        assert (play.attempts, server.left) == ([1], 1)

    run(scene())


def test_words_that_were_kept_back_may_be_said_again() -> None:
    async def scene() -> None:
        first, second = Server(), Server()
        play = Scene(first, second, turn=OWING)
        await first.until("turn/start")
        first.say(lambda its: b"".join(its.deltas(("Let me ", "see."))))
        first.die()
        await second.until("turn/start")
        second.say_step(("c0", "add", "{}"))
        assert await play.end() == TurnFinished("tool_calls")
        assert play.of(TextDelta) == []
        assert first.left == 1

    run(scene())


def test_a_result_that_is_there_costs_no_patience() -> None:
    """Codex may ask for the results that a client has brought one by one, and then think."""

    async def scene() -> None:
        server = Server()
        lot = parking.Parking(64, 300)
        play = Scene(server, turn=CALLING, lot=lot)
        await server.until("turn/start")
        server.say_step(("c0", "add", "{}"), ("c1", "add", "{}"))
        server.ask_result(7, "c0")
        await play.end()
        play.turn.keep()
        second = Scene(server, turn=results("zero", "one"), lot=lot)
        await second.after(TurnResumed)
        server.ask_result(8, "c1")
        assert [line["id"] for line in server.answers] == [7, 8]
        await asyncio.sleep(2 * states.RESULT_PATIENCE_S)
        server.say_step(("c2", "add", "{}"))
        server.ask_result(9, "c2")
        assert await second.end() == TurnFinished("tool_calls")
        second.turn.keep()
        assert [line["id"] for line in server.answers] == [7, 8]
        assert lot.counts.parked == 2

    run(scene())


def test_a_bug_met_while_results_are_refused_ends_the_stream(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def failing(_: Any) -> None:
        raise RuntimeError("planted")

    async def scene() -> None:
        monkeypatch.setattr(toolanswers.ToolAnswers, "refuse_all", failing)
        server = Server()
        play = Scene(server, turn=CALLING)
        await server.until("turn/start")
        server.ask_result(7, "c0")
        assert await play.end() == failures.DEFECT.event(0)
        assert server.methods == [*OPENING, *RELEASE]
        assert server.left == 1

    run(scene())


def test_a_turn_that_ends_while_it_waits_takes_no_results() -> None:
    async def scene() -> None:
        server = Server()
        lot = parking.Parking(64, 300)
        play = Scene(server, turn=CALLING, lot=lot)
        await server.until("turn/start")
        server.say_step(("c0", "add", "{}"))
        await play.end()
        play.turn.keep()
        server.end_turn()
        second = Scene(server, turn=results("zero"), lot=lot)
        await second.after(ParkMissed)
        assert second.of(ParkMissed) == [ParkMissed("worker_lost")]
        second.turn.cancel()

    run(scene())
