"""Steps that break behind a call that was whole: no call of theirs reaches the client."""

import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest

from engine.codex.turns import states
from machines import events
from tests.codex import toolplay, toolwire
from tests.codex.toolplay import WEATHER, Stage, call
from tests.support.client import chatclient
from tests.support.logs import serverlog
from tests.support.process import machinetime, serving
from tests.support.providers.provider import Provider, Request
from tests.support.providers.replies import (
    Answer,
    Closed,
    Cut,
    Failed,
    FunctionCall,
    Incomplete,
    Message,
    Stream,
)
from tests.support.providers.scripted import Gate

pytestmark = pytest.mark.codex

SPOKEN = Message(("Let me ", "look."))

PAIR = (call(1), call(2, '{"city": "Oslo"}'))

ENDINGS: dict[str, Stream] = {
    "cut": Stream((*PAIR, Cut())),
    "closed": Stream(PAIR, Closed()),
    "failed": Stream(PAIR, Failed("server_error")),
    "length": Stream(PAIR, Incomplete("max_output_tokens")),
    "filter": Stream(PAIR, Incomplete("content_filter")),
}
"""Answers that break behind two whole calls."""

SILENCE_MS = "1500"
"""How long an impatient server takes silence: Codex tells of a broken step only once its calls are
answered, which is later."""


def answer(request: Request) -> Answer:
    """By the user's message: `spoken …` says something first."""
    first, _, rest = request.prompt.partition(" ")
    if first == "spoken":
        ending = ENDINGS[rest]
        return Stream((SPOKEN, *ending.items), ending.end)
    return ENDINGS[request.prompt]


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with toolplay.stage(answer) as stage:
        yield stage


@pytest.fixture(scope="module")
def impatient() -> Iterator[Stage]:
    settings = {
        "PROXY_FIRST_CHUNK_TIMEOUT_MS": SILENCE_MS,
        "PROXY_STREAM_IDLE_TIMEOUT_MS": SILENCE_MS,
    }
    with toolplay.stage(answer, **settings) as stage:
        yield stage


def story(server: serving.Serve, request_id: str, kind: type[Any]) -> list[Any]:
    return [event for event in serverlog.story(server, request_id) if isinstance(event, kind)]


def wait_for_call(server: serving.Serve, request_id: str) -> None:
    """Wait until Codex has a call in hand whose step goes on."""

    def called() -> bool:
        started = story(server, request_id, events.ItemStarted)
        return any(event.item == "dynamicToolCall" for event in started)

    machinetime.until(called)


@pytest.mark.long(usual=("True-True-cut", "False-False-failed"))
@pytest.mark.parametrize("name", ENDINGS)
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("spoken", [False, True])
def test_no_call_of_a_broken_step_is_shown(
    impatient: Stage, name: str, stream: bool, spoken: bool
) -> None:
    prompt = f"spoken {name}" if spoken else name
    told = toolwire.ask(impatient.server, prompt, tools=[WEATHER], stream=stream)
    assert b"get_weather" not in told.answer.raw
    assert b'"tool_calls"' not in told.answer.raw
    last = serverlog.recorded(impatient.server, told.answer)
    assert last.tool_calls == 0
    assert last.finish_reasons[0] != "tool_calls"


@pytest.mark.long(usual=("failed",))
@pytest.mark.parametrize("name", ["cut", "failed"])
def test_a_broken_step_is_told_as_what_it_is_and_its_calls_are_in_the_log(
    stage: Stage, name: str
) -> None:
    told = toolwire.ask(stage.server, f"spoken {name}", tools=[WEATHER], stream=True)
    assert told.frames[-1]["error"]["code"] == "upstream_disconnected"
    last = serverlog.recorded(stage.server, told.answer)
    assert (last.kind, last.tool_calls_dropped) == ("upstream_error", 2)


