"""Chunks as providers really write them: the events that they become."""

import json
import re
from typing import Any

import msgspec
import pytest
from hypothesis import given, strategies as st

from engine.upstream import chunkfields, chunks, errors as upstreamerrors
from engine.upstream.chunkfields import Batch, Batches
from engine.upstream.chunks import Stage
from engine.upstream.decoding import UpstreamDecodeError
from machines.events import (
    ChoiceMissing,
    Opened,
    ReasoningDelta,
    RefusalDelta,
    TextDelta,
    TokensCounted,
    ToolCallDelta,
    TurnFailed,
    TurnFinished,
    Usage,
)
from machines.stream import machine as stream
from machines.wire.eventsource import Event
from tests.support.machines import told
from tests.support.providers.upstreams import chunk, counted, usage


def said(*sent: Any, n: int = 1, first: int = 0) -> Batch:
    """What a reader makes of events: decoded ones, or data as it stands."""
    reader = chunks.ChunkReader(n, first)
    return [event for each in sent for event in all_of(reader.take(event_of(each)))]


def all_of(batches: Batches) -> Batch:
    """The events of batches, as far as a client is told of them."""
    return told.all_to_client(event for batch in batches for event in batch or ())


def event_of(sent: Any, kind: str = "message") -> Event:
    """An event with this data."""
    data = sent if isinstance(sent, bytes) else json.dumps(sent).encode()
    return Event(kind, data)


def delta(**members: Any) -> dict[str, Any]:
    """A chunk whose one choice has this delta."""
    return chunk(choices=[{"index": 0, "delta": members, "finish_reason": None}])


def message(finish: str | None = None, **members: Any) -> dict[str, Any]:
    """A chunk whose one choice has a whole message."""
    return chunk(choices=[{"index": 0, "message": members, "finish_reason": finish}])


def text(events: Batch, choice: int = 0) -> str:
    """The answer in events."""
    texts = [each for each in events if isinstance(each, TextDelta) and each.choice == choice]
    return "".join(each.text for each in texts)


COUNTS = Usage(7, 2)
STOPPED = TurnFinished("stop", followed=True)
"""A finish before the upstream has said that it is over."""

ENDED = TurnFinished("stop")
"""A finish with which all is said."""


def test_an_answer_in_the_order_openai_sends_it() -> None:
    events = said(
        chunk(""), chunk("Hel"), chunk("lo"), chunk(finish="stop"), counted(7, 2), b"[DONE]"
    )
    assert events == [TextDelta("Hel"), TextDelta("lo"), STOPPED, TokensCounted(COUNTS)]


def test_row_26_usage_on_the_finish_chunk_is_told_before_the_finish() -> None:
    events = said(chunk("a"), chunk(finish="stop", usage=usage(7, 2)), b"[DONE]")
    assert events == [TextDelta("a"), TokensCounted(COUNTS), ENDED]


def test_row_26_usage_on_every_chunk_is_told_once_and_whole() -> None:
    growing = [chunk("a", usage=usage(7, count)) for count in (1, 2)]
    events = said(*growing, chunk(finish="stop", usage=usage(7, 3)), counted(7, 3), b"[DONE]")
    assert events[2:] == [TokensCounted(Usage(7, 3)), ENDED]


def test_row_26_a_larger_count_after_the_finish_is_waited_for() -> None:
    early = chunk("a", usage=usage(9, 1))
    events = said(early, chunk(finish="stop"), counted(7, 3))
    assert events[1:] == [STOPPED, TokensCounted(Usage(9, 3))]
    assert said(early, chunk(finish="stop"), b"[DONE]")[1:] == [
        STOPPED,
        TokensCounted(Usage(9, 1)),
    ]


@pytest.mark.parametrize(
    "never", [None, {}, [], 5, {"prompt_tokens": 0, "completion_tokens": 0}, {"total_tokens": 3}]
)
def test_row_26_counts_that_never_came_are_not_made_up(never: Any) -> None:
    events = said(chunk("a"), chunk(finish="stop", usage=never), chunk(choices=[], usage=never))
    assert events == [TextDelta("a"), STOPPED]
    events = said(chunk("a"), chunk(finish="stop", usage=never), b"[DONE]")
    assert events == [TextDelta("a"), STOPPED, TokensCounted(None)]


