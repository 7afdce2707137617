"""What no client should ever get is noticed, each kind of it; what one may get is read right."""

import json
from typing import Any, Final

import pytest

from tests.simulator import answers, responseanswers, violations
from tests.simulator.answers import Answer, Broken, Choice, Frames

HEAD: Final = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
USAGE: Final = {"prompt_tokens": 2, "completion_tokens": 3, "total_tokens": 5}
ERROR: Final = {"message": "no", "type": "t", "param": None, "code": "internal_error"}
DONE: Final = b"data: [DONE]\n\n"


def frame(*choices: dict[str, Any], **members: Any) -> bytes:
    """One chunk."""
    return b"data: %b\n\n" % json.dumps({**HEAD, "choices": choices, **members}).encode()


def delta(index: int = 0, finish: str | None = None, **members: Any) -> bytes:
    """A chunk of one choice."""
    return frame({"index": index, "delta": members, "finish_reason": finish})


def failure(**members: Any) -> bytes:
    """An error in a stream."""
    return b"data: %b\n\n" % json.dumps({"error": {**ERROR, **members}}).encode()


def call(index: int, call_id: str | None, **function: str) -> dict[str, Any]:
    """A piece of a call."""
    return {"index": index, "id": call_id, "function": function}


ROLE: Final = delta(role="assistant", content="")
TEXT: Final = delta(content="Hi")
FINISH: Final = delta(finish="stop")
COUNTED: Final = frame(usage=USAGE)
CALL: Final = delta(tool_calls=[call(0, "c1", name="add", arguments="{")])

STREAMS: Final[dict[str, tuple[str, bytes]]] = {
    "rest": ("the body ends with", ROLE + FINISH + DONE + b"data"),
    "comment after the end": ("a comment after the end", ROLE + FINISH + DONE + b": hm\n\n"),
    "no data line": ("not one data line", b"event: x\n\n"),
    "two lines": ("not one data line", b"data: {\ndata: }\n\n"),
    "after the end": ("something after the end", ROLE + FINISH + DONE + TEXT),
    "after an error": ("something after the end", ROLE + failure() + TEXT),
    "no finish": ("[DONE] before a finish", ROLE + TEXT + DONE),
    "error after the finish": ("an error after the finish", ROLE + FINISH + failure(code="x")),
    "envelope": ("not an error's envelope", b'data: {"error":{"message":"no"}}\n\n'),
    "host": ("a host's name", failure(message="api.example.com is down")),
    "another id": ("where", ROLE + frame({"index": 0}, id="chatcmpl-2")),
    "usage nobody wanted": ("usage that nobody asked for", ROLE + FINISH + COUNTED),
    "usage on a chunk": ("a chunk's usage", ROLE + frame({"index": 0}, usage=None)),
    "second role": ("was not due", ROLE + ROLE),
    "delta before a role": ("a delta before every role", TEXT),
    "after the finish": ("something after the finish", ROLE + FINISH + TEXT),
    "finish with content": ("a finish with content", ROLE + delta(finish="stop", content="x")),
    "two members": ("a delta of", ROLE + delta(content="x", refusal="y")),
    "another member": ("a delta of", ROLE + delta(audio="x")),
    "legacy call": ("a delta of", ROLE + delta(function_call={"name": "f", "arguments": ""})),
    "call not next": ("is not the next", ROLE + delta(tool_calls=[call(1, "c", name="f")])),
    "piece of no call": ("of no call", ROLE + delta(tool_calls=[call(0, None, arguments="{")])),
    "call id again": ("of no call", ROLE + CALL + delta(tool_calls=[call(0, "c", arguments="}")])),
}
"""Streams for one choice, without usage, and what is wrong with each."""

ROLE_UNCOUNTED, FINISH_UNCOUNTED = (
    each.replace(b'"choices"', b'"usage": null, "choices"') for each in (ROLE, FINISH)
)
"""As they are where usage is asked for."""

COUNTED_STREAMS: Final[dict[str, tuple[str, bytes]]] = {
    "no usage": ("[DONE] without usage", ROLE_UNCOUNTED + FINISH_UNCOUNTED + DONE),
    "usage before a finish": ("usage before a finish", ROLE_UNCOUNTED + COUNTED),
    "after usage": (
        "a chunk after usage",
        ROLE_UNCOUNTED + FINISH_UNCOUNTED + COUNTED + FINISH_UNCOUNTED,
    ),
    "error after usage": (
        "an error after usage",
        ROLE_UNCOUNTED + FINISH_UNCOUNTED + COUNTED + failure(),
    ),
}
"""The same where usage is asked for."""


OK: Final = b"HTTP/1.1 200 OK\r\n"

CONNECTIONS: Final[dict[str, tuple[str, bytes]]] = {
    "no response": ("the connection brought", b"hello"),
    "no status line": ("not a status line", b"HTTP/1.0 200 OK\r\n\r\n"),
    "a header twice": ("comes twice", OK + b"a: 1\r\nA: 2\r\n\r\n"),
    "no header": ("a header that is none", OK + b"nonsense\r\n\r\n"),
    "no length": ("of no length", OK + b"a: 1\r\n\r\n"),
    "chunk": ("a chunk without", OK + b"transfer-encoding: chunked\r\n\r\n2\r\nabc\r\n"),
}
"""What a connection brings, and what is wrong with it."""


def body(**members: Any) -> bytes:
    """A chat completion."""
    message = {"role": "assistant", "content": "Hi"}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return json.dumps({"choices": [choice], "usage": USAGE, **members}).encode()


