"""The likely cause of an ending, in a sentence, and what to do next.

The kind of an ending decides what may be said at all; within it the code, the cause and the event
that ended the stream say more. A code that this version does not know is quoted, and nothing is
made up for it.
"""

from typing import Final

from engine.log.timeline import timeline
from engine.log.timeline.codes import PROVIDER, REFUSED, SAID_BY_PROVIDER, Cause

RECOVERED: Final = "recovery"
"""`emission_trigger` of a last record that a later start wrote."""

_BY_CODE: Final = frozenset(("rejected", "upstream_error"))
"""Kinds of which the code says the cause, whichever it is."""

_CODES: Final[dict[str, frozenset[str]]] = {
    "timeout": frozenset(("request_timeout", "idle_timeout")),
    "worker_lost": frozenset(("worker_exited",)),
    "empty": frozenset(("empty_upstream",)),
}
"""Codes that say the cause of an ending of another kind."""

_OPEN: Final = Cause(
    "nobody",
    "The stream has no end in the log: it is still running, or its server was killed and has not"
    " been started since.",
    "Look again in a moment; the next start of a killed server closes its streams.",
)

_RECOVERED: Final = Cause(
    "server",
    "The server's process ended while the stream was open (killed, crashed, or the machine went"
    " down); its next start wrote this end.",
    "Look for who killed it: the system's journal, want of memory, a container's limit.",
)

_COMPLETED: Final = Cause(
    "nobody", "The answer is whole: nothing went wrong with this stream.", "Nothing to do."
)

_WHOLE_LATE: Final[dict[str, Cause]] = {
    "timer_fired": Cause(
        "nobody",
        "The answer is whole; the worker's counts or its last word did not come in time, and the"
        " server ended it without.",
        "Nothing to do, unless usage is missed: PROXY_FINISH_GRACE_MS is the wait for it.",
    ),
    "turn_failed": Cause(
        "nobody",
        "The answer is whole; the worker failed behind its finish, which took nothing from it.",
        "Nothing to do, unless usage is missed.",
    ),
    "server_stopping": Cause(
        "nobody",
        "The answer is whole; the server was stopping and did not wait for its counts.",
        "Nothing to do, unless usage is missed.",
    ),
}
"""Whole answers that something came behind."""

_TRUNCATED: Final[dict[str, Cause]] = {
    "turn_failed": Cause(
        "worker",
        "The worker's process ended in the middle of the answer, and the client was told finish"
        " `length`: its text stops too early.",
        "Look at how the process ended: -9 is a kill, mostly for want of memory."
        " PROXY_WORKER_EXIT=error shows clients an error instead.",
    ),
    "timer_fired": Cause(
        "server",
        "The answer took longer than an answer without a stream may, and was cut with finish"
        " `length`.",
        "Raise PROXY_NONSTREAM_TRUNCATE_AFTER_MS, or have the client ask for a stream.",
    ),
}
_TRUNCATED_ELSE: Final = Cause(
    "server",
    "The server ended the answer early, and the client was told finish `length`.",
    "Look at the last records before the end: `--all`.",
)

_GONE: Final[dict[str | None, Cause]] = {
    "left": Cause(
        "client",
        "The client closed its connection before the answer was whole: it was stopped, ran into"
        " a time limit of its own, or a proxy between gave up.",
        "Ask the client's side; a proxy's limit for silence must be longer than"
        " PROXY_SSE_KEEPALIVE_MS.",
    ),
    "write_stall": Cause(
        "client",
        "The client stopped reading: its buffer stayed full, and the server let it go.",
        "Look at what the client does with the answer, and at its network.",
    ),
    "cancelled": Cause(
        "client",
        "The client asked for an end of this answer, and got it.",
        "Nothing to do, if that was meant.",
    ),
}
_GONE_ELSE: Final = Cause(
    "client",
    "The client was gone before the answer was whole.",
    "Ask the client's side, and look at a proxy between.",
)

_KINDS: Final[dict[str, Cause]] = {
    "timeout": Cause(
        "provider",
        "A time limit of the server passed before the answer was whole.",
        "Look at the longest silence and whose it was.",
    ),
    "worker_lost": REFUSED["worker_exited"],
    "empty": PROVIDER["empty_upstream"],
    "shutdown": Cause(
        "server",
        "The server was stopping, and this stream was still open when its time to finish had"
        " passed.",
        "Look at who stopped the server; PROXY_DRAIN_TIMEOUT_MS is how long streams may go on.",
    ),
    "defect": REFUSED["internal_error"],
    "upstream_error": Cause(
        "provider",
        "The stream failed at the model's provider or in the worker, and the log has no code of"
        " why.",
        "Look at the last records before the end: `--all`.",
    ),
    "rejected": Cause(
        "server",
        "The request was refused, and the log has no code of why.",
        "Look at the record itself: `--all`.",
    ),
}


def cause(ending: timeline.Ending, timer: str = "") -> Cause:
    """Return the likely cause of an ending.

    Args:
        timer: the deadline that ended the stream, where one did.
    """
    kind, trigger, code = ending.kind, ending.trigger, ending.code
    if trigger == RECOVERED:
        return _RECOVERED
    match kind:
        case "open":
            return _OPEN
        case "completed":
            return _WHOLE_LATE.get(trigger, _COMPLETED)
        case "truncated":
            return _TRUNCATED.get(trigger, _TRUNCATED_ELSE)
        case "client_gone":
            return _GONE.get(ending.cause, _GONE_ELSE)
        case "timeout" if timer in _TIMERS:
            return _TIMERS[timer]
    if code is not None and (kind in _BY_CODE or code in _CODES.get(kind, ())):
        return _of_code(kind, code, ending)
    return _KINDS.get(kind) or _unknown(kind, code)


_TIMERS: Final[dict[str, Cause]] = {
    "first_chunk": Cause(
        "provider",
        "The model sent no output within the time limit for its first.",
        "Look at whom the time went to; a model that thinks for longer needs a longer"
        " PROXY_FIRST_CHUNK_TIMEOUT_MS.",
    ),
    "idle": PROVIDER["idle_timeout"],
    "total": Cause(
        "provider",
        "The answer was not whole within the time that a request may take altogether.",
        "Look whether it was still coming; PROXY_TIMEOUT_MS is the limit.",
    ),
}
"""The deadlines that fail a stream."""


def _of_code(kind: str, code: str, ending: timeline.Ending) -> Cause:
    of_provider = SAID_BY_PROVIDER.get(code) if kind == "upstream_error" else None
    known = of_provider or REFUSED.get(code) or PROVIDER.get(code)
    if known is not None:
        return known
    status = f" (status {ending.status})" if ending.status else ""
    if kind == "upstream_error":
        return Cause(
            "provider",
            f"The provider ended it with its own code `{code}`{status}.",
            "Look that code up with the provider: it is none of the server's.",
        )
    return Cause(
        "server",
        f"The server refused the request with the code `{code}`{status}, which this version of"
        " turntape does not know.",
        "Read the message, and look it up in the version that wrote the log.",
    )


def _unknown(kind: str, code: str | None) -> Cause:
    said = f" with the code `{code}`" if code else ""
    return Cause(
        "nobody",
        f"The stream ended as `{kind}`{said}, and nothing more is known of why.",
        "Look at the last records before the end: `--all`.",
    )
