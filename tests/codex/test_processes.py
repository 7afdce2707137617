"""How app-server processes start, are replaced, and share the work, by a stand-in for them."""

import concurrent.futures
import contextlib
import os
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench import standin
from machines import events
from tests.support.client import chatclient
from tests.support.client.chatclient import LiveChat
from tests.support.logs import serverlog
from tests.support.process import machinetime, serving

STREAMING: dict[str, Any] = {"stream": True, "stream_options": {"include_usage": True}}

OPEN = standin.Turn(deltas=1, ending="silent")
"""A turn with some text and no end."""

USUAL = "token " * 8
"""The text of a turn that nothing was said about."""


class Standing:
    """A server whose Codex is a stand-in."""

    def __init__(self, server: serving.Serve, directory: Path) -> None:
        self.server = server
        self.directory = directory

    @property
    def starts(self) -> list[int]:
        """Ids of the processes so far."""
        return standin.starts(self.directory)

    def received(self, method: str) -> list[dict[str, Any]]:
        """What the processes were sent, of one method."""
        lines = standin.received(self.directory)
        return [line for line in lines if line.get("method") == method]

    def said(self, event: str) -> list[dict[str, Any]]:
        """The server's own lines of one event."""
        return [line for line in list(self.server.lines) if line.get("event") == event]


@contextlib.contextmanager
def started(*scenarios: standin.Scenario, **environ: str) -> Iterator[Standing]:
    """A server that was started and need not become ready; at its end all was well with it."""
    with tempfile.TemporaryDirectory() as parent:
        directory = Path(parent) / "standin"
        directory.mkdir()
        program = standin.install(directory, *scenarios)
        settings = {"CODEX_BIN": str(program), "PROXY_EVENT_LOG": "full", **environ}
        server = serving.Serve(Path(parent) / "data", (), settings)
        try:
            yield Standing(server, directory)
            serverlog.audit(server)
        finally:
            server.stop(signal.SIGKILL)


@contextlib.contextmanager
def standing(*scenarios: standin.Scenario, **environ: str) -> Iterator[Standing]:
    """A ready server."""
    with started(*scenarios, **environ) as up:
        up.server.wait_ready()
        yield up


@pytest.mark.long(usual=("turn/start",))
@pytest.mark.parametrize("method", ["thread/start", "turn/start"])
def test_a_process_that_answers_no_more_is_replaced_and_the_turn_run_again(method: str) -> None:
    deaf = standin.Scenario(deaf=(method,))
    settings = {"WORKER_REQUEST_TIMEOUT_MS": "300", "WORKER_BACKOFF_INITIAL_MS": "50"}
    with standing(deaf, standin.Scenario(), **settings) as up:
        answer = chatclient.ask(up.server, "hi")
        assert (answer.status, answer.text) == (200, USUAL)
        assert len(up.starts) == 2
        assert serverlog.recorded(up.server, answer).kind == "completed"


def test_a_crash_turns_none_of_its_silent_turns_away() -> None:
    count = 40  # more than a queue holds
    mute = standin.Scenario(turn=standin.Turn(deltas=0, ending="silent"))
    with (
        standing(mute, standin.Scenario(), WORKER_BACKOFF_INITIAL_MS="1000") as up,
        concurrent.futures.ThreadPoolExecutor(count) as pool,
    ):
        asked = [pool.submit(chatclient.ask, up.server, "hi") for _ in range(count)]
        machinetime.until(lambda: len(up.received("turn/start")) == count)
        os.kill(up.starts[0], signal.SIGKILL)
        answers = [each.result() for each in asked]
        assert [answer.status for answer in answers] == [200] * count
        assert {answer.text for answer in answers} == {USUAL}
        happened = serverlog.story(up.server, answers[0].request_id)
        (again,) = [event for event in happened if isinstance(event, events.RetryScheduled)]
        assert again.code == "worker_exited"


def test_an_old_version_is_refused_and_named() -> None:
    with started(standin.Scenario(version="0.162.9")) as up:
        machinetime.until(lambda: bool(up.said("worker_lost")))
        assert "codex 0.162.9 is older than 0.163.0" in up.said("worker_lost")[0]["reason"]
        assert up.server.get("/readyz")[0] == 503
        refused = chatclient.ask(up.server, "hi")
        assert (refused.status, refused.error["code"]) == (503, "worker_not_ready")
        assert len(up.starts) == 1


def test_a_newer_version_is_used_and_noted() -> None:
    with standing(standin.Scenario(version="1.0.0")) as up:
        assert chatclient.ask(up.server, "hi").status == 200
        machinetime.until(lambda: bool(up.said("codex_newer_than_tested")))
        (line,) = up.said("codex_newer_than_tested")
        assert line["version"] == "1.0.0"


