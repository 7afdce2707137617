"""The scenarios of upstreams: streams in the shapes of vLLM, of Ollama and of llama.cpp.

The shapes are after what is published of these servers; nothing here was recorded from one.
"""

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from tests.support.providers import upstreams
from tests.support.providers.scripted import Json
from tests.support.providers.upstreams import Answer

TEXT: Final = ("The", " tide", " rises", " twice", " a", " day", ",", " 潮", "汐", ".")

THOUGHTS: Final = ("The", " Moon", " pulls", ".")

CUT: Final = 3
"""Of the text, the deltas that come before an error."""

CALLS: Final = (("get_weather", '{"city": "東京"}'), ("get_time", "{}"))
"""Names and arguments of a step with calls."""

BREAKS: Final = (1, 9, 12)
"""Where the arguments of a call are broken, by servers that stream them."""

PROMPT_TOKENS: Final = 21

USAGE: Final = {"stream_options": {"include_usage": True}}
"""Asks for the usage chunk: without it an answer is over before its counts come."""


@dataclasses.dataclass(frozen=True)
class Scenario:
    """One request to a server in front of an upstream.

    Attributes:
        options: further members of the request.
        pace_ms: time between two deltas in the transcript.
    """

    prompt: str
    answer: Answer
    options: Mapping[str, Any] = dataclasses.field(default_factory=lambda: USAGE)
    pace_ms: int = 20
    model: str = "codex-5"


class Vllm:
    """vLLM: null members everywhere, the role by itself, the text's end with an empty delta.

    It says why it stopped beside how, may count on every chunk, and ends also a failed stream
    with the sentinel. Reasoning has two names, of which one is to go.
    """

    def text(self) -> Answer:
        return self._said(*self._texts(TEXT), finish="stop")

    def usage(self) -> Answer:
        """Counts on every chunk, as `continuous_usage_stats` asks for."""
        chunks = [self._chunk({"role": "assistant", "content": ""}), *self._texts(TEXT)]
        chunks.append(self._finish("stop"))
        for number, chunk in enumerate(chunks):
            chunk["usage"] = _counts(min(number, len(TEXT)))
        return upstreams.stream(*chunks, self._counted(len(TEXT)))

    def reasoning(self) -> Answer:
        thoughts = (
            self._chunk({"reasoning": thought, "reasoning_content": thought})
            for thought in THOUGHTS
        )
        return self._said(*thoughts, *self._texts(TEXT), finish="stop")

    def tools(self) -> Answer:
        fragments = (
            self._chunk({"tool_calls": [fragment]})
            for index, (name, arguments) in enumerate(CALLS)
            for fragment in self._fragments(index, name, arguments)
        )
        return self._said(*fragments, finish="tool_calls")

    def error(self) -> Answer:
        message = "EngineCore encountered an issue."
        failed = {
            "error": {
                "message": message,
                "type": "InternalServerError",
                "param": None,
                "code": 500,
            }
        }
        role = self._chunk({"role": "assistant", "content": ""})
        return upstreams.stream(role, *self._texts(TEXT[:CUT]), failed)

    def _said(self, *chunks: Json, finish: str) -> Answer:
        role = self._chunk({"role": "assistant", "content": ""})
        role["prompt_token_ids"] = None
        tokens = self._counted(len(chunks))
        return upstreams.stream(role, *chunks, self._finish(finish), tokens)

    def _texts(self, texts: Iterable[str]) -> list[Json]:
        return [self._chunk({"content": text}) for text in texts]

    def _fragments(self, index: int, name: str, arguments: str) -> Iterator[Json]:
        called = {"name": name}
        call_id = f"chatcmpl-tool-{index + 1:032x}"
        yield {"id": call_id, "type": "function", "index": index, "function": called}
        for piece in _pieces(arguments):
            yield {"index": index, "function": {"arguments": piece}}

    def _finish(self, reason: str) -> Json:
        return self._chunk({"content": ""}, finish_reason=reason, stop_reason=None)

    def _counted(self, tokens: int) -> Json:
        return {**self._chunk({}), "choices": [], "usage": _counts(tokens)}

    def _chunk(self, delta: Json, **members: Any) -> Json:
        choice = {
            "index": 0,
            "delta": delta,
            "logprobs": None,
            "finish_reason": None,
            "token_ids": None,
            **members,
        }
        return {
            "id": "chatcmpl-2b45106e5bef4f1eabc563b3da1f2649",
            "object": "chat.completion.chunk",
            "created": 1_763_738_578,
            "model": "Qwen/Qwen3-8B",
            "choices": [choice],
        }


