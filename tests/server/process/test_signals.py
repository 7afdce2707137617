"""Signals at any moment of a real process: its exit status, its last words, what it leaves."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

from bench import standin
from server.process import signals
from tests.support.client import chatclient, httpclient
from tests.support.process import machinetime, measured, serving

pytestmark = pytest.mark.slow

LIMIT_S = 60.0
"""Longer than any start and stop on a busy machine."""

BEFORE = (
    "import server.cli.command_line",
    "import uvloop",
    "server.config.load.load",
    "server.diagnostics.configure",
)
"""Moments before anything has begun."""

STARTING = (
    "server.serve.run",
    "import engine.codex.options",
    "server.serve.Server.__init__",
    "server.serve.Server.run",
    "engine.log.event_log.EventLog.open",
    "engine.store.file.ResponseFile.__init__",
    "server.http.listener.HttpServer.bind",
    "engine.codex.child.home.prepare",
    "engine.codex.child.process.Process.start",
    "engine.codex.tenant.AppServer.connected",
    "engine.codex.tenant.AppServer.handshake",
    "server.http.listener.HttpServer.serve",
    "server.cli.serve._announce",
)
"""Moments of a start."""

STOPPING = (
    "server.http.listener.HttpServer.drain",
    "engine.codex.worker.CodexWorker.stop",
    "engine.codex.child.process.Process.stop",
    "engine.store.file.ResponseFile.close",
    "engine.log.event_log.EventLog.close",
    "server.process.watchdog.Watchdog.release",
    "server.diagnostics.flush",
    "server.program._end",
)
"""Moments of a stop, or of the end after it."""


def environment(**more: str) -> dict[str, str]:
    """Nothing of ours but what is given."""
    return {"PATH": os.environ["PATH"], "HOME": "/nonexistent", **measured.VARIABLES, **more}


@contextlib.contextmanager
def program(
    tmp_path: Path, plants: Mapping[str, object], *arguments: str, **environ: str
) -> Iterator["subprocess.Popen[str]"]:
    """A command with something planted, killed at the end if it still runs."""
    settings = {"PROXY_DATA_DIR": str(tmp_path / "data"), **environ}
    with subprocess.Popen(
        (sys.executable, "-m", "tests.support.process.planted", json.dumps(plants), *arguments),
        cwd=serving.ROOT,
        env=environment(**settings),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def codex(tmp_path: Path) -> dict[str, str]:
    """Settings of a server on a stand-in."""
    tmp_path.mkdir(exist_ok=True)
    return {"CODEX_BIN": str(standin.install(tmp_path))}


def check_end(process: "subprocess.Popen[str]", tmp_path: Path, status: int = 0) -> str:
    """It ends by itself with this status, says nothing of a failure, and leaves nobody behind."""
    output, complained = process.communicate(timeout=LIMIT_S)
    assert process.returncode == status, complained
    for wrong in ("Traceback", "defect", '"severity":"error"', "never awaited", "Exception"):
        assert wrong not in complained
    assert not [pid for pid in standin.starts(tmp_path) if serving.is_alive(pid)]
    assert output.count("\n") <= 1
    return complained


def numbered(points: tuple[str, ...]) -> list[tuple[str, signal.Signals]]:
    """Points, with SIGTERM and SIGINT in turn: there is one handler for both."""
    both = (signal.SIGTERM, signal.SIGINT)
    return [(point, both[index % 2]) for index, point in enumerate(points)]


@pytest.mark.parametrize(("point", "number"), numbered((*BEFORE, *STARTING)))
def test_a_signal_during_the_start_is_a_clean_end(
    point: str, number: signal.Signals, tmp_path: Path
) -> None:
    with program(tmp_path, {point: number}, "serve", "--port", "0", **codex(tmp_path)) as process:
        complained = check_end(process, tmp_path)
    assert "stopped" in complained if point in STARTING else not complained


ON_IMPORT = """
import os, sys

