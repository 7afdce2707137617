"""Of a large request the log keeps an outline, and its stream replays like any other."""

import json
from typing import Any

import pytest

from engine.log.content import keptrequest
from tests.support.client import httpclient
from tests.support.process import serving
from tests.support.requests import largebodies

pytestmark = pytest.mark.slow

LARGE = b'"%b"' % (b"Zanzibar " * 100_000)
"""A text of 0.9 MB."""

CHAT = largebodies.request(largebodies.message(LARGE), stream=b"true", user=b'"Jane"')
RESPONSES = b'{"model":"gpt-5.5","stream":true,"input":%b,"user":"Jane"}' % LARGE
INSTRUCTED = b'{"model":"gpt-5.5","stream":true,"input":"hi","instructions":%b}' % LARGE


def opened(server: serving.Serve) -> list[dict[str, Any]]:
    return [record for record in server.records() if record["event"] == "opened"]


@pytest.mark.long(usual=("full",))
@pytest.mark.parametrize("content", ["masked", "full"])
def test_a_large_request_is_answered_kept_in_outline_and_replayed(content: str) -> None:
    requests = (
        ("/chat/completions", CHAT),
        ("/responses", RESPONSES),
        ("/responses", INSTRUCTED),
    )
    with serving.running("--worker", "scripted", PROXY_EVENT_LOG=content) as server:
        for path, body in requests:
            assert b"[DONE]" in post(server, path, body)
        assert server.stop() == 0
        chat, plain, instructed = opened(server)
        for record in (chat, plain, instructed):
            assert len(json.dumps(record)) < keptrequest.KEPT_BYTES
            assert "Zanzibar" not in json.dumps(record)
        user = {"masked": "****", "full": "Jane"}[content]
        assert chat["request"]["user"] == plain["request"]["user"] == user
        assert chat["request"]["messages"]["omitted"]["items"] == 1
        assert plain["request"]["input"]["omitted"]["bytes"] == len(LARGE)
        compared = [record.get("hash_key") is not None for record in (chat, plain, instructed)]
        assert compared == ([True, True, False] if content == "full" else [False] * 3)
        replayed = server.replay()
        assert replayed.returncode == 0, replayed.stdout


def test_a_response_repeats_a_request_that_the_log_has_not() -> None:
    with serving.running("--worker", "scripted") as server:
        body = post(server, "/responses", INSTRUCTED)
    (data,) = [line for line in body.splitlines() if b'"type":"response.completed"' in line]
    completed = json.loads(data.removeprefix(b"data: "))["response"]
    assert completed["instructions"] == json.loads(LARGE)


def post(server: serving.Serve, path: str, body: bytes) -> bytes:
    """The whole body of an answer."""
    response = httpclient.ask(server.url, "POST", path, body.replace(b"gpt-5.5", b"text-short"))
    assert response.status == 200, response
    return response.body