def test_details_of_the_counts() -> None:
    detailed = {
        **usage(7, 2),
        "prompt_tokens_details": {"cached_tokens": 4},
        "completion_tokens_details": {"reasoning_tokens": 1},
    }
    sloppy = {"prompt_tokens": 7.0, "completion_tokens": "2", "prompt_tokens_details": []}
    huge = {"prompt_tokens": 2**80, "completion_tokens": 2, "completion_tokens_details": None}
    negative = {"prompt_tokens": -1, "completion_tokens": True}
    for given_usage, expected in (
        (detailed, Usage(7, 2, 4, 1)),
        (sloppy, Usage(7, 0)),
        (huge, Usage(0, 2)),
        (negative, Usage(0, 1)),
    ):
        events = said(chunk("a", finish="stop", usage=given_usage))
        assert events[1] == TokensCounted(expected)


def test_row_27_content_in_the_finish_chunk_comes_first() -> None:
    assert said(chunk("end", finish="stop")) == [TextDelta("end"), STOPPED]


def test_row_27_an_empty_finish_is_none_and_a_second_is_ignored() -> None:
    events = said(chunk("a", finish=""), chunk(finish="length"), chunk("", finish="stop"))
    assert events == [TextDelta("a"), TurnFinished("length", followed=True)]


@pytest.mark.parametrize("reason", ["eos", "STOP", "max_tokens", "function_call"])
def test_a_finish_keeps_the_upstreams_word(reason: str) -> None:
    assert said(chunk(finish=reason)) == [TurnFinished(reason, followed=True)]


@pytest.mark.parametrize("reason", [None, False, 0, [], {"type": "stop"}])
def test_a_finish_that_is_no_word_is_none(reason: Any) -> None:
    sent = chunk(choices=[{"index": 0, "delta": {}, "finish_reason": reason}])
    assert said(sent) == []


@pytest.mark.parametrize("sentinel", [b"[DONE]", b"DONE", b" [DONE] \n"])
def test_row_28_a_sentinel_without_a_finish_ends_what_there_is(sentinel: bytes) -> None:
    events = said(chunk("a"), sentinel, chunk("late"), sentinel)
    assert events == [TextDelta("a"), TokensCounted(None), TurnFinished("[DONE]")]


def test_row_28_the_sentinels_word_within_content_is_content() -> None:
    events = said(chunk("[DONE]"), chunk(" DONE\n\ndata: [DONE]"), chunk(finish="stop"))
    assert text(events) == "[DONE] DONE\n\ndata: [DONE]"
    assert events[-1] == STOPPED


def test_row_9_a_lone_sentinel_is_an_empty_answer() -> None:
    for sent in ([b"[DONE]"], [chunk(choices=[]), b"[DONE]"], [chunk(""), b"[DONE]"]):
        (failed,) = said(*sent)
        assert isinstance(failed, TurnFailed)
        assert (failed.kind, failed.code) == ("empty", "empty_upstream")


@pytest.mark.parametrize(
    "sent",
    [
        {"choices": [{"delta": {"content": "a"}}]},
        {"choices": [{"delta": {"role": None, "content": "a"}, "index": None}]},
        {"choices": [{"delta": {"role": "", "content": "a"}}], "id": None, "created": "now"},
        {"choices": [{"delta": {"role": "assistant", "content": "a"}, "index": "0"}]},
        {"choices": [{"delta": {"content": ["a"]}}], "model": 5, "id": 7},
        {"choices": [{"delta": {"content": {"type": "text", "text": "a"}}}]},
        {
            "choices": [
                {"delta": {"content": [{"type": "text", "text": "a"}, {"type": "x"}, None]}}
            ]
        },
        {"choices": [{"delta": {"content": "a", "tool_calls": None, "function_call": None}}]},
        {"choices": [{"delta": {"content": "a", "tool_calls": [], "refusal": None}}]},
        {"choices": [{"delta": None, "message": {"content": "a"}}], "error": None},
        {"choices": [{"index": 0, "message": {"role": "assistant", "content": "a"}}]},
    ],
    ids=str,
)
def test_row_29_a_chunk_may_lack_and_change_anything(sent: Any) -> None:
    assert said(sent) == [TextDelta("a")]


