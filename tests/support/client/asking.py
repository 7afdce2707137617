"""Chat completions as a client sees them on the wire, and what the server's log says of each."""

import http.client
import itertools
import json
import re
import secrets
import socket
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Self

from engine.log import replay
from engine.log.content import digest
from engine.log.read import segments
from machines import events
from server.renderers import reply
from tests.support.process import machinetime
from tests.support.process.serving import Serve

WAIT_S = machinetime.HANG_S
"""Seconds after which a client gives up on a byte that should have come."""

LIMIT_S = 3 * machinetime.HANG_S
"""Seconds after which it gives up on the rest of an answer that still comes."""

Json = dict[str, Any]


class Frame(NamedTuple):
    """One event of a stream: a comment, the sentinel, or a chunk.

    Attributes:
        kind: `comment`, `done`, `error`, or what a chunk is for: `role`, `content`, `reasoning`,
            `finish` or `usage`.
        value: of a comment its text, else the decoded JSON.
    """

    kind: str
    value: Any


class Answer(NamedTuple):
    """A whole answer, streamed or not, or what there was of it.

    Attributes:
        raw: the body as it came, without HTTP's framing.
        frames: of a stream.
    """

    request_id: str
    status: int
    headers: dict[str, str]
    raw: bytes
    frames: tuple[Frame, ...] = ()

    @property
    def body(self) -> Any:
        """The JSON of an answer that is no stream."""
        return json.loads(self.raw)

    @property
    def outline(self) -> list[str]:
        """The kinds of the frames in order, repetitions as one; comments are left out."""
        kinds = (frame.kind for frame in self.frames if frame.kind != "comment")
        return [kind for kind, _ in itertools.groupby(kinds)]

    @property
    def text(self) -> str:
        """The content, streamed or not."""
        if not self.frames:
            return str(self.body["choices"][0]["message"]["content"])
        return "".join(self._deltas("content"))

    @property
    def finish_reason(self) -> str | None:
        """How the first choice ended; None if it did not."""
        if not self.frames:
            return str(self.body["choices"][0]["finish_reason"])
        finished = self._values("finish")
        return finished[0]["choices"][0]["finish_reason"] if finished else None

    @property
    def usage(self) -> Json | None:
        """The counts, where they were told."""
        if not self.frames:
            return dict(self.body["usage"])
        told = self._values("usage")
        return told[0]["usage"] if told else None

    @property
    def error(self) -> Json:
        """The one error, of the body or of a frame."""
        if not self.frames:
            return dict(self.body["error"])
        (found,) = self._values("error")
        return dict(found["error"])

    @property
    def comments(self) -> list[str]:
        """The comments of a stream."""
        return self._values("comment")

    def _values(self, kind: str) -> list[Any]:
        return [frame.value for frame in self.frames if frame.kind == kind]

    def _deltas(self, kind: str) -> Iterator[str]:
        return (chunk["choices"][0]["delta"]["content"] for chunk in self._values(kind))


class Asking:
    """One request on a connection of its own; its answer is read when it is asked for."""

    def __init__(
        self, server: Serve, text: str, headers: dict[str, str] | None = None, **fields: Any
    ) -> None:
        self.request_id = f"req-{secrets.token_hex(8)}"
        where = urllib.parse.urlsplit(server.url)
        assert where.hostname is not None
        self._connection = http.client.HTTPConnection(where.hostname, where.port, timeout=WAIT_S)
        messages = [{"role": "user", "content": text}]
        self._connection.request(
            "POST",
            f"{where.path}/chat/completions",
            json.dumps({"model": "gpt-5.5", "messages": messages, **fields}),
            {
                "content-type": "application/json",
                "x-request-id": self.request_id,
                **(headers or {}),
            },
        )
        self._response: http.client.HTTPResponse | None = None
        self._raw: list[bytes] = []
        self._frames: list[Frame] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()

    @property
    def head(self) -> http.client.HTTPResponse:
        """Status and headers, once they have come."""
        if self._response is None:
            self._response = self._connection.getresponse()
        return self._response

    def next(self, kind: str) -> Frame:
        """The next frame of that kind, once it has come."""
        return next(frame for frame in self._rest() if frame.kind == kind)

    def answer(self) -> Answer:
        """The whole answer, once it has come."""
        with self.head as head:
            if head.getheader("content-type", "").startswith("text/event-stream"):
                for _ in self._rest():
                    pass
            else:
                self._raw.append(head.read())
            headers = {name.lower(): value for name, value in head.getheaders()}
        self._connection.close()
        raw = b"".join(self._raw)
        return Answer(self.request_id, head.status, headers, raw, tuple(self._frames))

    def leave(self) -> None:
        """Close the connection, whatever is still to come."""
        if self._connection.sock is not None:
            self._connection.sock.shutdown(socket.SHUT_RDWR)
        if self._response is not None:
            self._response.close()
        self._connection.close()

    def _rest(self) -> Iterator[Frame]:
        limit = time.monotonic() + LIMIT_S
        for line in self.head:
            assert time.monotonic() < limit, f"no end: {self._frames[-3:]}"
            self._raw.append(line)
            if line != b"\n":
                self._frames.append(_frame(line.decode().rstrip("\n")))
                yield self._frames[-1]


