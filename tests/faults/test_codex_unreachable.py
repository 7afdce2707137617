"""Row 13 of the fault matrix: a provider that the real Codex binary cannot get an answer from."""

import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest

from tests.faults import codexstage, expected
from tests.faults.codexstage import STREAMED
from tests.support.process import machinetime

pytestmark = pytest.mark.codex

CONNECT_S = 5.0
"""How long any of this may take."""


@contextlib.contextmanager
def listening(answer: bytes | None) -> Iterator[int]:
    """The port of somebody who says the same to everybody, and closes; None: says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with contextlib.suppress(OSError):  # the test is over
                while True:
                    connection, _ = listener.accept()
                    with connection:
                        connection.sendall(answer or b"")

        thread = threading.Thread(target=serve)
        if answer is not None:
            thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            if answer is not None:
                thread.join()


def assert_failed(url: str, *hidden: str) -> None:
    """Every answer is a redacted 502, in time."""
    with codexstage.unreachable(url, *hidden) as stage:
        for fields in ({}, STREAMED):
            with machinetime.within(CONNECT_S):
                answer = stage.ask("hi", **fields)
            assert (answer.status, answer.headers["retry-after"]) == (502, "1")
            assert {"error": answer.error} == expected.error_object(
                "upstream_error", "The model provider failed to answer."
            )
            stage.survived("upstream_error", "upstream_error", answer)


def test_row_13_a_provider_that_refuses_connections_is_a_502() -> None:
    with listening(None) as port:
        pass
    assert_failed(f"http://127.0.0.1:{port}/v1", f":{port}")


def test_row_13_a_provider_of_no_known_host_is_a_502() -> None:
    assert_failed("http://inner.example.invalid/v1", "inner.example")


def test_row_13_a_provider_that_does_not_speak_tls_is_a_502() -> None:
    with listening(b"HTTP/1.1 400 Bad Request\r\n\r\n") as port:
        assert_failed(f"https://127.0.0.1:{port}/v1", f":{port}")


@pytest.mark.long
def test_row_13_a_provider_that_takes_connections_and_says_nothing_is_a_504() -> None:
    with (
        listening(None) as port,
        codexstage.unreachable(
            f"http://127.0.0.1:{port}/v1", f":{port}", PROXY_FIRST_CHUNK_TIMEOUT_MS="400"
        ) as stage,
    ):
        for fields in ({}, STREAMED):
            answer = stage.ask("hi", **fields)
            assert answer.status == 504
            assert {"error": answer.error} == expected.error_object(
                "request_timeout", "The model sent no output within the time limit."
            )
            stage.survived("timeout", "request_timeout", answer)
