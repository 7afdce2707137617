"""One HTTP/1.1 connection: requests read around h11, and handed on in order, one at a time.

Two tasks share a connection: `server.http.inbound` reads the stream until its end, whatever else
goes on. The one here takes what came, parses it, runs the handler and makes the connection ready
for the next request. h11 holds the protocol's state; `Phase` holds only what h11 cannot know.
"""

import asyncio
import contextlib
import enum
from typing import NamedTuple

import h11

from engine import containment, slices
from server.http import errors, exchange as http, inbound, outbound

DRAIN_BYTES = 64 * 1024
"""Most bytes of an unread body that are dropped to keep the connection; with more, it closes."""

LINGER_BYTES = 64 * 1024 * 1024
"""Most bytes that are read and dropped while a closed connection lingers."""

BLANK = frozenset({b"\r", b"\n"})
"""The first bytes of a blank line, which may stand before a request."""

SUPPORTED_VERSIONS = frozenset({b"1.0", b"1.1"})
"""The HTTP versions that are answered; any other is refused with 400."""


class Phase(enum.Enum):
    """The phase of a connection between its first request and its last."""

    IDLE = "between requests"
    BUSY = "a request is coming in or being answered"
    LAST = "closes after the answer in hand"


class Site(NamedTuple):
    """The parts of a server that all its connections share."""

    handler: http.Handler
    limits: http.Limits
    refuse: http.Refuse
    date: http.DateHeader


