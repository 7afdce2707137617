"""The rows of ended requests: now, requests, answers, responses."""

from typing import Final

from tests.tools.dashboard.panel import Draw, Panel, Row, stat
from tests.tools.dashboard.promql import (
    ANSWERS,
    OURS,
    REQUESTS,
    RESPONSES,
    SERVER,
    gained,
    gauge,
    heatmap,
    quantile,
    quantiles,
    rate,
    share,
)

RED_FROM_0: Final = ((1e-9, "red"),)
RED_BELOW_1: Final = ((0.0, "red"), (1.0, "green"))

TTFT: Final = "turntape_time_to_first_token_seconds"
CONTENT: Final = "turntape_time_to_first_content_seconds"
DURATION: Final = "turntape_http_request_duration_seconds"
GAP: Final = "turntape_stream_longest_gap_seconds"
ENDS: Final = "turntape_streams_total"
TOKENS: Final = "turntape_tokens_total"
ERRORS: Final = "turntape_errors_total"
ALL: Final = "turntape_http_requests_total"

INSPECT: Final = """\
Every answer has an `x-request-id`. All that happened to it, step by step:

    turntape inspect LOG --request ID
    turntape replay LOG --request ID

`LOG` is `PROXY_LOG_DIR`. The line of diagnostics with the same `req_id` has status, code, times.
[How to read them](${docs}/operations.md#when-a-stream-went-wrong) ·
[what clients see, and why](${docs}/failures.md) · [runbook](${docs}/runbook.md)
"""


NOW: Final = Row(
    "Now",
    (
        stat(
            "Servers scraped",
            "Servers that answer Prometheus.",
            f"sum(up{{{SERVER}}})",
            limits=RED_BELOW_1,
        ),
        stat(
            "Workers ready",
            "The worst of all workers: 1 where each takes turns.",
            f"min(turntape_worker_ready{{{SERVER}}})",
            limits=RED_BELOW_1,
        ),
        stat(
            "Alerts that fire",
            "Of `turntape.rules.yml`. The runbook has a section for each.",
            'count(ALERTS{alertname=~"Turntape.*", alertstate="firing"}) or vector(0)',
            limits=RED_FROM_0,
        ),
        stat(
            "Our errors",
            "Part of the requests that failed by the server or its worker.",
            share(
                f"({rate(ERRORS, where=OURS)} or vector(0))",
                rate(ALL),
            ),
            "percentunit",
            limits=((0.01, "orange"), (0.05, "red")),
        ),
        stat("Open streams", "Answers being made.", gauge("turntape_streams_open")),
        stat(
            "First token, p95",
            "Time to the first output.",
            quantile(0.95, TTFT, where=ANSWERS),
            "s",
            limits=((5, "orange"), (10, "red")),
        ),
        stat(
            "Maintenance",
            "1 where new work is refused on purpose.",
            f"max(turntape_maintenance{{{SERVER}}})",
            limits=((1, "orange"),),
        ),
        stat(
            "Runs since", "Of the youngest.", f"max(process_start_time_seconds{{{SERVER}}}) * 1000"
        )._replace(unit="dateTimeFromNow"),
        Panel(
            "Versions",
            "Turntape and Python, and how many servers run them.",
            (
                (
                    f"count by (version, python) (turntape_build_info{{{SERVER}}})",
                    "{{version}}, Python {{python}}",
                ),
            ),
            draw=Draw.STAT,
            named=True,
            height=5,
        ),
        Panel(
            "State",
            "The state of each server's life, and why it is ready or not.",
            (
                (f"turntape_lifecycle_state{{{SERVER}}} == 1", "{{instance}}: {{state}}"),
                (f"turntape_readiness{{{SERVER}}} == 1", "{{instance}}: {{reason}}"),
            ),
            draw=Draw.STAT,
            named=True,
            height=5,
        ),
        Panel(
            "One request",
            "From a number to what happened.",
            draw=Draw.TEXT,
            height=5,
            markdown=INSPECT,
        ),
    ),
)

OF_REQUESTS: Final = Row(
    "Requests",
    (
        Panel(
            "Requests by status",
            "Requests that ended, a second. A client that left before the answer is a 4xx.",
            ((rate(ALL, "status", where=REQUESTS), "{{status}}"),),
            "reqps",
            stacked=True,
        ),
        Panel(
            "Requests by error code",
            "The codes of docs/api.md. A stream that failed behind its 200 has one too.",
            ((rate(ALL, "code", where=f'{REQUESTS}, code!=""'), "{{code}}"),),
            "reqps",
            stacked=True,
        ),
        Panel(
            "Requests by route",
            "Requests that ended, a second.",
            ((rate(ALL, "method", "route", where=REQUESTS), "{{method}} {{route}}"),),
            "reqps",
        ),
        Panel(
            "Errors by whose fault, of all requests",
            "client: the request is wrong or too often. provider: the model, or who serves it."
            " worker: the process between. server: Turntape, its limits, its operator."
            " The count has no route.",
            (
                (
                    f"{rate(ERRORS, 'fault')} / ignoring (fault) group_left () ({rate(ALL)} > 0)",
                    "{{fault}}",
                ),
            ),
            "percentunit",
        ),
        Panel(
            "Errors by whose fault",
            "Requests that ended with an error, a second.",
            ((rate(ERRORS, "fault", "code"), "{{fault}}: {{code}}"),),
            "reqps",
            stacked=True,
        ),
        Panel(
            "Clients that were lost",
            "left: closed its connection. write_stall: stopped reading."
            " cancelled: asked for an end.",
            ((rate("turntape_clients_gone_total", "cause"), "{{cause}}"),),
            "reqps",
        ),
        Panel(
            "Latency",
            "From a request's head to the end of its answer. That of a stream is as long as its"
            " answer: for how long users wait see the first token.",
            quantiles(DURATION, REQUESTS),
            "s",
        ),
        Panel(
            "Latency p95 by route",
            "From a request's head to the end of its answer.",
            ((quantile(0.95, DURATION, "route", where=REQUESTS), "{{route}}"),),
            "s",
        ),
        Panel(
            "Bytes of answers",
            "Bodies, before HTTP framing.",
            (
                (
                    rate("turntape_http_response_body_bytes_total", "route", where=REQUESTS),
                    "{{route}}",
                ),
            ),
            "Bps",
        ),
    ),
)

