"""On `/v1/responses` the provider's items are items of their own, on the real Codex binary.

The ids are those of the inputs that once failed: phases that were lost and messages that were
joined (K74), messages that nobody sent (K75), and what the chat endpoint has tests of beside
(K25, K72, K76).
"""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.codex import toolplay
from tests.codex.test_provider_shapes import ANSWERS
from tests.codex.toolplay import Stage
from tests.support.client import responseswire
from tests.support.client.responsesclient import Client, Json
from tests.support.providers.provider import Request
from tests.support.providers.replies import (
    Answer,
    FunctionCall,
    Incomplete,
    Message,
    Reasoning,
    Refusal,
    Stream,
)

pytestmark = pytest.mark.codex

F: Json = {"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}}
FIRST, SECOND = Reasoning((("One.",), ("Two", "."))), Reasoning((("Three.",),))
HM = Message(("Let me ", "see."), phase="commentary")
ANSWER = Message(("4", "2"), phase="final_answer")

SCRIPT: dict[str, Answer] = {
    **{name: ANSWERS[name] for name in ("empty", "commentary with ids of its own")},
    "phases": Stream((FIRST, HM, SECOND, ANSWER, Message(("Bye.",)))),
    "thinking": Stream((Reasoning(text=("h", "m")), ANSWER)),
    "commentary": Stream((HM,)),
    "sealed": Stream((Reasoning((("One.",),), encrypted_content="c2VhbGVk"), ANSWER)),
    "cut while thinking": Stream((FIRST,), Incomplete("max_output_tokens")),
    "cut at once": Stream((), Incomplete("max_output_tokens")),
    "cut": Stream((HM, Message(("4",))), Incomplete("max_output_tokens")),
    "refusal": Stream((Refusal(("No.",)),)),
    "stops short": Stream((Message(("Let ",), "commentary", whole="Let me see."), ANSWER)),
    "held": Stream((Message(("a <use",)), Message(("_tool> b",)))),
    "all at once": Stream((Message(("Hm.",), "commentary", streamed=False), ANSWER)),
}


def answer(request: Request) -> Answer:
    """The answer to the last prompt; one that calls thinks aloud, and calls in its first step."""
    if request.prompt != "call":
        return SCRIPT[request.prompt]
    if any(item["type"] == "function_call_output" for item in request.body["input"]):
        return Stream((ANSWER,))
    call = FunctionCall("call_1", "f", ("{}",))
    return Stream((Reasoning((("One.",),), encrypted_content="c2VhbGVk"), HM, ANSWER, call))


@pytest.fixture(scope="module", params=["full", "masked"])
def stage(request: pytest.FixtureRequest) -> Iterator[Stage]:
    """A stage whose log, full or masked, is played back at the end."""
    with toolplay.stage(answer, PROXY_EVENT_LOG=request.param) as stage:
        yield stage


def asked(stage: Stage, prompt: Any, stream: bool, **fields: Any) -> Json:
    """The response; of a stream, each of whose events is checked, what it folds to."""
    reply = Client(stage.server).create(prompt, stream=stream, **fields)
    assert reply.status == 200, reply
    if not stream:
        return reply.body
    told = reply.told
    responseswire.check_types(told)
    folded = responseswire.fold(told)
    assert list(folded.done.values()) == folded.response["output"]
    response: Json = folded.response
    return response


def shown(response: Json) -> list[Any]:
    """The items in short: phase, status and texts of a message, parts of a reasoning item."""
    found: list[Any] = []
    for item in response["output"]:
        if item["type"] == "message":
            texts = [part["text"] for part in item["content"]]
            found.append((item.get("phase"), item["status"], *texts))
        elif item["type"] == "reasoning":
            parts = [*item["summary"], *item.get("content", ())]
            found.append([part["text"] for part in parts])
        else:
            found.append(item["type"])
    return found


HM_SHOWN = ("commentary", "completed", "Let me see.")
ANSWER_SHOWN = ("final_answer", "completed", "42")

SHOWN: dict[str, list[Any]] = {
    "phases": [
        ["One.", "Two."],
        HM_SHOWN,
        ["Three."],
        ANSWER_SHOWN,
        (None, "completed", "Bye."),
    ],
    "thinking": [["hm"], ANSWER_SHOWN],
    "commentary": [HM_SHOWN],
    "sealed": [["One."], ANSWER_SHOWN],
    "empty": [(None, "completed", "")],
    "commentary with ids of its own": [("commentary", "completed", "Hm, so"), ANSWER_SHOWN],
    "cut while thinking": [["One.", "Two."]],
    "cut at once": [],
    "cut": [HM_SHOWN, (None, "incomplete", "4")],
    "refusal": [],
    "stops short": [HM_SHOWN, ANSWER_SHOWN],
    "held": [(None, "completed", "a <use"), (None, "completed", "_tool> b")],
    "all at once": [("commentary", "completed", "Hm."), ANSWER_SHOWN],
}
"""The items of each answer, as the provider sent them."""

CUT = ("cut while thinking", "cut at once", "cut", "refusal")


@pytest.mark.parametrize("stream", [False, True], ids=["body", "stream"])
@pytest.mark.parametrize("tools", [[], [F]], ids=["", "tools"])
@pytest.mark.parametrize("store", [True, False], ids=["stored", "unstored"])
@pytest.mark.parametrize("prompt", SHOWN)
def test_k74_k75_the_items_are_the_providers_own(
    stage: Stage, prompt: str, stream: bool, tools: list[Json], store: bool
) -> None:
    response = asked(stage, prompt, stream, tools=tools, store=store)
    assert shown(response) == SHOWN[prompt]
    assert response["status"] == ("incomplete" if prompt in CUT else "completed")


def test_k74_the_events_are_in_the_apis_order(stage: Stage) -> None:
    told = Client(stage.server).create("phases", stream=True).told
    places = {event["item"]["id"]: event["output_index"] for event in told if "item" in event}
    assert list(places.values()) == [0, 1, 2, 3, 4]
    added = [event for event in told if event["type"] == "response.output_item.added"]
    assert [event["item"].get("phase") for event in added] == [
        None,
        "commentary",
        None,
        "final_answer",
        None,
    ]
    answer_events = [
        event["type"].removeprefix("response.") for event in told if event.get("output_index") == 3
    ]
    assert answer_events == [
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
    ]
    summary_events = [
        (event["type"].removeprefix("response.reasoning_summary_"), event["summary_index"])
        for event in told
        if event.get("output_index") == 0 and "summary_index" in event
    ]
    part = ("part.added", "text.delta", "text.done", "part.done")
    second = ("part.added", "text.delta", "text.delta", "text.done", "part.done")
    assert summary_events == [*((kind, 0) for kind in part), *((kind, 1) for kind in second)]


@pytest.mark.parametrize("by", ["previous_response_id", "items"])
def test_k74_phases_go_back_to_codex(stage: Stage, by: str) -> None:
    user = {"role": "user", "content": "phases"}
    first = asked(stage, [user], stream=False)
    if by == "items":
        fields: Json = {}
        items = [user, *first["output"], {"role": "user", "content": "empty"}]
    else:
        fields = {"previous_response_id": first["id"]}
        items = [{"role": "user", "content": "empty"}]
    asked(stage, items, stream=False, **fields)
    sent = [
        (item.get("phase"), "".join(part["text"] for part in item["content"]))
        for item in stage.provider.requests[-1].body["input"]
        if item["type"] == "message" and item["role"] == "assistant"
    ]
    assert sent == [("commentary", "Let me see."), ("final_answer", "42"), (None, "Bye.")]


@pytest.mark.parametrize("stream", [False, True], ids=["body", "stream"])
@pytest.mark.parametrize("by", ["previous_response_id", "items"])
def test_a_step_of_several_messages_is_gone_on_with_where_it_waits(
    stage: Stage, by: str, stream: bool
) -> None:
    user = {"role": "user", "content": "call"}
    include = ["reasoning.encrypted_content"]
    first = asked(stage, [user], stream, tools=[F], include=include)
    assert shown(first) == [["One."], HM_SHOWN, ANSWER_SHOWN, "function_call"]
    asked_before = len(stage.provider.requests)
    result = {"type": "function_call_output", "call_id": "call_1", "output": "21"}
    if by == "items":
        items = [user, *first["output"], result]
        second = asked(stage, items, stream, tools=[F], include=include)
    else:
        previous = {"previous_response_id": first["id"]}
        second = asked(stage, [result], stream, tools=[F], include=include, **previous)
    assert shown(second) == [ANSWER_SHOWN]
    assert len(stage.provider.requests) == asked_before + 1
    sent = stage.provider.requests[-1].body["input"]
    kinds = [item["type"] for item in sent if item.get("role") != "user"]
    assert kinds[-5:] == [
        "reasoning",
        "message",
        "message",
        "function_call",
        "function_call_output",
    ]
    threads = [request.body["prompt_cache_key"] for request in stage.provider.requests[-2:]]
    assert threads[0] == threads[1], "its history was sent anew"
