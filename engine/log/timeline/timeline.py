"""One stream as its records tell it: what every way of showing it is made from.

Times are microseconds since the stream was opened, but for `Request.opened_us`.
"""

from typing import Literal

import msgspec

from machines import events

Lane = Literal["client", "machine", "worker"]
"""Whose doing a mark is: what came from or went to the client, the machine's own (timers), what
the worker said or was asked."""

Owner = Literal["worker", "client", "server", "parked", "queued"]
"""Whose a silence was."""

Party = Literal["client", "server", "worker", "provider", "nobody"]
"""Whose doing an ending was; a worker is our own process, a provider what stands behind it."""


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """The request of a stream.

    Attributes:
        opened_us: microseconds since the epoch.
        client: its address, of a request that was refused.
        body: the client's request as the log keeps it; None where it is not there.
        content: how texts are kept: `full` or `masked`.
    """

    stream: str
    request_id: str = ""
    completion_id: str = ""
    opened_us: int = 0
    endpoint: str = ""
    model: str = ""
    target: str = ""
    worker: str = ""
    key: str = ""
    client: str = ""
    n: int = 1
    streaming: bool = True
    effort: str | None = None
    content: str = "full"
    versions: dict[str, str] = msgspec.field(default_factory=dict)
    body: msgspec.Raw | None = None


How = Literal["first", "retry", "fallback", "skipped", "resumed", "missed"]
"""Why there was an attempt: nothing was tried before, or an attempt had failed, or a target had
(one that was `skipped` could not be asked); or results came for a turn that was parked, and it
was there, or it was not (`missed`), and the history was sent anew."""


Thread = Literal["", "new", "reused", "forked"]
"""How an attempt has got its thread of Codex: started for it, that of an earlier answer, or a fork
with the key of its conversation; empty where it has none, or none is told of."""


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One try to have a choice answered.

    Attributes:
        number: counts those of the choice, from 1; 0 of a target that was not asked.
        reason: why a parked turn was missed, or no thread of an earlier answer went on.
        process: id of the worker process's life (`wk_…`), or its name; empty where it is unknown.
        code: why it failed; None: it did not.
        detail: the other side's own words for that.
    """

    choice: int
    number: int
    start_us: int
    end_us: int
    how: How = "first"
    target: str = ""
    worker: str = ""
    process: str = ""
    thread: Thread = ""
    reason: str = ""
    code: str | None = None
    detail: str | None = None


class Phase(msgspec.Struct, frozen=True):
    """A state of a choice's machine, or of a process's, from one record to another."""

    state: str
    start_us: int
    end_us: int
    choice: int = 0


class Gap(msgspec.Struct, frozen=True):
    """A silence between two records of the stream; one that is `parked` was before its first.

    Attributes:
        after: `seq` of the record before it; -1 of one that is parked.
    """

    start_us: int
    end_us: int
    owner: Owner
    after: int


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """One record, or a run of deltas of the same kind and choice.

    Attributes:
        seq: of the first record; `last_seq` of the last, the same where there is one.
        text: what a run of deltas says, or what the record says in a few words; masked as it is.
        characters: code points of a run's text.
        records: how many they are.
    """

    seq: int
    last_seq: int
    at_us: int
    end_us: int
    event: str
    lane: Lane
    text: str = ""
    choice: int = 0
    records: int = 1
    characters: int = 0
    states: tuple[str, ...] = ()
    out: tuple[str, ...] = ()


Fate = Literal["sent", "withheld", "dropped", "unfinished", "unknown"]
"""The fates of a call."""


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """A tool call of the model.

    Attributes:
        size: UTF-8 bytes of its arguments; of masked ones the code points, which is no more. Of a
            masked block in a text it is those of the block.
        parses: whether they are a JSON object; None where they are masked, and nobody can know.
        fate: whether the client got it: all of it, none by a limit of the server, none as its step
            broke off, a part. `unknown` where records are missing.
    """

    choice: int
    call_id: str
    name: str
    size: int
    at_us: int
    parses: bool | None
    fate: Fate = "sent"


class Received(msgspec.Struct, frozen=True, kw_only=True):
    """The part of an answer that the client got.

    Attributes:
        status: of the response; None where none went out.
        whole: whether it ended as it should, with `[DONE]` or a whole body.
        error: whether it was told of a failure: in a last frame, or in place of the answer.
        characters: code points of the answer's text.
        unsent: code points that were ready and did not go out: of an answer in one body that was
            never whole.
        first_us: when the first piece of the answer went out, a call or thinking included.
    """

    status: int | None
    whole: bool
    error: bool = False
    frames: int = 0
    body_bytes: int = 0
    characters: int = 0
    unsent: int = 0
    finish_reasons: tuple[str | None, ...] = ()
    first_us: int | None = None
    usage: events.Usage | None = None
    usage_source: str = "counted"


class Ending(msgspec.Struct, frozen=True, kw_only=True):
    """How the stream ended.

    Attributes:
        kind: of the terminal record; `open` where there is none, `rejected` of a refused request.
        trigger: tag of the event that ended it.
        message: what the client was told.
        detail: the other side's own words, which no client is told.
        word: the other side's own code.
        retry_after: seconds for which it asked to be left alone.
        should_retry: its own word for whether the same may be asked again.
        party: whose doing it was.
    """

    kind: str
    at_us: int
    trigger: str = ""
    status: int = 0
    code: str | None = None
    cause: str | None = None
    message: str = ""
    param: str | None = None
    detail: str | None = None
    word: str | None = None
    retry_after: float | None = None
    should_retry: bool | None = None
    party: Party = "nobody"


class Ran(msgspec.Struct, frozen=True):
    """A stream that a process ran."""

    stream: str
    kind: str
    at_us: int
    code: str | None = None


class Timeline(msgspec.Struct, frozen=True, kw_only=True):
    """One stream, folded.

    Attributes:
        verdict: what happened and its likely cause, in a sentence or two for a person.
        evidence: what speaks for that, a sentence each.
        next_step: what to do about it, or where to look.
        gaps: the longest first.
        ran: of a process's life, the streams that ended on it, where they were looked up.
        problems: what is wrong with the log where its records are.
        later: whether a later version wrote records of it, which are not told.
    """

    request: Request
    ending: Ending
    received: Received
    verdict: str
    evidence: tuple[str, ...] = ()
    next_step: str = ""
    attempts: tuple[Attempt, ...] = ()
    phases: tuple[Phase, ...] = ()
    gaps: tuple[Gap, ...] = ()
    marks: tuple[Mark, ...] = ()
    calls: tuple[Call, ...] = ()
    ran: tuple[Ran, ...] = ()
    problems: tuple[str, ...] = ()
    later: bool = False
