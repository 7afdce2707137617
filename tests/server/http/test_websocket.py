"""A WebSocket as its client sees it: what is taken, what closes it, and with which code."""

import contextlib
from collections.abc import Iterator

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from server.http import websocket
from server.http.errors import ApiError
from server.http.exchange import Headers, Request
from tests.support.process import serving

NONCE = "dGhlIHNhbXBsZSBub25jZQ=="
"""The key of RFC 6455 §1.3, whose answer is there too."""


async def no_body() -> bytes:
    return b""


def handshake(**headers: str) -> Request:
    usual = {
        "connection": "keep-alive, Upgrade",
        "sec-websocket-version": "13",
        "sec-websocket-key": NONCE,
    }
    given = usual | {name.replace("_", "-"): value for name, value in headers.items()}
    return Request("GET", "/v1/responses", Headers(given.items()), "", no_body)


def test_the_answer_is_that_of_the_rfcs_own_example() -> None:
    accepted = dict(websocket.accept(handshake()))
    assert accepted["sec-websocket-accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"sec_websocket_version": "8"}, "upgrade_required"),
        ({"sec_websocket_key": "c2hvcnQ="}, "bad_http"),
        ({"sec_websocket_key": "not base64"}, "bad_http"),
        ({"sec_websocket_key": ""}, "bad_http"),
        ({"connection": "keep-alive"}, "bad_http"),
    ],
)
def test_what_is_no_handshake_is_refused(headers: dict[str, str], code: str) -> None:
    with pytest.raises(ApiError) as refused:
        websocket.accept(handshake(**headers))
    assert refused.value.code == code


@pytest.fixture(scope="module")
def server() -> Iterator[serving.Serve]:
    with serving.running("--worker", "scripted", PROXY_MAX_BODY_BYTES="4096") as server:
        yield server


@pytest.fixture
def client(server: serving.Serve) -> Iterator[ClientConnection]:
    with connect(server.url.replace("http", "ws", 1) + "/responses") as client:
        yield client


@pytest.mark.parametrize(
    ("message", "code"), [("x" * 4097, 1009), (b"bytes", 1003), (["x" * 3000, "x" * 3000], 1009)]
)
def test_a_message_that_is_not_taken_closes_the_socket(
    client: ClientConnection, message: str | bytes | list[str], code: int
) -> None:
    with contextlib.suppress(ConnectionClosed):
        client.send(message)
    with pytest.raises(ConnectionClosed) as closed:
        client.recv()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == code


def test_a_ping_is_answered_and_a_close_too(client: ClientConnection) -> None:
    assert client.ping("are you there?").wait(10)
    client.close(1000)
    assert client.close_code == 1000


def test_a_frame_that_is_none_closes_the_socket(client: ClientConnection) -> None:
    client.socket.sendall(b"\xff\xff\xff\xff")
    with pytest.raises(ConnectionClosed) as closed:
        client.recv()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1002
