"""Turns that go in step on a stand-in for Codex: each of its writes holds a line of every one.

with instep.stand_in({"odd": instep.turn("Hel", "lo", instead={1: b"{\n"})}) as on:
    answer = instep.ask(on, "odd", stream=True)  # and the others' bytes are exact
"""

import concurrent.futures
import contextlib
from collections.abc import Iterator, Mapping
from typing import Any, Final

from bench import standin
from tests.faults import codexstage, expected, observed, scene

TEXTS: Final = tuple(tuple(f"{number}{letter} " for letter in "abcdefgh") for number in range(3))
"""What the turns say beside the one that a test is about."""

TURNS: Final = len(TEXTS) + 1
"""All of them."""


def turn(*texts: str, in_step: int = TURNS, **members: Any) -> standin.Turn:
    """A turn of these texts that begins when so many have, and goes in step with them."""
    return standin.Turn(deltas=len(texts), texts=texts, burst=1, in_step=in_step, **members)


@contextlib.contextmanager
def stand_in(turns: Mapping[str, standin.Turn], **options: Any) -> Iterator[codexstage.StandIn]:
    """A server on a stand-in, with a place for each.

    Args:
        turns: by their prompts.
        options: as `codexstage.stand_in` has them.
    """
    others = {
        _prompt(number, size): turn(*texts, in_step=size)
        for number, texts in enumerate(TEXTS)
        for size in (len(TEXTS), TURNS)
    }
    settings = {
        "PROXY_SSE_MAX_CONCURRENCY": str(TURNS),
        "WORKER_MAX_CONCURRENCY": str(TURNS),
        observed.PLANTED: "{}",
        **options,
    }
    scenario = standin.Scenario(turns={**others, **turns})
    with codexstage.stand_in(scenario, **settings) as on:
        yield on


def ask(
    on: codexstage.StandIn, prompt: str, headers: Mapping[str, str] | None = None, **fields: Any
) -> scene.Answer:
    """The answer to a prompt whose turn goes in step with others; these are exact."""
    with beside(on, TURNS):
        return on.stage.ask(prompt, headers, **fields)


@contextlib.contextmanager
def beside(on: codexstage.StandIn, size: int = len(TEXTS)) -> Iterator[None]:
    """While others are asked for, which are exact.

    Args:
        size: how many turns there must be for them to begin.
    """
    with concurrent.futures.ThreadPoolExecutor(len(TEXTS)) as pool:
        prompts = [_prompt(number, size) for number in range(len(TEXTS))]
        others = [pool.submit(on.stage.ask, each, stream=True) for each in prompts]
        yield
        answers = [each.result() for each in others]
    for answer, texts in zip(answers, TEXTS, strict=True):
        assert (answer.status, answer.whole) == (200, True)
        assert answer.body == expected.role() + expected.content(*texts) + expected.ENDED
        on.stage.recorded("completed", None, answer)


def _prompt(number: int, size: int) -> str:
    return f"{number} of {size}"
