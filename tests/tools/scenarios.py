"""The scenarios of `transcripts/`: what a client asks, what the model provider answers to it."""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any, Final, Literal

from machines import events
from tests.support.providers.replies import (
    Cut,
    Failed,
    FunctionCall,
    HttpError,
    Incomplete,
    Message,
    Piece,
    Reasoning,
    Refusal,
    Stream,
    Usage,
)
from tests.support.providers.scripted import Gate

REQUIRED: Final = (
    "text-short",
    "text-long",
    "unicode-split",
    "usage-on",
    "usage-off",
    "length",
    "max-tokens",
    "stop-sequence",
    "content-filter",
    "refusal",
    "reasoning",
    "several-messages",
    "two-choices",
    "empty",
    "provider-error-before-first-token",
    "provider-error-after-first-token",
    "provider-bad-request",
    "rate-limit",
    "context-length",
    "worker-killed",
    "client-gone",
    "tool-call",
    "tool-call-after-text",
    "tool-call-xml",
    "tool-calls-parallel",
    "use-tool-json",
    "use-tool-json-split",
    "use-tool-undeclared",
    "use-tool-xml",
    "use-tool-xml-split",
    "use-tool-nested",
    "use-tool-unclosed",
    "use-tool-unclosed-error",
    "use-tool-unclosed-client-gone",
    *(
        f"upstream-{server}-{scene}"
        for server in ("vllm", "ollama", "llamacpp")
        for scene in ("text", "usage", "reasoning", "tools", "error")
    ),
    *(
        f"responses-{scene}"
        for scene in ("text", "reasoning", "tool-calls", "length", "refusal", "error")
    ),
)
"""Transcripts that must be there, whatever the scenarios below are."""

Act = Gate | Literal["leave", "kill"]
"""What happens in the middle: a gate opens, the client leaves, Codex is killed."""


@dataclasses.dataclass(frozen=True)
class Logged:
    """An act that waits until the server's log has a text: for what no client is shown."""

    text: str
    act: Act


Cue = Act | Logged
"""An act, at once or as soon as it can be."""

IN_HAND: Final = '"item":"dynamicToolCall"'
"""In the log once Codex has a call in hand: where it stands among the others is chance."""

BEGUN: Final = '"tool_buffer_started"'
"""In the log once a block has begun."""

USAGE: Final = {"stream_options": {"include_usage": True}}
"""Asks for the usage chunk."""

XML: Final = {"x-proxy-output-mode": "obsidian-xml"}
"""The headers of a client that reads calls in the text."""

BLOCK: Final = (
    '<use_tool>\n<name>localSearch</name>\n<salientTerms>["tides", "月"]</salientTerms>\n'
    "<query>tides & the moon</query>\n</use_tool>"
)
"""A call as a model writes it: its parameters are not in the order that Obsidian's are in."""


def _function(name: str, **properties: str) -> dict[str, Any]:
    """A function with some parameters, by type."""
    parameters = {
        "type": "object",
        "properties": {each: {"type": type_} for each, type_ in properties.items()},
        "required": list(properties),
    }
    return {"type": "function", "function": {"name": name, "parameters": parameters}}


TOOLS: Final = [_function("get_weather", city="string"), _function("get_time")]

NOTES: Final = [_function("localSearch", query="string", salientTerms="array")]


@dataclasses.dataclass(frozen=True)
class Scenario:
    """One request, and all that happens to it.

    Attributes:
        prompt: the one message of the request.
        answers: of the model provider, one a turn.
        options: further members of the request.
        cues: what happens once the client has got so many data frames.
        headers: further headers of the request.
        pace_ms: time between two deltas in the transcript.
        endpoint: that is asked, as the log names it.
    """

    prompt: str
    answers: tuple[Stream | HttpError, ...]
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    cues: Mapping[int, Cue] = dataclasses.field(default_factory=dict)
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)
    pace_ms: int = 20
    model: str = "codex-5"
    endpoint: str = events.CHAT


def make() -> dict[str, Scenario]:
    """Every scenario by its name; a gate opens once, so each call makes new ones."""
    return {
        **_texts(),
        **_endings(),
        **_items(),
        **_failures(),
        **_departures(),
        **_calls(),
        **_blocks(),
        **_unclosed(),
    }


