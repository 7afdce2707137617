"""The scenarios of the Responses API: what its clients ask, what the model provider answers."""

from collections.abc import Mapping
from typing import Any, Final

from machines import events
from tests.support.providers.replies import (
    Cut,
    FunctionCall,
    Incomplete,
    Message,
    Reasoning,
    Refusal,
    Stream,
    Usage,
)
from tests.support.providers.scripted import Gate
from tests.tools.scenarios import IN_HAND, Cue, Logged, Scenario, words

TOOLS: Final = [
    {
        "type": "function",
        "name": name,
        "description": description,
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
        "strict": False,
    }
    for name, description in (
        ("get_weather", "The weather of a city."),
        ("get_time", "How late it is in a city."),
    )
]


def make() -> dict[str, Scenario]:
    """Every scenario by its name; a gate opens once, so each call makes new ones."""
    calls, cut = Gate(), Gate()
    thought = Reasoning(
        (words("Seventeen is prime."), words("So only 1 and 17 divide it.")),
        encrypted_content="c2VhbGVkIGJ5IHRoZSBwcm92aWRlcg==",
    )
    tides = words("The tide rises twice a day because the Moon pulls at the sea.")
    both = (
        FunctionCall("call_1", "get_weather", ('{"city": ', '"東京"', "}")),
        FunctionCall("call_2", "get_time", ('{"city": "東京"}',)),
    )
    return {
        "responses-text": _asked(
            "What is the capital of France?",
            Stream((Message(words("The capital of France is Paris.")),), usage=Usage(14, 7)),
        ),
        "responses-reasoning": _asked(
            "How many divisors has 17?",
            Stream((thought, Message(words("It has two: 1 and 17.")))),
            {
                "reasoning": {"effort": "high", "summary": "auto"},
                "include": ["reasoning.encrypted_content"],
                "store": False,
            },
        ),
        "responses-messages": _asked(
            "What is six times seven?",
            Stream(
                (
                    Message(words("Let me work that out."), phase="commentary"),
                    Message(words("It is 42."), phase="final_answer"),
                )
            ),
        ),
        "responses-tool-calls": _asked(
            "What is the weather like in 東京, and how late is it?",
            Stream((Message(words("Let me look.")), *both, calls), usage=Usage(33, 29)),
            {"tools": TOOLS},
            {0: Logged(IN_HAND, calls)},
        ),
        "responses-length": _asked(
            "Why are there tides?",
            Stream((Message(tides[:7]),), Incomplete("max_output_tokens"), Usage(12, 7)),
        ),
        "responses-refusal": _asked(
            "Tell me a secret.", Stream((Refusal(words("I cannot help with that.")),))
        ),
        "responses-error": _asked(
            "Tell me a story.",
            Stream((Message(("Once", " upon", " a", cut, Cut())),)),
            cues={7: cut},
        ),
    }


def _asked(
    prompt: str,
    answer: Stream,
    options: Mapping[str, Any] | None = None,
    cues: Mapping[int, Cue] | None = None,
) -> Scenario:
    return Scenario(prompt, (answer,), options or {}, cues or {}, endpoint=events.RESPONSES)
