"""Spans are read by OpenTelemetry's own definition of OTLP."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2

from engine.log.find import stories
from server.cli.log.formats import otlp
from tests.server.cli.log.formats import formatting
from tests.support.logs import logs

IDS = ("traceId", "spanId", "parentSpanId")


def spans(data: bytes) -> list[Any]:
    """The spans of an export.

    OTLP has ids in hex where Protobuf's own JSON has base64. They are the one thing that is
    translated for its parser, which refuses every member that it does not know.
    """

    def translated(members: dict[str, Any]) -> dict[str, Any]:
        for name in IDS:
            if name in members:
                members[name] = base64.b64encode(bytes.fromhex(members[name])).decode()
        return members

    sent = json.loads(data, object_hook=translated)
    found = json_format.ParseDict(sent, trace_service_pb2.ExportTraceServiceRequest())
    (resource,) = found.resource_spans
    assert {each.key: each.value.string_value for each in resource.resource.attributes}[
        "service.name"
    ] == "turntape"
    return list(resource.scope_spans[0].spans)


def attributes(span: Any) -> dict[str, Any]:
    kinds = ((each.key, each.value, each.value.WhichOneof("value")) for each in span.attributes)
    return {key: getattr(value, kind) for key, value, kind in kinds}


def test_a_stream_is_a_trace_with_a_span_for_each_attempt() -> None:
    story = formatting.recorded("text-short")
    root, attempt = spans(formatting.written(otlp.write, story))
    assert (len(root.trace_id), len(root.span_id), root.kind) == (16, 8, 2)
    assert root.start_time_unix_nano == story.records[0].t * 1000
    assert root.end_time_unix_nano == story.records[-1].t * 1000
    assert root.status.code == 0
    said = attributes(root)
    assert said["gen_ai.request.model"] == "codex-5"
    assert said["gen_ai.operation.name"] == "chat"
    assert said["turntape.stream_id"] == "text-short"
    assert said["turntape.kind"] == "completed"
    assert said["http.response.status_code"] == 200
    assert (attempt.parent_span_id, attempt.trace_id) == (root.span_id, root.trace_id)
    assert attempt.kind == 3
    assert root.start_time_unix_nano <= attempt.start_time_unix_nano
    assert attempt.end_time_unix_nano <= root.end_time_unix_nano


def test_an_error_has_its_status_and_its_type() -> None:
    root = spans(formatting.written(otlp.write, formatting.recorded("rate-limit")))[0]
    assert root.status.code == 2
    assert root.status.message
    assert attributes(root)["error.type"] == "rate_limit_exceeded"


def test_streams_are_traces_of_their_own_and_the_same_again() -> None:
    found = [formatting.recorded("text-short"), formatting.recorded("tool-call")]
    data = formatting.written(otlp.write, *found)
    assert len({each.trace_id for each in spans(data)}) == 2
    assert formatting.written(otlp.write, *found) == data


def test_a_silence_is_an_event(tmp_path: Path) -> None:
    clock = logs.Clock()
    event_log = logs.open_log(tmp_path, clock, content="masked")
    stream = logs.begin(event_log, "st_1")
    clock.advance(3)
    stream.append(*logs.content("a"))
    stream.close(logs.TERMINAL, "done")
    event_log.flush()
    event_log.close()
    root = spans(formatting.written(otlp.write, stories.story(tmp_path, "st_1")))[0]
    (silence,) = root.events
    assert silence.name == "silence"
    assert attributes(silence)["turntape.seconds"] == pytest.approx(3, abs=0.01)


def test_no_text_is_in_it(tmp_path: Path) -> None:
    assert b"secret" not in formatting.written(otlp.write, formatting.masked(tmp_path))
    assert b"Hello" not in formatting.written(otlp.write, formatting.recorded("text-short"))
