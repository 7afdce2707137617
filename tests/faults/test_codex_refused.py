"""Row 56: requests that never reach Codex."""

from collections.abc import Iterator

import pytest

from bench import standin
from tests.faults import codexstage, refusals
from tests.faults.codexstage import StandIn


@pytest.fixture(scope="module")
def on() -> Iterator[StandIn]:
    with codexstage.stand_in(standin.Scenario()) as up:
        yield up


@pytest.mark.parametrize("name", refusals.REFUSED)
def test_row_56_a_refusal_leaves_one_record_and_one_line(on: StandIn, name: str) -> None:
    refusals.leaves_a_trace(on.stage, name)
