"""What a request asks about calls: whether, which, how many, and in which form."""

import itertools
from collections.abc import Iterator

import openai
import pytest

from engine.codex.turns import modelstep
from machines import events
from tests.codex import toolplay, toolwire
from tests.codex.toolplay import WEATHER, Stage, Step, Talk, call, declared, function
from tests.support.logs import serverlog
from tests.support.providers.provider import Request
from tests.support.providers.replies import Answer, Message, Stream, Usage

pytestmark = pytest.mark.codex

CLOCK = function("get_time")

FIRST, SECOND = Usage(10, 7, 3, 2), Usage(20, 8, 4, 1)
"""Counts of a step without the call it owes, and of the one it is asked for."""

PAIR = (call(1), call(2, '{"city": "Oslo"}'))

_numbers = itertools.count(1000)


def answer(request: Request) -> Answer:
    """By the user's message; it owes calls as long as nobody has asked for them."""
    results = toolplay.outputs(request.body["input"])
    demands = request.messages.count(("developer", modelstep.DEMAND))
    if results:
        return Stream((Message((toolplay.told(results),)),), usage=toolplay.COUNTS)
    match request.prompt:
        case "pair":
            return Stream(PAIR, usage=toolplay.COUNTS)
        case "words":
            return Stream((Message(("Only ", "words.")),), usage=FIRST)
        case "when asked" if not demands:
            return Stream((Message(("Shall I ", "look?")),), usage=FIRST)
    spoken = Message(("I will ", "look."))
    return Stream((spoken, call(next(_numbers))), usage=SECOND)


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with toolplay.stage(answer) as stage:
        yield stage


@pytest.fixture(scope="module")
def single() -> Iterator[Stage]:
    """A server whose calls are not parallel unless a request says so."""
    with toolplay.stage(answer, PROXY_ENABLE_PARALLEL_TOOL_CALLS="false") as stage:
        yield stage


@toolplay.both_ways
def test_none_leaves_the_model_without_functions(stage: Stage, step: Step) -> None:
    reply = step(Talk(stage.server, "words"), tool_choice="none")
    assert reply.message.content == "Only words."
    assert reply.whole.choices[0].finish_reason == "stop"
    assert declared(stage.provider.requests[-1]) == []


@toolplay.both_ways
def test_auto_leaves_the_model_the_choice(stage: Stage, step: Step) -> None:
    talk = Talk(stage.server, "words", tools=[WEATHER, CLOCK])
    assert step(talk, tool_choice="auto").message.content == "Only words."
    assert declared(stage.provider.requests[-1]) == ["get_weather", "get_time"]


@toolplay.both_ways
def test_a_named_function_is_the_only_one_the_model_has(stage: Stage, step: Step) -> None:
    named = {"type": "function", "function": {"name": "get_weather"}}
    talk = Talk(stage.server, "call", tools=[CLOCK, WEATHER])
    reply = step(talk, tool_choice=named)
    assert [name for _, name, _ in reply.calls] == ["get_weather"]
    assert declared(stage.provider.requests[-1]) == ["get_weather"]


@toolplay.both_ways
def test_a_required_call_that_is_made_at_once(stage: Stage, step: Step) -> None:
    before = len(stage.provider.requests)
    talk = Talk(stage.server, "call")
    reply = step(talk, tool_choice="required")
    assert len(reply.calls) == 1
    assert reply.message.content == "I will look."
    assert reply.counts == (20, 8, 4, 1)
    assert talk.happened(reply, events.CallDemanded) == []
    assert len(stage.provider.requests) == before + 1


@toolplay.both_ways
def test_a_required_call_that_is_made_when_asked_for(stage: Stage, step: Step) -> None:
    before = len(stage.provider.requests)
    talk = Talk(stage.server, "when asked")
    reply = step(talk, tool_choice="required")
    assert len(reply.calls) == 1
    assert reply.message.content == "I will look."
    assert reply.counts == (30, 15, 7, 3)  # of both steps: both were paid for
    assert talk.happened(reply, events.CallDemanded) == [events.CallDemanded(1)]
    assert stage.provider.requests[-1].messages == [
        ("user", "when asked"),
        ("assistant", "Shall I look?"),
        ("developer", modelstep.DEMAND),
    ]
    talk.bring("sunny")
    last = step(talk)
    assert last.message.content == toolplay.told(["sunny"])
    assert len(stage.provider.requests) == before + 3


