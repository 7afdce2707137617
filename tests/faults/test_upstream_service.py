"""Rows 38 to 40: the server is stopped or killed, its disk is full, its clients are broken."""

import contextlib
import json
import resource
import shutil
import signal
import socket
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from machines import events
from tests.faults import expected, scene, watched
from tests.faults.upstreamstage import FINISHED, SO_FAR, TOLD, Staged, upstream
from tests.support.client import httpclient, httpwire
from tests.support.logs import serverlog
from tests.support.process import machinetime
from tests.support.providers import scripted, upstreams
from tests.support.providers.upstreams import LAST, STREAM_HEAD, chunk, framed, sse

REST = expected.finish("stop") + expected.DONE

STOPPING = "The server is stopping."


def connected(server: watched.ObservedServe) -> socket.socket:
    """A connection of its own."""
    where = urllib.parse.urlsplit(server.url)
    return socket.create_connection((where.hostname, where.port), timeout=httpclient.WAIT_S)


def test_row_38_a_drain_lets_streams_finish_and_nobody_in() -> None:
    with upstream() as staged:
        server, gate = staged.stage.server, scripted.Gate()
        prompt = staged.source.prompt([TOLD, gate, FINISHED])
        with staged.stage.asked(prompt, stream=True) as live, connected(server) as late:
            live.until(b'"lo"')
            late.sendall(b"GET /readyz HTTP/1.1\r\nhost: localhost\r\n")
            # What was sent on another connection has been read: the server has one thread.
            assert server.get("/livez")[0] == 200
            server.process.send_signal(signal.SIGTERM)
            machinetime.until(
                lambda: any(line.get("state") == "draining" for line in server.lines)
            )
            with pytest.raises(ConnectionRefusedError):
                connected(server)
            late.sendall(b"\r\n")
            with late.makefile("rb") as said_last:
                head = said_last.read().partition(b"\r\n\r\n")[0].lower()
            assert head.startswith(b"http/1.1 503 ")
            assert b"\r\nconnection: close" in head
            gate.open()
            answer = live.answer()
        assert answer.body == SO_FAR + REST
        assert server.process.wait(timeout=httpclient.WAIT_S) == 0
        staged.stage.recorded("completed", None, answer)


def test_row_38_the_deadline_of_a_drain_ends_streams() -> None:
    room: dict[str, Any] = {"PROXY_SSE_MAX_CONCURRENCY": "2", "PROXY_DRAIN_TIMEOUT_MS": "300"}
    with upstream(**room) as staged:
        told = staged.source.prompt([TOLD, "stall"])
        silent = staged.source.prompt([STREAM_HEAD, "stall"])
        with (
            staged.stage.asked(told, stream=True) as live,
            staged.stage.asked(silent, stream=True) as held,
            staged.stage.asked(told) as whole,
        ):
            live.until(b'"lo"')
            machinetime.until(lambda: len(staged.source.requests_for(told)) == 2)
            requests = [staged.source.request_for(silent), *staged.source.requests_for(told)]
            staged.stage.server.process.send_signal(signal.SIGTERM)
            answers = [live.answer(), held.answer(), whole.answer()]
        assert answers[0].body == SO_FAR + expected.error("server_shutdown", STOPPING)
        for answer in answers[1:]:
            assert answer.status == 503
            assert {"error": answer.error} == expected.error_object("server_shutdown", STOPPING)
        assert staged.stage.server.process.wait(timeout=httpclient.WAIT_S) == 0
        for answer in answers:
            staged.stage.recorded("shutdown", "server_shutdown", answer)
        for request in requests:
            machinetime.until(request.left.is_set, scene.SECOND)


