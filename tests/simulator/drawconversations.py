"""Draws a conversation of several requests, whose threads a worker may go on with.

Each visit after the first goes on from the answer of one before it, as another client of the key
may, or a client of another key that has the same words. Two may go on from the same answer.
"""

import random
from typing import Any, Final

import msgspec

from tests.simulator import plan, scripts

TALKATIVE: Final = 0.5
"""How many of the runs have such a conversation in them."""

PAUSES_S: Final = (1.0, 1.0, 1.5, 3.0, 25.0)
"""Between an answer's request and the next: the last is longer than a thread waits."""


ENDINGS: Final = (*("completed",) * 8, "incomplete", "interrupted")
"""Of turns: what was cut may be gone on from, and never on its thread."""


def drawn(of: plan.Plan) -> plan.Numbered:
    """The visits of a conversation, numbered behind a plan's other steps; or none."""
    rng = random.Random(f"{of.seed}/conversation")
    if rng.random() >= TALKATIVE:
        return ()
    first = 1 + max(number for number, _ in of.steps)
    at = round(rng.uniform(plan.BUSY_S, 3), 3)
    told = 0
    visits = [plan.Visit(at=at, asks=(_opening(rng, first),))]
    for number in range(first + 1, first + rng.choice((2, 3, 3, 4))):
        twin = len(visits) > 1 and rng.random() < 0.4
        if not twin:  # else at the same time as the last, and from the same answer
            told = len(visits) - 1 if rng.random() < 0.7 else rng.randrange(len(visits))
            at = round(visits[told].at + rng.choice(PAUSES_S), 3)
        earlier = visits[told]
        visits.append(plan.Visit(at=at, asks=(_further(rng, number, earlier, first + told),)))
    return tuple(enumerate(visits, first))


def _opening(rng: random.Random, number: int) -> plan.Ask:
    responses = rng.random() < 0.3
    return plan.Ask(
        key=rng.choice(plan.KEYS),
        api="responses" if responses else "chat",
        stream=rng.random() < 0.7,
        include_usage=rng.random() < 0.7,
        effort=None if responses else rng.choice((None, None, None, "low")),
        turns=(_turn(rng, number),),
    )


def _further(rng: random.Random, number: int, earlier: plan.Visit, told: int) -> plan.Ask:
    asked = earlier.asks[0]
    options: dict[str, Any] = {}
    if rng.random() < 0.15:
        options["tools"] = 1
    if rng.random() < 0.15 and asked.api == "chat":
        options["effort"] = rng.choice((None, "low", "high"))
    return msgspec.structs.replace(
        asked,
        key=asked.key if rng.random() < 0.8 else rng.choice(plan.KEYS),
        stream=rng.random() < 0.7,
        stop=tuple(rng.sample(scripts.STOPS, 1))
        if asked.api == "chat" and rng.random() < 0.1
        else (),
        follows=told,
        goes_on=rng.choice(("whole", "whole", "whole", "edited")),
        turns=(_turn(rng, number),),
        **options,
    )


def _turn(rng: random.Random, number: int) -> scripts.Script:
    turn = scripts.draw(rng, f"{number}.0", 0, calm=True)
    ending = rng.choice(ENDINGS)
    return msgspec.structs.replace(turn, again=False, ending=ending)
