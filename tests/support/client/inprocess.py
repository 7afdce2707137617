"""An HTTP server in the test's own loop, handlers for it, and clients that send it any bytes."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator

from server.http import exchange as http, listener
from tests.support.client import httpwire
from tests.support.process import machinetime

EPOCH = 784111777.0
"""Sun, 06 Nov 1994 08:49:37 GMT, the date of RFC 9110's examples."""

WAIT = machinetime.HANG_S
"""Seconds after which a test gives up on an event that should have come at once."""


class Client:
    """One connection to the server under test.

    Attributes:
        is_reset: whether it ended with a reset.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._received = bytearray()
        self.is_reset = False
        self.address: tuple[str, int] = writer.get_extra_info("sockname")

    async def send(self, data: bytes) -> None:
        """Send bytes and let the server's side of the loop see them."""
        self._writer.write(data)
        await self._writer.drain()
        await asyncio.sleep(0)

    async def response(self, method: str = "GET") -> httpwire.Response:
        """Read the next response."""
        reader = httpwire.ResponseReader(self._received, method)
        async with asyncio.timeout(WAIT):
            while reader.end is httpwire.End.OPEN:
                data = await self._read()
                if self.is_reset:
                    reader.break_off()
                else:
                    reader.take(data)
        return reader.response()

    async def ask(self, data: bytes, method: str = "GET") -> httpwire.Response:
        """Send a request and read its response."""
        await self.send(data)
        return await self.response(method)

    async def until(self, marker: bytes) -> bytes:
        """Everything as far as a marker."""
        async with asyncio.timeout(WAIT):
            while (at := self._received.find(marker)) < 0:
                data = await self._read()
                assert data, f"the connection ended: {bytes(self._received)!r}"
                self._received += data
        found = bytes(self._received[: at + len(marker)])
        del self._received[: at + len(marker)]
        return found

    async def rest(self) -> bytes:
        """Everything until the server closes; a reset counts as one."""
        async with asyncio.timeout(WAIT):
            while data := await self._read():
                self._received += data
        found = bytes(self._received)
        self._received.clear()
        return found

    async def _read(self) -> bytes:
        try:
            return await self._reader.read(65536)
        except ConnectionError:
            self.is_reset = True
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
