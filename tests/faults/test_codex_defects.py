"""Rows 41 and 50 of the fault matrix: bugs of the server's own, in front of Codex."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.faults import codexstage, defects, expected, instep, observed, planting
from tests.faults.codexstage import Binary, StandIn
from tests.faults.defects import BODIES, EARLY, SENT, STREAMED, Bug
from tests.support.providers.replies import Message, Stream
from tests.support.providers.scripted import Gate

OPEN = Stream((Message((*defects.TEXTS, Gate())),))
"""Some text and no end."""

SO_FAR = expected.role() + expected.content(*defects.TEXTS)

READING = (
    Bug("delta", 1, None),
    Bug("delta", 2, 1),
    Bug("item", 1, 2),
    Bug("end of a turn", 1, 2),
)
"""Bugs on the way from a line of Codex to a stream."""


@pytest.fixture(scope="module")
def on() -> Iterator[StandIn]:
    with instep.stand_in({"hit": instep.turn(*defects.TEXTS)}) as on:
        yield on


@defects.named((*EARLY, Bug("attempt", 1, None)))
@pytest.mark.parametrize("stream", [True, False])
def test_row_41_a_bug_before_the_answer_is_a_500(on: StandIn, bug: Bug, stream: bool) -> None:
    with instep.beside(on):
        answer = on.stage.ask("hit", {"x-request-id": bug.request_id()}, stream=stream)
        defects.check_refused(answer)
    defects.check_end(on.stage, bug, answer)


@defects.named((*STREAMED, *READING))
def test_row_41_a_bug_costs_the_stream_that_meets_it(on: StandIn, bug: Bug) -> None:
    answer = instep.ask(on, "hit", {"x-request-id": bug.request_id()}, stream=True)
    defects.check_stream(bug, answer)
    defects.check_end(on.stage, bug, answer)


@defects.named((*BODIES, *READING[:1]))
def test_row_41_a_bug_in_an_answer_that_is_not_streamed_is_a_500(on: StandIn, bug: Bug) -> None:
    answer = instep.ask(on, "hit", {"x-request-id": bug.request_id()})
    defects.check_body(bug, answer)
    defects.check_end(on.stage, bug, answer)


def test_row_50_pruning_that_fails_is_begun_again() -> None:
    with instep.stand_in({}, **defects.PRUNING) as on:
        with instep.beside(on):
            defects.check_pruning(on.stage)
        on.stage.released()


@pytest.fixture(scope="module")
def real() -> Iterator[Binary]:
    room: dict[str, Any] = {
        "WORKER_MAX_CONCURRENCY": "4",
        "PROXY_SSE_MAX_CONCURRENCY": "4",
        "PROXY_SSE_KEEPALIVE_MS": "100",
        observed.PLANTED: "{}",
    }
    with codexstage.binary(**room) as real:
        yield real


@pytest.mark.long(usual=("delta 1", "rendering 1", "end of a turn 1"))
@pytest.mark.codex
@defects.named((*EARLY, *STREAMED, *SENT, *READING, defects.FINISHED_LAST))
def test_row_41_a_bug_in_front_of_the_real_binary(real: Binary, bug: Bug) -> None:
    gates = [Gate() for _ in defects.TEXTS]
    first, second = defects.TEXTS
    prompt = real.plan.prompt(Stream((Message((first, gates[0], second, gates[1])),)))
    headers = {"x-request-id": bug.request_id(), "x-no-keepalive": "1"}
    with real.neighbours(), real.stage.asked(prompt, headers, stream=True) as live:
        for text, gate in zip(defects.TEXTS[: bug.texts or 0], gates, strict=False):
            live.until(b'"%b"' % text.encode())
            gate.open()
        answer = live.answer()
        defects.check_stream(bug, answer)
    defects.check_end(real.stage, bug, answer)


@pytest.mark.codex
def test_row_41_a_bug_when_a_timer_fires_ends_its_own_stream(real: Binary) -> None:
    prompt = real.plan.prompt(OPEN)
    with real.neighbours():
        answer = real.stage.ask(prompt, {"x-request-id": planting.hit("timer")}, stream=True)
    assert answer.body == SO_FAR + defects.ERROR
    real.stopped(prompt)
    real.stage.survived("defect", "internal_error", answer)
    real.stage.broke(answer)


@pytest.mark.codex
def test_row_41_a_turn_that_fails_to_stop_keeps_nothing(real: Binary) -> None:
    prompt = real.plan.prompt(OPEN)
    headers = {"x-request-id": planting.hit("Codex's cancel")}
    with real.neighbours():
        with real.stage.asked(prompt, headers, stream=True) as leaving:
            leaving.until(b'"lo"')
        real.stopped(prompt)
    real.stage.survived("client_gone", None, leaving, cause="left")
    real.stage.broke(leaving)
