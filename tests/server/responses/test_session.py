"""Responses one after another over a WebSocket: what each gets, and what a close means."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.server.plain import KEY
from tests.support.process import machinetime, serving

ENDS = ("response.completed", "response.failed", "error")
MODEL = "text-short"


def socket(server: serving.Serve, **headers: str) -> ClientConnection:
    return connect(server.url.replace("http", "ws", 1) + "/responses", additional_headers=headers)


def ask(client: ClientConnection, **fields: Any) -> None:
    asked = {"type": "response.create", "model": MODEL, "input": "Hello", "store": False}
    client.send(json.dumps(asked | fields))


def told(client: ClientConnection) -> list[dict[str, Any]]:
    """The events up to the end of a response."""
    found: list[dict[str, Any]] = []
    while not found or found[-1]["type"] not in ENDS:
        found.append(json.loads(client.recv(timeout=machinetime.HANG_S)))
    return found


@pytest.fixture(scope="module")
def server() -> Iterator[serving.Serve]:
    with serving.running(
        "--worker", "scripted", PROXY_SCRIPTED_SPEED="0", PROXY_EVENT_LOG="full"
    ) as server:
        yield server
        assert server.stop() == 0
        replayed = server.replay()
        assert replayed.returncode == 0, replayed.stdout


def test_several_that_are_asked_at_once_are_answered_in_order(server: serving.Serve) -> None:
    with socket(server) as client:
        ask(client)
        ask(client, model="nobody")
        ask(client, model="reasoning")
        first, refused, last = told(client), told(client), told(client)
    assert [event["sequence_number"] for event in first] == list(range(len(first)))
    assert (first[-1]["type"], last[-1]["type"]) == ("response.completed", "response.completed")
    assert (first[0]["response"]["model"], last[0]["response"]["model"]) == (MODEL, "reasoning")
    (error,) = refused
    assert (error["status"], error["error"]["code"]) == (404, "model_not_found")
    assert error["error"]["headers"]["x-request-id"].startswith("req_")


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ("{}", "type"),
        ('{"type":"response.cancel"}', "type"),
        ('{"type":"response.create","model":"m"}', "input"),
        ('{"type":"response.create","model":"m","input":"a","background":true}', "background"),
        ("no JSON", None),
    ],
)
def test_what_is_wrong_is_an_event_and_the_socket_stays_open(
    server: serving.Serve, message: str, param: str | None
) -> None:
    with socket(server) as client:
        client.send(message)
        (error,) = told(client)
        assert (error["status"], error["error"]["param"]) == (400, param)
        ask(client)
        assert told(client)[-1]["type"] == "response.completed"


def test_the_last_response_is_gone_on_from_though_it_is_not_stored(server: serving.Serve) -> None:
    with socket(server) as client:
        ask(client, generate=False)
        warmed = told(client)
        assert [event["type"] for event in warmed][-1] == "response.completed"
        assert warmed[-1]["response"]["output"] == []
        ask(client, previous_response_id=warmed[-1]["response"]["id"])
        answered = told(client)[-1]["response"]
        assert answered["previous_response_id"] == warmed[-1]["response"]["id"]
        ask(client, previous_response_id=warmed[-1]["response"]["id"])
        assert told(client)[-1]["error"]["code"] == "previous_response_not_found"
    with socket(server) as another:
        ask(another, previous_response_id=answered["id"])
        assert told(another)[-1]["error"]["code"] == "previous_response_not_found"


def test_a_page_of_an_allowed_origin_may_ask_within_its_limits() -> None:
    page = {"authorization": f"Bearer {KEY}", "origin": "https://ok.example"}
    with (
        serving.running(
            "--worker",
            "scripted",
            PROXY_SCRIPTED_SPEED="0",
            PROXY_API_KEY=KEY,
            PROXY_CORS_ALLOWED_ORIGINS="https://ok.example",
            PROXY_RATE_LIMIT_ENABLED="true",
            PROXY_RATE_LIMIT_MAX="1",
        ) as server,
        socket(server, **page) as client,
    ):
        ask(client)
        assert told(client)[-1]["type"] == "response.completed"
        ask(client)
        limited = told(client)[-1]
        assert (limited["status"], limited["error"]["code"]) == (429, "rate_limit_exceeded")
        assert int(limited["error"]["headers"]["retry-after"]) > 0


def test_who_closes_within_an_answer_has_left_it() -> None:
    with serving.running("--worker", "scripted", PROXY_SCRIPTED_SPEED="0.01") as server:
        with socket(server) as client:
            ask(client)
            ask(client)  # which is nobody's any more
            client.recv(timeout=machinetime.HANG_S)
        machinetime.until(lambda: any(line.get("kind") == "client_gone" for line in server.lines))
        assert server.stop() == 0
        streams = [line for line in server.lines if "stream" in line and "kind" in line]
        assert [line["kind"] for line in streams] == ["client_gone"]
        assert server.replay().returncode == 0


def test_a_socket_that_waits_is_closed_when_the_server_stops() -> None:
    with (
        serving.running("--worker", "scripted", PROXY_SCRIPTED_SPEED="0") as server,
        socket(server) as client,
    ):
        ask(client)
        told(client)
        server.stop()
        with pytest.raises(ConnectionClosed) as closed:
            client.recv(timeout=machinetime.HANG_S)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1001
