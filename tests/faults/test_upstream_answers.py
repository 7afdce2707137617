"""Rows 22 to 29: calls, finishes, counts and roles as sloppy upstreams send them."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from machines import events
from tests.faults import expected, responsesstage, scene
from tests.faults.upstreamstage import SO_FAR, TOLD, USAGE, WHOLE, Staged, upstream
from tests.support.providers import upstreams
from tests.support.providers.scripted import Json
from tests.support.providers.upstreams import LAST, STREAM_HEAD, chunk, counted, framed, sse, usage


@pytest.fixture(scope="module")
def staged() -> Iterator[Staged]:
    with upstream(PROXY_FINISH_GRACE_MS="200") as staged:
        yield staged


@pytest.fixture(scope="module", params=[scene.Stage, responsesstage.Stage])
def cutting(request: pytest.FixtureRequest) -> Iterator[Staged]:
    """It cuts answers that take too long, on either API."""
    with upstream(stage=request.param, PROXY_NONSTREAM_TRUNCATE_AFTER_MS="300") as staged:
        yield staged


def delta(**members: Any) -> Json:
    """A chunk whose one choice has this delta."""
    return chunk(choices=[{"index": 0, "delta": members, "finish_reason": None}])


def fragment(
    index: int | None = None,
    call_id: str | None = None,
    name: str | None = None,
    arguments: Any = None,
    **members: Any,
) -> Json:
    """A chunk with a fragment of a call; what is None is left out."""
    function = {"name": name, "arguments": arguments}
    call = {"index": index, "id": call_id, **members}
    said = {key: value for key, value in call.items() if value is not None}
    told = {key: value for key, value in function.items() if value is not None}
    return delta(tool_calls=[{**said, "function": told}])


def test_row_22_the_fragments_of_two_calls_are_told_apart(staged: Staged) -> None:
    answer = staged.streamed(
        upstreams.stream(
            fragment(0, "c1", "a", '{"x":'),
            fragment(1, "c2", "b", '{"y":'),
            fragment(0, arguments=" 1}"),
            fragment(1, arguments='"é\\\\n"}'),
            chunk(finish="tool_calls"),
        )
    )
    assert answer.body == (
        expected.role()
        + expected.call(0, "c1", "a", '{"x":')
        + expected.call(1, "c2", "b", '{"y":')
        + expected.arguments(0, " 1}")
        + expected.arguments(1, '"é\\\\n"}')
        + expected.call_count(2)
        + expected.finish("tool_calls")
        + expected.DONE
    )
    (last,) = staged.survived("completed", None, answer)
    assert last.tool_calls == 2


FRAGMENTS: dict[str, list[Json]] = {
    "as OpenAI does": [
        fragment(0, "c1", "a", '{"x":'),
        fragment(0, arguments="1}"),
        fragment(1, "c2", "b", '{"y":'),
        fragment(1, arguments="2}"),
    ],
    "no index": [
        fragment(None, "c1", "a", '{"x":'),
        fragment(None, arguments="1}"),
        fragment(None, "c2", "b", '{"y":'),
        fragment(None, arguments="2}"),
    ],
    "all index 0": [
        fragment(0, "c1", "a", '{"x":'),
        fragment(0, "c2", "b", '{"y":'),
        fragment(0, "c1", arguments="1}"),
        fragment(0, "c2", arguments="2}"),
    ],
    "id first": [
        fragment(0, "c1"),
        fragment(1, "c2"),
        fragment(0, None, "a", '{"x":1}'),
        fragment(1, None, "b", '{"y":2}'),
    ],
    "name again, or empty": [
        fragment(0, "c1", "a", '{"x":'),
        fragment(0, "c1", "a", "1}"),
        fragment(1, "c2", "b", '{"y":'),
        fragment(1, "", "", "2}"),
    ],
    "arguments null, or an object": [
        delta(tool_calls=[{"index": 0, "id": "c1", "function": {"name": "a", "arguments": None}}]),
        fragment(0, arguments={"x": 1}),
        fragment(1, "c2", "b", {"y": 2}),
    ],
}


@pytest.mark.parametrize("fragments", FRAGMENTS.values(), ids=FRAGMENTS)
def test_row_23_any_way_to_send_two_calls_is_the_same_two_calls(
    staged: Staged, fragments: list[Json]
) -> None:
    sent = upstreams.stream(*fragments, chunk(finish="tool_calls"))
    streamed, whole = staged.streamed(sent), staged.whole(sent)
    (choice,) = json.loads(whole.raw)["choices"]
    assert choice["finish_reason"] == "tool_calls"
    assert [each["id"] for each in choice["message"]["tool_calls"]] == ["c1", "c2"]
    assert [each["function"] for each in choice["message"]["tool_calls"]] == [
        {"name": "a", "arguments": '{"x":1}'},
        {"name": "b", "arguments": '{"y":2}'},
    ]
    assert calls_of(streamed.body) == {0: ("c1", "a", '{"x":1}'), 1: ("c2", "b", '{"y":2}')}
    assert streamed.body.endswith(
        expected.call_count(2) + expected.finish("tool_calls") + expected.DONE
    )
    staged.survived("completed", None, streamed, whole)


def calls_of(body: bytes) -> dict[int, tuple[str, str, str]]:
    """Id, name and arguments of each call that a client puts together, by index."""
    found: dict[int, tuple[str, str, str]] = {}
    for frame in body.removesuffix(expected.DONE).split(b"\n\n")[:-1]:
        if frame.startswith(b":"):
            continue
        (choice,) = json.loads(frame.removeprefix(b"data: "))["choices"]
        for call in choice["delta"].get("tool_calls", ()):
            if "id" in call:
                assert call["index"] not in found, "a call began twice"
                found[call["index"]] = (call["id"], call["function"]["name"], "")
            call_id, name, arguments = found[call["index"]]
            arguments += call["function"]["arguments"]
            found[call["index"]] = (call_id, name, arguments)
    return found


BEGUN = framed(sse(fragment(0, "c1", "a", "{}"), fragment(1, "c2", "b", '{"x":')))
TOLD_CALLS = (
    expected.role() + expected.call(0, "c1", "a", "{}") + expected.call(1, "c2", "b", '{"x":')
)


def test_row_24_a_stream_that_dies_in_arguments_has_no_whole_call(staged: Staged) -> None:
    frame = expected.error(
        "upstream_disconnected", "The provider's stream ended before the answer was complete."
    )
    sent: upstreams.Answer = [STREAM_HEAD + BEGUN, "reset"]
    staged.breaks(sent, TOLD_CALLS + frame, "upstream_disconnected")
    (last,) = staged.survived("upstream_error", "upstream_disconnected", staged.streamed(sent))
    assert (last.tool_calls, last.tool_calls_dropped) == (0, 2)


def test_row_24_one_that_says_length_in_arguments_has_none_either(staged: Staged) -> None:
    sent = [STREAM_HEAD + BEGUN + framed(sse(chunk(finish="length"), "[DONE]")), LAST]
    streamed, whole = staged.streamed(sent), staged.whole(sent)
    assert streamed.body == TOLD_CALLS + expected.finish("length") + expected.DONE
    (choice,) = json.loads(whole.raw)["choices"]
    assert choice["finish_reason"] == "length"
    for last in staged.survived("completed", None, streamed, whole):
        assert (last.tool_calls, last.tool_calls_dropped) == (0, 2)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("stop", "tool_calls"),
        ("function_call", "tool_calls"),
        ("end_turn", "tool_calls"),
        ("length", "length"),
        ("content_filter", "content_filter"),
    ],
)
def test_row_25_a_finish_after_calls(staged: Staged, said: str, reason: str) -> None:
    answer = staged.streamed(upstreams.stream(fragment(0, "c1", "a", "{}"), chunk(finish=said)))
    assert answer.body == (
        expected.role()
        + expected.call(0, "c1", "a", "{}")
        + (expected.call_count(1) if reason == "tool_calls" else b"")
        + expected.finish(reason)
        + expected.DONE
    )
    (last,) = staged.survived("completed", None, answer)
    assert last.finish_reasons == (reason,)


COUNTED: dict[str, list[Json]] = {
    "after the finish": [chunk("Hello"), chunk(finish="stop"), counted(7, 2)],
    "on the finish": [chunk("Hello"), chunk(finish="stop", usage=usage(7, 2))],
    "on every chunk": [
        chunk("Hello", usage=usage(7, 1)),
        chunk(finish="stop", usage=usage(7, 2)),
        counted(6, 2),
    ],
}


@pytest.mark.parametrize("chunks", COUNTED.values(), ids=COUNTED)
def test_row_26_counts_go_out_once_and_only_if_asked_for(
    staged: Staged, chunks: list[Json]
) -> None:
    asked = staged.streamed(upstreams.stream(*chunks), **USAGE)
    counts = {"asks_usage": True}
    assert asked.body == (
        expected.role(**counts)
        + expected.content("Hello", **counts)
        + expected.finish("stop", **counts)
        + expected.usage(7, 2)
        + expected.DONE
    )
    plain = staged.streamed(upstreams.stream(*chunks))
    assert plain.body == WHOLE + expected.DONE
    first, second = staged.survived("completed", None, asked, plain)
    assert first.usage == events.Usage(7, 2)
    assert second.usage in (events.Usage(7, 2), None), "[DONE] may be there before the counts"


def test_row_26_counts_that_never_come_are_not_made_up(staged: Staged) -> None:
    answer = staged.streamed(upstreams.stream(chunk("Hello"), chunk(finish="stop")), **USAGE)
    assert answer.body.endswith(expected.UNKNOWN + expected.usage(0, 0) + expected.DONE)
    (last,) = staged.survived("completed", None, answer)
    assert last.usage is None


def test_row_26_counts_of_an_answer_that_is_cut_are_estimated(cutting: Staged) -> None:
    prompt = cutting.source.prompt([TOLD, "stall"])
    whole = cutting.stage.ask(prompt)
    assert (whole.status, whole.headers["x-turntape-usage"]) == (200, "estimated")
    (told,) = cutting.survived("truncated", None, whole)
    assert told.usage_source == "estimated"
    assert told.usage == events.Usage(-(-len(prompt) // 4), 2)


FINISHES: dict[str, list[Json]] = {
    "content in the finish": [chunk("Hello", finish="stop")],
    "two finishes": [chunk("Hello"), chunk(finish="stop"), chunk(finish="length")],
    "an empty finish": [chunk("Hello", finish=""), chunk(finish="stop")],
    "nothing after it": [chunk("Hello"), chunk(finish="stop"), chunk(""), chunk(None)],
}


@pytest.mark.parametrize("chunks", FINISHES.values(), ids=FINISHES)
def test_row_27_there_is_one_finish_and_it_comes_last(staged: Staged, chunks: list[Json]) -> None:
    answer = staged.streamed(upstreams.stream(*chunks))
    assert answer.body == WHOLE + expected.DONE
    staged.survived("completed", None, answer)


CALL = {"index": 0, "id": "c", "function": {"name": "f", "arguments": "{}"}}
BEHIND: dict[str, Json] = {
    "text": chunk(" world", finish="stop"),
    "reasoning": chunk(choices=[{"index": 0, "delta": {"reasoning_content": "hm"}}]),
    "a call": chunk(choices=[{"index": 0, "delta": {"tool_calls": [CALL]}}]),
    "a choice that nobody asked for": chunk(choices=[{"index": 1, "delta": {"content": "x"}}]),
}


@pytest.mark.parametrize("behind", BEHIND.values(), ids=BEHIND)
@pytest.mark.parametrize("asked", [{}, USAGE], ids=["no usage", "usage"])
def test_row_27_output_behind_the_finish_is_an_error(
    staged: Staged, behind: Json, asked: Json
) -> None:
    sent = upstreams.stream(chunk("Hel"), chunk(finish="stop"), behind, "[DONE]")
    streamed, body = staged.streamed(sent, **asked), staged.whole(sent)
    assert b'"code":"upstream_output_lost"' in streamed.body
    assert expected.DONE not in streamed.body
    assert (body.status, body.error["code"]) == (502, "upstream_output_lost")
    staged.survived("upstream_error", "upstream_output_lost", streamed, body)


def test_row_27_an_error_behind_the_finish_is_that_error(staged: Staged) -> None:
    error = {"error": {"message": "overloaded", "code": "too_fast"}}
    sent = upstreams.stream(chunk("Hel"), chunk(finish="stop"), error)
    streamed, body = staged.streamed(sent), staged.whole(sent)
    assert b'"code":"too_fast"' in streamed.body
    assert expected.DONE not in streamed.body
    assert body.error["code"] == "too_fast"
    staged.survived("upstream_error", "too_fast", streamed, body)


def test_row_28_a_sentinel_alone_finishes_what_has_output_and_is_noted(staged: Staged) -> None:
    answer = staged.streamed(upstreams.stream(chunk("Hel"), chunk("lo")))
    assert answer.body == SO_FAR + expected.finish("stop") + expected.DONE
    (last,) = staged.survived("completed", None, answer)
    assert (last.finish_reasons, last.finish_words) == (("stop",), ("[DONE]",))


def test_row_28_what_follows_the_sentinel_is_ignored(staged: Staged) -> None:
    whole = sse(chunk("Hello"), chunk(finish="stop"), "[DONE]")
    answer = staged.streamed(upstreams.raw_stream(whole + sse(chunk("late"), "{garbage")))
    assert answer.body == WHOLE + expected.DONE
    staged.survived("completed", None, answer)


def test_row_28_a_sentinel_within_content_is_content(staged: Staged) -> None:
    text = "data: [DONE]\n\n[DONE]"
    answer = staged.streamed(upstreams.stream(chunk(text), chunk(finish="stop")))
    body = expected.role() + expected.content(text) + expected.finish("stop") + expected.DONE
    assert answer.body == body
    staged.survived("completed", None, answer)


ODD: dict[str, list[Json]] = {
    "a role each time": [delta(role="assistant", content="Hello"), delta(role="assistant")],
    "an empty role": [delta(role=""), chunk("Hello")],
    "other ids": [chunk("Hello", id="x", model="y", created=7), chunk(id=None, model=None)],
    "no ids": [{"choices": [{"index": 0, "delta": {"content": "Hello"}}]}, {}],
    "null members": [
        chunk(choices=None),
        chunk(choices=[{"index": 0, "delta": None, "finish_reason": None}]),
        delta(content=None),
        chunk("Hello"),
    ],
    "missing members": [
        {"id": "x"},
        chunk(choices=[]),
        chunk(choices=[{}]),
        {"choices": [{"delta": {"content": "Hello"}}]},
    ],
}


@pytest.mark.parametrize("chunks", ODD.values(), ids=ODD)
def test_row_29_odd_members_change_no_byte(staged: Staged, chunks: list[Json]) -> None:
    answer = staged.streamed(upstreams.stream(*chunks, chunk(finish="stop")))
    assert answer.body == WHOLE + expected.DONE
    staged.survived("completed", None, answer)
