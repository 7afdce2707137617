"""Members that nobody here knows pass as they came, within bounds, and override nothing."""

import json
from typing import Any

import msgspec
import pytest

from engine import redaction
from engine.upstream import chunks, extras
from machines import events
from machines.events import ExtraMembers, MembersDropped, TextDelta
from machines.wire.eventsource import Event
from tests.support.providers.upstreams import chunk, counted, usage

SECRET = "sk-upstream-0123456789"
KNOWN = redaction.Redaction((SECRET,))


def said(*sent: Any, n: int = 1) -> list[events.StreamInput]:
    """The events that chunks of an upstream make."""
    reader = chunks.ChunkReader(n, known=KNOWN)
    found: list[events.StreamInput] = []
    for each in sent:
        data = each if isinstance(each, bytes) else json.dumps(each).encode()
        for batch in reader.take(Event("message", data)):
            found += batch or ()
    return found


def told(*sent: Any) -> list[tuple[str, Any, bool]]:
    """The place and the members of each event that has some, and whether they go with output."""
    return [
        (event.place, json.loads(bytes(event.members)), event.followed)
        for event in said(*sent)
        if isinstance(event, ExtraMembers)
    ]


def choice(delta: Any, **members: Any) -> Any:
    """A chunk of one choice."""
    return chunk(choices=[{"index": 0, "delta": delta, **members}])


def test_members_go_before_the_output_of_their_chunk() -> None:
    first, second, text = said(choice({"content": "a", "mood": "glad"}, seed=7))
    assert isinstance(first, ExtraMembers)
    assert isinstance(second, ExtraMembers)
    assert text == TextDelta("a")
    assert told(choice({"content": "a", "mood": "glad"}, seed=7)) == [
        ("delta", {"mood": "glad"}, True),
        ("choice", {"seed": 7}, True),
    ]


def test_members_alone_are_output() -> None:
    assert told(choice({"images": [{"url": "data:,"}]})) == [
        ("delta", {"images": [{"url": "data:,"}]}, False)
    ]
    assert told(choice({"role": "assistant", "content": ""}, filters={}, seed=None)) == []
    assert told(choice({"content": "a"}, filters={})) == [("choice", {"filters": {}}, True)]


def test_members_of_chunks_are_told_when_they_change() -> None:
    standing = {"system_fingerprint": "fp", "obfuscation": "aXq"}
    sent = [
        chunk("a", **standing),
        chunk("b", **{**standing, "obfuscation": "b"}),
        chunk("c", **standing, timings={"ms": 1}),
        chunk("d"),
    ]
    assert told(*sent) == [
        ("chunk", {"system_fingerprint": "fp"}, False),
        ("chunk", {"system_fingerprint": "fp", "timings": {"ms": 1}}, False),
        ("chunk", {}, False),
    ]


def test_a_plain_text_costs_no_event() -> None:
    assert said(chunk("a"), chunk("b")) == [TextDelta("a"), TextDelta("b")]


def test_what_is_no_chunk_has_no_members() -> None:
    assert said({"type": "ping", "at": 1}, chunk("a")) == [TextDelta("a")]


def test_counts_have_their_last_members_once_and_before_them() -> None:
    first = {**usage(7, 1), "cost": 1, "prompt_tokens_details": {"audio_tokens": 1}}
    last = {
        **usage(7, 2),
        "cost": 2.5,
        "prompt_tokens_details": {"cached_tokens": 1, "audio_tokens": "x", "warm": [1]},
        "completion_tokens_details": {"reasoning_tokens": 1, "audio_tokens": 0},
    }
    first["completion_tokens_details"] = "none"
    found = said(
        chunk("a", usage=first), chunk(finish="stop"), chunk(choices=[], usage=last), b"[DONE]"
    )
    assert isinstance(found[-2], ExtraMembers)
    assert isinstance(found[-1], events.TokensCounted)
    assert json.loads(bytes(found[-2].members)) == {
        "cost": 2.5,
        "prompt_tokens_details": {"audio_tokens": 1, "warm": [1]},
        "completion_tokens_details": {"audio_tokens": 0},
    }
    names = [name for each in found if isinstance(each, MembersDropped) for name in each.names]
    audio = "usage.prompt_tokens_details.audio_tokens"
    assert names == ["usage.completion_tokens_details", audio]


def test_members_of_the_server_are_never_overridden() -> None:
    own = dict.fromkeys(extras.OWN_CHUNK - {"choices", "error", "detail", "message"}, "x")
    delta = {"content": "a", "role": "user"}
    sent = {**own, "choices": [{"index": 0, "delta": delta, "text": "b", "message": {"x": 1}}]}
    assert said(sent) == [TextDelta("a")]


@pytest.mark.parametrize(
    ("place", "sent"),
    [
        ("choice.logprobs", choice({"content": "a"}, logprobs=[-0.5])),
        ("chunk.service_tier", chunk("a", service_tier="on_demand")),
        ("delta.annotations", choice({"content": "a", "annotations": "none"})),
    ],
)
def test_what_the_api_types_otherwise_is_dropped_and_named_once(place: str, sent: Any) -> None:
    assert said(sent, sent) == [MembersDropped((place,)), TextDelta("a"), TextDelta("a")]


