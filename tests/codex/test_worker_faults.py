"""What a client gets when Codex dies, when time runs out, when it leaves itself, when we stop.

Faults 4, 5, 7, 8, 17, 33 and 38, on the real binary.
"""

import concurrent.futures
import datetime
import itertools
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from machines import events
from tests import asking, replies, serving
from tests.asking import Asking
from tests.provider import Provider, Request
from tests.replies import Gate, Held, HttpError, Message, Stream

pytestmark = pytest.mark.codex

SECOND = 1.0
"""How long anything may take that follows from a death or a leaving."""

HELLO = Stream((Message(("Hello", " world")),))

STREAMING: dict[str, Any] = {"stream": True, "stream_options": {"include_usage": True}}


class Plan:
    """What the provider answers in the test at hand: one answer for each prompt, then `HELLO`.

    Every request has a prompt of its own, so that it is found among those of other tests.
    """

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._answers: dict[str, list[replies.Answer]] = {}

    def prompt(self, *answers: replies.Answer) -> str:
        """A new prompt, and what the first requests with it get."""
        text = f"prompt {next(self._numbers)}"
        self._answers[text] = list(answers)
        return text

    def __call__(self, request: Request) -> replies.Answer:
        answers = self._answers.get(request.prompt)
        return answers.pop(0) if answers else HELLO


@pytest.fixture(scope="module")
def plan() -> Plan:
    return Plan()


@pytest.fixture(scope="module")
def provider(plan: Plan) -> Iterator[Provider]:
    with Provider(plan) as provider:
        yield provider


def asked(provider: Provider, prompt: str, count: int = 1) -> Request:
    """The `count`-th request with a prompt, once it has come."""
    deadline = time.monotonic() + asking.WAIT_S
    seen = len(provider.requests)
    while True:
        found = [request for request in provider.requests if request.prompt == prompt]
        if len(found) >= count:
            return found[count - 1]
        seen = max(seen, len(provider.requests))
        provider.wait_for(seen + 1, deadline - time.monotonic())


def said(server: serving.Serve, trigger: str) -> list[dict[str, Any]]:
    """The lines of a worker's transitions by one event."""
    return [line for line in server.lines if line.get("trigger") == trigger]


def codex_pid(server: serving.Serve) -> int:
    """The process that is Codex now."""
    return int(said(server, "spawned")[-1]["pid"])


def kill_codex(server: serving.Serve) -> float:
    """Kill Codex as nothing can be caught; when that was."""
    os.kill(codex_pid(server), signal.SIGKILL)
    return time.monotonic()


def wait_until_not_ready(server: serving.Serve) -> None:
    """Wait until `/readyz` says no."""
    asking.until(lambda: server.get("/readyz")[0] == 503, SECOND)


def prompt_of_output(plan: Plan) -> str:
    """A prompt whose answer has some text and no end."""
    return plan.prompt(Stream((Message(("so far", Gate())),)))


# --- Codex is killed ---


@pytest.fixture(scope="module")
def mortal(provider: Provider) -> Iterator[serving.Serve]:
    """A server whose Codex comes back soon."""
    settings = {"WORKER_BACKOFF_INITIAL_MS": "100", "WORKER_BACKOFF_MAX_MS": "300"}
    with serving.codex(provider.url, **settings) as server:
        yield server
        asking.audit(server, f":{provider.port}")


@pytest.fixture
def killed(mortal: serving.Serve) -> serving.Serve:
    mortal.wait_ready()
    return mortal


def test_every_stream_of_a_killed_process_ends_at_once(killed: serving.Serve, plan: Plan) -> None:
    prompts = [plan.prompt(Stream((Message(("so ", "far", Gate())),))) for _ in range(5)]
    open_streams = [Asking(killed, prompt, **STREAMING) for prompt in prompts]
    for each in open_streams:
        each.next("content")
    when = kill_codex(killed)
    answers = [each.answer() for each in open_streams]
    assert time.monotonic() - when < SECOND
    for answer in answers:
        assert answer.outline == ["role", "content", "error"]
        assert "so far".startswith(answer.text)
        assert (answer.error["type"], answer.error["code"]) == ("server_error", "worker_exited")
        last = asking.recorded(killed, answer)
        assert (last.kind, last.usage) == ("worker_lost", None)


