"""Outputs of a chat stream to `text/event-stream` bytes: the last of a token's four files.

Everything in a chunk but its text is known when the stream opens, so a frame is three pieces put
together: what stands before the text, the text as JSON, what stands behind it.

An upstream's further members are rare. Those of a choice and its delta wait for the frame that
they go with, so that they are in the chunk that they came in. Those of a chunk go with the next
frame, whatever it is, and small ones with every frame until they change. `_begin` makes every
frame's beginning, so none goes out without them; a choice whose frames need no more than their
text is in `_ready`.
"""

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import msgspec

from engine import jsonstrings
from machines import events, outputs, parse
from server.chat import accumulate, requestmetrics, tool_render
from server.http.errors import envelope

HEADERS: Final = (
    ("content-type", "text/event-stream; charset=utf-8"),
    ("cache-control", "no-cache, no-transform"),
    ("x-accel-buffering", "no"),
)
"""Headers of every stream; the last keeps nginx from buffering it."""

KEEPALIVE: Final = b": keepalive\n\n"
"""A comment, by which the idle timers of clients start anew. The HTML standard (§9.2.7) advises
one every 15 seconds or so, against proxies that drop a silent connection."""

DONE: Final = b"data: [DONE]\n\n"
"""The sentinel of the Chat Completions API: its reference has it in `stream_options`."""

USAGE_MARK: Final = "x-turntape-usage"
"""The header, or the comment before the usage chunk, that says that counts are `unknown`, and so
zeros, since clients that asked for them fail on a missing object; or that they are `estimated`."""

STANDING_BYTES: Final = 1 << 10
"""Most bytes of the members of a chunk that are in every frame until they change. One event may
make as many frames as it has entries, and large members in each would be gigabytes."""

_encode: Final = msgspec.json.encode
_outer: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])

Waiting = dict[events.MembersPlace, bytes]
"""Members that wait for the next frame of their choice: for each place the insides of an
object."""


class _Ready(NamedTuple):
    """The beginnings of frames to which only their text has to be added: up to the members of
    the delta, and up to the text of its content."""

    delta: bytes
    content: bytes


AnyPiece = outputs.ToolCall | outputs.ToolArguments | outputs.CallMembers
"""An output that tells a part of a call."""


def usage_mark(totals: outputs.UsageTotals) -> str | None:
    """Return what is to be said of counts; None where they are the worker's."""
    if totals.usage is None:
        return "unknown"
    return None if totals.source == "counted" else totals.source


def usage_comment(totals: outputs.UsageTotals) -> bytes:
    """Return the mark of counts as a comment of a stream."""
    mark = usage_mark(totals)
    return f": {USAGE_MARK}: {mark}\n\n".encode() if mark is not None else b""


def failure_frame(failure: outputs.Failure) -> bytes:
    """Return the frame that tells of a failure after the head."""
    told = envelope(failure.code, failure.message, failure.param, failure.status, failure.members)
    return b"data: " + told + b"\n\n"


def usage_object(
    usage: events.Usage | None, members: msgspec.Raw = events.NO_MEMBERS
) -> dict[str, Any]:
    """Make the API's usage object; its counts are zeros where they are unknown.

    Args:
        members: further ones.
    """
    counts = usage or events.Usage(0, 0)
    own = {
        "prompt_tokens": counts.prompt_tokens,
        "completion_tokens": counts.completion_tokens,
        "total_tokens": counts.total_tokens,
        "prompt_tokens_details": {"cached_tokens": counts.cached_tokens},
        "completion_tokens_details": {"reasoning_tokens": counts.reasoning_tokens},
    }
    return own if usage is None else accumulate.beside(own, members)


