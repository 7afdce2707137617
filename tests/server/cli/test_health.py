"""What a container's supervisor sees of `turntape health`: a line, a status, and little CPU."""

import contextlib
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from server.cli import health
from server.config import settings
from tests.support.process import measured, serving

HEAVY = {"argparse", "asyncio", "http.client", "json", "msgspec", "structlog", "urllib", "uvloop"}
"""Modules each of which takes milliseconds to load."""

MOST_MODULES = 60
"""How many modules the command may load beyond those of Python's own start: it was 44."""


def turntape(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """One `turntape health`, with no settings but the given ones."""
    return subprocess.run(
        (sys.executable, "-m", "server", "health", *arguments),
        cwd=serving.ROOT,
        env={"PATH": os.environ["PATH"], **measured.VARIABLES, **environ},
        capture_output=True,
        text=True,
        timeout=60,
    )


def answer(data: bytes) -> Iterator[str]:
    """A server that answers one connection with these bytes and closes it; its address."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(data)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        thread.join()


def one_answer(data: bytes, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`turntape health` of a server that answers with these bytes."""
    answering = answer(data)
    done = turntape(next(answering), *arguments)
    assert next(answering, None) is None
    return done


@pytest.mark.slow
def test_a_server_is_asked_where_its_settings_have_it() -> None:
    with serving.running("--worker", "scripted") as server:
        host, _, port = server.base.removeprefix("http://").rpartition(":")
        by_environment = turntape(PORT=port, PROXY_HOST=host)
        by_url = turntape(server.url)
        live = turntape("--live", server.base)
    assert (by_environment.returncode, by_environment.stdout) == (0, "ready\n")
    assert (by_url.returncode, by_url.stdout) == (0, "ready\n")
    assert (live.returncode, live.stdout) == (0, "alive\n")


@pytest.mark.slow
def test_a_server_that_is_not_ready_is_a_failure_and_lives(tmp_path: Path) -> None:
    server = serve_without_codex(tmp_path)
    try:
        ready = turntape(server.url)
        live = turntape(server.url, "--live")
    finally:
        server.stop()
    assert (ready.returncode, live.returncode) == (1, 0)
    assert ready.stdout.startswith("not_ready: status 503, state ready, worker ")


def serve_without_codex(data_dir: Path) -> serving.Serve:
    """A server that runs, and takes no request: its Codex is switched off."""
    return serving.Serve(data_dir, (), {"PROXY_USE_APP_SERVER": "false"})


def test_nobody_there_is_a_failure_with_its_reason() -> None:
    address = f"127.0.0.1:{serving.free_port()}"
    done = turntape(address)
    assert done.returncode == 1
    assert done.stdout == f"unreachable: {address}: Connection refused\n"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"SSH-2.0-OpenSSH\r\n", "what answers is no HTTP server"),
        (b"", "closed without an answer"),
        (b"HTTP/1.1 502 Bad Gateway\r\n\r\n\x1b[31m", "not well: status 502"),
        (
            b'HTTP/1.1 503 X\r\n\r\n{"status":"\x1b[31m","state":"draining","worker":"idle"}',
            "'\\x1b[31m: status 503, state draining, worker idle'",
        ),
    ],
)
def test_whatever_answers_is_said_and_steers_no_terminal(data: bytes, said: str) -> None:
    done = one_answer(data)
    assert done.returncode == 1
    assert done.stdout.endswith(f"{said}\n")


def test_a_server_that_accepts_and_says_nothing_is_waited_for_no_longer_than_the_limit() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        place = health.Place("127.0.0.1", mute.getsockname()[1])
        with pytest.raises(TimeoutError):
            health.ask(place, "/readyz", 0.05)


def test_a_server_that_drips_is_waited_for_no_longer_either() -> None:
    with socket.create_server(("127.0.0.1", 0)) as dripping:

        def serve() -> None:
            connection, _ = dripping.accept()
            with connection, contextlib.suppress(OSError):
                for _ in range(1000):
                    connection.sendall(b"H")
                    threading.Event().wait(0.01)

        thread = threading.Thread(target=serve)
        thread.start()
        place = health.Place("127.0.0.1", dripping.getsockname()[1])
        with pytest.raises(TimeoutError):
            health.ask(place, "/readyz", 0.3)
        thread.join(5)
        assert not thread.is_alive()


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("http://127.0.0.1:8080/v1", ("127.0.0.1", 8080)),
        ("127.0.0.1:8080", ("127.0.0.1", 8080)),
        ("http://[::1]:8080", ("::1", 8080)),
        ("http://server", ("server", 80)),
        ("http://[::1]/", ("::1", 80)),
    ],
)
def test_a_url_is_read(url: str, place: tuple[str, int]) -> None:
    assert health.parse(url) == place


@pytest.mark.parametrize(
    "url", ["https://127.0.0.1", "http://", "http://x:0", "http://x:y", "http://x:00001143500"]
)
def test_a_url_that_cannot_be_asked_is_a_usage_error(url: str) -> None:
    done = turntape(url)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("turntape: ")


@pytest.mark.slow
def test_what_is_no_argument_is_said_by_the_parser() -> None:
    wrong = turntape("--alive")
    assert wrong.returncode == 2
    assert "unrecognized arguments: --alive. Did you mean --live?" in wrong.stderr
    assert "usage: turntape health" in turntape("--help").stdout


@pytest.mark.parametrize(
    ("given", "host"), [("", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("::", "::1"), ("a", "a")]
)
def test_by_default_it_asks_where_the_server_listens_by_default(
    monkeypatch: pytest.MonkeyPatch, given: str, host: str
) -> None:
    monkeypatch.setenv("PROXY_HOST", given)
    monkeypatch.delenv("PORT", raising=False)
    defaults = {item.setting.name: item.default for item in settings.SETTINGS}
    assert health.configured() == (host, defaults["PORT"])


def test_next_to_nothing_is_loaded() -> None:
    program = (
        "import sys, os\n"
        "before = set(sys.modules)\n"
        "os._exit = lambda status: (print(*set(sys.modules) - before), sys.stdout.flush(), "
        "sys.exit(status))\n"
        "sys.argv[1:] = ['health', '127.0.0.1:1']\n"
        "from server import program; program.run()"
    )
    done = subprocess.run(
        (sys.executable, "-c", program), cwd=serving.ROOT, capture_output=True, text=True
    )
    loaded = set(done.stdout.splitlines()[-1].split())
    assert "server.cli.health" in loaded
    assert not loaded & HEAVY
    assert len(loaded) < MOST_MODULES, sorted(loaded)
