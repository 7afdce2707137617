"""The scenes every client library plays: answers that stop and that are cut, and functions."""

import contextlib
import json
from collections.abc import Iterator, Mapping

from tests import replies, serving
from tests.provider import Provider, Request

MODEL = "gpt-5.5"

STOP_TEXT = "Two words, then 世界 and 👩\u200d💻."
"""The whole answer of the scene `stop`."""

LENGTH_TEXT = "This answer has no"
"""What there is of the answer of the scene `length`."""

USAGE = replies.Usage(input_tokens=21, output_tokens=9, cached_tokens=4, reasoning_tokens=2)
"""What the provider counts in every step."""

SCENES = {"stop": (STOP_TEXT, "stop"), "length": (LENGTH_TEXT, "length")}
"""Text and finish reason of each scene without functions, by the prompt that asks for it."""

CITIES = {"Paris": 21, "東京": 19}
"""Of the scene `weather`: what the client's function says of each city it is called with."""

WEATHER_TEXT = "It is warmest in Paris."
"""The answer of the scene `weather`."""


def pieces(text: str) -> tuple[str, ...]:
    """A text in deltas of two code points: emoji and words are split."""
    return tuple(text[at : at + 2] for at in range(0, len(text), 2))


def weather(request: Request) -> replies.Answer:
    """Asks for both cities at once, then for the warmer of them again, then answers.

    Results that are not what the client's function says are a failure.
    """
    outputs = [
        json.loads(item["output"])
        for item in request.body["input"]
        if item["type"] == "function_call_output"
    ]
    first, *_ = cities = list(CITIES)
    asked = {0: cities, len(cities): [first]}.get(len(outputs))
    if outputs != [CITIES[city] for city in (*cities, first)][: len(outputs)]:
        return replies.HttpError(400, {"error": {"message": f"no such weather: {outputs}"}})
    if asked is None:
        return replies.Stream((replies.Message(pieces(WEATHER_TEXT)),), usage=USAGE)
    calls = (
        replies.FunctionCall(
            f"call_{number}",
            "get_weather",
            pieces(json.dumps({"city": city}, ensure_ascii=False)),
        )
        for number, city in enumerate(asked, len(outputs))
    )
    return replies.Stream((replies.Message(("Let me ", "look.")), *calls), usage=USAGE)


@contextlib.contextmanager
def stage() -> Iterator[serving.Serve]:
    """A server on the real Codex binary whose provider plays the scenes."""
    script: Mapping[str, replies.Answer] = {
        "stop": replies.Stream((replies.Message(pieces(STOP_TEXT)),), usage=USAGE),
        "length": replies.Stream(
            (replies.Message(pieces(LENGTH_TEXT)),),
            end=replies.Incomplete("max_output_tokens"),
            usage=USAGE,
        ),
    }

    def answer(request: Request) -> replies.Answer:
        return weather(request) if request.prompt == "weather" else script[request.prompt]

    with Provider(answer) as provider, serving.codex(provider.url) as server:
        yield server