@pytest.mark.long
def test_a_crash_loop_is_slowed_down_and_never_given_up() -> None:
    crash = standin.Scenario(exits_at_once=3)
    settings = {"WORKER_BACKOFF_INITIAL_MS": "50", "WORKER_BACKOFF_MAX_MS": "400"}
    began = time.monotonic()
    with started(*[crash] * 6, standin.Scenario(), **settings) as up:
        # 50, 100, 200 and then three times 400 ms
        assert up.server.get("/readyz")[0] == 503
        up.server.wait_ready()
        assert time.monotonic() - began > 1.5
        assert len(up.starts) == 7
        machinetime.until(lambda: len(up.said("worker_lost")) >= 6)
        assert [line["reason"] for line in up.said("worker_lost")] == ["exited with code 3"] * 6
        assert chatclient.ask(up.server, "hi").status == 200


def test_a_slow_handshake_is_waited_for() -> None:
    with started(standin.Scenario(handshake_delay=0.7)) as up:
        assert up.server.get("/livez")[0] == 200
        assert up.server.get("/readyz")[0] == 503
        up.server.wait_ready()
        assert len(up.starts) == 1


def test_a_handshake_that_takes_too_long_is_begun_anew() -> None:
    slow = standin.Scenario(handshake_delay=30)
    settings = {"WORKER_STARTUP_TIMEOUT_MS": "500", "WORKER_BACKOFF_INITIAL_MS": "50"}
    with started(slow, standin.Scenario(), **settings) as up:
        up.server.wait_ready()
        assert len(up.starts) == 2
        machinetime.until(lambda: bool(up.said("worker_lost")))
        assert up.said("worker_lost")[0]["reason"] == "handshake timed out"


@pytest.mark.long
def test_turns_go_to_the_process_with_the_fewest() -> None:
    with (
        standing(standin.Scenario(turn=OPEN), WORKER_COUNT="2", PROXY_WORKER_EXIT="error") as up,
        contextlib.ExitStack() as stack,
    ):
        machinetime.until(lambda: len(up.said("worker_state")) >= 6)
        live = []
        threads = []
        for _ in range(4):
            live.append(stack.enter_context(LiveChat(up.server, "hi", **STREAMING)))
            live[-1].next("content")
            threads.append(thread_of(up, live[-1].request_id))
        # Each process counts its own threads, so that an id is there once for each of them.
        assert [threads.count(thread) for thread in threads] == [2] * 4
        os.kill(up.starts[0], signal.SIGKILL)
        answers = [each.answer() for each in live if ended_within_a_second(up, each)]
        assert len(answers) == 2
        assert {answer.error["code"] for answer in answers} == {"worker_exited"}
        assert up.server.get("/readyz")[0] == 200


def thread_of(up: Standing, request_id: str) -> str:
    """The thread of a request; the reply that names it may come after the first content."""
    found: list[str] = []

    def is_known() -> bool:
        happened = serverlog.story(up.server, request_id)
        found.extend(e.thread_id for e in happened if isinstance(e, events.TurnStarted))
        return bool(found)

    machinetime.until(is_known)
    return found[0]


def ended_within_a_second(up: Standing, asked_for: LiveChat) -> bool:
    """Whether a request ends by itself."""
    with contextlib.suppress(AssertionError):
        machinetime.until(lambda: serverlog.has_ended(up.server, asked_for.request_id), 1)
        return True
    return False


def test_a_turn_that_is_whole_is_released_and_not_interrupted() -> None:
    with standing(PROXY_REUSE_MAX="0") as up:
        for options in ({}, STREAMING):
            assert chatclient.ask(up.server, "hi", **options).status == 200
        machinetime.until(lambda: len(up.received("thread/unsubscribe")) == 2)
        assert up.received("turn/interrupt") == []


def test_a_schema_that_no_line_can_hold_is_refused_and_costs_no_place() -> None:
    schema: Any = {}
    for _ in range(110):
        schema = {"properties": schema}
    wanted = {
        "type": "json_schema",
        "json_schema": {"name": "deep", "strict": True, "schema": schema},
    }
    with standing(WORKER_MAX_CONCURRENCY="1") as up:
        for options in ({}, STREAMING):
            refused = chatclient.ask(up.server, "hi", response_format=wanted, **options)
            assert refused.status == 400
            assert refused.error["param"] == "response_format.json_schema.schema"
        assert chatclient.ask(up.server, "hi").status == 200
