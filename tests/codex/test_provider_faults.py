"""What a client gets of a model provider that fails, by way of the real Codex binary.

Each fault is asked for twice at once, streamed and not: faults 2, 3, 9-16, 24 and 26 of an HTTP
upstream in the form that Codex gives them, and how often the provider is asked.
"""

import concurrent.futures
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests import asking, replies, serving
from tests.provider import Provider, Request
from tests.replies import (
    Closed,
    Completed,
    Cut,
    Failed,
    HttpError,
    Incomplete,
    Message,
    Refusal,
    Stream,
    Usage,
)

pytestmark = pytest.mark.codex

KEY = "sk-hidden-7c1d"

COUNTS = Usage(input_tokens=21, output_tokens=34, cached_tokens=13, reasoning_tokens=8)

SECRETIVE = (
    f"No: see https://inner.example:8443/v1?q=1, host 10.1.2.3:99, key {KEY}, Bearer abc.def-ghi"
)
"""A provider's message that names what no client may see."""


def rejected(status: int, **error: Any) -> HttpError:
    """An HTTP error of the provider with an error object."""
    return HttpError(status, {"error": {"message": SECRETIVE, **error}})


class Fault(NamedTuple):
    """A fault before any output.

    Attributes:
        attempts: how often the provider is asked.
        headers: what the error has beside its body.
    """

    answer: replies.Answer
    status: int
    type: str
    code: str
    attempts: int = 1
    headers: tuple[tuple[str, str | None], ...] = ()
    param: str | None = None


INVALID, SERVER = "invalid_request_error", "server_error"

AGAIN = (("retry-after", "1"), ("x-should-retry", None))

FAULTS: dict[str, Fault] = {
    "400": Fault(
        rejected(400, code="bad", param="input[0]"), 400, INVALID, "bad", param="input[0]"
    ),
    "401": Fault(rejected(401), 401, "authentication_error", "worker_unauthorized"),
    "403": Fault(rejected(403), 403, "permission_error", "provider_forbidden"),
    "404": Fault(rejected(404), 404, INVALID, "model_not_found"),
    "413": Fault(rejected(413), 413, INVALID, "request_too_large"),
    "422": Fault(rejected(422), 422, INVALID, "provider_rejected"),
    "429": Fault(rejected(429), 429, "rate_limit_error", "rate_limit_exceeded", headers=AGAIN),
    "usage limit": Fault(
        rejected(429, type="usage_limit_reached"),
        429,
        "insufficient_quota",
        "usage_limit_exceeded",
        headers=(("x-should-retry", "false"),),
    ),
    "500": Fault(rejected(500), 502, SERVER, "upstream_error", attempts=3, headers=AGAIN),
    "503": Fault(rejected(503), 502, SERVER, "upstream_error", attempts=3, headers=AGAIN),
    "reset before the head": Fault(Cut(), 502, SERVER, "upstream_disconnected", attempts=3),
    "reset before the first token": Fault(
        Stream((Cut(),)), 502, SERVER, "upstream_disconnected", attempts=3
    ),
    "closed before the first token": Fault(
        Stream(end=Closed()), 502, SERVER, "upstream_disconnected", attempts=3
    ),
    "gave up": Fault(
        Stream(end=Failed("server_error", SECRETIVE)),
        502,
        SERVER,
        "upstream_disconnected",
        attempts=3,
    ),
    "overloaded": Fault(
        Stream(end=Failed("server_is_overloaded", SECRETIVE)),
        502,
        SERVER,
        "upstream_error",
        attempts=3,
    ),
    "context": Fault(
        Stream(end=Failed("context_length_exceeded", SECRETIVE)),
        400,
        INVALID,
        "context_length_exceeded",
    ),
    "rate": Fault(
        Stream(end=Failed("rate_limit_exceeded", SECRETIVE)),
        429,
        "rate_limit_error",
        "rate_limit_exceeded",
        headers=AGAIN,
    ),
    "quota": Fault(
        Stream(end=Failed("insufficient_quota", SECRETIVE)),
        429,
        "insufficient_quota",
        "usage_limit_exceeded",
        headers=(("x-should-retry", "false"),),
    ),
}

BROKEN: dict[str, replies.Answer] = {
    "reset": Stream((Message(("so ", "far", Cut())),)),
    "closed": Stream((Message(("so ", "far")),), end=Closed()),
    "failed": Stream((Message(("so ", "far")),), end=Failed("server_error", SECRETIVE)),
}
"""Faults after two pieces of text."""


class Ending(NamedTuple):
    """An answer that is whole although it did not end as it should."""

    answer: Stream
    text: str
    reason: str
    usage: Usage | None


ENDINGS: dict[str, Ending] = {
    "max_output_tokens": Ending(
        Stream((Message(("so ", "far")),), Incomplete("max_output_tokens"), COUNTS),
        "so far",
        "length",
        COUNTS,
    ),
    "content_filter": Ending(
        Stream((Message(("so ", "far")),), Incomplete("content_filter"), COUNTS),
        "so far",
        "content_filter",
        None,
    ),
    "content_filter at once": Ending(
        Stream((), Incomplete("content_filter"), COUNTS), "", "content_filter", None
    ),
    "refusal": Ending(
        Stream((Refusal(("I ", "won't.")),), usage=COUNTS), "", "content_filter", COUNTS
    ),
    "not streamed": Ending(
        Stream((Message(("whole",), streamed=False),), usage=COUNTS), "whole", "stop", COUNTS
    ),
    "empty": Ending(Stream((), Completed(), Usage(21, 8, 0, 8)), "", "stop", Usage(21, 8, 0, 8)),
}

SCRIPT: dict[str, replies.Answer] = {
    **{name: fault.answer for name, fault in FAULTS.items()},
    **BROKEN,
    **{name: ending.answer for name, ending in ENDINGS.items()},
}


