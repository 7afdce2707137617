"""A model provider on loopback that answers the Responses API as a test's script says.

It runs in a thread with a loop of its own, so that sync tests and tests with a loop can use it:

    script = {"hi": replies.Stream((replies.Message(("Hel", "lo")),))}
    with Provider(script) as provider:
        ...  # point Codex at provider.url
        assert provider.requests[0].key == "sk-test"

A test that has a loop awaits a request's events with `asyncio.to_thread`.
"""

import asyncio
import dataclasses
import itertools
import json
import socket
import struct
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Self

from tests.support.providers.replies import (
    Answer,
    Cut,
    Gate,
    Held,
    HttpError,
    Json,
    Message,
    Step,
    Stream,
    events,
)


@dataclasses.dataclass
class Request:
    """One request as the provider saw it.

    Attributes:
        headers: by lower-case name.
        received: `time.monotonic()` when the whole request was here.
        left: set when the peer closed the connection before the answer's end.
        left_at: when that was seen.
        answered: set when the whole answer was handed to the socket.
    """

    path: str
    headers: dict[str, str]
    body: Json
    received: float
    left: threading.Event = dataclasses.field(default_factory=threading.Event)
    left_at: float | None = None
    answered: threading.Event = dataclasses.field(default_factory=threading.Event)

    @property
    def key(self) -> str | None:
        """The bearer token, None without one."""
        scheme, _, token = self.headers.get("authorization", "").partition(" ")
        return token if scheme == "Bearer" else None

    @property
    def messages(self) -> list[tuple[str, str]]:
        """Role and text of each message of the input, in order."""
        return [
            (item["role"], "".join(part.get("text", "") for part in item["content"]))
            for item in self.body["input"]
            if item["type"] == "message"
        ]

    @property
    def prompt(self) -> str:
        """Text of the last user message, empty without one."""
        return next((text for role, text in reversed(self.messages) if role == "user"), "")


Script = Mapping[str, Answer] | Callable[[Request], Answer]
"""Answers by the text of the last user message, or a function of the request."""

HELLO = Stream((Message(("Hello", " world")),))
"""The answer to what a script does not name."""


def in_turn(*answers: Answer) -> Callable[[Request], Answer]:
    """A script of one answer a request, the last of them for all that follow."""
    remaining = itertools.chain(answers, itertools.repeat(answers[-1]))
    return lambda request: next(remaining)


class Provider:
    """A server on a free loopback port while its `with` block lasts."""

    def __init__(self, script: Script | None = None, default: Answer = HELLO) -> None:
        self._script: Script = script if script is not None else {}
        self._default = default
        self._arrived = threading.Condition()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="provider")
        self._tasks: set[asyncio.Task[None]] = set()
        self._response_ids = itertools.count(1)
        self.requests: list[Request] = []
        """Requests for `/v1/responses`, in the order they came."""
        self.strays: list[str] = []
        """Method and path of all other requests; each was answered with 404."""

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/v1"
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result()
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def wait_for(self, count: int, timeout: float = 10.0) -> Request:
        """The `count`-th request, once it has come.

        Raises:
            TimeoutError: if it has not come within `timeout` seconds.
        """
        with self._arrived:
            if not self._arrived.wait_for(lambda: len(self.requests) >= count, timeout):
                raise TimeoutError(f"{len(self.requests)} of {count} requests after {timeout} s")
        return self.requests[count - 1]

    async def _listen(self) -> asyncio.Server:
        return await asyncio.start_server(self._connected, sock=self._listener, limit=1 << 20)

    async def _close(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.sleep(0)  # an aborted transport closes its socket in the next round

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._serve(reader, writer)
            writer.close()
            await writer.wait_closed()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the peer left: `Request.left` says so, or no request came
        finally:
            writer.transport.abort()
            self._tasks.discard(task)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await _read_request(reader)
        if request.path != "POST /v1/responses":
            self.strays.append(request.path)
            await _send_error(writer, HttpError(404))
            return
        with self._arrived:
            self.requests.append(request)
            self._arrived.notify_all()
        answering = asyncio.create_task(self._answer(request, writer))
        leaving = asyncio.create_task(reader.read(1))
        try:
            await asyncio.wait((answering, leaving), return_when=asyncio.FIRST_COMPLETED)
        finally:
            done = answering.done()
            answering.cancel()
            leaving.cancel()
            failed, _ = await asyncio.gather(answering, leaving, return_exceptions=True)
        if not done or isinstance(failed, ConnectionError):
            request.left_at = time.monotonic()
            request.left.set()
        elif failed is not None:
            raise failed

    async def _answer(self, request: Request, writer: asyncio.StreamWriter) -> None:
        answer = self._choose(request)
        if isinstance(answer, Held):
            await answer.gate.passed()
            answer = answer.answer
        match answer:
            case Stream():
                await self._stream(answer, request, writer)
            case HttpError():
                await _send_error(writer, answer)
            case Cut():
                _reset(writer)
        request.answered.set()

    def _choose(self, request: Request) -> Answer:
        if callable(self._script):
            return self._script(request)
        return self._script.get(request.prompt, self._default)

    async def _stream(
        self, stream: Stream, request: Request, writer: asyncio.StreamWriter
    ) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n")
        writer.write(b"connection: close\r\n\r\n")
        response_id = f"resp_{next(self._response_ids)}"
        async for event in _paced(events(stream, request.body["model"], response_id), stream):
            if isinstance(event, Cut):
                _reset(writer)
                return
            data = json.dumps(event)
            writer.write(f"event: {event['type']}\ndata: {data}\n\n".encode())
            await writer.drain()


async def _paced(steps: Iterator[Step], stream: Stream) -> AsyncIterator[Json | Cut]:
    for step in steps:
        if isinstance(step, Gate):
            await step.passed()
            continue
        if stream.delay:
            await asyncio.sleep(stream.delay)
        yield step


async def _read_request(reader: asyncio.StreamReader) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    line, *fields = head.rstrip("\r\n").split("\r\n")
    headers = {
        name.lower(): value.strip() for name, _, value in (f.partition(":") for f in fields)
    }
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    method, path, _ = line.split(" ")
    parsed = json.loads(body) if body else {}
    return Request(f"{method} {path}", headers, parsed, time.monotonic())


async def _send_error(writer: asyncio.StreamWriter, error: HttpError) -> None:
    body = json.dumps(error.body).encode()
    fields = (
        ("content-type", "application/json"),
        ("content-length", str(len(body))),
        ("connection", "close"),
        *error.headers,
    )
    head = "".join(f"{name}: {value}\r\n" for name, value in fields)
    writer.write(f"HTTP/1.1 {error.status} Scripted\r\n{head}\r\n".encode() + body)
    await writer.drain()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close so that the peer sees a reset, not an end."""
    connection: socket.socket = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