class ChatChunks:
    """Renders one stream's outputs as `chat.completion.chunk` frames.

    Attributes:
        streams: always; see `server.api.reply.Renderer`.
        frames: data frames rendered so far.
    """

    streams: Final = True

    def __init__(self, opened: events.Opened) -> None:
        self.frames = 0
        self._include_usage = opened.include_usage
        self._tools = opened.tools
        self._blocks = tool_render.Blocks(opened)
        self._counts = tool_render.Counts()
        self._custom: set[tuple[int, int]] = set()
        self._head = _encode(
            {
                "id": opened.completion_id,
                "object": "chat.completion.chunk",
                "created": opened.created,
                "model": opened.model,
            }
        )[:-1]
        self._end = (b',"usage":null' if opened.include_usage else b"") + b"}\n\n"
        self._after_delta = b'},"logprobs":null,"finish_reason":null}]' + self._end
        self._ready: dict[int, _Ready] = {}
        self._waiting: dict[int, Waiting] = {}
        self._usage_members = events.NO_MEMBERS
        self._standing = b""
        self._untold: dict[str, msgspec.Raw] = {}
        self._large: dict[str, msgspec.Raw] = {}
        self._finished = 0
        self._metrics = requestmetrics.of(opened)

    def headers(self) -> list[tuple[str, str]]:
        """Return the headers of every event stream."""
        return list(HEADERS)

    def render(self, output: outputs.AnyOutput, now: int = 0) -> bytes:
        """Return the bytes of one output, before HTTP framing; empty for those a client does not
        see."""
        if self._metrics is not None:
            self._metrics.take(output, now)
        return _RENDERERS[type(output)](self, output)

    def contents(self, choice: int, texts: list[str]) -> bytes:
        """Return the bytes of a `Content` for each of the texts: the last step of a token."""
        ready = self._ready.get(choice)
        if ready is not None:
            self.frames += len(texts)
            before, after = ready.content, self._after_delta
            return before + jsonstrings.join(texts, after + before) + after
        first = self._content(outputs.Content(texts[0], choice))
        return first + self.contents(choice, texts[1:]) if texts[1:] else first

    def _content(self, output: outputs.Content) -> bytes:
        return self._frame(output.choice, b'"content":' + _encode(output.text))

    def _reasoning(self, output: outputs.Reasoning) -> bytes:
        text = _encode(output.text)
        if output.member == "reasoning":
            text += b',"reasoning":' + text
        return self._frame(output.choice, b'"reasoning_content":' + text)

    def _frame(self, choice: int, delta: bytes, reason: bytes = b"null") -> bytes:
        """Return a frame of one choice, with the members that wait for it.

        Args:
            delta: the insides of an object; members of it stand behind.
        """
        ready = self._ready.get(choice)
        if ready is not None and reason == b"null":
            self.frames += 1
            return ready.delta + delta + self._after_delta
        waiting = self._waiting.pop(choice, {})
        of_delta, of_choice = waiting.get("delta", b""), waiting.get("choice", b"")
        both = delta + (b"," if delta and of_delta else b"") + of_delta
        has_logprobs = of_choice and "logprobs" in _names(of_choice)
        logprobs = b"" if has_logprobs else b'"logprobs":null,'
        after = b"," + of_choice if of_choice else b""
        frame = b'%b%b},%b"finish_reason":%b%b}]%b' % (
            self._begin_delta(choice),
            both,
            logprobs,
            reason,
            after,
            self._end,
        )
        self._make_ready(choice)
        return frame

    def _begin(self) -> bytes:
        """Begin a frame of whatever kind, with what its chunk has."""
        self.frames += 1
        told, self._untold = self._untold, {}
        more = _encode(told)[1:-1] if told else self._standing
        return b"data: %b%b%b" % (self._head, b"," if more else b"", more)

    def _begin_delta(self, choice: int) -> bytes:
        return self._begin() + b',"choices":[{"index":%d,"delta":{' % choice

    def _make_ready(self, choice: int) -> None:
        """Have the next frames of a choice begin as the last did, if nothing waits for them."""
        if choice in self._ready or choice in self._waiting or self._untold:
            return
        frames = self.frames
        delta = self._begin_delta(choice)
        self.frames = frames
        self._ready[choice] = _Ready(delta, delta + b'"content":')

    def _members(self, output: outputs.Members) -> bytes:
        match output.place:
            case "chunk":
                self._of_chunk(output.members)
                return b""
            case "usage":
                self._usage_members = output.members
                return b""
        waiting = self._waiting.get(output.choice, {})
        frame = self._alone(output.choice) if output.place in waiting else b""
        self._ready.pop(output.choice, None)
        self._waiting.setdefault(output.choice, {})[output.place] = bytes(output.members)[1:-1]
        return frame if output.followed else frame + self._alone(output.choice)

    def _of_chunk(self, members: msgspec.Raw) -> None:
        """Take the members of a chunk; those of chunks before it that made no frame are not
        lost."""
        found = _members(members)
        small = len(bytes(members)) <= STANDING_BYTES
        self._standing = bytes(members)[1:-1] if small else b""
        self._large = {} if small else found
        self._untold |= found
        self._ready.clear()

    def _alone(self, choice: int) -> bytes:
        """Return a frame of nothing but the members that wait for one."""
        return self._frame(choice, b"")

    def _refusal(self, output: outputs.Refusal) -> bytes:
        return self._delta(output.choice, {"refusal": output.text})

    def _role(self, output: outputs.Role) -> bytes:
        """Return the frame of a role; what waits for the choice goes with the output behind it."""
        role = b'"role":"assistant","content":""'
        return self._begin_delta(output.choice) + role + self._after_delta

    def _tool_call(self, output: outputs.ToolCall) -> bytes:
        call = tool_render.call_object(
            output.call_id, output.kind, output.name, output.arguments, output.members
        )
        if output.kind == "custom":
            self._custom.add((output.choice, output.index))
        return self._call(output, call)

    def _tool_arguments(self, output: outputs.ToolArguments) -> bytes:
        return self._call(output, self._piece(output, output.arguments))

    def _call_members(self, output: outputs.CallMembers) -> bytes:
        if self._is_older(output) and "function" not in _members(output.members):
            return b""  # it has no room for those beside the function
        # Some clients fail on a piece of a call without arguments.
        return self._call(output, accumulate.beside(self._piece(output, ""), output.members))

    def _piece(
        self, output: outputs.ToolArguments | outputs.CallMembers, arguments: str
    ) -> dict[str, Any]:
        """Return a further piece of a call's arguments, or of its input."""
        if (output.choice, output.index) in self._custom:
            return {"index": output.index, "custom": {"input": arguments}}
        return {"index": output.index, "function": {"arguments": arguments}}

    def _is_older(self, output: AnyPiece) -> bool:
        """Return whether a call has its older form, which no custom tool has."""
        return self._tools.legacy and (output.choice, output.index) not in self._custom

    def _call(self, output: AnyPiece, call: dict[str, Any]) -> bytes:
        """Render a piece of a call; the older form has room for the first of a choice alone."""
        if not self._is_older(output):
            return self._delta(output.choice, {"tool_calls": [{"index": output.index} | call]})
        return (
            b""
            if output.index
            else self._delta(output.choice, {"function_call": call["function"]})
        )

    def _tool_block(self, output: outputs.ToolBlock) -> bytes:
        return self._delta(output.choice, {"content": self._blocks.text(output)})

    def _tool_counts(self, output: outputs.ToolCounts) -> bytes:
        self._counts.add(output)
        return self._counts.comments() if self._tools.sse_comments else b""

    def _delta(self, choice: int, delta: dict[str, Any]) -> bytes:
        return self._frame(choice, _encode(delta)[1:-1])

    def _finish(self, output: outputs.Finish) -> bytes:
        """Return the frame of a finish. What was too large for every frame is in the first of
        them once more: clients that keep the last chunk find it there."""
        self._untold = self._large | self._untold
        self._large = {}
        self._finished = output.choice
        return self._frame(output.choice, b"", _encode(output.reason))

    def _usage(self, output: outputs.UsageTotals) -> bytes:
        if not self._include_usage:
            return b""
        counts = _encode(usage_object(output.usage, self._usage_members))
        comment = usage_comment(output) if self._tools.sse_comments else b""
        begun = self._begin()
        times = b""
        members = begun[len(b"data: ,") + len(self._head) :]
        if self._metrics is not None and requestmetrics.MEMBER not in _names(members):
            times = b',"metrics":' + _encode(self._metrics.object(output.usage))
        return comment + begun + b',"choices":[],"usage":' + counts + times + b"}\n\n"

    def _done(self, _: outputs.Done) -> bytes:
        # A client that did not ask for counts may not know a chunk without a choice.
        members = self._alone(self._finished) if self._untold else b""
        self.frames += 1
        return members + DONE

    def _keepalive(self, _: outputs.Keepalive) -> bytes:
        return KEEPALIVE

    def _failure(self, output: outputs.Failure) -> bytes:
        self.frames += 1
        return failure_frame(output)

    def _nothing(self, _: outputs.Output) -> bytes:
        return b""


