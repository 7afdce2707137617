"""Where outputs become a response: rendered as they come, sent when their records are on file."""

import enum
from typing import Protocol

from engine import digest, pump
from machines import outputs
from server.http import Exchange

Headers = list[tuple[str, str]]


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

    def render(self, output: outputs.AnyOutput) -> bytes:
        """Bytes of one output, empty for none."""

    def contents(self, choice: int, texts: list[str]) -> bytes:
        """Bytes of a `Content` for each of the texts, as `render` would."""


class Phase(enum.Enum):
    """How much of a response has been sent."""

    NOTHING = enum.auto()
    HEAD = enum.auto()
    ALL = enum.auto()


class Sink:
    """Renders one stream and hands the bytes of a wake-up to the exchange in one piece.

    Args:
        headers: of every answer to this request.
        hash_key: of the terminal record's `body_hash`.
    """

    def __init__(
        self, exchange: Exchange, renderer: Renderer, headers: Headers, hash_key: bytes
    ) -> None:
        self._exchange = exchange
        self._renderer = renderer
        self._headers = headers
        self._digest = digest.BodyDigest(hash_key)
        self._pieces: list[bytes] = []
        self._ready = b""
        self._phase = Phase.NOTHING
        self._summary: pump.Summary | None = None

    def take(self, outputs: tuple[outputs.AnyOutput, ...]) -> None:
        """Render outputs; nothing is sent yet."""
        for output in outputs:
            self._pieces.append(self._renderer.render(output))

    def take_texts(self, choice: int, texts: list[str]) -> None:
        """Render a `Content` for each of the texts; nothing is sent yet."""
        self._pieces.append(self._renderer.contents(choice, texts))

    def collect(self) -> pump.Part:
        """What was rendered since the last call."""
        self._join()
        data, self._ready = self._ready, b""
        return pump.Part(self._renderer.status, data, self._summary is not None)

    def send(self, part: pump.Part) -> None:
        """Send a part, as long as there is a response to send it in."""
        if self._phase is Phase.HEAD:
            if part.last:
                self._exchange.finish(part.data)
                self._phase = Phase.ALL
            elif part.data:
                self._exchange.write(part.data)
        elif self._phase is Phase.NOTHING and part.status:
            self._begin(part)

    def summary(self) -> pump.Summary:
        """Of the whole body; asked for once, when no more outputs can come."""
        self._join()
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
            self._exchange.respond(part.status, headers, part.data)
            self._phase = Phase.ALL
            return
        self._exchange.start(part.status, headers)
        self._phase = Phase.HEAD
        self.send(part)
