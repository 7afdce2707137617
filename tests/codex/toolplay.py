"""Conversations with calls, against the real Codex binary: what is asked, and what comes back."""

import contextlib
import json
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import pytest
from openai import OpenAI
from openai.types.chat import ChatCompletion, ChatCompletionMessage

from engine.log.read import segments
from machines import events
from tests.support.client import httpclient
from tests.support.logs import serverlog
from tests.support.process import serving
from tests.support.providers.provider import Provider, Request, Script
from tests.support.providers.replies import FunctionCall, Usage

COUNTS = Usage(input_tokens=21, output_tokens=34, cached_tokens=13, reasoning_tokens=8)


PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGA"
    "WjR9awAAAABJRU5ErkJggg=="
)
"""An image that Codex can decode: it replaces others by a text."""


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


class Stage(NamedTuple):
    """A server on the real Codex binary, and the model behind it."""

    server: serving.Serve
    provider: Provider


@contextlib.contextmanager
def stage(script: Script, **environ: str) -> Iterator[Stage]:
    """A stage whose server is looked over at the end: its whole log replays."""
    with Provider(script) as provider, serving.codex(provider.url, **environ) as server:
        yield Stage(server, provider)
        serverlog.audit(server)


class Reply(NamedTuple):
    """A step, and the id of the request that asked for it."""

    request_id: str
    whole: ChatCompletion

    @property
    def message(self) -> ChatCompletionMessage:
        """Its message."""
        return self.whole.choices[0].message

    @property
    def calls(self) -> list[tuple[str, str, str]]:
        """Ids, names and arguments of its calls."""
        return [
            (call.id, call.function.name, call.function.arguments)
            for call in self.message.tool_calls or ()
            if call.type == "function"
        ]

    @property
    def counts(self) -> tuple[int, int, int, int] | None:
        """Prompt, completion, cached and reasoning tokens."""
        usage = self.whole.usage
        if usage is None:
            return None
        assert usage.prompt_tokens_details is not None
        assert usage.completion_tokens_details is not None
        return (
            usage.prompt_tokens,
            usage.completion_tokens,
            usage.prompt_tokens_details.cached_tokens or 0,
            usage.completion_tokens_details.reasoning_tokens or 0,
        )


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
        with self._client() as client:
            request_id, asked = self._request(options)
            return self._take(Reply(request_id, client.chat.completions.create(**asked)))

    def stream(self, **options: Any) -> Reply:
        """Ask for it as a stream, and have the SDK's own helper read it."""
        with self._client() as client:
            request_id, asked = self._request(options)
            with client.chat.completions.stream(
                stream_options={"include_usage": True}, **asked
            ) as stream:
                stream.until_done()
                return self._take(Reply(request_id, stream.get_final_completion()))

    def bring(self, *results: Any) -> None:
        """Bring the results of the last step's calls, in order."""
        for called, result in zip(self.messages[-1]["tool_calls"], results, strict=True):
            self.messages.append({"role": "tool", "tool_call_id": called["id"], "content": result})

    def happened(self, reply: Reply, *kinds: type[Any]) -> list[segments.LoggedEvent]:
        """A step's events of some kinds."""
        self.terminal(reply)
        return [
            event
            for event in serverlog.story(self._server, reply.request_id)
            if isinstance(event, kinds)
        ]

    def terminal(self, reply: Reply) -> events.Terminal:
        """The terminal record of a step, whose log replays."""
        return serverlog.terminal(self._server, reply.request_id)

    def _client(self) -> OpenAI:
        return OpenAI(
            base_url=self._server.url,
            api_key="none",
            max_retries=0,
            timeout=httpclient.WAIT_S,
            _strict_response_validation=True,
        )

    def _request(self, options: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        request_id = f"req-{secrets.token_hex(8)}"
        headers = {"x-request-id": request_id}
        asked = {"messages": self.messages, "extra_headers": headers, **self._options, **options}
        return request_id, asked

    def _take(self, reply: Reply) -> Reply:
        self.messages.append(reply.message.model_dump(exclude_none=True))
        return reply


Step = Callable[..., Reply]

both_ways = pytest.mark.parametrize("step", [Talk.step, Talk.stream], ids=["body", "stream"])
"""Runs a test with steps of either form: `step(talk)`."""


def seen(items: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the model can see of a provider's input: all of it but the ids of its items."""
    return [{name: value for name, value in item.items() if name != "id"} for item in items]


def declared(request: Request) -> list[str]:
    """The functions that a provider was told of."""
    return [tool["name"] for tool in request.body.get("tools") or ()]


def outputs(items: Sequence[dict[str, Any]]) -> list[Any]:
    """The results in a provider's input."""
    return [item["output"] for item in items if item["type"] == "function_call_output"]


def told(results: Sequence[str]) -> str:
    """What the model of these tests says to results."""
    return f"{len(results)} results: {json.dumps(results)}"
