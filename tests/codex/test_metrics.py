"""A scrape, the health page and the log agree on worker processes, by a stand-in for them."""

import contextlib
import os
import signal
from concurrent import futures

from bench import standin
from tests.codex.test_processes import OPEN, STREAMING, Standing, standing
from tests.server.ops.test_state import Told, told
from tests.support.client import chatclient
from tests.support.client.chatclient import LiveChat
from tests.support.process import machinetime

STREAMS = "turntape_streams_total"
ERRORS = "turntape_errors_total"


def of_processes(found: Told) -> dict[str, float]:
    """How many processes are in each state."""
    return {
        labels[0]: count
        for (name, labels), count in found.items()
        if name == "turntape_worker_processes" and labels[1] == "codex"
    }


def restarts(up: Standing) -> float:
    return told(up.server)["turntape_worker_restarts_total", ("codex",)]


def test_processes_turns_and_restarts_are_told() -> None:
    scenarios = standin.Scenario(turn=OPEN), standin.Scenario()
    settings = {"WORKER_COUNT": "2", "PROXY_WORKER_EXIT": "error"}
    with standing(*scenarios, **settings) as up, contextlib.ExitStack() as stack:
        machinetime.until(lambda: of_processes(told(up.server)) == {"ready": 2})
        found = told(up.server)
        assert found["turntape_worker_ready", ("codex",)] == 1
        assert found["turntape_worker_turns_open", ("codex",)] == 0
        for _ in range(2):
            stack.enter_context(LiveChat(up.server, "hi", **STREAMING))
        machinetime.until(lambda: told(up.server)["turntape_worker_turns_open", ("codex",)] >= 1)
        os.kill(up.starts[0], signal.SIGKILL)
        machinetime.until(lambda: restarts(up) == 1)
        machinetime.until(lambda: of_processes(told(up.server)) == {"ready": 2})
        health = up.server.get("/healthz")[1]["processes"]
        assert sorted(process["restarts"] for process in health) == [0, 1]
        assert [process["state"] for process in health] == ["ready", "ready"]
        backoffs = [line for line in up.said("worker_state") if line["worker_state"] == "backoff"]
        assert len(backoffs) == 1


def test_a_worker_that_was_lost_is_told_as_the_log_has_it() -> None:
    scenarios = standin.Scenario(turn=OPEN), standin.Scenario()
    with standing(*scenarios, PROXY_WORKER_EXIT="error") as up:
        with LiveChat(up.server, "hi", **STREAMING) as live:
            live.next("content")
            os.kill(up.starts[0], signal.SIGKILL)
            assert live.answer().error["code"] == "worker_exited"
        # A process that ends has a terminal record of its own.
        (terminal,) = (each for each in up.server.terminals() if each["stream"][:3] == "st_")
        found = told(up.server)
        ends = {labels: n for (name, labels), n in found.items() if name == STREAMS}
        faults = {labels: n for (name, labels), n in found.items() if name == ERRORS}
        assert ends == {(terminal["kind"], "gpt-5.5", "/v1/chat/completions"): 1}
        assert faults == {(terminal["code"], "worker"): 1}
        assert terminal["kind"] == "worker_lost"


def test_a_turn_that_finds_no_place_is_counted_and_waits_no_longer() -> None:
    settings = {"WORKER_MAX_CONCURRENCY": "1"}
    with (
        standing(standin.Scenario(turn=OPEN), **settings) as up,
        LiveChat(up.server, "hi", **STREAMING) as live,
    ):
        live.next("content")
        assert chatclient.ask(up.server, "hi").error["code"] == "worker_busy"
        found = told(up.server)
        assert found["turntape_worker_turns_open", ("codex",)] == 1
        assert found["turntape_worker_turns_waiting", ("codex",)] == 0
        assert found["turntape_errors_total", ("worker_busy", "worker")] == 1


def test_turns_that_wait_for_a_process_are_told() -> None:
    mute = standin.Scenario(turn=standin.Turn(deltas=0, ending="silent"))
    waiting = "turntape_worker_turns_waiting", ("codex",)
    with (
        standing(mute, standin.Scenario(), WORKER_BACKOFF_INITIAL_MS="2000") as up,
        futures.ThreadPoolExecutor(3) as pool,
    ):
        asked = [pool.submit(chatclient.ask, up.server, "hi") for _ in range(3)]
        machinetime.until(lambda: len(up.received("turn/start")) == 3)
        assert told(up.server)[waiting] == 0
        os.kill(up.starts[0], signal.SIGKILL)
        machinetime.until(lambda: told(up.server)[waiting] == 3)
        assert [each.result().status for each in asked] == [200] * 3
        assert told(up.server)[waiting] == 0
