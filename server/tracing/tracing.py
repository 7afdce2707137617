"""Tracing as the server has it: each request's place in a trace, and its spans when it has ended.

It is a reader of ended requests (`server.access.projection`), so a span says what the access line
and the terminal record say, and nothing is done for a token.
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from typing import Final

import structlog

from server.access.entry import Entry, Severity
from server.access.tracecontext import TraceContext
from server.config.load import ConfigError
from server.http.exchange import Request
from server.tracing import attributes, export, spans

CLOSE_S: Final = 3.0
"""Seconds that a stop waits for the spans that are not sent yet."""

HEADERS: Final = ("traceparent", "tracestate")
"""The headers of W3C Trace Context."""

_log = structlog.get_logger(component="tracing")


class Tracing:
    """Makes spans of ended requests and has them exported.

    Args:
        conventions: whose names the attributes have.
        server: address and port of the upstream; None without one.
        make: makes the exporter, at `start`.
    """

    def __init__(
        self,
        conventions: attributes.Conventions,
        server: tuple[str, int] | None,
        make: Callable[[], export.Exporter],
    ) -> None:
        self._conventions = conventions
        self._server = server
        self._make = make
        self._exporter: export.Exporter | None = None

    close_s: Final = CLOSE_S

    @property
    def counts(self) -> spans.Counts:
        """The fate of the spans so far."""
        return spans.Counts() if self._exporter is None else self._exporter.counts

    def start(self) -> None:
        """Begin to export.

        Raises:
            ConfigError: a variable of the SDK's cannot be used.
        """
        try:
            self._exporter = self._make()
        except Exception:
            # Not the error's own words: a variable may hold a login.
            problem = "OpenTelemetry cannot use one of them"
            raise ConfigError("OTEL_ variables", problem) from None

    async def close(self) -> None:
        """Send what waits, as far as the receiver takes it in a few seconds."""
        exporter, self._exporter = self._exporter, None
        if exporter is None:
            return
        loop = asyncio.get_running_loop()
        closed = asyncio.Event()
        export.end(exporter, lambda: _tell(loop, closed))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                await closed.wait()
        if exporter.unsent:
            _log.warning("spans_lost", spans=exporter.unsent)

    def begin(self, request: Request | None) -> TraceContext | None:
        """Find the place of a request in a trace: its client's, or one that begins here."""
        if self._exporter is None:
            return None
        given: Mapping[str, list[str]] = {}
        if request is not None:
            given = {name: found for name in HEADERS if (found := request.headers.get_all(name))}
        return self._exporter.begin(given)

    def request_ended(self, entry: Entry, count: int) -> None:
        """Make the spans of a request, and of its answer where that has ended too. A probe that
        is answered has none."""
        if entry.severity is Severity.DEBUG or not entry.is_traced:
            return
        ended = self._ended(entry, count)
        self._export(entry, spans.of_request, ended)
        if entry.stream is not None:
            self._export(entry, spans.of_answer, ended)

    def background_ended(self, entry: Entry) -> None:
        """Make the span of an answer that was made in the background."""
        if entry.is_traced:
            self._export(entry, spans.of_answer, self._ended(entry, 1))

    def _ended(self, entry: Entry, count: int) -> attributes.Ended:
        end = entry.stream
        if end is None:
            return attributes.Ended(entry, count)
        worker = end.opened.worker if entry.stood_in is None else entry.stood_in.worker
        return attributes.Ended(entry, count, self._server if worker == "upstream" else None)

    def _export(
        self,
        entry: Entry,
        make: Callable[[attributes.Ended, attributes.Conventions], spans.Span],
        ended: attributes.Ended,
    ) -> None:
        if self._exporter is not None and entry.trace is not None:
            self._exporter.export(make(ended, self._conventions), entry.trace)


def _tell(loop: asyncio.AbstractEventLoop, closed: asyncio.Event) -> None:
    """Set an event from another thread; the loop may be over already."""
    try:
        loop.call_soon_threadsafe(closed.set)
    except RuntimeError:
        return
