"""A scripted HTTP server on loopback, in place of what stands behind the server under test.

It answers byte by byte as a test's script says, misbehaves where that says so, and keeps what it
was asked. It has two dialects: `provider`, the Responses API that Codex asks, and `upstreams`, the
Chat Completions of an upstream. Each says which requests count, what their prompts are, and what
the bytes of its answers are.

`Server` runs in the test's own loop; `Hosted` has a thread with a loop of its own.
"""

import asyncio
import dataclasses
import json
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Final, Generic, Literal, Self, TypeVar

from tests.support.process import machinetime

PATIENCE_S: Final = machinetime.HANG_S
"""Seconds after which a test gives up on what should have come at once."""

Json = dict[str, Any]


class Flag:
    """Something that happens once, waited for in any thread and in any loop."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._happened = threading.Event()
        self._waiting: dict[asyncio.Event, asyncio.AbstractEventLoop] = {}

    def set(self) -> None:
        """It happens: everybody goes on, now and later."""
        with self._lock:
            self._happened.set()
            for event, loop in self._waiting.items():
                loop.call_soon_threadsafe(event.set)

    def is_set(self) -> bool:
        """Whether it has happened."""
        return self._happened.is_set()

    def wait(self, timeout: float) -> bool:
        """Wait in a thread, for so many seconds at most; whether it has happened."""
        return self._happened.wait(timeout)

    async def reached(self) -> None:
        """Wait in a loop."""
        event = asyncio.Event()
        with self._lock:
            if self._happened.is_set():
                return
            self._waiting[event] = asyncio.get_running_loop()
        try:
            await event.wait()
        finally:
            with self._lock:
                del self._waiting[event]


class Gate(Flag):
    """Holds every answer that reaches it until a test opens it."""

    def open(self) -> None:
        """Let everything pass, now and later."""
        self.set()


@dataclasses.dataclass
class Repeated:
    """Bytes that are sent so many times, however much that is together."""

    data: bytes
    times: int


Step = bytes | Repeated | float | Gate | Literal["reset", "close", "stall"]
"""Bytes are sent at once. Seconds pass. A gate is waited for. `close` ends the connection, `reset`
breaks it, `stall` says nothing until the peer leaves."""

Steps = Iterable[Step]
"""What follows a request. A connection that no step ended is kept for the next one."""


@dataclasses.dataclass
class Request:
    """One request as the server saw it.

    Attributes:
        connection: its number, from 0, counting those that asked for an answer.
        line: method, target and version.
        headers: by lower-case name.
        received: `time.monotonic()` when the whole request was here.
        sent: bytes of the answer that were handed to the socket so far.
        answered: set when all that the script has was done.
        left: set when the peer closed the connection before that.
        left_at: `time.monotonic()` when that was seen.
    """

    connection: int
    line: str
    headers: dict[str, str]
    raw: bytes
    received: float = dataclasses.field(default_factory=time.monotonic)
    sent: int = 0
    answered: Flag = dataclasses.field(default_factory=Flag)
    left: Flag = dataclasses.field(default_factory=Flag)
    left_at: float | None = None

    @property
    def path(self) -> str:
        """Method and target."""
        return self.line.rpartition(" ")[0]

    @property
    def body(self) -> Any:
        """The body, decoded."""
        return json.loads(self.raw)

    @property
    def key(self) -> str | None:
        """The bearer token, None without one."""
        scheme, _, token = self.headers.get("authorization", "").partition(" ")
        return token if scheme == "Bearer" else None

    def leave(self) -> None:
        """The peer has left."""
        if not self.left.is_set():
            self.left_at = time.monotonic()
            self.left.set()


R = TypeVar("R", bound=Request)


class Server(Generic[R]):
    """A scripted server in the loop that opens it; a dialect says what it answers.

    Args:
        request_type: how requests of the dialect are read.
    """

    def __init__(self, request_type: type[R]) -> None:
        self._request_type = request_type
        self._connections = 0
        self.idle_connections = 0
        """Open connections on which no answer is owed."""
        self._grown = asyncio.Condition()
        self._peers: set[asyncio.Task[None]] = set()
        self._listener: asyncio.Server | None = None
        self.requests: list[R] = []
        """Requests for answers, in the order they came."""
        self.port = 0

    def answer(self, request: R) -> Steps:
        """What the script has for a request, which is among `requests`."""
        raise NotImplementedError

    def answer_aside(self, request: R) -> Steps | None:
        """The answer to a request that is for something else; None for one that counts."""
        raise NotImplementedError

    @property
    def url(self) -> str:
        """The base URL of its API."""
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def open_connections(self) -> int:
        """Connections that neither side has closed."""
        return len(self._peers)

    async def open(self, port: int = 0, context: ssl.SSLContext | None = None) -> None:
        """Listen, on a free port if none is given, and with TLS if that is."""
        self._listener = await asyncio.get_running_loop().create_server(
            lambda: _Connection(self._serve), "127.0.0.1", port, ssl=context, backlog=1024
        )
        self.port = self._listener.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """End the listener and every connection."""
        assert self._listener is not None
        self._listener.close()
        peers = list(self._peers)
        for task in peers:
            task.cancel()
        await asyncio.gather(*peers, return_exceptions=True)
        await self._listener.wait_closed()
        await asyncio.sleep(0)  # an aborted transport closes its socket in the next round

    async def until(self, what: Callable[[], object]) -> None:
        """Wait until something is so of the requests or the connections."""
        async with asyncio.timeout(PATIENCE_S), self._grown:
            await self._grown.wait_for(what)

    async def _changed(self) -> None:
        async with self._grown:
            self._grown.notify_all()

    async def _serve(self, peer: "_Connection", writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._peers.add(task)
        try:
            await self._converse(peer, writer)
            writer.close()
            await writer.wait_closed()
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the peer left, or a test is over
        finally:
            writer.transport.abort()
            self._peers.discard(task)
            await self._changed()

    async def _converse(self, peer: "_Connection", writer: asyncio.StreamWriter) -> None:
        number: int | None = None
        while (request := await self._read(peer.reader)) is not None:
            answer = self.answer_aside(request)
            if answer is None:
                if number is None:
                    number, self._connections = self._connections, self._connections + 1
                request.connection = number
                self.requests.append(request)
                answer = self.answer(request)
            await self._changed()
            if not await _play(answer, peer, writer, request):
                return

    async def _read(self, reader: asyncio.StreamReader) -> R | None:
        self.idle_connections += 1
        try:
            top = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return None
        finally:
            self.idle_connections -= 1
        line, *lines = top.decode("latin-1").rstrip("\r\n").split("\r\n")
        fields = (each.partition(":") for each in lines)
        headers = {name.lower(): value.strip() for name, _, value in fields}
        raw = await reader.readexactly(int(headers.get("content-length", 0)))
        return self._request_type(-1, line, headers, raw)


class _Connection(asyncio.StreamReaderProtocol):
    """A connection that notices at once when its peer leaves, whatever is being read."""

    def __init__(
        self,
        serve: Callable[["_Connection", asyncio.StreamWriter], Coroutine[Any, Any, None]],
    ) -> None:
        self.reader = asyncio.StreamReader(limit=1 << 20)
        self.gone = asyncio.Event()
        super().__init__(self.reader, lambda _, writer: serve(self, writer))

    def eof_received(self) -> bool | None:
        self.gone.set()
        return super().eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self.gone.set()
        super().connection_lost(exc)


async def _play(
    answer: Steps, peer: _Connection, writer: asyncio.StreamWriter, request: Request
) -> bool:
    """Play an answer, until its peer leaves at the latest; whether the connection is kept."""
    playing = asyncio.create_task(_steps(answer, writer, request))
    leaving = asyncio.create_task(peer.gone.wait())
    try:
        await asyncio.wait((playing, leaving), return_when=asyncio.FIRST_COMPLETED)
        await asyncio.sleep(0)  # one that has just sent all of it is through, too
    finally:
        if peer.gone.is_set() and not playing.done():
            request.leave()
        playing.cancel()
        leaving.cancel()
        result, _ = await asyncio.gather(playing, leaving, return_exceptions=True)
    if isinstance(result, ConnectionError | asyncio.CancelledError):
        request.leave()
        return False
    if isinstance(result, BaseException):
        raise result
    request.answered.set()
    return result


async def _steps(answer: Steps, writer: asyncio.StreamWriter, request: Request) -> bool:
    """Play the steps of an answer; whether the connection is kept."""
    for step in answer:
        match step:
            case bytes():
                await _send(writer, request, step)
            case Repeated(data, times):
                for _ in range(times):
                    await _send(writer, request, data)
            case float():
                await asyncio.sleep(step)
            case Gate():
                await step.reached()
            case "stall":
                await asyncio.Event().wait()
            case "reset":
                reset(writer)
                return False
            case "close":
                return False
    return True


async def _send(writer: asyncio.StreamWriter, request: Request, data: bytes) -> None:
    writer.write(data)
    await writer.drain()
    request.sent += len(data)
    # A write of its own is a read of its own, as far as a loop can say.
    await asyncio.sleep(0)


def reset(writer: asyncio.StreamWriter) -> None:
    """Close a connection so that its peer sees a reset, not an end."""
    tcp: socket.socket = writer.get_extra_info("socket")
    tcp.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


S = TypeVar("S", bound=Server[Any])


class Hosted(Generic[S]):
    """A scripted server in a thread with a loop of its own, while its `with` block lasts."""

    def __init__(self, server: S, context: ssl.SSLContext | None = None) -> None:
        self.server = server
        self._context = context
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self.run(self.server.open(context=self._context))
        return self

    def __exit__(self, *_: object) -> None:
        self.run(self.server.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def url(self) -> str:
        """The base URL of its API."""
        return self.server.url

    @property
    def port(self) -> int:
        """Where it listens."""
        return self.server.port

    @property
    def requests(self) -> list[Any]:
        """Requests for answers, in the order they came."""
        return self.server.requests

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Have something done in its loop, and wait for it."""
        asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE_S)

    def wait(self, what: Callable[[], object], seconds: float) -> None:
        """Wait until something is so of its requests.

        Raises:
            TimeoutError: if it is not within so many seconds.
        """
        waiting = asyncio.run_coroutine_threadsafe(self.server.until(what), self._loop)
        try:
            waiting.result(seconds)
        finally:
            waiting.cancel()
