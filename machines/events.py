"""The events of a stream: the inputs of its machine, and the records of the event log.

They come from a worker, a timer, the client or the server itself. Each is one record, under the
tag in its `event` key. What the machine answers is in `machines.outputs`. Events that change
nothing of a stream are in `machines.notices`, those that begin or end an item in
`machines.itemevents`, the last record of all in `machines.terminal`; all have their names here.
"""

from typing import Literal

import msgspec

from machines import tooloptions
from machines.itemevents import (
    MESSAGE_BOUNDARIES as MESSAGE_BOUNDARIES,
    ExtraMembers as ExtraMembers,
    ItemBoundary as ItemBoundary,
    MessageCompleted as MessageCompleted,
    MessageStarted as MessageStarted,
    ReasoningCompleted as ReasoningCompleted,
    ReasoningPartStarted as ReasoningPartStarted,
)
from machines.notices import (
    BufferPressure as BufferPressure,
    CallDemanded as CallDemanded,
    FallbackSkipped as FallbackSkipped,
    FallbackTaken as FallbackTaken,
    ItemStarted as ItemStarted,
    LateChange as LateChange,
    MembersDropped as MembersDropped,
    ModelRerouted as ModelRerouted,
    Notice as Notice,
    ParkMissed as ParkMissed,
    RetryScheduled as RetryScheduled,
    ReuseMissed as ReuseMissed,
    RpcReplied as RpcReplied,
    RpcSent as RpcSent,
    ThreadChanged as ThreadChanged,
    ThreadForked as ThreadForked,
    ThreadReused as ThreadReused,
    TurnChanged as TurnChanged,
    TurnResumed as TurnResumed,
    TurnStarted as TurnStarted,
    UpstreamGarbled as UpstreamGarbled,
)
from machines.terminal import Terminal as Terminal
from machines.vocabulary import (
    NO_MEMBERS as NO_MEMBERS,
    CallKind as CallKind,
    EmptyMessage as EmptyMessage,
    GapOwner as GapOwner,
    GoneCause as GoneCause,
    MembersPlace as MembersPlace,
    NoText as NoText,
    Phase as Phase,
    ReasoningKind as ReasoningKind,
    ReasoningMember as ReasoningMember,
    StreamEvent as StreamEvent,
    TerminalKind as TerminalKind,
    TimerName as TimerName,
    Usage as Usage,
    UsageSource as UsageSource,
)

SCHEMA_VERSION = 2
"""Version of the log's records. Raised when a reader of an older log would misread a newer one."""

CHAT = "chat.completions"
"""The endpoint of a stream that names no other."""

RESPONSES = "responses"
"""The endpoint of the Responses API."""

COMPLETIONS = "completions"
"""The endpoint of the legacy completions."""


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
        prompt_bytes: UTF-8 bytes of the prompt's texts, by which the tokens of a turn that is cut
            here are estimated; None: they are not, as in logs of earlier versions.
        prompt_sizes: the same of each prompt, where the choices answer several, as many each in
            their order; else empty.
        empty_is_failure: whether a stream without any event is an error, instead of empty too.
        stored: whether the answer is kept for later requests.
        empty_message: of the Responses API: when an answer without a message gets an empty one.
        schema: version of the records of the stream; the log sets it.
        request: the client's body as the log keeps it: masked or not, an outline of a large one.
        versions: of Turntape, Python and the worker.
        hash_key: hex key of the terminal record's `body_hash`; only where the log keeps content.
        metrics_since: when it was opened, where the answer tells its own times; None: it does not.
        key: name of the request's key; empty where none was needed, and in older logs.
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
    empty_message: EmptyMessage = "always"
    schema: int = 1
    content: Literal["full", "masked"] = "full"
    request: msgspec.Raw = msgspec.Raw(b"null")
    versions: dict[str, str] = msgspec.field(default_factory=dict)
    hash_key: str | None = None
    prompt_bytes: int | None = None
    prompt_sizes: tuple[int, ...] = ()
    metrics_since: int | None = None
    key: str = ""


class TextDelta(StreamEvent, frozen=True, tag="text_delta"):
    """A piece of the answer."""

    text: str
    choice: int = 0


