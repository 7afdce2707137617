"""A receiver of spans on loopback, as a collector of OpenTelemetry is one: OTLP over HTTP."""

import collections
import http.server
import socket
import threading
from collections.abc import Callable
from typing import Any, Final, Self

from opentelemetry.proto.collector.trace.v1 import trace_service_pb2
from opentelemetry.proto.trace.v1 import trace_pb2

from tests.support.process import machinetime

PATIENCE_S: Final = machinetime.HANG_S

PATH: Final = "/v1/traces"
"""Where spans are sent (OTLP/HTTP)."""


class Received:
    """One span, as it came over the wire."""

    def __init__(self, span: trace_pb2.Span, resource: dict[str, Any]) -> None:
        self.name = span.name
        self.kind = trace_pb2.Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_")
        self.trace_id = span.trace_id.hex()
        self.span_id = span.span_id.hex()
        self.parent_id = span.parent_span_id.hex()
        self.state = span.trace_state
        self.start_us = span.start_time_unix_nano // 1000
        self.end_us = span.end_time_unix_nano // 1000
        self.failed = span.status.code == trace_pb2.Status.STATUS_CODE_ERROR
        self.events = len(span.events)
        self.attributes = _plain(span.attributes)
        self.resource = resource


def _plain(pairs: Any) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(each) for each in value.array_value.values]
    return getattr(value, kind)


class Collector:
    """A receiver in a thread of its own.

    Args:
        status: that it answers with.
        hangs: whether it takes connections and answers nobody.

    Attributes:
        headers: of every request, names in lower case.
        bodies: of every request, as they came.
    """

    def __init__(self, status: int = 200, hangs: bool = False) -> None:
        self.headers: list[dict[str, str]] = []
        self.bodies: list[bytes] = []
        self.spans: list[Received] = []
        self.status = status
        self._hangs = hangs
        self._news = threading.Condition()
        self._leaving = threading.Event()
        collector = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                collector._take(self.path, dict(self.headers.items()), body)
                if collector._hangs:
                    collector._leaving.wait()
                self.send_response(collector.status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Print nothing."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        """The endpoint, as `OTEL_EXPORTER_OTLP_ENDPOINT` has it."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._leaving.set()
        self._server.shutdown()
        self._server.server_close()

    def wait(self, what: Callable[[], Any]) -> Any:
        """Wait until something is so of what came, and return it."""
        with self._news:
            found = self._news.wait_for(what, PATIENCE_S)
        assert found, [(span.name, span.attributes) for span in self.spans]
        return found

    def of_trace(self, trace_id: str, count: int) -> dict[str, Received]:
        """Wait for so many spans of a trace; return them by their kind."""

        def found() -> list[Received]:
            return [span for span in self.spans if span.trace_id == trace_id]

        self.wait(lambda: len(found()) >= count)
        spans = found()
        kinds = collections.Counter(span.kind for span in spans)
        assert len(spans) == count and max(kinds.values()) == 1, kinds
        return {span.kind: span for span in spans}

    def _take(self, path: str, headers: dict[str, str], body: bytes) -> None:
        assert path == PATH, path
        sent = trace_service_pb2.ExportTraceServiceRequest.FromString(body)
        with self._news:
            self.bodies.append(body)
            self.headers.append({name.lower(): value for name, value in headers.items()})
            for group in sent.resource_spans:
                resource = _plain(group.resource.attributes)
                for scope in group.scope_spans:
                    self.spans += (Received(span, resource) for span in scope.spans)
            self._news.notify_all()


def nobody() -> str:
    """The address of an endpoint at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return f"http://127.0.0.1:{taken.getsockname()[1]}"
