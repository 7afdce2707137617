"""Where outputs become a response: rendered as they come, sent when their records are on file."""

import enum
import re
from collections.abc import Callable
from typing import Final, Protocol

from engine.log.content import digest
from engine.stream import sink
from machines import outputs
from server.api.owntime import OwnTime
from server.api.reply import Renderer, Reply
from server.http import errors
from server.http.exchange import HeaderList

BeforeLast = Callable[[Callable[[], None]], None]
"""Does what must precede the end of an answer, and then calls the function it was given."""


REROUTED: Final = "x-turntape-rerouted-model"
"""The response header that names the model which a provider answers with in another's place."""

_HEADER_TEXT: Final = re.compile(r"[\x21-\x7e]{1,128}")
"""Matches a name that somebody else wrote, and that may stand in a header."""

_ENDS: Final = (outputs.Done, outputs.Failure, outputs.Rejected)
"""The outputs that tell a client how its answer ended."""


def at_once(proceed: Callable[[], None]) -> None:
    """Call `proceed` without doing anything before it."""
    proceed()


class Outlet(Protocol):
    """The receiver of an answer: the exchange of its client, or a run that keeps it for one."""

    def respond(self, status: int, headers: HeaderList, body: bytes) -> None:
        """Send a whole answer."""

    def start(self, status: int, headers: HeaderList) -> None:
        """Send the head of an answer that comes in pieces."""

    def write(self, data: bytes) -> None:
        """Send a piece of the body."""

    def finish(self, data: bytes = b"") -> None:
        """Send the last piece of the body."""

    def abort(self) -> None:
        """Send nothing more: the answer is not whole, and its reader must see that."""


class Phase(enum.Enum):
    """The progress of a response towards its client."""

    NOTHING = enum.auto()
    HEAD = enum.auto()
    ALL = enum.auto()


class Rendering(enum.Enum):
    """The state of a sink's renderer: whether further outputs can come."""

    OPEN = enum.auto()
    BROKEN = enum.auto()
    ENDED = enum.auto()


