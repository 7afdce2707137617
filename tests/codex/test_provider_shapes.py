"""What providers of the Responses API send that the API does not say, on the real Codex binary.

The ids are those of the inputs that once failed: items whose events have ids of their own (K25,
K70), empty answers (K72), items that nobody can read (K29), refusals in every envelope (K23, K24,
K73), redirects (K21), codes that hold keys (K22), counts of an answer that was cut (K71).
"""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from machines import events
from tests.codex import toolplay, toolwire
from tests.codex.toolplay import Stage
from tests.support.logs import serverlog
from tests.support.providers.provider import Request
from tests.support.providers.replies import (
    Answer,
    Event,
    Failed,
    HttpError,
    Incomplete,
    Message,
    Stream,
    Usage,
)

pytestmark = pytest.mark.codex


def item(step: str, item_id: str, text: str | None = None, **more: Any) -> Event:
    """The begin or the end of a message."""
    content = [] if text is None else [{"type": "output_text", "text": text, "annotations": []}]
    message = {"type": "message", "role": "assistant", "id": item_id, "content": content, **more}
    return Event({"type": f"response.output_item.{step}", "output_index": 0, "item": message})


def delta(item_id: str, text: str) -> Event:
    place = {"item_id": item_id, "output_index": 0, "content_index": 0}
    return Event({"type": "response.output_text.delta", "delta": text, **place})


def done(body: dict[str, Any]) -> Event:
    return Event({"type": "response.output_item.done", "output_index": 0, "item": body})


PARTS = [{"type": "output_text", "text": "Hi", "annotations": []}]
SECRET = "Bearer sk-abcdef1234567890"

ANSWERS: dict[str, Answer] = {
    "ids of their own": Stream(
        (item("added", "a"), delta("b", "Hel"), delta("c", "lo"), item("done", "d", "Hello"))
    ),
    "commentary with ids of its own": Stream(
        (
            item("added", "a", phase="commentary"),
            delta("b", "Hm"),
            item("done", "c", "Hm, so", phase="commentary"),
            item("added", "e", phase="final_answer"),
            delta("f", "42"),
            item("done", "g", "42", phase="final_answer"),
        )
    ),
    "empty": Stream((item("added", "a"), item("done", "a", "")), usage=Usage(10, 5, 0, 0)),
    "without a role": Stream((done({"type": "message", "id": "m", "content": PARTS}),)),
    "a call without an id": Stream(
        (done({"type": "function_call", "id": "f", "name": "f", "arguments": "{}"}),)
    ),
    "a delta of nothing": Stream((delta("zz", "hello"),)),
    "invalid_prompt": Stream((), end=Failed("invalid_prompt", "Not this one.")),
    "cyber_policy": Stream((), end=Failed("cyber_policy", "Not this one.")),
    "400 cyber_policy": HttpError(400, {"error": {"message": "No.", "code": "cyber_policy"}}),
    "400 detail": HttpError(400, {"detail": "x problem"}),
    "400 message": HttpError(400, {"message": "x problem"}),
    "400 string": HttpError(400, '"x problem"'),
    "400 error": HttpError(400, {"error": "x problem"}),
    "400 text": HttpError(400, "x problem"),
    "400 page": HttpError(400, "<html>x problem</html>"),
    "400 empty": HttpError(400, ""),
    "400 keys": HttpError(
        400, {"error": {"message": "No.", "code": "https://h.example/?k=1", "param": SECRET}}
    ),
    "401": HttpError(401, {"error": {"message": "expired"}}),
    "301": HttpError(301, ""),
    "304": HttpError(304, ""),
    "cut": Stream((Message(("So", " far")),), end=Incomplete("max_output_tokens")),
}


def answer(request: Request) -> Answer:
    return ANSWERS[request.prompt]


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with toolplay.stage(answer) as stage:
        yield stage


@pytest.mark.parametrize("stream", [False, True])
def test_k25_a_message_whose_events_have_ids_of_their_own_is_said_once(
    stage: Stage, stream: bool
) -> None:
    told = toolwire.ask(stage.server, "ids of their own", stream=stream)
    assert (told.text, told.finish_reason) == ("Hello", "stop")
    told = toolwire.ask(stage.server, "commentary with ids of its own", stream=stream)
    assert (told.text, told.finish_reason) == ("42", "stop")
    assert told.message["reasoning_content"] == "Hm, so"


@pytest.mark.parametrize("stream", [False, True])
def test_k72_an_empty_answer_is_one(stage: Stage, stream: bool) -> None:
    told = toolwire.ask(stage.server, "empty", stream=stream)
    assert (told.answer.status, told.text or "", told.finish_reason) == (200, "", "stop")
    assert told.body["usage"]["completion_tokens"] == 5


@pytest.mark.parametrize(
    "prompt", ["without a role", "a call without an id", "a delta of nothing"]
)
def test_k29_an_answer_that_cannot_be_read_is_a_failure(stage: Stage, prompt: str) -> None:
    told = toolwire.ask(stage.server, prompt)
    assert (told.answer.status, told.answer.error["code"]) == (502, "upstream_error")
    assert "without a role" in told.answer.error["message"]