def _texts() -> dict[str, Scenario]:
    """Answers of nothing but text, to their end."""
    hello = (
        "Hello! This answer is a recording. Turntape serves the OpenAI API in front of Codex, "
        "logs every event of every stream, and plays any of them back, byte for byte, "
        "at the speed it happened."
    )
    numbers = (f"{n} is an {'odd' if n % 2 else 'even'} number.\n" for n in range(1, 101))
    short = Stream((Message(words(hello)),), usage=Usage(8, 35, 0, 0))
    long = Stream((Message(words("".join(numbers))),), usage=Usage(17, 501, 0, 0))
    capital = Stream((Message(words("The capital of France is Paris.")),), usage=Usage(14, 7))
    return {
        "text-short": Scenario("Hello", (short,), pace_ms=30),
        "text-long": Scenario("Which numbers up to 100 are odd?", (long,), pace_ms=5),
        "unicode-split": Scenario("Show me every script.", (_said(*_awkward()),)),
        "usage-on": Scenario("What is the capital of France?", (capital,), USAGE),
        "usage-off": Scenario("What is the capital of France?", (capital,)),
    }


def _awkward() -> tuple[str, ...]:
    """Characters that one grapheme, one escape or one line of SSE would keep together."""
    return (
        *("👩", "\u200d", "👩\u200d", "👧", " ", "👍", "🏽", " ", "🇫", "🇷", "🇯", "🇵", "\n"),
        *("e", "\u0301", "n\u0303o", " ", "\u1112", "\u1161", "\u11ab", " ", "क", "्", "ष", "\n"),
        *("漢", "字かな", "𠮷", "、", "한", "글", "\n"),
        *("\u202b", "שָׁ", "לוֹם", "\u200f", " مرح", "با", "\u202c", "\n"),
        *('"', "\\", "\\n", "\t", "\r", "\n", "\u2028", "\u2029", "\ufeff", "\x1f", "\x7f", "\n"),
        *("data: ", "[DONE]", "\n", "\n", "event: x\nid: 1\n", ": comment", "</s>"),
    )


def _endings() -> dict[str, Scenario]:
    """Answers that end early, each by another's word."""
    tides = words("The tide rises twice a day because the Moon pulls at the sea.")
    steps = ("First", ", boil", " water.\nS", "TEA", "M", " rises.\nST", "O", "P", " here.")
    cut = Incomplete("max_output_tokens")
    filtered = Incomplete("content_filter")
    return {
        "length": Scenario(
            "Why are there tides?", (Stream((Message(tides[:7]),), cut, Usage(12, 7)),), USAGE
        ),
        "max-tokens": Scenario(
            "Why are there tides?", (_said(*tides),), {"max_tokens": 6, **USAGE}
        ),
        "stop-sequence": Scenario(
            "How do I make tea?", (_said(*steps),), {"stop": ["STOP", "the end"]}
        ),
        "content-filter": Scenario(
            "Tell me a secret.", (Stream((Message(words("The secret is")),), filtered),)
        ),
        "refusal": Scenario(
            "Tell me a secret.", (Stream((Refusal(words("I cannot help with that.")),)),)
        ),
        "empty": Scenario("Say nothing.", (Stream(usage=Usage(9, 0, 0, 0)),), USAGE),
    }


def _items() -> dict[str, Scenario]:
    """Answers of several items, or of several choices."""
    thought = Reasoning((words("Seventeen is prime."), words("So only 1 and 17 divide it.")))
    # Both turns are begun before either speaks; then each client frame opens the next word.
    tails, heads_end, tails_end = Gate(), Gate(), Gate()
    heads = Stream((Message(("Heads", heads_end, " it is.")),), usage=Usage(11, 4))
    other = Stream((tails, Message(("Tails", tails_end, ", I am afraid."))), usage=Usage(11, 6))
    return {
        "reasoning": Scenario(
            "How many divisors has 17?",
            (Stream((thought, Message(words("It has two: 1 and 17.")))),),
            {"reasoning_effort": "high", **USAGE},
        ),
        "several-messages": Scenario(
            "What is six times seven?",
            (
                Stream(
                    (
                        Message(words("Let me work that out."), phase="commentary"),
                        Message(words("It is 42."), phase="final_answer"),
                        Message(words("Shall I show how?")),
                    )
                ),
            ),
        ),
        "two-choices": Scenario(
            "Heads or tails?",
            (heads, other),
            {"n": 2, **USAGE},
            {3: tails, 4: heads_end, 6: tails_end},
        ),
    }


def _failures() -> dict[str, Scenario]:
    """The provider's failures."""
    cut = Gate()
    bad = {
        "message": "The image is not one.",
        "type": "invalid_request_error",
        "param": "input[0].content[1]",
        "code": "invalid_image",
    }
    return {
        "provider-error-before-first-token": Scenario("Hello?", (HttpError(500),) * 3),
        "provider-error-after-first-token": Scenario(
            "Tell me a story.", (_said("Once", " upon", " a", cut, Cut()),), cues={4: cut}
        ),
        "provider-bad-request": Scenario("What is this?", (HttpError(400, {"error": bad}),)),
        "rate-limit": Scenario("Hello again!", (HttpError(429),)),
        "context-length": Scenario(
            "Summarise all of this.", (Stream(end=Failed("context_length_exceeded")),)
        ),
    }


