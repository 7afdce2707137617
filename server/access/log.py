"""Writes what every request leaves: a line of the diagnostics, a record where it was refused."""

import asyncio
import secrets
from collections.abc import Callable
from typing import Any, Final, Protocol

import msgspec
import structlog

from engine import containment, failures
from engine.log import event_log as eventlog
from engine.log.content import mask
from machines import events
from server.access import sampling
from server.access.entry import NOBODY_SAW, Entry, Severity, StreamEnd
from server.access.projection import Projection, project, project_background
from server.access.strangers import WINDOW_S, Strangers
from server.access.tracecontext import TraceContext
from server.http import clientaddress
from server.http.errors import ApiError
from server.http.exchange import Request

PATH_CHARACTERS: Final = 256
"""Characters of a path without a route that are kept."""

METHOD_CHARACTERS: Final = 32
"""Characters of a method that are kept; the longest that is registered has 17."""

BeginTrace = Callable[[Request | None], TraceContext | None]
"""Finds the place of a request in a trace: with the request, where there was one."""

REJECTED: Final = "rejected"
"""The state in the one record of a refused request."""

_log = structlog.get_logger(component="access")


class Answered(Protocol):
    """The answer that was sent to a request: by its exchange, or as a message among others."""

    status: int | None
    body_bytes: int


