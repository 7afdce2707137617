"""What becomes of a worker that breaks the protocol, and of more work than it takes.

Faults 6, 17-21 and 36, by a stand-in for the binary that misbehaves as it is told to.
"""

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
from engine import attempt, process
from machines import events
from tests import asking, serving
from tests.asking import Asking

STREAMING: dict[str, Any] = {"stream": True, "stream_options": {"include_usage": True}}

OPEN = standin.Turn(deltas=1, ending="silent")
"""A turn with some text and no end."""

EVERY_BYTE = tuple(range(1, 300))
"""Cuts of a line at every byte of it that is not always the same."""

AWKWARD = ("👩\u200d👧 日本\u2028", 'é"\\', "\n\n", "x")
"""Texts of one to four bytes a character, and those that JSON escapes."""

GARBAGE = (
    standin.GARBAGE,
    "{",
    "[]",
    "null",
    '{"method":7}',
    "\x00\x1b[31m",
    '{"id":1}',
    '{"method":"item/agentMessage/delta","params":{"threadId":"{thread}","delta":7}}',
    '{"method":"item/started","params":[]}',
    '{"method":"turn/completed","params":{"threadId":"{thread}","turn":{"status":"failed"}}}',
)
"""Lines that are no JSON-RPC, or not what their method says."""

TURNS = {
    "64 KiB + 1": standin.Turn(deltas=3, line_bytes=64 * 1024 + 1),
    "1 MiB": standin.Turn(deltas=3, line_bytes=1 << 20),
    "16 MiB": standin.Turn(deltas=1, line_bytes=16 << 20),
    "split": standin.Turn(deltas=4, texts=AWKWARD, cuts=EVERY_BYTE),
    "garbage": standin.Turn(before=GARBAGE),
    "stderr": standin.Turn(stderr_lines=20_000),
    "approval": standin.Turn(before=(standin.APPROVAL,)),
    "elicitation": standin.Turn(before=(standin.ELICITATION,)),
    "endless": standin.Turn(deltas=2, ending="endless"),
    "exit": standin.Turn(deltas=2, ending="exit"),
    "exit_whole": standin.Turn(deltas=2, ending="exit_whole"),
    "exit_mid_line": standin.Turn(deltas=2, ending="exit_mid_line"),
    "open": OPEN,
    "flood": standin.Turn(deltas=20_000, interval=0.0005, line_bytes=4096),
}
"""How a turn goes, by its prompt."""


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
            asking.audit(server)
        finally:
            server.stop(signal.SIGKILL)


@contextlib.contextmanager
def standing(*scenarios: standin.Scenario, **environ: str) -> Iterator[Standing]:
    """A ready server."""
    with started(*scenarios, **environ) as up:
        up.server.wait_ready()
        yield up


@pytest.fixture(scope="module")
def odd() -> Iterator[Standing]:
    """A server whose stand-in goes wrong where a prompt asks for it."""
    settings = {"WORKER_BACKOFF_INITIAL_MS": "50", "WORKER_BACKOFF_MAX_MS": "50"}
    with standing(standin.Scenario(turns=TURNS), **settings) as up:
        yield up


@pytest.fixture
def ready(odd: Standing) -> Standing:
    odd.server.wait_ready()
    return odd


def expected(name: str) -> str:
    """The text of a turn."""
    turn = TURNS[name]
    return "".join(turn.texts[index % len(turn.texts)] for index in range(turn.deltas))


# --- What a worker writes ---


@pytest.mark.parametrize("options", [{}, STREAMING])
@pytest.mark.parametrize("name", ["64 KiB + 1", "1 MiB", "16 MiB"])
def test_lines_of_any_length(ready: Standing, name: str, options: dict[str, Any]) -> None:
    turn = TURNS[name]
    answer = asking.ask(ready.server, name, **options)
    assert (answer.status, answer.finish_reason) == (200, "stop")
    assert answer.text.count("token ") == turn.deltas
    assert answer.text.replace("token ", "").strip("x") == ""
    assert len(answer.text) > turn.deltas * (turn.line_bytes - 1024)
    assert asking.recorded(ready.server, answer).kind == "completed"


def test_lines_that_come_byte_by_byte(ready: Standing) -> None:
    answer = asking.ask(ready.server, "split", **STREAMING)
    assert answer.text == expected("split")
    assert answer.usage is not None
    assert answer.usage["completion_tokens"] == 4