def script(request: Request) -> replies.Answer:
    """The answer to `… streamed` and `… whole`."""
    return SCRIPT[request.prompt.rpartition(", ")[0]]


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    with Provider(script) as provider:
        yield provider


@pytest.fixture(scope="module")
def server(provider: Provider) -> Iterator[serving.Serve]:
    with serving.codex(provider.url, PROXY_CODEX_API_KEY=KEY) as server:
        yield server
        asking.audit(server, f":{provider.port}", *hosts(provider.port))


def hosts(port: int) -> tuple[str, ...]:
    """What must be in no message and no line."""
    return ("inner.example", "10.1.2.3", KEY, "abc.def", f"127.0.0.1:{port}", f"localhost:{port}")


def both(server: serving.Serve, name: str) -> tuple[asking.Answer, asking.Answer]:
    """The answer streamed and not, asked for at once."""
    streaming: dict[str, Any] = {"stream": True, "stream_options": {"include_usage": True}}
    with concurrent.futures.ThreadPoolExecutor() as pool:
        streamed = pool.submit(asking.ask, server, f"{name}, streamed", **streaming)
        whole = pool.submit(asking.ask, server, f"{name}, whole")
        return streamed.result(), whole.result()


def attempts(provider: Provider, name: str) -> list[int]:
    """How often the provider was asked for each."""
    prompts = [request.prompt for request in provider.requests]
    return [prompts.count(f"{name}, {how}") for how in ("streamed", "whole")]


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_before_any_output_is_an_http_status(
    server: serving.Serve, provider: Provider, name: str
) -> None:
    fault = FAULTS[name]
    for answer in both(server, name):
        assert answer.status == fault.status
        assert answer.headers["content-type"] == "application/json"
        assert set(answer.error) == {"message", "type", "param", "code"}
        assert (answer.error["type"], answer.error["code"]) == (fault.type, fault.code)
        assert answer.error["param"] == fault.param
        assert answer.error["message"]
        for header, value in fault.headers:
            assert answer.headers.get(header) == value, header
        assert [text for text in hosts(provider.port) if text in str(answer)] == []
        last = asking.recorded(server, answer)
        assert (last.kind, last.code) == ("upstream_error", fault.code)
    assert attempts(provider, name) == [fault.attempts] * 2


@pytest.mark.parametrize("name", BROKEN)
def test_a_fault_after_output_is_an_error_frame(
    server: serving.Serve, provider: Provider, name: str
) -> None:
    streamed, whole = both(server, name)
    assert streamed.status == 200
    assert streamed.outline == ["role", "content", "error"]
    assert streamed.text == "so far"
    assert whole.status == 502
    for answer in (streamed, whole):
        assert (answer.error["type"], answer.error["code"]) == (SERVER, "upstream_disconnected")
        assert [text for text in hosts(provider.port) if text in str(answer)] == []
        assert asking.recorded(server, answer).kind == "upstream_error"
    assert attempts(provider, name) == [1, 1]


@pytest.mark.parametrize("name", ENDINGS)
def test_an_early_end_is_an_answer(server: serving.Serve, provider: Provider, name: str) -> None:
    ending = ENDINGS[name]
    counts = ending.usage or Usage(0, 0, 0, 0)
    streamed, whole = both(server, name)
    content = ["content"] if ending.text else []
    assert streamed.outline == ["role", *content, "finish", "usage", "done"]
    unknown = ending.usage is None
    assert streamed.comments == (["x-turntape-usage: unknown"] if unknown else [])
    assert whole.headers.get("x-turntape-usage") == ("unknown" if unknown else None)
    for answer in (streamed, whole):
        assert answer.status == 200
        assert (answer.text, answer.finish_reason) == (ending.text, ending.reason)
        assert answer.usage == {
            "prompt_tokens": counts.input_tokens,
            "completion_tokens": counts.output_tokens,
            "total_tokens": counts.input_tokens + counts.output_tokens,
            "prompt_tokens_details": {"cached_tokens": counts.cached_tokens},
            "completion_tokens_details": {"reasoning_tokens": counts.reasoning_tokens},
        }
        last = asking.recorded(server, answer)
        assert (last.kind, last.code) == ("completed", None)
        assert (last.usage is None) == unknown
    assert attempts(provider, name) == [1, 1]


@pytest.mark.parametrize("how", ["refused", "no such host"])
def test_a_provider_that_cannot_be_reached(how: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        unused = taken.getsockname()[1]
    urls = {
        "refused": f"http://127.0.0.1:{unused}/v1",
        "no such host": "http://inner.example.invalid/v1",
    }
    hidden = hosts(unused)
    with serving.codex(urls[how]) as server:
        began = time.monotonic()
        for answer in both(server, "hi"):
            assert answer.status == 502
            assert answer.error["code"] == "upstream_error"
            assert [text for text in hidden if text in str(answer)] == []
            assert asking.recorded(server, answer).kind == "upstream_error"
        assert time.monotonic() - began < 5
        asking.audit(server, *hidden)


@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_codex_without_a_login_is_a_401_that_says_what_to_do(
    tmp_path: Path, elsewhere: bool
) -> None:
    if elsewhere:
        (tmp_path / ".codex").mkdir()
        (tmp_path / ".codex" / "auth.json").write_text("{}")
    with serving.running(HOME=str(tmp_path)) as server:
        for answer in both(server, "hi"):
            assert (answer.status, answer.error["code"]) == (401, "worker_unauthorized")
            assert answer.error["type"] == "authentication_error"
            assert "turntape login" in answer.error["message"]
            assert ("~/.codex" in answer.error["message"]) == elsewhere
            assert str(tmp_path) not in str(answer)
        asking.audit(server)
