"""The largest requests: what they hold the loop for, and that time is linear in what they hold.

    python -m pytest bench/test_large_requests.py -s

Each case is sent to a real server; with `-s` a line says what it cost. It is sent to one as it is,
and to one that takes as many items as it can be told to.
"""

import math
from collections.abc import Iterator

import pytest

from tests.server.test_loop_held import in_front_of
from tests.support.process import heldloop
from tests.support.requests import largebodies, requestwork

MIB = 1 << 20

MEMORY_S = 4e-9
"""Seconds a byte that the copies of a body may take more, once it fits into no cache."""

FEWEST, TRIES = 3, 15
"""Tries of each size. A busy machine, whose caches others use too, only ever makes one longer, so
more are made while the best of them do not fit."""

CASES = {
    "20,000 calls, each with its result": largebodies.request(largebodies.steps(20_000)),
    "40,000 calls of one message": largebodies.KINDS["calls"][1](40_000),
    "500,000 messages": largebodies.KINDS["messages"][1](500_000),
    "8,000,000 elements": largebodies.KINDS["elements for messages"][1](8_000_000),
    "1,190,000 pairs in an unknown field": largebodies.of_size(
        "an unknown field of pairs", 16 * MIB - 1000
    ),
    "7 MiB of an answer's schema, 900 deep": largebodies.of_size(
        "an answer's schema 900 deep", 7 * MIB
    ),
    "7 MiB of an answer's schema, 90 deep": largebodies.of_size(
        "an answer's schema 90 deep", 7 * MIB
    ),
    "7 MiB of a function's schema, 90 deep": largebodies.of_size(
        "a function's schema 90 deep", 7 * MIB
    ),
    "15 MiB of text": largebodies.of_size("text of brackets", 15 * MIB),
}
"""Requests that once held the loop for seconds."""

LIMITS = {"as it is": {}, "with the highest limit": {"PROXY_MAX_INPUT_ITEMS": "262144"}}


@pytest.fixture(
    scope="module",
    params=[(worker, limits) for worker in requestwork.WORK for limits in LIMITS],
    ids=" ".join,
)
def server(request: pytest.FixtureRequest) -> Iterator[tuple[str, heldloop.MeasuredServe]]:
    worker, limits = request.param
    with in_front_of(worker, **LIMITS[limits]) as running:
        yield f"{worker} {limits}", running


@pytest.mark.parametrize("case", CASES)
def test_no_callback_is_long(server: tuple[str, heldloop.MeasuredServe], case: str) -> None:
    name, running = server
    body = CASES[case]
    held = running.measure("/chat/completions", body)
    limit = heldloop.limit_ms(body)
    print(
        f"\n{name}: {case} ({len(body) / MIB:.1f} MiB): {held.status}, longest callback"
        f" {held.longest_ms:.0f} ms of {limit:.0f}, all together {held.total_ms:.0f} ms"
    )
    assert held.longest_ms < limit, held.where


@pytest.mark.parametrize("kind", largebodies.KINDS)
@pytest.mark.parametrize("worker", requestwork.WORK)
def test_time_is_linear_in_the_items(worker: str, kind: str) -> None:
    settings = requestwork.settings()
    bodies = [largebodies.of_size(kind, int(size * MIB)) for size in (7.9, 15.8)]
    best = [math.inf, math.inf]
    for tries in range(1, TRIES + 1):
        for number, body in enumerate(bodies):
            best[number] = min(best[number], requestwork.seconds(worker, body, settings, times=1))
        linear = best[1] < requestwork.MOST * best[0] + MEMORY_S * len(bodies[1])
        if linear and tries >= FEWEST:
            return
    raise AssertionError(f"{best[0]:.3f} s, twice as much {best[1]:.3f} s")
