"""Probes, metrics, diagnostics and the service manager say the same of a server, whatever it is
going through: its state, and the reason for it."""

import contextlib
import json
import os
import re
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import prometheus_client.parser

from bench import standin
from engine.upstream.worker import Reach
from machines import lifecycle, supervisor
from server import readiness
from server.readiness import Reason
from tests.faults import observed
from tests.server.plain import ask
from tests.support.client import httpclient
from tests.support.logs import linecheck
from tests.support.process import machinetime, serving
from tests.support.providers import scripted, upstreams

LIMIT_S = 5.0
"""Within so many of the machine's seconds everyone knows of a change."""

ADMIN = "admin-1234567890"
QUICK = {
    "WORKER_BACKOFF_INITIAL_MS": "50",
    "WORKER_BACKOFF_MAX_MS": "50",
    "PROXY_ADMIN_KEY": ADMIN,
}


class Said(NamedTuple):
    """What everyone says of a server at one time."""

    readyz: tuple[int, str]
    healthz: tuple[bool, str]
    worker: str
    metric: str
    metric_lifecycle: str
    lifecycle: str
    line: tuple[bool, str]
    line_worker: str
    manager: str


class Watched:
    """A server on a real process, and a service manager that it tells how it is."""

    def __init__(self, server: serving.Serve, notified: socket.socket) -> None:
        self.server = server
        self._notified = notified
        self._status = ""

    def said(self) -> Said:
        """Ask everyone once."""
        status, ready = self.server.get("/readyz")
        health = self.server.get("/healthz")[1]
        lines = self.lines("readiness_changed")
        nothing: dict[str, Any] = {"ready": False, "reason": "", "worker_state": ""}
        last = lines[-1] if lines else nothing
        return Said(
            (status, ready.get("reason", "ready")),
            (health["ready"], health["reason"]),
            health["worker"]["state"],
            self._metric("turntape_readiness", "reason"),
            self._metric("turntape_lifecycle_state", "state"),
            health["state"],
            (last["ready"], last["reason"]),
            last["worker_state"],
            self.manager().partition(";")[0],
        )

    def agrees(self, reason: Reason) -> bool:
        """Whether everyone gives this reason, and what belongs to it."""
        said, is_ready = self.said(), reason is Reason.READY
        expected = (is_ready, reason.value)
        return (
            said.readyz == (200 if is_ready else 503, reason.value)
            and said.healthz == said.line == expected
            and said.metric == said.manager == reason.value
            and said.lifecycle == said.metric_lifecycle
            and readiness.OF_WORKER.get(said.worker) == readiness.OF_WORKER.get(said.line_worker)
        )

    def becomes(self, reason: Reason) -> None:
        """Wait until everyone gives this reason."""
        try:
            machinetime.until(lambda: self.agrees(reason), LIMIT_S)
        except AssertionError:
            raise AssertionError(f"{reason}: {self.said()}") from None

    def lines(self, event: str) -> list[dict[str, Any]]:
        return [line for line in list(self.server.lines) if line.get("event") == event]

    def codex(self) -> int:
        """The id of the Codex process."""
        return int([x for x in self.lines("worker_state") if x["trigger"] == "spawned"][-1]["pid"])

    def _metric(self, name: str, label: str) -> str:
        """The label of the one sample that is 1."""
        body = ask(self.server, "GET", "/metrics").body.decode()
        families = prometheus_client.parser.text_string_to_metric_families(body)
        samples = [each for family in families for each in family.samples if each.name == name]
        (label_of_it,) = [each.labels[label] for each in samples if each.value == 1]
        return label_of_it

    def manager(self) -> str:
        with contextlib.suppress(BlockingIOError):
            while True:
                for line in self._notified.recv(4096).decode().split("\n"):
                    if line.startswith("STATUS="):
                        self._status = line.removeprefix("STATUS=")
        return self._status


