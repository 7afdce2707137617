"""Twice as many items of a request take about twice as long, whatever they are."""

import pytest

from tests import largebodies, requestwork

pytestmark = pytest.mark.slow

SIZE = 50_000
"""Bytes of the smaller body; both are kept whole by the log."""


@pytest.mark.parametrize("kind", largebodies.KINDS)
@pytest.mark.parametrize("worker", requestwork.WORK)
def test_time_is_linear_in_the_items(worker: str, kind: str) -> None:
    settings = requestwork.settings()
    once, twice = (
        requestwork.seconds(worker, largebodies.of_size(kind, size), settings)
        for size in (SIZE, 2 * SIZE)
    )
    assert twice < requestwork.MOST * once + 0.0002
