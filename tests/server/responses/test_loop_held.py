"""Whatever a Responses request is full of, a MiB of it holds the loop for no more than 50 ms."""

import json
from collections.abc import Iterator

import pytest

from tests.server.test_loop_held import in_front_of
from tests.support.process import heldloop
from tests.support.requests import largeresponses

pytestmark = pytest.mark.slow

MIB = 1 << 20

CALLS = 40_000
"""Calls and thoughts in one input, which held every stream for 13.8 s and 8.3 s once."""


@pytest.fixture(scope="module", params=["codex", "upstream"])
def server(request: pytest.FixtureRequest) -> Iterator[heldloop.MeasuredServe]:
    with in_front_of(request.param) as running:
        yield running


@pytest.mark.long(usual=("upstream-text", "codex-function calls and outputs"))
@pytest.mark.parametrize("kind", largeresponses.KINDS)
def test_no_callback_is_long(server: heldloop.MeasuredServe, kind: str) -> None:
    # What is refused for its size when it is a MiB may be taken when it is less.
    for size in (MIB, MIB // 4 - 1000):
        body = largeresponses.of_size(kind, size)
        assert 0.8 * size < len(body) < 1.2 * size
        held = server.measure_least("/responses", body)
        assert held.longest_ms < heldloop.LIMIT_MS, held.where
        assert held.status in (200, 404) or held.error["type"] == "invalid_request_error"


@pytest.mark.long(usual=("function calls-upstream",))
@pytest.mark.parametrize("worker", ["codex", "upstream"])
@pytest.mark.parametrize("kind", ["function calls", "function calls and outputs", "reasoning"])
def test_tens_of_thousands_of_items_are_read_beside_everything_else(
    worker: str, kind: str
) -> None:
    _, fill = largeresponses.KINDS[kind]
    body = fill(CALLS)
    with in_front_of(worker, PROXY_MAX_INPUT_ITEMS="100000") as server:
        limit = heldloop.limit_ms(body)
        held = server.measure_least("/responses", body, limit)
        assert held.status == 200
        assert held.longest_ms < limit, held.where
    with in_front_of(worker) as server:
        assert server.measure_least("/responses", body).error["code"] == "array_above_max_length"


def test_a_conversation_that_is_kept_is_gone_on_from_beside_everything_else() -> None:
    with in_front_of("upstream") as server:
        body = largeresponses.of_size("function calls and outputs", MIB)
        kept = server.measure("/responses", body)
        again = b'{"model":"gpt-5.5","input":"Go on.","previous_response_id":"%b"}'
        found = server.measure_least("/responses", again % json.loads(kept.body)["id"].encode())
        assert found.status == 200
        assert found.longest_ms < heldloop.LIMIT_MS, found.where
