"""One HTTP request and its response, as a handler sees them; routes are somebody else's.

`server.http.connection` reads requests and hands each to the handler as an `Exchange`. The handler
answers with `respond`, or with `start`, any number of `write` and one `finish`. All of these are
plain calls: they encode with h11, write to the transport and return.
"""

import asyncio
import enum
import http
import time
import uuid
from collections.abc import Awaitable, Callable, Iterable

import h11
import msgspec

from machines import events
from server.http import errors, outbound

HeaderList = list[tuple[str, str]]
"""Response headers as pairs of name and value, names in lower case."""

SERVER_NAME = "turntape"
"""The `server` header of every response."""

REASONS = {status.value: status.phrase for status in http.HTTPStatus}
"""The reason phrase of each status, for the status line (RFC 9112 §4)."""

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
"""The names in a date of HTTP (RFC 9110 §5.6.7), whatever the locale."""

BODILESS_STATUSES = frozenset({204, 304})
"""Statuses whose responses have neither a body nor a `content-length` (RFC 9110 §6.4.1, §8.6)."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """The limits of a connection; times are seconds.

    Attributes:
        head_bytes: of a request line and its headers together.
        head_count: headers of a request.
        body_bytes: of a request's body.
        head_timeout: from the first byte of a head to its last.
        body_timeout: without progress, while a body is awaited.
        idle_timeout: without a request, on a fresh connection or between two.
        buffer_bytes: of a response that may wait for its client before it counts as slow.
        over_limit_stall: without a byte drained while the buffer is over `buffer_bytes`.
        write_stall: without a byte drained while any are buffered.
        gone_grace: a handler may still run after its client has gone.
        linger: a closed connection is read on, so that its last answer arrives.
        max_connections: at once; more are closed as they come.
    """

    head_bytes: int = 64 * 1024
    head_count: int = 200
    body_bytes: int = 16 * 1024 * 1024
    head_timeout: float = 10.0
    body_timeout: float = 30.0
    idle_timeout: float = 75.0
    buffer_bytes: int = 256 * 1024
    over_limit_stall: float = 5.0
    write_stall: float = 30.0
    gone_grace: float = 1.0
    linger: float = 1.0
    max_connections: int = 4096


class Headers:
    """A request's headers, looked up by names in lower case."""

    def __init__(self, pairs: Iterable[tuple[str, str]]) -> None:
        self._values: dict[str, list[str]] = {}
        for name, value in pairs:
            self._values.setdefault(name, []).append(value)

    def put(self, name: str, value: str) -> None:
        """Put one value in the place of all that came."""
        self._values[name] = [value]

    def names(self) -> Iterable[str]:
        """Return the names of the headers that came."""
        return self._values.keys()

    def get(self, name: str) -> str | None:
        """Return the header's first value, or None."""
        values = self._values.get(name)
        return values[0] if values else None

    def get_all(self, name: str) -> list[str]:
        """Return every value of the header, in the order they came."""
        return self._values.get(name, [])


class Request:
    """A client's request, whose body is read on demand.

    Attributes:
        method: as sent.
        path: as sent, without the query and not percent-decoded.
        query: what follows the `?`, empty without one.
        peer: the client's address, empty if it had left before it was asked for.
    """

    def __init__(
        self,
        method: str,
        target: str,
        headers: Headers,
        peer: str,
        read_body: Callable[[], Awaitable[bytes]],
    ) -> None:
        self.method = method
        self.path, _, self.query = origin_form(target).partition("?")
        self.headers = headers
        self.peer = peer
        self._read_body = read_body
        self._body: bytes | None = None

    async def body(self) -> bytes:
        """Return the whole body; the client is asked for it (`100 Continue`) at the first call.

        Raises:
            errors.ApiError: `request_too_large`, `request_timeout_client` or `bad_http`.
        """
        if self._body is None:
            self._body = await self._read_body()
        return self._body


def origin_form(target: str) -> str:
    """Return the path and query of a request target, which may be a whole URL (RFC 9112
    §3.2.2)."""
    if not target.lower().startswith(("http://", "https://")):
        return target
    authority_and_path = target.partition("://")[2]
    _, slash, path = authority_and_path.partition("/")
    return slash + path or "/"