class Ollama:
    """Ollama: the role in every chunk, calls whole.

    An error in the middle is a chunk of which nothing but its form is left, and the body's end.
    """

    def text(self) -> Answer:
        return self._said(*self._texts(TEXT), finish="stop")

    def usage(self) -> Answer:
        return self._said(*self._texts(TEXT), finish="length")

    def reasoning(self) -> Answer:
        thoughts = (self._chunk({"content": "", "reasoning": thought}) for thought in THOUGHTS)
        return self._said(*thoughts, *self._texts(TEXT), finish="stop")

    def tools(self) -> Answer:
        calls = (
            {
                "id": f"call_{index + 1:08x}",
                "index": index,
                "type": "function",
                "function": {"name": name, "arguments": arguments},
            }
            for index, (name, arguments) in enumerate(CALLS)
        )
        said = (self._chunk({"content": "", "tool_calls": [call]}) for call in calls)
        return self._said(*said, finish="tool_calls")

    def error(self) -> Answer:
        emptied = {**self._chunk({"content": ""}), "model": ""}
        events = map(upstreams.sse, (*self._texts(TEXT[:CUT]), emptied))
        return [upstreams.STREAM_HEAD, *map(upstreams.framed, events), upstreams.LAST]

    def _said(self, *chunks: Json, finish: str) -> Answer:
        last = self._chunk({"content": ""}, finish)
        counted = {**last, "choices": [], "usage": _counts(len(chunks))}
        return upstreams.stream(*chunks, last, counted)

    def _texts(self, texts: Iterable[str]) -> list[Json]:
        return [self._chunk({"content": text}) for text in texts]

    def _chunk(self, delta: Json, finish: str | None = None) -> Json:
        delta = {"role": "assistant", **delta}
        return {
            "id": "chatcmpl-371",
            "object": "chat.completion.chunk",
            "created": 1_763_738_578,
            "model": "llama3.2:3b",
            "system_fingerprint": "fp_ollama",
            "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
        }