@pytest.mark.parametrize("stream", [False, True])
def test_a_required_call_that_is_never_made(stage: Stage, stream: bool) -> None:
    before = len(stage.provider.requests)
    told = toolwire.ask(
        stage.server, "words", tools=[WEATHER], tool_choice="required", stream=stream
    )
    assert told.answer.status == 502
    assert (told.answer.error["type"], told.answer.error["code"]) == (
        "server_error",
        "tool_choice_unsatisfied",
    )
    assert len(stage.provider.requests) == before + 3
    last = serverlog.recorded(stage.server, told.answer)
    assert (last.kind, last.code) == ("upstream_error", "tool_choice_unsatisfied")
    demands = [
        event.attempt
        for event in serverlog.story(stage.server, told.answer.request_id)
        if isinstance(event, events.CallDemanded)
    ]
    assert demands == [1, 2]


def test_a_choice_that_nothing_can_satisfy_is_refused(stage: Stage) -> None:
    before = len(stage.provider.requests)
    talk = Talk(stage.server, "call")
    with pytest.raises(openai.BadRequestError) as caught:
        talk.step(tool_choice={"type": "function", "function": {"name": "get_time"}})
    assert caught.value.param == "tool_choice"
    assert len(stage.provider.requests) == before


@toolplay.both_ways
def test_only_the_first_call_where_they_must_not_be_parallel(stage: Stage, step: Step) -> None:
    talk = Talk(stage.server, "pair", parallel_tool_calls=False)
    reply = step(talk)
    assert [call_id for call_id, _, _ in reply.calls] == ["call_1"]
    assert reply.whole.choices[0].finish_reason == "tool_calls"
    last = talk.terminal(reply)
    assert (last.tool_calls, last.tool_calls_withheld) == (1, 1)
    talk.bring("sunny")
    assert step(talk).message.content == toolplay.told(["sunny"])
    calls = [
        item["call_id"]
        for item in stage.provider.requests[-1].body["input"]
        if item["type"] == "function_call"
    ]
    assert calls == ["call_1"]


@toolplay.both_ways
def test_the_operators_word_on_parallel_calls_is_the_default(single: Stage, step: Step) -> None:
    reply = step(Talk(single.server, "pair"))
    assert [call_id for call_id, _, _ in reply.calls] == ["call_1"]
    reply = step(Talk(single.server, "pair", parallel_tool_calls=True))
    assert [call_id for call_id, _, _ in reply.calls] == ["call_1", "call_2"]


@pytest.mark.parametrize("stream", [False, True])
def test_legacy_functions_are_called_one_by_one(stage: Stage, stream: bool) -> None:
    functions = [WEATHER["function"], CLOCK["function"]]
    told = toolwire.ask(
        stage.server, "pair", functions=functions, function_call="auto", stream=stream
    )
    assert told.finish_reason == "function_call"
    called = {"name": "get_weather", "arguments": '{"city": "Paris"}'}
    assert told.message["function_call"] == called
    assert "tool_calls" not in told.message
    assert serverlog.recorded(stage.server, told.answer).tool_calls_withheld == 1
    history = [
        {"role": "user", "content": "pair"},
        {"role": "assistant", "content": None, "function_call": called},
        {"role": "function", "name": "get_weather", "content": "sunny"},
    ]
    last = toolwire.ask(stage.server, "", messages=history, functions=functions, stream=stream)
    assert last.text == toolplay.told(["sunny"])
    assert last.finish_reason == "stop"


def test_a_legacy_choice_is_honoured(stage: Stage) -> None:
    functions = [CLOCK["function"], WEATHER["function"]]
    told = toolwire.ask(
        stage.server, "call", functions=functions, function_call={"name": "get_weather"}
    )
    assert told.message["function_call"]["name"] == "get_weather"
    assert declared(stage.provider.requests[-1]) == ["get_weather"]
    told = toolwire.ask(stage.server, "words", functions=functions, function_call="none")
    assert told.text == "Only words."
    assert declared(stage.provider.requests[-1]) == []
