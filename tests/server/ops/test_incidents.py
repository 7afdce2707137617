"""What an operator sees of an incident within 5 s: a probe, a metric and a line say the same.

The table of `docs/runbook.md` has a row for each, and names these tests.
"""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from bench import standin
from tests.codex.test_processes import Standing, standing
from tests.server.ops.test_state import Told, told
from tests.server.plain import chat
from tests.support.logs import fulldisk
from tests.support.process import machinetime, serving
from tests.support.providers import upstreams
from tests.support.providers.provider import Provider
from tests.support.providers.replies import HttpError

TOLD_S: Final = 5.0
"""How soon whoever looks must see it."""

READY: Final = "turntape_worker_ready"
PROCESSES: Final = "turntape_worker_processes"
RESTARTS: Final = "turntape_worker_restarts_total"
ERRORS: Final = "turntape_errors_total"


def lines(server: serving.Serve, event: str, **fields: Any) -> list[dict[str, Any]]:
    """What a server said of one kind, with these fields."""
    wanted = {"event": event, **fields}
    return [line for line in list(server.lines) if wanted.items() <= line.items()]


def agree(server: serving.Serve, probe: int, metric: Callable[[Told], bool], said: bool) -> bool:
    """Whether the three say it by now."""
    return said and server.get("/readyz")[0] == probe and metric(told(server))


def shows(up: Standing, state: str, ready: bool) -> bool:
    """Whether all three say that the one process is in this state."""

    def metric(found: Told) -> bool:
        in_state = found.get((PROCESSES, (state, "codex"))) == 1
        return in_state and found[READY, ("codex",)] == ready

    said = bool(lines(up.server, "worker_state", worker_state=state))
    return agree(up.server, 200 if ready else 503, metric, said)


def test_a_killed_process() -> None:
    with standing(standin.Scenario(), WORKER_BACKOFF_INITIAL_MS="2000") as up:
        os.kill(up.starts[0], signal.SIGKILL)
        machinetime.until(lambda: shows(up, "backoff", ready=False), TOLD_S)
        machinetime.until(lambda: shows(up, "ready", ready=True))
        assert told(up.server)[RESTARTS, ("codex",)] == 1


@pytest.mark.long
def test_a_stopped_process() -> None:
    with standing(standin.Scenario()) as up:
        os.kill(up.starts[0], signal.SIGSTOP)
        try:
            machinetime.until(lambda: shows(up, "unresponsive", ready=False), TOLD_S)
        finally:
            os.kill(up.starts[0], signal.SIGCONT)
        machinetime.until(lambda: shows(up, "ready", ready=True), TOLD_S)
        assert told(up.server)[RESTARTS, ("codex",)] == 0


def test_a_process_that_dies_again_and_again() -> None:
    settings = {"WORKER_BACKOFF_INITIAL_MS": "20", "WORKER_BACKOFF_MAX_MS": "40"}
    with standing(standin.Scenario(), standin.Scenario(exits_at_once=1), **settings) as up:
        os.kill(up.starts[0], signal.SIGKILL)

        def failed() -> bool:
            found = told(up.server)
            probe = up.server.get("/readyz")[0]
            said = bool(lines(up.server, "worker_state", worker_state="failed"))
            return probe == 503 and found[RESTARTS, ("codex",)] > 4 and said

        machinetime.until(failed)


@pytest.mark.codex
def test_a_login_that_its_provider_refuses() -> None:
    with (
        Provider(default=HttpError(401)) as provider,
        serving.codex(provider.url) as server,
    ):
        refused = chat(server)
        assert (refused.status, refused.error["code"]) == (401, "worker_unauthorized")

        def metric(found: Told) -> bool:
            errors = found.get((ERRORS, ("worker_unauthorized", "worker"))) == 1
            return errors and found.get((PROCESSES, ("logged_out", "codex"))) == 1

        def shown() -> bool:
            said = bool(lines(server, "turn_failed", code="worker_unauthorized"))
            return agree(server, 503, metric, said)

        machinetime.until(shown, TOLD_S)


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (["reset"], "upstream_disconnected"),
        (upstreams.response(500, {"error": {"message": "No."}}), "upstream_error"),
    ],
)
def test_a_provider_that_is_out(answer: upstreams.Answer, code: str) -> None:
    """Readiness stays: another model may have another provider, and a retry may help."""
    with upstreams.stage([answer]) as stage:
        assert chat(stage.server).error["code"] == code

        def shown() -> bool:
            said = bool(lines(stage.server, "turn_failed", code=code))
            return agree(stage.server, 200, lambda now: now[ERRORS, (code, "provider")] == 1, said)

        machinetime.until(shown, TOLD_S)


@pytest.mark.long(usual=("continue",))
@pytest.mark.parametrize("on_error", ["refuse", "continue"])
def test_a_full_disk(tmp_path: Path, on_error: str) -> None:
    seen = fulldisk.in_namespace("full-disk-of-log", tmp_path, on_error)
    taken = on_error == "continue"
    assert seen["when_full"] == {
        "probe": 200 if taken else 503,
        "request": 200 if taken else 503,
        "accepting": ["1" if taken else "0"],
        "has_failed": True,
    }
    assert seen["again"] == {"probe": 200, "request": 200, "accepting": ["1"], "has_failed": True}