def test_a_whole_answer_of_a_killed_process_is_a_503(killed: serving.Serve, plan: Plan) -> None:
    with Asking(killed, prompt_of_output(plan)) as asked_for:
        asking.wait_for_text(killed, asked_for.request_id, "so far")
        when = kill_codex(killed)
        answer = asked_for.answer()
    assert time.monotonic() - when < SECOND
    assert (answer.status, answer.error["code"]) == (503, "worker_exited")
    assert answer.headers["retry-after"] == "1"
    assert asking.recorded(killed, answer).kind == "worker_lost"


@pytest.mark.parametrize("options", [{}, STREAMING])
def test_a_turn_without_a_byte_runs_again_on_a_fresh_process(
    killed: serving.Serve, provider: Provider, plan: Plan, options: dict[str, Any]
) -> None:
    prompt = plan.prompt(Held(Gate()))
    with Asking(killed, prompt, **options) as asked_for:
        asked(provider, prompt)
        before = codex_pid(killed)
        kill_codex(killed)
        answer = asked_for.answer()
    assert (answer.status, answer.text) == (200, "Hello world")
    assert codex_pid(killed) != before
    last = asking.recorded(killed, answer)
    assert (last.kind, last.finish_reasons) == ("completed", ("stop",))
    assert asked(provider, prompt, count=2).answered.wait(SECOND)


@pytest.mark.parametrize("options", [{}, STREAMING])
def test_a_whole_item_is_an_answer_though_its_process_was_killed(
    killed: serving.Serve, plan: Plan, options: dict[str, Any]
) -> None:
    prompt = plan.prompt(Stream((Message(("so ", "far")), Gate(), Message(("!",)))))
    with Asking(killed, prompt, **options) as asked_for:
        asking.wait_for_text(killed, asked_for.request_id, "so far")
        # The item's own end is no event: after a whole turn of another's it has come, too.
        assert asking.ask(killed, "hi").text == "Hello world"
        when = kill_codex(killed)
        answer = asked_for.answer()
    assert time.monotonic() - when < SECOND
    assert (answer.status, answer.text, answer.finish_reason) == (200, "so far", "stop")
    last = asking.recorded(killed, answer)
    assert (last.kind, last.usage) == ("completed", None)


def test_readiness_and_refusals_while_there_is_no_process(killed: serving.Serve) -> None:
    kill_codex(killed)
    wait_until_not_ready(killed)
    refused = asking.ask(killed, "hi", stream=True)
    assert (refused.status, refused.error["code"]) == (503, "worker_not_ready")
    assert refused.headers["retry-after"] == "1"
    assert asking.recorded(killed, refused).kind == "rejected"
    assert killed.get("/livez")[0] == 200
    status, health = killed.get("/healthz")
    assert (status, health["status"]) == (200, "degraded")
    assert health["worker"]["state"] in ("backoff", "failed")
    killed.wait_ready()
    assert asking.ask(killed, "hi").text == "Hello world"


def test_a_lost_worker_may_end_an_answer_as_length(provider: Provider, plan: Plan) -> None:
    with serving.codex(provider.url, PROXY_WORKER_EXIT="length") as server:
        with (
            Asking(server, prompt_of_output(plan)) as whole,
            Asking(server, prompt_of_output(plan), **STREAMING) as streamed,
        ):
            for each in (whole, streamed):
                asking.wait_for_text(server, each.request_id, "so far")
            when = kill_codex(server)
            answers = [streamed.answer(), whole.answer()]
        assert time.monotonic() - when < SECOND
        assert answers[0].outline == ["role", "content", "finish", "usage", "done"]
        for answer in answers:
            assert (answer.status, answer.text, answer.finish_reason) == (200, "so far", "length")
            assert asking.recorded(server, answer).kind == "truncated"
        asking.audit(server)


