"""The outputs of a stream's machine; renderers turn them into bytes.

No output carries a clock or an id that is not already in `Opened`.
"""

from typing import Final, Literal

import msgspec

from machines import events

Cut = Literal["stop", "length", "tool_calls", "call_limit", "mismatch"]
"""Why an answer ends before the worker's own end: a stop sequence, its byte budget, a call, more
calls than any answer has, a call that contradicts itself."""


PieceKind = Literal["text", "started", "call", "withheld", "verbatim", "aborted"]
"""The kinds of a part of a text: content; the beginning of a block; a block that is a call, that
is a call too many, or that is content because nobody declared its name; held text that was no
block."""


class Piece(
    msgspec.Struct,
    frozen=True,
    gc=False,
    array_like=True,
    omit_defaults=True,
    forbid_unknown_fields=True,
):
    """A part of the released text.

    Attributes:
        length: in code points.
        word: the name of a call, or why held text was no block.
    """

    kind: PieceKind
    length: int = 0
    word: str = ""


class Joined(
    msgspec.Struct,
    frozen=True,
    gc=False,
    array_like=True,
    omit_defaults=True,
    forbid_unknown_fields=True,
):
    """The meaning of a fragment: it opens a call with this name, or adds to one.

    Attributes:
        index: of the call among all that the worker made.
        name: of a call that opens, else empty.
    """

    index: int
    name: str = ""


