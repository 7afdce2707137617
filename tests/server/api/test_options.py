"""Where an answer is cut: tokens as bytes."""

import pytest

from engine.stream import estimate
from server.api import options


@pytest.mark.parametrize("tokens", [None, 0])
def test_no_limit_cuts_nothing(tokens: int | None) -> None:
    assert options.bytes_of(tokens) is None


def test_a_token_is_so_many_bytes() -> None:
    assert options.bytes_of(7) == 7 * estimate.BYTES_PER_TOKEN


def test_a_limit_that_no_answer_meets_is_one_number() -> None:
    assert options.bytes_of(1 << 60) == options.bytes_of(1 << 61) == options.UNREACHABLE_BYTES
