"""Where a stream's outputs become bytes: what a pump and its wake-ups need of it."""

from collections.abc import Callable
from typing import Final, NamedTuple, Protocol

import msgspec

from machines import outputs


class Summary(msgspec.Struct, frozen=True):
    """A sink's summary of a stream: the part of the terminal record that only it knows.

    Attributes:
        own_us: microseconds that were the server's own; None: not measured.
    """

    status: int
    frames: int
    body_bytes: int
    body_hash: str
    own_us: int | None = None


class Part(NamedTuple):
    """The part of a stream's body that one wake-up made.

    Attributes:
        status: HTTP status of the answer; 0 while there is none.
        start: bytes of the body that come before this part.
        last: whether the body ends with this part.
        ending: what tells the client so, where that must wait for more than the records.
    """

    status: int
    start: int
    data: bytes
    last: bool
    ending: bytes = b""


NOTHING: Final = Part(0, 0, b"", last=True)
"""The last part of an answer that is cut."""


class LostBytes(Exception):
    """Raised for a body that has a hole: bytes were rendered and hashed, and never handed on."""


class Sink(Protocol):
    """Renders the outputs of one stream, and hands the bytes on when their records are on file.

    Any of its methods may raise: that ends its stream.
    """

    def take(self, outputs: tuple[outputs.AnyOutput, ...], now: int) -> None:
        """Render outputs of a step that was recorded at `now`, and keep the bytes."""

    def take_texts(self, choice: int, texts: list[str]) -> None:
        """Render a `Content` for each of the texts and keep the bytes."""

    def rerouted(self, model: str) -> None:
        """Tell the client that another model answers, as long as its answer has not begun."""

    def broke(self) -> None:
        """Render nothing more but the failure: an output is missing, and a client must not see
        what comes behind the hole."""

    def end(self) -> None:
        """Make the next part the last: no more outputs can come."""

    def summary(self) -> Summary:
        """Sum up the whole body; called once, after `end`."""

    def collect(self) -> Part:
        """Hand over what was kept since the last call."""

    def send(self, part: Part) -> None:
        """Send a part whose records are on file.

        Raises:
            LostBytes: the part before this one was never sent.
        """

    def finish(self, part: Part, failed: Callable[[Exception], None]) -> None:
        """Send the last part. It may go out later than this returns.

        Args:
            failed: called with what is raised then.

        Raises:
            LostBytes: the part before this one was never sent.
        """

    def unsent(self) -> int:
        """Count the bytes that were collected and have not been sent."""

    def cut(self) -> None:
        """End the answer where it is, so that the client sees a failure."""


class Severed:
    """In place of the sink of a stream that broke: its last part is the end of the connection.

    It waits for the wake-up's end as any part does, so that the records are on file before.
    """

    def __init__(self, sink: Sink) -> None:
        self._sink = sink

    def collect(self) -> Part:
        """Collect nothing: what was rendered cannot be relied upon."""
        return NOTHING

    def send(self, part: Part) -> None:
        """Do nothing: there is no part but the last."""

    def finish(self, part: Part, failed: Callable[[Exception], None]) -> None:
        """Cut the answer."""
        self._sink.cut()
