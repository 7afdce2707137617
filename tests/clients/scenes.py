"""The scenes every client library plays, on each worker: texts, JSON, functions.

What the model says in a scene is described once, and told by the provider behind the real Codex
binary as well as by an upstream.
"""

import contextlib
import dataclasses
import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from tests.support.client import httpclient
from tests.support.process import serving
from tests.support.providers import replies, scripted, upstreams
from tests.support.providers.provider import Provider, Request

MODEL = "gpt-5.5"

STOP_TEXT = "Two words, then 世界 and 👩\u200d💻."
"""The whole answer of the scene `stop`."""

LENGTH_TEXT = "This answer has no"
"""What there is of the answer of the scene `length`."""

PERSON_TEXT = '{"name": "Ada", "age": 36}'
"""The answer of the scene `person`, which asks for JSON."""

USAGE = replies.Usage(input_tokens=21, output_tokens=9, cached_tokens=4, reasoning_tokens=2)
"""What is counted in every step, of each choice."""

SCENES = {"stop": (STOP_TEXT, "stop"), "length": (LENGTH_TEXT, "length")}
"""Text and finish reason of each scene without functions, by the prompt that asks for it."""

CITIES = {"Paris": 21, "東京": 19}
"""Of the scene `weather`: what the client's function says of each city it is called with."""

WEATHER_TEXT = "It is warmest in Paris."
"""The answer of the scene `weather`."""

each_worker = pytest.mark.parametrize(
    "worker", [pytest.param("codex", marks=pytest.mark.codex), "upstream"]
)


@dataclasses.dataclass(frozen=True)
class Step:
    """One step of the model.

    Attributes:
        cities: it asks for the weather of.
        first: number of the first of these calls.
    """

    text: str
    reason: str = "stop"
    cities: tuple[str, ...] = ()
    first: int = 0

    @property
    def calls(self) -> list[tuple[str, tuple[str, ...]]]:
        """Ids and arguments of its calls."""
        return [
            (f"call_{number}", pieces(json.dumps({"city": city}, ensure_ascii=False)))
            for number, city in enumerate(self.cities, self.first)
        ]


class Unexpected(Exception):
    """Raised for results that are not what the client's function says."""


def pieces(text: str) -> tuple[str, ...]:
    """A text in deltas of two code points: emoji and words are split."""
    return tuple(text[at : at + 2] for at in range(0, len(text), 2))


def step(prompt: str, results: Sequence[Any]) -> Step:
    """What the model says.

    Args:
        results: of the functions that it has called so far.

    Raises:
        Unexpected: they are wrong.
    """
    if prompt == "weather":
        return _weather(results)
    if prompt == "person":
        return Step(PERSON_TEXT)
    return Step(*SCENES[prompt])


def _weather(results: Sequence[Any]) -> Step:
    """Asks for both cities at once, then for the warmer of them again, then answers."""
    first, *_ = cities = tuple(CITIES)
    if list(results) != [CITIES[city] for city in (*cities, first)][: len(results)]:
        raise Unexpected(f"no such weather: {results}")
    asked = {0: cities, len(cities): (first,)}.get(len(results))
    if asked is None:
        return Step(WEATHER_TEXT)
    return Step("Let me look.", "tool_calls", asked, len(results))


def _by_provider(request: Request) -> replies.Answer:
    """A step as Codex's model provider says it."""
    outputs = [
        json.loads(item["output"])
        for item in request.body["input"]
        if item["type"] == "function_call_output"
    ]
    try:
        said = step(request.prompt, outputs)
    except Unexpected as unexpected:
        return replies.HttpError(400, {"error": {"message": str(unexpected)}})
    calls = (replies.FunctionCall(id_, "get_weather", given) for id_, given in said.calls)
    message = replies.Message(pieces(said.text))
    if said.reason == "length":
        return replies.Stream((message,), replies.Incomplete("max_output_tokens"), USAGE)
    return replies.Stream((message, *calls), usage=USAGE)


def _by_upstream(request: upstreams.Request) -> upstreams.Answer:
    """A step as an upstream says it that does everything right."""
    body = request.body
    if body["model"] != MODEL:
        error = {"message": "No such model.", "code": "model_not_found", "param": "model"}
        return upstreams.response(404, {"error": error})
    asked, *_ = (each["content"] for each in body["messages"] if each["role"] == "user")
    results = [json.loads(each["content"]) for each in body["messages"] if each["role"] == "tool"]
    try:
        said = step(asked, results)
    except Unexpected as unexpected:
        return upstreams.response(400, {"error": {"message": str(unexpected)}})
    choices = range(body.get("n", 1))
    chunks = itertools.chain.from_iterable(_chunks(said, index) for index in choices)
    return upstreams.stream(*chunks, upstreams.chunk(choices=[], usage=_counts(len(choices))))


def _chunks(said: Step, index: int) -> Iterator[scripted.Json]:
    """One choice."""

    def chunk(delta: scripted.Json, reason: str | None = None) -> scripted.Json:
        choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": reason}
        return upstreams.chunk(choices=[choice])

    yield chunk({"role": "assistant", "content": ""})
    for piece in pieces(said.text):
        yield chunk({"content": piece})
    for number, (call_id, arguments) in enumerate(said.calls):
        function = {"name": "get_weather", "arguments": ""}
        call = {"index": number, "id": call_id, "type": "function", "function": function}
        yield chunk({"tool_calls": [call]})
        for piece in arguments:
            yield chunk({"tool_calls": [{"index": number, "function": {"arguments": piece}}]})
    yield chunk({}, said.reason)


def _counts(choices: int) -> scripted.Json:
    return {
        **upstreams.usage(USAGE.input_tokens, USAGE.output_tokens * choices),
        "prompt_tokens_details": {"cached_tokens": USAGE.cached_tokens},
        "completion_tokens_details": {"reasoning_tokens": USAGE.reasoning_tokens * choices},
    }


@contextlib.contextmanager
def stage(
    worker: str,
    by_provider: Callable[[Request], replies.Answer] = _by_provider,
    by_upstream: Callable[[upstreams.Request], upstreams.Answer] = _by_upstream,
) -> Iterator[serving.Serve]:
    """A server on the real Codex binary, or in front of an upstream, that plays the scenes."""
    if worker == "codex":
        with Provider(by_provider) as provider, serving.codex(provider.url) as server:
            yield server
    else:
        with upstreams.stage(by_upstream) as played:
            yield played.server


def options(server: serving.Serve) -> dict[str, Any]:
    """Of a Python SDK that takes nothing that is not as the API types it, and tries once."""
    return {
        "base_url": server.url,
        "api_key": "unused",
        "max_retries": 0,
        "timeout": httpclient.WAIT_S,
        "_strict_response_validation": True,
    }
