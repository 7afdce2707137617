"""A line has every member, and null is never 0."""

import json

from engine.log.summary import rows
from server.usage import lines


def test_of_a_stream() -> None:
    row = rows.Summary(
        summary="st_1",
        at=(17, 104233),
        t=1_770_000_000_123_456,
        trigger="turn_finished",
        kind="completed",
        endpoint="chat.completions",
        usage=rows.Counts(8, 35),
        duration_us=1500,
    )
    made = lines.line(row)
    assert made.endswith(b"}\n")
    line = json.loads(made)
    assert (line["cursor"], line["stream"]) == ("17-104233", "st_1")
    assert line["ended_at"] == "2026-02-02T02:40:00.123Z"
    assert (line["usage"], line["input_tokens"], line["cached_tokens"]) == ("counted", 8, 0)
    assert (line["duration_ms"], line["ttft_ms"], line["key"]) == (1.5, None, None)


def test_what_is_unknown_is_null() -> None:
    row = rows.Summary(summary="st_1", at=(1, 1), t=1, trigger="x", kind="client_gone")
    line = lines.members(row)
    assert (line["usage"], line["input_tokens"], line["output_tokens"]) == ("unknown", None, None)


def test_of_a_refusal() -> None:
    line = lines.members(rows.Summary(summary="rj_1", at=(1, 1), t=1, status=404, count=3))
    assert (line["kind"], line["stream"], line["usage"]) == ("rejected", None, "refused")
    assert (line["count"], line["duration_ms"], line["streaming"]) == (3, None, None)
