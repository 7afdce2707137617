"""Events of a stream that are recorded and change nothing: what was done for it, and where.

They explain a log to who reads it: which thread answered, what was retried, which target stood in.
The machine answers none of them, so one more needs no code there. Who sends or reads events finds
these in `machines.events` too, under the same names.
"""

from machines.vocabulary import StreamEvent


class TurnStarted(StreamEvent, frozen=True, tag="turn_started"):
    """A worker has taken the turn.

    Attributes:
        process: id of the life of the worker's process (`wk_…`); empty in older logs.
    """

    thread_id: str
    turn_id: str
    choice: int = 0
    process: str = ""


class TurnResumed(StreamEvent, frozen=True, tag="turn_resumed"):
    """A parked turn was given the results it waited for, and goes on.

    Attributes:
        parked_us: how long it waited for them.
        process: as in `turn_started`.
    """

    thread_id: str
    choice: int = 0
    parked_us: int = 0
    process: str = ""


class ParkMissed(StreamEvent, frozen=True, tag="park_missed"):
    """Results came for a step, and no parked turn takes them: its history is sent anew.

    Attributes:
        reason: why, such as `expired` or `history_edited`.
    """

    reason: str
    choice: int = 0


class ThreadReused(StreamEvent, frozen=True, tag="thread_reused"):
    """The thread of an earlier answer goes on: only what it has not seen is sent to the worker.

    Attributes:
        idle_us: how long it was idle.
    """

    thread_id: str
    choice: int = 0
    idle_us: int = 0


class ReuseMissed(StreamEvent, frozen=True, tag="reuse_missed"):
    """A conversation goes on, and no thread of an earlier answer goes on with it: its history is
    sent anew.

    Attributes:
        reason: why, such as `history_edited` or `expired`.
    """

    reason: str
    choice: int = 0


class ThreadForked(StreamEvent, frozen=True, tag="thread_forked"):
    """The history is sent to a fork of the conversation's source, whose key finds what a cache has
    of it."""

    thread_id: str
    choice: int = 0


class CallDemanded(StreamEvent, frozen=True, tag="call_demanded"):
    """A step made no call where one is required: the model is asked for it."""

    attempt: int
    choice: int = 0


class TurnChanged(StreamEvent, frozen=True, tag="turn_changed"):
    """The state of a Codex turn changed. A replay cannot compute it again, and checks that it is a
    change which `machines.turn.turn` declares.

    Attributes:
        trigger: the event of the turn's machine.
        late_of: id of the stream that it is about, in a record of the process's life: it came
            after the end of that stream.
    """

    trigger: str
    before: str
    after: str
    choice: int = 0
    late_of: str = ""


class ThreadChanged(StreamEvent, frozen=True, tag="thread_changed"):
    """The state of a Codex thread changed: checked as `turn_changed` is, by
    `machines.turn.thread`.

    Attributes:
        trigger: the event of the thread's machine.
        late_of: as in `turn_changed`.
        thread_id: Codex's id; empty until it has started.
    """

    trigger: str
    before: str
    after: str
    choice: int = 0
    late_of: str = ""
    thread_id: str = ""


LateChange = TurnChanged | ThreadChanged
"""The changes that may come after the end of the stream that they are about."""


class ItemStarted(StreamEvent, frozen=True, tag="item_started"):
    """The model began an item: a sign of life, no output."""

    item: str
    choice: int = 0


class ModelRerouted(StreamEvent, frozen=True, tag="model_rerouted"):
    """The provider answers with another model than it was asked for.

    Attributes:
        reason: the provider's word for it; empty without one.
    """

    model: str
    reason: str = ""
    choice: int = 0


class UpstreamGarbled(StreamEvent, frozen=True, tag="upstream_garbled"):
    """The upstream sent an event that is not JSON: `data` is at most 1 KiB of what it held."""

    data: str
    choice: int = 0


class MembersDropped(StreamEvent, frozen=True, tag="members_dropped"):
    """Members of an upstream's answer did not go to the client, for the first time of each: they
    are of another type than the API gives them, or too large.

    Attributes:
        names: with the object that they are of, such as `choice.logprobs`.
    """

    names: tuple[str, ...]
    choice: int = 0


class RpcSent(StreamEvent, frozen=True, tag="rpc_sent"):
    """A request to the worker on this stream's behalf."""

    method: str
    rpc_id: int
    choice: int = 0


class RpcReplied(StreamEvent, frozen=True, tag="rpc_replied"):
    """The worker's reply: `error` is its code and message, absent on success."""

    rpc_id: int
    error: str | None = None
    choice: int = 0


class RetryScheduled(StreamEvent, frozen=True, tag="retry_scheduled"):
    """An attempt failed before any output; another follows after `delay_ms`.

    Attributes:
        detail: the other side's own words, as in `turn_failed`.
    """

    attempt: int
    delay_ms: int
    code: str
    choice: int = 0
    detail: str | None = None


class FallbackTaken(StreamEvent, frozen=True, tag="fallback_taken"):
    """A target failed with `code` before any output: this one is asked instead."""

    model: str
    worker: str
    code: str


class FallbackSkipped(StreamEvent, frozen=True, tag="fallback_skipped"):
    """A target that was next cannot take the request: `code` says why, as for a client."""

    model: str
    worker: str
    code: str


class BufferPressure(StreamEvent, frozen=True, tag="buffer_pressure"):
    """The client reads more slowly than the worker writes: `buffered` bytes wait for it."""

    buffered: int


Notice = (
    TurnStarted
    | TurnResumed
    | ParkMissed
    | ThreadReused
    | ReuseMissed
    | ThreadForked
    | CallDemanded
    | TurnChanged
    | ThreadChanged
    | ItemStarted
    | ModelRerouted
    | UpstreamGarbled
    | MembersDropped
    | RpcSent
    | RpcReplied
    | RetryScheduled
    | FallbackTaken
    | FallbackSkipped
    | BufferPressure
)
"""Every event that changes nothing of a stream."""
