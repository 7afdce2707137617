"""Four times as many items of a request take about four times as long, whatever they are."""

import contextlib
from collections.abc import Callable

import pytest

from engine import worker
from server.http.errors import ApiError
from tests.support.process import growth
from tests.support.requests import largebodies, requestwork

pytestmark = pytest.mark.slow

SIZE = 50_000
"""Bytes of the smaller body: both are read in slices, and kept whole by the log."""


@pytest.mark.parametrize("kind", largebodies.KINDS)
@pytest.mark.parametrize("name", requestwork.WORK)
def test_time_is_linear_in_the_items(name: str, kind: str) -> None:
    settings = requestwork.settings()

    def prepare(size: int) -> Callable[[], None]:
        body = largebodies.of_size(kind, size)

        def run() -> None:
            # A refusal must not take long either.
            with contextlib.suppress(ApiError, worker.TurnRefused):
                requestwork.WORK[name](body, settings)

        return run

    growth.check_linear(prepare, SIZE)
