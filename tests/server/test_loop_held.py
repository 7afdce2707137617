"""Whatever a request is full of, up to a MiB of it holds the loop for no more than 50 ms.

What is measured is the CPU time of the longest callback of a real server's loop, from the last
byte of the body to the worker's first line and the answer.
"""

import contextlib
import socket
import tempfile
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import standin
from tests.support.client import httpclient, httpwire
from tests.support.process import heldloop
from tests.support.providers import upstreams
from tests.support.requests import largebodies

pytestmark = pytest.mark.slow

MIB = 1 << 20


@contextlib.contextmanager
def in_front_of(worker: str, **environ: str) -> Iterator[heldloop.MeasuredServe]:
    """A server with a worker that takes everything."""
    if worker == "upstream":
        with (
            upstreams.Hosted() as source,
            heldloop.running(
                "--worker", "upstream", PROXY_UPSTREAM_URL=source.url, **environ
            ) as server,
        ):
            yield server
    else:
        with tempfile.TemporaryDirectory() as directory:
            program = standin.install(Path(directory), standin.Scenario())
            with heldloop.running(CODEX_BIN=str(program), **environ) as server:
                yield server


@pytest.fixture(scope="module", params=["codex", "upstream"])
def server(request: pytest.FixtureRequest) -> Iterator[heldloop.MeasuredServe]:
    with in_front_of(request.param) as running:
        yield running


@pytest.mark.long(usual=("codex-text", "upstream-a function's schema 90 deep"))
@pytest.mark.parametrize("kind", largebodies.KINDS)
def test_no_callback_is_long(server: heldloop.MeasuredServe, kind: str) -> None:
    # What is refused for its size when it is a MiB may be taken when it is less.
    for size in (MIB, MIB // 4 - 1000):
        body = largebodies.of_size(kind, size)
        assert 0.9 * size < len(body) < 1.1 * size
        held = server.measure_least("/chat/completions", body)
        assert held.longest_ms < heldloop.LIMIT_MS, held.where
        assert held.status == 200 or held.error["type"] == "invalid_request_error"


def test_a_model_that_is_no_name_is_refused_without_being_read_through(
    server: heldloop.MeasuredServe,
) -> None:
    model = b'{"a":[]},' * (4 * MIB // 9)
    body = b'{"messages":[{"role":"user","content":"hi"}],"model":[%b1]}' % model
    held = server.measure_least("/chat/completions", body)
    assert held.longest_ms < heldloop.LIMIT_MS, held.where
    assert held.status == 400


def test_requests_that_come_all_at_once_are_answered_in_slices(
    server: heldloop.MeasuredServe,
) -> None:
    count = 2_000
    where = urllib.parse.urlsplit(server.url)

    def ask() -> None:
        with socket.create_connection((where.hostname, where.port)) as client:
            client.sendall(b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" * count)
            client.shutdown(socket.SHUT_WR)
            answers = b"".join(iter(lambda: client.recv(MIB), b""))
        assert answers.count(b"HTTP/1.1 200") == count

    longest = server.least_of(ask)
    assert longest["longest_ms"] < heldloop.LIMIT_MS, longest["where"]


@pytest.mark.parametrize("chunk", [1, 1000])
def test_a_body_in_small_chunks_is_read_in_slices(
    server: heldloop.MeasuredServe, chunk: int
) -> None:
    body = largebodies.of_size("text", MIB // 4)
    pieces = (body[start : start + chunk] for start in range(0, len(body), chunk))
    headers = {"transfer-encoding": "chunked"}
    framed = httpwire.in_chunks(*pieces)

    def ask() -> None:
        response = httpclient.ask(server.url, "POST", "/chat/completions", framed, headers)
        assert (response.status, response.body != b"") == (200, True)

    limit = heldloop.LIMIT_MS / 2
    longest = server.least_of(ask, limit)
    assert longest["longest_ms"] < limit, longest["where"]


@pytest.mark.parametrize("worker", ["codex", "upstream"])
def test_without_slices_the_same_is_long(worker: str) -> None:
    body = largebodies.of_size("calls and results", MIB)
    with in_front_of(worker, **{heldloop.UNSLICED: "1"}) as unsliced:
        once = unsliced.measure("/chat/completions", body).longest_ms
    with in_front_of(worker) as sliced:
        assert once > 2 * sliced.measure_least("/chat/completions", body).longest_ms
