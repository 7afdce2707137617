"""A WebSocket as its client sees it: what is taken, what closes it, and with which code."""

import asyncio
import contextlib
import struct
from collections.abc import Iterator
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect
from wsproto import events as frames
from wsproto.connection import Connection, ConnectionType

from server.http import websocket
from server.http.errors import ApiError
from server.http.exchange import Headers, Request, Stage
from tests.support.client import rawwebsocket as raw
from tests.support.client.rawwebsocket import NONCE
from tests.support.machines import virtualtime
from tests.support.process import serving


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
        ({"content_length": "5"}, "bad_http"),
        ({"transfer_encoding": "chunked"}, "bad_http"),
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
    assert client.protocol.close_code == 1000


def test_a_frame_that_is_none_closes_the_socket(client: ClientConnection) -> None:
    client.socket.sendall(b"\xff\xff\xff\xff")
    with pytest.raises(ConnectionClosed) as closed:
        client.recv()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1002


def test_two_keys_are_no_handshake() -> None:
    given = [("sec-websocket-version", "13"), ("connection", "upgrade")]
    keys = [("sec-websocket-key", NONCE)] * 2
    with pytest.raises(ApiError) as refused:
        websocket.accept(Request("GET", "/", Headers(given + keys), "", no_body))
    assert refused.value.code == "bad_http"


def test_another_version_is_told_what_is_spoken() -> None:
    with pytest.raises(ApiError) as refused:
        websocket.accept(handshake(sec_websocket_version="8"))
    _, headers, _ = refused.value.response([])
    assert {"sec-websocket-version": "13", "upgrade": "websocket"}.items() <= dict(headers).items()


@pytest.mark.parametrize("size", [0, 125, 126, 2**16 - 1, 2**16])
def test_a_text_has_the_frame_that_the_library_makes(size: int) -> None:
    text = "x" * size
    made = Connection(ConnectionType.SERVER).send(frames.TextMessage(text))
    assert websocket.text_frame(text.encode()) == made