class Decision(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """The decisions of scanners: kept in the record, so that a masked log replays.

    Attributes:
        released: code points of the held text and the new text together that go on.
        cut: why the answer ends after them, if it does.
        pieces: what the released text and earlier held blocks are, in order, up to a call that
            ends the answer; None where all of it is content.
        joined: what became of a fragment of a call.
        marked: the calls that further members came for behind their beginning, as `Joined` has
            their index; told behind what is joined.
        repeats: which of the whole calls that waited only repeat an earlier one.
    """

    released: int = 0
    cut: Cut | None = None
    pieces: tuple[Piece, ...] | None = None
    joined: tuple[Joined, ...] = ()
    repeats: tuple[int, ...] = ()
    marked: tuple[int, ...] = ()


class Output(msgspec.Struct, frozen=True, gc=False, tag_field="output", tag=True):
    """Anything the stream machine answers."""


class Head(Output, frozen=True, tag="head"):
    """The response's status and headers may go out now."""


class Role(Output, frozen=True, tag="role"):
    """A choice begins."""

    choice: int = 0


class Content(Output, frozen=True, tag="content"):
    """Text of the answer."""

    text: str
    choice: int = 0


class Reasoning(Output, frozen=True, tag="reasoning"):
    """Text of the model's thinking."""

    text: str
    choice: int = 0
    kind: events.ReasoningKind = "summary"
    member: events.ReasoningMember = "reasoning_content"


class ReasoningPart(Output, frozen=True, tag="reasoning_part"):
    """A further part of a reasoning item begins."""

    choice: int = 0


class ReasoningDone(Output, frozen=True, tag="reasoning_done"):
    """A reasoning item is over; see `events.ReasoningCompleted`."""

    encrypted_content: str
    choice: int = 0


class MessageBegun(Output, frozen=True, tag="message_begun"):
    """A message of the model begins; see `events.MessageStarted`."""

    phase: events.Phase | None = None
    choice: int = 0


class MessageDone(Output, frozen=True, tag="message_done"):
    """A message of the model is whole; see `events.MessageCompleted`."""

    phase: events.Phase | None = None
    choice: int = 0


class Refusal(Output, frozen=True, tag="refusal"):
    """Text of a refusal."""

    text: str
    choice: int = 0


class Members(Output, frozen=True, tag="members"):
    """Further members of an object of the answer; see `events.ExtraMembers`.

    Those of a chunk go with the next frame, and stand until others take their place; those of the
    counts are in them; others go with the next output of their choice, and by themselves if none
    follows.
    """

    place: events.MembersPlace
    members: msgspec.Raw
    choice: int = 0
    followed: bool = False


class ToolCall(Output, frozen=True, tag="tool_call"):
    """A call begins; `arguments` is what is known of them, and all of them where they were whole.

    Attributes:
        index: of the call in its choice, from 0.
        members: a JSON object of its further members.
    """

    index: int
    call_id: str
    name: str
    arguments: str
    choice: int = 0
    kind: events.CallKind = "function"
    members: msgspec.Raw = events.NO_MEMBERS


class CallMembers(Output, frozen=True, tag="call_members"):
    """Further members of a call that began before."""

    index: int
    members: msgspec.Raw
    choice: int = 0


class ToolArguments(Output, frozen=True, tag="tool_arguments"):
    """A further piece of a call's arguments."""

    index: int
    arguments: str
    choice: int = 0


class ToolBlock(Output, frozen=True, tag="tool_block"):
    """A whole call once more, as content: for clients that read it there."""

    name: str
    arguments: str
    choice: int = 0


class ToolBufferStarted(Output, frozen=True, tag="tool_buffer_started"):
    """Text is held, because it may be a call."""

    choice: int = 0


class ToolBufferFlushed(Output, frozen=True, tag="tool_buffer_flushed"):
    """The held text was a whole block."""

    choice: int = 0


class ToolBufferAborted(Output, frozen=True, tag="tool_buffer_aborted"):
    """The held text was no block; it follows as it came.

    Attributes:
        reason: `nested`, `malformed`, `unclosed` or `too_large`.
    """

    reason: str
    choice: int = 0


class ToolCounts(Output, frozen=True, tag="tool_counts"):
    """How many calls a choice had; `truncated` says whether others were withheld."""

    calls: int
    truncated: bool
    choice: int = 0


class Finish(Output, frozen=True, tag="finish"):
    """A choice is over; `reason` is canonical.

    Attributes:
        no_text: the form of its content, if it has no text.
    """

    reason: str
    choice: int = 0
    no_text: events.NoText = "unsaid"


class UsageTotals(Output, frozen=True, tag="usage"):
    """The token counts of all choices together; None where they are unknown."""

    usage: events.Usage | None
    source: events.UsageSource = "counted"


class Done(Output, frozen=True, tag="done"):
    """The answer is whole."""


class Keepalive(Output, frozen=True, tag="keepalive"):
    """A sign of life while the worker sends nothing."""


class Failure(Output, frozen=True, tag="failure"):
    """The answer is not whole and will not be: a frame in the stream, or the whole response.

    Attributes:
        members: a JSON object of further members of the error.
    """

    code: str
    message: str
    status: int | None = None
    param: str | None = None
    retry_after: float | None = None
    should_retry: bool | None = None
    members: msgspec.Raw = events.NO_MEMBERS


DEFECT: Final = Failure("internal_error", "The server had an error.")
"""The failure that a client is told of for a bug of ours; its traceback is in the diagnostics and
nowhere else."""


class Rejected(Output, frozen=True, tag="failure"):
    """A failure before anything went out: it is the whole response, with a status of its own.

    An answer that is not streamed has nothing out before its end, so every failure of one is this.
    Records name it as they name a `Failure`: logs were written before the two were told apart.
    """

    failure: Failure


class CancelTurn(Output, frozen=True, tag="cancel_turn"):
    """The worker's turn for this choice is no longer wanted."""

    choice: int = 0


AnyOutput = (
    Head
    | Role
    | Content
    | Reasoning
    | ReasoningPart
    | ReasoningDone
    | MessageBegun
    | MessageDone
    | Refusal
    | Members
    | ToolCall
    | CallMembers
    | ToolArguments
    | ToolBlock
    | ToolBufferStarted
    | ToolBufferFlushed
    | ToolBufferAborted
    | ToolCounts
    | Finish
    | UsageTotals
    | Done
    | Keepalive
    | Failure
    | Rejected
    | CancelTurn
)
"""Every output of the stream machine."""


def aside(event: events.Aside) -> AnyOutput | None:
    """Return the output for an event that no scanner reads; None for an empty piece."""
    match event:
        case events.ReasoningCompleted(encrypted_content, choice):
            return ReasoningDone(encrypted_content, choice)
        case events.ReasoningPartStarted(choice):
            return ReasoningPart(choice)
        case events.MessageStarted(phase, choice):
            return MessageBegun(phase, choice)
        case events.MessageCompleted(phase, choice):
            return MessageDone(phase, choice)
        case events.ReasoningDelta(text, choice, kind, member) if text:
            return Reasoning(text, choice, kind, member)
        case events.RefusalDelta(text, choice) if text:
            return Refusal(text, choice)
    return None


def failure_of(event: events.TurnFailed) -> Failure:
    """Return the failure that a client is told of for a turn that failed."""
    return Failure(
        event.code,
        event.message,
        event.status,
        event.param,
        event.retry_after,
        event.should_retry,
        event.members,
    )


class Step(msgspec.Struct, frozen=True, gc=False):
    """One step of the machine: its new state, its outputs, and what the scanners decided.

    Attributes:
        states: every state that the event's choice came to, in order, where they were several;
            the last is `state`.
    """

    state: str
    outputs: tuple[AnyOutput, ...]
    decision: Decision | None = None
    states: tuple[str, ...] = ()