class AccessLog:
    """The trace of all requests of a server.

    Args:
        trusted: networks of the proxies whose word counts for a client's address.
        budget_us: time to a stream's first output above which it is slow; 0: never.
        projections: shown every request that has ended, once its line is written.
        begin_trace: finds the place of a request in a trace; None: none is made.
        sample_rate: of so many requests that went well one has a line.
        worker_state: the default worker's, for the lines of what failed by the server's side.
    """

    def __init__(
        self,
        event_log: eventlog.EventLog,
        trusted: tuple[clientaddress.Network, ...],
        budget_us: int,
        projections: tuple[Projection, ...] = (),
        begin_trace: BeginTrace | None = None,
        sample_rate: int = sampling.WHOLE,
        worker_state: Callable[[], str] | None = None,
    ) -> None:
        self._event_log = event_log
        self._client_of = clientaddress.finder(trusted)
        self._budget_us = budget_us
        self._projections = projections
        self._begin_trace = begin_trace
        self._sampler = sampling.Sampler(sample_rate)
        self._worker_state = worker_state
        self._strangers: Strangers[Entry] = Strangers()
        self._timer: asyncio.TimerHandle | None = None
        self._line = _log.bind()

    def begin(self, request: Request, request_id: str) -> Entry:
        """Open the entry of a request that has come."""
        try:
            client = self._client_of(request.peer, request.headers)
        except Exception as error:  # as in `_tell`
            containment.report(containment.Boundary.ACCESS, error, req_id=request_id)
            client = request.peer
        method = request.method[:METHOD_CHARACTERS]
        path = failures.without_keys(request.path[:PATH_CHARACTERS])
        entry = Entry(request_id, method, path, client, self._now())
        self._trace(entry, request)
        return entry

    def end(self, entry: Entry, answered: Answered) -> None:
        """Write the trace of a request that was answered, or whose client has left."""
        entry.status, entry.body_bytes = answered.status, answered.body_bytes
        entry.ended = self._now()
        self._tell(entry)

    def refuse(self, error: ApiError, request: Request | None, peer: str, request_id: str) -> None:
        """Write the trace of what came and was refused before it was a request, or as one."""
        if request is not None:
            entry = self.begin(request, request_id)
        else:
            entry = Entry(request_id, "", "", peer, self._now())
            self._trace(entry, None)
        entry.error, entry.status, entry.ended = error, error.status, entry.began
        entry.body_bytes = len(error.body())
        self._tell(entry)

    def stream_ended(self, entry: Entry, end: StreamEnd) -> None:
        """Take the end of the stream that answers a request; one that goes on in the background
        has a line of its own."""
        entry.stream_ended = self._now()
        if entry.ended is None:
            entry.stream = end
            return
        ended = msgspec.structs.replace(entry, stream=end, status=end.terminal.status)
        fields = {"kind": ended.kind, "code": ended.written_code, **_of_stream(end)}
        line = self._chosen(ended, ended.severity, fields)
        if line is not None:
            self._line.log(ended.severity, "stream_ended", **line)
        project_background(self._projections, ended)

    def _trace(self, entry: Entry, request: Request | None) -> None:
        if self._begin_trace is None:
            return
        try:
            entry.trace = self._begin_trace(request)
        except Exception as error:  # as in `_tell`
            containment.report(containment.Boundary.ACCESS, error, req_id=entry.request_id)

    def _now(self) -> float:
        return self._event_log.now() / 1_000_000

    def close(self) -> None:
        """Write what was counted and not told yet."""
        if self._timer is not None:
            self._timer.cancel()
        self._tell_counted(self._now())

    def _tell(self, entry: Entry) -> None:
        try:
            if entry.error is not None and entry.key is None:
                group = clientaddress.group_of(entry.client)
                is_told = self._strangers.admit(group, entry, self._now())
                self._wait()
                if not is_told:
                    return
            self._write(entry, 1)
        except Exception as error:  # an account that fails must change no byte of an answer
            containment.report(containment.Boundary.ACCESS, error, req_id=entry.request_id)

    def _write(self, entry: Entry, count: int) -> None:
        try:
            self._write_line(entry, count)
        finally:  # who counts requests counts this one, whatever becomes of its line
            project(self._projections, entry, count)

    def _write_line(self, entry: Entry, count: int) -> None:
        if entry.error is not None:
            self._record(entry, entry.error, count)
        severity, name = entry.severity, "request_ended"
        if self._is_slow(entry):
            severity, name = max(severity, Severity.WARNING), "request_over_latency_budget"
        line = self._chosen(entry, severity, self._fields(entry, count))
        if line is not None:
            self._line.log(severity, name, **line)

    def _chosen(
        self, entry: Entry, severity: Severity, fields: dict[str, Any]
    ) -> dict[str, Any] | None:
        """Return what a line says; None where another line stands for it."""
        rate = self._sampler.rate_of(entry, severity)
        if rate == sampling.LEFT_OUT:
            return None
        known = _known({"req_id": entry.request_id, **fields})
        if rate != sampling.WHOLE:
            known["sample_rate"] = rate
        if severity >= Severity.ERROR and self._worker_state is not None:
            known["worker_state"] = self._worker_state()
        return known

    def _record(self, entry: Entry, error: ApiError, count: int) -> None:
        rejected = events.RequestRejected(
            request_id=entry.request_id,
            code=error.code,
            status=error.status,
            message=error.message[: failures.MESSAGE_CHARACTERS],
            param=error.param and failures.without_keys(error.param[:PATH_CHARACTERS]),
            method=entry.method,
            route=entry.route,
            path="" if entry.route else entry.path,
            client=entry.client,
            count=count,
            key=entry.key or "",
            model=failures.without_keys(entry.model),
        )
        self._event_log.stream(f"rj_{secrets.token_hex(12)}").close(rejected, REJECTED)
        self._event_log.flush()

    def _is_slow(self, entry: Entry) -> bool:
        if not self._budget_us or entry.stream is None:
            return False
        terminal = entry.stream.terminal
        return (terminal.ttft_us or terminal.duration_us) > self._budget_us

    def _fields(self, entry: Entry, count: int) -> dict[str, Any]:
        of_stream = {} if entry.stream is None else _of_stream(entry.stream)
        error = entry.error
        return {
            "method": entry.method,
            "route": entry.route,
            "path": "" if entry.route else mask.mask_name(entry.path),
            "status": entry.status or NOBODY_SAW,
            "kind": entry.kind,
            "code": entry.written_code,
            # A client makes up names of parameters, and paths.
            "param": mask.mask_code(error.param) if error is not None and error.param else None,
            **of_stream,
            "duration_ms": round(((entry.ended or entry.began) - entry.began) * 1000, 1),
            "overhead_ms": None if entry.own_us is None else round(entry.own_us / 1000, 2),
            "bytes": of_stream.get("bytes", entry.body_bytes),
            "client": entry.client,
            "key": entry.key,
            "trace": None if entry.trace is None else entry.trace.trace,
            "count": count if count > 1 else None,
        }

    def _wait(self) -> None:
        """See to it that each window ends: what it counted is told, and its place is free."""
        if self._timer is not None:
            return  # of the earliest: to look for its end at each refusal is no work for a flood
        end = self._strangers.next_end
        if end is not None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(end - self._now(), self._wake)

    def _wake(self) -> None:
        self._timer = None
        self._tell_counted(self._now() - WINDOW_S)
        self._wait()

    def _tell_counted(self, until: float) -> None:
        counted = self._strangers.close(until)
        containment.each(containment.Boundary.ACCESS, lambda each: self._write(*each), counted)


def _of_stream(end: StreamEnd) -> dict[str, Any]:
    terminal = end.terminal
    ttft_us = terminal.ttft_us
    return {
        "stream": end.stream_id,
        "model": end.opened.model,
        "finish_reasons": terminal.finish_reasons if any(terminal.finish_reasons) else None,
        "ttft_ms": None if ttft_us is None else round(ttft_us / 1000, 1),
        "frames": terminal.frames,
        "bytes": terminal.body_bytes,
    }


def _known(fields: dict[str, Any]) -> dict[str, Any]:
    """Leave out what is not known or not there."""
    return {name: value for name, value in fields.items() if value is not None and value != ""}
