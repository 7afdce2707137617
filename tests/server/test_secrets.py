"""The keys of the settings reach no client, no record and no line, whoever repeats them."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.client import httpclient
from tests.support.process import serving
from tests.support.providers import upstreams

pytestmark = pytest.mark.slow

OWN = "ownKey0123456789ownKey"
KEY = "upKey9876543210upKey99"
TENANT = "tenantSecret0123456789"
ENVIRON = {
    "PROXY_API_KEY": OWN,
    "PROXY_UPSTREAM_API_KEY": KEY,
    "PROXY_UPSTREAM_HEADERS": f"x-tenant: {TENANT}",
}
SECRETS = (OWN, KEY, TENANT)


def ask(url: str, body: Any, **headers: str) -> bytes:
    """The whole of an answer, its head too, whatever its status."""
    given = {"authorization": f"Bearer {OWN}", **headers}
    response = httpclient.ask(url, "POST", "/chat/completions", body, given)
    return str(response.headers).encode() + response.body


def answers(secret: str) -> list[upstreams.Answer]:
    """What an upstream may say with a secret in it, apart from an answer's text."""
    error = {"message": f"Incorrect API key provided: {secret}. Get one.", "code": secret}
    return [
        *(
            upstreams.response(status, {"error": {**error, "param": secret}})
            for status in (400, 401, 403, 404, 422, 429, 500)
        ),
        upstreams.response(401, f"no such key: {secret}".encode(), kind="text/plain"),
        upstreams.stream(upstreams.chunk("a"), {"error": {**error, "type": secret}}),
        upstreams.stream(upstreams.chunk("a"), f"{{{secret} not JSON"),
        upstreams.stream(upstreams.chunk("a", finish=secret)),
    ]


@contextlib.contextmanager
def in_front_of_upstream(
    content: str, data_dir: Path
) -> Iterator[tuple[serving.Serve, upstreams.Hosted]]:
    """A server that has keys; what is left of it is looked through."""
    with (
        upstreams.Hosted() as upstream,
        serving.running(
            "--worker",
            "upstream",
            data_dir=data_dir,
            PROXY_UPSTREAM_URL=upstream.url,
            PROXY_EVENT_LOG=content,
            **ENVIRON,
        ) as served,
    ):
        yield served, upstream
        served.stop()
        assert served.records(), "there is something to look at"
        _check(served, data_dir)


@pytest.mark.long(usual=("full",))
@pytest.mark.parametrize("content", ["full", "masked"])
def test_an_upstream_that_repeats_a_secret_tells_it_nobody(content: str, tmp_path: Path) -> None:
    with in_front_of_upstream(content, tmp_path) as (served, upstream):
        for secret in SECRETS:
            for answer in answers(secret):
                for streamed in (False, True):
                    prompt = upstream.prompt(answer)
                    message = {"role": "user", "content": prompt}
                    body = {"model": "m", "messages": [message], "stream": streamed}
                    assert secret.encode() not in ask(served.url, body)


def fields(secret: str) -> list[tuple[dict[str, Any], dict[str, str]]]:
    """Where a client may put a secret, apart from a large request."""
    function = {"type": "function", "function": {"name": secret, "parameters": {}}}
    call = {"id": secret, "type": "function", "function": {"name": "f", "arguments": "{}"}}
    results = [
        {"role": "user", "content": secret},
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": secret, "content": secret},
    ]
    return [
        ({"user": secret, "metadata": {"api_key": secret, "x": secret}}, {}),
        ({"model": secret}, {}),
        ({secret: 1}, {}),
        ({}, {"x-request-id": secret}),
        ({"stop": [secret]}, {}),
        ({"tools": [function]}, {}),
        ({"messages": results}, {}),
    ]


@pytest.mark.parametrize("content", ["full", "masked"])
def test_a_secret_in_a_request_is_in_no_record(content: str, tmp_path: Path) -> None:
    text = upstreams.stream(
        upstreams.chunk("Hello <use_tool"),
        upstreams.chunk(" there"),
        upstreams.chunk(finish="stop"),
    )
    with in_front_of_upstream(content, tmp_path) as (served, upstream):
        for secret in SECRETS:
            for members, headers in fields(secret):
                for streamed in (False, True):
                    message = {"role": "user", "content": upstream.prompt(text)}
                    body = {"model": "m", "messages": [message], "stream": streamed, **members}
                    ask(served.url, body, **headers)


def _check(served: serving.Serve, data_dir: Path) -> None:
    """No file and no line has a secret, and the log replays."""
    for path in data_dir.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            for secret in SECRETS:
                assert secret.encode() not in data, path
    for secret in SECRETS:
        assert secret not in json.dumps(served.lines)
    replayed = serving.command("replay", str(data_dir / "log"))
    assert replayed.returncode == 0, replayed.stdout