def test_garbage_is_said_and_skipped(ready: Standing) -> None:
    answer = asking.ask(ready.server, "garbage", **STREAMING)
    assert answer.text == expected("garbage")
    assert answer.finish_reason == "stop"
    asking.until(lambda: len(ready.said("undecodable_line")) >= len(GARBAGE))
    assert len(ready.said("undecodable_line")) == len(GARBAGE)


def test_a_flood_on_stderr_is_drained_and_bounded(ready: Standing) -> None:
    began = time.monotonic()
    answer = asking.ask(ready.server, "stderr", **STREAMING)
    assert answer.text == expected("stderr")
    seconds = time.monotonic() - began + 1
    asking.until(lambda: bool(ready.said("worker_stderr")))
    lines = ready.said("worker_stderr")
    assert len(lines) <= seconds * process.STDERR_LINES_A_SECOND
    assert "stand-in is worried" in lines[-1]["text"]


@pytest.mark.parametrize(("name", "rpc_id"), [("approval", 0), ("elicitation", 1)])
def test_what_a_worker_asks_is_refused_at_once(ready: Standing, name: str, rpc_id: int) -> None:
    began = time.monotonic()
    answer = asking.ask(ready.server, name, **STREAMING)
    assert time.monotonic() - began < 1
    assert (answer.text, answer.finish_reason) == (expected(name), "stop")
    refusals = [line for line in standin.received(ready.directory) if "error" in line]
    assert refusals[-1]["id"] == rpc_id
    assert refusals[-1]["error"]["code"] == -32601  # type: ignore[index]  # an error is an object


@pytest.mark.parametrize(
    ("name", "outline", "kind"),
    [
        ("exit", ["role", "content", "error"], "worker_lost"),
        ("exit_mid_line", ["role", "content", "error"], "worker_lost"),
        ("exit_whole", ["role", "content", "finish", "usage", "done"], "completed"),
    ],
)
def test_an_exit_in_a_turn(ready: Standing, name: str, outline: list[str], kind: str) -> None:
    began = time.monotonic()
    answer = asking.ask(ready.server, name, **STREAMING)
    assert time.monotonic() - began < 1
    assert answer.outline == outline
    assert answer.text == expected(name)
    assert asking.recorded(ready.server, answer).kind == kind
    if kind == "worker_lost":
        assert answer.error["code"] == "worker_exited"
    ready.server.wait_ready()
    assert asking.ask(ready.server, "hi").status == 200


def test_a_client_that_stops_reading_costs_only_its_own_stream(ready: Standing) -> None:
    with Asking(ready.server, "flood", stream=True) as stalled:
        stalled.next("content")
        beside = [asking.ask(ready.server, "hi", **STREAMING) for _ in range(20)]
        assert [answer.text for answer in beside] == [expected_default()] * 20
        asking.until(lambda: ready.server.get("/healthz")[1]["streams"] == 0)
        last = asking.left(ready.server, stalled.request_id)
    assert (last.kind, last.cause) == ("client_gone", "write_stall")
    happened = asking.story(ready.server, stalled.request_id)
    pressed = [event for event in happened if isinstance(event, events.BufferPressure)]
    assert pressed
    assert len(ready.received("turn/interrupt")) >= 1


def expected_default() -> str:
    """The text of a turn that nothing was said about."""
    return "token " * 8


# --- What a worker leaves undone ---


def test_a_whole_answer_does_not_wait_for_the_last_word(ready: Standing) -> None:
    before = len(ready.received("turn/interrupt"))
    with concurrent.futures.ThreadPoolExecutor() as pool:
        whole = pool.submit(asking.ask, ready.server, "endless")
        streamed = pool.submit(asking.ask, ready.server, "endless", **STREAMING)
        answers = [streamed.result(), whole.result()]
    assert answers[0].outline == ["role", "content", "finish", "usage", "done"]
    for answer in answers:
        assert (answer.text, answer.finish_reason) == (expected("endless"), "stop")
        last = asking.recorded(ready.server, answer)
        assert (last.kind, last.usage) == ("completed", None)
        assert last.duration_us < (attempt.STEP_GRACE_S + 1) * 1e6
    asking.until(lambda: len(ready.received("turn/interrupt")) == before + 2)


def test_an_answer_that_is_not_whole_fails_in_the_end() -> None:
    scenario = standin.Scenario(turn=OPEN)
    with standing(scenario, PROXY_STREAM_IDLE_TIMEOUT_MS="500") as up:
        answer = asking.ask(up.server, "hi", **STREAMING)
        assert answer.outline == ["role", "content", "error"]
        assert answer.error["code"] == "idle_timeout"
        asking.until(lambda: len(up.received("turn/interrupt")) == 1)


