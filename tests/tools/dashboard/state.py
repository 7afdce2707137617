"""The rows of the server's parts: workers, tools, process, log."""

from typing import Final

from tests.tools.dashboard.panel import Draw, Panel, Row
from tests.tools.dashboard.promql import SERVER, gained, gauge, quantile, quantiles, rate

RESET: Final = "turntape_account_quota_reset_timestamp_seconds"

OF_WORKERS: Final = Row(
    "Workers",
    (
        Panel(
            "Streams and permits",
            "Open streams, choices that count for the limit, and the limit; none: 0.",
            (
                (gauge("turntape_streams_open"), "streams"),
                (gauge("turntape_permits_taken"), "permits taken"),
                (gauge("turntape_permits_limit"), "limit"),
            ),
        ),
        Panel(
            "Turns that wait, turns that run",
            "Turns that wait for a place on a process, and places that are taken.",
            (
                (gauge("turntape_worker_turns_waiting", "worker"), "{{worker}} waiting"),
                (gauge("turntape_worker_turns_open", "worker"), "{{worker}} running"),
            ),
        ),
        Panel(
            "Processes by state",
            "Of docs/machines.md, and logged_out.",
            ((gauge("turntape_worker_processes", "worker", "state"), "{{worker}} {{state}}"),),
            stacked=True,
        ),
        Panel(
            "Restarts",
            "Starts of a process beyond its first, in each interval.",
            (
                (
                    gained("turntape_worker_restarts_total", "instance", "worker"),
                    "{{instance}} {{worker}}",
                ),
            ),
        ),
        Panel(
            "Calls of workers, p95",
            "From a request to a worker's process to its answer, by method.",
            (
                (
                    quantile(0.95, "turntape_worker_rpc_duration_seconds", "worker", "method"),
                    "{{worker}} {{method}}",
                ),
            ),
            "s",
        ),
        Panel(
            "Calls of workers that failed",
            "A second, by method: refused, timed_out, process_lost, unreadable.",
            (
                (
                    rate("turntape_worker_rpc_errors_total", "method", "error"),
                    "{{method}} {{error}}",
                ),
            ),
            "ops",
        ),
        Panel(
            "Turns that wait for results of tools",
            "parked: began to wait. resumed: went on. missed: the history was sent anew. expired"
            " and evicted: given up.",
            (
                (gained("turntape_worker_parking_total", "event"), "{{event}}"),
                (gained("turntape_worker_parking_missed_total", "reason"), "missed: {{reason}}"),
            ),
        ),
        Panel(
            "Conversations that go on",
            "reused: with the thread of the last answer, so that the provider's cache has the"
            " prompt. missed: the history was sent anew, and why.",
            (
                (gained("turntape_worker_reuse_total", "event"), "{{event}}"),
                (gained("turntape_worker_reuse_missed_total", "reason"), "missed: {{reason}}"),
                (gauge("turntape_worker_threads_idle"), "threads that are kept"),
            ),
        ),
        Panel(
            "Quota used",
            "Of the account's windows, as the provider tells.",
            (
                (
                    f"max by (worker, window) (turntape_account_quota_used_ratio{{{SERVER}}})",
                    "{{worker}} {{window}}",
                ),
            ),
            "percentunit",
            Draw.BARS,
            limits=((0.8, "orange"), (0.9, "red")),
            most=1.0,
        ),
        Panel(
            "Quota comes back",
            "When a window begins anew.",
            (
                (
                    f"max by (worker, window) ({RESET}{{{SERVER}}}) * 1000",
                    "{{worker}} {{window}}",
                ),
            ),
            "dateTimeFromNow",
            Draw.STAT,
        ),
    ),
)

OF_TOOLS: Final = Row(
    "Tool calls",
    (
        Panel(
            "Textual blocks",
            "Blocks that were begun, that became calls, and that were none after all, by reason.",
            (
                (rate("turntape_tool_buffer_started_total"), "started"),
                (rate("turntape_tool_buffer_flushed_total"), "flushed"),
                (rate("turntape_tool_buffer_aborted_total", "reason"), "aborted: {{reason}}"),
            ),
            "ops",
        ),
        Panel(
            "Calls of an answer",
            "Of the answers that had any or none.",
            quantiles("turntape_stream_tool_calls"),
        ),
        Panel(
            "Calls that no client got",
            "withheld by a limit of the server; dropped since their step never was whole.",
            (
                (gained("turntape_tool_calls_withheld_total"), "withheld"),
                (gained("turntape_tool_calls_dropped_total"), "dropped"),
            ),
        ),
    ),
)

