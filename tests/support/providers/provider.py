"""The Responses API dialect of the scripted server: the model provider that Codex asks.

    script = {"hi": replies.Stream((replies.Message(("Hel", "lo")),))}
    with Provider(script) as provider:
        ...  # point Codex at provider.url
        assert provider.requests[0].key == "sk-test"

Sync tests and tests with a loop can use it; one that has a loop awaits `request.left.reached()`.
"""

import itertools
import json
from collections.abc import Callable, Iterator, Mapping

from tests.support.providers import scripted
from tests.support.providers.replies import Answer, Cut, Held, HttpError, Message, Stream, events
from tests.support.providers.scripted import Gate

STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"


class Request(scripted.Request):
    """One request as the provider saw it."""

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


class Server(scripted.Server[Request]):
    """A provider in the loop that opens it."""

    def __init__(self, script: Script, default: Answer) -> None:
        super().__init__(Request)
        self._script = script
        self._default = default
        self._response_ids = itertools.count(1)
        self.strays: list[str] = []
        """Method and path of requests for anything else; each is answered with 404."""

    def answer_aside(self, request: Request) -> scripted.Steps | None:
        if request.path == "POST /v1/responses":
            return None
        self.strays.append(request.path)
        return [_error(HttpError(404)), "close"]

    def answer(self, request: Request) -> scripted.Steps:
        if callable(self._script):
            chosen = self._script(request)
        else:
            chosen = self._script.get(request.prompt, self._default)
        return self._steps(chosen, request)

    def _steps(self, answer: Answer, request: Request) -> Iterator[scripted.Step]:
        if isinstance(answer, Held):
            yield answer.gate
            answer = answer.answer
        match answer:
            case Stream():
                yield STREAM_HEAD
                yield from self._stream(answer, request)
            case HttpError():
                yield _error(answer)
            case Cut():
                yield "reset"
        yield "close"

    def _stream(self, stream: Stream, request: Request) -> Iterator[scripted.Step]:
        response_id = f"resp_{next(self._response_ids)}"
        for step in events(stream, request.body["model"], response_id):
            match step:
                case Gate():
                    yield step
                case Cut():
                    yield from _after(stream.delay)
                    yield "reset"
                case _:
                    yield from _after(stream.delay)
                    yield f"event: {step['type']}\ndata: {json.dumps(step)}\n\n".encode()


class Provider(scripted.Hosted[Server]):
    """A provider on a free loopback port while its `with` block lasts."""

    def __init__(self, script: Script | None = None, default: Answer = HELLO) -> None:
        super().__init__(Server(script if script is not None else {}, default))

    @property
    def requests(self) -> list[Request]:
        """Requests for `/v1/responses`, in the order they came."""
        return self.server.requests

    @property
    def strays(self) -> list[str]:
        """Method and path of all other requests."""
        return self.server.strays

    def wait_for(self, count: int, timeout: float = 10.0) -> Request:
        """The `count`-th request, once it has come.

        Raises:
            TimeoutError: if it has not come within `timeout` seconds.
        """
        try:
            self.wait(lambda: len(self.requests) >= count, timeout)
        except TimeoutError:
            came = len(self.requests)
            raise TimeoutError(f"{came} of {count} requests after {timeout} s") from None
        return self.requests[count - 1]


def _after(seconds: float) -> Iterator[scripted.Step]:
    if seconds:
        yield seconds


def _error(error: HttpError) -> bytes:
    text = error.body if isinstance(error.body, str) else json.dumps(error.body)
    body = text.encode()
    fields = (
        ("content-type", "application/json"),
        ("content-length", str(len(body))),
        ("connection", "close"),
        *error.headers,
    )
    head = "".join(f"{name}: {value}\r\n" for name, value in fields)
    return f"HTTP/1.1 {error.status} Scripted\r\n{head}\r\n".encode() + body
