"""The events of a stream: the inputs of its machine, and the records of the event log.

They come from a worker, a timer, the client or the server itself. Each is one record, under the
tag in its `event` key. What the machine answers is in `machines.outputs`. Events that change
nothing of a stream are declared in `machines.notices`; all have their names here.
"""

from typing import Literal

import msgspec

from machines import tooloptions
from machines.notices import (
    BufferPressure as BufferPressure,
    CallDemanded as CallDemanded,
    FallbackSkipped as FallbackSkipped,
    FallbackTaken as FallbackTaken,
    ItemStarted as ItemStarted,
    LateChange as LateChange,
    Notice as Notice,
    ParkMissed as ParkMissed,
    RetryScheduled as RetryScheduled,
    RpcReplied as RpcReplied,
    RpcSent as RpcSent,
    ThreadChanged as ThreadChanged,
    TurnChanged as TurnChanged,
    TurnResumed as TurnResumed,
    TurnStarted as TurnStarted,
    UpstreamGarbled as UpstreamGarbled,
)
from machines.vocabulary import (
    GoneCause as GoneCause,
    ReasoningKind as ReasoningKind,
    StreamEvent as StreamEvent,
    TerminalKind as TerminalKind,
    TimerName as TimerName,
    Usage as Usage,
)

SCHEMA_VERSION = 2
"""Version of the log's records. Raised when a reader of an older log would misread a newer one."""

CHAT = "chat.completions"
"""The endpoint of a stream that names no other."""

RESPONSES = "responses"
"""The endpoint of the Responses API."""


class Opened(StreamEvent, frozen=True, tag="opened", kw_only=True):
    """The first record of a stream: everything that is not derivable from what follows.

    Attributes:
        completion_id: the `id` of every chunk, `chatcmpl-…`.
        created: seconds since the epoch, the `created` of every chunk.
        model: the model as the client wrote it.
        target: the model the worker was asked for.
        n: number of choices.
        streaming: whether the client asked for a stream; else the outputs are folded.
        include_usage: whether a stream carries a usage chunk. A folded body always has usage.
        stop: stop sequences the machine enforces; empty where the worker does.
        max_bytes: UTF-8 bytes of content a choice may have before it is cut; None: no limit.
        length_on_worker_exit: whether a lost worker ends the answer as `length`.
        empty_is_failure: whether a stream without any event is an error, instead of empty too.
        stored: whether the answer is kept for later requests.
        schema: version of the records of the stream; the log sets it.
        request: the client's body as the log keeps it: masked or not, an outline of a large one.
        versions: of Turntape, Python and the worker.
        hash_key: hex key of the terminal record's `body_hash`; only where the log keeps content.
    """

    request_id: str
    completion_id: str
    created: int
    model: str
    target: str
    worker: str
    endpoint: str = CHAT
    effort: str | None = None
    n: int = 1
    streaming: bool = True
    include_usage: bool = False
    stop: tuple[str, ...] = ()
    max_bytes: int | None = None
    length_on_worker_exit: bool = False
    empty_is_failure: bool = False
    tools: tooloptions.ToolOptions = tooloptions.NO_TOOLS
    stored: bool = False
    schema: int = 1
    content: Literal["full", "masked"] = "full"
    request: msgspec.Raw = msgspec.Raw(b"null")
    versions: dict[str, str] = msgspec.field(default_factory=dict)
    hash_key: str | None = None


class TextDelta(StreamEvent, frozen=True, tag="text_delta"):
    """A piece of the answer."""

    text: str
    choice: int = 0


class ReasoningDelta(StreamEvent, frozen=True, tag="reasoning_delta"):
    """A piece of the model's visible thinking, or of a commentary message.

    Attributes:
        kind: a summary of the thinking, or the thinking itself.
    """

    text: str
    choice: int = 0
    kind: ReasoningKind = "summary"


class ReasoningCompleted(StreamEvent, frozen=True, tag="reasoning_completed"):
    """A reasoning item is whole.

    Attributes:
        encrypted_content: what the model's provider reads in a later request; empty where there
            is none.
    """

    encrypted_content: str
    choice: int = 0


class RefusalDelta(StreamEvent, frozen=True, tag="refusal_delta"):
    """A piece of the model's refusal to answer."""

    text: str
    choice: int = 0


Aside = ReasoningDelta | ReasoningCompleted | RefusalDelta
"""An event beside the answer's text, which no scanner reads."""


class ToolCalled(StreamEvent, frozen=True, tag="tool_called"):
    """A whole call of a step that is not over: it goes to the client with the step's finish.

    Attributes:
        arguments: the exact string of the model.
    """

    call_id: str
    name: str
    arguments: str
    choice: int = 0