class Connection:
    """Serve one client's connection, from accept to close.

    Attributes:
        task: serves it, and ends when the connection is closed.
    """

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, site: Site
    ) -> None:
        limits = site.limits
        self._site = site
        self._limits = limits
        self._writer = writer
        self._out = outbound.Outbound(
            writer,
            self,
            buffer_bytes=limits.buffer_bytes,
            over_limit_stall=limits.over_limit_stall,
            write_stall=limits.write_stall,
        )
        self._protocol = self._cycle()
        self._head = http.Head(site.date, self._persistent)
        self._loop = asyncio.get_running_loop()
        self._phase = Phase.IDLE
        self._exchange: http.Exchange | None = None
        self._declared = 0
        self._grace: asyncio.TimerHandle | None = None
        self._in = inbound.Inbound(reader, writer, self)
        self._receiver = self._loop.create_task(self._in.read())
        self.task = self._loop.create_task(self._serve())

    @property
    def is_switched(self) -> bool:
        """Whether it speaks another protocol by now."""
        return self._exchange is not None and self._exchange.stage is http.Stage.SWITCHED

    def drain(self) -> None:
        """Close the connection when no answer is in hand, else after that answer."""
        if self._phase is Phase.IDLE:
            self._out.close()
        elif self._exchange is not None and self._exchange.on_drain is not None:
            self._exchange.on_drain()
        self._phase = Phase.LAST

    def abort(self) -> None:
        """Close the connection at once, whatever is in hand."""
        self._writer.transport.abort()
        self.task.cancel()

    async def _serve(self) -> None:
        try:
            own = slices.Slice()  # thousands of requests may come in one read
            while self._phase is not Phase.LAST and await self._serve_one():
                if own.spent and self._protocol.trailing_data[0]:
                    await own.pause()
            await self._linger()
        except asyncio.CancelledError:
            self._writer.transport.abort()
        except Exception as error:
            containment.report(containment.Boundary.CONNECTION, error)
            self._writer.transport.abort()
        finally:
            self._receiver.cancel()
            self._out.close()
            try:
                await self._writer.wait_closed()
            except OSError as error:
                error.__traceback__ = None  # the stream keeps the error, and it all of this
            finally:
                self._out.stop()
                self._part()

    def _part(self) -> None:
        """Break reference cycles so that a closed connection is freed by reference count, not by
        the collector."""
        self._phase = Phase.LAST
        self._exchange = None
        del self._out, self._head, self._in, self._receiver

    async def _serve_one(self) -> bool:
        """Answer one request; return whether another may follow."""
        try:
            request = await self._next_request()
        except errors.ApiError as error:
            self._refuse(error)
            return False
        if request is None:
            return False
        exchange = self._exchange = self._begin(request)
        try:
            await self._answer(request, exchange)
        finally:
            self._exchange = None
            if self._grace is not None:
                self._grace.cancel()
        return exchange.stage is http.Stage.COMPLETE and await self._drain_body()

    async def _next_request(self) -> h11.Request | None:
        """Return the next request's head, or None if no more will come.

        Raises:
            errors.ApiError: for what cannot be read as a request.
        """
        if self._phase is Phase.BUSY:
            self._phase = Phase.IDLE
        event = self._next_event()
        try:
            if event is h11.NEED_DATA:
                await self._feed(self._limits.idle_timeout)
        except TimeoutError:
            return None
        if self._phase is Phase.IDLE:
            self._phase = Phase.BUSY
        try:
            async with asyncio.timeout(self._limits.head_timeout):
                while event is h11.NEED_DATA:
                    event = self._next_event()
                    if event is h11.NEED_DATA:
                        await self._feed(None)
        except TimeoutError:
            raise errors.ApiError(
                "request_timeout_client", "the request's head came too slowly"
            ) from None
        return event if isinstance(event, h11.Request) else None

    def _next_event(self) -> object:
        try:
            return self._protocol.next_event()
        except h11.RemoteProtocolError as error:
            self._phase = Phase.LAST
            if error.error_status_hint == 431:
                raise errors.ApiError(
                    "headers_too_large", "the request's head is too large"
                ) from None
            raise errors.ApiError("bad_http", "the request is not valid HTTP/1.1") from None

    def _begin(self, head: h11.Request) -> http.Exchange:
        headers = http.Headers(
            (name.decode("latin-1"), value.decode("latin-1")) for name, value in head.headers
        )
        self._declared = int(headers.get("content-length") or 0)
        request = http.Request(
            head.method.decode("ascii"),
            head.target.decode("ascii"),
            headers,
            self._peer(),
            self._read_body,
        )
        if self._receiver.done():
            # The client has half-closed already. What the handler answers without waiting for
            # anything still goes out; a handler that waits learns that the client has left.
            self._loop.call_soon(self.lost)
        return http.Exchange(request, self._protocol, self._out, self._head, self._in.take)

    def _peer(self) -> str:
        peer = self._writer.get_extra_info("peername")
        return peer[0] if peer else ""

    async def _answer(self, head: h11.Request, exchange: http.Exchange) -> None:
        """Run the handler and see to it that the response ends."""
        try:
            self._check(head, exchange.request)
            await self._site.handler(exchange)
        except errors.ApiError as error:
            if exchange.stage is http.Stage.PENDING:
                request = exchange.request
                exchange.respond(*self._site.refuse(error, request, request.peer))
            elif exchange.stage in http.OPEN_STAGES:
                self._fail(exchange, error)
        except Exception as error:
            self._fail(exchange, error)
        if exchange.stage in http.OPEN_STAGES:
            self._fail(exchange, RuntimeError("the handler left its response open"))

    def _fail(self, exchange: http.Exchange, error: Exception) -> None:
        """Report a defect of ours, and answer as well as is still possible."""
        hidden = errors.defect()
        request = exchange.request
        status, headers, body = self._site.refuse(hidden, request, request.peer)
        ids = {"req_id": dict(headers).get("x-request-id"), "method": request.method}
        containment.report(containment.Boundary.REQUEST, error, path=request.path, **ids)
        if exchange.stage is http.Stage.PENDING:
            exchange.respond(status, headers, body)
        else:
            exchange.abort()

    def _check(self, head: h11.Request, request: http.Request) -> None:
        """Refuse requests that h11 lets through and this server does not.

        Raises:
            errors.ApiError: after whose answer the connection is closed.
        """
        expect = request.headers.get("expect")
        framings = [request.headers.get(name) for name in ("content-length", "transfer-encoding")]
        head_bytes = len(head.target) + sum(len(name) + len(value) for name, value in head.headers)
        if head_bytes > self._limits.head_bytes or len(head.headers) > self._limits.head_count:
            found = errors.ApiError("headers_too_large", "the request's head is too large")
        elif head.http_version not in SUPPORTED_VERSIONS or head.method == b"CONNECT":
            found = errors.ApiError("bad_http", "the request is not valid HTTP/1.1")
        elif None not in framings:
            # RFC 9112 §6.3: such a request may be an attempt at request smuggling.
            found = errors.ApiError("bad_http", "both content-length and transfer-encoding")
        elif expect is not None and expect.lower() != "100-continue":
            found = errors.ApiError("expectation_failed", "only `Expect: 100-continue` is met")
        else:
            return
        self._phase = Phase.LAST
        raise found

    async def _read_body(self) -> bytes:
        """Read a request's body; after a failure here the connection is not used again."""
        body = bytearray()
        own = slices.Slice()  # a body may come in chunks of a byte, thousands of them in a read
        try:
            while max(len(body), self._declared) <= self._limits.body_bytes:
                event = self._next_event()
                if isinstance(event, h11.Data):
                    body += event.data
                    if own.spent:
                        await own.pause()
                elif isinstance(event, h11.EndOfMessage):
                    return bytes(body)
                else:
                    if self._protocol.they_are_waiting_for_100_continue:
                        go_on = h11.InformationalResponse(status_code=100, headers=[])
                        self._out.transmit(self._protocol.send(go_on))
                    await self._feed(self._limits.body_timeout)
        except TimeoutError:
            found = errors.ApiError("request_timeout_client", "the request's body came too slowly")
        else:
            message = f"the body is over {self._limits.body_bytes} bytes"
            found = errors.ApiError("request_too_large", message)
        self._phase = Phase.LAST
        raise found

    def _persistent(self) -> bool:
        """Return whether a further request may come after the one being answered."""
        unread = self._protocol.their_state is h11.SEND_BODY
        refused = self._protocol.they_are_waiting_for_100_continue
        return self._phase is not Phase.LAST and not (
            unread and (refused or self._declared > DRAIN_BYTES)
        )

    def _refuse(self, error: errors.ApiError) -> None:
        """Answer input that never became a request."""
        self._phase = Phase.LAST
        status, headers, body = self._site.refuse(error, None, self._peer())
        head = self._head.of(status, [*headers, ("content-length", str(len(body)))])
        parts = (head, h11.Data(data=body), h11.EndOfMessage())
        self._out.transmit(b"".join(self._protocol.send(part) or b"" for part in parts))

    async def _drain_body(self) -> bool:
        """Bring the connection to where the next request begins; return False if that cannot
        be."""
        if self._protocol.our_state is not h11.DONE:
            return False
        drained = 0
        own = slices.Slice()  # as in `_read_body`
        try:
            while self._protocol.their_state is h11.SEND_BODY:
                event = self._next_event()
                if isinstance(event, h11.Data):
                    drained += len(event.data)
                    if own.spent:
                        await own.pause()
                elif event is h11.NEED_DATA:
                    await self._feed(self._limits.linger)
                if drained > DRAIN_BYTES:
                    return False
            # A client that sends requests and reads no answers is not served any further.
            await self._writer.drain()
        except (errors.ApiError, TimeoutError, OSError):
            return False
        rest, at_end = self._protocol.trailing_data
        if rest[:1] in BLANK:
            # h11 takes no blank line behind a body for what it is (RFC 9112 §2.2).
            self._protocol = self._cycle()
            self._receive(rest)
            if at_end:
                self._protocol.receive_data(b"")
        else:
            self._protocol.start_next_cycle()
        return True

    def _cycle(self) -> h11.Connection:
        head_bytes = self._limits.head_bytes
        return h11.Connection(h11.SERVER, max_incomplete_event_size=head_bytes)

    async def _linger(self) -> None:
        """Close the connection without destroying the last answer on its way.

        Closing a socket with unread input resets the connection, and the client may lose what it
        had not read yet (RFC 9112 §9.6): so half-close first, and read on for a moment.
        """
        await self._out.flush()
        if self._writer.transport.is_closing() or self._receiver.done():
            return
        self._writer.write_eof()
        dropped = 0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._limits.linger):
                while not self._receiver.done() and dropped < LINGER_BYTES:
                    dropped += sum(map(len, await self._in.take(None)))

    async def _feed(self, timeout: float | None) -> None:
        """Pass the received bytes to h11; an empty piece tells it of the input's end."""
        for data in await self._in.take(timeout):
            self._receive(data)

    def _receive(self, data: bytes) -> None:
        """Hand bytes to h11, without blank lines before a request (RFC 9112 §2.2)."""
        is_first = data[:1] in BLANK and self._protocol.their_state is h11.IDLE
        if is_first and not self._protocol.trailing_data[0]:
            data = data.lstrip(b"\r\n")
            if not data:
                return  # an empty piece would be the input's end
        self._protocol.receive_data(data)

    def lost(self) -> None:
        """Take note that nobody is left to answer."""
        self._lose(http.Stage.LEFT)

    def stalled(self) -> None:
        """Take note that the client has stopped reading."""
        self._writer.transport.abort()
        self._lose(http.Stage.WRITE_STALL)

    def pressed(self, buffered: int) -> None:
        """Tell the exchange that its client reads too slowly; `buffered` bytes wait for it."""
        exchange = self._exchange
        if exchange is not None and exchange.on_pressure is not None:
            exchange.on_pressure(buffered)

    def relieved(self) -> None:
        """Tell the exchange that its client has caught up."""
        exchange = self._exchange
        if exchange is not None and exchange.on_relief is not None:
            exchange.on_relief()

    def _lose(self, stage: http.Stage) -> None:
        if self._exchange is None or self._exchange.stage not in http.OPEN_STAGES:
            return
        self._writer.transport.abort()
        self._grace = self._loop.call_later(self._limits.gone_grace, self.task.cancel)
        self._exchange.lose(stage)