class LlamaCpp:
    """llama.cpp: the role with a null text, an empty delta at the end, its timings in the last.

    Asked to be verbose it says everything once more, under a name of its own. Where it fails,
    the error is the last event.
    """

    def text(self) -> Answer:
        return self._said(*self._texts(TEXT), finish="stop")

    def usage(self) -> Answer:
        """With its progress, its timings on every chunk, and what it says when it is verbose."""
        progress = {"total": PROMPT_TOKENS, "cache": 4, "processed": 17, "time_ms": 181}
        role = self._chunk({"role": "assistant", "content": None})
        begun = {**role, "prompt_progress": progress}
        texts = [
            {**chunk, "timings": self._timings(number)}
            for number, chunk in enumerate(self._texts(TEXT), start=1)
        ]
        verbose = {
            "index": 0,
            "content": "".join(TEXT),
            "tokens": [],
            "id_slot": 0,
            "stop": True,
            "model": "qwen3-8b-q4_k_m.gguf",
            "tokens_predicted": len(TEXT),
            "tokens_evaluated": PROMPT_TOKENS,
            "truncated": False,
            "stop_type": "eos",
            "stopping_word": "",
        }
        finish = {**self._chunk({}, "stop"), "__verbose": verbose}
        return upstreams.stream(begun, role, *texts, finish, self._counted(len(TEXT)))

    def reasoning(self) -> Answer:
        thoughts = (self._chunk({"reasoning_content": thought}) for thought in THOUGHTS)
        return self._said(*thoughts, *self._texts(TEXT), finish="stop")

    def tools(self) -> Answer:
        fragments = (
            self._chunk({"tool_calls": [fragment]})
            for index, (name, arguments) in enumerate(CALLS)
            for fragment in self._fragments(index, name, arguments)
        )
        return self._said(*fragments, finish="tool_calls")

    def error(self) -> Answer:
        error = {"code": 500, "message": "Compute error.", "type": "server_error"}
        role = self._chunk({"role": "assistant", "content": None})
        events = map(upstreams.sse, (role, *self._texts(TEXT[:CUT]), {"error": error}))
        return [upstreams.STREAM_HEAD, *map(upstreams.framed, events), upstreams.LAST]

    def _said(self, *chunks: Json, finish: str) -> Answer:
        role = self._chunk({"role": "assistant", "content": None})
        tokens = self._counted(len(chunks))
        return upstreams.stream(role, *chunks, self._chunk({}, finish), tokens)

    def _texts(self, texts: Iterable[str]) -> list[Json]:
        return [self._chunk({"content": text}) for text in texts]

    def _fragments(self, index: int, name: str, arguments: str) -> Iterator[Json]:
        first, *others = _pieces(arguments)
        called = {"name": name, "arguments": first}
        call_id = f"{index + 1:032d}"
        yield {"index": index, "id": call_id, "type": "function", "function": called}
        for piece in others:
            yield {"index": index, "function": {"arguments": piece}}

    def _counted(self, tokens: int) -> Json:
        counts = {**_counts(tokens), "prompt_tokens_details": {"cached_tokens": 4}}
        chunk = self._chunk({})
        return {**chunk, "choices": [], "usage": counts, "timings": self._timings(tokens)}

    def _timings(self, tokens: int) -> Json:
        return {
            "cache_n": 4,
            "prompt_n": PROMPT_TOKENS - 4,
            "prompt_ms": 251.51,
            "prompt_per_token_ms": 14.794,
            "prompt_per_second": 67.592,
            "predicted_n": tokens,
            "predicted_ms": 14.5 * tokens,
            "predicted_per_token_ms": 14.5,
            "predicted_per_second": 68.966,
        }

    def _chunk(self, delta: Json, finish: str | None = None) -> Json:
        return {
            "choices": [{"finish_reason": finish, "index": 0, "delta": delta}],
            "created": 1_763_738_578,
            "id": "chatcmpl-qC6laQHbZ2CmxNvJ4NoB1L93LcVF7nfe",
            "model": "qwen3-8b-q4_k_m.gguf",
            "system_fingerprint": "b9554-d403f00ec",
            "object": "chat.completion.chunk",
        }


def _counts(tokens: int) -> Json:
    return {
        "prompt_tokens": PROMPT_TOKENS,
        "total_tokens": PROMPT_TOKENS + tokens,
        "completion_tokens": tokens,
    }


def _pieces(text: str) -> list[str]:
    """A text broken at `BREAKS`."""
    ends = [0, *(at for at in BREAKS if at < len(text)), len(text)]
    return [text[start:end] for start, end in itertools.pairwise(ends)]


def _function(name: str, *required: str) -> Json:
    properties = {each: {"type": "string"} for each in required}
    parameters = {"type": "object", "properties": properties, "required": list(required)}
    return {"type": "function", "function": {"name": name, "parameters": parameters}}


TOOLS: Final = [_function("get_weather", "city"), _function("get_time")]

SERVERS: Final[Mapping[str, Vllm | Ollama | LlamaCpp]] = {
    "vllm": Vllm(),
    "ollama": Ollama(),
    "llamacpp": LlamaCpp(),
}


def make() -> dict[str, Scenario]:
    """Every scenario by its name."""
    tides, weather = "Why are there tides?", "How is the weather in 東京, and how late is it?"
    scenarios: dict[str, Scenario] = {}
    for name, shape in SERVERS.items():
        scenarios |= {
            f"upstream-{name}-text": Scenario(tides, shape.text()),
            f"upstream-{name}-usage": Scenario(tides, shape.usage()),
            f"upstream-{name}-reasoning": Scenario(tides, shape.reasoning()),
            f"upstream-{name}-tools": Scenario(weather, shape.tools(), {**USAGE, "tools": TOOLS}),
            f"upstream-{name}-error": Scenario(tides, shape.error()),
        }
    return scenarios
