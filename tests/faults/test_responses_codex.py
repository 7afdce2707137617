"""Rows of the fault matrix on `/v1/responses`, in front of a stand-in for Codex."""

import os
import signal
from collections.abc import Iterator

import pytest

from bench import standin
from tests.faults import codexstage, scene
from tests.faults.codexstage import StandIn
from tests.faults.responsesstage import Stage, broken, completed
from tests.support.client.responsesclient import Client
from tests.support.process import machinetime
from tests.support.providers import responsescript as script

SO_FAR = ("so ", "far")
OPEN = standin.Turn(deltas=2, texts=SO_FAR, ending="silent")
SCENARIO = standin.Scenario(
    turn=standin.Turn(deltas=2, texts=SO_FAR),
    turns={
        "open": OPEN,
        "exit": standin.Turn(deltas=2, texts=SO_FAR, ending="exit"),
        "exit_whole": standin.Turn(deltas=2, texts=SO_FAR, ending="exit_whole"),
    },
)
EXITED = "The worker's process ended before the answer was complete."


@pytest.fixture(scope="module")
def running() -> Iterator[StandIn]:
    with codexstage.stand_in(SCENARIO, stage=Stage, PROXY_WORKER_EXIT="error") as on:
        yield on


@pytest.fixture
def on(running: StandIn) -> StandIn:
    running.stage.server.wait_ready()
    return running


def test_an_answer_is_whole(on: StandIn) -> None:
    answer = on.stage.ask("anything", stream=True)
    (last,) = on.stage.survived("completed", None, answer)
    assert last.usage is not None
    counts = script.usage(last.usage.prompt_tokens, last.usage.completion_tokens)
    assert answer.body == completed(*SO_FAR, usage=counts)


def test_row_04_a_client_that_leaves_has_its_turn_interrupted(on: StandIn) -> None:
    before = len(on.received("turn/interrupt"))
    with on.stage.asked("open", stream=True) as leaving:
        leaving.until(b'"delta":"far"')
    machinetime.until(lambda: len(on.received("turn/interrupt")) == before + 1, scene.SECOND)
    on.stage.survived("client_gone", None, leaving, cause="left")


def test_what_is_cancelled_has_its_turn_interrupted(on: StandIn) -> None:
    before = len(on.received("turn/interrupt"))
    client = Client(on.stage.server)
    with client.creating("open", background=True) as live:
        live.until(b'"delta":"far"')
        cancelled = client.cancel(live.response_id)
    machinetime.until(lambda: len(on.received("turn/interrupt")) == before + 1, scene.SECOND)
    assert (cancelled.status, cancelled.body["status"]) == (200, "cancelled")
    on.stage.released()


@pytest.mark.parametrize("how", ["exit", "kill"])
def test_row_17_a_process_that_ends_fails_its_response_at_once(on: StandIn, how: str) -> None:
    with on.stage.asked("exit" if how == "exit" else "open", stream=True) as live:
        live.until(b'"delta":"far"')
        if how == "kill":
            os.kill(on.starts[-1], signal.SIGKILL)
        with machinetime.within(scene.SECOND):
            answer = live.answer()
    assert answer.body == broken("worker_exited", EXITED, *SO_FAR)
    on.stage.survived("worker_lost", "worker_exited", answer)


def test_row_17_an_answer_that_is_not_streamed_is_a_503(on: StandIn) -> None:
    answer = on.stage.ask("exit")
    assert (answer.status, answer.error["code"]) == (503, "worker_exited")
    on.stage.survived("worker_lost", "worker_exited", answer)


def test_row_17_a_whole_item_is_an_answer_though_its_process_ended(on: StandIn) -> None:
    answer = on.stage.ask("exit_whole", stream=True)
    assert answer.body == completed(*SO_FAR)
    on.stage.survived("completed", None, answer)


def test_row_17_a_response_in_the_background_fails_with_its_process(on: StandIn) -> None:
    client = Client(on.stage.server)
    response_id = client.made("exit", background=True)["id"]
    machinetime.until(lambda: client.get(response_id).body["status"] == "failed", scene.SECOND)
    found = client.get(response_id).body
    assert found["error"]["message"] == EXITED
    on.stage.released()


def test_row_36_a_busy_worker_refuses_before_the_head() -> None:
    with (
        codexstage.stand_in(SCENARIO, stage=Stage, PROXY_SSE_MAX_CONCURRENCY="2") as on,
        on.stage.asked("open", stream=True) as held,
    ):
        held.until(b'"delta":"far"')
        refused = on.stage.ask("more", stream=True)
        assert (refused.status, refused.error["code"]) == (429, "worker_busy")
        held.leave()
        on.stage.survived("rejected", "worker_busy", refused)
