"""What a service manager is told, on a socket of the test's own, by a real server process."""

import asyncio
import contextlib
import fcntl
import os
import signal
import socket
import termios
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog

from server.process.servicemanager import LEAST_HALF_S, Phase, ServiceManager
from tests.support.client import httpclient
from tests.support.process import machinetime, serving
from tests.support.providers import scripted, upstreams


class Listener:
    """A service manager that listens: every message, and when it came."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address.replace("@", "\0", 1))
        self.messages: list[list[str]] = []
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                self.messages.append(self.socket.recv(4096).decode().split("\n"))

    def said(self, line: str) -> int:
        """How many messages had this line."""
        return sum(line in message for message in list(self.messages))

    def is_empty(self) -> bool:
        """Whether nothing waits to be read."""
        return fcntl.ioctl(self.socket, termios.FIONREAD, b"\0" * 4) == b"\0" * 4

    def status(self) -> str:
        """The last status."""
        found = [line for each in list(self.messages) for line in each if "STATUS=" in line]
        return found[-1].removeprefix("STATUS=") if found else ""


@pytest.fixture(params=["path", "abstract"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "notify") if request.param == "path" else f"@turntape-{os.getpid()}"


@pytest.fixture
def listener(address: str) -> Iterator[Listener]:
    listening = Listener(address)
    yield listening
    listening.socket.shutdown(socket.SHUT_RDWR)
    listening.socket.close()


def test_a_start_and_a_stop_are_told(address: str, listener: Listener) -> None:
    with serving.running("--worker", "scripted", NOTIFY_SOCKET=address) as server:
        machinetime.until(lambda: listener.said("READY=1") == 1)
        machinetime.until(lambda: listener.status() == "ready; scripted ready; 0 streams")
        assert httpclient.ask(server.base, "GET", "/readyz").status == 200
        assert server.stop() == 0
    assert listener.said("READY=1") == listener.said("STOPPING=1") == 1
    assert listener.said("WATCHDOG=1") == 0
    first = [each for each in listener.messages if "READY=1" in each or "STOPPING=1" in each]
    assert ["READY=1" in first[0], "STOPPING=1" in first[1]] == [True, True]


def test_a_drain_asks_for_time_and_says_what_it_waits_for(tmp_path: Path) -> None:
    address = str(tmp_path / "notify")
    listener = Listener(address)
    gate = scripted.Gate()
    hello = upstreams.framed(upstreams.sse(upstreams.chunk("Hello")))
    rest = upstreams.sse(upstreams.chunk(finish="stop")) + upstreams.DONE
    answer: upstreams.Answer = [
        upstreams.STREAM_HEAD + hello,
        gate,
        upstreams.framed(rest) + upstreams.LAST,
    ]
    with upstreams.stage([answer], NOTIFY_SOCKET=address) as stage:
        body = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "stream": True}
        with httpclient.begin(stage.server.url, "POST", "/chat/completions", body) as asked:
            asked.until(b"Hello")
            machinetime.until(lambda: listener.status() == "ready; upstream ready; 1 stream")
            stage.server.process.send_signal(signal.SIGTERM)
            machinetime.until(lambda: listener.said("EXTEND_TIMEOUT_USEC=10000000") > 1)
            assert listener.status() == "draining; upstream ready; 1 stream"
            gate.open()
            asked.response()
        assert stage.server.stop() == 0


def test_a_process_that_is_stopped_is_not_vouched_for(tmp_path: Path) -> None:
    listener = Listener(str(tmp_path / "notify"))
    settings = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "200000"}
    with serving.running("--worker", "scripted", data_dir=None, **settings) as server:
        machinetime.until(lambda: listener.said("WATCHDOG=1") > 3)
        server.process.send_signal(signal.SIGSTOP)
        machinetime.until(lambda: _state(server.process.pid) == "T")
        machinetime.until(listener.is_empty)
        before = listener.said("WATCHDOG=1")
        threading.Event().wait(0.5)  # two limits and a half
        assert listener.said("WATCHDOG=1") == before
        server.process.send_signal(signal.SIGCONT)
        machinetime.until(lambda: listener.said("WATCHDOG=1") > before)


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_a_loop_that_is_held_does_not_beat(tmp_path: Path) -> None:
    listener = Listener(str(tmp_path / "notify"))

    async def run() -> None:
        manager = made(tmp_path, WATCHDOG_USEC="20000", WATCHDOG_PID=str(os.getpid()))
        with manager.attended():
            await until(lambda: listener.said("WATCHDOG=1") > 3)
            machinetime.until(listener.is_empty)  # holds the loop, too
            before = listener.said("WATCHDOG=1")
            threading.Event().wait(0.2)
            assert listener.said("WATCHDOG=1") == before
            await until(lambda: listener.said("WATCHDOG=1") > before)

    asyncio.run(run())


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"WATCHDOG_USEC": "0"},
        {"WATCHDOG_USEC": "x"},
        {"WATCHDOG_USEC": "9" * 400},
        {"WATCHDOG_USEC": "9" * 5000},
        {"WATCHDOG_USEC": "9", "WATCHDOG_PID": "1"},
    ],
)
def test_a_watchdog_that_is_not_ours_gets_no_pings(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    listener = Listener(str(tmp_path / "notify"))

    async def run() -> None:
        with made(tmp_path, **environ).attended():
            await until(lambda: listener.status() == "well")

    asyncio.run(run())
    assert listener.said("WATCHDOG=1") == 0


def test_a_watchdog_of_a_microsecond_is_not_fed_with_all_of_the_loop(tmp_path: Path) -> None:
    listener = Listener(str(tmp_path / "notify"))

    async def run() -> None:
        loop = asyncio.get_running_loop()
        with made(tmp_path, WATCHDOG_USEC="1").attended():
            began = loop.time()
            await until(lambda: listener.said("WATCHDOG=1") > 20)
            # However busy the machine is, 20 pauses are no shorter.
            assert loop.time() - began > 20 * LEAST_HALF_S / 2

    asyncio.run(run())


def test_a_socket_that_is_full_holds_up_nobody_and_is_told_later(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    manages = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manages.bind(str(tmp_path / "notify"))
    manages.setblocking(False)
    request.addfinalizer(manages.close)

    async def run() -> None:
        manager = made(tmp_path)
        with structlog.testing.capture_logs() as lines, manager.attended():
            fill(tmp_path / "notify")
            for _ in range(3):
                manager.enter(Phase.READY)
            assert [line["event"] for line in lines] == ["service_manager_unreachable"]
            await until(lambda: "READY=1" in read(manages))

    asyncio.run(run())


def test_a_socket_that_is_not_there_holds_up_nobody(tmp_path: Path) -> None:
    settings = {"NOTIFY_SOCKET": str(tmp_path / "nobody"), "WATCHDOG_USEC": "200000"}
    with serving.running("--worker", "scripted", data_dir=None, **settings) as server:
        machinetime.until(lambda: unreachable(server) == 1)
        listener = Listener(str(tmp_path / "nobody"))
        machinetime.until(lambda: listener.said("WATCHDOG=1") > 2)
        # What could not be told at its time is told now.
        assert listener.said("READY=1") == 1
        assert server.stop() == 0
    assert unreachable(server) == 1


def unreachable(server: serving.Serve) -> int:
    return sum(line.get("event") == "service_manager_unreachable" for line in list(server.lines))


@pytest.mark.parametrize("address", ["", "@", "notify", "vsock:2:1234"])
def test_where_nobody_wants_to_be_told_nothing_runs(address: str) -> None:
    async def run() -> None:
        manager = ServiceManager({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "1000"}, status)
        before = descriptors()
        with structlog.testing.capture_logs() as lines, manager.attended():
            manager.enter(Phase.READY)
            assert len(asyncio.all_tasks()) == 1
            assert descriptors() == before
        assert lines == []

    asyncio.run(run())


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def status() -> str:
    return "well"


def made(directory: Path, **environ: str) -> ServiceManager:
    return ServiceManager({"NOTIFY_SOCKET": str(directory / "notify"), **environ}, status)


def fill(path: Path) -> None:
    """Send to a socket that nobody reads until it takes no more."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                sender.sendto(b"x", str(path))


def read(manages: socket.socket) -> list[str]:
    """All lines that wait in a socket."""
    found: list[str] = []
    with contextlib.suppress(BlockingIOError):
        while True:
            found += manages.recv(4096).decode().split("\n")
    return found


async def until(is_so: Callable[[], bool]) -> None:
    """Wait on the loop until something is so."""
    async with asyncio.timeout(machinetime.HANG_S):
        while not is_so():  # noqa: ASYNC110 - a thread of the test reads
            await asyncio.sleep(0.005)
