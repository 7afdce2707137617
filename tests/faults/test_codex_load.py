"""Rows 36 and 37 of the fault matrix: more work than there is room for, and much of it at once."""

import concurrent.futures
import random
import threading
from typing import Any

import pytest

from bench import standin
from machines import events
from tests.faults import codexstage, expected, scene
from tests.support.process import machinetime

MIB = 1 << 20

OPEN = standin.Turn(deltas=1, ending="silent")
"""A turn with some text and no end."""

BUSY = expected.error_object(
    "worker_busy", "Every worker is at its turn limit. Try again shortly.", "rate_limit_error"
)

FULL = expected.error_object(
    "concurrency_exceeded",
    "Too many streams are open. Try again shortly.",
    "rate_limit_error",
)

PLAINLY = (
    expected.role() + expected.content(*["token "] * 8) + expected.finish("stop") + expected.DONE
)
"""The stream of a turn that nothing was said about."""

QUEUE = 16
"""Turns that wait for a place, each a quarter of a second at most."""


def refusals(*answers: scene.Answer) -> list[object]:
    """What refused answers say; each may be asked for again in a second."""
    assert {answer.headers["retry-after"] for answer in answers} == {"1"}
    return [(answer.status, {"error": answer.error}) for answer in answers]


def test_row_36_more_streams_than_permits_are_refused_every_time() -> None:
    scenario = standin.Scenario(turns={"open": OPEN})
    with codexstage.stand_in(scenario, WORKER_MAX_CONCURRENCY="2") as on:
        with on.stage.asked("open", stream=True) as live:
            live.until(b"token ")
            for _ in range(20):
                with machinetime.within(scene.SECOND):
                    refused = on.stage.ask(scene.PLAIN, stream=True)
                assert refusals(refused) == [(429, FULL)]
                on.stage.recorded("rejected", "concurrency_exceeded", refused)
            assert on.stage.ask(scene.PLAIN).status == 200
        on.stage.survived("client_gone", None, live, cause="left")
        never = on.stage.ask(scene.PLAIN, stream=True, n=2)
        assert (never.status, never.error["param"]) == (400, "n")
        on.stage.released()


def test_row_36_a_queue_is_bounded_and_its_wait_is_short() -> None:
    scenario = standin.Scenario(turns={"open": OPEN})
    with (
        codexstage.stand_in(scenario) as on,
        concurrent.futures.ThreadPoolExecutor(QUEUE + 1) as pool,
    ):
        with on.stage.asked("open", stream=True) as live:
            live.until(b"token ")
            answers = list(pool.map(on.stage.ask, [scene.PLAIN] * (QUEUE + 1)))
            assert refusals(*answers) == [(429, BUSY)] * (QUEUE + 1)
        on.stage.released()
        ends = [on.stage.recorded("rejected", "worker_busy", answer) for answer in answers]
        waited = sorted(end.duration_us for end in ends)
        assert waited[0] < 200_000
        # The loop's timers are a millisecond coarse.
        assert 249_000 <= waited[1] <= waited[-1] < 500_000


def test_row_36_a_place_that_becomes_free_goes_to_who_waits() -> None:
    short = standin.Scenario(turn=standin.Turn(deltas=4, interval=0.03))
    with codexstage.stand_in(short) as on, concurrent.futures.ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(on.stage.ask, [scene.PLAIN] * 2))
        assert [answer.status for answer in answers] == [200, 200]
        on.stage.survived("completed", None, *answers)


@pytest.mark.parametrize(("overloads", "status"), [(2, 200), (3, 429)])
def test_row_36_an_overload_is_tried_again_and_then_told(overloads: int, status: int) -> None:
    busy = standin.Scenario(overloads={"thread/start": overloads})
    with codexstage.stand_in(standin.Scenario(), busy) as on:
        on.replace_process()
        before = len(on.received("thread/start"))
        answer = on.stage.ask(scene.PLAIN, stream=True)
        assert len(on.received("thread/start")) == before + 3
        if status == 200:
            assert answer.body == PLAINLY
            on.stage.survived("completed", None, answer)
        else:
            assert refusals(answer) == [(429, BUSY)]
            on.stage.survived("rejected", "worker_busy", answer)
        story = on.stage.story(answer)
        retries = [each for each in story if isinstance(each, events.RetryScheduled)]
        assert [each.attempt for each in retries] == [1, 2]


STREAMS = 64

CHUNKS = 60

COUNTED = tuple(f"{number} " for number in range(CHUNKS))

LASTING = standin.Turn(deltas=CHUNKS, interval=0.02, texts=COUNTED)
"""A turn of 50 chunks a second, no two of them alike."""

IN_ORDER = expected.role() + expected.content(*COUNTED) + expected.finish("stop") + expected.DONE


@pytest.mark.long
def test_row_37_many_streams_at_a_steady_pace_lose_nothing() -> None:
    room: dict[str, Any] = {
        "WORKER_MAX_CONCURRENCY": str(STREAMS),
        "PROXY_SSE_MAX_CONCURRENCY": str(STREAMS),
    }
    rng = random.Random(37)
    scenario = standin.Scenario(turns={"lasting": LASTING, "open": OPEN})
    with (
        codexstage.stand_in(scenario, **room) as on,
        concurrent.futures.ThreadPoolExecutor(STREAMS) as pool,
    ):

        def stream(patience: float | None) -> bytes | None:
            with on.stage.asked("lasting", stream=True) as asked:
                if patience is None:
                    return asked.answer().body
                asked.until(b'"role"')
                threading.Event().wait(patience)
            return None

        def round_of_streams() -> int:
            patiences = [
                rng.uniform(0, 1) if number % 10 == 0 else None for number in range(STREAMS)
            ]
            bodies = [body for body in pool.map(stream, patiences) if body is not None]
            assert bodies == [IN_ORDER] * len(bodies)
            on.stage.released()
            return on.stage.server.resident()

        round_of_streams()
        grown = [round_of_streams() for _ in range(2)]
        assert grown[1] - grown[0] < 2 * MIB
        codexstage.has_room(on.stage, "open", STREAMS)
        assert len(on.starts) == 1
        kinds = [each["kind"] for each in on.stage.server.terminals()]
        assert kinds.count("client_gone") == 3 * len(range(0, STREAMS, 10)) + STREAMS
        machinetime.until(lambda: on.stage.server.get("/healthz")[1]["streams"] == 0)
