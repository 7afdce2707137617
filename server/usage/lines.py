"""A request as a line of `/v1/usage/raw`."""

import datetime
from typing import Any, Final

import msgspec

from engine.log.summary import rows
from server.usage import query, routes

_encode: Final = msgspec.json.Encoder().encode


def line(row: rows.Summary) -> bytes:
    """Return the line of a request, with all its members; null stands for what is not known or
    does not apply."""
    return _encode(members(row)) + b"\n"


def members(row: rows.Summary) -> dict[str, Any]:
    """Return what a line has."""
    is_stream = not row.is_refusal
    usage = row.usage
    return {
        "cursor": query.cursor(row.at),
        "ended_at": _moment(row.t),
        "req_id": row.request_id,
        "stream": row.summary if is_stream else None,
        "key": row.key or None,
        "route": routes.route_of(row) or None,
        "method": routes.method_of(row) or None,
        "status": row.status,
        "kind": row.kind,
        "code": row.code,
        "cause": row.cause,
        "trigger": row.trigger or None,
        "count": row.count,
        "model": row.model or None,
        "target": row.target or None,
        "worker": row.worker or None,
        "effort": row.effort,
        "streaming": row.streaming if row.endpoint else None,
        "n": row.n if row.endpoint else None,
        "finish_reasons": row.finish_reasons,
        "usage": source_of(row),
        "input_tokens": None if usage is None else usage.prompt_tokens,
        "output_tokens": None if usage is None else usage.completion_tokens,
        "cached_tokens": None if usage is None else usage.cached_tokens,
        "reasoning_tokens": None if usage is None else usage.reasoning_tokens,
        "other_tokens": None if usage is None else usage.other_tokens,
        "duration_ms": _ms(row.duration_us) if is_stream else None,
        "ttft_ms": _ms(row.ttft_us),
        "first_content_ms": _ms(row.first_content_us),
        "longest_gap_ms": _ms(row.longest_gap_us) if is_stream else None,
        "longest_gap_owner": row.longest_gap_owner,
        "parked_ms": _ms(row.parked_us) if is_stream else None,
        "overhead_ms": _ms(row.own_us),
        "frames": row.frames,
        "bytes": row.body_bytes if is_stream else None,
        "tool_calls": row.tool_calls,
        "tool_calls_withheld": row.tool_calls_withheld,
        "tool_calls_dropped": row.tool_calls_dropped,
        "tool_buffers": {
            "started": row.tool_buffers_started,
            "flushed": row.tool_buffers_flushed,
            "aborted": row.tool_buffers_aborted,
        },
    }


def source_of(row: rows.Summary) -> str:
    """Return where the token counts of a request are from: `counted`, `estimated`, `unknown`; of
    one that was refused there are none, `refused`."""
    if row.is_refusal:
        return "refused"
    return "unknown" if row.usage is None else row.usage_source


def _ms(microseconds: int | None) -> float | None:
    return None if microseconds is None else microseconds / 1000


def _moment(microseconds: int) -> str:
    moment = datetime.datetime.fromtimestamp(microseconds / 1_000_000, datetime.UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