def _departures() -> dict[str, Scenario]:
    """Somebody goes in the middle of an answer."""
    story = ("Once", " upon", " a", Gate(), " time")
    return {
        "worker-killed": Scenario("Tell me a story.", (_said(*story),), cues={4: "kill"}),
        "client-gone": Scenario("Tell me a story.", (_said(*story),), cues={4: "leave"}),
    }


def _calls() -> dict[str, Scenario]:
    """The model calls functions."""
    one, spoken, xml, three = Gate(), Gate(), Gate(), Gate()
    weather = _calling(1, "get_weather", '{"city": ', '"東京"', "}")
    search = _calling(1, "localSearch", '{"query": "tides"', ', "salientTerms": ["tides"]}')
    others = (
        _calling(2, "get_weather", '{"city":"Oslo"}'),
        _calling(3, "get_time", ""),
    )
    look = Message(words("Let me look."))
    return {
        "tool-call": Scenario(
            "How is the weather in 東京?",
            (Stream((weather, one), usage=Usage(31, 14, 8, 4)),),
            {"tools": TOOLS, **USAGE},
            {0: Logged(IN_HAND, one)},
        ),
        "tool-call-after-text": Scenario(
            "How is the weather in 東京?",
            (Stream((look, weather, spoken)),),
            {"tools": TOOLS},
            {0: Logged(IN_HAND, spoken)},
        ),
        "tool-call-xml": Scenario(
            "What do my notes say of tides?",
            (Stream((look, search, xml)),),
            {"tools": NOTES},
            {0: Logged(IN_HAND, xml)},
            XML,
        ),
        "tool-calls-parallel": Scenario(
            "What is the weather like in 東京 and Oslo, and how late is it?",
            (Stream((weather, *others, three), usage=Usage(33, 29)),),
            {"tools": TOOLS, **USAGE},
            {0: Logged(IN_HAND, three)},
        ),
    }


def _blocks() -> dict[str, Scenario]:
    """The model writes its calls into the text."""
    whole = _said("I will search. ", BLOCK, " One moment.")
    split = _said("I will search. <u", *_split(BLOCK[2:]), " One", " moment.")
    nested = _said("Well, <use_tool><name>readNote</name>", f" no: {BLOCK}", " So.")
    prompt = "What do my notes say of tides?"
    return {
        "use-tool-json": Scenario(prompt, (whole,), {"tools": NOTES, **USAGE}),
        "use-tool-json-split": Scenario(prompt, (split,), {"tools": NOTES}),
        "use-tool-undeclared": Scenario(prompt, (split,), {"tools": TOOLS}),
        "use-tool-xml": Scenario(prompt, (whole,), USAGE, headers=XML),
        "use-tool-xml-split": Scenario(prompt, (split,), headers=XML),
        "use-tool-nested": Scenario(prompt, (nested,), headers=XML),
    }


def _unclosed() -> dict[str, Scenario]:
    """A block begins, and the answer ends before it does."""
    begun = ("I will ", "search. ", "<use_tool>\n<name>localSearch</name>\n<query>tid")
    cut, stays = Gate(), Gate()
    prompt = "What do my notes say of tides?"
    return {
        "use-tool-unclosed": Scenario(prompt, (_said(*begun),), headers=XML),
        "use-tool-unclosed-error": Scenario(
            prompt, (_said(*begun, cut, Cut()),), cues={3: Logged(BEGUN, cut)}, headers=XML
        ),
        "use-tool-unclosed-client-gone": Scenario(
            prompt, (_said(*begun, stays),), cues={3: Logged(BEGUN, "leave")}, headers=XML
        ),
    }


def _calling(number: int, name: str, *arguments: str) -> FunctionCall:
    return FunctionCall(f"call_{number}", name, arguments)


def _split(text: str) -> tuple[str, ...]:
    """A text in deltas of five code points."""
    return tuple(text[at : at + 5] for at in range(0, len(text), 5))


def _said(*pieces: Piece) -> Stream:
    return Stream((Message(pieces),))


def words(text: str) -> tuple[str, ...]:
    """A text as models say it: a word a delta, each with the space before it."""
    return tuple(re.findall(r"\s*\S+|\s+$", text))