@pytest.mark.parametrize(
    "sent",
    [
        {},
        {"choices": None},
        {"choices": {}},
        {"choices": [None, 5, "x", []]},
        {"choices": [{}]},
        {"choices": [{"delta": None}]},
        {"choices": [{"delta": "text"}]},
        {"choices": [{"delta": {"content": None}}]},
        {"choices": [{"delta": {"tool_calls": [None]}}]},
        {"choices": [{"delta": {}, "text": "of the old endpoint"}]},
        {"type": "ping"},
    ],
    ids=str,
)
def test_row_29_a_chunk_that_says_nothing_does_nothing(sent: Any) -> None:
    assert said(sent) == []
    assert text(said(chunk("a"), sent, chunk("b"))) == "ab"


def test_a_message_that_repeats_the_stream_is_not_told_again() -> None:
    whole = {"choices": [{"message": {"content": "ab"}, "finish_reason": "stop"}]}
    assert said(chunk("a"), chunk("b"), whole) == [TextDelta("a"), TextDelta("b"), STOPPED]


def test_reasoning_by_either_name_comes_before_the_text() -> None:
    both = delta(reasoning_content="thought", reasoning="thought", content="said")
    told = ReasoningDelta("thought", kind="text", member="reasoning")
    assert said(both) == [told, TextDelta("said")]
    assert said(delta(reasoning="thought")) == [told]
    assert said(delta(reasoning={"effort": "low"}, reasoning_content="")) == []