def _frame(line: str) -> Frame:
    if line.startswith(":"):
        return Frame("comment", line[1:].strip())
    field, _, data = line.partition(": ")
    assert field == "data", line
    if data == "[DONE]":
        return Frame("done", None)
    value = json.loads(data)
    if "error" in value:
        return Frame("error", value)
    if not value["choices"]:
        return Frame("usage", value)
    (choice,) = value["choices"]
    if choice["finish_reason"] is not None:
        return Frame("finish", value)
    delta = choice["delta"]
    kinds = {
        "role": "role",
        "content": "content",
        "reasoning_content": "reasoning",
        "tool_calls": "tool_calls",
    }
    return Frame(next(kind for key, kind in kinds.items() if key in delta), value)


def ask(server: Serve, text: str, headers: dict[str, str] | None = None, **fields: Any) -> Answer:
    """A whole answer."""
    with Asking(server, text, headers, **fields) as asking:
        return asking.answer()


def story(server: Serve, request_id: str) -> list[segments.LoggedEvent]:
    """What has happened to a request so far, as the log has it."""
    mine: set[str] = set()
    found: list[segments.LoggedEvent] = []
    for record in segments.read(server.log_dir):
        if record.event != "opened" and record.stream not in mine:
            continue
        event = record.load()
        if isinstance(event, events.Opened) and event.request_id == request_id:
            mine.add(record.stream)
        if record.stream in mine:
            found.append(event)
    return found


def wait_for_text(server: Serve, request_id: str, text: str) -> None:
    """Wait until a request's answer has come as far as this."""
    until(lambda: "".join(_texts(story(server, request_id))) == text)


def _texts(happened: list[segments.LoggedEvent]) -> Iterator[str]:
    return (event.text for event in happened if isinstance(event, events.TextDelta))


def has_ended(server: Serve, request_id: str) -> bool:
    """Whether a request has its terminal record."""
    happened = story(server, request_id)
    return any(isinstance(event, events.Terminal) for event in happened)


def until(is_so: Callable[[], bool], seconds: float = WAIT_S) -> None:
    """Wait for something that can only be looked at, for so many of the machine's seconds."""
    watch = machinetime.Stopwatch()
    while not is_so():
        assert watch.read() < seconds, f"not within {seconds} s"
        threading.Event().wait(machinetime.PAUSE_S)


def terminal(server: Serve, request_id: str) -> events.Terminal:
    """The terminal record of a request, which there is once, and whose log replays."""
    reading = segments.read(server.log_dir)
    run = replay.Replay(reply, request_id)
    run.run(reading)
    assert run.divergence is None, run.divergence
    corrupt = [problem for problem in reading.problems if problem.kind == "corrupt"]
    assert corrupt == [], corrupt
    happened = story(server, request_id)
    ends = [event for event in happened if isinstance(event, events.Terminal)]
    assert len(ends) == 1, ends
    assert happened[-1] is ends[0], happened
    return ends[0]


def left(server: Serve, request_id: str) -> events.Terminal:
    """The terminal record of a request whose client left: nothing tells it when that is there."""
    until(lambda: has_ended(server, request_id), 1)
    return terminal(server, request_id)


def recorded(server: Serve, answer: Answer) -> events.Terminal:
    """The terminal record of an answer: it knows the bytes that came."""
    last = terminal(server, answer.request_id)
    body = digest.BodyDigest(digest.load_key(server.log_dir))
    body.update(answer.raw)
    assert (last.status, last.body_bytes) == (answer.status, len(answer.raw))
    assert last.body_hash == body.hexdigest()
    return last


def _words(value: object) -> Iterator[str]:
    """Every text within a line of diagnostics."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from _words(part)
    elif isinstance(value, list):
        for part in value:
            yield from _words(part)


def audit(server: Serve, *hidden: str, said: tuple[str, ...] = ()) -> None:
    """End a server, and look whether all was well with it, whatever its streams went through.

    Args:
        hidden: what must be in no line of its diagnostics.
        said: the errors it must have complained of, in any order, and of no others.
    """
    assert server.stop() == 0, server.lines
    done = server.replay()
    assert done.returncode == 0, done.stdout
    assert re.findall(r"(\d+) without an end", done.stdout) in ([], ["0"]), done.stdout
    ours = [line for line in server.lines if line.get("event") != "worker_stderr"]
    complaints = [line for line in ours if line.get("severity") not in ("info", "warning")]
    assert sorted(str(line.get("event")) for line in complaints) == sorted(said), complaints
    # Of words alone: a duration may look like a port.
    lines = [" ".join(_words(line)) for line in server.lines]
    told = [line for line in lines if any(text in line for text in hidden)]
    assert told == [], told
