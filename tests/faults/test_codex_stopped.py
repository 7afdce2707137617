"""Row 49: a Codex process that is stopped or deaf, idle or with turns on it, and what is told."""

import contextlib
import os
import signal
from collections.abc import Iterator

import pytest

from tests.faults import codexstage, expected, scene
from tests.faults.codexstage import Binary
from tests.support.process import machinetime
from tests.support.providers.replies import Message, Stream
from tests.support.providers.scripted import Gate

pytestmark = pytest.mark.codex

TOLD_S = 5.0
"""How soon a process that does not answer must show in readiness."""


@pytest.fixture
def on() -> Iterator[Binary]:
    with codexstage.binary() as binary:
        yield binary


@pytest.fixture
def hasty() -> Iterator[Binary]:
    """A process that answers nothing is replaced soon."""
    with codexstage.binary(WORKER_HANG_TIMEOUT_MS="5000") as binary:
        yield binary


@contextlib.contextmanager
def stopped(on: Binary) -> Iterator[int]:
    """With the process stopped, which is told in time."""
    pid = codexstage.codex_pid(on.stage.server)
    os.kill(pid, signal.SIGSTOP)
    try:
        machinetime.until(lambda: state(on) == "unresponsive", TOLD_S)
        yield pid
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def state(on: Binary) -> str:
    """The worker's state, of which the two pages say the same."""
    status, ready = on.stage.server.get("/readyz")
    health = on.stage.server.get("/healthz")[1]
    said = ready.get("worker", "ready")
    if health["worker"]["state"] != said:
        return "changing"
    assert (status == 200) == (said == "ready")
    assert health["status"] == ("ok" if said == "ready" else "degraded")
    (process,) = health["processes"]
    assert (process["name"], process["state"]) == ("codex-0", said)
    assert process["version"] == health["newest_tested"]
    return str(said)


@pytest.mark.long
def test_row_49_a_stopped_process_is_told_of_and_so_is_its_return(on: Binary) -> None:
    with stopped(on):
        refused = on.stage.ask(on.plan.prompt())
        assert (refused.status, refused.error["code"]) == (503, "worker_not_ready")
    machinetime.until(lambda: state(on) == "ready", TOLD_S)
    lines = {line["worker_state"]: line for line in on.stage.server.told("worker_state")}
    assert lines["unresponsive"]["severity"] == "warning"
    assert "WORKER_HANG_TIMEOUT_MS" in lines["unresponsive"]["advice"]
    assert on.stage.ask(on.plan.prompt()).status == 200
    assert on.stage.server.told("worker_lost") == []
    on.stage.released()


def test_row_49_the_turns_of_a_stopped_process_go_on_when_it_does(on: Binary) -> None:
    gate = Gate()
    prompt = on.plan.prompt(Stream((Message(("so ", gate, "far")),)))
    with on.stage.asked(prompt, stream=True) as live:
        live.until(b"so ")
        with stopped(on):
            gate.open()
        answer = live.answer()
    assert answer.body == expected.role() + expected.content("so ", "far") + expected.ENDED
    on.stage.survived("completed", None, answer)


@pytest.mark.long
def test_row_49_a_process_without_any_output_is_replaced(hasty: Binary) -> None:
    prompt = hasty.plan.prompt(Stream((Message(("so ", "far", Gate())),)))
    with hasty.stage.asked(prompt, stream=True) as live:
        live.until(b"far")
        with stopped(hasty) as pid:
            answer = live.answer()
            hasty.stage.server.wait_ready()
            assert codexstage.codex_pid(hasty.stage.server) != pid
    assert answer.body.endswith(expected.finish("length") + expected.DONE)
    (lost,) = hasty.stage.server.told("worker_lost")
    assert lost["reason"].startswith("went deaf: no output for ")
    hasty.stage.survived("truncated", None, answer)


def test_row_49_one_process_of_several_is_told_of_and_the_others_serve() -> None:
    with codexstage.binary(WORKER_COUNT="2") as on:
        machinetime.until(lambda: processes(on) == {"ready"}, scene.SECOND * 5)
        pid = codexstage.codex_pid(on.stage.server)
        os.kill(pid, signal.SIGSTOP)
        try:
            machinetime.until(lambda: processes(on) == {"ready", "unresponsive"}, TOLD_S)
            assert on.stage.server.get("/readyz")[0] == 200
            assert on.stage.server.get("/healthz")[1]["status"] == "degraded"
            assert on.stage.ask(on.plan.prompt()).status == 200
        finally:
            os.kill(pid, signal.SIGCONT)
        machinetime.until(lambda: processes(on) == {"ready"}, TOLD_S)


def test_row_49_processes_that_start_together_do_not_die_of_each_other() -> None:
    """They share databases, and those that made the same one at the same time ended."""
    with codexstage.binary(WORKER_COUNT="4") as on:
        machinetime.until(lambda: processes(on) == {"ready"}, 4 * scene.SECOND)
        assert on.stage.server.told("worker_lost") == []


def processes(on: Binary) -> set[str]:
    """The states that its processes are in."""
    return {each["state"] for each in on.stage.server.get("/healthz")[1]["processes"]}