def test_row_38_the_next_start_closes_what_a_killed_server_left_open(tmp_path: Path) -> None:
    with upstreams.Hosted() as source:
        settings = {"PROXY_UPSTREAM_URL": source.url, "PROXY_SSE_MAX_CONCURRENCY": "2"}
        arguments = ("--worker", "upstream")
        told = source.prompt([TOLD, "stall"])
        silent = source.prompt([STREAM_HEAD, "stall"])
        with (
            scene.started(*arguments, http_limits=None, data_dir=tmp_path, **settings) as server,
            scene.Asked(server, told, stream=True) as live,
            scene.Asked(server, silent, stream=True) as held,
        ):
            live.until(b'"lo"')
            requests = [source.request_for(told), source.request_for(silent)]
            server.stop(signal.SIGKILL)
            for request in requests:
                machinetime.until(request.left.is_set, scene.SECOND)
            assert not serverlog.has_ended(server, live.request_id)
        for _ in range(2):
            with scene.started(
                *arguments, http_limits=None, data_dir=tmp_path, **settings
            ) as server:
                server.wait_ready()
                assert server.stop() == 0
        for asked, status in ((live, 200), (held, 0)):
            story = serverlog.story(server, asked.request_id)
            (end,) = [event for event in story if isinstance(event, events.Terminal)]
            assert (end.kind, end.emission_trigger) == ("shutdown", "recovery")
            assert (end.status, story[-1]) == (status, end)
        assert server.replay().returncode == 0


def let_write(staged: Staged, most: int) -> None:
    """How long a file of the server's may be: at 1 every write fails, as on a full disk."""
    pid = staged.stage.server.process.pid
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))


ROOM: dict[str, Any] = {"PROXY_SSE_MAX_CONCURRENCY": "2", "said": ("event_log_failing",)}


def test_row_39_streams_go_on_while_the_disk_is_full_and_are_on_file_later() -> None:
    with upstream(**ROOM) as staged:
        gate, server = scripted.Gate(), staged.stage.server
        prompt = staged.source.prompt([TOLD, gate, FINISHED, "close"], [TOLD + FINISHED])
        with staged.stage.asked(prompt, stream=True) as live:
            live.until(b'"lo"')
            let_write(staged, 1)
            beside = staged.stage.ask(prompt, stream=True)
            gate.open()
            answers = beside, live.answer()
        for answer in answers:
            assert answer.body == SO_FAR + REST
            assert not serverlog.has_ended(server, answer.request_id)
        assert server.get("/readyz")[0] == 200
        let_write(staged, resource.RLIM_INFINITY)
        machinetime.until(lambda: goes_on_file(staged, *answers))
        staged.survived("completed", None, *answers)


def goes_on_file(staged: Staged, *answers: scene.Answer) -> bool:
    """Whether one more stream brings the records of earlier ones with it, as it shall in time."""
    staged.streamed([TOLD + FINISHED])
    return all(serverlog.has_ended(staged.stage.server, each.request_id) for each in answers)


def test_row_39_streams_are_refused_while_the_disk_is_full_where_the_policy_says_so() -> None:
    with upstream(**ROOM, PROXY_LOG_ON_ERROR="refuse") as staged:
        gate, server = scripted.Gate(), staged.stage.server
        prompt = staged.source.prompt([TOLD, gate, FINISHED])
        with staged.stage.asked(prompt, stream=True) as live:
            live.until(b'"lo"')
            let_write(staged, 1)
            gate.open()
            answer = live.answer()
        assert answer.body == SO_FAR + REST
        refused = staged.streamed([TOLD + FINISHED])
        assert (refused.status, refused.error["code"]) == (503, "worker_not_ready")
        assert "retry-after" in refused.headers
        assert server.get("/readyz")[0] == 503
        let_write(staged, resource.RLIM_INFINITY)
        machinetime.until(lambda: staged.streamed([TOLD + FINISHED]).status == 200)
        staged.survived("completed", None, answer)


def test_row_39_a_log_directory_that_goes_is_made_again() -> None:
    with upstream(**ROOM) as staged:
        shutil.rmtree(staged.stage.server.log_dir)

        def is_back() -> bool:
            answer = staged.streamed([TOLD + FINISHED])
            assert answer.body == SO_FAR + REST
            server = staged.stage.server
            return server.log_dir.exists() and serverlog.has_ended(server, answer.request_id)

        machinetime.until(is_back)
        staged.stage.released()


@pytest.fixture(scope="module")
def staged() -> Iterator[Staged]:
    limits = {"head_timeout": 0.3, "body_timeout": 0.3, "linger": 0.2}
    with upstream(http_limits=limits, PROXY_MAX_BODY_BYTES="100000") as staged:
        yield staged


PATH = "/v1/chat/completions"

JSON = "content-type: application/json"

