"""The command line: runs seeds, and says how to see a failure again."""

import argparse
import concurrent.futures
import functools
import itertools
import sys
from collections.abc import Iterator
from typing import Final

import msgspec

from tests.simulator import clock, draw, plan, run, shrink

PART: Final = 20
"""Seeds that a process runs before it is given others."""


class Asked(msgspec.Struct, frozen=True):
    """What is done with each seed; see the options."""

    world: str
    steps: frozenset[int] | None
    plan: bool
    keep_going: bool


def main(arguments: list[str]) -> int:
    """Run what was asked for; the number of seeds that failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulator", description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--count", type=int, default=1, help="how many seeds")
    parser.add_argument(
        "--world",
        choices=(*plan.WORLDS, draw.ANY),
        default=draw.ANY,
        help="what stands behind the server; the seed decides, unless it is said",
    )
    parser.add_argument("--steps", type=shrink.numbers, help="only these steps, such as 0,2-4")
    parser.add_argument("--keep-going", action="store_true", help="do not stop at a failure")
    parser.add_argument("--plan", action="store_true", help="show the plan")
    parser.add_argument("--jobs", type=int, default=1, help="how many processes run seeds")
    given = parser.parse_args(arguments)
    steps = None if given.steps is None else frozenset(given.steps)
    asked = Asked(given.world, steps, given.plan, given.keep_going)
    began = clock.real_seconds()
    done = failed = 0
    for of_seed in _outcomes(asked, range(given.seed, given.seed + given.count), given.jobs):
        done += 1
        failed += of_seed.failed
        if of_seed.text:
            print(of_seed.text, flush=True)
    took = clock.real_seconds() - began
    print(f"{done} seeds, {failed} failed, {60 * done / took:.0f} seeds a minute")
    return failed


class OfSeed(msgspec.Struct, frozen=True):
    """What is to be said of a seed."""

    text: str
    failed: bool


def _outcomes(asked: Asked, seeds: range, jobs: int) -> Iterator[OfSeed]:
    """What came of each seed in turn, up to the first that fails unless all are wanted."""
    if jobs == 1:
        yield from _part(asked, seeds)
        return
    parts = [seeds[at : at + PART] for at in range(0, len(seeds), PART)]
    with concurrent.futures.ProcessPoolExecutor(jobs) as pool:
        found = pool.map(functools.partial(_whole_part, asked), parts)
        for of_seed in itertools.chain.from_iterable(found):
            yield of_seed
            if of_seed.failed and not asked.keep_going:
                pool.shutdown(cancel_futures=True)
                return


def _whole_part(asked: Asked, seeds: range) -> list[OfSeed]:
    return list(_part(asked, seeds))


def _part(asked: Asked, seeds: range) -> Iterator[OfSeed]:
    for seed in seeds:
        drawn = draw.plan_of(seed, asked.world)
        if asked.steps is not None:
            drawn = drawn.only(set(asked.steps))
        lines = [run.describe(drawn)] if asked.plan else []
        wrong = run.run(drawn).wrong
        if wrong:
            lines.append(shrink.report(drawn, wrong))
        yield OfSeed("\n".join(lines), bool(wrong))
        if wrong and not asked.keep_going:
            return


if __name__ == "__main__":
    raise SystemExit(bool(main(sys.argv[1:])))
