"""Simulated runs keep every rule, and a planted bug breaks one."""

import gc
import secrets
from typing import Final

import pytest

from tests.simulator import (
    __main__ as command,
    draw,
    mutations,
    plan,
    run,
    shrink,
    upstreammutations,
)

FIRST: Final = 200
"""Seed of the first of the runs that are always the same."""

FIXED: Final = 150
"""How many of them there are in each world."""

RANDOM: Final = 100
"""Further runs, in any world, with seeds that nobody has seen."""

ENOUGH: Final = 300
"""Runs within which every planted bug must be found."""

PLANTED: Final = [
    pytest.param(of, plant, id=name)
    for of, planted in (
        ("codex", mutations.MUTATIONS),
        ("upstream", upstreammutations.UPSTREAM_MUTATIONS),
    )
    for name, plant in planted.items()
]
"""Worlds, and what is planted in them."""


def first_failure(first: int, count: int, of: str) -> str | None:
    """What the first failing run of a range says; None where all keep the rules."""
    for seed in range(first, first + count):
        drawn = draw.plan_of(seed, of)
        wrong = run.run(drawn).wrong
        if wrong:
            return shrink.report(drawn, wrong)
    return None


@pytest.mark.parametrize("of", plan.WORLDS)
def test_seeds_that_are_always_the_same_keep_every_rule(of: str) -> None:
    assert first_failure(FIRST, FIXED, of) is None


def test_seeds_that_nobody_has_seen_keep_every_rule(capsys: pytest.CaptureFixture[str]) -> None:
    first = secrets.randbelow(1 << 32)
    with capsys.disabled():
        print(f"\nsimulator: {RANDOM} seeds from {first}")
    assert first_failure(first, RANDOM, draw.ANY) is None


@pytest.mark.long(usual=("error_object_swallowed", "cut_event_is_garbled", "message_pasted"))
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize(("of", "plant"), PLANTED)
def test_a_planted_bug_breaks_a_rule(of: str, plant: mutations.Mutation) -> None:
    with plant():
        found = any(run.run(draw.plan_of(seed, of)).wrong for seed in range(ENOUGH))
    gc.collect()  # what the bug left open complains now, and not in another test
    assert found, f"{ENOUGH} runs did not notice it"


@pytest.mark.long(usual=("upstream",))
@pytest.mark.parametrize("of", plan.WORLDS)
def test_a_seed_is_the_same_run_every_time(of: str) -> None:
    for seed in range(20):
        assert run.run(draw.plan_of(seed, of)) == run.run(draw.plan_of(seed, of))


def test_a_seed_decides_its_world() -> None:
    worlds = [draw.plan_of(seed).world for seed in range(50)]
    assert set(worlds) == set(plan.WORLDS)
    assert draw.plan_of(7) == draw.plan_of(7, worlds[7])


def test_leaving_steps_out_leaves_the_others_as_they_are() -> None:
    whole = draw.plan_of(3, "codex")
    part = whole.only({1, 3})
    assert set(part.steps) < set(whole.steps)
    assert part.weather == whole.weather


def test_a_failure_says_the_command_that_shows_it_again(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with mutations.MUTATIONS["role_missing_for_choice_1"]():
        assert command.main(["--seed", "0", "--count", str(ENOUGH)]) == 1
        said = capsys.readouterr().out.split()
        again = said[said.index("tests.simulator") + 1 : said.index("tests.simulator") + 7]
        assert again[0::2] == ["--world", "--seed", "--steps"]
        assert "," not in again[5], "one request alone shows this bug"
        assert command.main(again) == 1
    assert command.main(again) == 0


@pytest.mark.parametrize(
    ("text", "steps"), [("", set()), ("3", {3}), ("0,2-4", {0, 2, 3, 4}), ("7,7", {7})]
)
def test_steps_are_named_by_numbers_and_ranges(text: str, steps: set[int]) -> None:
    assert shrink.numbers(text) == steps


def test_seeds_make_plans_of_every_kind_of_step() -> None:
    drawn = [step for seed in range(200) for _, step in draw.plan_of(seed).steps]
    kinds = {type(step).__name__ for step in drawn}
    assert len(kinds) == 11
