"""Outputs of a chat stream folded into one `chat.completion` body: the non-stream answer."""

from collections.abc import Set
from typing import Any, Final

import msgspec

from machines import events, outputs, parse
from server.chat import accumulate, requestmetrics, sse, tool_render

AUDIO: Final = frozenset({"id", "data", "expires_at", "transcript"})
"""The members of a whole message's audio, all of which the API's type has; a stream brings them
one by one."""

_names: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


def body_headers(
    totals: outputs.UsageTotals, counts: tool_render.Counts | None
) -> list[tuple[str, str]]:
    """Return the headers that an answer in one body adds to the response's, in either API."""
    found = [("content-type", "application/json")]
    mark = sse.usage_mark(totals)
    if mark is not None:
        found.append((sse.USAGE_MARK, mark))
    return found + counts.headers() if counts is not None else found


class FoldedCall(msgspec.Struct):
    """A tool call while its arguments are being joined."""

    call_id: str
    kind: events.CallKind
    name: str
    arguments: list[str]
    members: accumulate.Members = msgspec.field(
        default_factory=lambda: accumulate.Members(accumulate.Joins.DELTA)
    )

    def object(self) -> dict[str, Any]:
        """Return the API's object of the call."""
        text, members = "".join(self.arguments), self.members.object()
        return tool_render.call_object(self.call_id, self.kind, self.name, text, members)


class FoldedChoice:
    """One choice while it is being joined.

    Attributes:
        finish: its last output; None for a choice that there is none of.
    """

    def __init__(self) -> None:
        self.content: list[str] = []
        self.reasoning: list[str] = []
        self.reasoning_member: events.ReasoningMember = "reasoning_content"
        self.refusal: list[str] = []
        self.calls: list[FoldedCall] = []
        self.of_message = accumulate.Members(accumulate.Joins.DELTA)
        self.of_choice = accumulate.Members(accumulate.Joins.CHOICE)
        self.finish: outputs.Finish | None = None


class ChatBody:
    """Renders one stream's outputs as a single JSON body, empty until the answer is whole.

    Attributes:
        streams: never; see `server.api.reply.Renderer`.
        frames: one, the body.
    """

    streams: Final = False
    frames: Final = 1

    def __init__(self, opened: events.Opened) -> None:
        self._opened = opened
        self._choices = [FoldedChoice() for _ in range(opened.n)]
        self._blocks = tool_render.Blocks(opened)
        self._counts: tool_render.Counts | None = None
        self._totals = outputs.UsageTotals(None)
        self._of_chunk = accumulate.Members(accumulate.Joins.CHUNK)
        self._of_usage = events.NO_MEMBERS
        self._metrics = requestmetrics.of(opened)

    def headers(self) -> list[tuple[str, str]]:
        """Return the headers of a JSON body, with those that are known only when the answer is
        whole."""
        return body_headers(self._totals, self._counts)

    def render(self, output: outputs.AnyOutput, now: int = 0) -> bytes:
        """Return the whole body for the output that ends the answer, empty bytes for any other."""
        if self._metrics is not None:
            self._metrics.take(output, now)
        if isinstance(output, outputs.Done):
            return self._body()
        self._take(output)
        return b""

    def contents(self, choice: int, texts: list[str]) -> bytes:
        """Add the texts to their choice; no bytes go out before the answer is whole."""
        self._choices[choice].content += texts
        return b""

    def _take(self, output: outputs.AnyOutput) -> None:
        match output:
            case outputs.Content(text, choice):
                self._choices[choice].content.append(text)
            case outputs.Reasoning(text, choice, member=member):
                self._choices[choice].reasoning.append(text)
                if member == "reasoning":
                    self._choices[choice].reasoning_member = member
            case outputs.Refusal(text, choice):
                self._choices[choice].refusal.append(text)
            case outputs.Members():
                self._take_members(output)
            case outputs.Finish():
                self._choices[output.choice].finish = output
            case outputs.UsageTotals():
                self._totals = output
            case _:
                self._take_call(output)

    def _take_call(self, output: outputs.AnyOutput) -> None:
        match output:
            case outputs.ToolBlock():
                self._choices[output.choice].content.append(self._blocks.text(output))
            case outputs.ToolCounts():
                self._counts = self._counts or tool_render.Counts()
                self._counts.add(output)
            case outputs.ToolCall():
                call = FoldedCall(output.call_id, output.kind, output.name, [output.arguments])
                call.members.add(output.members)
                self._choices[output.choice].calls.append(call)
            case outputs.ToolArguments(index, arguments):
                self._choices[output.choice].calls[index].arguments.append(arguments)
            case outputs.CallMembers(index, members):
                self._choices[output.choice].calls[index].members.add(members)

    def _take_members(self, output: outputs.Members) -> None:
        match output.place:
            case "chunk":
                self._of_chunk.add(output.members)
            case "choice":
                self._choices[output.choice].of_choice.add(output.members)
            case "delta":
                self._choices[output.choice].of_message.add(output.members)
            case "usage":
                self._of_usage = output.members

    def _body(self) -> bytes:
        own = {
            "id": self._opened.completion_id,
            "object": "chat.completion",
            "created": self._opened.created,
            "model": self._opened.model,
            "choices": [
                self._choice(index, choice, choice.finish)
                for index, choice in enumerate(self._choices)
                if choice.finish is not None
            ],
            "usage": sse.usage_object(self._totals.usage, self._of_usage),
        }
        made = accumulate.beside(own, self._of_chunk.object())
        if self._metrics is not None:  # a server behind that tells its own is left alone
            made.setdefault(requestmetrics.MEMBER, self._metrics.object(self._totals.usage))
        return msgspec.json.encode(made)

    def _choice(self, index: int, choice: FoldedChoice, finish: outputs.Finish) -> dict[str, Any]:
        members = choice.of_choice.joined()
        return {
            "index": index,
            "message": self._message(choice, finish.no_text),
            "logprobs": members.pop("logprobs", None),
            "finish_reason": finish.reason,
            **members,
        }

    def _message(self, choice: FoldedChoice, no_text: events.NoText) -> dict[str, Any]:
        calls = choice.calls
        text = "".join(choice.content)
        refusal = "".join(choice.refusal)
        is_null = no_text == "null" or (no_text == "unsaid" and bool(calls or refusal))
        members = choice.of_message.joined()
        if not _names_of(members.get("audio")) >= AUDIO:
            members.pop("audio", None)
        message: dict[str, Any] = {
            "role": "assistant",
            "content": None if is_null and not text else text,
            "refusal": refusal or None,
            "annotations": members.pop("annotations", []),
        }
        if choice.reasoning:
            reasoning = "".join(choice.reasoning)
            message["reasoning_content"] = message[choice.reasoning_member] = reasoning
        if calls and self._opened.tools.legacy and calls[0].kind == "function":
            message["function_call"] = calls[0].object()["function"]
        told = [call for call in calls if call.kind == "custom" or not self._opened.tools.legacy]
        if told:
            message["tool_calls"] = [call.object() for call in told]
        return message | {name: members[name] for name in members if name not in message}


def _names_of(value: msgspec.Raw | None) -> Set[str]:
    """Return the names in an object; none of what is no object, as in a masked log."""
    if value is None or not bytes(value).startswith(b"{"):
        return frozenset()
    return parse.parse_outer(value, _names).keys()
