"""The scenarios of `transcripts/`: what a client asks, what the model provider answers to it."""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any, Final, Literal

from tests.replies import (
    Cut,
    Failed,
    Gate,
    HttpError,
    Incomplete,
    Message,
    Piece,
    Reasoning,
    Refusal,
    Stream,
    Usage,
)

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
)
"""Transcripts that must be there, whatever the scenarios below are."""

Cue = Gate | Literal["leave", "kill"]
"""What happens in the middle: a gate opens, the client leaves, Codex is killed."""

USAGE: Final = {"stream_options": {"include_usage": True}}
"""Asks for the usage chunk."""


@dataclasses.dataclass(frozen=True)
class Scenario:
    """One request, and all that happens to it.

    Attributes:
        prompt: the one message of the request.
        answers: of the model provider, one a turn.
        options: further members of the request.
        cues: what happens once the client has got so many data frames.
        pace_ms: time between two deltas in the transcript.
    """

    prompt: str
    answers: tuple[Stream | HttpError, ...]
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    cues: Mapping[int, Cue] = dataclasses.field(default_factory=dict)
    pace_ms: int = 20


def make() -> dict[str, Scenario]:
    """Every scenario by its name; a gate opens once, so each call makes new ones."""
    return {**_texts(), **_endings(), **_items(), **_failures(), **_departures()}


def _texts() -> dict[str, Scenario]:
    """Answers of nothing but text, to their end."""
    hello = (
        "Hello! This answer is a recording. Turntape serves the OpenAI API in front of Codex, "
        "logs every event of every stream, and plays any of them back, byte for byte, "
        "at the speed it happened."
    )
    numbers = (f"{n} is an {'odd' if n % 2 else 'even'} number.\n" for n in range(1, 101))
    short = Stream((Message(_words(hello)),), usage=Usage(8, 35, 0, 0))
    long = Stream((Message(_words("".join(numbers))),), usage=Usage(17, 501, 0, 0))
    capital = Stream((Message(_words("The capital of France is Paris.")),), usage=Usage(14, 7))
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
    tides = _words("The tide rises twice a day because the Moon pulls at the sea.")
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
            "Tell me a secret.", (Stream((Message(_words("The secret is")),), filtered),)
        ),
        "refusal": Scenario(
            "Tell me a secret.", (Stream((Refusal(_words("I cannot help with that.")),)),)
        ),
        "empty": Scenario("Say nothing.", (Stream(usage=Usage(9, 0, 0, 0)),), USAGE),
    }


def _items() -> dict[str, Scenario]:
    """Answers of several items, or of several choices."""
    thought = Reasoning((_words("Seventeen is prime."), _words("So only 1 and 17 divide it.")))
    # Both turns are begun before either speaks; then each client frame opens the next word.
    tails, heads_end, tails_end = Gate(), Gate(), Gate()
    heads = Stream((Message(("Heads", heads_end, " it is.")),), usage=Usage(11, 4))
    other = Stream((tails, Message(("Tails", tails_end, ", I am afraid."))), usage=Usage(11, 6))
    return {
        "reasoning": Scenario(
            "How many divisors has 17?",
            (Stream((thought, Message(_words("It has two: 1 and 17.")))),),
            {"reasoning_effort": "high", **USAGE},
        ),
        "several-messages": Scenario(
            "What is six times seven?",
            (
                Stream(
                    (
                        Message(_words("Let me work that out."), phase="commentary"),
                        Message(_words("It is 42."), phase="final_answer"),
                        Message(_words("Shall I show how?")),
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


def _said(*pieces: Piece) -> Stream:
    return Stream((Message(pieces),))


def _words(text: str) -> tuple[str, ...]:
    """A text as models say it: a word a delta, each with the space before it."""
    return tuple(re.findall(r"\s*\S+|\s+$", text))
