"""Where outputs become a response: rendered as they come, sent when their records are on file."""

import enum
import functools
from collections.abc import Callable
from typing import Protocol

from engine import digest, pump
from machines import outputs

Headers = list[tuple[str, str]]

BeforeLast = Callable[[Callable[[], None]], None]
"""Does something, and then calls what it was given."""


def at_once(proceed: Callable[[], None]) -> None:
    """Do nothing before."""
    proceed()


class Outlet(Protocol):
    """Where an answer goes: the exchange of its client, or something that keeps it for one."""

    def respond(self, status: int, headers: Headers, body: bytes) -> None:
        """Take a whole answer."""

    def start(self, status: int, headers: Headers) -> None:
        """Take the head of an answer that comes in pieces."""

    def write(self, data: bytes) -> None:
        """Take a piece."""

    def finish(self, data: bytes = b"") -> None:
        """Take the last piece."""


class Renderer(Protocol):
    """Turns outputs into bytes before HTTP framing; `server.sse` and `server.fold` hold them.

    Attributes:
        status: HTTP status of the answer; 0 until there is one.
        frames: data frames, or bodies, rendered so far.
        headers: what this answer adds to the response's headers.
        chunked: whether the answer comes in pieces; an error before the head does not.
    """

    status: int
    frames: int
    headers: Headers
    chunked: bool

    def render(self, output: outputs.AnyOutput, now: int = 0) -> bytes:
        """Bytes of one output, empty for none.

        Args:
            now: when its event was recorded, in microseconds since the epoch.
        """

    def contents(self, choice: int, texts: list[str]) -> bytes:
        """Bytes of a `Content` for each of the texts, as `render` would."""


class Phase(enum.Enum):
    """How much of a response has been sent."""

    NOTHING = enum.auto()
    HEAD = enum.auto()
    ALL = enum.auto()


class Sink:
    """Renders one stream and hands the bytes of a wake-up to its outlet in one piece.

    Args:
        headers: of every answer to this request.
        hash_key: of the terminal record's `body_hash`.
        before_last: what must be done before the client is told of the answer's end: called with
            how to go on.
    """

    def __init__(
        self,
        outlet: Outlet,
        renderer: Renderer,
        headers: Headers,
        hash_key: bytes,
        before_last: BeforeLast = at_once,
    ) -> None:
        self._before_last = before_last
        self._outlet = outlet
        self._renderer = renderer
        self._headers = headers
        self._digest = digest.BodyDigest(hash_key)
        self._pieces: list[bytes] = []
        self._endings = self._pieces if before_last is at_once else []
        self._ready = b""
        self._phase = Phase.NOTHING
        self._summary: pump.Summary | None = None

    def take(self, said: tuple[outputs.AnyOutput, ...], now: int) -> None:
        """Render outputs; nothing is sent yet."""
        for output in said:
            ends = isinstance(output, outputs.Done | outputs.Failure)
            pieces = self._endings if ends else self._pieces
            pieces.append(self._renderer.render(output, now))

    def take_texts(self, choice: int, texts: list[str]) -> None:
        """Render a `Content` for each of the texts; nothing is sent yet."""
        self._pieces.append(self._renderer.contents(choice, texts))

    def collect(self) -> pump.Part:
        """What was rendered since the last call."""
        self._join()
        data, self._ready = self._ready, b""
        ending = b"".join(self._endings)  # nothing comes after it, so it is counted only once
        return pump.Part(self._renderer.status, data, self._summary is not None, ending)

    def send(self, part: pump.Part) -> None:
        """Send a part, as long as there is a response to send it in."""
        if not part.last:
            self._send(part)
            return
        if part.ending:
            if part.data and self._renderer.chunked:
                self._send(part._replace(last=False))
            part = part._replace(data=part.ending)
        self._before_last(functools.partial(self._send, part))

    def _send(self, part: pump.Part) -> None:
        if self._phase is Phase.HEAD:
            if part.last:
                self._outlet.finish(part.data)
                self._phase = Phase.ALL
            elif part.data:
                self._outlet.write(part.data)
        elif self._phase is Phase.NOTHING and part.status:
            self._begin(part)

    def summary(self) -> pump.Summary:
        """Of the whole body; asked for once, when no more outputs can come."""
        self._join()
        self._digest.update(b"".join(self._endings))
        self._summary = pump.Summary(
            self._renderer.status,
            self._renderer.frames,
            self._digest.length,
            self._digest.hexdigest(),
        )
        return self._summary

    def _join(self) -> None:
        data = b"".join(self._pieces)
        self._pieces.clear()
        self._digest.update(data)
        self._ready = self._ready + data if self._ready else data

    def _begin(self, part: pump.Part) -> None:
        headers = [*self._headers, *self._renderer.headers]
        if not self._renderer.chunked:
            self._outlet.respond(part.status, headers, part.data)
            self._phase = Phase.ALL
            return
        self._outlet.start(part.status, headers)
        self._phase = Phase.HEAD
        self._send(part)
