"""How many streams may be open is counted by who holds a permit, whatever an answer says."""

import concurrent.futures
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.process import machinetime, serving
from tests.support.providers import scripted, upstreams
from tests.support.providers.upstreams import STREAM_HEAD, chunk, framed, response, sse

LIMIT = 2


@pytest.fixture(scope="module")
def source() -> Iterator[upstreams.Hosted]:
    with upstreams.Hosted() as hosted:
        yield hosted


@pytest.fixture(scope="module")
def server(source: upstreams.Hosted) -> Iterator[serving.Serve]:
    with serving.running(
        "--worker",
        "upstream",
        PROXY_UPSTREAM_URL=source.url,
        PROXY_SSE_MAX_CONCURRENCY=str(LIMIT),
    ) as running:
        yield running


def body(prompt: str, **more: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": prompt}], **more}


CODES = ("concurrency_exceeded", "worker_busy", "server_shutdown", "internal_error")
"""Codes of ours."""


def failing(code: str) -> dict[str, upstreams.Answer]:
    """Answers of an upstream that uses one, before, at and behind the beginning of a stream."""
    error = {"error": {"message": "No.", "code": code}}
    return {
        "429": response(429, error),
        "first event": [STREAM_HEAD, framed(sse(error)), "close"],
        "after content": [STREAM_HEAD, framed(sse(chunk("Hel"), error)), "close"],
    }


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("where", failing(""))
def test_no_permit_follows_from_the_code_of_an_upstream(
    server: serving.Serve, source: upstreams.Hosted, code: str, where: str
) -> None:
    gate = scripted.Gate()
    waiting = source.prompt([STREAM_HEAD, framed(sse(chunk("Hi"))), gate, "close"])
    hostile = source.prompt(failing(code)[where])
    with concurrent.futures.ThreadPoolExecutor(LIMIT) as pool:
        held = [pool.submit(server.stream, body(waiting))]
        try:
            source.request_for(waiting)
            for _ in range(LIMIT + 1):
                if where == "after content":
                    assert b'"Hel"' in server.stream(body(hostile))
                else:
                    assert server.post(body(hostile, stream=True))[0] >= 400
            assert len(source.requests_for(hostile)) > LIMIT  # it was asked each time
            held.append(pool.submit(server.stream, body(waiting)))
            machinetime.until(lambda: len(source.requests_for(waiting)) == LIMIT)
            status, refused = server.post(body("one more", stream=True))
            assert (status, refused["error"]["code"]) == (429, "concurrency_exceeded")
        finally:
            gate.open()
        assert all(b'"Hi"' in each.result() for each in held)
    assert b"[DONE]" in server.stream(body("afterwards"))


def test_what_will_never_fit_is_refused_for_good(server: serving.Serve) -> None:
    status, refused = server.post(body("too many", stream=True, n=LIMIT + 1))
    assert status == 400
    assert refused["error"]["param"] == "n"
    assert f"at most {LIMIT} streams" in refused["error"]["message"]
    assert b"[DONE]" in server.stream(body("as many as there may be", n=LIMIT))
    assert server.post(body("not streamed", n=LIMIT + 1))[0] == 200