@pytest.mark.long(usual=("length-length-True",))
@pytest.mark.parametrize(
    ("name", "reason", "stream"),
    [("length", "length", True), ("filter", "content_filter", False)],
)
def test_a_step_cut_by_the_provider_ends_by_its_word(
    stage: Stage, name: str, reason: str, stream: bool
) -> None:
    told = toolwire.ask(stage.server, f"spoken {name}", tools=[WEATHER], stream=stream)
    assert (told.text, told.finish_reason) == ("Let me look.", reason)


def killed(server: serving.Serve) -> None:
    """Kill the one process there is."""
    spawned = [line for line in server.lines if line.get("trigger") == "spawned"]
    os.kill(spawned[-1]["pid"], signal.SIGKILL)


def test_a_step_whose_process_dies_is_made_anew_while_nothing_was_said() -> None:
    gate = Gate()
    steps: list[Answer] = [Stream((call(1), gate)), Stream((call(9),))]
    with Provider(lambda _: steps.pop(0)) as provider, serving.codex(provider.url) as server:
        with chatclient.LiveChat(server, "hi", tools=[WEATHER]) as asked:
            wait_for_call(server, asked.request_id)
            killed(server)
            whole = asked.answer()
        calls = whole.body["choices"][0]["message"]["tool_calls"]
        assert [call["id"] for call in calls] == ["call_9"]
        last = serverlog.recorded(server, whole)
        assert (last.kind, last.tool_calls) == ("completed", 1)
        assert len(provider.requests) == 2


def test_a_step_whose_process_dies_after_words_is_none() -> None:
    script = {"hi": Stream((SPOKEN, call(1), Gate()))}
    settings = {"PROXY_WORKER_EXIT": "error"}
    with Provider(script) as provider, serving.codex(provider.url, **settings) as server:
        with chatclient.LiveChat(server, "hi", tools=[WEATHER], stream=True) as asked:
            wait_for_call(server, asked.request_id)
            killed(server)
            told = asked.answer()
        assert told.outline == ["role", "content", "error"]
        assert told.text == "Let me look."
        assert told.error["code"] == "worker_exited"
        last = serverlog.recorded(server, told)
        assert (last.kind, last.tool_calls) == ("worker_lost", 0)
        assert len(provider.requests) == 1


@pytest.mark.long(usual=("True",))
@pytest.mark.slow
@pytest.mark.parametrize("stream", [False, True])
def test_a_call_may_be_written_for_longer_than_a_whole_answer_may_be_silent(stream: bool) -> None:
    gate = Gate()
    slow = FunctionCall("call_1", "get_weather", ('{"city": ', gate, '"Paris"}'))
    script = {"hi": Stream((SPOKEN, slow))}
    with Provider(script) as provider, serving.codex(provider.url) as server:
        with chatclient.LiveChat(server, "hi", tools=[WEATHER], stream=stream) as asked:
            machinetime.until(lambda: bool(story(server, asked.request_id, events.TextDelta)))
            time.sleep(states.STEP_GRACE_S + 1)  # nothing may happen: there is no event
            gate.open()
            told = asked.answer()
        last = serverlog.recorded(server, told)
        assert (last.finish_reasons, last.tool_calls) == (("tool_calls",), 1)


def in_state(server: serving.Serve, state: str) -> bool:
    return any(record.get("state") == state for record in server.records())


@pytest.mark.parametrize("held", ["call", "block"])
def test_a_client_that_leaves_while_a_call_is_held_stops_the_turn(held: str) -> None:
    block = Message(("Let me look.", "<use_tool><name>get_weather</name><city>Pa", Gate()))
    script = {"call": Stream((SPOKEN, call(1), Gate())), "block": Stream((block,))}
    with Provider(script) as provider, serving.codex(provider.url) as server:
        with chatclient.LiveChat(server, held, tools=[WEATHER], stream=True) as asked:
            asked.next("content")
            if held == "call":
                wait_for_call(server, asked.request_id)
            else:
                machinetime.until(lambda: in_state(server, "tool_buffering"))
            asked.leave()
            machinetime.until(provider.requests[0].left.is_set, machinetime.SECOND)
            last = serverlog.left(server, asked.request_id)
        assert (last.kind, last.cause, last.tool_calls) == ("client_gone", "left", 0)
        assert len(provider.requests) == 1
