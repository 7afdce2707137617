"""Each thing that a neighbour might do to an innocent is noticed."""

import types
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
import pytest

from machines import events
from tests.simulator import innocence, plan, violations
from tests.simulator.answers import Choice, Heard
from tests.simulator.finished import plan_of
from tests.simulator.innocence import Seen

HEARD: Final = Heard([Choice(content="Hello", finish="stop")], done=True)

FRAMES: Final = {"0": [(b"data: Hel", 1.0), (b"data: lo", 1.1)], "": [(b"data: [DONE]", 1.2)]}

USUAL: Final = Seen((200, {"a": "b"}), FRAMES, 2, HEARD, whole=True)

END: Final = events.Terminal(kind="completed", emission_trigger="turn_finished", status=200)


def other(**members: Any) -> Seen:
    """The usual answer with other members."""
    return msgspec.structs.replace(USUAL, **members)


def compared(
    found: Seen | None,
    usual: Seen | None = USUAL,
    end: events.Terminal | None = END,
    begun: float | None = 0.5,
    exposed: str | None = None,
    config: Mapping[str, object] | None = None,
) -> list[str]:
    """What is wrong with an innocent that got this, where it usually gets that."""
    visit = plan.Visit(at=2.0, asks=(plan.Ask(),))
    of = msgspec.structs.replace(plan_of("codex"), innocents=((plan.INNOCENT, visit),))
    weather = msgspec.structs.replace(of.weather, config={**of.weather.config, **(config or {})})
    of = msgspec.structs.replace(of, weather=weather)

    def world(name: str, begun: float | None) -> Any:
        return types.SimpleNamespace(
            name=name,
            plan=of,
            visitors={plan.INNOCENT: name},
            exposure=lambda _: exposed,
            ends={} if end is None else {f"sim-{10 * plan.INNOCENT}": end},
            logs_all=True,
            backend=types.SimpleNamespace(begun_at=lambda _: begun),
        )

    seen = {"beside": found, "alone": usual}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(innocence, "seen", lambda visitor: seen[visitor])
        return innocence.compare(world("beside", begun), world("alone", 0.5))


CUT: Final = other(heard=Heard([Choice(content="Hel")], error="upstream_error"), whole=False)

BURSTS: Final = {"stop_after_tools": True, "stop_after_tools_mode": "burst"}

WRONG: Final[dict[str, Callable[[], list[str]]]] = {
    "not answered when it is alone": lambda: compared(USUAL, usual=CUT),
    "it was not answered": lambda: compared(None),
    "its head is": lambda: compared(other(head=(200, {"a": "c"}))),
    "choices ['0']": lambda: compared(other(frames={"0": FRAMES["0"]})),
    "frame 1 of 2": lambda: compared(
        other(frames={**FRAMES, "0": [FRAMES["0"][0], (b"data: la", 1.1)]})
    ),
    "4 heartbeats, and alone 2": lambda: compared(other(heartbeats=4)),
    "its end is not in the log": lambda: compared(USUAL, end=None),
    "the log has it end as defect": lambda: compared(
        USUAL, end=msgspec.structs.replace(END, kind="defect")
    ),
    "its worker was not asked": lambda: compared(USUAL, begun=None),
    "its worker began at": lambda: compared(USUAL, begun=0.9),
    "frame 1 came at": lambda: compared(
        other(frames={**FRAMES, "0": [FRAMES["0"][0], (b"data: lo", 1.2)]})
    ),
    "and alone [Choice": lambda: compared(
        other(heard=Heard([Choice(content="Hal")], error="worker_failed")), exposed="a death"
    ),
    "(in a burst)": lambda: compared(other(heard=Heard([Choice(content="Hal")])), config=BURSTS),
    "an error of the server's own": lambda: compared(
        other(heard=Heard([Choice(content="Hel")], error="internal_error")), exposed="a death"
    ),
}
"""What is wrong, and what shows it."""


@pytest.mark.parametrize("says", WRONG)
def test_a_difference_is_noticed(says: str) -> None:
    (wrong,) = WRONG[says]()
    assert says in wrong


def test_which_calls_a_burst_has_is_a_matter_of_time() -> None:
    more = other(
        heard=Heard([Choice(content="Hello", calls=[("call_1", "add", "{}")])], done=True)
    )
    assert compared(more, config=BURSTS) == compared(USUAL, usual=more, config=BURSTS) == []


def test_every_rule_is_among_these() -> None:
    with violations.noted() as raised:
        for says in WRONG:
            test_a_difference_is_noticed(says)
    assert raised.missing(innocence) == []


@pytest.mark.parametrize(
    "found", [USUAL, other(heartbeats=3), other(heartbeats=1)], ids=["same", "more", "less"]
)
def test_the_same_and_one_heartbeat_more_or_less_is_in_order(found: Seen) -> None:
    assert compared(found) == []


def test_a_beginning_is_in_order_where_something_hit_all_that_it_shared() -> None:
    assert compared(CUT, exposed="a death") == []
    assert compared(None, exposed="a death") == []