class ReasoningDelta(StreamEvent, frozen=True, tag="reasoning_delta"):
    """A piece of the model's visible thinking, or of a commentary message.

    Attributes:
        kind: a summary of the thinking, or the thinking itself; `commentary` where items are told
            apart, and the text is of the message that has begun.
        member: where an upstream has it; a client is told it there too.
    """

    text: str
    choice: int = 0
    kind: ReasoningKind = "summary"
    member: ReasoningMember = "reasoning_content"


class RefusalDelta(StreamEvent, frozen=True, tag="refusal_delta"):
    """A piece of the model's refusal to answer."""

    text: str
    choice: int = 0


Aside = ReasoningDelta | RefusalDelta | ItemBoundary
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
        kind: of its call; the arguments of a custom tool are its input.
        members: a JSON object of the call's further members, which go to the client as they came.
    """

    index: int | None = None
    call_id: str | None = None
    name: str | None = None
    arguments: str | None = None
    choice: int = 0
    extent: Extent = "piece"
    kind: CallKind = "function"
    members: msgspec.Raw = NO_MEMBERS


class TurnFinished(StreamEvent, frozen=True, tag="turn_finished"):
    """The worker's word that the answer is whole.

    Attributes:
        reason: the worker's own word; `machines.stream.finish` maps it.
        followed: whether counts or a failure come behind it, which the sentinel waits for.
        cut_short: whether it was cut on its way from the worker, which then has no counts for it.
        no_text: the form of the content, where the answer has no text.
    """

    reason: str
    choice: int = 0
    followed: bool = False
    cut_short: bool = False
    no_text: NoText = "unsaid"


class ChoiceMissing(StreamEvent, frozen=True, tag="choice_missing"):
    """The worker has ended the answer and said nothing of this choice: there is none."""

    choice: int = 0


class TokensCounted(StreamEvent, frozen=True, tag="tokens_counted"):
    """The worker's counts for a choice; of several, the maximum of each field counts.

    Attributes:
        usage: None where the worker knows that there will be none.
    """

    usage: Usage | None
    choice: int = 0


class TokensEstimated(StreamEvent, frozen=True, tag="tokens_estimated"):
    """Counts in place of those that a worker does not give for a turn that was cut here: the bytes
    of prompt and answer as tokens. A worker's own counts, before it or after, stand instead."""

    usage: Usage
    choice: int = 0


class TurnFailed(StreamEvent, frozen=True, tag="turn_failed"):
    """The answer will not become whole.

    Attributes:
        code: an error code of `server.http.errors`.
        message: safe for a client: no hosts, URLs or keys.
        status: an upstream's own HTTP status, where the client shall see it.
        retry_after: seconds, where the upstream named them.
        word: the other side's own code: `codexErrorInfo`, or an upstream's `type`.
        detail: at most 1 KiB of its own words, which no client is told.
        should_retry: an upstream's `x-should-retry`.
        members: a JSON object of further members of an upstream's error, safe for a client.
    """

    kind: TerminalKind
    code: str
    message: str
    choice: int = 0
    status: int | None = None
    param: str | None = None
    retry_after: float | None = None
    word: str | None = None
    detail: str | None = None
    should_retry: bool | None = None
    members: msgspec.Raw = NO_MEMBERS


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


class RequestRejected(StreamEvent, frozen=True, tag="request_rejected", kw_only=True):
    """A request was refused before it had a stream: the only record of its life.

    Attributes:
        code: an error code of `server.http.errors`.
        message: as the client was told it.
        param: the request's field at fault.
        method: empty of what was no HTTP.
        route: the pattern of its path, such as `/v1/responses/{id}`; empty where there is none.
        path: at most 256 characters of one that has no route.
        client: its address.
        count: refusals that it stands for: without a key, those beyond ten in a minute.
        key: name of the request's key; empty without a good one, and in older logs.
        model: that was asked for, cut to 128 characters; empty where none is known, and in older
            logs.
    """

    request_id: str
    code: str
    status: int
    message: str = ""
    param: str | None = None
    method: str = ""
    route: str = ""
    path: str = ""
    client: str = ""
    count: int = 1
    key: str = ""
    model: str = ""


StreamInput = (
    TextDelta
    | ReasoningDelta
    | RefusalDelta
    | ItemBoundary
    | ExtraMembers
    | ToolCalled
    | ToolCallDropped
    | ToolCallDelta
    | TurnFinished
    | ChoiceMissing
    | TokensCounted
    | TokensEstimated
    | TurnFailed
    | TimerFired
    | ClientGone
    | ServerStopping
    | Notice
)
"""Every event a stream can be stepped with."""