class OnImport:
    def find_spec(self, name, path, target=None):
        if name == "server.cli.command_line":
            os.kill(os.getpid(), int(os.environ["SENT"]))

sys.meta_path.insert(0, OnImport())
"""
"""A `sitecustomize`: the interpreter sends itself a signal when the command line is imported."""


@pytest.mark.parametrize("number", signals.STOP)
@pytest.mark.parametrize(("command", "status"), [("serve", 0), ("config", None)])
def test_the_handler_is_in_force_before_the_command_line_is_loaded(
    command: str, status: int | None, number: signal.Signals, tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text(ON_IMPORT)
    ran = subprocess.run(
        (sys.executable, "-m", "server", command),
        cwd=serving.ROOT,
        env=environment(PYTHONPATH=str(tmp_path), SENT=str(int(number))),
        capture_output=True,
        text=True,
    )
    expected = 128 + number if status is None else status
    assert (ran.returncode, ran.stdout, ran.stderr) == (expected, "", "")


@pytest.mark.parametrize(("point", "number"), numbered(STOPPING))
def test_a_signal_during_the_stop_is_a_clean_end(
    point: str, number: signal.Signals, tmp_path: Path
) -> None:
    with program(tmp_path, {point: number}, "serve", "--port", "0", **codex(tmp_path)) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("turntape ")
        process.terminate()
        complained = check_end(process, tmp_path)
    assert json.loads(complained.splitlines()[-1])["event"] == "stopped"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("command", ["config", "replay", "inspect"])
def test_a_command_that_a_signal_ends_says_so_with_its_status(
    command: str, number: signal.Signals, tmp_path: Path
) -> None:
    arguments = (command,) if command == "config" else (command, str(tmp_path))
    point = "server.config.load.load" if command == "config" else "engine.log.read.segments.read"
    with program(tmp_path, {point: number}, *arguments) as process:
        assert not check_end(process, tmp_path, 128 + number)


ERRANDS = {
    "server.cli.demo._stream_one": (("demo", "--port", "0"), 0),
    "server.cli.demo._replay": (("demo", "--port", "0"), 0),
    "server.serve.Server.run": (("mock", "--port", "0"), 0),
    "server.mock.scratch._opened": (("mock", "--port", "0"), 0),
    "engine.codex.child.home.find_binary": (("login",), 130),
    "engine.codex.child.process.Process.start": (("login",), 130),
    "engine.codex.login.Login.handshake": (("login",), 130),
    "engine.codex.login.Login.link": (("login",), 130),
    "server.cli.login._by_browser": (("login",), 130),
    "server.cli.login._wait": (("login",), 130),
    "engine.codex.child.process.Process.stop": (("login", "--status"), 130),
}
"""Moments of the other commands, and how they end there."""


@pytest.mark.parametrize("point", ERRANDS)
def test_ctrl_c_ends_every_command_and_leaves_nothing(point: str, tmp_path: Path) -> None:
    command, status = ERRANDS[point]
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    environ = {**codex(tmp_path), "TMPDIR": str(temporary), "PROXY_LOG_LEVEL": "error"}
    plants = {point: int(signal.SIGINT)}
    with program(tmp_path, plants, *command, **environ) as process:
        _, complained = process.communicate(timeout=LIMIT_S)
    assert (process.returncode, complained) == (status, "")
    assert not list(temporary.iterdir())
    assert not [pid for pid in standin.starts(tmp_path) if serving.is_alive(pid)]


@pytest.mark.parametrize(
    ("point", "command"),
    [
        ("server.config.load.describe", ("config",)),
        ("server.http.listener.HttpServer.serve", ("serve", "--port", "0")),
        ("server.assembly.make_worker", ("serve", "--port", "0")),
        ("engine.codex.worker.CodexWorker.start", ("serve", "--port", "0")),
    ],
)
def test_a_bug_of_ours_is_one_line_with_its_traceback(
    point: str, command: tuple[str, ...], tmp_path: Path
) -> None:
    environ = {**codex(tmp_path), "PROXY_LOG_LEVEL": "error"}
    with program(tmp_path, {point: "raise"}, *command, **environ) as process:
        _, complained = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 1
    (line,) = (json.loads(each) for each in complained.splitlines())
    assert (line["event"], line["boundary"]) == ("defect", "command")
    assert "planted" in line["exception"]
    assert not [pid for pid in standin.starts(tmp_path) if serving.is_alive(pid)]


def test_a_second_signal_ends_the_drain(tmp_path: Path) -> None:
    with serving.running("--worker", "scripted", PROXY_DRAIN_TIMEOUT_MS="600000") as server:
        stream = chatclient.LiveChat(server, "x", model="text-short", stream=True)
        with stream:
            stream.next("content")
            server.process.terminate()
            machinetime.until(
                lambda: any(line.get("state") == "draining" for line in server.lines)
            )
            server.process.send_signal(signal.SIGINT)
            answer = stream.answer()
            assert server.stop() == 0
        assert answer.error["code"] == "server_shutdown"


def delayed(delay_ms: int, speed: str = "1") -> contextlib.AbstractContextManager[serving.Serve]:
    """A server that serves on after the first signal, and has ten minutes to drain."""
    return serving.running(
        "--worker",
        "scripted",
        PROXY_SCRIPTED_SPEED=speed,
        PROXY_DRAIN_DELAY_MS=str(delay_ms),
        PROXY_DRAIN_TIMEOUT_MS="600000",
    )


def states(server: serving.Serve) -> list[str]:
    """The states that the server has said it went through, but for `ready`."""
    said = [line["state"] for line in server.lines if line.get("event") == "lifecycle"]
    return [state for state in said if state != "ready"]


def test_s35_whoever_comes_during_the_delay_is_served() -> None:
    with delayed(600_000) as server:
        server.process.terminate()
        machinetime.until(lambda: states(server) == ["leaving"])
        status, body = server.get("/readyz")
        assert (status, body["state"]) == (503, "leaving")
        hello = {"model": "text-short", "messages": [{"role": "user", "content": "Hello"}]}
        assert server.post(hello)[0] == 200
        assert server.stream(hello).endswith(b"data: [DONE]\n\n")
        assert server.get("/healthz")[1]["state"] == "leaving"
        # The second signal ends the delay, and the drain has nothing to wait for.
        assert server.stop() == 0
        assert states(server) == ["leaving", "draining"]


def test_s35_a_delay_ends_by_itself_and_streams_still_have_their_drain() -> None:
    with delayed(200) as server:
        stream = chatclient.LiveChat(server, "x", model="text-short", stream=True)
        with stream:
            stream.next("content")
            server.process.terminate()
            machinetime.until(lambda: states(server) == ["leaving", "draining"])
            assert stream.answer().outline[-1] == "done"
        assert server.process.wait(timeout=LIMIT_S) == 0


def test_s35_three_signals_end_the_delay_the_drain_and_the_wait() -> None:
    with delayed(600_000, speed="0.01") as server:
        stream = chatclient.LiveChat(server, "x", model="text-short", stream=True)
        with stream:
            stream.next("content")
            server.process.terminate()
            machinetime.until(lambda: states(server) == ["leaving"])
            server.process.terminate()
            machinetime.until(lambda: states(server) == ["leaving", "draining"])
            server.process.terminate()
            assert stream.answer().error["code"] == "server_shutdown"
            assert server.process.wait(timeout=LIMIT_S) == 0


TAKE_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.executable, [sys.executable, "-m", "server", *sys.argv[1:]])
"""
"""Makes standard input the terminal of the session, and becomes the program."""