class DateHeader:
    """Formats the `date` header's value at most once a second.

    Args:
        clock: seconds since the epoch.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._second = -1
        self._text = ""

    def text(self) -> str:
        """Return the present time as RFC 9110 §5.6.7 writes it."""
        second = int(self._clock())
        if second != self._second:
            self._second = second
            at = time.gmtime(second)
            date = f"{_DAYS[at.tm_wday]}, {at.tm_mday:02} {_MONTHS[at.tm_mon - 1]} {at.tm_year}"
            self._text = f"{date} {at.tm_hour:02}:{at.tm_min:02}:{at.tm_sec:02} GMT"
        return self._text


class Head:
    """Builds the heads of a connection's responses.

    Args:
        date: shared by all connections.
        persistent: whether another request may follow the one being answered.
    """

    def __init__(self, date: DateHeader, persistent: Callable[[], bool]) -> None:
        self._date = date
        self._persistent = persistent

    def of(self, status: int, headers: HeaderList) -> h11.Response:
        """Make the head of a response: its own headers, and those of every response."""
        common = [("date", self._date.text()), ("server", SERVER_NAME)]
        if not self._persistent():
            common.append(("connection", "close"))
        return h11.Response(
            status_code=status, reason=REASONS.get(status, ""), headers=[*headers, *common]
        )


class Stage(enum.Enum):
    """The stage of a response between its request and its end."""

    PENDING = "no byte of it was sent"
    STREAMING = "its head was sent, its body is open"
    SWITCHED = "the connection is a WebSocket"
    BODILESS = "its head was sent, and what is written to it is dropped: it has no body"
    COMPLETE = "all of it was handed to the transport"
    CUT = "the handler ended the connection within it"
    LEFT = "the client left before its end"
    WRITE_STALL = "the client stopped reading before its end"


OPEN_STAGES = frozenset({Stage.PENDING, Stage.STREAMING, Stage.BODILESS, Stage.SWITCHED})
"""The stages of a response that has not ended."""

GONE_STAGES: dict[Stage, events.GoneCause] = {
    Stage.LEFT: "left",
    Stage.WRITE_STALL: "write_stall",
}
"""The stages of a response that has lost its client, and the cause of each."""


class Exchange:
    """One request and its response.

    Attributes:
        status: that was sent; None before any was.
        body_bytes: of an answer that was sent whole.
        on_pressure: called with the bytes that wait, each time they come to exceed the limit.
        on_drain: called when the connection is to end as soon as it can.
        on_relief: called each time they have fallen below half of it again.
    """

    def __init__(
        self,
        request: Request,
        protocol: h11.Connection,
        out: outbound.Outbound,
        head: Head,
        take: Callable[[None], Awaitable[list[bytes]]] | None = None,
    ) -> None:
        self.request = request
        self.status: int | None = None
        self.body_bytes = 0
        self.on_pressure: Callable[[int], None] | None = None
        self.on_relief: Callable[[], None] | None = None
        self.on_drain: Callable[[], None] | None = None
        self._take = take
        self._on_gone: Callable[[events.GoneCause], None] | None = None
        self._protocol = protocol
        self._out = out
        self._head = head
        self._has_rest = False
        self._stage = Stage.PENDING
        self._ended = asyncio.Event()

    @property
    def stage(self) -> Stage:
        """The stage that the response has reached."""
        return self._stage

    @property
    def may_switch(self) -> bool:
        """Whether the client can ask for another protocol: not in HTTP/1.0 (RFC 9110 §7.8)."""
        return self._protocol.their_http_version != b"1.0"

    @property
    def buffered(self) -> int:
        """Bytes that were written and that the client has not taken yet."""
        return self._out.buffered

    @property
    def on_gone(self) -> Callable[[events.GoneCause], None] | None:
        """The callback for a client that is lost before the response is complete; it is called
        once.

        Set when the client has already gone, it is called from the event loop's next round.
        """
        return self._on_gone

    @on_gone.setter
    def on_gone(self, callback: Callable[[events.GoneCause], None] | None) -> None:
        self._on_gone = callback
        if callback is not None and self._stage in GONE_STAGES:
            asyncio.get_running_loop().call_soon(callback, GONE_STAGES[self._stage])

    def respond(self, status: int, headers: HeaderList, body: bytes) -> None:
        """Send a whole response; its `content-length` is added, and to HEAD no body is sent."""
        if not self._may_begin():
            return
        self.status, self.body_bytes = status, len(body)
        if status not in BODILESS_STATUSES:
            headers = [*headers, ("content-length", str(len(body)))]
        data = self._protocol.send(self._head.of(status, headers))
        if self._has_body(status):
            data += self._protocol.send(h11.Data(data=body))
        self._out.transmit(data + self._protocol.send(h11.EndOfMessage()))
        self._end(Stage.COMPLETE)

    def switch(self, headers: HeaderList) -> None:
        """Agree to another protocol: from here on `received` and `transmit` speak it."""
        if not self._may_begin():
            return
        self.status = 101
        head = self._head.of(200, headers)  # for what every response says
        switching = h11.InformationalResponse(
            status_code=101, reason=REASONS[101].encode(), headers=list(head.headers)
        )
        self._out.transmit(self._protocol.send(switching))
        self._stage = Stage.SWITCHED

    async def received(self) -> list[bytes]:
        """Wait for bytes of the other protocol; an empty piece is their end."""
        ahead, at_end = self._protocol.trailing_data
        if ahead and not self._has_rest:
            self._has_rest = True
            return [ahead, b""] if at_end else [ahead]
        assert self._take is not None
        return await self._take(None)

    def transmit(self, data: bytes) -> None:
        """Send bytes of the other protocol; nothing once the client is gone."""
        if self._stage is Stage.SWITCHED:
            self._out.transmit(data)

    async def drained(self) -> None:
        """Wait until the client has taken enough of what was sent to be sent more, or is gone."""
        await self._out.drained()

    def leave(self) -> None:
        """End the other protocol, and the connection with it."""
        if self._stage is Stage.SWITCHED:
            self._end(Stage.COMPLETE)

    def start(self, status: int, headers: HeaderList) -> None:
        """Send the head of a response whose length is not known; HTTP/1.1 clients get chunks."""
        if not self._may_begin():
            return
        self.status = status
        self._out.transmit(self._protocol.send(self._head.of(status, headers)))
        self._stage = Stage.STREAMING if self._has_body(status) else Stage.BODILESS

    def write(self, data: bytes) -> None:
        """Send a piece of the body, as one chunk in one write; nothing once the client is gone."""
        if self._stage is Stage.STREAMING:
            self._out.transmit(self._protocol.send(h11.Data(data=data)))
        elif self._stage is Stage.PENDING:
            raise RuntimeError("write() before start()")

    def finish(self, data: bytes = b"") -> None:
        """Send the last piece of the body and its end in one write."""
        if self._stage is Stage.PENDING:
            raise RuntimeError("finish() before start()")
        if self._stage not in OPEN_STAGES:
            return
        last = b""
        if self._stage is Stage.STREAMING:
            last = self._protocol.send(h11.Data(data=data))
        self._out.transmit(last + self._protocol.send(h11.EndOfMessage()))
        self._end(Stage.COMPLETE)

    def abort(self) -> None:
        """Send what was written and cut the connection, so that the client sees a failure."""
        if self._stage not in OPEN_STAGES:
            return
        if self._protocol.their_http_version == b"1.0":
            # Such a body ends where the connection does: only a reset says that it is not whole.
            self._out.close_with_reset()
        else:
            self._out.close()
        self._end(Stage.CUT)

    async def reset(self) -> None:
        """Break the connection, once what was written has reached the client's system."""
        await self._out.delivered()
        if self._stage in OPEN_STAGES:
            self._out.close_with_reset()
            self.lose(Stage.LEFT)

    async def finished(self) -> None:
        """Wait for the response's end, whichever way it comes."""
        await self._ended.wait()

    def lose(self, stage: Stage) -> None:
        """Called by the connection when there is no client any more: LEFT or WRITE_STALL."""
        self._end(stage)
        if self._on_gone is not None:
            self._on_gone(GONE_STAGES[stage])

    def _may_begin(self) -> bool:
        if self._stage not in GONE_STAGES and self._stage is not Stage.PENDING:
            raise RuntimeError(f"a second response: {self._stage.value}")
        return self._stage is Stage.PENDING

    def _has_body(self, status: int) -> bool:
        return self.request.method != "HEAD" and status not in BODILESS_STATUSES

    def _end(self, stage: Stage) -> None:
        self._stage = stage
        self._ended.set()


Handler = Callable[[Exchange], Awaitable[None]]
"""Answers one exchange and ends it before it returns; an `ApiError` that it raises is answered."""

Refuse = Callable[[errors.ApiError, Request | None, str], tuple[int, HeaderList, bytes]]
"""Makes status, headers and body of the answer to what no handler was given, or that it failed to
answer: with the request, where it was one, and the peer's address."""


def refuse(error: errors.ApiError, _: Request | None, __: str) -> tuple[int, HeaderList, bytes]:
    """Make an error's response: the JSON envelope, under a request id of its own."""
    return error.response([("x-request-id", f"req_{uuid.uuid4().hex}")])
