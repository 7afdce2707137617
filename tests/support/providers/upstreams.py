"""A raw-socket HTTP server that answers byte by byte as a test's script says, and misbehaves.

    async with upstreams.serving([upstreams.stream(*chunks)]) as upstream:
        ...  # ask upstream.url
        assert upstream.requests[0].body["model"] == "m"

Requests for the listing of models are answered beside the script. It runs in the test's own loop;
`Hosted` is one in a loop of its own, for tests without one.
"""

import asyncio
import contextlib
import dataclasses
import itertools
import json
import socket
import ssl
import struct
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from typing import Any, Final, Literal, Self

from tests.support.process import machinetime

PATIENCE_S: Final = machinetime.HANG_S
"""Seconds after which a test gives up on what should have come at once."""

Json = dict[str, Any]


@dataclasses.dataclass
class Repeated:
    """Bytes that are sent so many times, however much that is together."""

    data: bytes
    times: int


Step = bytes | Repeated | float | asyncio.Event | Literal["reset", "close", "stall"]
"""Bytes are sent at once. Seconds pass. An event is waited for. `close` ends the connection,
`reset` breaks it, `stall` says nothing until the peer leaves."""

Answer = Sequence[Step]
"""What follows a request. A connection that no step ended is kept for the next one."""

Script = Sequence[Answer] | Callable[["Request"], Answer]
"""Answers in turn, the last of them for all that follow, or a function of the request."""


@dataclasses.dataclass
class Request:
    """One request as the upstream saw it.

    Attributes:
        connection: its number, from 0, counting those that asked for a completion.
        headers: by lower-case name.
        sent: bytes of the answer that were handed to the socket so far.
        answered: set when the whole answer was handed to the socket.
        left: set when the peer closed the connection before its end.
    """

    connection: int
    line: str
    headers: dict[str, str]
    raw: bytes
    sent: int = 0
    answered: asyncio.Event = dataclasses.field(default_factory=asyncio.Event)
    left: asyncio.Event = dataclasses.field(default_factory=asyncio.Event)

    @property
    def body(self) -> Any:
        """The body, decoded."""
        return json.loads(self.raw)

    @property
    def prompt(self) -> Any:
        """The content of the last message."""
        return self.body["messages"][-1]["content"]


def chunk(text: str | None = None, finish: str | None = None, **members: Any) -> Json:
    """A chunk as OpenAI writes it, with other members in place of its own or beside them."""
    delta = {} if text is None else {"content": text}
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    return {
        "id": "chatcmpl-upstream",
        "object": "chat.completion.chunk",
        "created": 1_700_000_000,
        "model": "upstream-model",
        "choices": [choice],
        **members,
    }


def usage(prompt: int, completion: int) -> Json:
    """Counts."""
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }


def counted(prompt: int, completion: int) -> Json:
    """The chunk that follows the finish."""
    return chunk(choices=[], usage=usage(prompt, completion))


def sse(*chunks: Json | str) -> bytes:
    """Events; a text is data as it stands."""
    datas = (each if isinstance(each, str) else json.dumps(each) for each in chunks)
    return "".join(f"data: {data}\n\n" for data in datas).encode()


DONE: Final = sse("[DONE]")


def head(status: int = 200, *headers: str, kind: str | None = "text/event-stream") -> bytes:
    """The head of a response."""
    kinds = [] if kind is None else [f"content-type: {kind}"]
    lines = [f"HTTP/1.1 {status} Said", *kinds, *headers]
    return "".join(f"{line}\r\n" for line in [*lines, ""]).encode()


STREAM_HEAD: Final = head(200, "transfer-encoding: chunked")
"""The head of a stream as servers send it."""

LAST: Final = b"0\r\n\r\n"
"""The end of such a body."""


def framed(data: bytes) -> bytes:
    """One HTTP chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def stream(*chunks: Json | str) -> Answer:
    """A whole stream, each event an HTTP chunk, the sentinel and the end of the body included."""
    return [STREAM_HEAD, *(framed(sse(each)) for each in chunks), framed(DONE), LAST]


PLAIN: Final = stream(chunk("Hello"), chunk(" world"), chunk(finish="stop"), counted(7, 2))
"""An answer with nothing wrong."""


def raw_stream(body: bytes) -> Answer:
    """A whole stream of these bytes."""
    return [STREAM_HEAD, framed(body), LAST]


def response(status: int, body: Json | bytes, *headers: str, kind: str | None = None) -> Answer:
    """A response of known length."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    length = f"content-length: {len(data)}"
    return [head(status, length, *headers, kind=kind or "application/json") + data]


