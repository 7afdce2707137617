"""Conversations with calls, against the real Codex binary: what is asked, and what comes back."""

import json
import secrets
from collections.abc import Sequence
from typing import Any, NamedTuple

from openai import OpenAI
from openai.types.chat import ChatCompletion, ChatCompletionMessage

from engine import segments
from tests import asking, serving
from tests.replies import FunctionCall, Usage

COUNTS = Usage(input_tokens=21, output_tokens=34, cached_tokens=13, reasoning_tokens=8)


def function(name: str, parameters: dict[str, Any] | None = None) -> dict[str, Any]:
    """A tool of a request."""
    return {"type": "function", "function": {"name": name, "parameters": parameters}}


CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}

WEATHER = function("get_weather", CITY)


def call(
    number: int, arguments: str = '{"city": "Paris"}', name: str = "get_weather"
) -> FunctionCall:
    """A call with its arguments in two pieces."""
    cut = len(arguments) // 2
    return FunctionCall(f"call_{number}", name, (arguments[:cut], arguments[cut:]))


class Reply(NamedTuple):
    """A step, and the id of the request that asked for it."""

    request_id: str
    whole: ChatCompletion

    @property
    def message(self) -> ChatCompletionMessage:
        """Its message."""
        return self.whole.choices[0].message


class Talk:
    """A conversation of the official SDK.

    Attributes:
        messages: everything that was said so far.
    """

    def __init__(self, server: serving.Serve, prompt: str, **options: Any) -> None:
        self.messages: list[Any] = [{"role": "user", "content": prompt}]
        self._server = server
        self._options = {"model": "gpt-5.5", "tools": [WEATHER]} | options

    def step(self, **options: Any) -> Reply:
        """Ask for the next message, which becomes a part of the conversation."""
        request_id = f"req-{secrets.token_hex(8)}"
        with OpenAI(
            base_url=self._server.url,
            api_key="none",
            max_retries=0,
            _strict_response_validation=True,
        ) as client:
            whole = client.chat.completions.create(
                messages=self.messages,
                extra_headers={"x-request-id": request_id},
                **(self._options | options),
            )
        reply = Reply(request_id, whole)
        self.messages.append(reply.message.model_dump(exclude_none=True))
        return reply

    def bring(self, *results: str) -> None:
        """Bring the results of the last step's calls, in order."""
        for called, result in zip(self.messages[-1]["tool_calls"], results, strict=True):
            self.messages.append({"role": "tool", "tool_call_id": called["id"], "content": result})

    def happened(self, reply: Reply, *kinds: type[Any]) -> list[segments.LoggedEvent]:
        """A step's events of some kinds."""
        asking.terminal(self._server, reply.request_id)
        return [
            event
            for event in asking.story(self._server, reply.request_id)
            if isinstance(event, kinds)
        ]


def seen(items: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the model can see of a provider's input: all of it but the ids of its items."""
    return [{name: value for name, value in item.items() if name != "id"} for item in items]


def outputs(items: Sequence[dict[str, Any]]) -> list[str]:
    """The results in a provider's input."""
    return [item["output"] for item in items if item["type"] == "function_call_output"]


def told(results: Sequence[str]) -> str:
    """What the model of these tests says to results."""
    return f"{len(results)} results: {json.dumps(results)}"