@contextlib.contextmanager
def watched(tmp_path: Path, *arguments: str, **environ: str) -> Iterator[Watched]:
    """A server that has begun to listen; at its end its lines were as they should be."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified:
        notified.bind(str(tmp_path / "notify"))
        notified.setblocking(False)
        settings = {**QUICK, "NOTIFY_SOCKET": str(tmp_path / "notify"), **environ}
        server = serving.Serve(tmp_path / "data", arguments, settings)
        try:
            yield Watched(server, notified)
        finally:
            server.stop(signal.SIGKILL)
    assert linecheck.unlike(server.lines) == []
    words = {each.value for each in Reason}
    assert {line["reason"] for line in server.lines if _is_of_readiness(line)} <= words


def _is_of_readiness(line: dict[str, Any]) -> bool:
    return line.get("event") == "readiness_changed"


@contextlib.contextmanager
def codex(tmp_path: Path, *scenarios: standin.Scenario, **environ: str) -> Iterator[Watched]:
    """A server on a stand-in for Codex."""
    program = standin.install(tmp_path, *scenarios)
    with watched(tmp_path, CODEX_BIN=str(program), **environ) as server:
        yield server


def test_a_crash(tmp_path: Path) -> None:
    """Found while the next process is held up, so that there is time to ask everyone."""
    environ = {"WORKER_BACKOFF_INITIAL_MS": "300000", "WORKER_BACKOFF_MAX_MS": "600000"}
    with codex(tmp_path, **environ) as server:
        server.becomes(Reason.READY)
        os.kill(server.codex(), signal.SIGKILL)
        server.becomes(Reason.WORKER_RESTARTING)
        (lost,) = server.lines("worker_lost")
        assert lost["worker_state"] == server.said().worker == supervisor.BACKOFF


def test_a_slow_start(tmp_path: Path) -> None:
    slow = standin.Scenario(handshake_delay=600)
    with codex(tmp_path, slow, WORKER_HANDSHAKE_TIMEOUT_MS="600000") as server:
        server.becomes(Reason.WORKER_STARTING)
        assert server.said().worker == supervisor.HANDSHAKE


def test_a_hang(tmp_path: Path) -> None:
    with codex(tmp_path, WORKER_HANG_TIMEOUT_MS="600000") as server:
        server.becomes(Reason.READY)
        os.kill(server.codex(), signal.SIGSTOP)
        # A ping is sent every 1.5 s, and waited for 3 s.
        machinetime.until(lambda: server.said().worker == supervisor.UNRESPONSIVE, 10)
        server.becomes(Reason.WORKER_UNRESPONSIVE)
        os.kill(server.codex(), signal.SIGCONT)
        server.becomes(Reason.READY)


def test_a_logout(tmp_path: Path) -> None:
    with codex(tmp_path, standin.Scenario(logged_out=True)) as server:
        server.becomes(Reason.WORKER_LOGGED_OUT)
        (line,) = server.lines("codex_logged_out")
        assert line["worker_state"] == server.said().worker == "logged_out"


def test_a_restart(tmp_path: Path) -> None:
    with codex(tmp_path) as server:
        server.becomes(Reason.READY)
        os.kill(server.codex(), signal.SIGKILL)
        machinetime.until(lambda: len(standin.starts(tmp_path)) == 2)
        server.becomes(Reason.READY)
        scrape = ask(server.server, "GET", "/metrics").body.decode()
        assert re.search(r"(?m)^turntape_worker_restarts_total.* 1\.0$", scrape)
        (process,) = server.server.get("/healthz")[1]["processes"]
        assert process["restarts"] == len(server.lines("worker_lost")) == 1


def test_a_crash_loop(tmp_path: Path) -> None:
    with codex(
        tmp_path,
        standin.Scenario(exits_at_once=3),
        WORKER_BACKOFF_INITIAL_MS="500",
        WORKER_BACKOFF_MAX_MS="4000",
    ) as server:
        # Pauses of 0.5, 1 and 2 s, and then the longest, again and again.
        machinetime.until(lambda: len(server.lines("worker_lost")) > 3)
        server.becomes(Reason.WORKER_FAILED)
        assert not any(line["ready"] for line in server.lines("readiness_changed"))


def test_a_process_that_cannot_be_started(tmp_path: Path) -> None:
    with codex(tmp_path, WORKER_BACKOFF_MAX_MS="600000") as server:
        server.becomes(Reason.READY)
        (tmp_path / "codex").unlink()
        os.kill(server.codex(), signal.SIGKILL)
        server.becomes(Reason.WORKER_FAILED)


def test_a_drain(tmp_path: Path) -> None:
    gate = scripted.Gate()
    hello = upstreams.framed(upstreams.sse(upstreams.chunk("Hello")))
    rest = upstreams.sse(upstreams.chunk(finish="stop")) + upstreams.DONE
    answer: upstreams.Answer = [
        upstreams.STREAM_HEAD + hello,
        gate,
        upstreams.framed(rest) + upstreams.LAST,
    ]
    body = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "stream": True}
    with (
        upstreams.Hosted([answer]) as upstream,
        watched(
            tmp_path,
            "--worker",
            "upstream",
            PROXY_UPSTREAM_URL=upstream.url,
            PROXY_DRAIN_DELAY_MS="600000",
        ) as server,
    ):
        server.becomes(Reason.READY)
        with httpclient.begin(server.server.url, "POST", "/chat/completions", body) as asked:
            asked.until(b"Hello")
            server.server.process.send_signal(signal.SIGTERM)
            # The listener serves on through the delay, so that everyone can be asked.
            server.becomes(Reason.LEAVING)
            assert server.said().lifecycle == lifecycle.LEAVING
            server.server.process.send_signal(signal.SIGTERM)
            machinetime.until(lambda: _last(server) == (False, Reason.DRAINING.value), LIMIT_S)
            machinetime.until(lambda: server.manager().startswith("draining;"), LIMIT_S)
            gate.open()
            asked.response()
        assert server.server.process.wait(machinetime.HANG_S) == 0


def _last(server: Watched) -> tuple[bool, str]:
    line = server.lines("readiness_changed")[-1]
    return line["ready"], line["reason"]


def test_maintenance(tmp_path: Path) -> None:
    with watched(tmp_path, "--worker", "scripted") as server:
        server.becomes(Reason.READY)
        for enabled in (True, False):
            body = {"enabled": enabled}
            own = {"authorization": f"Bearer {ADMIN}", "content_type": "application/json"}
            assert ask(server.server, "PUT", "/admin/maintenance", body, **own).status == 200
            machinetime.until(lambda e=enabled: _maintenance(server) == [e] * 4, LIMIT_S)  # type: ignore[misc] # bound now
            # Clients are let come, and told when to try again.
            server.becomes(Reason.READY)


def _maintenance(server: Watched) -> list[bool]:
    """What the health page, the metric, the last line and the service manager say of it."""
    scrape = ask(server.server, "GET", "/metrics").body.decode()
    return [
        server.server.get("/healthz")[1]["maintenance"]["enabled"],
        "\nturntape_maintenance 1.0\n" in scrape,
        server.lines("maintenance_changed")[-1]["enabled"],
        server.manager().endswith("in maintenance"),
    ]


def test_an_upstream_that_is_gone(tmp_path: Path) -> None:
    with upstreams.Hosted() as upstream:
        url = upstream.url
    with watched(tmp_path, "--worker", "upstream", PROXY_UPSTREAM_URL=url) as server:
        server.becomes(Reason.UPSTREAM_UNREACHABLE)


def test_codex_that_is_switched_off(tmp_path: Path) -> None:
    with watched(tmp_path, PROXY_USE_APP_SERVER="false") as server:
        server.becomes(Reason.WORKER_DISABLED)


def test_every_state_that_is_not_ready_has_a_reason() -> None:
    ready = {supervisor.READY, supervisor.RETIRING}
    assert readiness.OF_WORKER.keys() >= set(supervisor.TABLE.states) - ready
    assert readiness.OF_WORKER.keys() >= {each.value for each in Reach} - {Reach.READY.value}
    assert readiness.OF_LIFE.keys() == set(lifecycle.TABLE.states) - {lifecycle.READY}
    assert readiness.MEANINGS.keys() == set(Reason)
    named = {*readiness.OF_LIFE.values(), *readiness.OF_WORKER.values()}
    assert named | {Reason.READY, Reason.LOG_FAILING} == set(Reason)


class Buggy(serving.Serve):
    """A server with something planted."""

    module = observed.__name__


def test_a_bug_in_the_reason_holds_up_neither_start_nor_stop(tmp_path: Path) -> None:
    """Nor does it end the pings without which a service manager kills the server."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified:
        notified.bind(str(tmp_path / "notify"))
        notified.settimeout(machinetime.HANG_S)
        every_call = {"server.readiness.reason": list(range(1, 10_000))}
        settings = {
            "NOTIFY_SOCKET": str(tmp_path / "notify"),
            "WATCHDOG_USEC": "100000",
            observed.PLANTED: json.dumps(every_call),
        }
        server = Buggy(tmp_path / "data", ("--worker", "scripted"), settings)
        try:
            told: list[str] = []
            while "READY=1" not in told or told.count("WATCHDOG=1") < 5:
                told += notified.recv(4096).decode().split("\n")
            assert ask(server, "GET", "/v1/models").status == 200
            assert server.stop() == 0
        finally:
            server.stop(signal.SIGKILL)
    defects = [line for line in server.lines if line["event"] == "defect"]
    assert {line["boundary"] for line in defects} == {"task"}
    assert {line["task"] for line in defects} == {"service_manager", "watch_readiness"}
    assert linecheck.unlike(server.lines) == []
