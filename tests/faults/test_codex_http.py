"""Row 40 of the fault matrix: clients that speak HTTP badly, in front of a worker that is well.

None of them reaches the worker or opens a stream, and none costs another client anything.
"""

import contextlib
import json
import socket
import urllib.parse
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import pytest

from bench import standin
from tests.faults import codexstage, expected, scene
from tests.faults.codexstage import StandIn
from tests.support.client import httpclient

BODY_BYTES = 100_000
"""What the server takes of a body."""

CHAT = b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n"

JSON = b"content-type: application/json\r\n"


LONG: Final = "go on and on"
"""The prompt of a turn that takes a minute."""


def chat(prompt: str = scene.PLAIN, **fields: Any) -> bytes:
    """The body of a request."""
    messages = [{"role": "user", "content": prompt}]
    return json.dumps({"model": scene.MODEL, "messages": messages, **fields}).encode()


def sized(body: bytes, *headers: bytes) -> bytes:
    """A request with a body of known length."""
    lines = b"".join(header + b"\r\n" for header in headers)
    return CHAT + JSON + lines + b"content-length: %d\r\n\r\n" % len(body) + body


def in_chunks(*pieces: bytes) -> bytes:
    """A request whose body comes in chunks."""
    framed = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in (*pieces, b""))
    return CHAT + JSON + b"transfer-encoding: chunked\r\n\r\n" + framed


class Refusal(NamedTuple):
    """Bytes of a client, and what it is told."""

    data: bytes
    status: int
    code: str


REFUSALS = {
    "bad JSON": Refusal(sized(b'{"model": '), 400, "invalid_json"),
    "no object": Refusal(sized(b"[1, 2]"), 400, "invalid_json"),
    "invalid UTF-8": Refusal(sized(b'{"model": "\xff\xfe"}'), 400, "invalid_json"),
    "no HTTP": Refusal(b"\x16\x03\x01\x02\x00\x01\r\n\r\n", 400, "bad_http"),
    "two lengths": Refusal(
        CHAT + b"content-length: 1\r\ncontent-length: 2\r\n\r\n", 400, "bad_http"
    ),
    "10,000 headers": Refusal(
        CHAT + b"".join(b"x-%d: 1\r\n" % number for number in range(10_000)) + b"\r\n",
        431,
        "headers_too_large",
    ),
    "a miracle": Refusal(CHAT + b"expect: a-miracle\r\n\r\n", 417, "expectation_failed"),
    "too large": Refusal(sized(b"x" * (BODY_BYTES + 1)), 413, "request_too_large"),
    "too large in chunks": Refusal(
        in_chunks(*[b"x" * 1000] * (BODY_BYTES // 1000 + 1)), 413, "request_too_large"
    ),
    "slow head": Refusal(CHAT, 408, "request_timeout_client"),
    "slow body": Refusal(sized(chat())[:-1], 408, "request_timeout_client"),
    "slow chunks": Refusal(in_chunks(chat())[:-5], 408, "request_timeout_client"),
}


@pytest.fixture(scope="module")
def on() -> Iterator[StandIn]:
    slow = standin.Turn(deltas=8, interval=0.01)
    long = standin.Turn(deltas=6000, interval=0.01)
    limits = {"head_timeout": 0.3, "body_timeout": 0.3, "linger": 0.2}
    with codexstage.stand_in(
        standin.Scenario(turn=slow, turns={LONG: long}),
        http_limits=limits,
        PROXY_MAX_BODY_BYTES=str(BODY_BYTES),
    ) as up:
        yield up


TOKENS = expected.role() + expected.content(*["token "] * 8) + expected.finish("stop")
"""The stream of every turn here, but for its sentinel."""


@contextlib.contextmanager
def connected(on: StandIn) -> Iterator[socket.socket]:
    """A connection of a client that writes its own HTTP."""
    where = urllib.parse.urlsplit(on.stage.server.url)
    with socket.create_connection(
        (where.hostname, where.port), timeout=httpclient.WAIT_S
    ) as client:
        yield client


def rest(client: socket.socket) -> bytes:
    """Everything until the server closes."""
    with client.makefile("rb") as reader:
        return reader.read()


def parts(answer: bytes) -> tuple[int, bytes]:
    """Status and body of one response."""
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split(b" ")[1]), body


@pytest.mark.parametrize("name", REFUSALS)
def test_row_40_a_bad_request_is_refused_in_the_envelope(on: StandIn, name: str) -> None:
    refusal = REFUSALS[name]
    turns = len(on.received("turn/start"))
    with connected(on) as client:
        client.sendall(refusal.data)
        if refusal.code == "invalid_json":
            client.shutdown(socket.SHUT_WR)
        status, body = parts(rest(client))
    error = json.loads(body)["error"]
    assert (status, error["code"], error["type"]) == (
        refusal.status,
        refusal.code,
        "invalid_request_error",
    )
    assert set(error) == {"message", "type", "param", "code"}
    assert len(on.received("turn/start")) == turns
    on.stage.released()


def test_row_40_pipelined_requests_are_answered_in_order(on: StandIn) -> None:
    with connected(on) as client:
        client.sendall(
            sized(chat(stream=True)) + sized(chat()) + sized(b"{", b"connection: close")
        )
        answers = rest(client)
    first, second, third = answers.split(b"HTTP/1.1 ")[1:]
    assert [part[:3] for part in (first, second, third)] == [b"200", b"200", b"400"]
    frames = [line for line in first.split(b"\r\n") if line.startswith(b"data: ")]
    assert len(b"".join(frames).split(b"data: ")) == 1 + 1 + 8 + 1 + 1
    assert frames[-1].endswith(b"data: [DONE]\n\n")
    assert json.loads(second.partition(b"\r\n\r\n")[2])["object"] == "chat.completion"
    on.stage.released()
    assert [each["kind"] for each in on.stage.server.terminals()[-3:]] == ["completed"] * 3


def test_row_40_a_client_that_half_closes_has_left(on: StandIn) -> None:
    interrupts = len(on.received("turn/interrupt"))
    with connected(on) as client:
        client.sendall(sized(chat(LONG, stream=True)))
        came = b""
        while b"token" not in came:  # until then its thread may not have started
            came += client.recv(65536)
        client.shutdown(socket.SHUT_WR)
        assert b"[DONE]" not in rest(client)
    on.stage.released()
    assert len(on.received("turn/interrupt")) == interrupts + 1
    last = on.stage.server.terminals()[-2]
    assert (last["kind"], last["cause"]) == ("client_gone", "left")


def test_row_40_a_body_that_waits_to_be_asked_for_is(on: StandIn) -> None:
    body = chat(stream=True)
    with connected(on) as client:
        request = sized(body, b"expect: 100-continue", b"connection: close")
        client.sendall(request[: -len(body)])
        assert client.recv(65536) == b"HTTP/1.1 100 \r\n\r\n"
        client.sendall(body)
        assert rest(client).endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")
    on.stage.released()