OF_PROCESS: Final = Row(
    "The server's process",
    (
        Panel(
            "Loop lag",
            "How late the event loop was in the last minute: what a token waits at the most.",
            (
                (
                    f"max by (instance) (turntape_loop_lag_p99_seconds{{{SERVER}}})",
                    "{{instance}} p99",
                ),
                (
                    f"max by (instance) (turntape_loop_lag_max_seconds{{{SERVER}}})",
                    "{{instance}} max",
                ),
            ),
            "s",
            width=6,
        ),
        Panel(
            "CPU",
            "Cores. One process has one core at the most, and a little beside it.",
            ((rate("process_cpu_seconds_total", "instance"), "{{instance}}"),),
            width=6,
        ),
        Panel(
            "Memory",
            "Resident.",
            ((gauge("process_resident_memory_bytes", "instance"), "{{instance}}"),),
            "bytes",
            width=6,
        ),
        Panel(
            "Connections and descriptors",
            "HTTP connections, idle ones too; those that are WebSockets; open files, their limit.",
            (
                (gauge("turntape_connections_open"), "connections"),
                (gauge("turntape_websockets_open"), "WebSockets"),
                (gauge("process_open_fds"), "descriptors"),
                (gauge("process_max_fds"), "limit of descriptors"),
            ),
            width=6,
        ),
        Panel(
            "Defects",
            "Bugs of ours by where they were contained, in each interval. Please report them.",
            ((gained("turntape_defects_total", "boundary"), "{{boundary}}"),),
            width=12,
        ),
        Panel(
            "Configuration",
            "1: the last reload was taken. 0: it was refused, and the one before is in force.",
            (
                (
                    f"min by (instance) (turntape_config_last_reload_successful{{{SERVER}}})",
                    "{{instance}}",
                ),
            ),
            width=12,
        ),
    ),
)

OF_LOG: Final = Row(
    "The event log and the diagnostics",
    (
        Panel(
            "Log lag",
            "Age of the oldest record that is not on file.",
            ((f"max by (instance) (turntape_log_lag_seconds{{{SERVER}}})", "{{instance}}"),),
            "s",
            width=6,
        ),
        Panel(
            "Records that wait",
            "Records that are not on file yet, and 1 where requests are taken all the same.",
            (
                (gauge("turntape_log_records_waiting"), "waiting"),
                (f"min(turntape_log_accepting{{{SERVER}}})", "accepting"),
            ),
            width=6,
        ),
        Panel(
            "Log failures",
            "Tries to write that failed, records that will never be on file, and lines of"
            " diagnostics that were dropped, in each interval.",
            (
                (gained("turntape_log_write_failures_total"), "failed writes"),
                (gained("turntape_log_records_lost_total"), "records lost"),
                (gained("turntape_diagnostics_dropped_total"), "diagnostics dropped"),
            ),
            width=6,
        ),
        Panel(
            "Log bytes",
            "Written, and pruned by age or size, a second.",
            (
                (rate("turntape_log_written_bytes_total"), "written"),
                (rate("turntape_log_pruned_bytes_total"), "pruned"),
            ),
            "Bps",
            width=6,
        ),
        Panel(
            "Usage",
            "1 where the usage is written; segments of it that were made up for, or are missing.",
            (
                (f"min(turntape_log_summaries_working{{{SERVER}}})", "written"),
                (gained("turntape_log_summaries_failures_total"), "failures"),
                (gained("turntape_log_summaries_rebuilt_total"), "made up for"),
                (gained("turntape_log_summaries_missed_total"), "missing"),
            ),
            width=12,
        ),
        Panel(
            "Usage that went",
            "Segments of usage that went by age or size, and their bytes, in each interval.",
            (
                (gained("turntape_log_summaries_pruned_total"), "segments"),
                (gained("turntape_log_summaries_pruned_bytes_total"), "bytes"),
            ),
            width=12,
        ),
        Panel(
            "Log compression",
            "Bytes before and after, a second; segments, and tries that failed, in each interval.",
            (
                (rate("turntape_log_compressed_bytes_total"), "before"),
                (rate("turntape_log_compressed_to_bytes_total"), "after"),
                (gained("turntape_log_segments_compressed_total"), "segments"),
                (gained("turntape_log_compression_failures_total"), "failures"),
            ),
            width=12,
        ),
        Panel(
            "Log held",
            "How far back the log goes, how far it will at this rate, and its bytes on the disk.",
            (
                (f"min(turntape_log_held_seconds{{{SERVER}}})", "goes back"),
                (f"min(turntape_log_horizon_seconds{{{SERVER}}})", "will go back"),
                (gauge("turntape_log_held_bytes"), "bytes"),
            ),
            width=12,
        ),
    ),
)