def test_thinking_parts_are_reasoning() -> None:
    parts = [
        {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
        {"type": "text", "text": "said"},
    ]
    assert said(delta(content=parts)) == [ReasoningDelta("hm", kind="text"), TextDelta("said")]


@pytest.mark.parametrize("word", ["stop", "content_filter"])
def test_k31_a_refusal_is_no_text_and_the_upstreams_word_for_its_end_stands(word: str) -> None:
    events = said(delta(refusal="I can't."), chunk(finish=word))
    assert events == [RefusalDelta("I can't."), TurnFinished(word, followed=True)]


@pytest.mark.parametrize(
    "event", [{"detail": "x"}, {"message": "x"}, {"detail": [{"loc": ["body"], "msg": "x"}]}]
)
def test_k36_an_error_without_an_envelope_is_one(event: dict[str, Any]) -> None:
    (failed,) = said(event, b"[DONE]")
    assert failed == TurnFailed("upstream_error", "upstream_error", "x")
    assert said(delta(content="Hi"), event)[-1] == failed


def test_a_chunk_with_words_of_its_own_is_no_error() -> None:
    assert said({**chunk("Hi"), "message": "busy", "detail": "x"}) == [TextDelta("Hi")]


def calls(*sent: dict[str, Any]) -> list[ToolCallDelta]:
    """The fragments in deltas with these calls, one a delta."""
    events = said(*(delta(tool_calls=[each]) for each in sent))
    return [event for event in events if isinstance(event, ToolCallDelta)]


def test_row_22_fragments_go_on_as_they_came() -> None:
    opening = {"index": 1, "id": "c1", "type": "function", "function": {"name": "f"}}
    further = {"index": 1, "function": {"arguments": '{"a"'}}
    assert calls(opening, further) == [
        ToolCallDelta(1, "c1", "f", None),
        ToolCallDelta(1, None, None, '{"a"'),
    ]


def test_row_23_fragments_may_be_sloppy() -> None:
    assert calls(
        {"id": "c1", "function": {"name": "f", "arguments": None}},
        {"index": "0", "id": 7, "function": {"name": "", "arguments": {"a": [1, "ü"]}}},
        {"index": 0, "function": None},
        {"index": None, "function": {"name": ["f"], "arguments": []}},
        {"index": 0, "function": {"arguments": [1]}},
    ) == [
        ToolCallDelta(None, "c1", "f", None),
        ToolCallDelta(None, "7", "", '{"a":[1,"ü"]}'),
        ToolCallDelta(0),
        ToolCallDelta(None),
        ToolCallDelta(0, None, None, "[1]"),
    ]
    assert said(delta(tool_calls={"id": "c", "function": {"name": "f"}})) == [
        ToolCallDelta(None, "c", "f")
    ]


def test_legacy_function_calls() -> None:
    events = said(
        delta(function_call={"name": "f", "arguments": ""}),
        delta(function_call={"arguments": "{}"}),
        chunk(finish="function_call"),
    )
    assert events == [
        ToolCallDelta(0, None, "f", ""),
        ToolCallDelta(0, None, None, "{}"),
        TurnFinished("function_call", followed=True),
    ]


def of_choices(*choices: tuple[int, str | None, str | None]) -> dict[str, Any]:
    """A chunk with several choices, each its number, its text and its finish."""
    return chunk(
        choices=[
            {"index": index, "delta": {"content": content}, "finish_reason": finish}
            for index, content, finish in choices
        ]
    )


def test_all_choices_of_an_event_are_read_before_one_of_them_is_finished() -> None:
    events = said(of_choices((0, "a", "stop"), (1, "b", "length")), counted(7, 4), n=2)
    assert events == [
        TextDelta("a", 0),
        TextDelta("b", 1),
        TurnFinished("stop", 0, followed=True),
        TurnFinished("length", 1, followed=True),
        TokensCounted(Usage(7, 4), 0),
        TokensCounted(Usage(7, 0), 1),
    ]


def test_an_answer_is_whole_with_its_last_choice() -> None:
    reader = chunks.ChunkReader(2)
    stages = []
    for sent in (of_choices((1, "b", "stop")), chunk("a", finish="stop")):
        all_of(reader.take(event_of(sent)))
        stages.append(reader.stage)
    assert stages == [Stage.SPEAKING, Stage.WHOLE]


def test_choices_are_numbered_from_the_turns_own() -> None:
    events = said(chunk("a", finish="stop"), b"[DONE]", first=3)
    assert events == [TextDelta("a", 3), TurnFinished("stop", 3, True), TokensCounted(None, 3)]


def test_a_choice_may_finish_twice_in_one_chunk_and_ends_once() -> None:
    assert said(of_choices((0, "a", "stop"), (0, "b", "stop"))) == [
        TextDelta("a"),
        TextDelta("b"),
        STOPPED,
    ]


def test_k41_choices_that_never_came_are_missing_and_not_empty() -> None:
    events = said(chunk("a"), chunk(finish="stop"), b"[DONE]", n=2)
    assert events[-1] == ChoiceMissing(1)
    events = said(
        chunk("a"),
        chunk(choices=[{"index": 1, "delta": {"content": "b"}}]),
        chunk(finish="stop"),
        b"[DONE]",
        n=2,
    )
    assert events[-1] == TurnFinished("[DONE]", 1)


def failure(*sent: Any, **options: Any) -> TurnFailed:
    """The failure that events end with."""
    failed = said(*sent, **options)[-1]
    assert isinstance(failed, TurnFailed)
    return failed


ERROR = {"error": {"message": "slow down", "type": "x", "param": "p", "code": "too_fast"}}


def test_row_15_an_error_object_keeps_message_and_code_and_ends_the_answer() -> None:
    reader = chunks.ChunkReader(1)
    assert all_of(reader.take(event_of(chunk("a")))) == [TextDelta("a")]
    (failed,) = all_of(reader.take(event_of(ERROR)))
    assert failed == TurnFailed("upstream_error", "too_fast", "slow down", param="p")
    assert all_of(reader.take(event_of(chunk("b", finish="stop")))) == []
    assert reader.close() == []


@pytest.mark.parametrize(
    ("kind", "sent", "code", "message"),
    [
        ("error", ERROR, "too_fast", "slow down"),
        ("error", ERROR["error"], "too_fast", "slow down"),
        ("error", b"it broke", "upstream_error", "it broke"),
        ("error", {}, "upstream_error", "The model provider failed to answer."),
        ("message", {"error": "it broke"}, "upstream_error", "it broke"),
        ("message", {"object": "error", "message": "m", "code": 500}, "upstream_error", "m"),
        ("message", {"error": {"message": None, "code": None}}, "upstream_error", None),
    ],
)
def test_row_15_errors_in_every_form(kind: str, sent: Any, code: str, message: str | None) -> None:
    reader = chunks.ChunkReader(1)
    (failed,) = all_of(reader.take(event_of(sent, kind)))
    assert isinstance(failed, TurnFailed)
    assert (failed.code, failed.status) == (code, None)
    assert failed.message == (message or "The model provider failed to answer.")


def test_row_14_an_error_event_has_the_status_it_names() -> None:
    sent = {"error": {"message": "m", "type": "rate_limit_error", "code": 429}}
    further = msgspec.Raw(b'{"type":"rate_limit_error"}')
    assert failure(sent) == TurnFailed(
        "upstream_error", "rate_limit_exceeded", "m", status=429, members=further
    )


@pytest.mark.parametrize("finish", [None, "error"])
def test_an_error_of_a_choice_is_one_of_the_answer(finish: str | None) -> None:
    """So some routers tell of a provider that failed."""
    error = {"message": "http://10.0.0.5:8000 said sk-proj-1234567890 is gone", "code": "gone"}
    choice = {"index": 0, "delta": {"content": ""}, "error": error, "finish_reason": finish}
    made = said(chunk("a"), chunk(choices=[choice]))
    told, failed = made
    assert told == TextDelta("a")
    assert failed == TurnFailed("upstream_error", "gone", "******** said ******** is gone")


def test_an_error_in_a_chunk_comes_after_its_output_and_before_its_finish() -> None:
    sent = {**chunk("end", finish="error"), "error": {"message": "gone", "code": 502}}
    assert said(sent) == [TextDelta("end"), TurnFailed("upstream_error", "upstream_error", "gone")]
    assert isinstance(said(chunk(finish="error"))[-1], TurnFailed)


def test_a_failure_belongs_to_a_choice_that_is_not_over_and_brings_the_counts_so_far() -> None:
    events = said(of_choices((0, "a", "stop")), counted(7, 1), ERROR, n=2)
    assert events[2:4] == [TokensCounted(Usage(7, 1), 0), TokensCounted(Usage(7, 0), 1)]
    assert isinstance(events[4], TurnFailed)
    assert events[4].choice == 1


def test_an_error_after_the_finish_is_an_error() -> None:
    failed = TurnFailed("upstream_error", "too_fast", "slow down", param="p")
    assert said(chunk(finish="stop"), ERROR) == [STOPPED, failed]
    assert said(chunk(finish="stop"), b"[DONE]", ERROR) == [STOPPED, TokensCounted(None)]


def test_a_connection_that_breaks_after_the_finish_only_ends_the_wait_for_counts() -> None:
    reader = chunks.ChunkReader(1)
    assert all_of(reader.take(event_of(chunk(finish="stop")))) == [STOPPED]
    assert reader.fail(upstreamerrors.DISCONNECTED) == [TokensCounted(None)]


FINISHED = chunk("Hel", finish="stop")
CALL = {"index": 0, "id": "c", "function": {"name": "f", "arguments": "{}"}}


def at(index: Any, **members: Any) -> dict[str, Any]:
    """A chunk whose one choice has this number."""
    return chunk(choices=[{"index": index, "delta": members, "finish_reason": None}])


@pytest.mark.parametrize(
    "sent",
    [
        [FINISHED, chunk("lo world", finish="stop")],
        [FINISHED, chunk("", finish="stop"), chunk("lo world")],
        [FINISHED, delta(content=[{"type": "text", "text": "lo"}])],
        [FINISHED, delta(reasoning_content="hm")],
        [FINISHED, delta(refusal="no")],
        [FINISHED, delta(tool_calls=[CALL])],
        [FINISHED, message("stop", content="Hello")],
        [FINISHED, message("stop", content="Hel", tool_calls=[CALL])],
        [at(-1, content="Hel"), chunk("lo", finish="stop")],
        [at(10**30, content="Hel"), chunk("lo", finish="stop")],
        [at(1, content="Hel"), chunk("lo", finish="stop")],
        [at(1, content="Hello"), b"[DONE]"],
        [delta(content=5), chunk("lo", finish="stop")],
        [delta(content=0)],
        [delta(content=True)],
        [delta(content=["a", 5])],
        [delta(tool_calls="x")],
        [delta(tool_calls=[None, 3])],
        [delta(tool_calls=[{"index": 0, "function": "f"}])],
        [delta(tool_calls=[{"index": 0, "function": {"name": "f", "arguments": 5}}])],
    ],
    ids=str,
)
def test_output_that_cannot_be_brought_to_the_client_is_an_error(sent: list[Any]) -> None:
    failed = failure(*sent, b"[DONE]")
    assert failed.kind == "upstream_error"
    assert failed.code in ("upstream_output_lost", "upstream_text_mismatch")


@pytest.mark.parametrize(
    "late",
    [
        {},
        chunk(""),
        chunk("", finish="stop"),
        chunk("", finish="length"),
        delta(role="assistant", content=None),
        delta(role="assistant", content="", refusal=None, tool_calls=[]),
        delta(reasoning="", reasoning_content=None),
        message("stop", content="Hel"),
        message("stop", content=""),
        at(1, content=""),
        at(-1, role="assistant"),
        chunk(choices=[None, 5]),
    ],
    ids=str,
)
def test_what_says_nothing_behind_a_finish_is_harmless(late: Any) -> None:
    events = said(FINISHED, late, late, counted(7, 2), b"[DONE]")
    assert events == [TextDelta("Hel"), STOPPED, TokensCounted(COUNTS)]


def test_calls_that_are_repeated_behind_their_finish_are_harmless() -> None:
    called = chunk(
        choices=[{"index": 0, "delta": {"tool_calls": [CALL]}, "finish_reason": "tool_calls"}]
    )
    events = said(called, message("tool_calls", content=None, tool_calls=[CALL]), b"[DONE]")
    assert events[1:] == [TurnFinished("tool_calls", followed=True), TokensCounted(None)]


def test_output_behind_the_finish_of_one_choice_ends_the_others() -> None:
    events = said(of_choices((0, "a", "stop")), of_choices((1, "b", None)), chunk("c"), n=2)
    assert isinstance(events[-1], TurnFailed)
    assert (events[-1].code, events[-1].choice) == ("upstream_output_lost", 1)


def test_row_3_an_end_without_a_finish_is_truncated() -> None:
    for sent in (chunk("a"), chunk(choices=[])):
        reader = chunks.ChunkReader(1)
        all_of(reader.take(event_of(sent)))
        (failed,) = reader.close()
        assert isinstance(failed, TurnFailed)
        assert (failed.kind, failed.code) == ("upstream_error", "upstream_truncated")


def test_row_1_an_end_after_the_finish_is_the_end() -> None:
    reader = chunks.ChunkReader(1)
    all_of(reader.take(event_of(chunk("a", finish="stop"))))
    assert reader.close() == [TokensCounted(None)]
    assert reader.close() == []
    assert reader.stage is Stage.OVER


@pytest.mark.parametrize(
    "data", [b"{", b"nonsense", b"null", b"5", b'"text"', b"[]", b"[" * 9000, b"\x00", b"9" * 5000]
)
def test_row_16_what_is_no_json_object_is_named_with_its_first_bytes(data: bytes) -> None:
    reader = chunks.ChunkReader(1)
    with pytest.raises(UpstreamDecodeError) as raised:
        all_of(reader.take(Event("message", data)))
    assert raised.value.data[:1024] == data[:1024]


@pytest.mark.parametrize("data", [b"", b" ", b"\n\n"])
def test_row_31_empty_data_says_nothing(data: bytes) -> None:
    assert said(data) == []


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b'{"choices":[{"delta":{"content":"a\xff\xf0\x9f"}}]}', "a\ufffd\ufffd"),
        (rb'{"choices":[{"delta":{"content":"a\ud83d"}}]}', "a\ufffd"),
        (rb'{"choices":[{"delta":{"content":"\ud83d\ude00"}}]}', "😀"),
        (b'{"choices":[{"delta":{"content":"a"},"logprobs":NaN}],"x":1e999}', "a"),
        (b'\xef\xbb\xbf {"choices":[{"delta":{"content":"a"}}]}', ""),
    ],
)
def test_row_30_what_json_parsers_differ_on_does_not_end_an_answer(
    data: bytes, expected: str
) -> None:
    if expected:
        assert text(said(data)) == expected
    else:
        with pytest.raises(UpstreamDecodeError):
            said(data)


