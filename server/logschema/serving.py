"""The lines of the server itself: its life, its requests, its operators."""

from typing import Final

from server.logschema.declared import CRITICAL, ERROR, INFO, TO_ERROR, WARNING, Event, Severity

_OF_STREAM: Final = "stream? model? finish_reasons? ttft_ms? frames? bytes?"
_OF_REQUEST: Final = (
    "method? route? path? status kind code? param? duration_ms overhead_ms? client? key? trace?"
    " count? sample_rate?"
)

EVENTS: Final = (
    Event(
        "listening",
        "server",
        INFO,
        "host port workers data_dir log_dir",
        "it takes connections there",
    ),
    Event("lifecycle", "server", INFO, "state", "the server is in another state of its life"),
    Event(
        "readiness_changed",
        "server",
        (Severity.INFO, Severity.WARNING),
        "ready reason",
        "`/readyz` answers otherwise from now on; `reason` is "
        "[one of these](operations.md#reasons)",
        "The reason says what to look at.",
    ),
    Event(
        "stop_asked",
        "server",
        INFO,
        "streams",
        "a signal asked it to stop",
    ),
    Event("stopped", "server", INFO, "", "it ends; nothing follows"),
    Event(
        "stop_step_timed_out",
        "server",
        ERROR,
        "step seconds",
        "a part of the stop did not end in its time and was left",
        "The exit status is 1. A disk that does not answer is the usual cause.",
    ),
    Event(
        "stop_timed_out",
        "server",
        CRITICAL,
        "seconds",
        "the whole stop did not end, and the process ends itself",
        "What was written before the stop is kept; look for a disk that does not answer.",
    ),
    Event(
        "task_left",
        "server",
        WARNING,
        "task",
        "a task did not end with the loop",
        "Tell us, with the line.",
    ),
    Event(
        "hangup_ignored", "server", INFO, "", "SIGHUP to a server that has no files to read again"
    ),
    Event(
        "config_changed",
        "config",
        INFO,
        "name before after effect",
        "[a reload](operations.md#reload) has changed this; of a secret only that there is one",
    ),
    Event(
        "config_warning",
        "config",
        WARNING,
        "problem",
        "of a setting that nobody reads, or that is easy to guess",
        "`turntape config` shows what is in effect.",
    ),
    Event(
        "config_reloaded",
        "config",
        INFO,
        "changed needs_restart",
        "the end of a reload that came into force",
        "Restart, at a good moment, for what waits for it.",
    ),
    Event(
        "config_reload_failed",
        "config",
        ERROR,
        "name problem advice",
        "a reload found something wrong; the configuration before it stays in force",
        "Correct it, try it with `turntape config --check`, and send SIGHUP again.",
    ),
    Event(
        "key_tokens_not_kept",
        "keys",
        WARNING,
        "path problem",
        "the tokens that keys have used today [cannot be read or written](keys.md#limits)",
        "Look at the disk of `PROXY_DATA_DIR`. Until then a restart begins the day anew.",
    ),
    Event(
        "service_manager_unreachable",
        "server",
        WARNING,
        "error",
        "`NOTIFY_SOCKET` could not be written to; said once until it can",
        "Under systemd: the unit must have `NotifyAccess=main`. Nothing else is affected.",
    ),
    Event(
        "diagnostics_dropped",
        "diagnostics",
        ERROR,
        "lines",
        "so many lines are missing here: nobody read them in time, or the disk was full",
        "Have stderr be read faster, or log less.",
    ),
    Event(
        "library_message",
        "library",
        (Severity.WARNING, Severity.ERROR),
        "library text exception?",
        "a warning or an error of a library",
    ),
    Event(
        "defect",
        "containment",
        ERROR,
        "boundary exception item? stream? worker? task? step? path? response?",
        "a bug of ours was contained at `boundary`; what it hit has ended, nothing else has",
        "Tell us, with the line.",
    ),
    Event(
        "request_ended",
        "access",
        TO_ERROR,
        f"{_OF_REQUEST} {_OF_STREAM}",
        "a request is over, whatever became of it: [access lines](operations.md#access-lines)",
    ),
    Event(
        "request_over_latency_budget",
        "access",
        (Severity.WARNING, Severity.ERROR),
        f"{_OF_REQUEST} {_OF_STREAM}",
        "the same, where the first output came later than `PROXY_LATENCY_BUDGET_MS`",
    ),
    Event(
        "stream_ended",
        "access",
        TO_ERROR,
        f"kind code? sample_rate? {_OF_STREAM}",
        "a response that was made in the background is over; its request had ended before",
    ),
    Event(
        "connections_full",
        "http",
        WARNING,
        "limit",
        "a connection was closed at once, for there are as many as may be",
        "Raise the limit of open files, or find who holds so many.",
    ),
    Event(
        "fallback_taken",
        "answering",
        WARNING,
        "model target worker code",
        "a [model](models.md#fallbacks) failed before its first output, and `target` answers",
    ),
    Event(
        "turn_failed",
        "pump",
        WARNING,
        "kind code? word? detail? stream",
        "why an answer failed, in the other side's words as far as the event log may keep them",
        "[When it goes wrong](failures.md) goes by the code.",
    ),
    Event(
        "tool_buffer_aborted",
        "pump",
        WARNING,
        "reason stream",
        "a text that began like a tool block was none; said once a stream and reason",
    ),
    Event(
        "maintenance_changed",
        "maintenance",
        WARNING,
        "cause changed enabled since until message retry_after_s persist key? client?",
        "[maintenance](operations.md#maintenance) begins, changes or ends, and by whom",
    ),
    Event(
        "maintenance_unreadable",
        "maintenance",
        WARNING,
        "path problem",
        "the file of a maintenance cannot be read, so there is none",
        "Ask for the maintenance again, if it still is meant.",
    ),
    Event(
        "maintenance_file_left",
        "maintenance",
        WARNING,
        "path problem",
        "the file of a maintenance that is over cannot be deleted",
        "Delete it: the next start would begin in maintenance.",
    ),
    Event(
        "log_content_changed",
        "log_content",
        WARNING,
        "cause of_key content until key? client?",
        "[contents of streams](operations.md#the-contents-of-one-clients-streams) are kept "
        "otherwise from now on, and by whom",
    ),
)
"""Each kind of line, by subject."""
