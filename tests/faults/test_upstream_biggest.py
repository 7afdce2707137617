"""Row 46 of the fault matrix: the most of each repeated item, to an upstream and from it."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.faults import biggest, observed, scene
from tests.faults.upstreamstage import Staged, upstream
from tests.support.providers import upstreams, upstreamshapes

TOOLS: dict[str, Any] = {
    "tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}],
}


@pytest.fixture(scope="module")
def staged() -> Iterator[Staged]:
    room: dict[str, Any] = {"PROXY_SSE_MAX_CONCURRENCY": "4", observed.MEASURED: "1"}
    with upstream(**room) as staged:
        yield staged


@pytest.mark.long(usual=("messages", "unknown fields"))
@biggest.each
def test_row_46_the_biggest_requests_arrive_whole(staged: Staged, kind: str) -> None:
    with staged.neighbours():
        asked = biggest.ask(staged.stage, kind)
        got = staged.source.server.requests[-1].body
    ours = ("model", "stream", "stream_options")
    assert {name: got[name] for name in asked if name not in ours} == {
        name: asked[name] for name in asked if name not in ours
    }
    staged.stage.released()


def answered(staged: Staged, shape: str, count: int) -> scene.Answer:
    """The answer of a shape with so many of its item, streamed."""
    prompt = staged.source.prompt(upstreams.raw_stream(upstreamshapes.SHAPES[shape](count)))
    with staged.neighbours():
        answer = biggest.answered(staged.stage, prompt, **TOOLS)
    staged.survived("completed", None, answer)
    return answer


@pytest.mark.long(usual=("calls",))
@pytest.mark.parametrize(
    "shape", ["calls", "calls in one chunk", "calls that stay open", "blocks"]
)
def test_row_46_as_many_calls_as_there_may_be_are_told(staged: Staged, shape: str) -> None:
    answer = answered(staged, shape, biggest.CALLS)
    told = biggest.arguments(answer)
    assert sorted(told) == list(range(biggest.CALLS))
    assert {tuple(json.loads(each)) for each in told.values()} == {("a",)}


@pytest.mark.long(usual=("calls",))
@pytest.mark.parametrize("shape", ["calls", "calls in one chunk"])
def test_row_46_one_call_more_is_an_error(staged: Staged, shape: str) -> None:
    sent = upstreams.raw_stream(upstreamshapes.SHAPES[shape](biggest.CALLS + 1))
    with staged.neighbours():
        answer = staged.streamed(sent, **TOOLS)
    error = json.loads(answer.raw.split(b"\n\n")[-2].removeprefix(b"data: "))["error"]
    assert error["code"] == "too_many_tool_calls", error
    staged.survived("upstream_error", error["code"], answer)


@pytest.mark.long
def test_row_46_a_call_in_very_many_fragments_is_told(staged: Staged) -> None:
    answer = answered(staged, "a call in fragments", 4000)
    assert biggest.arguments(answer) == {0: '{"a":"' + "xy" * 4000 + '"}'}


@pytest.mark.long(usual=("parts-8000-said3",))
@pytest.mark.parametrize(
    ("shape", "count", "said"),
    [
        ("texts", 4000, "Hello " * 4000),
        ("one text", 1 << 18, "漢a" * (1 << 18)),
        ("choices", 8000, "x" * 8000),
        ("parts", 8000, "Hello" * 8000),
        ("members of nobody", 20_000, "x"),
    ],
)
def test_row_46_very_many_texts_are_told(
    staged: Staged, shape: str, count: int, said: str
) -> None:
    told = biggest.text(answered(staged, shape, count))
    assert (len(told), told == said) == (len(said), True)