class OnTerminal(NamedTuple):
    """A server whose terminal is ours: `leader` is our end of it."""

    process: subprocess.Popen[bytes]
    leader: int
    shown: bytes

    def read_to(self, text: bytes) -> None:
        """Read what it shows until there is this text."""
        shown = b""
        while text not in shown:
            shown += os.read(self.leader, 4096)


@contextlib.contextmanager
def on_terminal(data_dir: Path) -> Iterator[OnTerminal]:
    """A server that is ready, killed at the end if it still runs."""
    leader, terminal = os.openpty()
    serve = ("serve", "--worker", "scripted", "--port", "0")
    with subprocess.Popen(
        (sys.executable, "-c", TAKE_TERMINAL, *serve),
        cwd=serving.ROOT,
        env=environment(PROXY_DATA_DIR=str(data_dir)),
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
    ) as process:
        os.close(terminal)
        shown = b""
        try:
            while b"turntape 0." not in shown:
                shown += os.read(leader, 4096)
            yield OnTerminal(process, leader, shown)
        finally:
            process.kill()


@pytest.mark.usefixtures("hangup_by_default")
def test_a_terminal_that_is_closed_ends_the_server(tmp_path: Path) -> None:
    with on_terminal(tmp_path) as server:
        os.close(server.leader)
        assert server.process.wait(LIMIT_S) == 0
        assert b"Traceback" not in server.shown


