"""A real `serve` process for tests: started on a free port, its log read back."""

import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.support.client import httpclient
from tests.support.process import machinetime, measured

ROOT = Path(__file__).parents[3]
"""The checkout."""

READY_S = 2 * machinetime.HANG_S
"""How long a server may take to become ready; a cold Codex binary takes 6 s."""

FREE_PORTS = range(20_000, 30_000)
"""Ports below those that a system hands out by itself, on Linux from 32,768."""

SHORTENED = (
    "PROXY_FIRST_CHUNK_TIMEOUT_MS",
    "PROXY_NONSTREAM_TRUNCATE_AFTER_MS",
    "PROXY_STREAM_IDLE_TIMEOUT_MS",
    "PROXY_TIMEOUT_MS",
    "WORKER_REQUEST_TIMEOUT_MS",
    "WORKER_STARTUP_TIMEOUT_MS",
)
"""Limits that tests make short to see them run out, while other answers must come within them: on
a busy machine they are longer."""


class Serve:
    """One running server process.

    Attributes:
        url: of the API, for SDKs.
        lines: what it wrote to stderr, decoded.
    """

    module = "server"
    """The program, as `python -m` takes it."""

    def __init__(self, data_dir: Path, arguments: tuple[str, ...], environ: Mapping[str, str]):
        self.data_dir = data_dir
        self.lines: list[dict[str, Any]] = []
        inherited = {
            name: value
            for name, value in os.environ.items()
            if name == "CODEX_BIN"
            or not name.startswith(("PROXY_", "CODEX_", "WORKER_", "OPENAI_", "OTEL_"))
        }
        self.process = subprocess.Popen(
            (sys.executable, "-m", self.module, "serve", "--port", "0", *arguments),
            cwd=ROOT,
            env={**inherited, "PROXY_DATA_DIR": str(data_dir), **_stretched(environ)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read_stderr, daemon=True)
        self._reader.start()
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        self.url = line.rsplit(" ", 1)[-1].strip()
        if not self.url.startswith("http://"):
            self.stop(signal.SIGKILL)
            raise AssertionError(f"the server did not start: {self.lines}")

    @property
    def base(self) -> str:
        """The server's root."""
        return self.url.removesuffix("/v1")

    @property
    def log_dir(self) -> Path:
        """Its event log."""
        return self.data_dir / "log"

    def get(self, path: str) -> tuple[int, dict[str, Any]]:
        """Status and JSON body of a GET."""
        response = httpclient.ask(self.base, "GET", path)
        return response.status, json.loads(response.body)

    def post(
        self, body: Mapping[str, Any], headers: Mapping[str, str] | None = None
    ) -> tuple[int, dict[str, Any]]:
        """Status and JSON body of a chat completion."""
        response = httpclient.ask(self.url, "POST", "/chat/completions", body, headers)
        return response.status, json.loads(response.body)

    def stream(self, body: Mapping[str, Any]) -> bytes:
        """The whole body of a streamed chat completion."""
        streamed = {**body, "stream": True}
        response = httpclient.ask(self.url, "POST", "/chat/completions", streamed)
        assert response.status == 200, response
        return response.body

    def wait_ready(self) -> None:
        """Wait until `/readyz` says so."""
        deadline = time.monotonic() + READY_S
        while self.get("/readyz")[0] != 200:
            assert time.monotonic() < deadline, self.lines
            assert self.process.poll() is None, self.lines
            threading.Event().wait(0.02)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and wait for the exit status."""
        if number == signal.SIGKILL and measured.VARIABLES and self.process.poll() is None:
            self.process.send_signal(measured.ASK)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(timeout=measured.SAVED_S)
        if self.process.poll() is None:
            self.process.send_signal(number)
        status = self.process.wait(timeout=60)
        self._reader.join(timeout=10)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return status

    def replay(self) -> subprocess.CompletedProcess[str]:
        """`turntape replay` of its log."""
        return command("replay", str(self.log_dir))

    def records(self) -> list[dict[str, Any]]:
        """Every record of its log."""
        found = []
        for path in sorted(self.log_dir.glob("events-*.jsonl")):
            # Of bytes: in a text there may be other line ends than the log's own.
            found += [json.loads(line) for line in path.read_bytes().splitlines()]
        return [record for record in found if "stream" in record]

    def terminals(self) -> list[dict[str, Any]]:
        """The terminal records of its log."""
        return [record for record in self.records() if record["event"] == "terminal"]

    def _read_stderr(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as stderr:
            for line in stderr:
                try:
                    self.lines.append(json.loads(line))
                except ValueError:
                    self.lines.append({"text": line})


def free_port() -> int:
    """A port of loopback that is free, and stays so: the system gives none of these away."""
    while True:
        port = secrets.choice(FREE_PORTS)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def _stretched(environ: Mapping[str, str]) -> dict[str, str]:
    """Settings whose short limits are as much longer as the machine is slower."""
    slowness = machinetime.slowness()
    return {
        name: str(round(int(value) * slowness)) if name in SHORTENED and value.isdigit() else value
        for name, value in environ.items()
    }


@contextlib.contextmanager
def running(*arguments: str, data_dir: Path | None = None, **environ: str) -> Iterator[Serve]:
    """A ready server, killed at the end if it still runs."""
    with contextlib.ExitStack() as stack:
        if data_dir is None:
            data_dir = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = Serve(data_dir, arguments, environ)
        try:
            server.wait_ready()
            yield server
        finally:
            server.stop(signal.SIGKILL)


def codex(provider_url: str, **environ: str) -> contextlib.AbstractContextManager[Serve]:
    """A ready server on the real Codex binary, whose model provider is at `provider_url`."""
    settings = {
        "PROXY_CODEX_BASE_URL": provider_url,
        "PROXY_CODEX_API_KEY": "sk-test",
        "PROXY_EVENT_LOG": "full",
    }
    return running(data_dir=None, **{**settings, **environ})


def is_alive(pid: int) -> bool:
    """Whether a process runs: one that nobody has waited for does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    """One command of the command line, run to its end."""
    return subprocess.run(
        (sys.executable, "-m", "server", *arguments),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