FAULTS = {
    "unmasked": (raw.frame(raw.TEXT, b"{}", masked=False), 1002),
    "compressed": (b"\xc1" + raw.frame(raw.TEXT, b"{}")[1:], 1002),
    "continued from nothing": (raw.frame(0, b"{}"), 1002),
    "begun twice": (raw.frame(raw.TEXT, b"{", last=False) + raw.frame(raw.TEXT, b"}"), 1002),
    "a long ping": (raw.frame(raw.PING, b"x" * 126), 1002),
    "a ping in pieces": (raw.frame(raw.PING, b"x", last=False), 1002),
    "a kind that there is not": (raw.frame(3), 1002),
    "a length past all": (b"\x81\xff" + struct.pack(">Q", 1 << 63), 1002),
    "a close of one byte": (raw.frame(raw.CLOSE, b"x"), 1002),
    "a close of no code": (raw.frame(raw.CLOSE, struct.pack(">H", 1005)), 1002),
    "no UTF-8": (raw.frame(raw.TEXT, b"\xff"), 1007),
    "no UTF-8 in two": (raw.frame(raw.TEXT, b"\xc3", last=False) + raw.frame(0, b"("), 1007),
    "bytes": (raw.frame(raw.BINARY, b"{}"), 1003),
    "too much": (raw.frame(raw.TEXT, b"x" * 4097), 1009),
    "too much in pieces": (
        raw.frame(raw.TEXT, b"x", last=False) + raw.frame(0, b"x", last=False) * 4096,
        1009,
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_ends_the_connection_though_its_client_says_no_more(
    server: serving.Serve, name: str
) -> None:
    fault, code = FAULTS[name]
    with raw.Raw(server) as client:
        assert client.status() == 101
        client.socket.sendall(fault + raw.asks())
        assert client.closed() == (code, websocket.REASONS[code])


def test_what_comes_with_the_handshake_and_in_pieces_is_read(server: serving.Serve) -> None:
    asked = raw.asks()[6:]
    pieces = b"".join(raw.frame(0, asked[at : at + 1], last=False) for at in range(1, len(asked)))
    first = raw.frame(raw.TEXT, asked[:1], last=False)
    ping = raw.frame(raw.PING, b"within")
    whole = raw.handshake(*raw.HANDSHAKE) + first + ping + pieces + raw.frame(0)
    with raw.Raw(server, first=whole) as client:
        assert client.status() == 101
        assert client.frame() == (raw.PONG, b"within")
        assert client.event()["type"] == "response.created"


@pytest.mark.parametrize("code", [b"", struct.pack(">H", 1000), struct.pack(">H", 4000)])
def test_a_close_is_answered_with_its_code(server: serving.Serve, code: bytes) -> None:
    with raw.Raw(server) as client:
        client.status()
        client.socket.sendall(raw.frame(raw.CLOSE, code))
        assert client.closed() == (int.from_bytes(code, "big"), "")


class Switched:
    """What a socket needs of an exchange: pieces that come, and what becomes of it.

    Attributes:
        sent: to the client.
        left: whether the client was lost.
    """

    def __init__(self) -> None:
        self.stage = Stage.SWITCHED
        self.sent = b""
        self._pieces: asyncio.Queue[bytes] = asyncio.Queue()

    def come(self, *pieces: bytes) -> None:
        for piece in pieces:
            self._pieces.put_nowait(piece)

    async def received(self) -> list[bytes]:
        return [await self._pieces.get()]

    def transmit(self, data: bytes) -> None:
        self.sent += data

    def lose(self, stage: Stage) -> None:
        self.stage = stage


async def reading(
    exchange: Any, **limits: float
) -> tuple[websocket.WebSocket, asyncio.Task[None]]:
    """A socket, and the task that reads it until what has come is taken."""
    socket = websocket.WebSocket(exchange, 1 << 20, **limits)
    task = asyncio.create_task(socket.read())
    await asyncio.sleep(0.001)
    return socket, task


def test_one_long_message_is_read_ahead_and_no_second() -> None:
    async def main() -> None:
        exchange = Switched()
        long = raw.frame(raw.TEXT, b"x" * websocket.AHEAD_BYTES)
        exchange.come(long, long, raw.frame(raw.PING, b"behind"))
        socket, task = await reading(exchange)
        assert exchange._pieces.qsize() == 2
        await socket.message()
        await asyncio.sleep(0.001)
        assert exchange._pieces.qsize() == 1
        task.cancel()  # it waits, and lets go
        with pytest.raises(asyncio.CancelledError):
            await task

    virtualtime.run(main())


def test_a_flood_of_pings_is_answered_once_a_read() -> None:
    async def main() -> bytes:
        exchange = Switched()
        exchange.come(raw.frame(raw.PING, b"first") * 1000 + raw.frame(raw.PING, b"last"))
        _, task = await reading(exchange)
        task.cancel()
        return exchange.sent

    assert virtualtime.run(main()) == raw.frame(raw.PONG, b"last", masked=False)


@pytest.mark.parametrize("sent", [raw.frame(raw.CLOSE), raw.frame(raw.BINARY), b""])
def test_whoever_closes_has_lost_the_answer_in_hand(sent: bytes) -> None:
    async def main() -> Stage:
        exchange = Switched()
        exchange.come(raw.frame(raw.TEXT, b"{}"), sent)
        socket, task = await reading(exchange)
        await task
        assert await socket.message() is None
        return exchange.stage

    assert virtualtime.run(main()) is Stage.LEFT


async def waited(*, answers: bool, **limits: float) -> tuple[float, bytes]:
    """How long a socket waits for a client that says nothing, and what it sends meanwhile."""
    exchange = Switched()
    socket, task = await reading(exchange, **limits)

    async def answer() -> None:
        while True:
            await asyncio.sleep(1)
            exchange.come(raw.frame(raw.PONG))

    answering = asyncio.create_task(answer()) if answers else None
    began = asyncio.get_running_loop().time()
    assert await socket.message() is None
    for each in (task, answering):
        if each is not None:
            each.cancel()
    return asyncio.get_running_loop().time() - began, exchange.sent


def test_who_answers_no_ping_is_lost() -> None:
    seconds, sent = virtualtime.run(waited(answers=False))
    assert round(seconds) == 2 * websocket.PING_S
    assert sent.startswith(raw.frame(raw.PING, masked=False))
    assert sent.endswith(struct.pack(">H", 1001) + b"no ping was answered")


def test_who_only_answers_pings_is_told_to_go_in_the_end() -> None:
    seconds, sent = virtualtime.run(waited(answers=True, idle=90.0))
    assert round(seconds) == 90
    assert sent.count(raw.frame(raw.PING, masked=False)) == 4
    assert sent.endswith(struct.pack(">H", 1001) + b"nothing was asked for too long")