def test_restarts_are_further_and_further_apart(provider: Provider) -> None:
    settings = {"WORKER_BACKOFF_INITIAL_MS": "150", "WORKER_BACKOFF_MAX_MS": "600"}
    with serving.codex(provider.url, **settings) as server:
        for _ in range(4):
            kill_codex(server)
            wait_until_not_ready(server)
            server.wait_ready()
        exits, restarts = said(server, "exited"), said(server, "backoff_elapsed")
        pauses = [
            (moment(restart) - moment(end)).total_seconds()
            for end, restart in zip(exits, restarts, strict=True)
        ]
        for pause, least in zip(pauses, (0.15, 0.3, 0.6, 0.6), strict=True):
            assert least - 0.01 <= pause < least + 0.5
        assert asking.ask(server, "hi").text == "Hello world"
        asking.audit(server)


def moment(line: dict[str, Any]) -> datetime.datetime:
    """When a line was written."""
    return datetime.datetime.fromisoformat(line["timestamp"])


# --- The client leaves ---


@pytest.fixture(scope="module")
def narrow(provider: Provider) -> Iterator[serving.Serve]:
    """A server of one turn at a time: a seat that is not given back is missed at once."""
    with serving.codex(provider.url, WORKER_MAX_CONCURRENCY="1") as server:
        yield server
        asking.audit(server, f":{provider.port}")


@pytest.mark.parametrize("options", [{}, STREAMING])
def test_a_client_that_leaves_before_the_head_stops_the_provider(
    narrow: serving.Serve, provider: Provider, plan: Plan, options: dict[str, Any]
) -> None:
    prompt = plan.prompt(Held(Gate()))
    with Asking(narrow, prompt, **options) as leaving:
        request = asked(provider, prompt)
    assert request.left.wait(SECOND)
    assert_left(narrow, leaving, frames=0)
    assert [each.prompt for each in provider.requests].count(prompt) == 1


def test_a_client_that_leaves_mid_stream_stops_the_provider(
    narrow: serving.Serve, provider: Provider, plan: Plan
) -> None:
    prompt = plan.prompt(Stream((Message(("so far", Gate())),)))
    with Asking(narrow, prompt, **STREAMING) as leaving:
        leaving.next("content")
        request = asked(provider, prompt)
        assert not request.left.is_set()
    assert request.left.wait(SECOND)
    assert_left(narrow, leaving, frames=2)


def assert_left(server: serving.Serve, leaving: Asking, frames: int) -> None:
    """The stream is over, once, and its place is free at once."""
    assert asking.ask(server, "hi").text == "Hello world"
    assert server.get("/healthz")[1]["streams"] == 0
    last = asking.left(server, leaving.request_id)
    assert (last.kind, last.cause, last.frames) == ("client_gone", "left", frames)
    assert last.duration_us < 5_000_000


def test_a_client_may_leave_at_any_moment(
    mortal: serving.Serve, provider: Provider, plan: Plan
) -> None:
    mortal.wait_ready()
    prompts = [plan.prompt(Stream((Message(("so far", Gate())),))) for _ in range(100)]
    leaving = []
    for index, prompt in enumerate(prompts):
        with Asking(mortal, prompt, stream=True) as each:
            threading.Event().wait(index * 0.0005)
        leaving.append(each)
    for request in provider.requests:
        assert request.prompt not in prompts or request.left.wait(SECOND)
    assert asking.ask(mortal, "hi").text == "Hello world"
    for each in leaving[::10]:
        assert asking.left(mortal, each.request_id).kind == "client_gone"


def test_leaving_leaves_nothing_behind(
    mortal: serving.Serve, provider: Provider, plan: Plan
) -> None:
    mortal.wait_ready()
    files = Path(f"/proc/{mortal.process.pid}/fd")

    def leave(prompt: str) -> None:
        with Asking(mortal, prompt, stream=True) as leaving:
            leaving.next("content")

    def count() -> int:
        return len(list(files.iterdir()))

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        list(pool.map(leave, [prompt_of_output(plan) for _ in range(32)]))
        asking.until(lambda: mortal.get("/healthz")[1]["streams"] == 0, SECOND)
        before = count()
        list(pool.map(leave, [prompt_of_output(plan) for _ in range(160)]))
    asking.until(lambda: mortal.get("/healthz")[1]["streams"] == 0, SECOND)
    asking.until(lambda: count() <= before, SECOND)


