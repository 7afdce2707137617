"""Row 6 of the fault matrix: clients that read slowly, or not at all, while a worker floods."""

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from bench import standin
from machines import events
from server.http import exchange as http
from tests.faults import codexstage, expected, scene
from tests.faults.codexstage import StandIn
from tests.support.process import machinetime

MIB = 1 << 20

STALL_S = 0.6
"""Seconds without a byte drained, buffer over its limit, that a client is allowed here."""

RATE = 2000
"""Lines a second of a flood, of 4 KiB each."""

TURNS = {
    "flood": standin.Turn(deltas=100 * RATE, interval=1 / RATE, line_bytes=4096),
    "one large delta": standin.Turn(deltas=1, line_bytes=8 * MIB),
}

TOKENS = (
    expected.role() + expected.content(*["token "] * 8) + expected.finish("stop") + expected.DONE
)
"""The stream of a turn that nothing was said about."""


@pytest.fixture(scope="module")
def on() -> Iterator[StandIn]:
    room: dict[str, Any] = {"WORKER_MAX_CONCURRENCY": "2", "PROXY_SSE_MAX_CONCURRENCY": "2"}
    limits = {"over_limit_stall": STALL_S}
    with codexstage.stand_in(standin.Scenario(turns=TURNS), http_limits=limits, **room) as up:
        yield up


def test_row_06_a_client_that_stops_reading_costs_only_its_own_stream(on: StandIn) -> None:
    server = on.stage.server
    before = server.resident()
    interrupts = len(on.received("turn/interrupt"))
    with on.stage.asked("flood", stream=True, receive_buffer=4096) as stalled:
        stalled.until(b"token ")
        most = before
        while server.get("/healthz")[1]["streams"]:
            with machinetime.within(scene.SECOND):
                answer = on.stage.ask(scene.PLAIN, stream=True)
            assert answer.body == TOKENS
            most = max(most, server.resident())
    # A flood of 8 MiB/s fills the system's buffers, then ours for as long as a stall may last.
    assert most - before < 24 * MIB
    (last,) = on.stage.survived("client_gone", None, stalled, cause="write_stall")
    assert last.duration_us > STALL_S * 1e6
    assert len(on.received("turn/interrupt")) == interrupts + 1
    pressed = [e for e in on.stage.story(stalled) if isinstance(e, events.BufferPressure)]
    assert pressed[0].buffered > http.Limits().buffer_bytes
    machinetime.until(lambda: server.resident() - before < 12 * MIB)


@pytest.mark.long
def test_row_06_one_large_delta_never_cuts_a_client_that_reads_it(on: StandIn) -> None:
    with on.stage.asked("one large delta", stream=True, receive_buffer=64 * 1024) as slow:
        began = time.monotonic()
        while slow.more(48 * 1024):
            threading.Event().wait(0.012)
        answer = slow.answer()
    assert time.monotonic() - began > 2 * STALL_S
    assert answer.body.endswith(expected.finish("stop") + expected.DONE)
    assert len(answer.raw) > 8 * MIB - 1024
    on.stage.survived("completed", None, answer)
    pressed = [e for e in on.stage.story(answer) if isinstance(e, events.BufferPressure)]
    assert len(pressed) == 1
