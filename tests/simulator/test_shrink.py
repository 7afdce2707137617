"""A failing plan is made as small as it fails, and its command is the one that shows it again."""

import itertools
from collections.abc import Callable

import pytest

from tests.simulator import draw, plan, run, shrink

Fails = Callable[[set[int]], bool]


def failing_when(monkeypatch: pytest.MonkeyPatch, fails: Fails) -> list[set[int]]:
    """Have a run break a rule where its steps are such; the steps of each run so far."""
    runs: list[set[int]] = []

    def instead(of: plan.Plan) -> run.Outcome:
        steps = {number for number, _ in of.everything}
        runs.append(steps)
        return run.Outcome(["broken"] if fails(steps) else [], {}, 0.0)

    monkeypatch.setattr(run, "run", instead)
    return runs


def large_plan() -> plan.Plan:
    """A plan of many steps, with innocents."""
    drawn = (draw.plan_of(seed, "codex") for seed in itertools.count())
    return next(each for each in drawn if len(each.steps) >= 6 and len(each.innocents) >= 2)


@pytest.mark.parametrize("needed", [{0}, {5}, {1, 4}, {2, plan.INNOCENT}])
def test_only_the_steps_that_it_needs_are_left(
    monkeypatch: pytest.MonkeyPatch, needed: set[int]
) -> None:
    failing = large_plan()
    runs = failing_when(monkeypatch, needed.issubset)
    small = shrink.smallest(failing)
    assert {number for number, _ in small.everything} == needed
    assert len(runs) <= len(failing.everything)
    assert (small.seed, small.weather) == (failing.seed, failing.weather)


def test_one_that_fails_with_any_step_keeps_one(monkeypatch: pytest.MonkeyPatch) -> None:
    failing_when(monkeypatch, lambda _: True)
    assert len(shrink.smallest(large_plan()).everything) == 1


def test_one_that_needs_everything_stays_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    failing = large_plan()
    every = {number for number, _ in failing.everything}
    failing_when(monkeypatch, lambda steps: steps == every)
    assert shrink.smallest(failing) == failing


def test_a_report_has_the_rules_and_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    failing = large_plan()
    failing_when(monkeypatch, {1, 3}.issubset)
    first, *rules, command = shrink.report(failing, [f"rule {n}" for n in range(7)]).splitlines()
    assert first == f"seed {failing.seed}: 7 rules broken"
    assert rules == [f"  rule {n}" for n in range(5)]
    again = f"--world codex --seed {failing.seed} --steps 1,3"
    assert command == f"  python -m tests.simulator {again}"
    assert shrink.numbers("1,3") == {1, 3}