# --- Time runs out ---


@pytest.fixture(scope="module")
def patient(provider: Provider) -> Iterator[serving.Serve]:
    """A server that sends the head early, and whose limits come after it."""
    settings = {
        "PROXY_HEAD_HOLD_MS": "200",
        "PROXY_SSE_KEEPALIVE_MS": "100",
        "PROXY_STREAM_IDLE_TIMEOUT_MS": "700",
        "PROXY_FIRST_CHUNK_TIMEOUT_MS": "1500",
    }
    with serving.codex(provider.url, **settings) as server:
        yield server
        asking.audit(server, f":{provider.port}")


def test_heartbeats_until_the_answer_comes(patient: serving.Serve, plan: Plan) -> None:
    gate = Gate()
    prompt = plan.prompt(Held(gate, HELLO))
    with Asking(patient, prompt, **STREAMING) as waiting:
        assert waiting.head.status == 200
        for _ in range(3):
            assert waiting.next("comment").value == "keepalive"
        gate.open()
        answer = waiting.answer()
    kinds = [frame.kind for frame in answer.frames]
    first = kinds.index("role")
    assert kinds[:first] == ["comment"] * first
    assert kinds[first:] == ["role", "content", "content", "finish", "usage", "done"]
    assert asking.recorded(patient, answer).kind == "completed"


def test_a_failure_after_the_head_is_an_error_frame(patient: serving.Serve, plan: Plan) -> None:
    gate = Gate()
    refusal = HttpError(400, {"error": {"message": "No.", "code": "bad"}})
    with Asking(patient, plan.prompt(Held(gate, refusal)), **STREAMING) as waiting:
        waiting.next("comment")
        gate.open()
        answer = waiting.answer()
    assert (answer.status, answer.outline) == (200, ["error"])
    assert (answer.error["message"], answer.error["code"]) == ("No.", "bad")
    assert asking.recorded(patient, answer).kind == "upstream_error"


def test_a_stall_fails_the_stream_whatever_the_heartbeats(
    patient: serving.Serve, provider: Provider, plan: Plan
) -> None:
    prompt = prompt_of_output(plan)
    answer = asking.ask(patient, prompt, **STREAMING)
    assert answer.outline == ["role", "content", "error"]
    assert (answer.text, answer.error["code"]) == ("so far", "idle_timeout")
    assert answer.comments.count("keepalive") >= 3
    assert asked(provider, prompt).left.wait(SECOND)
    assert asking.recorded(patient, answer).kind == "timeout"


def test_a_stall_of_a_whole_answer_is_a_504(patient: serving.Serve, plan: Plan) -> None:
    answer = asking.ask(patient, prompt_of_output(plan))
    assert (answer.status, answer.error["code"]) == (504, "idle_timeout")
    assert asking.recorded(patient, answer).kind == "timeout"


def test_no_output_after_the_head_is_an_error_frame(
    patient: serving.Serve, provider: Provider, plan: Plan
) -> None:
    prompt = plan.prompt(Held(Gate()))
    answer = asking.ask(patient, prompt, **STREAMING)
    assert (answer.status, answer.outline) == (200, ["error"])
    assert answer.error["code"] == "request_timeout"
    assert asked(provider, prompt).left.wait(SECOND)
    assert asking.recorded(patient, answer).kind == "timeout"


def test_without_heartbeats_the_head_waits_for_output(patient: serving.Serve, plan: Plan) -> None:
    prompt = plan.prompt(Held(Gate()))
    answer = asking.ask(patient, prompt, {"x-no-keepalive": "1"}, **STREAMING)
    assert (answer.status, answer.error["code"]) == (504, "request_timeout")


