"""The request to a worker, and the protocols that every worker keeps."""

from collections.abc import Callable, Mapping
from typing import Final, Literal, Protocol

import msgspec

from engine import redaction, rpcfigures, slices, workerkinds
from machines import events

Role = Literal["system", "developer", "user", "assistant", "tool", "function"]
"""The roles of a chat message."""


PARAGRAPH: Final = "\n\n"
"""The blank line that joins several texts where there is room for one."""


class TextPart(msgspec.Struct, frozen=True, gc=False, tag="text"):
    """Text of a message."""

    text: str


class ImagePart(msgspec.Struct, frozen=True, gc=False, tag="image"):
    """An image.

    Attributes:
        url: a `data:` or `https:` URL.
        param: the request's field it came from.
        detail: how closely to look, for a worker that passes it on.
    """

    url: str
    param: str
    detail: str | None = None


class OtherPart(msgspec.Struct, frozen=True, gc=False, tag="other"):
    """A part that not every worker takes, such as `input_audio` or `file`.

    Attributes:
        param: the request's field it came from.
        part: the whole of it as Chat Completions has it, where that is not how it came.
    """

    kind: str
    param: str
    part: msgspec.Raw | None = None


class RefusalPart(msgspec.Struct, frozen=True, gc=False, tag="refusal"):
    """An assistant's earlier refusal."""

    text: str


Part = TextPart | ImagePart | OtherPart | RefusalPart


class Call(msgspec.Struct, frozen=True, gc=False):
    """A tool call an earlier answer made; `arguments` is the exact JSON string."""

    call_id: str
    name: str
    arguments: str


class Message(msgspec.Struct, frozen=True, gc=False):
    """One message of the conversation, its content always as parts.

    Attributes:
        calls: of an assistant message.
        call_id: of a tool message: the call it answers.
        reasoning: of an assistant message: what the model thought before it said anything, as
            items that only its provider can read.
        thought: the same in words, for a provider that reads those.
        phase: of an assistant message, where its provider named one.
    """

    role: Role
    parts: tuple[Part, ...] = ()
    name: str | None = None
    calls: tuple[Call, ...] = ()
    call_id: str | None = None
    reasoning: tuple[msgspec.Raw, ...] = ()
    thought: str = ""
    phase: str | None = None


class Tool(msgspec.Struct, frozen=True):
    """A function of the client's that the model may call.

    Attributes:
        parameters: the JSON schema of its arguments as the client wrote it; None: it takes none.
    """

    name: str
    description: str = ""
    parameters: msgspec.Raw | None = None


SearchAccess = Literal["live", "cached"]
"""How a search of the web is made: on the web itself, or in what its provider has kept of it."""


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """The request of one choice to a worker.

    Attributes:
        target: the model the worker knows.
        body: the members of the client's request as they came, for a worker that passes it on.
        choices: how many choices the turn answers, from `choice` on.
        effort: reasoning effort, None for the model's own default.
        reasoning_summary: how the thinking is to be told, such as `auto`; None: as the model has
            it.
        verbosity: how much the answer shall say, such as `low`; None: as the model has it.
        service_tier: that the answer is made in, such as `flex`; None for the usual one.
        web_search: how the worker's own search of the web may be used; None: not at all.
        output_schema: a JSON schema the answer must follow, as the client wrote it.
        tools: what the model may call; what `tool_choice` rules out is not among them.
        call_required: whether an answer without a call is none.
        parallel_calls: whether the client takes more than one call of a step.
        reasoning_items: whether its reasoning is wanted in the form that only its provider reads.
        separate_items: whether the client is told of each of the provider's items by itself:
            messages with their phase, reasoning items and their parts. Else the texts of messages
            are joined, and commentary is thinking.
        conversation: the client's own name of the conversation, its `prompt_cache_key`; empty
            without one.
        transcript: name of the transcript a scripted worker plays.
        key_id: which client key asked; work that outlives a request belongs to it.
        known: the server's own secrets, which no answer may repeat in an error.
        trace_headers: what a server that is asked for the answer is told of the trace.
    """

    stream_id: str
    request_id: str
    target: str
    messages: tuple[Message, ...]
    body: Mapping[str, msgspec.Raw] = {}
    choice: int = 0
    choices: int = 1
    effort: str | None = None
    reasoning_summary: str | None = None
    verbosity: str | None = None
    service_tier: str | None = None
    web_search: SearchAccess | None = None
    output_schema: msgspec.Raw | None = None
    tools: tuple[Tool, ...] = ()
    call_required: bool = False
    parallel_calls: bool = True
    reasoning_items: bool = False
    separate_items: bool = False
    conversation: str = ""
    transcript: str | None = None
    key_id: str = ""
    known: redaction.Redaction = redaction.NONE
    trace_headers: tuple[tuple[str, str], ...] = ()

    @property
    def needs_raw_items(self) -> bool:
        """Whether what a client is told stands in the provider's own form of an item alone."""
        return self.reasoning_items or self.web_search is not None


class TurnRefused(Exception):
    """Raised by `Worker.check` for a turn this worker cannot take.

    Args:
        code: an error code of `server.http.errors`.
        message: what to tell the client.
        param: the request's field at fault, such as `messages[2].content[0]`.
        members: further members of the error, as a JSON object.
    """

    def __init__(
        self,
        code: str,
        message: str,
        param: str | None = None,
        members: msgspec.Raw = events.NO_MEMBERS,
    ) -> None:
        super().__init__(message)
        self.members = members
        self.code = code
        self.message = message
        self.param = param


