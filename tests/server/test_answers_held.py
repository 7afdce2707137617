"""An answer of a MiB holds the loop no longer than a moment, whatever is in it."""

import json
from collections.abc import Iterator
from typing import Final, NamedTuple

import pytest

from tests.support.process import heldloop
from tests.support.providers import replies, upstreams, upstreamshapes
from tests.support.providers.provider import Provider, Request

pytestmark = pytest.mark.slow

MIB: Final = 1 << 20

CALLS: Final = 8000
"""Calls of one chunk that held every stream for 8.7 s once."""


class Staged(NamedTuple):
    """A server in front of an upstream."""

    server: heldloop.MeasuredServe
    source: upstreams.Hosted


@pytest.fixture(scope="module")
def staged() -> Iterator[Staged]:
    with upstreams.Hosted() as source:
        environ = {"PROXY_UPSTREAM_URL": source.url, "PROXY_MAX_TOOL_CALLS": str(CALLS)}
        with heldloop.running("--worker", "upstream", **environ) as server:
            yield Staged(server, source)


def of_a_mib(name: str) -> bytes:
    """An answer of about a MiB, and of no more calls than the server takes."""
    make = upstreamshapes.SHAPES[name]
    each = len(make(200)) - len(make(100))
    most = CALLS if "call" in name or "blocks" in name else MIB
    return make(min(most, MIB * 100 // each))


@pytest.mark.long(usual=("arguments-chat", "calls in one chunk-responses"))
@pytest.mark.parametrize(
    ("path", "streaming"),
    [("/chat/completions", True), ("/responses", True), ("/responses", False)],
    ids=["chat", "responses", "response"],
)
@pytest.mark.parametrize(
    "name",
    [
        "calls in one chunk",
        "a call that is repeated",
        "arguments",
        "blocks",
        "blocks in blocks",
        "choices",
        "members of nobody",
        "one text",
        "texts and thoughts",
    ],
)
def test_an_answer_holds_the_loop_for_a_moment(
    staged: Staged, name: str, path: str, streaming: bool
) -> None:
    prompt = staged.source.prompt(upstreams.raw_stream(of_a_mib(name)))
    function = {"name": "f", "parameters": {}}
    if path == "/responses":
        body = {"input": prompt, "tools": [{"type": "function", **function}]}
    else:
        body = {
            "messages": [{"role": "user", "content": prompt}],
            "tools": [{"type": "function", "function": function}],
        }
    held = staged.server.measure_least(
        path, json.dumps({"model": "m", "stream": streaming, **body}).encode()
    )
    assert held.status == 200
    assert b'"error":{' not in held.body
    assert held.longest_ms < heldloop.LIMIT_MS, held.where


@pytest.mark.parametrize(
    "data",
    [
        b'{"error":{"code":429,' + b",".join(b'"m%d":1' % at for at in range(MIB // 10)) + b"}}",
        b"[" + b",".join([b"{}"] * (MIB // 3)) + b"]",
    ],
    ids=["an error of many members", "a list"],
)
def test_what_is_no_answer_holds_the_loop_for_a_moment(staged: Staged, data: bytes) -> None:
    prompt = staged.source.prompt(upstreams.raw_stream(b"data: " + data + b"\n\n"))
    body = {"model": "m", "messages": [{"role": "user", "content": prompt}], "stream": True}
    held = staged.server.measure_least("/chat/completions", json.dumps(body).encode())
    assert held.status != 200
    assert held.longest_ms < heldloop.LIMIT_MS, held.where


@pytest.mark.codex
def test_the_text_for_a_custom_tool_holds_the_loop_for_a_moment() -> None:
    escapes = {"a line break": "\\n", "a letter": "\\u4e16", "no escape of JSON": "\\q"}

    def answer(request: Request) -> replies.Answer:
        escape = escapes[request.prompt]
        arguments = '{"input":"' + escape * (MIB // 4 // len(escape)) + '"}'
        return replies.Stream((replies.FunctionCall("call_1", "patch", (arguments,)),))

    with Provider(answer) as provider:
        environ = {"PROXY_CODEX_BASE_URL": provider.url, "PROXY_CODEX_API_KEY": "sk-test"}
        with heldloop.running(**environ) as server:
            for prompt in escapes:
                tools = [{"type": "custom", "name": "patch"}]
                body = {"model": "gpt-5.5", "input": prompt, "stream": True, "tools": tools}
                held = server.measure_least("/responses", json.dumps(body).encode())
                assert held.status == 200
                assert b'"custom_tool_call"' in held.body
                assert held.longest_ms < heldloop.LIMIT_MS, (prompt, held.where)
