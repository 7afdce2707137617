"""Tests of a limit can see what counts: how many streams are open, and how many may be."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.server import plain
from tests.support.client import chatclient, responsesclient
from tests.support.process import machinetime, serving
from tests.support.providers import scripted, upstreams
from tests.support.providers.upstreams import STREAM_HEAD, chunk, framed, sse


@pytest.fixture(scope="module")
def source() -> Iterator[upstreams.Hosted]:
    with upstreams.Hosted() as hosted:
        yield hosted


def limited(source: upstreams.Hosted, limit: int, **environ: str) -> Any:
    """A server that lets so many streams be open."""
    settings = {
        "PROXY_UPSTREAM_URL": source.url,
        "PROXY_SSE_MAX_CONCURRENCY": str(limit),
        **environ,
    }
    return serving.running("--worker", "upstream", data_dir=None, **settings)


@pytest.fixture(scope="module")
def single(source: upstreams.Hosted) -> Iterator[serving.Serve]:
    with limited(source, 1, PROXY_TEST_ENDPOINTS="true") as server:
        yield server


def held(source: upstreams.Hosted, gate: scripted.Gate) -> str:
    """The prompt of an answer that ends when it may."""
    rest = framed(sse(chunk(finish="stop"), "[DONE]"))
    return source.prompt([STREAM_HEAD, framed(sse(chunk("Hi"))), gate, rest, "close"])


def counts(headers: dict[str, str]) -> tuple[str | None, ...]:
    """Before, after and limit."""
    return tuple(headers.get(f"x-conc-{name}") for name in ("before", "after", "limit"))


def told(server: serving.Serve) -> dict[str, int]:
    """What the endpoint says."""
    answer = plain.ask(server, "GET", "/__test/conc")
    assert answer.status == 200
    found: dict[str, int] = json.loads(answer.body)
    return found


def test_s4_the_second_stream_at_a_limit_of_one_is_429_every_time(
    single: serving.Serve, source: upstreams.Hosted
) -> None:
    responses = responsesclient.Client(single)
    for _ in range(10):
        gate = scripted.Gate()
        prompt = held(source, gate)
        with chatclient.LiveChat(single, prompt, stream=True) as first:
            first.next("content")
            assert counts(first.head.headers) == ("0", "1", "1")
            assert told(single) == {"before": 1, "after": 1, "limit": 1}
            second = chatclient.ask(single, prompt, stream=True)
            assert (second.status, second.error["code"]) == (429, "concurrency_exceeded")
            assert second.headers["retry-after"] == "1"
            assert counts(second.headers) == ("1", "1", "1")
            third = responses.create(prompt, stream=True)
            assert third.problem[:2] == (429, "concurrency_exceeded")
            gate.open()
            assert first.answer().outline[-1] == "done"
        machinetime.until(lambda: told(single)["after"] == 0)


def test_s4_streams_one_after_the_other_are_never_too_many(
    single: serving.Serve, source: upstreams.Hosted
) -> None:
    gate = scripted.Gate()
    gate.open()
    for _ in range(30):
        answer = chatclient.ask(single, held(source, gate), stream=True)
        assert (answer.status, counts(answer.headers)) == (200, ("0", "1", "1"))


def test_s4_each_choice_counts_and_what_is_not_streamed_does_not(source: upstreams.Hosted) -> None:
    gate = scripted.Gate()
    gate.open()
    with limited(source, 4, PROXY_TEST_ENDPOINTS="true") as server:
        several = chatclient.ask(server, held(source, gate), stream=True, n=3)
        assert counts(several.headers) == ("0", "3", "4")
        whole = chatclient.ask(server, held(source, gate))
        assert (whole.status, counts(whole.headers)) == (200, (None, None, None))


def test_s4_without_the_setting_nothing_of_it_is_there(source: upstreams.Hosted) -> None:
    gate = scripted.Gate()
    gate.open()
    with limited(source, 1) as server:
        answer = plain.ask(server, "GET", "/__test/conc")
        assert (answer.status, answer.error["code"]) == (404, "not_found")
        streamed = chatclient.ask(server, held(source, gate), stream=True)
        assert (streamed.status, counts(streamed.headers)) == (200, (None, None, None))