@pytest.mark.usefixtures("hangup_by_default")
def test_on_a_terminal_that_is_still_there_a_hangup_is_a_reload(tmp_path: Path) -> None:
    with on_terminal(tmp_path) as server:
        server.process.send_signal(signal.SIGHUP)
        server.read_to(b"config_reloaded")
        os.close(server.leader)
        assert server.process.wait(LIMIT_S) == 0


@pytest.mark.usefixtures("hangup_by_default")
def test_elsewhere_a_hangup_is_a_reload_and_a_broken_pipe_nothing(tmp_path: Path) -> None:
    with serving.running("--worker", "scripted", data_dir=tmp_path) as server:
        server.process.send_signal(signal.SIGPIPE)
        server.process.send_signal(signal.SIGHUP)
        machinetime.until(lambda: any(line["event"] == "config_reloaded" for line in server.lines))
        assert server.get("/livez")[0] == 200
        assert server.stop() == 0


CLOSED = ("0<&-", "1>&-", "2>&-", "0<&- 1>&- 2>&-", ">/dev/full", "2>/dev/full")
"""What a shell may do to the standard descriptors."""


def answers(url: str, body: bytes | None = None) -> bool:
    """Whether a server answers there with a success."""
    try:
        response = httpclient.ask(url, "GET" if body is None else "POST", "", body)
    except OSError:
        return False
    return response.status == 200 and response.body != b""


