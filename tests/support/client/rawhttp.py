"""A client that speaks HTTP in raw bytes, and handlers for the server it talks to."""

import asyncio
import contextlib
import json
import socket
import struct
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

from server.http import exchange as http, listener
from tests.support.process import machinetime

EPOCH = 784111777.0
"""Sun, 06 Nov 1994 08:49:37 GMT, the date of RFC 9110's examples."""

WAIT = machinetime.HANG_S
"""Seconds after which a test gives up on an event that should have come at once."""

CUT = -1
"""Stands for the status where the connection ended without a response."""


class Response(NamedTuple):
    """A response as it came, header names in lower case.

    `whole` is false if the connection ended within its body.
    """

    status: int
    headers: dict[str, str]
    body: bytes
    whole: bool

    @property
    def code(self) -> Any:
        """The `code` of an error envelope, all of whose four keys are there."""
        error = json.loads(self.body)["error"]
        assert set(error) == {"message", "type", "param", "code"}
        return error["code"]


class Client:
    """One connection to the server under test."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self._writer = writer
        self.address: tuple[str, int] = writer.get_extra_info("sockname")

    async def send(self, data: bytes) -> None:
        """Send bytes and let the server's side of the loop see them."""
        self._writer.write(data)
        await self._writer.drain()
        await asyncio.sleep(0)

    async def response(self, method: str = "GET") -> Response:
        """Read the next response."""
        async with asyncio.timeout(WAIT):
            try:
                head = await self.reader.readuntil(b"\r\n\r\n")
            except (asyncio.IncompleteReadError, ConnectionError):
                return Response(CUT, {}, b"", False)
            status_line, *lines = head.decode().rstrip("\r\n").split("\r\n")
            pairs = (line.split(": ", 1) for line in lines)
            headers = {name.lower(): value for name, value in pairs}
            assert len(headers) == len(lines), f"a header came twice: {lines}"
            status = int(status_line.split(" ")[1])
            assert status_line.startswith("HTTP/1.1 ")
            body, whole = await self._body(method, status, headers)
            return Response(status, headers, body, whole)

    async def ask(self, data: bytes, method: str = "GET") -> Response:
        """Send a request and read its response."""
        await self.send(data)
        return await self.response(method)

    async def rest(self) -> bytes:
        """Everything until the server closes; a reset counts as one."""
        async with asyncio.timeout(WAIT):
            try:
                return await self.reader.read()
            except ConnectionError:
                return b""

    def half_close(self) -> None:
        """Send no more, read on."""
        self._writer.write_eof()

    async def close(self) -> None:
        """Leave in the ordinary way."""
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    async def reset(self) -> None:
        """Leave with a reset."""
        tcp = self._writer.get_extra_info("socket")
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    async def _body(self, method: str, status: int, headers: dict[str, str]) -> tuple[bytes, bool]:
        if method == "HEAD" or status < 200 or status in (204, 304):
            return b"", True
        try:
            if "content-length" in headers:
                return await self.reader.readexactly(int(headers["content-length"])), True
            if headers.get("transfer-encoding") == "chunked":
                return await self._chunks()
            return await self.reader.read(), True
        except (asyncio.IncompleteReadError, ConnectionError):
            return b"", False

    async def _chunks(self) -> tuple[bytes, bool]:
        body = b""
        try:
            while size := int(await self.reader.readuntil(b"\r\n"), 16):
                body += (await self.reader.readexactly(size + 2))[:-2]
            await self.reader.readexactly(2)
        except (asyncio.IncompleteReadError, ConnectionError):
            return body, False
        return body, True


class Server:
    """The server under test, where it listens, and the clients it was given."""

    def __init__(self, server: listener.HttpServer, host: str, port: int) -> None:
        self.http = server
        self.host = host
        self.port = port
        self._clients: list[Client] = []

    async def connect(self) -> Client:
        """A new client, closed with the server at the latest."""
        client = Client(*await asyncio.open_connection(self.host, self.port))
        self._clients.append(client)
        return client

    async def close(self) -> None:
        """Close the server and every client."""
        await self.http.close()
        for client in self._clients:
            await client.close()

    async def slow_socket(self) -> socket.socket:
        """A connected socket with a small buffer, which reads only when told to."""
        slow = socket.socket()
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.setblocking(False)
        await asyncio.get_running_loop().sock_connect(slow, (self.host, self.port))
        return slow


@contextlib.asynccontextmanager
async def serving(
    handler: http.Handler, limits: http.Limits | None = None
) -> AsyncIterator[Server]:
    """A server on a free port of loopback, closed at the end."""
    listening = listener.HttpServer(handler, limits or http.Limits(), clock=lambda: EPOCH)
    server = Server(listening, *await listening.start("127.0.0.1", 0))
    try:
        yield server
    finally:
        await server.close()


def get(path: str = "/", *headers: str, method: str = "GET", version: str = "1.1") -> bytes:
    """A request without a body."""
    lines = [f"{method} {path} HTTP/{version}", "host: localhost", *headers]
    return "".join(f"{line}\r\n" for line in [*lines, ""]).encode()


def post(body: bytes, *headers: str, path: str = "/") -> bytes:
    """A request with a body of known length."""
    return get(path, f"content-length: {len(body)}", *headers, method="POST") + body


def chunked(*pieces: bytes, path: str = "/") -> bytes:
    """A request whose body comes in chunks."""
    body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in (*pieces, b""))
    return get(path, "transfer-encoding: chunked", method="POST") + body


async def rounds() -> None:
    """Let the loop turn until whatever was on its way has happened."""
    for _ in range(20):
        await asyncio.sleep(0)


async def echo(exchange: http.Exchange) -> None:
    """Answers with the request's own parts."""
    request = exchange.request
    body = await request.body()
    parts = [request.method, request.path, request.query, body.decode("latin-1")]
    exchange.respond(200, [("content-type", "text/plain")], "|".join(parts).encode())


class Held:
    """A handler that hands each exchange to the test and waits for its end."""

    def __init__(self) -> None:
        self.exchanges: asyncio.Queue[http.Exchange] = asyncio.Queue()
        self.gone: asyncio.Queue[str] = asyncio.Queue()
        self.ended: asyncio.Queue[http.Stage] = asyncio.Queue()

    async def __call__(self, exchange: http.Exchange) -> None:
        exchange.on_gone = self.gone.put_nowait
        self.exchanges.put_nowait(exchange)
        await exchange.finished()
        self.ended.put_nowait(exchange.stage)

    async def next(self) -> http.Exchange:
        """The next request's exchange."""
        async with asyncio.timeout(WAIT):
            return await self.exchanges.get()

    async def cause(self) -> str:
        """Why the next client went."""
        async with asyncio.timeout(WAIT):
            return await self.gone.get()
