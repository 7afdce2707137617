"""Every metric, declared once: its name, type, labels, buckets and meaning.

Names and units follow Prometheus' rules for instrumentation: base units, and `_total` behind a
counter. `docs/metrics.md` prints this table, and a test holds a scrape against it.
"""

import enum
from typing import Final

import msgspec

from engine import rpcfigures

SECONDS: Final = tuple(round(0.01 * 2**power, 2) for power in range(16))
"""Buckets of times: 10 ms, doubled up to 327.68 s. Source: the GenAI semantic conventions'
`gen_ai.server.request.duration`, and two more, since models think for minutes."""

CALLS: Final = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
"""Buckets of the tool calls of an answer."""


class Type(enum.Enum):
    """The types of a metric, in Prometheus' words."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Family(msgspec.Struct, frozen=True, eq=False):
    """One metric, equal to itself alone: a hash of all it says would cost more than to count.

    Attributes:
        labels: in the order that the values of a reading have.
        buckets: upper bounds of a histogram, without the last, which is infinite.
    """

    name: str
    type: Type
    meaning: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


def _counter(name: str, meaning: str, *labels: str) -> Family:
    return Family(f"turntape_{name}_total", Type.COUNTER, meaning, labels)


def _gauge(name: str, meaning: str, *labels: str) -> Family:
    return Family(f"turntape_{name}", Type.GAUGE, meaning, labels)


def _seconds(name: str, meaning: str, *labels: str) -> Family:
    return Family(f"turntape_{name}_seconds", Type.HISTOGRAM, meaning, labels, SECONDS)


REQUESTS: Final = _counter(
    "http_requests",
    "requests that have ended; a client that left before the answer counts as 4xx",
    *("route", "method", "status", "code"),
)
REQUEST_DURATION: Final = _seconds(
    "http_request_duration", "from a request's head to the end of its answer", "route"
)
BODY_BYTES: Final = _counter(
    "http_response_body_bytes", "bytes of answers' bodies, before HTTP framing", "route"
)
ERRORS: Final = _counter(
    "errors", "requests that ended with an error, and whose fault it was", "code", "fault"
)
STREAMS: Final = _counter(
    "streams",
    "answers of a model that have ended, streamed or not, by the kind of their end",
    *("route", "model", "kind"),
)
CLIENTS_GONE: Final = _counter(
    "clients_gone", "answers whose client was lost before their end, by cause", "cause"
)
FINISH_REASONS: Final = _counter(
    "finish_reasons",
    "choices by `finish_reason`, `none` where one never finished; `word` is what the worker said"
    " instead, where it was not canonical",
    *("reason", "word"),
)
FIRST_TOKEN: Final = _seconds(
    "time_to_first_token",
    "from the opening of a stream to its first text, reasoning or call",
    *("route", "model"),
)
FIRST_CONTENT: Final = _seconds(
    "time_to_first_content",
    "from the opening of a stream to its first text, refusal or call: what it thinks is none",
    *("route", "model"),
)
STREAM_DURATION: Final = _seconds(
    "stream_duration", "from the opening of a stream to its end", "route"
)
LONGEST_GAP: Final = _seconds(
    "stream_longest_gap",
    "the longest silence of a stream, by whose it was; beside it `parked`, how long a turn waited"
    " for the results that its client brought",
    *("route", "owner"),
)
FRAMES: Final = _counter("stream_frames", "data frames that were sent", "route")
HEARTBEATS: Final = _counter("heartbeats", "comments that kept a silent connection alive", "route")
TOKENS: Final = _counter(
    "tokens",
    "tokens of answers, counted by the worker or estimated; `cached` is a part of `input`, and"
    " `reasoning` mostly one of `output`",
    *("model", "type", "source"),
)
USAGE: Final = _counter(
    "usage_streams",
    "answers by where their token counts are from; `unknown`: none",
    "source",
)
TOOL_BUFFERS_STARTED: Final = _counter(
    "tool_buffer_started", "textual tool blocks that were begun"
)
TOOL_BUFFERS_FLUSHED: Final = _counter(
    "tool_buffer_flushed", "textual tool blocks that became calls"
)
TOOL_BUFFERS_ABORTED: Final = _counter(
    "tool_buffer_aborted", "textual tool blocks that were none after all", "reason"
)
TOOL_CALLS: Final = Family(
    "turntape_stream_tool_calls",
    Type.HISTOGRAM,
    "calls of an answer that went to its client",
    (),
    CALLS,
)
TOOL_CALLS_WITHHELD: Final = _counter(
    "tool_calls_withheld", "whole calls that a limit of the server kept from the client"
)
TOOL_CALLS_DROPPED: Final = _counter("tool_calls_dropped", "calls of a step that never was whole")

OF_REQUESTS: Final = (
    *(REQUESTS, REQUEST_DURATION, BODY_BYTES, ERRORS),
    *(STREAMS, CLIENTS_GONE, FINISH_REASONS, FIRST_TOKEN, STREAM_DURATION, LONGEST_GAP, FRAMES),
    *(FIRST_CONTENT, HEARTBEATS),
    *(TOKENS, USAGE),
    *(TOOL_BUFFERS_STARTED, TOOL_BUFFERS_FLUSHED, TOOL_BUFFERS_ABORTED),
    *(TOOL_CALLS, TOOL_CALLS_WITHHELD, TOOL_CALLS_DROPPED),
)
"""The metrics that are made of ended requests."""

BUILD: Final = _gauge("build_info", "1, under the versions that run", "version", "python")
LIFECYCLE: Final = _gauge("lifecycle_state", "1 for the state of the server, else 0", "state")
READINESS: Final = _gauge(
    "readiness",
    "1 for the reason why `/readyz` answers as it does, `ready` if it is 200, else 0",
    "reason",
)
STREAMS_OPEN: Final = _gauge("streams_open", "answers of a model that are being made")
PERMITS_TAKEN: Final = _gauge("permits_taken", "choices that count for the limit of streams")
PERMITS_LIMIT: Final = _gauge("permits_limit", "`PROXY_SSE_MAX_CONCURRENCY`; 0: no limit")
CONNECTIONS: Final = _gauge("connections_open", "HTTP connections, idle ones too")
WEBSOCKETS: Final = _gauge("websockets_open", "those of them that are WebSockets")
WORKER_READY: Final = _gauge("worker_ready", "1 while a worker takes turns, else 0", "worker")
WORKER_WAITING: Final = _gauge(
    "worker_turns_waiting", "turns that wait for a free place on a process", "worker"
)
WORKER_TURNS: Final = _gauge(
    "worker_turns_open", "places on processes that turns have taken", "worker"
)
WORKER_PROCESSES: Final = _gauge("worker_processes", "processes by state", "worker", "state")
WORKER_RESTARTS: Final = _counter(
    "worker_restarts", "starts of a process beyond its first", "worker"
)
PARKING: Final = _counter(
    "worker_parking",
    "what became of turns that waited for results of calls; `missed`: the history was sent anew",
    *("worker", "event"),
)
PARKING_MISSED: Final = _counter(
    "worker_parking_missed", "turns whose history was sent anew, by why", "worker", "reason"
)
REUSE: Final = _counter(
    "worker_reuse",
    "what became of conversations and the threads kept for them; `reused`: a request went on with "
    "its conversation's thread, `missed`: its history was sent anew, `begun`: it had none yet; "
    "`forked`: it was sent under the conversation's key, `unforked`: that failed",
    *("worker", "event"),
)
REUSE_MISSED: Final = _counter(
    "worker_reuse_missed",
    "requests of a conversation that no thread went on with, by why",
    *("worker", "reason"),
)
IDLE_THREADS: Final = _gauge(
    "worker_threads_idle", "threads that stay loaded for a later request", "worker"
)
RPC_DURATION: Final = Family(
    "turntape_worker_rpc_duration_seconds",
    Type.HISTOGRAM,
    "from a request to Codex to its reply, also an error",
    ("worker", "method"),
    rpcfigures.SECONDS,
)
RPC_ERRORS: Final = _counter(
    "worker_rpc_errors",
    "requests to Codex that it refused or left unanswered, or whose process was lost",
    *("worker", "method", "error"),
)
MAINTENANCE: Final = _gauge("maintenance", "1 while new work is refused for maintenance, else 0")
LOG_LAG: Final = _gauge("log_lag_seconds", "age of the oldest record that is not on file yet")
ACCOUNT: Final = _gauge(
    "account_info",
    "1, under the kind of a worker's login and the plan of its account",
    *("worker", "login", "plan"),
)
QUOTA_USED: Final = _gauge(
    "account_quota_used_ratio",
    "the part of an account's quota that is used, 1: all of it; absent once its window has ended",
    *("worker", "window"),
)
QUOTA_RESET: Final = _gauge(
    "account_quota_reset_timestamp_seconds",
    "when the window of a quota ends, in Unix time",
    *("worker", "window"),
)
LOG_ACCEPTING: Final = _gauge(
    "log_accepting", "0 while requests are refused since the event log cannot be written, else 1"
)
LOG_WAITING: Final = _gauge("log_records_waiting", "records that are not on file yet")
LOG_BYTES: Final = _counter("log_written_bytes", "bytes of records that were put on file")
LOG_FAILURES: Final = _counter("log_write_failures", "tries to write that failed")
LOG_LOST: Final = _counter("log_records_lost", "records that will never be on file")
LOG_SEGMENTS_PRUNED: Final = _counter("log_segments_pruned", "segments that went by a limit")
LOG_BYTES_PRUNED: Final = _counter("log_pruned_bytes", "bytes of these, as they lay on the disk")
LOG_SEGMENTS_COMPRESSED: Final = _counter(
    "log_segments_compressed", "segments that were compressed"
)
LOG_BYTES_COMPRESSED: Final = _counter("log_compressed_bytes", "bytes that these had before")
LOG_BYTES_COMPRESSED_TO: Final = _counter("log_compressed_to_bytes", "bytes that they have now")
LOG_COMPRESSION_FAILURES: Final = _counter(
    "log_compression_failures", "tries to compress a segment that failed; it stays as it is"
)
LOG_HELD_BYTES: Final = _gauge(
    "log_held_bytes", "bytes of the event log as it lies on the disk, when it was looked at last"
)
LOG_HELD_SECONDS: Final = _gauge("log_held_seconds", "how far back the event log goes")
LOG_HORIZON: Final = _gauge(
    "log_horizon_seconds",
    "how far back it will go at the rate of what it holds, by the first of its limits",
)
SUMMARIES_WORKING: Final = _gauge(
    "log_summaries_working",
    "1 while the usage says all that the log says, 0 while it is behind or cannot be written",
)
SUMMARIES_FAILURES: Final = _counter(
    "log_summaries_failures", "tries to write summaries of requests that failed"
)
SUMMARIES_REBUILT: Final = _counter(
    "log_summaries_rebuilt", "sidecars of summaries that were made again from their segment"
)
SUMMARIES_MISSED: Final = _counter(
    "log_summaries_missed",
    "last records and whole segments that no summary could be made of: the usage lacks them",
)
SUMMARIES_PRUNED: Final = _counter(
    "log_summaries_pruned", "sidecars of summaries that went by age or size"
)
SUMMARIES_BYTES_PRUNED: Final = _counter("log_summaries_pruned_bytes", "bytes of these")
STORE_WORKING: Final = _gauge("store_working", "1 while the store of responses works, else 0")
STORE_FAILURES: Final = _counter("store_failures", "what the store could not do")
STORE_FILES_LOST: Final = _counter("store_files_lost", "files that somebody took from it")
STORE_PRUNED: Final = _counter("store_responses_pruned", "responses that went by age or size")
STORE_BYTES_PRUNED: Final = _counter("store_pruned_bytes", "bytes of these")
LOOP_LAG_P99: Final = _gauge(
    "loop_lag_p99_seconds", "how late the event loop was, in 99 of 100 looks of the last minute"
)
LOOP_LAG_MAX: Final = _gauge("loop_lag_max_seconds", "the worst of the same looks")
DIAGNOSTICS_DROPPED: Final = _counter(
    "diagnostics_dropped", "lines of diagnostics that could not be written"
)
RELOADS: Final = _counter("config_reloads", "reloads of the configuration that came into force")
RELOAD_FAILURES: Final = _counter(
    "config_reload_failures", "reloads that found something wrong, and changed nothing"
)
RELOAD_SUCCESSFUL: Final = _gauge(
    "config_last_reload_successful", "0 if the last reload changed nothing for that reason, else 1"
)
KEY_REQUESTS: Final = _counter(
    "key_requests", "requests for answers that were let through, by the name of their key", "key"
)
KEY_TOKENS: Final = _counter("key_tokens", "tokens that a key was charged with", "key")
KEY_REFUSALS: Final = _counter("key_refusals", "429 by a limit of the key", "key", "limit")
KEY_STREAMS: Final = _gauge("key_streams_open", "answers that are being made for a key", "key")
DEFECTS: Final = _counter(
    "defects", "bugs of ours by where they were contained; `unsaid`: without a line", "boundary"
)
SPANS: Final = _counter(
    "spans",
    "spans by what became of them; `failed`: the receiver did not take them; `dropped`: too many"
    " waited to be sent",
    "outcome",
)

OF_STATE: Final = (
    *(
        BUILD,
        LIFECYCLE,
        READINESS,
        STREAMS_OPEN,
        PERMITS_TAKEN,
        PERMITS_LIMIT,
        CONNECTIONS,
        WEBSOCKETS,
    ),
    *(WORKER_READY, WORKER_WAITING, WORKER_TURNS, WORKER_PROCESSES, WORKER_RESTARTS, PARKING),
    *(PARKING_MISSED, REUSE, REUSE_MISSED, IDLE_THREADS, RPC_DURATION, RPC_ERRORS, MAINTENANCE),
    *(ACCOUNT, QUOTA_USED, QUOTA_RESET),
    *(LOG_ACCEPTING, LOG_WAITING, LOG_LAG, LOG_BYTES, LOG_FAILURES, LOG_LOST),
    *(LOG_SEGMENTS_PRUNED, LOG_BYTES_PRUNED),
    *(LOG_SEGMENTS_COMPRESSED, LOG_BYTES_COMPRESSED, LOG_BYTES_COMPRESSED_TO),
    *(LOG_COMPRESSION_FAILURES, LOG_HELD_BYTES, LOG_HELD_SECONDS, LOG_HORIZON),
    *(SUMMARIES_WORKING, SUMMARIES_FAILURES, SUMMARIES_REBUILT, SUMMARIES_MISSED),
    *(SUMMARIES_PRUNED, SUMMARIES_BYTES_PRUNED),
    *(STORE_WORKING, STORE_FAILURES, STORE_FILES_LOST, STORE_PRUNED, STORE_BYTES_PRUNED),
    *(RELOADS, RELOAD_FAILURES, RELOAD_SUCCESSFUL),
    *(KEY_REQUESTS, KEY_TOKENS, KEY_REFUSALS, KEY_STREAMS),
    *(LOOP_LAG_P99, LOOP_LAG_MAX, DIAGNOSTICS_DROPPED, DEFECTS, SPANS),
)
"""The metrics that are read where their numbers live, when somebody asks."""

OF_PROCESS: Final = (
    Family("process_cpu_seconds_total", Type.COUNTER, "CPU time of the server's process"),
    Family("process_resident_memory_bytes", Type.GAUGE, "its resident memory"),
    Family("process_virtual_memory_bytes", Type.GAUGE, "its virtual memory"),
    Family("process_start_time_seconds", Type.GAUGE, "when it began, in Unix time"),
    Family("process_open_fds", Type.GAUGE, "its open file descriptors"),
    Family("process_max_fds", Type.GAUGE, "its limit of these"),
)
"""The metrics of prometheus-client's own collector of a process, on Linux."""

FAMILIES: Final = (*OF_REQUESTS, *OF_STATE, *OF_PROCESS)
"""Every metric."""