def _members(members: msgspec.Raw | bytes) -> dict[str, msgspec.Raw]:
    return parse.parse_outer(members, _outer)


def _names(insides: bytes) -> dict[str, msgspec.Raw]:
    return _members(b"{%b}" % insides)


_RENDERERS: Final[dict[type, Callable[[ChatChunks, Any], bytes]]] = {
    outputs.Content: ChatChunks._content,
    outputs.Reasoning: ChatChunks._reasoning,
    outputs.ReasoningPart: ChatChunks._nothing,
    outputs.ReasoningDone: ChatChunks._nothing,
    outputs.MessageBegun: ChatChunks._nothing,
    outputs.MessageDone: ChatChunks._nothing,
    outputs.Refusal: ChatChunks._refusal,
    outputs.Members: ChatChunks._members,
    outputs.Head: ChatChunks._nothing,
    outputs.Role: ChatChunks._role,
    outputs.ToolCall: ChatChunks._tool_call,
    outputs.CallMembers: ChatChunks._call_members,
    outputs.ToolArguments: ChatChunks._tool_arguments,
    outputs.ToolBlock: ChatChunks._tool_block,
    outputs.ToolBufferStarted: ChatChunks._nothing,
    outputs.ToolBufferFlushed: ChatChunks._nothing,
    outputs.ToolBufferAborted: ChatChunks._nothing,
    outputs.ToolCounts: ChatChunks._tool_counts,
    outputs.Finish: ChatChunks._finish,
    outputs.UsageTotals: ChatChunks._usage,
    outputs.Done: ChatChunks._done,
    outputs.Keepalive: ChatChunks._keepalive,
    outputs.Failure: ChatChunks._failure,
    outputs.CancelTurn: ChatChunks._nothing,
}
"""The method that renders each output."""
