"""Responses in the background when their server stops, is killed, or has another key."""

import signal
from pathlib import Path

import pytest

from tests.server import keyed
from tests.support.client import httpclient
from tests.support.client.responsesclient import Client, Json
from tests.support.logs import serverlog
from tests.support.process import machinetime, serving
from tests.support.providers import scripted, upstreams
from tests.support.providers.upstreams import DONE, LAST, STREAM_HEAD, chunk, counted, framed, sse

pytestmark = pytest.mark.slow

HEL = STREAM_HEAD + framed(sse(chunk("Hel")))
REST = framed(sse(chunk("lo"), chunk(finish="stop"), counted(7, 2)) + DONE) + LAST
"""The two parts of what an upstream says."""


def test_a_drain_lets_them_finish(tmp_path: Path) -> None:
    gate = scripted.Gate()
    with (
        upstreams.Hosted() as source,
        serving.running(
            "--worker", "upstream", data_dir=tmp_path, PROXY_UPSTREAM_URL=source.url
        ) as server,
    ):
        client = Client(server)
        response_id = client.made(source.prompt([HEL, gate, REST]), background=True)["id"]
        server.process.send_signal(signal.SIGTERM)
        machinetime.until(lambda: any(line.get("state") == "draining" for line in server.lines))
        assert server.process.poll() is None
        gate.open()
        assert server.process.wait(timeout=httpclient.WAIT_S) == 0
        serverlog.audit(server)
    assert kept(tmp_path, response_id)["status"] == "completed"


def test_the_deadline_of_a_drain_fails_them(tmp_path: Path) -> None:
    with (
        upstreams.Hosted() as source,
        serving.running(
            "--worker",
            "upstream",
            data_dir=tmp_path,
            PROXY_UPSTREAM_URL=source.url,
            PROXY_DRAIN_TIMEOUT_MS="300",
        ) as server,
    ):
        client = Client(server)
        with client.creating(source.prompt([HEL, "stall"]), background=True) as live:
            response_id = live.response_id
            live.until(b'"delta":"Hel"')
            server.process.send_signal(signal.SIGTERM)
            told = live.reply().told
        assert server.process.wait(timeout=httpclient.WAIT_S) == 0
        serverlog.audit(server)
    assert told[-1]["response"]["error"]["message"] == "The server is stopping."
    assert kept(tmp_path, response_id) == told[-1]["response"]


def test_what_a_killed_server_was_making_has_failed(tmp_path: Path) -> None:
    with (
        upstreams.Hosted() as source,
        serving.running(
            "--worker", "upstream", data_dir=tmp_path, PROXY_UPSTREAM_URL=source.url
        ) as server,
    ):
        response = Client(server).made(source.prompt([HEL, "stall"]), background=True)
        server.stop(signal.SIGKILL)
    found = kept(tmp_path, response["id"])
    assert found == {
        **response,
        "status": "failed",
        "error": {
            "code": "server_error",
            "message": "The response was interrupted by a restart.",
        },
    }


def test_another_keys_run_is_not_there(tmp_path: Path) -> None:
    with upstreams.Hosted() as source:
        keys = keyed.write(tmp_path / "keys", one=keyed.held("one"), two=keyed.held("two"))
        settings = {"PROXY_UPSTREAM_URL": source.url, "PROXY_API_KEYS_FILE": str(keys)}
        with serving.running("--worker", "upstream", data_dir=tmp_path, **settings) as server:
            mine = Client(server, keyed.secret("one"))
            response_id = mine.made("hi", background=True)["id"]
            nobody = Client(server).get(response_id, "?stream=true")
            assert nobody.problem == (401, "invalid_api_key", None)
            other = Client(server, keyed.secret("two"))
            for gone in (
                other.get(response_id),
                other.get(response_id, "?stream=true"),
                other.cancel(response_id),
            ):
                assert gone.problem == (404, "response_not_found", None)


def kept(data_dir: Path, response_id: str) -> Json:
    """What the next server knows of a response."""
    with serving.running(
        "--worker", "scripted", data_dir=data_dir, PROXY_EVENT_LOG="off"
    ) as server:
        return Client(server).get(response_id).body
