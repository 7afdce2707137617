"""The HTTP form of a stream: its status, its headers, and a body in pieces or whole.

A renderer knows its API and nothing of HTTP errors. A stream that fails before its head is an
error response of its own, the same one in every API, and it is made here alone.
"""

from typing import Protocol

from machines import outputs
from server.http.errors import ApiError
from server.http.exchange import HeaderList


class Renderer(Protocol):
    """Turns outputs into bytes before HTTP framing. It is never given an `outputs.Rejected`.

    Attributes:
        streams: whether the answer comes in pieces, from its head on; else it is one body, which
            is complete with `Done`.
        frames: data frames, or bodies, of the answer.
    """

    @property
    def streams(self) -> bool: ...

    @property
    def frames(self) -> int: ...

    def headers(self) -> HeaderList:
        """Return the headers that the answer adds to the response's."""

    def render(self, output: outputs.AnyOutput, now: int = 0) -> bytes:
        """Return the bytes of one output, empty for none.

        Args:
            now: when its event was recorded, in microseconds since the epoch.
        """

    def contents(self, choice: int, texts: list[str]) -> bytes:
        """Return the bytes of a `Content` for each of the texts, as `render` would."""


class Reply:
    """The rendered response of one stream, up to the last output it was given.

    Attributes:
        status: HTTP status; 0 until there is one.
    """

    def __init__(self, renderer: Renderer) -> None:
        self.status = 0
        self._renderer = renderer
        self._begins: type[outputs.Output] = outputs.Head if renderer.streams else outputs.Done
        self._error: ApiError | None = None

    @property
    def chunked(self) -> bool:
        """Whether the body comes in pieces; that of an error before the head does not."""
        return self._error is None and self._renderer.streams

    @property
    def frames(self) -> int:
        """The number of data frames, or bodies, rendered so far."""
        return self._renderer.frames if self.status else 0

    @property
    def headers(self) -> HeaderList:
        """The headers that this response adds to those of every response."""
        return self._renderer.headers() if self._error is None else self._error.headers()

    def render(self, output: outputs.AnyOutput, now: int = 0) -> bytes:
        """Return the bytes of one output, empty for none; `now` as in `Renderer.render`."""
        if self.status:
            return self._renderer.render(output, now)
        return self._begin(output, now)

    def _begin(self, output: outputs.AnyOutput, now: int) -> bytes:
        """Render an output while there is no status: it may be the one that gives it."""
        if isinstance(output, outputs.Rejected):
            return self._reject(output.failure)
        if isinstance(output, outputs.Failure):
            # The machine counts a head as gone that a bug kept from being rendered.
            return self._reject(output)
        data = self._renderer.render(output, now)
        if isinstance(output, self._begins):
            self.status = 200
        return data

    def _reject(self, failure: outputs.Failure) -> bytes:
        self._error = ApiError.from_failure(failure)
        self.status = self._error.status
        return self._error.body()
