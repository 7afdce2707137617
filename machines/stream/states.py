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

`StreamMachine` declares them; it is compiled at import to `TABLE` and never run: its engine costs
about 100 µs a transition, a table step 0.2. `machines.stream.machine` does what the table cannot
say.
"""

from typing import Final

from statemachine import State, StateMachine

from machines import events, outputs
from machines.table import compile_table


class StreamMachine(StateMachine):
    """The states of one choice."""

    held = State(initial=True)
    role = State()
    content = State()
    tool_buffering = State()
    finish = State()
    usage = State()
    done = State(final=True)
    failed = State(final=True)
    abandoned = State(final=True)

    head_due = held.to(role)
    begin = content.from_(held, role)
    text = content.from_(held, role, content, tool_buffering)
    call = tool_buffering.from_(held, role, content, tool_buffering)
    finished = finish.from_(held, role, content, tool_buffering)
    counted = finish.to(usage)
    completed = done.from_(finish, usage)
    fail = failed.from_(held, role, content, tool_buffering, finish)
    abandon = abandoned.from_(held, role, content, tool_buffering, finish)
    keepalive = (
        role.to.itself() | content.to.itself() | tool_buffering.to.itself() | finish.to.itself()
    )
    notice = (
        held.to.itself()
        | role.to.itself()
        | content.to.itself()
        | tool_buffering.to.itself()
        | finish.to.itself()
    )


TABLE: Final = compile_table(StreamMachine)
"""The compiled machine; `docs/machines.md` is drawn from it."""

HELD: Final = StreamMachine.held.id
ROLE: Final = StreamMachine.role.id
CONTENT: Final = StreamMachine.content.id
TOOL_BUFFERING: Final = StreamMachine.tool_buffering.id
FINISH: Final = StreamMachine.finish.id
USAGE: Final = StreamMachine.usage.id
DONE: Final = StreamMachine.done.id
FAILED: Final = StreamMachine.failed.id
ABANDONED: Final = StreamMachine.abandoned.id

# As a text, a declared event is its name; for mypy it is still the transitions it was made of.
HEAD_DUE: Final = str(StreamMachine.head_due)
BEGIN: Final = str(StreamMachine.begin)
TEXT: Final = str(StreamMachine.text)
CALL: Final = str(StreamMachine.call)
FINISHED: Final = str(StreamMachine.finished)
COUNTED: Final = str(StreamMachine.counted)
COMPLETED: Final = str(StreamMachine.completed)
FAIL: Final = str(StreamMachine.fail)
ABANDON: Final = str(StreamMachine.abandon)
KEEPALIVE: Final = str(StreamMachine.keepalive)
NOTICE: Final = str(StreamMachine.notice)

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