class Sink:
    """Renders one stream and hands the bytes of a wake-up to its outlet in one piece.

    The hash covers what was rendered. So that it speaks of what was sent too, each part says how
    many bytes come before it, and a part that does not follow on the last one is refused.

    Args:
        headers: of every answer to this request.
        hash_key: of the terminal record's `body_hash`.
        before_last: what must be done before the client is told of the answer's end: called with
            how to go on.
        own_time: told when the head goes out, of which it then has a header.
    """

    def __init__(
        self,
        outlet: Outlet,
        renderer: Renderer,
        headers: HeaderList,
        hash_key: bytes,
        before_last: BeforeLast = at_once,
        own_time: OwnTime | None = None,
    ) -> None:
        self._before_last = before_last
        self._own_time = own_time
        self._last_event = 0
        self._outlet = outlet
        self._renderer = renderer
        self._reply = Reply(renderer)
        self._headers = headers
        self._digest = digest.BodyDigest(hash_key)
        self._pieces: list[bytes] = []
        self._endings = self._pieces if before_last is at_once else []
        self._ready = b""
        self._collected = 0
        self._sent = 0
        self._phase = Phase.NOTHING
        self._rendering = Rendering.OPEN

    def take(self, emitted: tuple[outputs.AnyOutput, ...], now: int) -> None:
        """Render outputs; nothing is sent yet."""
        self._last_event = now
        for output in emitted:
            ends = isinstance(output, _ENDS)
            if self._rendering is Rendering.BROKEN and not ends:
                continue
            pieces = self._endings if ends else self._pieces
            pieces.append(self._reply.render(output, now))

    def take_texts(self, choice: int, texts: list[str]) -> None:
        """Render a `Content` for each of the texts; nothing is sent yet."""
        self._pieces.append(self._renderer.contents(choice, texts))

    def broke(self) -> None:
        """Render nothing more but a failure: the text behind a hole must not look whole."""
        self._rendering = Rendering.BROKEN

    def rerouted(self, model: str) -> None:
        """Name the model that answers in the head, as long as that is not sent."""
        if _HEADER_TEXT.fullmatch(model):
            self.set_header(REROUTED, model)

    def set_header(self, name: str, value: str) -> None:
        """Set a header of the head, as long as that is not sent."""
        others = [header for header in self._headers if header[0] != name]
        self._headers = [*others, (name, value)]

    def end(self) -> None:
        """Mark the next part as the last: no more outputs can come."""
        self._rendering = Rendering.ENDED

    def summary(self) -> sink.Summary:
        """Return the counts and the hash of the whole body; called once, after `end`."""
        self._join()
        self._digest.update(b"".join(self._endings))
        return sink.Summary(
            self._reply.status,
            self._reply.frames,
            self._digest.length,
            self._digest.hexdigest(),
            None if self._own_time is None else self._own_time.us,
        )

    def collect(self) -> sink.Part:
        """Take the bytes that were rendered since the last call."""
        self._join()
        data, self._ready = self._ready, b""
        start = self._collected
        self._collected += len(data)
        if self._rendering is not Rendering.ENDED:
            return sink.Part(self._reply.status, start, data, False)
        return sink.Part(self._reply.status, start, data, True, b"".join(self._endings))

    def send(self, part: sink.Part) -> None:
        """Send a part, as long as there is a response to send it in."""
        if part.start != self._sent:
            raise sink.LostBytes(f"bytes {self._sent} to {part.start} of the body were not sent")
        data = part.data
        if self._phase is Phase.HEAD and data:
            self._outlet.write(data)
            self._sent += len(data)
        elif self._phase is Phase.NOTHING:
            self._begin(part.status, data)

    def finish(self, part: sink.Part, failed: Callable[[Exception], None]) -> None:
        """Send the last part, once the step that must precede it is done."""
        if part.ending and part.data and self._reply.chunked:
            self.send(part)
            part = part._replace(start=self._sent, data=b"")

        def proceed() -> None:
            try:
                self._send_last(part)
            except Exception as error:
                failed(error)

        try:
            self._before_last(proceed)
        except Exception:
            proceed()  # what was to be done is lost; that is no reason to withhold the answer
            raise

    def unsent(self) -> int:
        """Return how many bytes were collected and have not been sent."""
        return self._collected - self._sent

    def cut(self) -> None:
        """End the answer where it is, so that the client sees a failure."""
        phase, self._phase = self._phase, Phase.ALL
        if phase is Phase.HEAD:
            self._outlet.abort()
        elif phase is Phase.NOTHING:
            answer = errors.defect().response(self._headers)
            try:
                self._outlet.respond(*answer)
            except Exception:
                self._outlet.abort()
                raise

    def _begin(self, status: int, data: bytes) -> None:
        """Send the head, and the part of the body that goes with it."""
        if not status:
            if data:
                raise sink.LostBytes(f"{len(data)} bytes of an answer that has no status")
            return
        if self._own_time is not None:
            self.set_header(*self._own_time.head(self._last_event))
        headers = [*self._headers, *self._reply.headers]
        if self._reply.chunked:
            self._outlet.start(status, headers)
            self._phase = Phase.HEAD
            if data:
                self._outlet.write(data)
        else:
            self._outlet.respond(status, headers, data)
            self._phase = Phase.ALL
        self._sent += len(data)

    def _send_last(self, part: sink.Part) -> None:
        if part.start != self._sent:
            raise sink.LostBytes(f"bytes {self._sent} to {part.start} of the body were not sent")
        data = part.data + part.ending
        if self._phase is Phase.NOTHING:
            self._begin(part.status, b"" if self._reply.chunked else data)
        if self._phase is Phase.HEAD:
            self._outlet.finish(data)
            self._phase = Phase.ALL
            self._sent += len(data)

    def _join(self) -> None:
        data = b"".join(self._pieces)
        self._pieces.clear()
        self._digest.update(data)
        self._ready = self._ready + data if self._ready else data
