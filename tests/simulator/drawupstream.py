"""Makes the plan of an upstream's world out of that of a Codex world.

Clients do the same in both. What stands behind the server says something else to them, and other
things happen to it.
"""

import random
from typing import Final, Literal

import msgspec

from tests.simulator import drawreplies, plan

SEGMENT_BYTES: Final = 20_000
"""The smallest segment of the log."""


def converted(of: plan.Plan, calm: bool) -> plan.Plan:
    """The same plan with an upstream in it."""
    steps = [
        (number, _step(random.Random(f"{of.seed}/{number}/upstream"), number, step, calm))
        for number, step in of.steps
    ]
    weather = _weather(random.Random(f"{of.seed}/upstream"), of.weather, calm)
    return msgspec.structs.replace(of, weather=weather, steps=tuple(steps))


def _weather(rng: random.Random, weather: plan.Weather, calm: bool) -> plan.Weather:
    # A flood fills many small segments: each costs a look at all of them, and often a wait.
    segment = 64 << 20 if weather.config["log_fsync"] == "always" else SEGMENT_BYTES
    more = {
        "log_segment_bytes": max(segment, weather.config["log_segment_bytes"]),
        "finish_grace_ms": rng.choice((200, 1_000)),
        "empty_upstream": rng.choice(("empty", "error")),
    }
    listings = () if calm else rng.choice(((), (), (404,), (500, 500), (None,)))
    return msgspec.structs.replace(
        weather,
        config=weather.config | more,
        host="10.0.0.7" if rng.random() < 0.7 else "api.example.com",
        idle_close=None if calm else rng.choice((None, None, 0.05, 0.1, 0.5, 1.5)),
        idle_end=rng.choice(("at_once", "when_asked")),
        listings=listings,
    )


def _step(rng: random.Random, number: int, step: plan.Step, calm: bool) -> plan.Step:
    match step:
        case plan.Visit():
            return _visit(rng, number, step, calm)
        case plan.Death() | plan.Deafness() | plan.RpcFault() | plan.Babble():
            return _trouble(rng, step.at)
    return step


def _visit(rng: random.Random, number: int, step: plan.Visit, calm: bool) -> plan.Visit:
    slow = step.reading.room is not None
    asks = [_ask(rng, f"{number}{index}", ask, calm) for index, ask in enumerate(step.asks)]
    if slow and rng.random() < 0.5:
        asks[0] = _flooded(asks[0], f"{number}0")
    if slow and rng.random() < 0.4:  # it reads nothing, and then everything
        flooded = msgspec.structs.replace(_flooded(asks[0], f"{number}0"), stream=True)
        reading = plan.Reading(0, plan.FAST, 1.2)
        return plan.Visit(at=step.at, asks=(flooded,), reading=reading)
    return msgspec.structs.replace(step, asks=tuple(asks))


def _flooded(ask: plan.Ask, tag: str) -> plan.Ask:
    return msgspec.structs.replace(ask, answered=(drawreplies.flood(tag, ask.n),))


def _trouble(rng: random.Random, at: float) -> plan.Step:
    if rng.random() < 0.5:
        return plan.HangUp(at, rng.choice(("close", "reset")), rng.random() < 0.4)
    return plan.Outage(at, rng.choice(_OUTAGES), rng.choice((0.3, 1.0, 4.0, 12.0)))


_OUTAGES: Final[tuple[Literal["refused", "name", "black_hole", "deaf"], ...]] = (
    *("refused", "name", "black_hole", "deaf"),
)


def _ask(rng: random.Random, tag: str, ask: plan.Ask, calm: bool) -> plan.Ask:
    names = plan.FUNCTIONS[: ask.tools]
    drawn = [
        drawreplies.draw(rng, f"{tag}.{attempt}", names, ask.n, ask.legacy, calm)
        for attempt in range(1 if calm else rng.choice((1, 2, 3)))
    ]
    return msgspec.structs.replace(ask, turns=(), answered=tuple(drawn))
