"""The likely cause of an ending, in a sentence, and what to do next.

The kind of an ending decides what may be said at all; within it the code, the cause and the event
that ended the stream say more. A code that this version does not know is quoted, and nothing is
made up for it.
"""

from typing import Final, NamedTuple

from engine.log.content import mask
from engine.log.timeline import leaving, timeline
from engine.log.timeline.codes import (
    NOT_FOUND,
    NOT_NOW,
    OF_UPSTREAM,
    PROVIDER,
    REFUSED,
    SAID_BY_PROVIDER,
    Cause,
)

RECOVERED: Final = "recovery"
"""`emission_trigger` of a last record that a later start wrote."""

UPSTREAM: Final = "upstream"
"""The name of the worker that is no process of ours, as streams have it."""

_ACCOUNT: Final = frozenset((401, 402, 403, 429))
"""Statuses of a provider that are about the account it is asked with."""

_NOT_NOW: Final = frozenset((408, 409, 425))
"""Statuses of a provider that say nothing of the request but that its time was wrong: the SDKs ask
again by themselves (`_should_retry` of the Python SDK; RFC 8470 §5.2)."""

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

_FINISHED: Final[dict[str, Cause]] = {
    "content_filter": Cause(
        "provider",
        "The provider's filter ended the answer, or the model refused: finish `content_filter`.",
        "Look at what was asked; the same again most likely ends the same.",
        "words",
    ),
    "length": Cause(
        "nobody",
        "The answer was cut at a limit of tokens: finish `length`. All up to there went out.",
        "Raise max_tokens or max_completion_tokens in the request (of /v1/responses:"
        " max_output_tokens), or ask for less.",
    ),
}
"""Answers that ended as they should, and are not what their client asked for; by finish reason."""

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


class Around(NamedTuple):
    """The circumstances of an ending, which its cause follows from too.

    Attributes:
        timer: the deadline that ended the stream, where one did.
        worker: that was asked last.
        model: the one that was asked for there: of a refusal as the client wrote it, of a failure
            the worker's own name for it; empty where it is not known.
        status: the other side's own; 0 where it said none.
        finishes: the reasons by which the choices finished.
        left: the figures of a client that left.
        queued: whether the turn still waited for a place on a worker.
        masked: whether texts are.
        key: name of the key that it was asked with; empty where there was none.
    """

    timer: str = ""
    worker: str = ""
    model: str = ""
    status: int = 0
    finishes: tuple[str | None, ...] = ()
    left: leaving.Left | None = None
    queued: bool = False
    masked: bool = False
    key: str = ""


def cause(ending: timeline.Ending, around: Around = Around()) -> Cause:  # noqa: B008 - immutable
    """Return the likely cause of an ending, with a next step that is possible on its log."""
    found = _cause(ending, around)
    if found.needs == "field" and ending.param is not None and not is_masked(ending.param):
        step = f"Correct `{ending.param}`; the same request gets the same answer."
        return found._replace(step=step)
    if found.needs != "nothing" and around.masked:
        return found._replace(step=_how_to_keep(found, ending, around.key))
    return found


def is_masked(text: str) -> bool:
    """Return whether a text is one that a log has masked: it has stand-ins and nothing to read."""
    return mask.STAND_IN in text and not any(map(str.isalnum, text))


def _how_to_keep(found: Cause, ending: timeline.Ending, key: str) -> str:
    """Return the step where what is to be read is masked: who else has it, or how to keep it."""
    if ending.kind == "rejected" and not ending.trigger:
        return (
            "What is wrong the client was told; here it is masked. PROXY_EVENT_LOG=full keeps the"
            " words of later refusals."
        )
    told = "The client was told the words. " if found.party == "client" else ""
    of_key = f"PUT /admin/logging for the key {key}, or " if key else ""
    return f"{told}To have the words of the next one here: {of_key}PROXY_EVENT_LOG=full."


