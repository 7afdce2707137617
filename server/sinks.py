"""Where outputs become a response: rendered as they come, sent when their records are on file."""

import enum
from typing import Protocol

from engine import digest, pump
from machines import events
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

    def render(self, output: events.AnyOutput) -> bytes:
        """Bytes of one output, empty for none."""


class Phase(enum.Enum):
    """How much of a response has been sent."""

    NOTHING = enum.auto()
    HEAD = enum.auto()
    WHOLE_READY = enum.auto()
    LAST_READY = enum.auto()
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

    def take(self, outputs: tuple[events.AnyOutput, ...]) -> None:
        """Render outputs; nothing is sent yet."""
        for output in outputs:
            self._pieces.append(self._renderer.render(output))

    def flush(self) -> None:
        """Send what was rendered since the last flush."""
        self._collect()
        data, self._ready = self._ready, b""
        if self._phase is Phase.HEAD:
            if data:
                self._exchange.write(data)
        elif self._phase is Phase.LAST_READY:
            self._exchange.finish(data)
            self._phase = Phase.ALL
        elif self._renderer.status:
            self._begin(data)

    def summary(self) -> pump.Summary:
        """Of the whole body; asked for once, when no more outputs can come."""
        self._collect()
        whole = self._phase is Phase.NOTHING
        self._phase = Phase.WHOLE_READY if whole else Phase.LAST_READY
        return pump.Summary(
            self._renderer.status,
            self._renderer.frames,
            self._digest.length,
            self._digest.hexdigest(),
        )

    def _begin(self, data: bytes) -> None:
        status = self._renderer.status
        headers = [*self._headers, *self._renderer.headers]
        if self._phase is Phase.ALL:
            return
        if not self._renderer.chunked:
            self._exchange.respond(status, headers, data)
            self._phase = Phase.ALL
            return
        self._exchange.start(status, headers)
        if self._phase is Phase.WHOLE_READY:
            self._exchange.finish(data)
            self._phase = Phase.ALL
            return
        self._phase = Phase.HEAD
        if data:
            self._exchange.write(data)

    def _collect(self) -> None:
        data = b"".join(self._pieces)
        self._pieces.clear()
        self._digest.update(data)
        self._ready = self._ready + data if self._ready else data
