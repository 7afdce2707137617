"""A defect is counted and said once, and nothing beside it notices."""

import asyncio
import itertools
from typing import Any

import pytest
import structlog

from engine import containment
from engine.containment import Boundary
from tests.support.machines import virtualtime


def test_a_defect_is_said_with_its_ids_and_counted() -> None:
    before = containment.counts["turn"]
    with structlog.testing.capture_logs() as lines:
        containment.report(Boundary.TURN, ValueError("x"), req_id="r1", stream="st_1")
    assert containment.counts["turn"] == before + 1
    (line,) = lines
    assert (line["event"], line["boundary"], line["req_id"]) == ("defect", "turn", "r1")
    assert isinstance(line["exc_info"], ValueError)


def test_diagnostics_that_fail_are_counted_and_raise_nothing() -> None:
    def broken(*_: Any) -> Any:
        raise OSError("no room")

    before = containment.counts["unsaid"]
    old = structlog.get_config()["processors"]
    structlog.configure(processors=[broken])
    try:
        containment.report(Boundary.TURN, ValueError("x"))
    finally:
        structlog.configure(processors=old)
    assert containment.counts["unsaid"] == before + 1


def test_what_fails_for_one_is_done_to_the_others() -> None:
    seen = []

    def act(number: int) -> None:
        if number == 2:
            raise RuntimeError("two")
        seen.append(number)

    with structlog.testing.capture_logs() as lines:
        containment.each(Boundary.SHUTDOWN, act, [1, 2, 3])
    assert seen == [1, 3]
    assert [line["item"] for line in lines] == ["2"]


def test_a_background_task_is_started_again_after_a_pause() -> None:
    starts: list[float] = []

    async def work() -> None:
        starts.append(asyncio.get_running_loop().time())
        if len(starts) < 3:
            raise ValueError("again")

    async def scene() -> None:
        await containment.keep_running("work", work)

    with structlog.testing.capture_logs() as lines:
        virtualtime.run(scene())
    assert [b - a for a, b in itertools.pairwise(starts)] == pytest.approx([1, 1], rel=0.01)
    assert [line["task"] for line in lines] == ["work", "work"]
