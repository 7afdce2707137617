"""Outputs of a chat stream folded into one `chat.completion` body: the non-stream answer."""

from typing import Any, Final

import msgspec

from machines import events, outputs
from server.chat import tool_render
from server.chat.sse import usage_object


def body_headers(
    usage: events.Usage | None, counts: tool_render.Counts | None
) -> list[tuple[str, str]]:
    """Return the headers that an answer in one body adds to the response's, in either API."""
    found = [("content-type", "application/json")]
    if usage is None:
        found.append(("x-turntape-usage", "unknown"))
    return found + counts.headers() if counts is not None else found


class FoldedCall(msgspec.Struct):
    """A tool call while its arguments are being joined."""

    call_id: str
    name: str
    arguments: list[str]

    def function(self) -> dict[str, str]:
        """Return the API's object of the called function: its name and arguments."""
        return {"name": self.name, "arguments": "".join(self.arguments)}


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
        self._content: list[list[str]] = [[] for _ in range(opened.n)]
        self._reasoning: list[list[str]] = [[] for _ in range(opened.n)]
        self._refusal: list[list[str]] = [[] for _ in range(opened.n)]
        self._calls: list[list[FoldedCall]] = [[] for _ in range(opened.n)]
        self._blocks = tool_render.Blocks(opened)
        self._counts: tool_render.Counts | None = None
        self._finish: list[str] = [""] * opened.n
        self._usage: events.Usage | None = None

    def headers(self) -> list[tuple[str, str]]:
        """Return the headers of a JSON body, with those that are known only when the answer is
        whole."""
        return body_headers(self._usage, self._counts)

    def render(self, output: outputs.AnyOutput, now: int = 0) -> bytes:
        """Return the whole body for the output that ends the answer, empty bytes for any other."""
        if isinstance(output, outputs.Done):
            return self._body()
        self._take(output)
        return b""

    def contents(self, choice: int, texts: list[str]) -> bytes:
        """Add the texts to their choice; no bytes go out before the answer is whole."""
        self._content[choice] += texts
        return b""

    def _take(self, output: outputs.AnyOutput) -> None:
        match output:
            case outputs.Content(text, choice):
                self._content[choice].append(text)
            case outputs.Reasoning(text, choice):
                self._reasoning[choice].append(text)
            case outputs.Refusal(text, choice):
                self._refusal[choice].append(text)
            case outputs.ToolCall(_, call_id, name, arguments, choice):
                self._calls[choice].append(FoldedCall(call_id, name, [arguments]))
            case outputs.ToolArguments(index, arguments, choice):
                self._calls[choice][index].arguments.append(arguments)
            case outputs.ToolBlock():
                self._content[output.choice].append(self._blocks.text(output))
            case outputs.ToolCounts():
                self._counts = self._counts or tool_render.Counts()
                self._counts.add(output)
            case outputs.Finish(reason, choice):
                self._finish[choice] = reason
            case outputs.UsageTotals(usage):
                self._usage = usage

    def _body(self) -> bytes:
        return msgspec.json.encode(
            {
                "id": self._opened.completion_id,
                "object": "chat.completion",
                "created": self._opened.created,
                "model": self._opened.model,
                "choices": [self._choice(index) for index in range(self._opened.n)],
                "usage": usage_object(self._usage),
            }
        )

    def _choice(self, index: int) -> dict[str, Any]:
        return {
            "index": index,
            "message": self._message(index),
            "logprobs": None,
            "finish_reason": self._finish[index],
        }

    def _message(self, index: int) -> dict[str, Any]:
        calls = self._calls[index]
        text = "".join(self._content[index])
        refusal = "".join(self._refusal[index])
        message: dict[str, Any] = {
            "role": "assistant",
            "content": None if (calls or refusal) and not text else text,
            "refusal": refusal or None,
            "annotations": [],
        }
        if self._reasoning[index]:
            message["reasoning_content"] = "".join(self._reasoning[index])
        if calls and self._opened.tools.legacy:
            message["function_call"] = calls[0].function()
        elif calls:
            message["tool_calls"] = [
                {"id": call.call_id, "type": "function", "function": call.function()}
                for call in calls
            ]
        return message
