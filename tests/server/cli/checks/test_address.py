"""The doctor's look at the server's address: free, taken, or a server that is well or not."""

import contextlib
import socket
import threading
from pathlib import Path

import pytest

from server.cli.checks import address
from server.cli.checks.findings import Finding, Status
from tests.server.cli.checks import checking
from tests.support.process import serving


def look(tmp_path: Path, port: int | str, **environ: str) -> dict[str, Finding]:
    """The findings about an address."""
    return checking.by_name(address.check(checking.config(tmp_path, PORT=str(port), **environ)))


def port_of(server: serving.Serve) -> str:
    """The port that a server listens on."""
    return server.base.rpartition(":")[2]


def test_a_free_port_is_well(tmp_path: Path) -> None:
    port = serving.free_port()
    assert look(tmp_path, port)["port"] == ("port", Status.OK, f"127.0.0.1:{port}, free", "")
    assert look(tmp_path, 0)["port"].found == "any free one"


def test_a_host_that_is_not_here_is_a_failure(tmp_path: Path) -> None:
    key = {"PROXY_API_KEY": "a-key-of-enough-characters"}
    found = look(tmp_path, 1, PROXY_HOST="192.0.2.1", **key)["port"]
    assert found.status is Status.FAIL
    assert found.found == "cannot listen on 192.0.2.1: Cannot assign requested address"
    unknown = look(tmp_path, 1, PROXY_HOST="nobody.invalid", **key)["port"]
    assert unknown.status is Status.FAIL


@pytest.mark.slow
def test_a_running_server_is_well(tmp_path: Path) -> None:
    with serving.running("--worker", "scripted") as server:
        report = look(tmp_path, port_of(server))
    assert [each.status for each in report.values()] == [Status.OK, Status.OK]
    assert report["port"].found.endswith("a running server answers /livez")
    assert report["server"].found.endswith(", ready")


@pytest.mark.slow
def test_a_running_server_that_is_not_ready_is_a_failure(tmp_path: Path) -> None:
    server = serving.Serve(tmp_path, (), {"PROXY_USE_APP_SERVER": "false"})
    try:
        found = look(tmp_path, port_of(server))["server"]
    finally:
        server.stop()
    assert found.status is Status.FAIL
    assert "is not ready: state ready, worker " in found.found
    assert "/healthz" in found.advice


@pytest.mark.slow
def test_a_server_of_another_version_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(address, "VERSION", "99.0.0")
    with serving.running("--worker", "scripted") as server:
        found = look(tmp_path, port_of(server))["server"]
    assert found.status is Status.WARN
    assert found.found.endswith(", and 99.0.0 is installed")


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"", "closed without an answer"),
        (b"SSH-2.0\r\n", "what answers is no HTTP server"),
        (b"HTTP/1.1 200 OK\r\n\r\nhello", "it is no Turntape"),
        (b'HTTP/1.1 200 OK\r\n\r\n["turntape"]', "it is no Turntape"),
    ],
)
def test_another_program_on_the_port_is_a_failure(tmp_path: Path, answer: bytes, why: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:

        def serve() -> None:
            with contextlib.suppress(OSError):  # it is shut down below
                while True:
                    connection, _ = taken.accept()
                    with connection:
                        connection.recv(4096)
                        connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        port = taken.getsockname()[1]
        found = look(tmp_path, port)["port"]
        taken.shutdown(socket.SHUT_RDWR)
        thread.join()
    assert (found.status, found.found) == (Status.FAIL, f"127.0.0.1:{port} is taken: {why}")
    assert f"ss -ltnp 'sport = :{port}'" in found.advice


def test_who_holds_the_port_and_says_nothing_is_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(address, "LIMIT_S", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        found = look(tmp_path, mute.getsockname()[1])["port"]
    assert found.status is Status.FAIL
    assert found.found.endswith("is taken, and answers nothing")