class ToolCallDropped(StreamEvent, frozen=True, tag="tool_call_dropped"):
    """A whole call of a step that broke off: nobody will see it."""

    call_id: str
    name: str
    choice: int = 0


Extent = Literal["piece", "part", "whole"]
"""How much of a call an event has."""


class ToolCallDelta(StreamEvent, frozen=True, tag="tool_call_delta"):
    """A fragment of a call, as an upstream sent it; `machines.tools.fragments` joins them.

    Attributes:
        extent: a piece by itself; a part of a large piece, which the next event goes on with; a
            whole call, of a message that may repeat what came in pieces.
    """

    index: int | None = None
    call_id: str | None = None
    name: str | None = None
    arguments: str | None = None
    choice: int = 0
    extent: Extent = "piece"


class TurnFinished(StreamEvent, frozen=True, tag="turn_finished"):
    """The worker's word that the answer is whole.

    Attributes:
        reason: the worker's own word; `machines.stream.finish` maps it.
        followed: whether counts or a failure come behind it: the sentinel waits for them, though
            nobody wants counts.
    """

    reason: str
    choice: int = 0
    followed: bool = False


class TokensCounted(StreamEvent, frozen=True, tag="tokens_counted"):
    """The worker's counts for a choice; of several, the maximum of each field counts.

    Attributes:
        usage: None where the worker knows that there will be none.
    """

    usage: Usage | None
    choice: int = 0


class TurnFailed(StreamEvent, frozen=True, tag="turn_failed"):
    """The answer will not become whole.

    Attributes:
        code: an error code of `server.http.errors`.
        message: safe for a client: no hosts, URLs or keys.
        status: an upstream's own HTTP status, where the client shall see it.
        retry_after: seconds, where the upstream named them.
    """

    kind: TerminalKind
    code: str
    message: str
    choice: int = 0
    status: int | None = None
    param: str | None = None
    retry_after: float | None = None


class TimerFired(StreamEvent, frozen=True, tag="timer_fired"):
    """A deadline of the stream has passed."""

    timer: TimerName


class ClientGone(StreamEvent, frozen=True, tag="client_gone"):
    """Nobody is left to answer."""

    cause: GoneCause


class ServerStopping(StreamEvent, frozen=True, tag="server_stopping"):
    """The drain deadline has passed with this stream still open."""


class WorkerChanged(StreamEvent, frozen=True, tag="worker_changed"):
    """A worker process took a transition; a record of the process's life, not of a stream's.

    Attributes:
        worker: its name, such as `codex-0`.
        trigger: tag of the supervisor's event.
        detail: that event's fields.
    """

    worker: str
    trigger: str
    detail: dict[str, str | int]


StreamInput = (
    TextDelta
    | ReasoningDelta
    | ReasoningCompleted
    | RefusalDelta
    | ToolCalled
    | ToolCallDropped
    | ToolCallDelta
    | TurnFinished
    | TokensCounted
    | TurnFailed
    | TimerFired
    | ClientGone
    | ServerStopping
    | Notice
)
"""Every event a stream can be stepped with."""


class Terminal(StreamEvent, frozen=True, tag="terminal", kw_only=True):
    """The last record of a stream; usage, metrics and the access log are projections of it.

    Attributes:
        emission_trigger: tag of the event that ended the stream.
        finish_reasons: canonical, one a choice, None where a choice never finished.
        finish_words: what the worker said, where it was not canonical.
        frames: data frames handed to the socket.
        body_bytes: bytes of the body before HTTP framing.
        body_hash: keyed BLAKE2b-128 of that body, hex.
        ttft_us: from the opening to the first content or reasoning; None without one.
        longest_gap_us: longest silence between two worker events.
        tool_calls: calls that went to the client.
        tool_calls_withheld: whole calls that did not, by the server's limits.
        tool_calls_dropped: calls of a step that never was whole.
        tool_buffers_aborted: textual blocks that were none after all, by reason.
    """

    kind: TerminalKind
    emission_trigger: str
    status: int
    finish_reasons: tuple[str | None, ...] = ()
    finish_words: tuple[str | None, ...] = ()
    code: str | None = None
    cause: GoneCause | None = None
    usage: Usage | None = None
    frames: int = 0
    body_bytes: int = 0
    body_hash: str | None = None
    ttft_us: int | None = None
    duration_us: int = 0
    longest_gap_us: int = 0
    tool_calls: int = 0
    tool_calls_withheld: int = 0
    tool_calls_dropped: int = 0
    tool_buffers_started: int = 0
    tool_buffers_flushed: int = 0
    tool_buffers_aborted: dict[str, int] = msgspec.field(default_factory=dict)