class ProcessHealth(msgspec.Struct, frozen=True):
    """One process of a worker.

    Attributes:
        version: that it runs; empty until it has said it.
        turns: how many have a place on it now.
        restarts: how often it was started after the first time.
    """

    name: str
    state: str
    version: str
    turns: int = 0
    restarts: int = 0


class QuotaWindow(msgspec.Struct, frozen=True):
    """A span of time for which a provider's account has a quota.

    Attributes:
        name: `primary` or `secondary`.
        used: the part that is used, 1 for all of it; it may be more.
        seconds: how long it is.
        resets_at: Unix seconds.
    """

    name: str
    used: float
    seconds: int | None = None
    resets_at: int | None = None


class AccountHealth(msgspec.Struct, frozen=True):
    """The account that a worker is logged in to, as far as everybody may see it.

    Attributes:
        login: such as `chatgpt`, `api_key` or `none`.
        plan: one of a known set, or `unknown`.
        windows: of its quota, those that are known.
        credits: whether it has bought more than its plan.
    """

    login: str
    plan: str = "unknown"
    windows: tuple[QuotaWindow, ...] = ()
    credits: bool = False


class Health(msgspec.Struct, frozen=True):
    """A worker's readiness.

    Attributes:
        state: of its machine, such as `ready` or `backoff`; fit for a public health page.
        code: an error code that explains why it is not ready.
        retry_after: seconds until it may be.
        counts: what became of its turns since the start, by name; those that are 0 are absent.
        waiting: turns that wait for a place on a process.
        processes: those that it has, if it has any.
        newest_tested: the newest version of them that it was tested with.
        missed: turns whose history was sent anew, by why.
        reuse: what became of its conversations' threads since the start, as in `counts`.
        reuse_missed: conversations that went on, and whose history was sent anew, by why.
        idle_threads: those that stay loaded for a later request.
        rpc: what requests to them took; None where there are none.
        account: that it is logged in to; None where it has none.
    """

    ready: bool
    state: str
    code: str | None = None
    retry_after: float | None = None
    counts: dict[str, int] = {}
    waiting: int = 0
    processes: tuple[ProcessHealth, ...] = ()
    newest_tested: str | None = None
    missed: dict[str, int] = {}
    reuse: dict[str, int] = {}
    reuse_missed: dict[str, int] = {}
    idle_threads: int = 0
    rpc: rpcfigures.RpcFigures | None = None
    account: AccountHealth | None = None


class Feed(Protocol):
    """Where a turn's events go: the pump of its stream."""

    def event(self, event: events.StreamInput) -> None:
        """Take one event, in the order it happened. Never raises, never blocks."""


class Silence:
    """A feed for what nobody wants to hear any more."""

    def event(self, event: events.StreamInput) -> None:
        """Drop one event."""


SILENCE: Final = Silence()
"""Takes the place of a cancelled turn's feed."""

Read = Callable[[Callable[[bytes], None], bytes], None]
"""Has what one read brought taken, as one wake-up: `engine.stream.wakeups.Wakeups.read`."""


class RunningTurn(Protocol):
    """A turn a worker has begun."""

    def cancel(self) -> None:
        """Stop the work behind this turn and send no further events. Safe to repeat."""

    def pause(self) -> None:
        """The client reads more slowly than the worker writes: read no more, if one may stop."""

    def resume(self) -> None:
        """The client has caught up."""

    def keep(self) -> None:
        """The whole answer has reached the client: if it was calls, wait for their results."""


class Runner(Protocol):
    """Something that answers turns.

    A turn ends with exactly one `TurnFinished` or `TurnFailed` unless it was cancelled.
    `TokensCounted` comes before `TurnFinished` where the counts are known by then. Behind one that
    is `followed` it comes later, or a `TurnFailed` in its place.
    """

    def run(self, turn: Turn, feed: Feed) -> RunningTurn:
        """Begin a turn at once. What goes wrong arrives at the feed as `TurnFailed`."""


class AnyModel(msgspec.Struct, frozen=True):
    """Every model's name is taken: whoever answers judges it, and may know more than it lists."""


class ListedModels(msgspec.Struct, frozen=True):
    """The names of a worker's models are taken, and aliases.

    Attributes:
        default: the model that the aliases stand for.
    """

    default: str


class ModelCard(msgspec.Struct, frozen=True):
    """The knowledge of a worker about one model, for `/v1/models`.

    Attributes:
        created: Unix seconds; None: not known.
        owned_by: None: the server says it.
        members: further members, as a JSON object.
    """

    created: int | None = None
    owned_by: str | None = None
    members: bytes = b"{}"


class Worker(Runner, Protocol):
    """A runner with a life of its own, which a server shares between its streams.

    Attributes:
        kind: what sets it apart from other workers.
        accepts: which names of models it takes.
    """

    kind: workerkinds.Kind
    accepts: AnyModel | ListedModels

    async def start(self) -> None:
        """Begin to become ready; returns without waiting for it."""

    async def stop(self) -> None:
        """Release everything within the worker's grace."""

    def health(self) -> Health:
        """Whether a turn could be taken now."""

    def versions(self) -> dict[str, str]:
        """Versions for the log's first records."""

    def models(self) -> tuple[str, ...]:
        """Targets this worker knows."""

    def describe(self, model: str) -> ModelCard:
        """Return what is known of a target; of one that nobody knows, nothing."""

    def check(self, turn: Turn) -> slices.Steps[Runner]:
        """Refuse what can be refused before anything is begun: in steps, for a turn may be long.

        What it gives runs the turns of this request, which differ in their choices alone. So what
        is made of one can be used for all.

        Raises:
            TurnRefused: with a message for the client.
        """
