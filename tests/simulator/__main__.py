"""The command line: runs seeds, and says how to see a failure again."""

import argparse
import sys

from tests.simulator import clock, draw, plan, run, shrink


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
    asked = parser.parse_args(arguments)
    began = clock.real_seconds()
    failed = 0
    for seed in range(asked.seed, asked.seed + asked.count):
        drawn = draw.plan_of(seed, asked.world)
        if asked.steps is not None:
            drawn = drawn.only(asked.steps)
        if asked.plan:
            print(run.describe(drawn))
        wrong = run.run(drawn).wrong
        if wrong:
            failed += 1
            print(shrink.report(drawn, wrong))
            if not asked.keep_going:
                break
    took = clock.real_seconds() - began
    print(f"{asked.count} seeds, {failed} failed, {60 * asked.count / took:.0f} seeds a minute")
    return failed


if __name__ == "__main__":
    raise SystemExit(bool(main(sys.argv[1:])))
