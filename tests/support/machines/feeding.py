"""Feeds a parser the same input cut in every way it may arrive."""

import itertools
import random
from collections.abc import Callable, Iterable
from typing import AnyStr, TypeVar

Result = TypeVar("Result")


def feed_all_ways(
    run: Callable[[Iterable[AnyStr]], Result],
    data: AnyStr,
    *,
    tail: AnyStr | None = None,
    seed: int = 0,
    rounds: int = 50,
) -> Result:
    """Run a parser over `data` whole, unit by unit and in random pieces; all must agree.

    Args:
        run: feeds the pieces, in order, to a fresh parser and returns what came out, in a form
            that does not depend on the pieces.
        data: the input, bytes or text.
        tail: an unfinished piece that may follow `data`; on its own it yields nothing.
        seed: of the random cuts.
        rounds: how many random cuts to try.

    Returns:
        What every way agreed on.
    """
    whole = run([data])
    assert run(_units(data)) == whole, "unit by unit differs from whole"
    rng = random.Random(seed)
    for _ in range(rounds):
        pieces = _cut(data, rng)
        assert run(pieces) == whole, f"cut as {pieces!r} differs from whole"
    if tail is not None:
        assert run([data + tail]) == whole, f"the tail {tail!r} changed the result"
        assert run(_units(data + tail)) == whole, f"the tail {tail!r}, unit by unit, changed it"
        for end in range(1, len(tail)):
            assert run([data, tail[:end]]) == whole, f"the tail {tail[:end]!r} changed the result"
    return whole


def _units(data: AnyStr) -> list[AnyStr]:
    return [data[i : i + 1] for i in range(len(data))]


def _cut(data: AnyStr, rng: random.Random) -> list[AnyStr]:
    """Pieces of random length, some of them empty."""
    cuts: list[int] = sorted(rng.randint(0, len(data)) for _ in range(rng.randint(1, 8)))
    edges = [0, *cuts, len(data)]
    return [data[start:end] for start, end in itertools.pairwise(edges)]
