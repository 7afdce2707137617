"""What OpenTelemetry's SDK is handed, how much of it may wait, and what is counted of it."""

import contextlib
import socket
import threading
import traceback
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import structlog
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from server.access.tracecontext import SAMPLED, TraceContext
from server.tracing import export
from server.tracing.spans import Kind, Span
from tests.support.process import machinetime

TRACE = TraceContext(0xA, 0xB, 0xC, 0xD, SAMPLED, "congo=1")
ENVIRON = {"OTEL_BSP_MAX_QUEUE_SIZE": "4", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "2"}


def span(name: str = "chat m", parent_id: int = 0xC) -> Span:
    return Span(name, Kind.CLIENT, 0xD, parent_id, 1_000, 3_000, {"a": 1, "b": ("x",)}, True)


class Receiver(SpanExporter):
    """Takes spans as a test has it: at once, never, or with an error."""

    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []
        self.opened = threading.Event()
        self.reached = threading.Event()
        self.opened.set()
        self.results: list[SpanExportResult | Exception] = []

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.reached.set()
        self.opened.wait()
        result = self.results.pop(0) if self.results else SpanExportResult.SUCCESS
        if isinstance(result, Exception):
            raise result
        self.spans += spans
        return result


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.opened.set()


def test_a_span_is_what_was_made_of_the_request(receiver: Receiver) -> None:
    exporter = export.Exporter({}, lambda _: receiver)
    exporter.export(span(), TRACE)
    exporter.export(span("first", parent_id=0), TRACE)
    assert exporter.close() == 0
    child, first = sorted(receiver.spans, key=lambda each: each.name)
    assert child.context is not None and child.parent is not None
    assert (child.context.trace_id, child.context.span_id) == (0xA, 0xD)
    assert (child.parent.span_id, child.parent.trace_state.to_header()) == (0xC, "congo=1")
    assert (child.start_time, child.end_time) == (1_000_000, 3_000_000)
    assert dict(child.attributes or {}) == {"a": 1, "b": ("x",)}
    assert not child.status.is_ok
    assert first.parent is None
    assert first.context is not None and first.context.trace_id == 0xA
    assert exporter.counts.exported == 2


def test_more_than_a_queue_is_dropped_and_counted(receiver: Receiver) -> None:
    receiver.opened.clear()
    exporter = export.Exporter(ENVIRON, lambda _: receiver)
    for _ in range(2):
        exporter.export(span(), TRACE)
    assert receiver.reached.wait(machinetime.HANG_S)  # these two are being sent
    for _ in range(10):
        exporter.export(span(), TRACE)
    assert (exporter.counts.dropped, exporter.unsent) == (6, 6)
    receiver.opened.set()
    assert exporter.close() == 0
    assert (len(receiver.spans), exporter.counts.exported) == (6, 6)


@pytest.mark.parametrize("failure", [SpanExportResult.FAILURE, OSError("https://u:secret@host")])
def test_a_failure_is_said_once_and_without_its_words(receiver: Receiver, failure: Any) -> None:
    receiver.results = [failure, failure]
    exporter = export.Exporter(ENVIRON, lambda _: receiver)
    with structlog.testing.capture_logs() as lines:
        for _ in range(4):
            exporter.export(span(), TRACE)
        assert exporter.close() == 0
    assert [line["event"] for line in lines] == ["spans_not_exported"]
    assert "secret" not in str(lines)
    assert (exporter.counts.failed, exporter.counts.exported) == (4, 0)


def test_ids_are_chosen_when_the_request_comes(receiver: Receiver) -> None:
    exporter = export.Exporter({}, lambda _: receiver)
    parent = f"00-{'0' * 31}7-{'0' * 15}9-03"
    found = exporter.begin({"traceparent": [parent], "tracestate": ["a=1", "b=2"]})
    assert (found.trace_id, found.parent_id, found.state) == (7, 9, "a=1,b=2")
    assert found.headers()[0][1].endswith("-03"), "its random flag is passed on"
    assert len({found.parent_id, found.request_id, found.answer_id}) == 3
    fresh = exporter.begin({})
    assert (fresh.parent_id, fresh.state, fresh.is_sampled) == (0, "", True)
    assert fresh.trace_id != exporter.begin({}).trace_id
    exporter.close()


@pytest.mark.parametrize("text", ["", "many", "0", "-1", " 7 "])
def test_a_size_that_is_no_number_is_the_usual_one(text: str, receiver: Receiver) -> None:
    receiver.opened.clear()
    exporter = export.Exporter({"OTEL_BSP_MAX_QUEUE_SIZE": text}, lambda _: receiver)
    for _ in range(3 * export.QUEUE):
        exporter.export(span(), TRACE)
    most = 7 if text.strip() == "7" else export.QUEUE
    assert exporter.counts.dropped >= 3 * export.QUEUE - 2 * most
    receiver.opened.set()
    assert exporter.close() == 0


def test_an_end_that_fails_is_said_without_its_words_and_holds_up_nobody(
    receiver: Receiver,
) -> None:
    ended, words = threading.Event(), "https://u:secret@host"

    class Failing(export.Exporter):
        def close(self) -> int:
            super().close()
            raise OSError(words)

    with structlog.testing.capture_logs() as lines:
        export.end(Failing({}, lambda _: receiver), ended.set)
        assert ended.wait(machinetime.HANG_S)
    assert [(each["event"], each["step"]) for each in lines] == [("defect", "tracing")]
    assert words not in "".join(traceback.format_exception(lines[0]["exc_info"]))


MOVED = b"HTTP/1.1 301 Moved\r\nlocation: /v1/traces/\r\ncontent-length: 0\r\n\r\n"
TAKEN = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"
ENDLESS = b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * (64 << 20)


@pytest.mark.parametrize(
    ("answer", "exported", "failed"), [(TAKEN, 2, 0), (MOVED, 0, 2), (ENDLESS, 2, 0)]
)
def test_a_receiver_s_answer_is_read_as_far_as_it_counts(
    answer: bytes, exported: int, failed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    left: list[int] = []

    def answered(listening: socket.socket) -> None:
        connection, _ = listening.accept()
        with connection, contextlib.suppress(OSError):
            connection.recv(65_536)
            sent = 0
            while sent < len(answer):
                sent += connection.send(answer[sent : sent + 65_536])
        left.append(len(answer) - sent)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{port}")
        receiving = threading.Thread(target=answered, args=(listening,), daemon=True)
        receiving.start()
        exporter = export.Exporter({})
        for _ in range(2):
            exporter.export(span(), TRACE)
        exporter.close()
        receiving.join(machinetime.HANG_S)
    assert (exporter.counts.exported, exporter.counts.failed) == (exported, failed)
    assert (left[0] > 0) is (answer is ENDLESS)