class Upstream:
    """The server; made by `serving`."""

    def __init__(self, script: Script, models: Answer) -> None:
        self._script = script
        self._connections = 0
        self.idle_connections = 0
        """Open connections on which no answer is owed."""
        self._grown = asyncio.Condition()
        self._peers: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self._listener: asyncio.Server | None = None
        self.models = models
        """The answer to who asks for the models."""
        self.requests: list[Request] = []
        """Requests for completions, in the order they came."""
        self.listings: list[Request] = []
        """Requests for the listing of models."""
        self.port = 0

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
        listener = asyncio.start_server(self._serve, "127.0.0.1", port, ssl=context)
        self._listener = await listener
        self.port = self._listener.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """End the listener and every connection."""
        assert self._listener is not None
        self._listener.close()
        peers = dict(self._peers)
        for task in peers:
            task.cancel()
        await asyncio.gather(*peers, return_exceptions=True)
        await self._listener.wait_closed()

    async def until(self, what: Callable[[], object]) -> None:
        """Wait until something is so of the requests or the connections."""
        async with asyncio.timeout(PATIENCE_S), self._grown:
            await self._grown.wait_for(what)

    async def _changed(self) -> None:
        async with self._grown:
            self._grown.notify_all()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._peers[task] = writer
        number: int | None = None
        try:
            while (request := await self._read(reader)) is not None:
                if "/models" in request.line:
                    self.listings.append(request)
                    answer = self.models
                else:
                    if number is None:
                        number, self._connections = self._connections, self._connections + 1
                    request.connection = number
                    self.requests.append(request)
                    answer = self._answer(request)
                await self._changed()
                try:
                    if not await self._play(answer, reader, writer, request):
                        break
                except ConnectionError:
                    request.left.set()
                    raise
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            del self._peers[task]
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
            await self._changed()

    def _answer(self, request: Request) -> Answer:
        if callable(self._script):
            return self._script(request)
        return self._script[min(len(self.requests), len(self._script)) - 1]

    async def _read(self, reader: asyncio.StreamReader) -> Request | None:
        self.idle_connections += 1
        try:
            top = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return None
        finally:
            self.idle_connections -= 1
        line, *lines = top.decode().rstrip("\r\n").split("\r\n")
        headers = {name.lower(): value for name, value in (each.split(": ", 1) for each in lines)}
        raw = await reader.readexactly(int(headers.get("content-length", 0)))
        return Request(-1, line, headers, raw)

    async def _play(
        self,
        answer: Answer,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        request: Request,
    ) -> bool:
        """Play an answer; whether the connection is kept."""
        for step in answer:
            match step:
                case bytes():
                    await _send(writer, request, step)
                case Repeated(data, times):
                    for _ in range(times):
                        await _send(writer, request, data)
                case float():
                    await asyncio.sleep(step)
                case asyncio.Event():
                    await step.wait()
                case "stall":
                    with contextlib.suppress(ConnectionError):
                        await reader.read()
                    request.left.set()
                    return False
                case "reset":
                    reset(writer)
                    return False
                case "close":
                    return False
        request.answered.set()
        return True


async def _send(writer: asyncio.StreamWriter, request: Request, data: bytes) -> None:
    writer.write(data)
    await writer.drain()
    request.sent += len(data)
    # A write of its own is a read of its own, as far as a loop can say.
    await asyncio.sleep(0)


def reset(writer: asyncio.StreamWriter) -> None:
    """Close a connection with a reset."""
    tcp = writer.get_extra_info("socket")
    tcp.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


LISTED: Final = response(
    200, {"object": "list", "data": [{"id": "upstream-model"}, {"id": "whole"}]}
)
"""The listing of models, unless a test says otherwise."""


@contextlib.asynccontextmanager
async def serving(script: Script = (), models: Answer = LISTED) -> AsyncIterator[Upstream]:
    """An upstream on a free port of loopback, closed at the end."""
    upstream = Upstream(script, models)
    await upstream.open()
    try:
        yield upstream
    finally:
        await upstream.close()


class Hosted:
    """An upstream in a thread of its own, which answers each prompt as a test has planned it.

        with upstreams.Hosted() as hosted:
            prompt = hosted.prompt([upstreams.STREAM_HEAD, "reset"])
            ...  # ask hosted.url for the answer to that prompt
            assert len(hosted.requests(prompt)) == 1

    Any other prompt gets `PLAIN`.
    """

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.upstream = Upstream(self._answer, LISTED)
        self._context = context
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._numbers = itertools.count(1)
        self._plans: dict[str, list[Answer]] = {}

    def __enter__(self) -> Self:
        self._thread.start()
        self.run(self.upstream.open(context=self._context))
        return self

    def __exit__(self, *_: object) -> None:
        self.run(self.upstream.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def url(self) -> str:
        """The base URL of its API."""
        return self.upstream.url

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Have something done in its loop, and wait for it."""
        asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE_S)

    def prompt(self, *answers: Answer) -> str:
        """A new prompt, and the answers to it in turn, the last of them for all that follow."""
        prompt = f"prompt {next(self._numbers)}"
        self._plans[prompt] = list(answers)
        return prompt

    def open(self, gate: asyncio.Event) -> None:
        """Let the answers go on that wait there."""
        self._loop.call_soon_threadsafe(gate.set)

    def requests(self, prompt: str) -> list[Request]:
        """Every request with that prompt."""
        return [request for request in list(self.upstream.requests) if request.prompt == prompt]

    def request(self, prompt: str) -> Request:
        """The first request with that prompt, once it has come."""
        deadline = time.monotonic() + PATIENCE_S
        while not (found := self.requests(prompt)):
            assert time.monotonic() < deadline, "the upstream was not asked"
            threading.Event().wait(0.002)
        return found[0]

    def _answer(self, request: Request) -> Answer:
        prompt = request.prompt
        answers = self._plans.get(prompt, [PLAIN]) if isinstance(prompt, str) else [PLAIN]
        return answers.pop(0) if len(answers) > 1 else answers[0]