BROKEN = {
    "not JSON": (httpwire.post(b"{nonsense", JSON, path=PATH), 400, "invalid_json"),
    "not an object": (httpwire.post(b"[1]", JSON, path=PATH), 400, "invalid_json"),
    "not UTF-8": (httpwire.post(b'{"model":"\xff"}', JSON, path=PATH), 400, "invalid_json"),
    "declared too large": (
        httpwire.get(PATH, JSON, "content-length: 100001", method="POST"),
        413,
        "request_too_large",
    ),
    "too large in chunks": (
        httpwire.get(PATH, JSON, "transfer-encoding: chunked", method="POST")
        + framed(b"x" * 100_001)
        + LAST,
        413,
        "request_too_large",
    ),
    "10,000 headers": (httpwire.get(PATH, *["a: b"] * 10_000), 431, "headers_too_large"),
    "no HTTP": (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", 400, "bad_http"),
    "slow head": (b"POST " + PATH.encode() + b" HTTP/1.1\r\nhost: x\r\n", 408, "slow"),
    "slow body": (
        httpwire.get(PATH, JSON, "content-length: 10", method="POST") + b"{",
        408,
        "slow",
    ),
}
"""Requests, with the status and the code of what is answered."""


@pytest.mark.parametrize(("sent", "status", "code"), BROKEN.values(), ids=BROKEN)
def test_row_40_a_broken_request_is_a_4xx_in_the_envelope(
    staged: Staged, sent: bytes, status: int, code: str
) -> None:
    asked = len(staged.source.server.requests)
    with connected(staged.stage.server) as client:
        with contextlib.suppress(ConnectionError):
            client.sendall(sent)
        with client.makefile("rb") as answers:
            head, body = response(answers)
    assert head.startswith(b"HTTP/1.1 %d " % status)
    error = json.loads(body)["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["code"] == ("request_timeout_client" if code == "slow" else code)
    assert len(staged.source.server.requests) == asked
    staged.stage.released()


def response(client: BinaryIO) -> tuple[bytes, bytes]:
    """Head and body of the next response; an interim one has none."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        line = client.readline()
        assert line, f"the connection ended: {head!r}"
        head += line
    fields = dict(line.lower().split(b": ", 1) for line in head.splitlines()[1:-1])
    if b"transfer-encoding" not in fields:
        return head, client.read(int(fields.get(b"content-length", 0)))
    body = b""
    while size := int(client.readline(), 16):
        body += client.read(size + 2)[:-2]
    client.readline()
    return head, body


def streaming(prompt: str, *headers: str) -> bytes:
    """A request for a stream."""
    messages = [{"role": "user", "content": prompt}]
    body = json.dumps({"model": scene.MODEL, "messages": messages, "stream": True}).encode()
    return httpwire.post(body, JSON, *headers, path=PATH)


def test_row_40_pipelined_requests_are_answered_in_order(staged: Staged) -> None:
    prompts = [
        staged.source.prompt([STREAM_HEAD, 0.1, framed(sse(chunk(name))) + FINISHED])
        for name in ("first", "second")
    ]
    with connected(staged.stage.server) as client, client.makefile("rb") as answers:
        client.sendall(b"".join(map(streaming, prompts)))
        bodies = [response(answers)[1] for _ in prompts]
    for body, name in zip(bodies, ("first", "second"), strict=True):
        answer = scene.Answer("", 200, {}, body, whole=True)
        assert answer.body == expected.role() + expected.content(name) + REST
    staged.stage.released()


def test_row_40_a_client_that_half_closes_has_left(staged: Staged) -> None:
    prompt = staged.source.prompt([TOLD, "stall"])
    with connected(staged.stage.server) as client:
        client.sendall(streaming(prompt, "x-request-id: half-closed"))
        request = staged.source.request_for(prompt)
        client.shutdown(socket.SHUT_WR)
        machinetime.until(request.left.is_set, scene.SECOND)
    staged.stage.released()
    last = serverlog.terminal(staged.stage.server, "half-closed")
    assert (last.kind, last.cause) == ("client_gone", "left")


def test_row_40_a_body_is_asked_for_where_the_client_expects_that(staged: Staged) -> None:
    head, _, body = streaming(scene.PLAIN, "expect: 100-continue").partition(b"\r\n\r\n")
    with connected(staged.stage.server) as client, client.makefile("rb") as answers:
        client.sendall(head + b"\r\n\r\n")
        assert response(answers)[0].startswith(b"HTTP/1.1 100 ")
        client.sendall(body)
        assert response(answers)[0].startswith(b"HTTP/1.1 200 ")
    staged.stage.released()