OF_ANSWERS: Final = Row(
    "Answers of models",
    (
        Panel(
            "Time to first token",
            "From the opening of a stream to its first output; reasoning counts.",
            quantiles(TTFT, ANSWERS),
            "s",
        ),
        Panel(
            "Time to first content",
            "To the first text that an answer is made of; reasoning does not count.",
            quantiles(CONTENT, ANSWERS),
            "s",
        ),
        Panel(
            "Time to first token, all of them",
            "Answers in each bucket.",
            heatmap(TTFT, ANSWERS),
            "s",
            Draw.HEAT,
        ),
        Panel(
            "How answers ended",
            "By terminal kind, a second. completed and truncated ended well for their client.",
            ((rate(ENDS, "kind", where=ANSWERS), "{{kind}}"),),
            "ops",
            stacked=True,
        ),
        Panel(
            "Finish reasons",
            "Of choices. word is what the worker said instead, where it was not canonical.",
            ((rate("turntape_finish_reasons_total", "reason", "word"), "{{reason}} {{word}}"),),
            "ops",
            stacked=True,
        ),
        Panel(
            "Longest gap, p99, by owner",
            "The longest silence within a stream, and who was silent: worker, client (did not"
            " read), server, parked (results of tools), queued.",
            ((quantile(0.99, GAP, "owner", where=REQUESTS), "{{owner}}"),),
            "s",
        ),
        Panel(
            "Tokens in and out",
            "Counted or estimated, a second.",
            (
                (
                    rate(TOKENS, "type", where=f'{SERVER}, model=~"$model", type=~"input|output"'),
                    "{{type}}",
                ),
            ),
            "ops",
        ),
        Panel(
            "Tokens by model",
            "Tokens out, a second.",
            (
                (
                    rate(TOKENS, "model", where=f'{SERVER}, model=~"$model", type="output"'),
                    "{{model}}",
                ),
            ),
            "ops",
            stacked=True,
        ),
        Panel(
            "Cached share",
            "Input tokens that the provider had in its cache, of all input tokens; and reasoning,"
            " of all output tokens.",
            tuple(
                (
                    share(
                        rate(TOKENS, where=f'{SERVER}, model=~"$model", type="{part}"'),
                        rate(TOKENS, where=f'{SERVER}, model=~"$model", type="{whole}"'),
                    ),
                    part,
                )
                for part, whole in (("cached", "input"), ("reasoning", "output"))
            ),
            "percentunit",
        ),
        Panel(
            "Duration of streams",
            "From the opening of a stream to its end.",
            quantiles("turntape_stream_duration_seconds", REQUESTS),
            "s",
        ),
        Panel(
            "Where token counts are from",
            "counted by the worker, estimated here, or unknown: none.",
            ((rate("turntape_usage_streams_total", "source"), "{{source}}"),),
            "ops",
            stacked=True,
        ),
        Panel(
            "Frames and heartbeats",
            "Data frames, and comments that keep a silent stream open, a second.",
            (
                (rate("turntape_stream_frames_total", where=REQUESTS), "frames"),
                (rate("turntape_heartbeats_total", where=REQUESTS), "heartbeats"),
            ),
            "ops",
        ),
    ),
)

OF_RESPONSES: Final = Row(
    "The Responses API",
    (
        Panel(
            "First token",
            "As above, of responses alone.",
            quantiles(TTFT, RESPONSES),
            "s",
            width=6,
        ),
        Panel(
            "Requests by status and code",
            "As above, of responses alone.",
            ((rate(ALL, "status", "code", where=RESPONSES), "{{status}} {{code}}"),),
            "reqps",
            width=6,
            stacked=True,
        ),
        Panel(
            "How they ended",
            "By terminal kind, those that were made in the background too.",
            ((rate(ENDS, "kind", where=RESPONSES), "{{kind}}"),),
            "ops",
            width=6,
            stacked=True,
        ),
        Panel(
            "The store",
            "Works: 1. Failures, lost files and pruned responses in each interval.",
            (
                (f"min(turntape_store_working{{{SERVER}}})", "works"),
                (gained("turntape_store_failures_total"), "failures"),
                (gained("turntape_store_files_lost_total"), "files lost"),
                (gained("turntape_store_responses_pruned_total"), "pruned"),
            ),
            width=6,
        ),
    ),
)
