"""What a run finds held, left or said when it should not be is wrong."""

import asyncio
import types
from collections.abc import Callable
from typing import Any, Final

import pytest

from tests.simulator import clock, disk, plan, run, world
from tests.simulator.finished import plan_of, played

CALM: Final = plan_of("codex")


def wrong_with(check: Callable[[Any], object], **replaced: Any) -> list[str]:
    """What a check of a run that is over finds when it has other parts."""
    with disk.temporary_directory() as directory:
        over: Any = played(CALM, directory)
        for name, value in replaced.items():
            setattr(over, name, value)
        check(over)
        return list(over.wrong)


def server(permits: int = 0, connections: int = 0, **streams: object) -> Any:
    """A server that holds something."""
    held = types.SimpleNamespace(permits=types.SimpleNamespace(taken=permits), streams=streams)
    http = types.SimpleNamespace(connections=connections)
    return types.SimpleNamespace(_context=held, _http=http)


def line(level: str, event: str) -> dict[str, str]:
    """A line of the diagnostics."""
    return {"log_level": level, "event": event}


def released(over: Any) -> None:
    over._check_released()


@pytest.mark.parametrize(
    ("held", "wrong"),
    [
        (server(permits=2), ["2 permits are taken"]),
        (server(connections=1), ["1 connections are open"]),
        (server(st_1=object()), ["streams are open: ['st_1']"]),
        (server(), []),
    ],
)
def test_what_is_held_after_the_last_client_is_wrong(held: Any, wrong: list[str]) -> None:
    assert wrong_with(released, server=held) == wrong


def test_a_timer_that_is_left_is_wrong_and_one_that_there_always_is_is_not() -> None:
    loop = types.SimpleNamespace(timers=lambda: ["<Timer of Nobody.knows>"])
    (wrong,) = wrong_with(lambda over: over._check_timers(()), loop=loop)
    assert wrong == "a timer is left: <Timer of Nobody.knows>"
    assert wrong_with(lambda over: over._check_timers(("Nobody.",)), loop=loop) == []


@pytest.mark.parametrize("level", ["error", "critical"])
def test_an_error_that_the_plan_did_not_cause_is_wrong(level: str) -> None:
    said = [line("warning", "worker_lost"), line(level, "made_up")]
    (wrong,) = wrong_with(lambda over: over._check_lines(said))
    assert wrong == f"an error in the diagnostics: {said[1]}"


def test_what_the_disk_of_a_plan_leads_to_may_be_said() -> None:
    trouble = plan_of("codex", plan.DiskTrouble(30.0, "full", 0.1))
    said = [line("error", "event_log_failing")]
    assert wrong_with(lambda over: over._check_lines(said), plan=trouble) == []
    assert wrong_with(lambda over: over._check_lines(said)) != []


@pytest.mark.parametrize(
    ("raised", "says"),
    [
        (clock.Stuck("nothing will ever happen again"), "nothing will ever happen again"),
        (ValueError("a bug of the rules"), "a bug of the rules"),
    ],
)
def test_a_run_that_does_not_come_to_its_end_is_wrong(
    monkeypatch: pytest.MonkeyPatch, raised: BaseException, says: str
) -> None:
    async def fail(_: world.World) -> None:
        await asyncio.sleep(1)
        raise raised

    monkeypatch.setattr(world.World, "_play", fail)
    outcome = run.run(CALM)
    assert any(says in each for each in outcome.wrong), outcome.wrong