def test_a_process_that_ignores_an_interrupt_is_replaced() -> None:
    deaf = standin.Scenario(turns=TURNS, deaf=("turn/interrupt",))
    settings = {"WORKER_MAX_CONCURRENCY": "1", "WORKER_BACKOFF_INITIAL_MS": "50"}
    with standing(deaf, standin.Scenario(), **settings) as up:
        with Asking(up.server, "open", stream=True) as leaving:
            leaving.next("content")
        asking.until(lambda: up.server.get("/healthz")[1]["streams"] == 0, 1)
        assert asking.left(up.server, leaving.request_id).kind == "client_gone"
        asking.until(lambda: len(up.starts) == 2, attempt.INTERRUPT_GRACE_S + 2)
        up.server.wait_ready()
        for _ in range(3):
            assert asking.ask(up.server, "hi").text == expected_default()
        (line,) = [line for line in up.said("worker_lost") if line["reason"] != "asked to stop"]
        assert "turn/interrupt" in line["reason"]


@pytest.mark.parametrize("method", ["thread/start", "turn/start"])
def test_a_process_that_answers_no_more_is_replaced_and_the_turn_run_again(method: str) -> None:
    deaf = standin.Scenario(deaf=(method,))
    settings = {"WORKER_REQUEST_TIMEOUT_MS": "300", "WORKER_BACKOFF_INITIAL_MS": "50"}
    with standing(deaf, standin.Scenario(), **settings) as up:
        answer = asking.ask(up.server, "hi")
        assert (answer.status, answer.text) == (200, expected_default())
        assert len(up.starts) == 2
        assert asking.recorded(up.server, answer).kind == "completed"


@pytest.mark.parametrize(("overloads", "status"), [(2, 200), (3, 429)])
def test_an_overload_is_tried_again_and_then_told(overloads: int, status: int) -> None:
    with standing(standin.Scenario(overloads=overloads)) as up:
        answer = asking.ask(up.server, "hi")
        assert answer.status == status
        assert len(up.received("thread/start")) == 3
        asking.recorded(up.server, answer)
        if status == 429:
            assert answer.error["code"] == "worker_busy"
            assert answer.headers["retry-after"] == "1"
        happened = asking.story(up.server, answer.request_id)
        retries = [event for event in happened if isinstance(event, events.RetryScheduled)]
        assert [retry.attempt for retry in retries] == [1, 2]
        assert len(up.starts) == 1


def test_a_crash_turns_none_of_its_silent_turns_away() -> None:
    count = 40  # more than a queue holds
    mute = standin.Scenario(turn=standin.Turn(deltas=0, ending="silent"))
    with (
        standing(mute, standin.Scenario(), WORKER_BACKOFF_INITIAL_MS="1000") as up,
        concurrent.futures.ThreadPoolExecutor(count) as pool,
    ):
        asked = [pool.submit(asking.ask, up.server, "hi") for _ in range(count)]
        asking.until(lambda: len(up.received("turn/start")) == count)
        os.kill(up.starts[0], signal.SIGKILL)
        answers = [each.result() for each in asked]
        assert [answer.status for answer in answers] == [200] * count
        assert {answer.text for answer in answers} == {expected_default()}
        happened = asking.story(up.server, answers[0].request_id)
        (again,) = [event for event in happened if isinstance(event, events.RetryScheduled)]
        assert again.code == "worker_exited"


# --- How a worker starts ---


def test_an_old_version_is_refused_and_named() -> None:
    with started(standin.Scenario(version="0.162.9")) as up:
        asking.until(lambda: bool(up.said("worker_lost")))
        assert "codex 0.162.9 is older than 0.163.0" in up.said("worker_lost")[0]["reason"]
        assert up.server.get("/readyz")[0] == 503
        refused = asking.ask(up.server, "hi")
        assert (refused.status, refused.error["code"]) == (503, "worker_not_ready")
        assert len(up.starts) == 1


def test_a_newer_version_is_used_and_noted() -> None:
    with standing(standin.Scenario(version="1.0.0")) as up:
        assert asking.ask(up.server, "hi").status == 200
        (line,) = up.said("codex_newer_than_tested")
        assert line["version"] == "1.0.0"


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
        assert [line["reason"] for line in up.said("worker_lost")] == ["exited with code 3"] * 6
        assert asking.ask(up.server, "hi").status == 200


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
        assert up.said("worker_lost")[0]["reason"] == "handshake timed out"