@pytest.mark.parametrize("redirection", CLOSED)
def test_closed_and_full_descriptors_are_served_without(redirection: str, tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{serving.free_port()}"
    serve = (sys.executable, "-m", "server", "serve", "--worker", "scripted")
    with subprocess.Popen(
        ("sh", "-c", f'exec "$@" {redirection}', "sh", *serve, "--port", url.rpartition(":")[2]),
        cwd=serving.ROOT,
        env=environment(PROXY_DATA_DIR=str(tmp_path), PROXY_SCRIPTED_SPEED="0"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            machinetime.until(lambda: answers(f"{url}/readyz"))
            body = {"model": "text-short", "messages": [{"role": "user", "content": "x"}]}
            assert answers(f"{url}/v1/chat/completions", json.dumps(body).encode())
            opened = Path(f"/proc/{process.pid}/fd")
            health = json.loads(httpclient.ask(url, "GET", "/healthz").body)
            # `lifecycle`, `readiness_changed`, `listening`, `request_ended`; one may be in hand.
            dropped = health.get("diagnostics_dropped", 0)
            assert dropped in (3, 4) if redirection == "2>/dev/full" else dropped == 0
            files = {str((opened / number).readlink()) for number in "012"}
            assert files <= {"/dev/null", "/dev/full"}
            process.terminate()
            assert process.wait(LIMIT_S) == 0
        finally:
            process.kill()


def test_diagnostics_that_nobody_reads_hold_nobody_up(tmp_path: Path) -> None:
    with subprocess.Popen(
        (sys.executable, "-m", "server", "serve", "--worker", "scripted", "--port", "0"),
        cwd=serving.ROOT,
        env=environment(PROXY_DATA_DIR=str(tmp_path), PROXY_SCRIPTED_SPEED="0"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            base = process.stdout.readline().split()[-1].removesuffix("/v1")
            body = {"model": "text-short", "messages": [{"role": "user", "content": "x"}]}
            for _ in range(500):
                assert answers(f"{base}/v1/chat/completions", json.dumps(body).encode())
            assert answers(f"{base}/livez")
            process.terminate()
            assert process.wait(LIMIT_S) == 0
            assert process.stderr is not None
            lines = [json.loads(line) for line in process.stderr.read().splitlines()[:-1]]
        finally:
            process.kill()
    ended = [line for line in lines if line["event"] == "request_ended"]
    assert 0 < len(ended) < 500


def test_a_stop_that_does_not_end_is_ended(tmp_path: Path) -> None:
    plants: dict[str, object] = {"engine.log.event_log.EventLog.close": "hang"}
    plants |= {"server.serve.STEP_S": [0.1], "server.serve.CLOSE_S": [0.1]}
    serve = ("serve", "--worker", "scripted", "--port", "0")
    limits = {"PROXY_DRAIN_TIMEOUT_MS": "0", "WORKER_SHUTDOWN_GRACE_MS": "0"}
    with program(tmp_path, plants, *serve, **limits) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.terminate()
        _, complained = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 1
    assert json.loads(complained.splitlines()[-1])["event"] == "stop_timed_out"


def test_a_signal_at_the_end_does_not_change_its_status(tmp_path: Path) -> None:
    plants = {
        "engine.log.event_log.EventLog.close": "raise",
        "server.diagnostics.flush": int(signal.SIGTERM),
    }
    with program(tmp_path, plants, "serve", "--worker", "scripted", "--port", "0") as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.terminate()
        process.communicate(timeout=LIMIT_S)
    assert process.returncode == 1


STEPS = {
    "engine.log.event_log.EventLog.close": "event_log",
    "engine.store.sqlite.SqliteStore.close": "response_store",
    "engine.codex.worker.CodexWorker.stop": "workers",
    "server.http.listener.HttpServer.drain": "drain",
    "server.http.listener.HttpServer.close": "connections",
}
"""Where a stop may fail, and what it calls that."""


@pytest.mark.parametrize("point", STEPS)
def test_a_step_of_the_stop_that_fails_is_told_and_stops_no_other(
    point: str, tmp_path: Path
) -> None:
    with program(tmp_path, {point: "raise"}, "serve", "--port", "0", **codex(tmp_path)) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.terminate()
        _, complained = process.communicate(timeout=LIMIT_S)
    lines = [json.loads(line) for line in complained.splitlines()]
    (defect,) = (line for line in lines if line["event"] == "defect")
    assert (defect["boundary"], defect["step"]) == ("shutdown", STEPS[point])
    assert lines[-1]["event"] == "stopped"
    # The drain is only waited for; what it waits for is ended by what follows.
    assert process.returncode == (0 if STEPS[point] == "drain" else 1)
    machinetime.until(lambda: not any(map(serving.is_alive, standin.starts(tmp_path))))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_codex_that_is_asked_for_its_models_is_not_waited_for(
    number: signal.Signals, tmp_path: Path
) -> None:
    binary, asked = tmp_path / "codex", tmp_path / "asked"
    binary.write_text(f"#!/bin/sh\necho $$ > {asked}.new; mv {asked}.new {asked}\nsleep 600\n")
    binary.chmod(0o755)
    with program(tmp_path, {}, "serve", "--port", "0", CODEX_BIN=str(binary)) as process:
        machinetime.until(asked.exists)
        process.send_signal(number)
        with machinetime.within(5):
            check_end(process, tmp_path)
    assert not serving.is_alive(int(asked.read_text()))
