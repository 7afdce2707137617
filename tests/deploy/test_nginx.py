"""A real nginx in front, as `docs/deploy/nginx.conf` has it, with its default buffering."""

import contextlib
import json
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.sync.client import unix_connect

from tests.support.client import httpclient
from tests.support.process import machinetime, serving
from tests.support.providers import scripted, upstreams

NGINX = shutil.which("nginx")

pytestmark = [
    pytest.mark.nginx,
    pytest.mark.skipif(NGINX is None, reason="needs nginx on PATH"),
]

SNIPPET = serving.ROOT / "docs" / "deploy" / "nginx.conf"

OURS = "127.0.0.1:11435"
"""Where the snippet looks for us."""

FLOOD = 640
"""Texts of 64 KiB each: more than the sockets between an upstream and a client hold."""

AROUND = """
daemon off;
master_process off;
pid {directory}/pid;
error_log {directory}/errors.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    server {{
        listen unix:{directory}/socket;
        {snippet}
    }}
}}
"""
"""A whole configuration, every other setting as nginx has it."""


@contextlib.contextmanager
def nginx(server: serving.Serve) -> Iterator[Path]:
    """An nginx in front of a server: the socket that it listens on."""
    assert NGINX is not None
    snippet = SNIPPET.read_text("utf-8")
    assert snippet.count(OURS) == 1
    assert "proxy_buffering" not in snippet
    with tempfile.TemporaryDirectory() as directory:
        where = snippet.replace(OURS, server.base.removeprefix("http://"))
        configuration = Path(directory, "nginx.conf")
        configuration.write_text(AROUND.format(directory=directory, snippet=where))
        errors = Path(directory, "errors.log")
        with subprocess.Popen((NGINX, "-e", errors, "-c", configuration)) as process:
            try:
                address = Path(directory, "socket")
                machinetime.until(lambda: listens(address) or process.poll() is not None)
                assert process.poll() is None, errors.read_text()
                yield address
            finally:
                process.terminate()


def listens(address: Path) -> bool:
    """Whether somebody takes connections there."""
    with socket.socket(socket.AF_UNIX) as attempt:
        return attempt.connect_ex(str(address)) == 0


def ask(address: Path) -> httpclient.Exchange:
    """A connection on which a stream was asked for."""
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(httpclient.WAIT_S)
    connection.connect(str(address))
    messages = [{"role": "user", "content": "hi"}]
    body = {"model": "m", "messages": messages, "stream": True}
    data = httpclient.encoded("http://localhost", "POST", "/v1/chat/completions", body)
    return httpclient.Exchange(connection, data)


def answer(*texts: str, gate: scripted.Gate | None = None) -> upstreams.Answer:
    """A stream of these texts; all but the first are said once the gate is open."""
    chunks = (*map(upstreams.chunk, texts), upstreams.chunk(finish="stop"))
    first, *others = (upstreams.framed(upstreams.sse(chunk)) for chunk in chunks)
    end = upstreams.framed(upstreams.DONE) + upstreams.LAST
    return [upstreams.STREAM_HEAD, first, *([gate] if gate else []), *others, end]


def test_the_first_token_is_there_before_the_last_is_said() -> None:
    gate = scripted.Gate()
    with (
        upstreams.stage([answer("first", "last", gate=gate)]) as stage,
        nginx(stage.server) as address,
        ask(address) as exchange,
    ):
        assert exchange.head.status == 200
        assert "x-accel-buffering" not in exchange.head.headers  # that was for nginx
        # The second word waits for the client to have the first.
        exchange.until(b'"content":"first"')
        assert b'"content":"last"' not in exchange.so_far
        gate.open()
        rest = exchange.response().body
    assert b'"content":"last"' in rest
    assert rest.endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:11435", "turntape.example"])
def test_nobody_behind_it_may_read_the_metrics_of_this_machine(host: str) -> None:
    with (
        serving.running("--worker", "scripted", PROXY_API_KEY="k" * 16) as server,
        nginx(server) as address,
    ):
        assert httpclient.ask(server.base, "GET", "/metrics").status == 200
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(httpclient.WAIT_S)
        connection.connect(str(address))
        data = httpclient.encoded("http://localhost", "GET", "/metrics", None, {"host": host})
        with httpclient.Exchange(connection, data, "GET") as exchange:
            assert exchange.response().status == 403


def test_the_routes_of_operators_and_tests_are_not_passed_on() -> None:
    key = "adminKey0123456789admin"
    environ = {"PROXY_ADMIN_KEY": key, "PROXY_TEST_ENDPOINTS": "true"}
    sent = {"authorization": f"Bearer {key}"}
    paths = ("/admin/maintenance", "/%61dmin/maintenance", "//admin/maintenance", "/__test/conc")
    with upstreams.stage([], **environ) as stage, nginx(stage.server) as address:
        for path in ("/admin/maintenance", "/__test/conc"):
            assert httpclient.ask(stage.server.base, "GET", path, None, sent).status == 200
        for path in paths:
            connection = socket.socket(socket.AF_UNIX)
            connection.settimeout(httpclient.WAIT_S)
            connection.connect(str(address))
            data = httpclient.encoded("http://localhost", "GET", path, None, sent)
            with httpclient.Exchange(connection, data, "GET") as exchange:
                assert exchange.response().status == 404, path


def test_a_websocket_is_passed_on() -> None:
    with (
        serving.running("--worker", "scripted", PROXY_SCRIPTED_SPEED="0") as server,
        nginx(server) as address,
        unix_connect(str(address), "ws://localhost/v1/responses") as client,
    ):
        asked = {"type": "response.create", "model": "text-short", "input": "Hi"}
        client.send(json.dumps(asked))
        first = json.loads(client.recv(timeout=machinetime.HANG_S))
        assert first["type"] == "response.created"


def test_a_client_that_leaves_ends_the_stream_behind() -> None:
    script = [answer("first", "last", gate=scripted.Gate())]
    with upstreams.stage(script) as stage, nginx(stage.server) as address:
        with ask(address) as exchange:
            exchange.until(b'"content":"first"')
        machinetime.until(
            lambda: [end["kind"] for end in stage.server.terminals()] == ["client_gone"]
        )


def test_a_slow_client_holds_its_upstream_back() -> None:
    # With buffering on, nginx would take all of it, and put it into a file.
    texts = ["x" * 2**16] * FLOOD
    with (
        upstreams.stage([answer(*texts)], PROXY_EVENT_LOG="masked") as stage,
        nginx(stage.server) as address,
        ask(address) as exchange,
    ):
        machinetime.until(lambda: pressed(stage.server))
        (request,) = stage.upstream.requests
        assert not request.answered.is_set()
        body = exchange.response().body
        assert request.answered.is_set()
    *chunks, _, done = body.decode().split("\n\n")[:-1]
    assert done == "data: [DONE]"
    # A long text goes out in pieces: what counts is what they are together.
    deltas = [json.loads(each.removeprefix("data: "))["choices"][0]["delta"] for each in chunks]
    text = "".join(delta["content"] for delta in deltas)
    assert (len(text), set(text)) == (sum(map(len, texts)), {"x"})


def pressed(server: serving.Serve) -> bool:
    """Whether the log says that somebody reads too slowly."""
    segments = server.log_dir.glob("events-*.jsonl")
    return any(b'"event":"buffer_pressure"' in path.read_bytes() for path in segments)