@pytest.fixture(scope="module")
def hasty(provider: Provider) -> Iterator[serving.Serve]:
    """A server whose first-chunk limit is shorter than its hold, and that truncates."""
    settings = {
        "PROXY_FIRST_CHUNK_TIMEOUT_MS": "500",
        "PROXY_NONSTREAM_TRUNCATE_AFTER_MS": "900",
    }
    with serving.codex(provider.url, **settings) as server:
        yield server
        asking.audit(server, f":{provider.port}")


@pytest.mark.parametrize("options", [{}, STREAMING])
def test_no_output_in_time_is_a_504(
    hasty: serving.Serve, provider: Provider, plan: Plan, options: dict[str, Any]
) -> None:
    prompt = plan.prompt(Held(Gate()))
    answer = asking.ask(hasty, prompt, **options)
    assert (answer.status, answer.error["code"]) == (504, "request_timeout")
    assert answer.headers["x-should-retry"] == "false"
    assert asked(provider, prompt).left.wait(SECOND)
    assert asking.recorded(hasty, answer).kind == "timeout"


def test_a_whole_answer_that_takes_too_long_is_cut(
    hasty: serving.Serve, provider: Provider, plan: Plan
) -> None:
    prompt = prompt_of_output(plan)
    answer = asking.ask(hasty, prompt)
    assert (answer.status, answer.text, answer.finish_reason) == (200, "so far", "length")
    assert answer.headers["x-turntape-usage"] == "unknown"
    assert asked(provider, prompt).left.wait(SECOND)
    assert asking.recorded(hasty, answer).kind == "truncated"


def test_a_stream_is_not_cut_by_the_limit_of_whole_answers(
    hasty: serving.Serve, plan: Plan
) -> None:
    slow = Stream((Message(("so far",) * 20),), delay=0.05)
    answer = asking.ask(hasty, plan.prompt(slow), **STREAMING)
    assert (answer.text, answer.finish_reason) == ("so far" * 20, "stop")


def test_the_limit_of_a_whole_request(provider: Provider, plan: Plan) -> None:
    with serving.codex(provider.url, PROXY_TIMEOUT_MS="500") as server:
        text = Stream((Message(("so far", Gate())),))
        prompts = [plan.prompt(answer) for answer in (Held(Gate()), text, text)]
        with concurrent.futures.ThreadPoolExecutor() as pool:
            silent = pool.submit(asking.ask, server, prompts[0], **STREAMING)
            streamed = pool.submit(asking.ask, server, prompts[1], **STREAMING)
            whole = pool.submit(asking.ask, server, prompts[2])
        assert (silent.result().status, whole.result().status) == (504, 504)
        assert streamed.result().outline == ["role", "content", "error"]
        for answer in (silent.result(), streamed.result(), whole.result()):
            assert answer.error["code"] == "request_timeout"
            assert asking.recorded(server, answer).kind == "timeout"
        for prompt in prompts:
            assert asked(provider, prompt).left.wait(SECOND)
        asking.audit(server)


# --- The server stops ---


def test_a_drain_lets_streams_finish_and_nobody_in(provider: Provider, plan: Plan) -> None:
    gate = Gate()
    prompt = plan.prompt(Stream((Message(("so ", gate, "far")),)))
    with serving.codex(provider.url) as server:
        where = urllib.parse.urlsplit(server.url)
        with (
            Asking(server, prompt, **STREAMING) as live,
            socket.create_connection((where.hostname, where.port), timeout=10) as late,
        ):
            live.next("content")
            late.sendall(b"GET /readyz HTTP/1.1\r\nhost: localhost\r\n")
            wait_for_head(server)
            server.process.send_signal(signal.SIGTERM)
            wait_for_line(server, "lifecycle", state="draining")
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection((where.hostname, where.port), timeout=10)
            late.sendall(b"\r\n")
            with late.makefile("rb") as said_last:
                head = said_last.read().partition(b"\r\n\r\n")[0].lower()
            assert head.startswith(b"http/1.1 503 ")
            assert b"\r\nconnection: close" in head
            gate.open()
            answer = live.answer()
        assert answer.outline == ["role", "content", "finish", "usage", "done"]
        assert answer.text == "so far"
        assert server.process.wait(timeout=10) == 0
        assert asking.recorded(server, answer).kind == "completed"
        asking.audit(server)


