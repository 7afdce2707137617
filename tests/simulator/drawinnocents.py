"""Draws the innocents of a run: clients that ask in the ordinary way, and are answered well.

They come when others do, so that they share processes, reads and wake-ups with them. No pause of
theirs is a part of a deadline or a multiple of another: what two timers do that fall into the
same instant is a matter of microseconds, and those are not the same with neighbours as without.
"""

import random
from typing import Final

import msgspec

from tests.simulator import drawreplies, plan, replies, scripts

LAST_S: Final = 3.4
"""When the last of them come."""


PAUSE_S: Final = 0.16
"""The longest pause before a piece of an answer."""

HASTY_S: Final = 0.02
"""The same, where a request has a time in which it must be whole."""


def drawn(of: plan.Plan) -> tuple[tuple[int, plan.Visit], ...]:
    """The innocents of a plan."""
    rng = random.Random(f"{of.seed}/innocents")
    busy = [step.at for _, step in of.steps if isinstance(step, plan.Visit)]
    count = rng.choice((1, 2, 2, 3))
    return tuple(
        (number, _visit(random.Random(f"{of.seed}/{number}"), number, of, busy))
        for number in range(plan.INNOCENT, plan.INNOCENT + count)
    )


def _visit(rng: random.Random, number: int, of: plan.Plan, busy: list[float]) -> plan.Visit:
    at = rng.choice(busy) if busy and rng.random() < 0.7 else rng.uniform(0, LAST_S)
    at += rng.choice((0.0, 0.0, rng.uniform(0, 0.3)))
    ask = _ask(rng, number, of)
    # Never with a round number: see above.
    at = round(min(max(at, plan.BUSY_S), LAST_S) + rng.uniform(0.001, 0.009), 6)
    return plan.Visit(at=at, asks=(ask,))


def _ask(rng: random.Random, number: int, of: plan.Plan) -> plan.Ask:
    config = of.weather.config
    responses = rng.random() < 0.3
    tools = rng.choice((0, 0, 1, 3))
    n = 1 if responses else rng.choice((1, 1, 1, 2))
    legacy = tools > 0 and not responses and rng.random() < 0.1
    truncates = config["nonstream_truncate_after_ms"] or config["timeout_ms"]
    stopping = not responses and rng.random() < 0.2
    ask = plan.Ask(
        key=rng.choice(plan.KEYS),
        model=plan.model_of(number),
        api="responses" if responses else "chat",
        keeps=responses and config["store"] != "off" and rng.random() < 0.5,
        stream=bool(truncates) or rng.random() < 0.7,
        n=n,
        stop=tuple(rng.sample(scripts.STOPS, 2)) if stopping else (),
        max_tokens=rng.choice((2, 30)) if rng.random() < 0.1 else None,
        include_usage=rng.random() < 0.5,
        tools=tools,
        parallel=not legacy and rng.random() < 0.8,
        legacy=legacy,
        keepalive=rng.random() < 0.8,
    )
    if of.world == "upstream":
        names = plan.FUNCTIONS[: ask.tools]
        reply = drawreplies.draw(rng, f"{number}", names, n, legacy, calm=True)
        # Many pieces with a pause before each can take longer than a request may.
        most = HASTY_S if config["timeout_ms"] else PAUSE_S
        return msgspec.structs.replace(ask, answered=(_jittered(rng, reply, most),))
    # One for all choices: which turn is whose is not known to a worker.
    turn = scripts.draw(rng, f"{number}", tools, calm=True)
    delays = tuple(_delay(rng) for _ in turn.delays)
    turn = msgspec.structs.replace(turn, delays=delays, again=False)
    return msgspec.structs.replace(ask, turns=(turn,))


def _delay(rng: random.Random) -> float:
    return rng.choice((0.0, 0.0, rng.uniform(0.0002, 0.004), rng.uniform(0.01, PAUSE_S)))


def _jittered(rng: random.Random, reply: replies.Reply, most: float) -> replies.Reply:
    if isinstance(reply, replies.Stream):
        delays = tuple(min(_delay(rng), most) for _ in reply.delays)
        return msgspec.structs.replace(reply, delays=delays)
    assert isinstance(reply, replies.Completion)
    return msgspec.structs.replace(reply, delay=_delay(rng))
