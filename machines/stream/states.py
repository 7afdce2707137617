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
    begin = held.to(content) | role.to(content)
    text = held.to(content) | role.to(content) | content.to(content) | tool_buffering.to(content)
    call = (
        held.to(tool_buffering)
        | role.to(tool_buffering)
        | content.to(tool_buffering)
        | tool_buffering.to(tool_buffering)
    )
    finished = held.to(finish) | role.to(finish) | content.to(finish) | tool_buffering.to(finish)
    counted = finish.to(usage)
    completed = finish.to(done) | usage.to(done)
    fail = (
        held.to(failed)
        | role.to(failed)
        | content.to(failed)
        | tool_buffering.to(failed)
        | finish.to(failed)
    )
    abandon = (
        held.to(abandoned)
        | role.to(abandoned)
        | content.to(abandoned)
        | tool_buffering.to(abandoned)
        | finish.to(abandoned)
    )
    keepalive = (
        role.to(role) | content.to(content) | tool_buffering.to(tool_buffering) | finish.to(finish)
    )
    notice = (
        held.to(held)
        | role.to(role)
        | content.to(content)
        | tool_buffering.to(tool_buffering)
        | finish.to(finish)
    )


TABLE: Final = compile_table(StreamMachine)
"""The compiled machine; `docs/machines.md` is drawn from it."""

WORKER_LATE: Final = frozenset({"text", "call", "finished", "counted", "notice", "fail"})
"""What a worker may still say after its answer ended here: it was cut, or it repeats itself."""

CLIENT_LATE: Final = frozenset({"abandon"})
"""A client that leaves after the end has left in peace."""

TIMER_LATE: Final = frozenset({"head_due", "keepalive"})
"""Timers that were due in the same moment as the event that made them void."""

IGNORED: Final[dict[str, frozenset[str]]] = {
    "role": frozenset({"head_due"}),
    "content": frozenset({"head_due"}),
    "tool_buffering": frozenset({"head_due"}),
    "finish": frozenset({"text", "call", "finished", "head_due"}),
    "done": WORKER_LATE | CLIENT_LATE | TIMER_LATE,
    "failed": WORKER_LATE | CLIENT_LATE | TIMER_LATE,
    "abandoned": WORKER_LATE | CLIENT_LATE | TIMER_LATE,
}
"""For each state, the triggers that may come late and change nothing (wire rule 9)."""

TIMEOUTS: Final[dict[events.TimerName, tuple[frozenset[str], str, str]]] = {
    "first_chunk": (
        frozenset({"held", "role"}),
        "request_timeout",
        "The model sent no output within the time limit.",
    ),
    "idle": (
        frozenset({"content", "tool_buffering"}),
        "idle_timeout",
        "The model stopped sending output before its answer was complete.",
    ),
    "total": (
        frozenset({"held", "role", "content", "tool_buffering"}),
        "request_timeout",
        "The request took longer than the server allows.",
    ),
}
"""For each deadline that fails a stream: the states it counts in, the error's code and message."""

OUTPUT_TRIGGERS: Final[dict[type, str]] = {
    outputs.Content: "text",
    outputs.ToolCall: "call",
    outputs.ToolArguments: "call",
    outputs.ToolBufferStarted: "call",
}
"""The transitions that what scanners let go on stands for."""