def wait_for_head(server: serving.Serve) -> None:
    """Wait until what was sent on another connection has been read: the server has one thread."""
    assert server.get("/livez")[0] == 200


def wait_for_line(server: serving.Serve, event: str, **fields: Any) -> None:
    """Wait until the server has said something."""
    wanted = {"event": event, **fields}.items()
    asking.until(lambda: any(wanted <= line.items() for line in list(server.lines)))


def test_the_deadline_of_a_drain_ends_streams(provider: Provider, plan: Plan) -> None:
    prompts = [prompt_of_output(plan), plan.prompt(Held(Gate())), prompt_of_output(plan)]
    with serving.codex(provider.url, PROXY_DRAIN_TIMEOUT_MS="300") as server:
        with (
            Asking(server, prompts[0], **STREAMING) as live,
            Asking(server, prompts[1], **STREAMING) as held,
            Asking(server, prompts[2]) as whole,
        ):
            live.next("content")
            for prompt in prompts[1:]:
                asked(provider, prompt)
            server.process.send_signal(signal.SIGTERM)
            answers = [live.answer(), held.answer(), whole.answer()]
        assert answers[0].outline == ["role", "content", "error"]
        assert [answer.status for answer in answers] == [200, 503, 503]
        for answer in answers:
            assert answer.error["code"] == "server_shutdown"
            assert asking.recorded(server, answer).kind == "shutdown"
        assert server.process.wait(timeout=10) == 0
        for prompt in prompts:
            assert asked(provider, prompt).left.wait(SECOND)
        asking.audit(server)


def test_the_next_start_closes_what_a_killed_server_left_open(
    provider: Provider, plan: Plan, tmp_path: Path
) -> None:
    settings = {"PROXY_CODEX_BASE_URL": provider.url, "PROXY_CODEX_API_KEY": "sk-test"}
    prompts = [prompt_of_output(plan), plan.prompt(Held(Gate()))]
    with (
        serving.running(data_dir=tmp_path, **settings) as server,
        Asking(server, prompts[0], stream=True) as live,
        Asking(server, prompts[1], stream=True) as held,
    ):
        live.next("content")
        asked(provider, prompts[1])
        server.stop(signal.SIGKILL)
        assert asked(provider, prompts[0]).left.wait(SECOND)
        asking.until(lambda: not is_alive(codex_pid(server)))
        for each in (live, held):
            happened = asking.story(server, each.request_id)
            assert not any(isinstance(event, events.Terminal) for event in happened)
    for _ in range(2):
        with serving.running(data_dir=tmp_path, **settings) as server:
            assert asking.ask(server, "hi").text == "Hello world"
            assert server.stop() == 0
    for each, status in ((live, 200), (held, 0)):
        happened = asking.story(server, each.request_id)
        (end,) = [event for event in happened if isinstance(event, events.Terminal)]
        assert (end.kind, end.emission_trigger, end.status) == ("shutdown", "recovery", status)
    assert server.replay().returncode == 0


def is_alive(pid: int) -> bool:
    """Whether a process runs: one that nobody has waited for does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def test_a_second_server_on_the_same_log_is_refused(provider: Provider, tmp_path: Path) -> None:
    settings = {"PROXY_CODEX_BASE_URL": provider.url, "PROXY_CODEX_API_KEY": "sk-test"}
    with serving.running(data_dir=tmp_path, **settings) as server:
        second = subprocess.run(
            (sys.executable, "-m", "server", "serve", "--port", "0"),
            cwd=serving.ROOT,
            env={**os.environ, "PROXY_DATA_DIR": str(tmp_path), **settings},
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert second.returncode == 1
        assert second.stdout == ""
        (message,) = second.stderr.splitlines()
        assert str(tmp_path / "log") in message
        assert str(server.process.pid) in message
        assert asking.ask(server, "hi").text == "Hello world"
        asking.audit(server)
