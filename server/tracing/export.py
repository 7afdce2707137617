"""Hands spans to OpenTelemetry's SDK, which sends them by OTLP from a thread of its own.

The SDK is the one that operators know: its variables (`OTEL_EXPORTER_OTLP_ENDPOINT`,
`OTEL_RESOURCE_ATTRIBUTES`, `OTEL_TRACES_SAMPLER` and so on) mean here what they mean elsewhere.
What it gets is bounded here, so that a receiver that is slow or away costs memory for one queue,
and a span too many is counted instead of a line in the diagnostics.

This module is loaded only where tracing is on: the SDK takes 0.2 s and 20 MiB.
"""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import requests
import structlog
from opentelemetry import context as otelcontext, trace
from opentelemetry.exporter.otlp.proto.http import trace_exporter
from opentelemetry.sdk import resources
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider, export, id_generator, sampling
from opentelemetry.trace.propagation import tracecontext as propagation

from engine import containment
from server.access import tracecontext
from server.tracing.spans import Counts, Kind, Span
from server.version import VERSION

SERVICE: Final = "turntape"
"""`service.name`, where the environment gives no other."""

QUEUE: Final = 2048
"""Spans that wait to be sent, where `OTEL_BSP_MAX_QUEUE_SIZE` says no other number. Source: the
specification of the batching processor."""

BATCH: Final = 512
"""Spans of a request to the receiver. Source: the same."""

MOST_BYTES: Final = 4096
"""Bytes of a receiver's answer that are read, so that its connection may be used again; one has
some ten."""

PROVIDERS: Final = (
    "OTEL_PYTHON_EXPORTER_OTLP_HTTP_CREDENTIAL_PROVIDER",
    "OTEL_PYTHON_EXPORTER_OTLP_HTTP_TRACES_CREDENTIAL_PROVIDER",
)
"""Variables of the SDK's that name a session of the operator's own."""

KINDS: Final = {Kind.SERVER: trace.SpanKind.SERVER, Kind.CLIENT: trace.SpanKind.CLIENT}

_FAILED: Final = trace.Status(trace.StatusCode.ERROR)

_log = structlog.get_logger(component="tracing")


class _Ids(id_generator.IdGenerator):
    """Gives a span the ids that were chosen when its request came."""

    def __init__(self) -> None:
        self.trace_id = 0
        self.span_id = 0

    def generate_trace_id(self) -> int:
        return self.trace_id

    def generate_span_id(self) -> int:
        return self.span_id


class _Session(requests.Session):
    """Sends spans. The SDK takes a redirect for success, and reads an answer without end whole."""

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        response = super().send(request, **{**kwargs, "stream": True})
        with response:
            response.raw.read(MOST_BYTES, decode_content=False)
            if 300 <= response.status_code < 400:
                raise requests.exceptions.TooManyRedirects("a receiver of spans has moved")
        return response


def _otlp(environ: Mapping[str, str]) -> export.SpanExporter:
    """Make what sends spans by OTLP, by the session that the environment names or by ours."""
    if any(environ.get(name) for name in PROVIDERS):
        return trace_exporter.OTLPSpanExporter()
    return trace_exporter.OTLPSpanExporter(session=_Session())


class _Counting(export.SpanExporter):
    """An exporter that says how it went: once when it begins to fail, once when it goes again.

    Its methods run on the processor's thread.
    """

    def __init__(self, exporter: export.SpanExporter, counts: Counts) -> None:
        self.taken = 0
        self._exporter = exporter
        self._counts = counts
        self._fails = False

    def export(self, spans: Sequence[ReadableSpan]) -> export.SpanExportResult:
        self.taken += len(spans)
        result = export.SpanExportResult.FAILURE
        try:
            result = self._exporter.export(spans)
        finally:
            self._took(len(spans), result is export.SpanExportResult.SUCCESS)
        return result

    def _took(self, spans: int, is_well: bool) -> None:
        if is_well:
            self._counts.exported += spans
        else:
            self._counts.failed += spans
        if self._fails is is_well:
            self._fails = not is_well
            if is_well:
                _log.info("spans_exported_again", failed=self._counts.failed)
            else:
                # Not why: the SDK's words may hold the headers and the address, and so a login.
                _log.warning("spans_not_exported", spans=spans)

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._exporter.force_flush(timeout_millis)


class _Templates(logging.Handler):
    """Brings what the SDK says of its variables, without their values: a header is a secret."""

    def emit(self, record: logging.LogRecord) -> None:
        _log.warning("sdk_warning", about=record.name, said=str(record.msg))