def test_members_are_bounded_by_bytes_names_and_values() -> None:
    most = "x" * (extras.EVENT_BYTES - len('{"image":""}'))
    assert told(choice({"image": most})) == [("delta", {"image": most}, False)]
    assert said(choice({"image": most + "x"})) == [MembersDropped(("delta.image",))]
    many = dict.fromkeys(map(str, range(extras.NAMES_MAX + 9)), 1)
    ((_, found, _),) = told(choice(many))
    assert len(found) == extras.NAMES_MAX
    ((_, found, _),) = told(choice({"a" * (extras.NAME_MAX + 1): 1, "b": 2}))
    assert found == {"b": 2}
    wide = choice({"content": "a", "wide": [0] * extras.VALUES_MAX, "b": 2})
    assert told(wide) == [("delta", {"b": 2}, True)]
    deep = choice({"content": "a", "deep": [[[1], {"a": 2}]] * extras.VALUES_MAX})
    assert MembersDropped(("delta.deep",)) in said(deep)
    ids = [0] * (extras.VALUES_MAX - 1)
    assert told(choice({"ids": ids})) == [("delta", {"ids": ids}, False)]


def test_members_of_an_answer_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "ANSWER_BYTES", 20)
    assert said(choice({"a": "12345"}), choice({"b": "12345"})) == [
        ExtraMembers("delta", msgspec.Raw(b'{"a":"12345"}')),
        MembersDropped(("delta.b",)),
    ]


def test_the_names_of_an_answer_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "ANSWER_NAMES", 2)
    sent = [choice({name: 1}) for name in ("a", "b", "a", "c")]
    assert told(*sent) == [("delta", {name: 1}, False) for name in ("a", "b", "a")]


def test_what_is_held_until_the_counts_are_final_is_bounded() -> None:
    most = "v" * (extras.USAGE_BYTES - 100)
    sent = [chunk("a", usage={**usage(1, 1), f"u{at}": most}) for at in range(3)]
    found = said(*sent, chunk(finish="stop"), b"[DONE]")
    assert MembersDropped(("usage.u1", "usage.u2")) in found
    (members,) = (event.members for event in found if isinstance(event, ExtraMembers))
    assert json.loads(bytes(members)) == {"u0": most}


def test_a_name_that_is_dropped_has_no_secret_and_no_part_of_one() -> None:
    name = "k" * (extras.NAME_MAX - 12) + "-" + SECRET
    (dropped,) = (
        event for event in said(choice({"a": 1, name: 1})) if isinstance(event, MembersDropped)
    )
    assert dropped.names[0].startswith("delta.kkk")
    assert SECRET[:5] not in dropped.names[0]


def test_members_with_a_secret_are_dropped_if_they_are_large() -> None:
    large = {"a": SECRET, "b": ["x"] * extras.SECRET_BYTES}
    assert MembersDropped(("delta.debug",)) in said(choice({"debug": large, "content": "a"}))


def test_numbers_and_booleans_are_not_the_same() -> None:
    sent = [chunk("a", flag=0), chunk("b", flag=False), chunk("c", flag=False)]
    assert told(*sent) == [("chunk", {"flag": 0}, False), ("chunk", {"flag": False}, False)]


def test_a_chunk_of_counts_has_members_also_without_choices() -> None:
    last = {"usage": usage(7, 2), "citations": ["u"]}
    assert told(chunk("a", finish="stop"), last) == [("chunk", {"citations": ["u"]}, False)]


def test_a_repeated_message_tells_the_further_entries_of_a_list() -> None:
    def annotation(at: int) -> Any:
        cited = {"start_index": 0, "end_index": at, "title": "t", "url": "u"}
        return {"type": "url_citation", "url_citation": cited}

    tokens = {"content": [{"token": "a", "logprob": -1, "top_logprobs": []}]}
    message = {"content": "a", "annotations": [annotation(1), annotation(2)]}
    last = {"index": 0, "message": message, "logprobs": tokens, "finish_reason": "stop"}
    first = choice({"content": "a", "annotations": [annotation(1)]}, logprobs=tokens)
    assert told(first, chunk(choices=[last])) == [
        ("delta", {"annotations": [annotation(1)]}, True),
        ("choice", {"logprobs": tokens}, True),
        ("delta", {"annotations": [annotation(2)]}, True),
    ]


def test_a_secret_of_the_servers_is_taken_out() -> None:
    sent = choice({"debug": {"authorization": f"Bearer {SECRET}"}})
    assert told(sent) == [("delta", {"debug": {"authorization": "Bearer ********"}}, False)]


def test_a_repeated_message_tells_what_was_not_told_before() -> None:
    message = {"content": "a", "mood": "glad", "audio": {"id": "x"}}
    last = chunk(choices=[{"index": 0, "message": message, "finish_reason": "stop"}])
    assert told(choice({"content": "a", "mood": "glad"}), last, counted(7, 2)) == [
        ("delta", {"mood": "glad"}, True),
        ("delta", {"audio": {"id": "x"}}, True),
    ]


@pytest.mark.parametrize("late", [{"mood": "sad"}, {"content": "", "audio": {"id": "x"}}])
def test_members_behind_the_finish_of_a_choice_are_no_output(late: Any) -> None:
    found = said(chunk("a", finish="stop"), choice(late, native_finish_reason="x"), b"[DONE]")
    kinds = [type(event) for event in found]
    assert kinds == [TextDelta, events.TurnFinished, events.TokensCounted]


def test_a_call_has_its_members_and_those_of_its_function() -> None:
    function = {"name": "f", "arguments": "{}", "parsed": {"a": 1}}
    call = {"index": 0, "id": "c1", "type": "function", "function": function, "extra": [1]}
    (found,) = said(choice({"tool_calls": [call]}))
    assert isinstance(found, events.ToolCallDelta)
    assert json.loads(bytes(found.members)) == {"extra": [1], "function": {"parsed": {"a": 1}}}