# --- More work than there are places ---


def test_turns_go_to_the_process_with_the_fewest() -> None:
    with (
        standing(standin.Scenario(turn=OPEN), WORKER_COUNT="2") as up,
        contextlib.ExitStack() as stack,
    ):
        asking.until(lambda: len(up.said("worker_state")) >= 6)
        live = []
        threads = []
        for _ in range(4):
            live.append(stack.enter_context(Asking(up.server, "hi", **STREAMING)))
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
        happened = asking.story(up.server, request_id)
        found.extend(e.thread_id for e in happened if isinstance(e, events.TurnStarted))
        return bool(found)

    asking.until(is_known)
    return found[0]


def ended_within_a_second(up: Standing, asked_for: Asking) -> bool:
    """Whether a request ends by itself."""
    with contextlib.suppress(AssertionError):
        asking.until(lambda: asking.has_ended(up.server, asked_for.request_id), 1)
        return True
    return False


def test_a_queue_of_sixteen_that_waits_a_quarter_of_a_second() -> None:
    scenario = standin.Scenario(turns=TURNS)
    with (
        standing(scenario, WORKER_MAX_CONCURRENCY="1") as up,
        Asking(up.server, "open", stream=True) as live,
        concurrent.futures.ThreadPoolExecutor(17) as pool,
    ):
        live.next("content")
        answers = list(pool.map(lambda _: asking.ask(up.server, "hi"), range(17)))
        assert {(answer.status, answer.error["code"]) for answer in answers} == {
            (429, "worker_busy")
        }
        assert {answer.headers["retry-after"] for answer in answers} == {"1"}
        waited = sorted(asking.recorded(up.server, each).duration_us for each in answers)
        assert waited[0] < 200_000
        # The loop's timers are a millisecond coarse.
        assert 249_000 <= waited[1] <= waited[-1] < 500_000


def test_a_place_that_becomes_free_goes_to_who_waits() -> None:
    short = standin.Turn(deltas=4, interval=0.03)
    with (
        standing(standin.Scenario(turn=short), WORKER_MAX_CONCURRENCY="1") as up,
        concurrent.futures.ThreadPoolExecutor(2) as pool,
    ):
        answers = list(pool.map(lambda _: asking.ask(up.server, "hi"), range(2)))
        assert [answer.text for answer in answers] == ["token " * 4] * 2


def test_more_streams_than_permits_are_refused_every_time() -> None:
    scenario = standin.Scenario(turns=TURNS)
    with standing(scenario, PROXY_SSE_MAX_CONCURRENCY="1") as up:
        with Asking(up.server, "open", stream=True) as live:
            live.next("content")
            for _ in range(20):
                began = time.monotonic()
                refused = asking.ask(up.server, "hi", stream=True)
                assert time.monotonic() - began < 0.2
                assert (refused.status, refused.error["code"]) == (429, "concurrency_exceeded")
                assert refused.headers["retry-after"] == "1"
                assert asking.recorded(up.server, refused).kind == "rejected"
            assert asking.ask(up.server, "hi").status == 200
        asking.until(lambda: up.server.get("/healthz")[1]["streams"] == 0, 1)
        assert asking.ask(up.server, "hi", stream=True).status == 200
        assert asking.ask(up.server, "hi", stream=True, n=2).status == 429


def test_a_turn_that_is_whole_is_released_and_not_interrupted() -> None:
    with standing() as up:
        for options in ({}, STREAMING):
            assert asking.ask(up.server, "hi", **options).status == 200
        asking.until(lambda: len(up.received("thread/unsubscribe")) == 2)
        assert up.received("turn/interrupt") == []


def test_a_schema_that_no_line_can_hold_is_refused_and_costs_no_place() -> None:
    schema: Any = {}
    for _ in range(150):
        schema = {"properties": schema}
    wanted = {"type": "json_schema", "json_schema": {"name": "deep", "schema": schema}}
    with standing(WORKER_MAX_CONCURRENCY="1") as up:
        for options in ({}, STREAMING):
            refused = asking.ask(up.server, "hi", response_format=wanted, **options)
            assert refused.status == 400
            assert refused.error["param"] == "response_format.json_schema.schema"
        assert asking.ask(up.server, "hi").status == 200
