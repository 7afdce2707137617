"""The states of one choice of a stream, and what leads from each to the next.

A state is named for the last thing that went to the client:

    held            nothing, not even the head: a failure is still a real HTTP status
    role            the head, because the hold is over
    content         the role chunk, and whatever content there was
    tool_buffering  the role chunk; calls are being collected
    finish          the finish reason; counts are wanted and unknown, or other choices are not over
    usage           the counts
    done            the sentinel
    failed          an error, or nothing but an HTTP status
    abandoned       nobody is there

`machines.stream.declared` declares them and what leads from each to the next, as `StreamMachine`.
It is compiled ahead to the table of `machines.stream.compiled` and never run: its engine costs
about 100 µs a transition, a table step 0.2. `machines.stream.machine` does what the table cannot
say.
"""

from typing import Final

from machines import events, outputs
from machines.stream.compiled import TABLE as TABLE

HELD: Final = "held"
ROLE: Final = "role"
CONTENT: Final = "content"
TOOL_BUFFERING: Final = "tool_buffering"
FINISH: Final = "finish"
USAGE: Final = "usage"
DONE: Final = "done"
FAILED: Final = "failed"
ABANDONED: Final = "abandoned"

HEAD_DUE: Final = "head_due"
BEGIN: Final = "begin"
TEXT: Final = "text"
CALL: Final = "call"
FINISHED: Final = "finished"
COUNTED: Final = "counted"
COMPLETED: Final = "completed"
FAIL: Final = "fail"
ABANDON: Final = "abandon"
KEEPALIVE: Final = "keepalive"
NOTICE: Final = "notice"

WORKER_LATE: Final = frozenset({TEXT, CALL, FINISHED, COUNTED, NOTICE, FAIL})
"""The triggers of a worker's events that may follow the end of an answer: it was cut here, or the
worker repeats itself."""

CLIENT_LATE: Final = frozenset({ABANDON})
"""The trigger of a client that leaves after the end: by then it is no loss."""

TIMER_LATE: Final = frozenset({HEAD_DUE, KEEPALIVE})
"""The triggers of timers that were due in the same moment as the event that made them void."""

IGNORED: Final[dict[str, frozenset[str]]] = {
    ROLE: frozenset({HEAD_DUE}),
    CONTENT: frozenset({HEAD_DUE}),
    TOOL_BUFFERING: frozenset({HEAD_DUE}),
    FINISH: frozenset({TEXT, CALL, FINISHED, HEAD_DUE}),
    DONE: WORKER_LATE | CLIENT_LATE | TIMER_LATE,
    FAILED: WORKER_LATE | CLIENT_LATE | TIMER_LATE,
    ABANDONED: WORKER_LATE | CLIENT_LATE | TIMER_LATE,
}
"""The triggers that may come late in each state, and change nothing."""

TIMEOUTS: Final[dict[events.TimerName, tuple[frozenset[str], str, str]]] = {
    "first_chunk": (
        frozenset({HELD, ROLE}),
        "request_timeout",
        "The model sent no output within the time limit.",
    ),
    "idle": (
        frozenset({CONTENT, TOOL_BUFFERING}),
        "idle_timeout",
        "The model stopped sending output before its answer was complete.",
    ),
    "total": (
        frozenset({HELD, ROLE, CONTENT, TOOL_BUFFERING}),
        "request_timeout",
        "The request took longer than the server allows.",
    ),
}
"""The deadlines that fail a stream: the states that each counts in, the error's code and
message."""

OUTPUT_TRIGGERS: Final[dict[type, str]] = {
    outputs.Content: TEXT,
    outputs.ToolCall: CALL,
    outputs.ToolArguments: CALL,
    outputs.ToolBufferStarted: CALL,
}
"""The transition that each output of a scanner stands for."""