BODIES: Final[dict[str, tuple[str, int, bytes]]] = {
    "status": ("status 500 with", 500, body()),
    "choices": ("not the choices", 200, body(choices=json.loads(body())["choices"] * 2)),
    "no finish": (
        "without a finish",
        200,
        body(choices=[{"index": 0, "message": {"content": None}, "finish_reason": None}]),
    ),
}
"""Bodies, and what is wrong with each."""


def event(kind: str, number: int, **members: Any) -> bytes:
    """An event of a response."""
    data = json.dumps({"type": kind, "sequence_number": number, **members})
    return f"event: {kind}\ndata: {data}\n\n".encode()


def ended(number: int, *texts: str) -> bytes:
    """The end of a response."""
    content = [{"type": "output_text", "text": text} for text in texts]
    output = [{"type": "message", "content": content}]
    response = {"status": "completed", "output": output, "usage": None}
    return event("response.completed", number, response=response)


TOLD: Final = event("response.output_text.delta", 0, item_id="msg_1", delta="Hi")

RESPONSES: Final[dict[str, tuple[str, bytes]]] = {
    "rest": ("the body ends with", TOLD + ended(1, "Hi") + DONE + b"event"),
    "after the end": ("something after the end", TOLD + ended(1, "Hi") + DONE + DONE),
    "number": ("as number 0", event("response.output_text.delta", 1, item_id="msg_1", delta="Hi")),
    "name": ("as number 0", TOLD.replace(b"event: response", b"event: answer")),
    "after the response": ("after the response's end", TOLD + ended(1, "Hi") + ended(2, "Hi")),
    "no response": ("[DONE] without a response", TOLD + DONE),
    "another text": ("was told, the response is", TOLD + ended(1, "Ho") + DONE),
}
"""Streams of the Responses API, and what is wrong with each."""


def read_stream(data: bytes, wants_usage: bool = False) -> answers.Heard:
    return Frames(1, wants_usage=wants_usage, legacy=False, full=True).read(data, whole=True)


def read_body(status: int, data: bytes) -> answers.Heard:
    return answers.heard_body(Answer(status, {}, data, True), 1)


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_that_breaks_a_rule_of_the_wire_is_noticed(name: str) -> None:
    says, data = STREAMS[name]
    with pytest.raises(Broken, match=says.replace("[", r"\[")):
        read_stream(data)


@pytest.mark.parametrize("name", COUNTED_STREAMS)
def test_a_counted_stream_that_breaks_a_rule_is_noticed(name: str) -> None:
    says, data = COUNTED_STREAMS[name]
    with pytest.raises(Broken, match=says.replace("[", r"\[")):
        read_stream(data, wants_usage=True)


@pytest.mark.parametrize("name", CONNECTIONS)
def test_bytes_that_are_no_http_are_noticed(name: str) -> None:
    says, data = CONNECTIONS[name]
    with pytest.raises(Broken, match=says):
        answers.read(data, ended=True)


@pytest.mark.parametrize("name", BODIES)
def test_a_body_that_breaks_a_rule_is_noticed(name: str) -> None:
    says, status, data = BODIES[name]
    with pytest.raises(Broken, match=says):
        read_body(status, data)


@pytest.mark.parametrize("name", RESPONSES)
def test_a_response_stream_that_breaks_a_rule_is_noticed(name: str) -> None:
    says, data = RESPONSES[name]
    with pytest.raises(Broken, match=says.replace("[", r"\[")):
        responseanswers.stream(data, whole=True)


def test_every_rule_of_the_readers_is_among_these() -> None:
    with violations.noted() as raised:
        for name in STREAMS:
            test_a_stream_that_breaks_a_rule_of_the_wire_is_noticed(name)
        for name in COUNTED_STREAMS:
            test_a_counted_stream_that_breaks_a_rule_is_noticed(name)
        for name in CONNECTIONS:
            test_bytes_that_are_no_http_are_noticed(name)
        for name in BODIES:
            test_a_body_that_breaks_a_rule_is_noticed(name)
        for name in RESPONSES:
            test_a_response_stream_that_breaks_a_rule_is_noticed(name)
    assert raised.missing(answers) == []
    assert raised.missing(responseanswers) == []


def test_a_stream_adds_up_to_its_choice() -> None:
    piece = delta(tool_calls=[call(0, None, arguments="}")])
    heard = read_stream(ROLE + TEXT + b": hm\n\n" + CALL + piece + FINISH + DONE)
    assert heard.choices == [Choice(content="Hi", calls=[("c1", "add", "{}")], finish="stop")]
    assert (heard.done, heard.comments, heard.frames, heard.error) == (True, 1, 6, None)


def test_a_failed_stream_has_its_code_and_is_not_done() -> None:
    heard = read_stream(ROLE + TEXT + failure(code="upstream_error"))
    assert (heard.done, heard.error, heard.choices[0].content) == (False, "upstream_error", "Hi")


def test_a_response_stream_comes_to_the_same() -> None:
    heard = responseanswers.stream(TOLD + ended(1, "Hi") + DONE, whole=True)
    assert heard.choices == [Choice(content="Hi", finish="stop")]
    assert heard.done


def test_responses_that_follow_each_other_are_told_apart_and_one_may_be_unfinished() -> None:
    first = OK + b"content-length: 2\r\n\r\nHi"
    second = OK + b"transfer-encoding: chunked\r\n\r\n3\r\nHel\r\n2\r\nl"
    found = answers.read(first + b"HTTP/1.1 100 Go on\r\n\r\n" + second, ended=False)
    assert [(each.body, each.whole) for each in found] == [(b"Hi", True), (b"Hell", False)]
