"""Trials of the Responses API: an answer that is right passes, and each that is wrong is named."""

import contextlib
import json
from typing import Any

import pytest

from server.cli.trials import responses
from server.cli.trials.client import Failed, Skipped
from tests.server.cli.trials.asking import MODEL, Json, asking, error
from tests.support.providers import upstreams


def response(text: str = "Hello", **members: Any) -> Json:
    """A response of one message."""
    content = [{"type": "output_text", "text": text}]
    message = {"type": "message", "role": "assistant", "content": content}
    body = {
        "object": "response",
        "status": "completed",
        "output": [{"type": "reasoning"}, message],
    }
    return {**body, **members}


CREATED = {"type": "response.created", "response": {}}
DELTA = {"type": "response.output_text.delta", "delta": "Hello"}
COMPLETED = {"type": "response.completed", "response": response()}


def body_of(*events: Json) -> bytes:
    """The bytes of a stream of events, numbered."""
    numbered = [{"sequence_number": number, **each} for number, each in enumerate(events)]
    lines = [f"event: {each['type']}\ndata: {json.dumps(each)}\n\n" for each in numbered]
    return "".join(lines).encode()


def streamed(body: bytes) -> str:
    """What a trial says of a stream."""
    with asking([upstreams.raw_stream(body)]) as (client, _):
        return responses.streamed(client, MODEL)


def test_a_whole_response() -> None:
    with asking([upstreams.response(200, response())]) as (client, server):
        assert responses.whole(client, MODEL) == "5 characters, completed"
        (asked,) = server.requests
    assert asked.path == "POST /v1/responses"
    assert asked.body["store"] is False


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (response(object="x"), "it is no response"),
        (response(status="failed"), "its status is failed"),
        (response(""), "the response has no text"),
        (response(output=[]), "the response has no text"),
    ],
)
def test_a_whole_response_that_is_wrong(wrong: Json, why: str) -> None:
    with asking([upstreams.response(200, wrong)]) as (client, _), pytest.raises(Failed) as raised:
        responses.whole(client, MODEL)
    assert str(raised.value) == why


@pytest.mark.parametrize("trial", [responses.whole, responses.streamed])
def test_a_server_without_the_api_is_none_that_fails(trial: Any) -> None:
    with asking([error(404)]) as (client, _), pytest.raises(Skipped, match="no /responses"):
        trial(client, MODEL)
    with asking([error(500)]) as (client, _), pytest.raises(Failed, match="status 500"):
        trial(client, MODEL)


@pytest.mark.parametrize("end", [b"", b"data: [DONE]\n\n"])
def test_a_streamed_response(end: bytes) -> None:
    found = streamed(body_of(CREATED, DELTA, COMPLETED) + end)
    assert found == "3 events, 5 characters, completed"


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (body_of(DELTA), "the first event is response.output_text.delta"),
        (body_of(CREATED, DELTA), "the stream ends without response.completed"),
        (body_of(CREATED, COMPLETED), "the deltas are not the text of the response"),
        (body_of(CREATED, DELTA, COMPLETED, DELTA), "response.output_text.delta comes after the"),
        (body_of(CREATED, {**DELTA, "sequence_number": 5}), "sequence_number is 5, not 1"),
        (body_of(CREATED, {"type": "error", "code": "x"}), "the stream ends with {"),
        (body_of(CREATED, {"type": "response.failed"}), "the stream ends with {"),
        (b'event: a\ndata: {"type":"b"}\n\n', "the event a has the type b"),
        (body_of(CREATED) + b"data: [DONE]\n\n", "no JSON object: [DONE]"),
    ],
)
def test_a_streamed_response_that_is_wrong(body: bytes, why: str) -> None:
    with pytest.raises(Failed) as raised:
        streamed(body)
    assert str(raised.value).startswith(why)


@pytest.mark.parametrize("value", [None, 1, "x", [], [1], [[]], {}, [{}]])
def test_no_response_breaks_a_trial(value: Any) -> None:
    part = {"type": "output_text", "text": value}
    for wrong in (
        response(output=value),
        response(output=[{"content": value}]),
        response(output=[{"content": [part]}]),
        response(status=value),
    ):
        whole = upstreams.response(200, wrong)
        with asking([whole]) as (client, _), contextlib.suppress(Failed):
            responses.whole(client, MODEL)
        with contextlib.suppress(Failed):
            streamed(body_of({**CREATED, "response": value}, {**DELTA, "delta": value}, COMPLETED))
        with contextlib.suppress(Failed):
            streamed(body_of(CREATED, DELTA, {**COMPLETED, "response": wrong}))
