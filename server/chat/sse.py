"""Outputs of a chat stream to `text/event-stream` bytes: the last of a token's four files.

Everything in a chunk but its text is known when the stream opens, so a frame is three pieces put
together: what stands before the text, the text as JSON, what stands behind it.
"""

from collections.abc import Callable
from typing import Any, Final

import msgspec

from engine import jsonstrings
from machines import events, outputs
from server.chat import tool_render
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

USAGE_UNKNOWN: Final = b": x-turntape-usage: unknown\n\n"
"""The comment before a usage chunk of zeros: clients that asked for counts fail on a missing
object."""

_encode: Final = msgspec.json.encode


def usage_object(usage: events.Usage | None) -> dict[str, Any]:
    """Make the API's usage object; its counts are zeros where they are unknown."""
    counts = usage or events.Usage(0, 0)
    return {
        "prompt_tokens": counts.prompt_tokens,
        "completion_tokens": counts.completion_tokens,
        "total_tokens": counts.total_tokens,
        "prompt_tokens_details": {"cached_tokens": counts.cached_tokens},
        "completion_tokens_details": {"reasoning_tokens": counts.reasoning_tokens},
    }


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
        head = {
            "id": opened.completion_id,
            "object": "chat.completion.chunk",
            "created": opened.created,
            "model": opened.model,
        }
        self._chunk = b"data: " + _encode(head)[:-1]
        self._end = (b',"usage":null' if opened.include_usage else b"") + b"}\n\n"
        self._before_delta = self._before(opened.n, b"{")
        self._before_content = self._before(opened.n, b'{"content":')
        self._before_reasoning = self._before(opened.n, b'{"reasoning_content":')
        self._after_delta = b'},"logprobs":null,"finish_reason":null}]' + self._end

    def headers(self) -> list[tuple[str, str]]:
        """Return the headers of every event stream."""
        return list(HEADERS)

    def render(self, output: outputs.AnyOutput, now: int = 0) -> bytes:
        """Return the bytes of one output, before HTTP framing; empty for those a client does not
        see."""
        return _RENDERERS[type(output)](self, output)

    def contents(self, choice: int, texts: list[str]) -> bytes:
        """Return the bytes of a `Content` for each of the texts: the last step of a token."""
        self.frames += len(texts)
        before, after = self._before_content[choice], self._after_delta
        return before + jsonstrings.join(texts, after + before) + after

    def _before(self, n: int, field: bytes) -> tuple[bytes, ...]:
        return tuple(
            self._chunk + b',"choices":[{"index":%d,"delta":%b' % (index, field)
            for index in range(n)
        )

    def _content(self, output: outputs.Content) -> bytes:
        self.frames += 1
        return self._before_content[output.choice] + _encode(output.text) + self._after_delta

    def _reasoning(self, output: outputs.Reasoning) -> bytes:
        self.frames += 1
        return self._before_reasoning[output.choice] + _encode(output.text) + self._after_delta

    def _refusal(self, output: outputs.Refusal) -> bytes:
        return self._delta(output.choice, {"refusal": output.text})

    def _role(self, output: outputs.Role) -> bytes:
        return self._delta(output.choice, {"role": "assistant", "content": ""})

    def _tool_call(self, output: outputs.ToolCall) -> bytes:
        function = {"name": output.name, "arguments": output.arguments}
        if self._tools.legacy:
            return self._function_call(output, function)
        call = {
            "index": output.index,
            "id": output.call_id,
            "type": "function",
            "function": function,
        }
        return self._delta(output.choice, {"tool_calls": [call]})

    def _tool_arguments(self, output: outputs.ToolArguments) -> bytes:
        function = {"arguments": output.arguments}
        if self._tools.legacy:
            return self._function_call(output, function)
        call = {"index": output.index, "function": function}
        return self._delta(output.choice, {"tool_calls": [call]})

    def _function_call(
        self, output: outputs.ToolCall | outputs.ToolArguments, function: dict[str, str]
    ) -> bytes:
        """Render a call in its older form, which has room for the first of a choice alone."""
        if output.index:
            return b""
        return self._delta(output.choice, {"function_call": function})

    def _tool_block(self, output: outputs.ToolBlock) -> bytes:
        return self._delta(output.choice, {"content": self._blocks.text(output)})

    def _tool_counts(self, output: outputs.ToolCounts) -> bytes:
        self._counts.add(output)
        return self._counts.comments() if self._tools.sse_comments else b""

    def _delta(self, choice: int, delta: dict[str, Any]) -> bytes:
        self.frames += 1
        return self._before_delta[choice] + _encode(delta)[1:-1] + self._after_delta

    def _finish(self, output: outputs.Finish) -> bytes:
        self.frames += 1
        after = b'},"logprobs":null,"finish_reason":%b}]' % _encode(output.reason)
        return self._before_delta[output.choice] + after + self._end

    def _usage(self, output: outputs.UsageTotals) -> bytes:
        if not self._include_usage:
            return b""
        self.frames += 1
        counts = _encode(usage_object(output.usage))
        unknown = output.usage is None and self._tools.sse_comments
        comment = USAGE_UNKNOWN if unknown else b""
        return comment + self._chunk + b',"choices":[],"usage":' + counts + b"}\n\n"

    def _done(self, _: outputs.Done) -> bytes:
        self.frames += 1
        return DONE

    def _keepalive(self, _: outputs.Keepalive) -> bytes:
        return KEEPALIVE

    def _failure(self, output: outputs.Failure) -> bytes:
        self.frames += 1
        frame = envelope(output.code, output.message, output.param, output.status)
        return b"data: " + frame + b"\n\n"

    def _nothing(self, _: outputs.Output) -> bytes:
        return b""


_RENDERERS: Final[dict[type, Callable[[ChatChunks, Any], bytes]]] = {
    outputs.Content: ChatChunks._content,
    outputs.Reasoning: ChatChunks._reasoning,
    outputs.ReasoningDone: ChatChunks._nothing,
    outputs.Refusal: ChatChunks._refusal,
    outputs.Head: ChatChunks._nothing,
    outputs.Role: ChatChunks._role,
    outputs.ToolCall: ChatChunks._tool_call,
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
