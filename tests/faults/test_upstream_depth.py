"""Row 44 of the fault matrix: requests and an upstream's answers, nested up to the limit and past
it.
"""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.faults import depth, expected, observed
from tests.faults.upstreamstage import Staged, upstream
from tests.support.providers import upstreams
from tests.support.providers.upstreams import chunk, response, sse

TOOLS: dict[str, Any] = {"tools": [depth.FUNCTION]}


@pytest.fixture(scope="module")
def staged() -> Iterator[Staged]:
    room: dict[str, Any] = {"PROXY_SSE_MAX_CONCURRENCY": "4", observed.MEASURED: "1"}
    with upstream(**room) as staged:
        yield staged
        depth.check_replays(staged.stage)


@depth.each
def test_row_44_a_request_is_read_to_the_limit(staged: Staged, levels: int) -> None:
    with staged.neighbours():
        depth.check_requests(staged.stage, levels)
    staged.stage.released()


def called(arguments: str, around: str = "%s") -> upstreams.Answer:
    """An answer with a call; `around` is how its arguments stand in the event, as JSON."""
    function = {"name": "f", "arguments": "@"}
    call = {"index": 0, "id": "c", "function": function}
    choice = {"index": 0, "delta": {"tool_calls": [call]}, "finish_reason": None}
    event = json.dumps(chunk(choices=[choice])).replace('"@"', around % arguments)
    end = sse(chunk(finish="tool_calls"), "[DONE]")
    return upstreams.raw_stream(sse(event) + end)


@depth.each
def test_row_44_arguments_that_are_text_may_be_nested_at_will(staged: Staged, levels: int) -> None:
    arguments = f'{{"x":{depth.nested(levels - 1)}}}'
    answer = called(json.dumps(arguments))
    with staged.neighbours():
        streamed, whole = staged.streamed(answer, **TOOLS), staged.whole(answer, **TOOLS)
    first, *others = expected.pieces(arguments)
    assert streamed.body == (
        expected.role()
        + expected.call(0, "c", "f", first)
        + b"".join(expected.arguments(0, other) for other in others)
        + expected.call_count(1)
        + expected.finish("tool_calls")
        + expected.DONE
    )
    assert depth.call_of(whole) == ("f", arguments)
    staged.survived("completed", None, streamed, whole)


@depth.each
def test_row_44_a_block_may_hold_what_is_nested_at_will(staged: Staged, levels: int) -> None:
    value = depth.nested(levels)
    answer = upstreams.stream(chunk(depth.block(value)), chunk(finish="stop"))
    with staged.neighbours():
        streamed, whole = staged.streamed(answer, **TOOLS), staged.whole(answer, **TOOLS)
    depth.check_block(streamed, whole, value)
    staged.survived("completed", None, streamed, whole)


@pytest.mark.long(usual=("a chunk-127", "a chunk-128", "a completion-129"))
@depth.each
@pytest.mark.parametrize("place", ["arguments", "a chunk", "an error", "a completion"])
def test_row_44_an_event_is_read_to_the_limit(staged: Staged, levels: int, place: str) -> None:
    value = depth.nested(levels - {"arguments": 8, "a chunk": 1, "an error": 2}.get(place, 1))
    answers = {
        "arguments": called(value, '{"x":%s}'),
        "a chunk": upstreams.raw_stream(
            sse(json.dumps(chunk("Hello", x="@")).replace('"@"', value), chunk(finish="stop"))
            + upstreams.DONE
        ),
        "an error": upstreams.raw_stream(sse(f'{{"error":{{"message":"No.","x":{value}}}}}')),
        "a completion": response(
            200,
            b'{"choices":[{"index":0,"message":{"content":"Hello"},"finish_reason":"stop"}],'
            b'"x":%b}' % value.encode(),
        ),
    }
    with staged.neighbours():
        got = staged.whole(answers[place], **TOOLS)
    if not depth.is_read(levels):
        code = "upstream_error" if place == "a completion" else "upstream_decode_error"
        assert (got.status, got.error["code"]) == (502, code)
        staged.survived("upstream_error", code, got)
    elif place == "an error":
        assert (got.status, got.error["message"]) == (502, "No.")
        staged.survived("upstream_error", "upstream_error", got)
    else:
        if place == "arguments":
            name, arguments = depth.call_of(got)
            assert (name, json.loads(arguments)) == ("f", {"x": json.loads(value)})
        else:
            assert json.loads(got.raw)["choices"][0]["message"]["content"] == "Hello"
        staged.survived("completed", None, got)


@pytest.mark.long(usual=("128", "129"))
@depth.each
def test_row_44_the_body_of_a_refusal_is_read_to_the_limit(staged: Staged, levels: int) -> None:
    body = f'{{"error":{{"message":"No.","x":{depth.nested(levels - 2)}}}}}'
    with staged.neighbours():
        got = staged.whole(response(400, body.encode()))
    message = (
        "No." if depth.is_read(levels) else "The provider refused the request with status 400."
    )
    assert (got.status, got.error["message"]) == (400, message)
    staged.stage.released()
