"""Rows 4 and 5 of the fault matrix: clients that leave, and a thousand of them."""

import concurrent.futures
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from bench import standin
from tests.faults import codexstage, expected
from tests.faults.codexstage import STREAMED, Binary
from tests.support.process import machinetime
from tests.support.providers.replies import Held, Message, Stream
from tests.support.providers.scripted import Gate

LEAVINGS = 1000
"""Streams whose clients leave."""

AT_ONCE = 16
"""Of which so many are open at the same time."""


@pytest.fixture(scope="module")
def on() -> Iterator[Binary]:
    with codexstage.binary(WORKER_MAX_CONCURRENCY="1") as binary:
        yield binary


@pytest.mark.codex
def test_row_04_a_client_that_leaves_mid_stream_stops_the_provider(on: Binary) -> None:
    prompt = on.plan.prompt(Stream((Message(("so ", "far", Gate())),)))
    with on.stage.asked(prompt, stream=True) as leaving:
        leaving.until(b"far")
        assert not on.asked(prompt).left.is_set()
    on.stopped(prompt)
    assert codexstage.so_far(leaving) == expected.role() + expected.content("so ", "far")
    (last,) = on.stage.survived("client_gone", None, leaving, cause="left")
    assert (last.frames, last.status) == (3, 200)


@pytest.mark.codex
@pytest.mark.parametrize("options", [{}, STREAMED])
def test_row_05_a_client_that_leaves_before_the_head_stops_the_provider(
    on: Binary, options: dict[str, Any]
) -> None:
    prompt = on.plan.prompt(Held(Gate()))
    with on.stage.asked(prompt, **options) as leaving:
        on.asked(prompt)
    on.stopped(prompt)
    (last,) = on.stage.survived("client_gone", None, leaving, cause="left")
    assert (last.frames, last.status, on.attempts(prompt)) == (0, 0, 1)


@pytest.mark.codex
def test_row_05_a_client_may_leave_at_any_moment(on: Binary) -> None:
    for microseconds in range(0, 30_000, 600):
        prompt = on.plan.prompt(Stream((Message(("so far", Gate())),)))
        with on.stage.asked(prompt, stream=True) as leaving:
            threading.Event().wait(microseconds / 1e6)
        if on.attempts(prompt):
            on.stopped(prompt)
        on.stage.recorded("client_gone", None, leaving, cause="left")
    on.stage.released()


@pytest.mark.long
def test_row_04_a_thousand_clients_that_leave_leave_nothing_behind() -> None:
    still_open = standin.Turn(deltas=1, ending="silent")
    room: dict[str, Any] = {
        "WORKER_MAX_CONCURRENCY": str(AT_ONCE),
        "PROXY_SSE_MAX_CONCURRENCY": str(AT_ONCE),
    }
    with codexstage.stand_in(standin.Scenario(turns={"open": still_open}), **room) as on:

        def leave(_: int) -> None:
            with on.stage.asked("open", stream=True) as leaving:
                leaving.until(b"token ")

        with concurrent.futures.ThreadPoolExecutor(AT_ONCE // 2) as pool:
            list(pool.map(leave, range(LEAVINGS)))
        on.stage.released()
        codexstage.has_room(on.stage, "open", AT_ONCE)
        machinetime.until(lambda: len(on.received("turn/interrupt")) == LEAVINGS + AT_ONCE)
        kinds = [(each["kind"], each.get("cause")) for each in on.stage.server.terminals()]
        assert kinds.count(("client_gone", "left")) == LEAVINGS + AT_ONCE