def body(body: Any, n: int = 1) -> Batch:
    """What a whole completion says."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return all_of(chunks.ChunkReader(n).take_body(data))


def test_row_34_a_completion_is_a_whole_stream() -> None:
    message = {
        "role": "assistant",
        "content": "hi",
        "reasoning_content": "hm",
        "tool_calls": [
            {"id": f"c{at}", "type": "function", "function": {"name": "f", "arguments": "{}"}}
            for at in range(2)
        ],
    }
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls"}
    assert body({"object": "chat.completion", "choices": [choice], "usage": usage(7, 2)}) == [
        ReasoningDelta("hm", kind="text"),
        TextDelta("hi"),
        ToolCallDelta(0, "c0", "f", "{}"),
        ToolCallDelta(1, "c1", "f", "{}"),
        TokensCounted(COUNTS),
        TurnFinished("tool_calls"),
    ]


def test_row_34_a_completion_with_several_choices_or_without_a_finish() -> None:
    choices = [{"message": {"content": each}} for each in "ab"]
    assert body({"choices": choices}, n=2) == [
        TextDelta("a", 0),
        TextDelta("b", 1),
        TokensCounted(None, 0),
        TokensCounted(None, 1),
        TurnFinished("[DONE]", 0),
        TurnFinished("[DONE]", 1),
    ]


@pytest.mark.parametrize("sent", [{}, {"choices": []}, {"message": {"content": "hi"}}])
def test_row_34_an_object_that_is_no_completion_is_no_answer(sent: Any) -> None:
    (failed,) = body(sent)
    assert isinstance(failed, TurnFailed)
    assert (failed.kind, failed.code) == ("upstream_error", "upstream_error")


def test_row_34_an_error_in_place_of_a_completion_is_that_error() -> None:
    (failed,) = body(ERROR)
    assert isinstance(failed, TurnFailed)
    assert failed.code == "too_fast"


MEMBERS = re.findall(
    r"\w+",
    "arguments choices code completion_tokens content delta error finish_reason function "
    "function_call id index message name prompt_tokens reasoning refusal text thinking "
    "tool_calls usage",
)
"""Names that a reader looks for."""


def opened(n: int) -> Opened:
    """How a stream with so many choices begins."""
    return Opened(
        request_id="req_1",
        completion_id="chatcmpl-1",
        created=0,
        model="m",
        target="m",
        worker="upstream",
        n=n,
        include_usage=True,
    )


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(MEMBERS), inner, max_size=6)
    ),
    max_leaves=30,
)


@given(st.lists(JSON, max_size=5), st.integers(1, 3))
def test_any_json_gives_events_of_its_choices_and_at_most_one_end_each(
    sent: list[Any], n: int
) -> None:
    reader = chunks.ChunkReader(n)
    events: Batch = []
    for each in sent:
        wrapped = each if isinstance(each, dict) else {"choices": [{"delta": each}]}
        events += all_of(reader.take(event_of(wrapped)))
    events += reader.close()
    machine = stream.Stream(opened(n))
    for event in events:
        machine.step(event)  # none of them is illegal where it comes
    assert machine.ended
    ends = [event for event in events if isinstance(event, TurnFinished)]
    failed = [event for event in events if isinstance(event, TurnFailed)]
    assert len({end.choice for end in ends}) == len(ends)
    assert len(failed) <= 1
    assert failed or len(ends) == n
    assert all(getattr(event, "choice", 0) in range(n) for event in events)


@given(st.binary(max_size=40))
def test_any_bytes_give_events_or_the_documented_error(data: bytes) -> None:
    reader = chunks.ChunkReader(1)
    try:
        all_of(reader.take(Event("message", data)))
    except UpstreamDecodeError as error:
        assert error.data == data.strip()[:1024]


MISMATCH = "upstream_text_mismatch"


@pytest.mark.parametrize("field", ["content", "reasoning_content", "refusal"])
@pytest.mark.parametrize(
    ("whole", "rest"),
    [("Hello", ""), ("Hello you", " you"), ("", ""), (None, ""), ("Hell", None), ("Hallo!", None)],
)
def test_row_43_a_message_at_the_end_is_held_against_what_went_out(
    field: str, whole: str | None, rest: str | None
) -> None:
    parts = [delta(**{field: "Hel"}), delta(**{field: "lo"})]
    events = said(*parts, message("stop", role="assistant", **{field: whole}))
    texts = [getattr(event, "text", None) for event in events]
    if rest is None:
        assert texts == ["Hel", "lo", None]
        assert isinstance(events[-1], TurnFailed)
        assert events[-1].code == MISMATCH
    else:
        assert "".join(text for text in texts if text) == "Hello" + rest
        assert isinstance(events[-1], TurnFinished)


def test_row_43_an_empty_delta_beside_a_message_does_not_hide_it() -> None:
    both = {"index": 0, "delta": {}, "message": {"content": "Hello"}, "finish_reason": "stop"}
    assert said(chunk("Hel"), chunk(choices=[both]))[:2] == [TextDelta("Hel"), TextDelta("lo")]


def test_row_43_choices_are_held_apart() -> None:
    whole = [{"index": at, "message": {"content": text}} for at, text in enumerate("ab")]
    deltas = [{"index": at, "delta": {"content": text}} for at, text in enumerate("ab")]
    assert said(chunk(choices=deltas), chunk(choices=whole), n=2) == [
        TextDelta("a"),
        TextDelta("b", 1),
    ]
    last = said(chunk(choices=deltas), chunk(choices=whole[::-1]), n=2)[-1]
    assert last == TextDelta("b", 1), "their order says nothing"


def test_row_43_calls_of_a_message_at_the_end_are_told_from_fragments() -> None:
    call = {"id": "a", "function": {"name": "f", "arguments": "{}"}}
    events = said(chunk("x"), message("tool_calls", content="x", tool_calls=[call]))
    assert events[1] == ToolCallDelta(0, "a", "f", "{}", extent="whole")
    alone = said(message("tool_calls", tool_calls=[call]))
    assert alone[0] == ToolCallDelta(0, "a", "f", "{}")


LONG = "漢a" * chunkfields.ARGUMENTS_MAX


@pytest.mark.parametrize("form", ["delta", "message"])
def test_a_long_text_is_read_piece_by_piece(form: str) -> None:
    members = {"content": LONG, "reasoning_content": LONG, "refusal": LONG}
    sent = chunk(choices=[{"index": 0, form: members, "finish_reason": None}])
    batches = [batch for batch in chunks.ChunkReader(1).take(event_of(sent)) if batch]
    assert [len(batch) for batch in batches] == [1] * 6
    for kind in (TextDelta, ReasoningDelta, RefusalDelta):
        texts = [event.text for (event,) in batches if isinstance(event, kind)]
        assert "".join(texts) == LONG


def test_long_arguments_are_parts_and_a_call_beside_them_is_not_theirs() -> None:
    arguments = json.dumps({"text": LONG}, ensure_ascii=False)
    calls = [
        {"index": at, "id": f"c{at}", "function": {"name": "f", "arguments": text}}
        for at, text in enumerate([arguments, "{}"])
    ]
    events = said(delta(tool_calls=calls))
    assert [event.extent for event in events if isinstance(event, ToolCallDelta)] == [
        *["part"] * (len(events) - 2),
        *["piece"] * 2,
    ]
    machine = stream.Stream(opened(1))
    outputs = [output for event in events for output in machine.step(event).outputs]
    texts = [output.arguments for output in outputs if hasattr(output, "arguments")]
    assert "".join(texts) == arguments + "{}"
    assert max(map(len, texts)) == chunkfields.ARGUMENTS_MAX


@pytest.mark.parametrize(
    "choices",
    [
        [{"index": 0, "delta": {"tool_calls": [{"id": "a"}] * 10_000}}],
        [{"index": 0, "delta": {"tool_calls": [None] * 10_000}}],
        [{"index": 0, "delta": {"content": [{"text": "x"}] * 10_000}}],
        [{"index": 0, "delta": {"content": [{"thinking": "x"}] * 10_000}}],
        [{"index": 0, "delta": {"content": [None] * 10_000}}],
        [{"index": 0, "delta": {"content": "x"}}] * 10_000,
        [None] * 10_000,
    ],
)
def test_one_event_is_read_in_batches(choices: list[Any]) -> None:
    batches = list(chunks.ChunkReader(1).take(event_of(chunk(choices=choices))))
    assert len(batches) >= 10_000 // chunkfields.BATCH
    assert all(len(batch or ()) <= chunkfields.BATCH for batch in batches)


def test_words_of_any_length_are_capped() -> None:
    long = "x" * 100_000
    call = {"id": long, "function": {"name": long}}
    called, finished = said(
        chunk(choices=[{"index": 0, "delta": {"tool_calls": [call]}, "finish_reason": long}])
    )
    assert isinstance(called, ToolCallDelta)
    assert isinstance(finished, TurnFinished)
    lengths = [len(called.call_id or ""), len(called.name or ""), len(finished.reason)]
    assert lengths == [chunkfields.WORD_MAX] * 3
