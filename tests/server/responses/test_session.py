"""Responses one after another over a WebSocket: what each gets, and what a close means."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.server import keyed
from tests.server.plain import KEY
from tests.support.client import httpclient, rawwebsocket as raw
from tests.support.process import machinetime, serving
from tests.support.providers import upstreams

pytestmark = pytest.mark.usefixtures("hangup_by_default")

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


def test_a_conversation_that_grew_too_long_is_not_remembered() -> None:
    with (
        serving.running(
            "--worker", "scripted", PROXY_SCRIPTED_SPEED="0", PROXY_MAX_BODY_BYTES="4096"
        ) as server,
        socket(server) as client,
    ):
        previous: dict[str, str] = {}
        codes = []
        for _ in range(3):
            ask(client, input="x" * 2500, **previous)
            last = told(client)[-1]
            codes.append(last.get("error", {}).get("code"))
            if "response" in last:
                previous = {"previous_response_id": last["response"]["id"]}
    assert codes == [None, None, "previous_response_not_found"]


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
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1001, "the server stops")


JSON = "Content-Type: application/json"


@pytest.mark.parametrize(
    ("method", "version", "status"),
    [("POST", "1.1", 400), ("HEAD", "1.1", 200), ("GET", "1.0", 405)],
)
def test_only_a_get_of_http_1_1_opens_a_socket(
    server: serving.Serve, method: str, version: str, status: int
) -> None:
    """What else names the protocol is answered as if it did not (RFC 9110 §7.8)."""
    asked = raw.handshake(*raw.HANDSHAKE, JSON, method=method, version=version)
    with raw.Raw(server, first=asked) as client:
        assert client.status() == status


@pytest.mark.parametrize(
    ("instead", "lines"),
    [
        ("Connection: Upgrade", ("Connection: keep-alive", "connection: foo, UPGRADE")),
        ("Upgrade: websocket", ("Upgrade: h2c, WebSocket",)),
        ("Upgrade: websocket", ("Upgrade: h2c", "Upgrade: websocket")),
        ("", ("Sec-WebSocket-Extensions: permessage-deflate", "Sec-WebSocket-Protocol: a, b")),
    ],
)
def test_a_list_may_have_other_words_and_several_lines(
    server: serving.Serve, instead: str, lines: tuple[str, ...]
) -> None:
    kept = [line for line in raw.HANDSHAKE if line != instead]
    before = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"  # and one request more ahead of it
    asked = before + raw.handshake(*kept, *lines) + raw.asks()
    with raw.Raw(server, first=asked) as client:
        assert client.status() == 200
        client.take(len(b'{"status":"alive"}'))
        assert client.status() == 101
        assert client.event()["type"] == "response.created"


def test_a_flood_of_requests_does_not_hold_a_stop_up() -> None:
    """Those that wait are nobody's; the task that reads more of them ends with the socket."""
    with (
        serving.running("--worker", "scripted", PROXY_SCRIPTED_SPEED="1") as server,
        raw.Raw(server) as client,
    ):
        client.status()
        client.socket.sendall(raw.asks() * 100)
        client.event()
        server.process.send_signal(signal.SIGTERM)
        assert client.closed() == (1001, "the server stops")
        assert server.stop() == 0
        assert len([line for line in server.lines if line.get("kind") == "completed"]) == 1
        assert not [line for line in server.lines if line.get("level") == "error"]


def test_a_socket_that_is_old_is_closed_with_an_event_that_clients_know() -> None:
    with (
        serving.running("--worker", "scripted", PROXY_WEBSOCKET_MAX_AGE_MS="100") as server,
        raw.Raw(server) as client,
    ):
        client.status()
        event = client.event()
        assert (event["type"], event["status"]) == ("error", 400)
        assert event["error"]["code"] == "websocket_connection_limit_reached"
        assert client.closed() == (1001, "its age")