class Exporter:
    """The SDK, set up by the environment. Its thread runs until `close`.

    Args:
        environ: the environment that the SDK reads itself.
        make: makes what sends the spans, from the environment.
    """

    def __init__(
        self,
        environ: Mapping[str, str],
        make: Callable[[Mapping[str, str]], export.SpanExporter] = _otlp,
    ) -> None:
        self.counts = Counts()
        own = logging.getLogger("opentelemetry")
        own.propagate = False  # its lines have addresses and headers in them
        own.handlers = [_Templates(logging.WARNING)]
        self._queue = _number(environ, "OTEL_BSP_MAX_QUEUE_SIZE", QUEUE)
        batch = min(_number(environ, "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", BATCH), self._queue)
        self._handed = 0
        self._exporter = _Counting(make(environ), self.counts)
        self._processor = export.BatchSpanProcessor(
            self._exporter, max_queue_size=self._queue, max_export_batch_size=batch
        )
        self._random = id_generator.RandomIdGenerator()
        self._propagator = propagation.TraceContextTextMapPropagator()
        self._ids = _Ids()
        resource = _resource()
        # The sampler of the environment is asked when a request comes, and not again at its end.
        self._sampler = TracerProvider(resource=resource, shutdown_on_exit=False).sampler
        provider = TracerProvider(
            sampler=sampling.ALWAYS_ON,
            resource=resource,
            shutdown_on_exit=False,
            id_generator=self._ids,
        )
        provider.add_span_processor(self._processor)
        self._tracer = provider.get_tracer(SERVICE, VERSION)
        own.handlers = [logging.NullHandler()]  # how exports go is counted

    def begin(self, headers: Mapping[str, list[str]]) -> tracecontext.TraceContext:
        """Choose the ids of a request's spans, and whether they are made.

        Args:
            headers: `traceparent` and `tracestate`, as often as they came. What cannot be read is
                as if it had not come.
        """
        given = headers if len(headers.get("traceparent", ())) == 1 else {}
        parent = self._propagator.extract(given, otelcontext.Context())
        client = trace.get_current_span(parent).get_span_context()
        trace_id = client.trace_id if client.is_valid else self._random.generate_trace_id()
        found = self._sampler.should_sample(
            parent, trace_id, "request", trace.SpanKind.SERVER, trace_state=client.trace_state
        )
        is_sampled = found.decision is sampling.Decision.RECORD_AND_SAMPLE
        state = found.trace_state
        return tracecontext.TraceContext(
            trace_id=trace_id,
            parent_id=client.span_id if client.is_valid else 0,
            request_id=self._random.generate_span_id(),
            answer_id=self._random.generate_span_id(),
            flags=tracecontext.SAMPLED * is_sampled | client.trace_flags & tracecontext.RANDOM,
            state="" if state is None else state.to_header(),
        )

    def export(self, span: Span, of: tracecontext.TraceContext) -> None:
        """Have a span be sent; it is dropped while too many wait."""
        if self._handed - self._exporter.taken >= self._queue:
            self.counts.dropped += 1
            return
        self._handed += 1
        self._ids.trace_id, self._ids.span_id = of.trace_id, span.span_id
        made = self._tracer.start_span(
            span.name,
            _context(span, of),
            KINDS[span.kind],
            span.attributes,
            start_time=span.start_us * 1000,
        )
        if span.failed:
            made.set_status(_FAILED)
        made.end(span.end_us * 1000)

    def close(self) -> int:
        """Send what waits, and end the thread; return how many spans were not sent. It blocks for
        as long as the receiver lets it wait."""
        self._processor.shutdown()
        return self.unsent

    @property
    def unsent(self) -> int:
        """Spans that wait, or that are being sent."""
        return self._handed - self.counts.exported - self.counts.failed


def _context(span: Span, of: tracecontext.TraceContext) -> otelcontext.Context:
    """Return what makes a span the child of its parent."""
    if not span.parent_id:
        return otelcontext.Context()
    parent = trace.SpanContext(
        of.trace_id,
        span.parent_id,
        is_remote=span.kind is Kind.SERVER,
        trace_flags=trace.TraceFlags(of.flags),
        trace_state=trace.TraceState.from_header([of.state]) if of.state else None,
    )
    return trace.set_span_in_context(trace.NonRecordingSpan(parent), otelcontext.Context())


def _resource() -> resources.Resource:
    """Return what the spans are of: the environment's word counts before ours."""
    own = {resources.SERVICE_NAME: SERVICE, resources.SERVICE_VERSION: VERSION}
    given = dict(resources.Resource.create().attributes)
    if str(given.get(resources.SERVICE_NAME, "")).startswith("unknown_service"):
        del given[resources.SERVICE_NAME]
    return resources.Resource({**own, **given})


def _number(environ: Mapping[str, str], name: str, default: int) -> int:
    """Return a variable of the SDK's that is a number above 0; what is none is as if not set."""
    text = environ.get(name, "").strip()
    return int(text) if text.isdecimal() and int(text) > 0 else default


def end(exporter: Exporter, ended: Callable[[], None]) -> None:
    """Close an exporter on a thread of its own, which no end of the process waits for."""

    def close() -> None:
        try:
            exporter.close()
        except Exception as error:
            # Where, and not the error's own words, as above: they may hold a login.
            bare = RuntimeError(type(error).__name__).with_traceback(error.__traceback__)
            containment.report(containment.Boundary.SHUTDOWN, bare, step="tracing")
        finally:
            ended()

    threading.Thread(target=close, name="tracing-close", daemon=True).start()
