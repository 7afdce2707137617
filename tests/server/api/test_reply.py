"""A stream's failure is a frame or a whole response, and the status says which."""

import json

import pytest

from machines import events, outputs
from machines.outputs import Content, Done, Failure, Finish, Head, Keepalive, Rejected, Role
from server import renderers
from server.api.reply import Reply
from tests.support.machines.playbook import opened

GONE = Failure("worker_exited", "Gone.", param="input", retry_after=7.4)

APIS = pytest.mark.parametrize("endpoint", [events.CHAT, events.RESPONSES])


def reply(endpoint: str, *told: outputs.AnyOutput, streaming: bool = True) -> tuple[bytes, Reply]:
    """What outputs come to, and the response that they make."""
    made = renderers.reply(opened(endpoint=endpoint, streaming=streaming))
    return b"".join(made.render(output) for output in told), made


@APIS
@pytest.mark.parametrize("streaming", [True, False], ids=["stream", "body"])
def test_a_rejection_is_the_same_response_in_every_api(endpoint: str, streaming: bool) -> None:
    body, made = reply(endpoint, Rejected(GONE), streaming=streaming)
    assert json.loads(body) == {
        "error": {
            "message": "Gone.",
            "type": "server_error",
            "param": "input",
            "code": "worker_exited",
        }
    }
    assert (made.status, made.chunked) == (503, False)
    assert made.headers == [
        ("content-type", "application/json"),
        ("retry-after", "7"),
        ("retry-after-ms", "7400"),
    ]


@APIS
def test_a_stream_has_a_status_from_its_head_on(endpoint: str) -> None:
    _, made = reply(endpoint, Role(), Keepalive())
    assert (made.status, made.frames) == (0, 0)
    made.render(Head())
    assert (made.status, made.chunked) == (200, True)
    assert ("content-type", "text/event-stream; charset=utf-8") in made.headers


@APIS
def test_a_body_has_a_status_once_it_is_whole(endpoint: str) -> None:
    said = (Head(), Role(), Content("x"), Finish("stop"))
    body, made = reply(endpoint, *said, streaming=False)
    assert (body, made.status, made.frames) == (b"", 0, 0)
    assert json.loads(made.render(Done()))
    assert (made.status, made.frames, made.chunked) == (200, 1, False)
    assert made.headers == [
        ("content-type", "application/json"),
        ("x-turntape-usage", "unknown"),
    ]


@APIS
def test_a_failure_behind_the_head_changes_no_status(endpoint: str) -> None:
    body, made = reply(endpoint, Head(), Role(), Content("x"), GONE)
    assert b'"code":"worker_exited"' in body
    assert (made.status, made.chunked) == (200, True)


@APIS
def test_a_failure_whose_head_was_lost_is_a_response(endpoint: str) -> None:
    body, made = reply(endpoint, GONE)
    assert json.loads(body)["error"]["code"] == "worker_exited"
    assert (made.status, made.chunked) == (503, False)