@pytest.mark.parametrize(
    ("prompt", "code", "message"),
    [
        ("invalid_prompt", "provider_rejected", "Not this one."),
        ("cyber_policy", "cyber_policy", "Not this one."),
        ("400 cyber_policy", "cyber_policy", "No."),
        ("400 detail", "provider_rejected", "x problem"),
        ("400 message", "provider_rejected", "x problem"),
        ("400 string", "provider_rejected", "x problem"),
        ("400 error", "provider_rejected", "x problem"),
        ("400 text", "provider_rejected", "x problem"),
        ("400 page", "provider_rejected", "The model provider refused the request."),
        ("400 empty", "provider_rejected", "The model provider refused the request."),
        ("400 keys", "provider_rejected", "No."),
    ],
)
def test_k23_a_refusal_is_a_400_with_its_message(
    stage: Stage, prompt: str, code: str, message: str
) -> None:
    before = len(stage.provider.requests)
    told = toolwire.ask(stage.server, prompt)
    error = told.answer.error
    assert (told.answer.status, error["code"], error["message"]) == (400, code, message)
    assert error["param"] is None
    assert "retry-after" not in told.answer.headers
    assert len(stage.provider.requests) == before + 1
    happened = serverlog.story(stage.server, told.answer.request_id)
    (failed,) = (each for each in happened if isinstance(each, events.TurnFailed))
    assert failed.word in ("other", "cyberPolicy")
    assert failed.detail or prompt == "400 empty"
    assert "sk-abc" not in str(failed)


@pytest.mark.parametrize("prompt", ["301", "304"])
def test_k21_a_redirect_is_said_to_be_one_and_is_for_good(stage: Stage, prompt: str) -> None:
    told = toolwire.ask(stage.server, prompt)
    assert (told.answer.status, told.answer.error["code"]) == (502, "upstream_redirected")
    assert told.answer.headers["x-should-retry"] == "false"


@pytest.mark.parametrize("tools", [[], [toolplay.WEATHER]], ids=["without tools", "with tools"])
@pytest.mark.parametrize("stream", [False, True])
def test_k71_an_answer_that_was_cut_has_its_counts(
    stage: Stage, stream: bool, tools: list[Any]
) -> None:
    fields: dict[str, Any] = {"tools": tools} if tools else {}
    told = toolwire.ask(stage.server, "cut", stream=stream, **fields)
    assert (told.text, told.finish_reason) == ("So far", "length")
    usage = told.body["usage"]
    counts = [usage[name] for name in ("prompt_tokens", "completion_tokens", "total_tokens")]
    assert counts == [10, 5, 15]
    assert "x-turntape-usage" not in told.answer.headers


@pytest.mark.parametrize("tools", [[], [toolplay.WEATHER]], ids=["without tools", "with tools"])
def test_k26_ids_and_names_of_a_history_are_what_the_api_takes(
    stage: Stage, tools: list[Any]
) -> None:
    long = "call_" + "x" * 100
    called = {"id": long, "type": "function", "function": {"name": "my tool!", "arguments": "{}"}}
    messages = [
        {"role": "user", "content": "before"},
        {"role": "assistant", "tool_calls": [called]},
        {"role": "tool", "tool_call_id": long, "content": "done"},
        {"role": "user", "content": "empty"},
    ]
    fields: dict[str, Any] = {"tools": tools} if tools else {}
    toolwire.ask(stage.server, "empty", messages=messages, **fields)
    sent = stage.provider.requests[-1].body["input"]
    call, output = (each for each in sent if each["type"].startswith("function_call"))
    assert call["call_id"] == output["call_id"]
    assert re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", call["call_id"])
    assert re.fullmatch(r"my_tool_[0-9a-f]{8}", call["name"])


@pytest.mark.parametrize("strict", [True, False])
def test_k27_a_schema_that_is_no_strict_one_is_asked_for_in_words(
    stage: Stage, strict: bool
) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    wanted = {"name": "n", "strict": strict, "schema": schema}
    told = toolwire.ask(
        stage.server, "empty", response_format={"type": "json_schema", "json_schema": wanted}
    )
    body = stage.provider.requests[-1].body
    form = body.get("text", {}).get("format")
    if strict:  # the provider judges, as the API's own would
        assert form["schema"] == schema
        assert "x-turntape-emulated" not in told.answer.headers
    else:
        assert form is None
        assert told.answer.headers["x-turntape-emulated"] == "response_format"
        assert json.dumps(schema) in json.dumps(body["input"][-1]["content"]).replace('\\"', '"')


def test_row_49_a_login_that_a_provider_refuses_is_told_at_once_and_until_it_is_good(
    stage: Stage,
) -> None:
    told = toolwire.ask(stage.server, "401")
    assert (told.answer.status, told.answer.error["code"]) == (401, "worker_unauthorized")
    status, ready = stage.server.get("/readyz")
    assert (status, ready["worker"]) == (503, "logged_out")
    assert stage.server.get("/healthz")[1]["status"] == "degraded"
    assert toolwire.ask(stage.server, "empty").answer.status == 200
    assert stage.server.get("/readyz")[0] == 200
