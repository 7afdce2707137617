"""A script is run by a shell, and curl asks what the client asked."""

import http.server
import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine.log.find import stories
from machines import events
from server.cli.log.formats import curl
from tests.server.cli.log.formats import formatting
from tests.support.logs import corpus, logs
from tests.support.process import machinetime

needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")


class Recorder(http.server.BaseHTTPRequestHandler):
    """Keeps what it is asked."""

    asked: list[tuple[str, dict[str, str], bytes]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.asked.append((self.path, headers, body))
        self.send_response(200)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, format: str, *_: Any) -> None:  # noqa: A002 - its name
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[http.server.HTTPServer]:
    Recorder.asked = []
    with http.server.HTTPServer(("127.0.0.1", 0), Recorder) as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        yield listening
        listening.shutdown()
        thread.join()


def run(script: bytes, server: http.server.HTTPServer) -> bytes:
    base = f"http://127.0.0.1:{server.server_port}/v1"
    environ = {"PATH": "/usr/bin:/bin", "OPENAI_BASE_URL": base, "OPENAI_API_KEY": "sk-mine"}
    done = subprocess.run(
        ("sh", "-s"), input=script, env=environ, capture_output=True, timeout=machinetime.HANG_S
    )
    assert (done.returncode, done.stderr) == (0, b"")
    return done.stdout


@needs_curl
def test_curl_asks_what_the_client_asked(server: http.server.HTTPServer) -> None:
    names = ("tool-call", "responses-text")
    script = formatting.written(curl.write, *map(formatting.recorded, names))
    assert run(script, server) == b"okok"
    for name, (path, headers, body) in zip(names, Recorder.asked, strict=True):
        assert path == ("/v1/responses" if name == "responses-text" else "/v1/chat/completions")
        assert json.loads(body) == corpus.on_file(name).request
        assert headers["authorization"] == "Bearer sk-mine"
        assert headers["content-type"] == "application/json"
        assert headers["x-request-id"] == name


HOSTILE = "'; touch /tmp/x; echo '$(id) `id` \\ \" \n \x1b[31m \u202e 東京 😀"
"""A text that would do something in a shell, or to a terminal."""


@needs_curl
def test_what_somebody_else_wrote_is_data(server: http.server.HTTPServer, tmp_path: Path) -> None:
    body = {"model": HOSTILE, "messages": [{"role": "user", "content": HOSTILE}]}
    event_log = logs.open_log(tmp_path, content="full")
    raw = msgspec.Raw(msgspec.json.encode(body))
    logs.play(event_log, "st_1", "a", content="full", model=HOSTILE, request=raw)
    event_log.close()
    script = formatting.written(curl.write, stories.story(tmp_path, "st_1"))
    assert all(line.isprintable() for line in script.decode().splitlines())
    run(script, server)
    assert json.loads(Recorder.asked[0][2]) == body


def test_no_key_is_in_it_and_what_is_masked_is_said(tmp_path: Path) -> None:
    script = formatting.written(curl.write, formatting.masked(tmp_path)).decode()
    assert "Bearer $OPENAI_API_KEY" in script
    assert "# The texts of the request are masked." in script


def test_what_was_not_asked_is_a_comment(tmp_path: Path) -> None:
    event_log = logs.open_log(tmp_path, content="full")
    logs.play(event_log, "st_1", "a", content="full")
    event_log.close()
    script = formatting.written(curl.write, stories.story(tmp_path, "st_1")).decode()
    assert "# The request is not in the log." in script
    assert "curl" not in script


def test_a_refusal_that_names_no_model_is_a_comment_without_one(tmp_path: Path) -> None:
    event_log = logs.open_log(tmp_path)
    refused = events.RequestRejected(request_id="req_1", code="invalid_json", status=400)
    event_log.stream("rj_1").close(refused, "rejected")
    event_log.close()
    script = formatting.written(curl.write, stories.story(tmp_path, "rj_1")).decode()
    assert "# rj_1: rejected\n" in script