def _cause(ending: timeline.Ending, around: Around) -> Cause:
    kind, trigger, code = ending.kind, ending.trigger, ending.code
    if trigger == RECOVERED:
        return _RECOVERED
    match kind:
        case "open":
            return _OPEN
        case "completed":
            cut = next((_FINISHED[each] for each in _FINISHED if each in around.finishes), None)
            return cut or _WHOLE_LATE.get(trigger, _COMPLETED)
        case "truncated":
            return _TRUNCATED.get(trigger, _TRUNCATED_ELSE)
        case "client_gone" if ending.cause == "left" and around.left is not None:
            return leaving.cause(around.left)
        case "client_gone":
            return _GONE.get(ending.cause, _GONE_ELSE)
        case "timeout" if around.queued:
            return _QUEUED
        case "timeout" if around.timer in _TIMERS:
            return _TIMERS[around.timer]
    if code is not None and (kind in _BY_CODE or code in _CODES.get(kind, ())):
        return _of_code(kind, code, ending, around)
    return _KINDS.get(kind) or _unknown(kind, code)


_QUEUED: Final = Cause(
    "worker",
    "No place on a worker came free within the time limit: the model was not asked yet.",
    "Look for answers that hang or take long, send fewer requests at a time, or add workers.",
)

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


def _of_code(kind: str, code: str, ending: timeline.Ending, around: Around) -> Cause:
    if around.worker == UPSTREAM and code in OF_UPSTREAM:
        return OF_UPSTREAM[code]
    if kind != "upstream_error":
        known = REFUSED.get(code) or PROVIDER.get(code)
        return _named(code, known, around) if known is not None else _refused_by_us(code, ending)
    status = around.status or ending.status
    if code in _BARE and status in _NOT_NOW:
        return NOT_NOW
    if code == "invalid_request" and status in (404, 405) and around.worker == UPSTREAM:
        return NOT_FOUND
    said = SAID_BY_PROVIDER.get(code) or PROVIDER.get(code)
    if said is not None:
        return _named(code, said, around)
    ours = REFUSED.get(code)
    if ours is not None and (ours.party != "client" or code in _SAID_BY_BOTH):
        return ours
    return _said(code, status, is_ours=ours is not None)


_SAID_BY_BOTH: Final = frozenset(("context_length_exceeded", "provider_rejected"))
"""Codes of a wrong request that mean the same, whoever says them."""

_BARE: Final = frozenset(("invalid_request", "provider_rejected"))
"""The codes of a refusal that has none of its own."""


def _named(code: str, found: Cause, around: Around) -> Cause:
    """Name the model that nobody knows."""
    if code != "model_not_found" or not around.model:
        return found
    name = f" `{around.model}`"
    if is_masked(around.model):
        name = ", whose name is masked here,"
    sentence = found.sentence.replace("The model", f"The model{name}", 1)
    sentence = sentence.replace("the model that it was asked for", f"the model{name.rstrip(',')}")
    return found._replace(sentence=sentence)


def _said(code: str, status: int, *, is_ours: bool) -> Cause:
    """Return the cause of an ending by a code of the provider's own: its status says whose fault
    it means."""
    spelled = f" (status {status})" if status >= _ERROR else ""
    named = "a code of its own that is masked here" if is_masked(code) else f"`{code}`"
    if is_ours or (_ERROR <= status < _OF_SERVER and status not in _ACCOUNT | _NOT_NOW):
        return Cause(
            "client",
            f"The provider refused the request itself, with {named}{spelled}.",
            "Change the request: the same again gets the same answer.",
        )
    return Cause(
        "provider",
        f"The provider ended it with its own code {named}{spelled}.",
        "Look that code up with the provider: it is none of the server's.",
    )


_ERROR: Final = 400
_OF_SERVER: Final = 500
"""From which status on an answer is an error, and from which on it is its server's."""


def _refused_by_us(code: str, ending: timeline.Ending) -> Cause:
    status = f" (status {ending.status})" if ending.status else ""
    return Cause(
        "server",
        f"The server refused the request with the code `{code}`{status}, which this version of"
        " turntape does not know.",
        "Read the message, and look it up in the version that wrote the log.",
        "words",
    )


def _unknown(kind: str, code: str | None) -> Cause:
    said = f" with the code `{code}`" if code else ""
    return Cause(
        "nobody",
        f"The stream ended as `{kind}`{said}, and nothing more is known of why.",
        "Look at the last records before the end: `--all`.",
    )
