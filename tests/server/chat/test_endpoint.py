"""What the chat endpoint does with one request, on a real server that plays transcripts."""

import itertools
from collections.abc import Iterator

import pytest

from tests.support.client import httpclient
from tests.support.process import serving

pytestmark = pytest.mark.slow

BODY = {
    "model": "text-short",
    "stream": True,
    "messages": [{"role": "user", "content": "Hello"}],
}


@pytest.fixture(scope="module")
def unhurried() -> Iterator[serving.Serve]:
    """A server whose answers have silences longer than its heartbeats."""
    with serving.running(
        "--worker", "scripted", PROXY_SCRIPTED_SPEED="0.3", PROXY_SSE_KEEPALIVE_MS="10"
    ) as server:
        yield server


def first_frames(server: serving.Serve, path: str, **headers: str) -> bytes:
    """The beginning of a streamed answer: enough of it for several silences."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    with httpclient.begin(server.base, "POST", path, BODY, sent) as exchange:
        assert exchange.head.status == 200
        return b"".join(itertools.islice(exchange.lines(), 40))


def test_silence_is_filled_with_comments_between_frames(unhurried: serving.Serve) -> None:
    found = first_frames(unhurried, "/v1/chat/completions")
    assert found.startswith(b"data: ")
    assert b"\n\n: keepalive\n\ndata: " in found


@pytest.mark.long(usual=("/v1/chat/completions-headers1",))
@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/v1/chat/completions?no_keepalive=1", {}),
        ("/v1/chat/completions", {"x_no_keepalive": "1"}),
        ("/v1/chat/completions", {"user_agent": "Mozilla/5.0 Electron/30"}),
        ("/v1/chat/completions", {"user_agent": "obsidian/1.7"}),
    ],
)
def test_clients_that_fail_on_comments_get_none(
    unhurried: serving.Serve, path: str, headers: dict[str, str]
) -> None:
    found = first_frames(unhurried, path, **headers)
    assert found.count(b"data: ") == 20
    assert b": keepalive" not in found
