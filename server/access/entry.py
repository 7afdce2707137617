"""One request, as its access line and the record of its refusal tell of it."""

import enum

import msgspec

from engine.log.content import mask
from machines import events
from server.access.tracecontext import TraceContext
from server.http.errors import ApiError, case_of

MODEL_CHARACTERS = 128
"""Characters of a model's name that are kept, as a summary has it: clients make names up."""

PROBES = ("/healthz", "/readyz", "/livez")
"""Routes that load balancers ask all the time: nobody wants to read of it."""

METRICS = "/metrics"
"""The route that Prometheus asks all the time: only a refusal is worth reading of."""

NOBODY_SAW = 499
"""The status of a request whose client left before its answer (nginx's; no client sees it)."""

GOOD_KINDS = frozenset({"answered", "completed", "truncated", "empty", "client_gone"})
"""Kinds of an end that is no failure, whoever cut the answer."""


class Severity(enum.IntEnum):
    """How much a line wants to be read; the values are those of `logging`."""

    DEBUG = 10
    INFO = 20
    WARNING = 30
    ERROR = 40


class StreamEnd(msgspec.Struct, frozen=True):
    """A stream that answered a request, and how it ended.

    Attributes:
        failure_status: the HTTP status that its failure came with, whatever the client was told
            by then; 0 where it had none.
    """

    stream_id: str
    opened: events.Opened
    terminal: events.Terminal
    failure_status: int = 0


class Entry(msgspec.Struct):
    """One request, while it is answered.

    Attributes:
        method: the beginning of it.
        path: the same, without keys.
        client: the client's address; empty if it had left.
        began: in seconds of the log's clock, which never steps back.
        route: the pattern of its path, such as `/v1/responses/{id}`; empty where there is none.
        key: name of the key that was accepted, empty where none is needed; None before that.
        model: that was asked for, as far as it is known before a stream begins: the beginning of
            it.
        error: the refusal that was its answer, if it was one.
        stream: the stream that was its answer, once that has ended.
        status: that was sent; None where nothing was.
        body_bytes: of an answer that is no stream.
        ended: when it was answered, by the same clock; None until then.
        trace: its place in a trace; None where none is made.
        asked: numbers of the request that steer the model, by attributes of a span; only for one.
        stood_in: the target that answered in place of the first; None: that one did.
        stream_ended: when `stream` was told, by the same clock.
        own_us: microseconds of a model's answer that were our own: `server.api.owntime`.
    """

    request_id: str
    method: str
    path: str
    client: str
    began: float
    route: str = ""
    key: str | None = None
    model: str = ""
    error: ApiError | None = None
    stream: StreamEnd | None = None
    status: int | None = None
    body_bytes: int = 0
    ended: float | None = None
    trace: TraceContext | None = None
    asked: dict[str, int | float] = {}
    stood_in: events.FallbackTaken | None = None
    stream_ended: float | None = None
    own_us: int | None = None

    @property
    def is_traced(self) -> bool:
        """Whether spans are made of it."""
        return self.trace is not None and self.trace.is_sampled

    @property
    def trace_headers(self) -> tuple[tuple[str, str], ...]:
        """The headers that tell a server which is asked for the answer of the trace."""
        return () if self.trace is None else self.trace.headers()

    @property
    def kind(self) -> str:
        """How it ended: a stream's kind, `answered`, `rejected`, or `client_gone`."""
        if self.stream is not None:
            return self.stream.terminal.kind
        if self.status is None:
            return "client_gone"
        return "rejected" if self.error is not None else "answered"

    @property
    def code(self) -> str | None:
        """The error code that the client was told, or would have been."""
        if self.stream is not None:
            return self.stream.terminal.code
        return None if self.error is None else self.error.code

    @property
    def written_code(self) -> str | None:
        """The same for the diagnostics: a provider's own may be a sentence, and is masked then."""
        return None if self.code is None else mask.mask_code(self.code)

    @property
    def _was_cut(self) -> bool:
        """Whether the answer is a good one, and ends where a worker was lost."""
        end = self.stream
        # What ends it otherwise in this way is a limit of time: `timer_fired`.
        return end is not None and (end.terminal.kind, end.terminal.emission_trigger) == (
            "truncated",
            "turn_failed",
        )

    @property
    def _was_meant(self) -> bool:
        """Whether an operator wants the request to be refused."""
        return self.error is not None and self.error.code == "maintenance"

    @property
    def severity(self) -> Severity:
        """A failure of the server's side is an error, one of the client's a warning."""
        if self.route in PROBES or (self.route == METRICS and self.error is None):
            return Severity.DEBUG
        if self.kind == "shutdown" or self._was_cut or self._was_meant:
            return Severity.WARNING
        if self.kind in GOOD_KINDS:
            return Severity.INFO
        status = case_of(self.code).status if self.code is not None else 500
        if self.error is not None:
            status = self.error.status
        return Severity.ERROR if status >= 500 else Severity.WARNING
