"""Containments taken away, one by one: each is a planted bug that some seed finds.

`python -m tests.simulator.containments` searches anew which seed does.

Where a boundary does not hold, `containment.report` raises what it was to report, so that the
failure goes on to whoever called, as if nothing had been there.
"""

import contextlib
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Any, Final, NamedTuple
from unittest import mock

from engine import containment, runningtext
from engine.containment import Boundary
from server import permits
from server.api import sinks
from tests.simulator import draw, plan, run
from tests.simulator.mutations import Mutation, replaced


def _open(boundary: Boundary) -> Mutation:
    """A boundary that contains nothing."""
    original = containment.report

    def instead(where: Boundary, error: BaseException, **ids: object) -> None:
        if where is boundary:
            raise error
        original(where, error, **ids)

    @contextlib.contextmanager
    def planted() -> Iterator[None]:
        with mock.patch.object(containment, "report", instead):
            yield

    return planted


def _stops(
    _: Any, __: Boundary, action: Callable[[Any], object], items: Iterable[Any], **___: Any
) -> None:
    for item in items:
        action(item)


async def _once(_: Any, __: str, work: Callable[[], Awaitable[None]]) -> None:
    await work()


def _pasted(_: Any, its: Any, whole: str) -> str:
    its.fold()
    return whole[its._length :]


def _loses_a_part(original: Any, its: Any) -> Any:
    part = original(its)
    return part._replace(data=b"") if part.start else part


def _again(original: Any, its: Any) -> None:
    original(its)
    its._permits.taken -= its._count


TAKEN_AWAY: Final[dict[str, Mutation]] = {
    **{f"boundary {each.value}": _open(each) for each in Boundary},
    "each stops at the first failure": replaced(containment, "each", _stops),
    "a background task is not begun again": replaced(containment, "keep_running", _once),
    "a text is pasted by its length": replaced(runningtext.RunningText, "rest_of", _pasted),
    "a part that was collected is lost": replaced(sinks.Sink, "collect", _loses_a_part),
    "a permit is given back twice": replaced(permits.Permit, "release", _again),
}
"""Every containment by its name, and the bug that it is without it."""


SEEDS: Final = 2_000
"""How many seeds of each world are searched."""


class Finds(NamedTuple):
    """A seed that finds a bug."""

    world: str
    seed: int


def finds(name: str, by: Finds) -> list[str]:
    """What a seed says of a bug; nothing if it does not find it."""
    with TAKEN_AWAY[name]():
        return run.run(draw.plan_of(by.seed, by.world)).wrong


FOUND: Final[dict[str, Finds]] = {
    "boundary worker_line": Finds("codex", 355),
    "boundary turn": Finds("upstream", 30),
    "boundary stream": Finds("upstream", 56),
    "boundary stream_timer": Finds("codex", 6),
    "boundary stream_end": Finds("codex", 35),
    "boundary wakeup": Finds("upstream", 35),
    "boundary log": Finds("upstream", 76),
    "boundary process": Finds("codex", 30),
    "boundary callback": Finds("codex", 123),
    "boundary connection": Finds("codex", 359),
    "boundary request": Finds("upstream", 110),
    "boundary store": Finds("codex", 563),
    "boundary task": Finds("upstream", 446),
    "boundary shutdown": Finds("upstream", 31),
    "each stops at the first failure": Finds("upstream", 73),
    "a background task is not begun again": Finds("codex", 0),
    "a text is pasted by its length": Finds("upstream", 39),
    "a part that was collected is lost": Finds("codex", 0),
    "a permit is given back twice": Finds("codex", 0),
}
"""Which seed finds each; the first of its world that does."""

UNREACHED: Final = {
    "boundary feed": "a simulated server has one worker for a model: nothing to fall back to",
    "boundary record": "an event that cannot be encoded is made in engine/log/test_defects.py",
    "boundary access": "a line that cannot be written is made in server/access/test_log.py",
    "boundary projection": "a reader that fails is made in server/access/test_projection.py",
    "boundary command": "a simulated server is begun without the command line",
}
"""Containments that no seed reaches, and why."""


def table() -> str:
    """Each containment and what finds the bug that it is without it, as Markdown."""
    lines = ["| taken away | found by |", "| --- | --- |"]
    for name in TAKEN_AWAY:
        by = FOUND.get(name)
        command = "" if by is None else f"`--world {by.world} --seed {by.seed}`"
        lines.append(f"| {name} | {command or f'*none: {UNREACHED[name]}*'} |")
    return "\n".join(lines)


def _met(by: Finds) -> set[str]:
    """The boundaries that have something to contain in a run."""
    met: set[str] = set()
    original = containment.report

    def instead(where: Boundary, error: BaseException, **ids: object) -> None:
        met.add(f"boundary {where.value}")
        original(where, error, **ids)

    with mock.patch.object(containment, "report", instead):
        run.run(draw.plan_of(by.seed, by.world))
    return met


def search(seeds: Iterable[int]) -> Iterator[tuple[str, Finds]]:
    """The first of some seeds that finds each."""
    missing = [name for name in TAKEN_AWAY if name not in UNREACHED]
    for by in (Finds(world, seed) for seed in seeds for world in plan.WORLDS):
        met = _met(by)
        for name in list(missing):
            if (name in met or not name.startswith("boundary ")) and finds(name, by):
                missing.remove(name)
                yield name, by


def main() -> None:
    """Say what `FOUND` has to be."""
    for name, by in search(range(SEEDS)):
        print(f'    "{name}": Finds("{by.world}", {by.seed}),')


if __name__ == "__main__":
    main()