def test_an_answer_in_hand_is_whole_though_the_socket_is_too_old() -> None:
    with (
        serving.running(
            *("--worker", "scripted"), PROXY_SCRIPTED_SPEED="1", PROXY_WEBSOCKET_MAX_AGE_MS="100"
        ) as server,
        raw.Raw(server, first=raw.handshake(*raw.HANDSHAKE) + raw.asks() * 2) as client,
    ):
        client.status()
        while (event := client.event())["type"] != "response.completed":
            assert event["type"].startswith("response.")
        assert client.event()["error"]["code"] == "websocket_connection_limit_reached"
        assert client.closed() == (1001, "its age")


def test_a_socket_without_a_request_is_closed_after_a_while() -> None:
    with (
        serving.running("--worker", "scripted", PROXY_WEBSOCKET_IDLE_MS="100") as server,
        raw.Raw(server) as client,
    ):
        client.status()
        assert client.closed() == (1001, "nothing was asked for too long")
        machinetime.until(lambda: any(line.get("status") == 101 for line in server.lines))


def test_where_sockets_are_switched_off_an_upgrade_is_426() -> None:
    with (
        serving.running("--worker", "scripted", PROXY_ENABLE_WEBSOCKETS="false") as server,
        raw.Raw(server) as client,
    ):
        assert client.status() == 426


def test_open_sockets_are_counted(server: serving.Serve) -> None:
    def counted() -> int:
        (line,) = (
            line
            for line in httpclient.ask(server.base, "GET", "/metrics").body.splitlines()
            if line.startswith(b"turntape_websockets_open ")
        )
        return int(float(line.split()[1]))

    machinetime.until(lambda: counted() == 0)
    with socket(server), socket(server):
        assert counted() == 2
    machinetime.until(lambda: counted() == 0)


FLOOD = 480
"""Texts of 64 KiB each: more than the sockets between an upstream and a client hold."""


def flood() -> upstreams.Answer:
    texts = [upstreams.framed(upstreams.sse(upstreams.chunk("x" * 2**16)))] * FLOOD
    ends = upstreams.framed(upstreams.sse(upstreams.chunk(finish="stop"), "[DONE]"))
    return [upstreams.STREAM_HEAD, *texts, ends, upstreams.LAST]


@pytest.mark.slow  # so much is to be said that no socket holds it
def test_a_slow_reader_holds_its_worker_back_and_gets_all() -> None:
    brief = [upstreams.chunk("brief"), upstreams.chunk(finish="stop")]
    with (
        upstreams.stage([flood(), upstreams.stream(*brief)], PROXY_EVENT_LOG="masked") as stage,
        raw.Raw(stage.server) as client,
    ):
        client.status()
        client.socket.sendall(raw.asks(model="m") * 2)
        machinetime.until(lambda: pressed(stage.server))
        (asked,) = stage.upstream.requests
        assert not asked.answered.is_set()
        assert length(client) == FLOOD * 2**16
        assert length(client) == len("brief")


def length(client: raw.Raw) -> int:
    """Characters that the pieces of the next answer have."""
    found = 0
    while (event := client.event())["type"] != "response.completed":
        if event["type"] == "response.output_text.delta":
            found += len(event["delta"])
    return found


def pressed(server: serving.Serve) -> bool:
    """Whether the log says that somebody reads too slowly."""
    segments = server.log_dir.glob("events-*.jsonl")
    return any(b'"event":"buffer_pressure"' in path.read_bytes() for path in segments)


def test_a_key_that_is_taken_away_asks_no_more(tmp_path: Path) -> None:
    keys = keyed.write(tmp_path / "keys.json", alice=keyed.held("alice"), bob=keyed.held("bob"))
    with (
        serving.running(
            *("--worker", "scripted"), PROXY_SCRIPTED_SPEED="0", PROXY_API_KEYS_FILE=str(keys)
        ) as server,
        socket(server, **keyed.bearer("alice")) as alice,
        socket(server, **keyed.bearer("bob")) as bob,
    ):
        ask(alice)
        assert told(alice)[-1]["type"] == "response.completed"
        keyed.write(keys, bob=keyed.held("bob"))
        server.process.send_signal(signal.SIGHUP)
        machinetime.until(
            lambda: any(line.get("event") == "config_reloaded" for line in server.lines)
        )
        for client, status in ((alice, 401), (bob, None)):
            ask(client)
            assert told(client)[-1].get("status") == status
