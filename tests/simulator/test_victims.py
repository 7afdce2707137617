"""What becomes of a stream that a planted exception hit: each rule fails where it is broken."""

import types
from collections.abc import Callable
from typing import Any, Final

import msgspec
import pytest

from machines import events
from tests.simulator import answers, defects, plan, victims, violations
from tests.simulator.answers import Choice, Heard
from tests.simulator.finished import plan_of
from tests.simulator.points import Effect

DEFECT: Final = plan.Defect(
    at=0.0,
    victim=0,
    points=("stream.step",),
    call=1,
    lasting=False,
    after=False,
    error="plain",
    speechless=False,
)

DONE: Final = Heard([Choice(content="Hi", finish="stop")], done=True)

TOLD: Final = Heard([], error="internal_error")

END: Final = events.Terminal(
    kind="defect", emission_trigger="defect", status=500, code="internal_error"
)

COMPLETED: Final = events.Terminal(kind="completed", emission_trigger="turn_finished", status=200)

LINE: Final = {"event": "defect", "req_id": "sim-0"}


def run_with(
    *effects: Effect, end: events.Terminal | None = None, planted: bool = True, **defect: Any
) -> Any:
    """A run in which something became of the one request of step 0."""
    steps = [msgspec.structs.replace(DEFECT, **defect)] if planted else []
    of = plan_of("codex", *steps)
    hits = [defects.Firing(2.5, "sim-0", effect) for effect in effects]
    visitor = types.SimpleNamespace(left=False, left_at=3.0, requests=[])
    visitor.requests = [types.SimpleNamespace(ask=plan.asks(of)[0])]
    return types.SimpleNamespace(
        plan=of,
        ends={} if end is None else {"sim-0": end},
        visitors={0: visitor},
        planter=types.SimpleNamespace(
            hit=lambda request_id: set(effects) if request_id == "sim-0" else set(),
            firings=hits,
            ids=types.SimpleNamespace(knows=lambda _: True),
        ),
    )


def answered(heard: Heard, *effects: Effect, end: events.Terminal | None = None) -> None:
    victims.check_answer(run_with(*effects, end=end), "sim-0", heard, whole=True)


def ended(end: events.Terminal | None, *effects: Effect) -> None:
    victims.check_end(run_with(*effects), "sim-0", end)


def said(*lines: dict[str, Any], of: Any = None) -> None:
    victims.check_lines(of or run_with(Effect.DEFECT), list(lines))


BROKEN: Final[dict[str, Callable[[], None]]] = {
    "and told that it is whole": lambda: answered(DONE, Effect.DEFECT, end=END),
    "was told upstream_error of a bug": lambda: answered(
        Heard([], error="upstream_error"), Effect.DEFECT, end=END
    ),
    "and has no end": lambda: ended(None, Effect.DEFECT),
    "as a defect with the code other": lambda: ended(
        msgspec.structs.replace(END, code="other"), Effect.DEFECT
    ),
    "and ended as completed": lambda: ended(COMPLETED, Effect.DEFECT),
    "a defect that nobody planted": lambda: said(LINE, of=run_with(planted=False)),
    "one line cost its process": lambda: said(
        {**LINE, "boundary": "process"}, of=run_with(Effect.DEFECT, points=("line.decode",))
    ),
    "speaks of somebody else": lambda: said(LINE, {**LINE, "req_id": "sim-70"}),
    "no line speaks of sim-0": said,
}
"""What is wrong, and what finds it."""


@pytest.mark.parametrize("says", BROKEN)
def test_a_rule_fails_where_it_is_broken(says: str) -> None:
    with pytest.raises(answers.Broken) as broken:
        BROKEN[says]()
    assert says in str(broken.value)


def test_every_rule_is_among_these() -> None:
    with violations.noted() as raised:
        for says in BROKEN:
            test_a_rule_fails_where_it_is_broken(says)
    assert raised.missing(victims) == []


def test_a_victim_that_is_told_and_logged_as_one_is_in_order() -> None:
    answered(TOLD, Effect.DEFECT, end=END)
    ended(END, Effect.DEFECT)
    said(LINE)


def test_who_was_not_hit_is_not_hurt() -> None:
    assert not victims.is_hurt(run_with(), "sim-0")
    assert victims.is_hurt(run_with(Effect.CUT), "sim-0")
    assert victims.is_blurred(run_with(Effect.UNCOUNTED), "sim-0")
    assert not victims.is_hurt(run_with(Effect.UNCOUNTED), "sim-0")
