"""Spans as OTLP has them in JSON, for any backend of traces: `POST` the file to `/v1/traces`.

Each stream is a trace: a span for the request, one for each attempt below it, an event for each
silence of a second or more. Ids are made of the stream's, so that a second export of it is the
same trace. Source: the OTLP specification, "JSON Protobuf Encoding": ids are hexadecimal there,
unlike those of Protobuf's own JSON; the GenAI semantic conventions, for the attributes' names.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, BinaryIO, Final

import msgspec

from engine.log.find import stories
from engine.log.timeline import fold, timeline
from server.tracing import attributes
from server.version import VERSION

SERVER, CLIENT = 2, 3
"""Kinds of spans, by their numbers in `opentelemetry.proto.trace.v1.Span.SpanKind`."""

ERROR: Final = 2
"""`STATUS_CODE_ERROR`."""

SILENCE_US: Final = 1_000_000
"""Silences from here on are told."""

GOOD: Final = ("completed", "empty", "truncated")
"""Kinds of an end that is no error."""


def write(found: Sequence[stories.Story], file: BinaryIO) -> None:
    """Write streams as one request of an exporter."""
    spans = [span for story in found if story.records for span in _spans(fold.fold(story))]
    resource = {"service.name": "turntape", "service.version": VERSION}
    scope = {"name": "turntape.log", "version": VERSION}
    sent = {
        "resourceSpans": [
            {
                "resource": {"attributes": _attributes(resource)},
                "scopeSpans": [{"scope": scope, "spans": spans}],
            }
        ]
    }
    file.write(msgspec.json.encode(sent))


def _spans(told: timeline.Timeline) -> Iterator[dict[str, Any]]:
    request, ending = told.request, told.ending
    trace = _id(request.stream, 16)
    root = _id(f"{request.stream}/root", 8)
    yield {
        "traceId": trace,
        "spanId": root,
        "name": f"chat {request.model}".strip(),
        "kind": SERVER,
        **_times(request.opened_us, 0, ending.at_us),
        "attributes": _attributes(_request(told)),
        "events": [_silence(request.opened_us, gap) for gap in _long(told)],
        "status": {} if ending.kind in GOOD else {"code": ERROR, "message": told.verdict},
    }
    for number, attempt in enumerate(told.attempts):
        members = {
            "turntape.attempt": attempt.number or None,
            "turntape.choice": attempt.choice,
            "turntape.how": attempt.how,
            "turntape.worker": attempt.worker,
            "turntape.process": attempt.process,
            "turntape.thread": attempt.thread,
            "gen_ai.request.model": attempt.target,
            "error.type": attempt.code,
        }
        yield {
            "traceId": trace,
            "spanId": _id(f"{request.stream}/{number}", 8),
            "parentSpanId": root,
            "name": f"attempt {attempt.number or attempt.how}",
            "kind": CLIENT,
            **_times(request.opened_us, attempt.start_us, attempt.end_us),
            "attributes": _attributes(members),
            "status": {} if attempt.code is None else {"code": ERROR, "message": attempt.code},
        }


def _request(told: timeline.Timeline) -> Mapping[str, Any]:
    request, ending, received = told.request, told.ending, told.received
    usage = received.usage
    first = received.first_us
    return {
        "gen_ai.operation.name": attributes.operation(request.endpoint),
        "gen_ai.request.model": request.model,
        "gen_ai.response.model": request.target,
        "gen_ai.response.id": request.completion_id,
        "gen_ai.usage.input_tokens": None if usage is None else usage.prompt_tokens,
        "gen_ai.usage.output_tokens": None if usage is None else usage.completion_tokens,
        "gen_ai.response.time_to_first_chunk": None if first is None else first / 1e6,
        "http.response.status_code": received.status,
        "error.type": None if ending.kind in GOOD else ending.code or ending.kind,
        "turntape.stream_id": request.stream,
        "turntape.request_id": request.request_id,
        "turntape.kind": ending.kind,
        "turntape.content": request.content,
        "turntape.calls": len(told.calls) or None,
    }


def _long(told: timeline.Timeline) -> list[timeline.Gap]:
    found = (gap for gap in told.gaps if gap.end_us - gap.start_us >= SILENCE_US)
    return sorted(found, key=lambda gap: gap.start_us)


def _silence(opened_us: int, gap: timeline.Gap) -> dict[str, Any]:
    lasted = (gap.end_us - gap.start_us) / 1e6
    return {
        "name": "silence",
        "timeUnixNano": str((opened_us + gap.start_us) * 1000),
        "attributes": _attributes({"turntape.owner": gap.owner, "turntape.seconds": lasted}),
    }


def _times(opened_us: int, start_us: int, end_us: int) -> dict[str, str]:
    return {
        "startTimeUnixNano": str((opened_us + start_us) * 1000),
        "endTimeUnixNano": str((opened_us + max(start_us, end_us)) * 1000),
    }


def _attributes(members: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {"key": name, "value": _value(value)}
        for name, value in members.items()
        if value not in (None, "")
    ]


def _value(value: str | int | float) -> dict[str, Any]:
    match value:
        case int():  # 64 bits, which JSON's readers may not have: a text
            return {"intValue": str(value)}
        case float():
            return {"doubleValue": value}
    return {"stringValue": value}


def _id(name: str, size: int) -> str:
    return hashlib.blake2b(name.encode(), digest_size=size).hexdigest()
