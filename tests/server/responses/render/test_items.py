"""The output items of a response: what is told of each, in which order, and what they are then."""

import json
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from machines import events
from machines.tooloptions import ToolShape
from server.responses.render import items, partsitems
from tests.support.providers import responsescript as script


class Output:
    """The items of a response, and what they answer as a client reads it."""

    def __init__(
        self,
        response_id: str = "resp_1",
        shows_encrypted: bool = False,
        empty_message: events.EmptyMessage = "always",
        shapes: Mapping[str, ToolShape] = items.NO_SHAPES,
    ) -> None:
        self.items = items.OutputItems(response_id, shows_encrypted, empty_message, shapes)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.items, name)
        return (lambda *given: sent(found(*given))) if callable(found) else found


def sent(value: Any) -> Any:
    return json.loads(msgspec.json.encode(value))


def output(shows_encrypted: bool = False) -> Output:
    return Output(shows_encrypted=shows_encrypted)


def said(found: Output, text: str, kind: str = "output_text") -> Any:
    part, opening = found.items.part(kind)
    return sent([*opening, part.delta(text)])


def test_a_message_is_told_of_from_its_beginning_to_its_end() -> None:
    found = output()
    told = [*said(found, "Hel"), *said(found, "lo"), *found.finish("completed")]
    assert told == script.message(0, "Hel", "lo")
    assert found.objects() == [script.said(0, "Hello")]


def test_an_item_shows_what_there_is_of_it() -> None:
    found = output()
    said(found, "Hel")
    found.add_call(0, "call_a", "f", '{"x"')
    assert found.objects() == [
        script.said(0, "Hel"),
        script.called(1, "call_a", "f", '{"x"', "in_progress"),
    ]


def test_what_is_cut_is_incomplete_and_what_was_whole_before_stays_so() -> None:
    found = output()
    said(found, "Hel")
    found.add_reasoning("hm", "summary")
    said(found, "lo")
    found.finish("incomplete")
    assert [item.get("status") for item in found.objects()] == ["completed", None, "incomplete"]


def test_a_refusal_is_a_part_of_its_own() -> None:
    found = output()
    told = [*said(found, "I can't "), *said(found, "help.", "refusal"), *found.finish("completed")]
    whole = script.said(0, "I can't ")
    whole["content"].append(script.part("refusal", "help."))
    opening, end = script.ends_of(0, whole | {"status": "in_progress", "content": []}, whole)
    assert told == [
        opening,
        *script.parted(0, 0, "output_text", "I can't "),
        *script.parted(0, 1, "refusal", "help."),
        end,
    ]
    assert found.refused


def test_text_is_no_refusal() -> None:
    found = output()
    said(found, "x")
    found.add_reasoning("y", "text")
    assert not found.refused


def test_each_kind_of_thinking_counts_its_own_parts() -> None:
    found = output()
    told = [
        *found.add_reasoning("a", "summary"),
        *found.add_reasoning("b", "summary"),
        *found.add_reasoning("c", "text"),
        *found.add_reasoning("d", "summary"),
        *found.finish("completed"),
    ]
    whole = script.thought(0, "ab", "d", content=["c"])
    opening, end = script.ends_of(0, script.thought(0), whole)
    assert told == [
        opening,
        *script.parted(0, 0, "summary_text", "a", "b"),
        *script.parted(0, 0, "reasoning_text", "c"),
        *script.parted(0, 1, "summary_text", "d"),
        end,
        *script.message(1),
    ]


def test_reasoning_of_raw_text_has_content_from_its_beginning() -> None:
    found = output()
    told = found.add_reasoning("a", "text")
    assert told[0]["item"] == script.thought(0, content=[])


def test_reasoning_ends_where_its_provider_says_so_and_what_follows_is_another_item() -> None:
    found = output()
    told = [
        *found.add_reasoning("a", "summary"),
        *found.end_reasoning(""),
        *found.add_reasoning("b", "summary"),
        *found.end_reasoning(""),
    ]
    assert [event["type"] for event in told].count("response.output_item.done") == 2
    assert found.objects() == [script.thought(0, "a"), script.thought(1, "b")]


@pytest.mark.parametrize("shows", [True, False])
def test_encrypted_content_is_shown_to_those_who_asked_and_kept_for_all(shows: bool) -> None:
    found = output(shows)
    found.add_reasoning("a", "summary")
    ended = found.end_reasoning("rs_x:secret")[-1]["item"]
    shown: dict[str, Any] = {"encrypted_content": "rs_x:secret"} if shows else {}
    assert ended == script.thought(0, "a", **shown)
    assert found.objects() == [ended]
    assert found.kept() == [script.thought(0, "a", encrypted_content="rs_x:secret")]


def test_encrypted_content_that_there_is_not_is_null_to_those_who_asked() -> None:
    found = output(shows_encrypted=True)
    told = found.add_reasoning("a", "summary")
    assert told[0]["item"] == script.thought(0, encrypted_content=None)
    found.end_reasoning("")
    assert found.kept() == [script.thought(0, "a", encrypted_content=None)]


def test_thinking_that_is_only_encrypted_is_an_item_too() -> None:
    found = output(shows_encrypted=True)
    told = found.end_reasoning("e")
    opening, end = script.ends_of(
        0, script.thought(0, encrypted_content=None), script.thought(0, encrypted_content="e")
    )
    assert told == [opening, end]


def test_a_call_that_came_whole_has_one_delta() -> None:
    found = output()
    told = [*found.add_call(0, "call_a", "f", '{"x":1}'), *found.finish("completed")]
    assert told == script.call(0, "call_a", "f", '{"x":1}')


def test_a_call_without_arguments_has_no_delta() -> None:
    found = output()
    told = [
        *found.add_call(0, "call_a", "f", ""),
        *found.add_arguments(0, ""),
        *found.finish("completed"),
    ]
    assert told == script.call(0, "call_a", "f")
    assert found.objects() == [script.called(0, "call_a", "f", "")]


def test_a_whole_call_ends_where_the_next_begins() -> None:
    found = output()
    told = [
        *found.add_call(0, "call_a", "f", ""),
        *found.add_arguments(0, '{"x":'),
        *found.add_arguments(0, "1}"),
        *found.add_call(1, "call_b", "g", "{}"),
        *found.finish("completed"),
    ]
    assert told == [
        *script.call(0, "call_a", "f", '{"x":', "1}"),
        *script.call(1, "call_b", "g", "{}"),
    ]


@pytest.mark.parametrize("arguments", ['{"x":"}"', '{"x":["}"]', '{"x":"\\"}', "[]", '"{}"', ""])
def test_a_call_whose_object_is_not_closed_stays_open_when_another_begins(arguments: str) -> None:
    found = output()
    found.add_call(0, "call_a", "f", arguments)
    found.add_call(1, "call_b", "g", "{}")
    assert [item["status"] for item in found.objects()] == ["in_progress", "in_progress"]
    found.add_arguments(0, "x")
    found.finish("completed")
    assert found.objects()[0]["arguments"] == arguments + "x"


def test_calls_may_grow_side_by_side() -> None:
    found = output()
    told = [
        *found.add_call(0, "call_a", "f", '{"x":'),
        *found.add_call(1, "call_b", "g", "{"),
        *found.add_arguments(0, "1}"),
        *found.add_arguments(1, "}"),
        *found.finish("completed"),
    ]
    first = script.call(0, "call_a", "f", '{"x":', "1}")
    second = script.call(1, "call_b", "g", "{", "}")
    assert told == [
        *first[:2],
        *second[:2],
        first[2],
        second[2],
        *first[3:],
        *second[3:],
    ]


def test_nothing_is_added_to_a_call_that_has_ended() -> None:
    found = output()
    found.add_call(0, "call_a", "f", "{}")
    found.add_call(1, "call_b", "g", "{}")
    assert found.add_arguments(0, " ") == []
    assert found.objects()[0] == script.called(0, "call_a", "f", "{}")


def test_text_ends_before_a_call_begins_and_a_call_may_grow_beside_text() -> None:
    found = output()
    told = [
        *said(found, "Look."),
        *found.add_call(0, "call_a", "f", '{"x":'),
        *said(found, "And"),
        *found.add_arguments(0, "1}"),
        *found.finish("completed"),
    ]
    call = script.call(1, "call_a", "f", '{"x":', "1}")
    text = script.message(2, "And")
    assert told == [*script.message(0, "Look."), *call[:2], *text[:3], *call[2:], *text[3:]]


def test_calls_that_are_cut_are_incomplete() -> None:
    found = output()
    found.add_call(0, "call_a", "f", "{}")
    found.add_call(1, "call_b", "g", '{"x')
    told = found.finish("incomplete")
    last = script.called(1, "call_b", "g", '{"x', "incomplete")
    assert told == [script.arguments_done(last), script.ends_of(1, last, last)[1]]
    assert found.objects() == [script.called(0, "call_a", "f", "{}"), last]


def test_an_answer_of_nothing_is_an_empty_message() -> None:
    found = output()
    assert found.finish("completed") == script.message(0)
    assert found.objects() == [script.said(0, "")]


def test_an_answer_of_a_call_has_no_message() -> None:
    found = output()
    found.add_call(0, "call_a", "f", "{}")
    found.finish("completed")
    assert [item["type"] for item in found.objects()] == ["function_call"]


def test_what_breaks_off_is_ended_and_nothing_is_made_up() -> None:
    found = output()
    found.break_off()
    assert found.objects() == []
    found = output()
    said(found, "Hel")
    found.break_off()
    assert found.objects() == [script.said(0, "Hel", "incomplete")]


def test_ids_are_of_the_response_and_told_apart_by_their_index() -> None:
    found = Output("resp_abc")
    found.add_reasoning("a", "summary")
    said(found, "b")
    found.add_call(0, "call_a", "f", "{}")
    ids = [item["id"] for item in found.objects()]
    assert ids == ["rs_abc0000", "msg_abc0001", "fc_abc0002"]


def test_messages_of_the_provider_are_items_with_their_phase() -> None:
    found = output()
    told = [
        *found.begin_message("commentary"),
        *said(found, "Hm."),
        *found.end_message("commentary"),
        *found.begin_message(None),
        *said(found, "4"),
        *found.end_message("final_answer"),
        *found.begin_message(None),
        *found.finish("incomplete"),
    ]
    items_told = [event["item"] for event in told if "item" in event]
    assert [item.get("phase") for item in items_told] == [
        "commentary",
        "commentary",
        None,
        "final_answer",
        None,
        None,
    ]
    assert [(item["status"], item["content"]) for item in items_told[1::2]] == [
        ("completed", [script.part("output_text", "Hm.")]),
        ("completed", [script.part("output_text", "4")]),
        ("incomplete", []),
    ]
    assert found.objects() == items_told[1::2]


def test_a_message_without_text_has_an_empty_one() -> None:
    found = output()
    told = [*found.begin_message(None), *found.end_message(None), *found.end_message(None)]
    told += found.finish("completed")
    assert [event["type"].removeprefix("response.") for event in told] == [
        "output_item.added",
        "content_part.added",
        "output_text.done",
        "content_part.done",
        "output_item.done",
    ]
    assert found.objects() == [script.said(0, "")]


def test_a_message_that_ended_is_incomplete_if_the_answer_ends_with_it_and_is() -> None:
    found = output()
    for text in ("Hm.", "4"):
        found.begin_message(None)
        said(found, text)
        found.end_message(None)
    found.finish("incomplete")
    assert [item["status"] for item in found.objects()] == ["completed", "incomplete"]


def test_parts_of_a_summary_stay_parts() -> None:
    found = output()
    assert found.end_reasoning_part() == []
    found.add_reasoning("a", "summary")
    ended = found.end_reasoning_part()
    assert [event["type"] for event in ended] == [
        "response.reasoning_summary_text.done",
        "response.reasoning_summary_part.done",
    ]
    assert found.end_reasoning_part() == []
    (added, _) = found.add_reasoning("b", "summary")
    assert (added["type"], added["summary_index"]) == ("response.reasoning_summary_part.added", 1)
    found.end_reasoning("")
    assert [part["text"] for part in found.objects()[0]["summary"]] == ["a", "b"]


@pytest.mark.parametrize(
    ("empty_message", "ends_empty"),
    [("always", {"completed", "incomplete"}), ("completed", {"completed"}), ("never", set())],
)
@pytest.mark.parametrize("status", ["completed", "incomplete"])
def test_an_empty_message_is_made_up_only_where_it_may_be(
    empty_message: events.EmptyMessage, ends_empty: set[str], status: partsitems.Status
) -> None:
    found = Output(empty_message=empty_message)
    found.add_reasoning("hm", "summary")
    found.finish(status)
    kinds = [item["type"] for item in found.objects()]
    assert kinds == ["reasoning", *(["message"] if status in ends_empty else [])]


SHAPES = {
    "patch": ToolShape("patch", kind="custom"),
    "n__f": ToolShape("f", "n"),
    "exec": ToolShape("exec", "functions", "custom"),
}


def text_call(index: int, name: str, *pieces: str, **members: str) -> list[Any]:
    """The events of a custom tool's call; its text comes in these pieces."""
    place = {"item_id": f"ctc_1{index:04x}", "output_index": index}
    item = {"id": place["item_id"], "type": "custom_tool_call", "call_id": f"call_{index}"}
    whole = item | {"status": "completed", "name": name, **members, "input": "".join(pieces)}
    kind = "response.custom_tool_call_input"
    return [
        {
            "type": "response.output_item.added",
            "output_index": index,
            "item": whole | {"status": "in_progress", "input": ""},
        },
        *({"type": f"{kind}.delta", **place, "delta": piece} for piece in pieces),
        {"type": f"{kind}.done", **place, "input": whole["input"]},
        {"type": "response.output_item.done", "output_index": index, "item": whole},
    ]


def test_a_custom_tools_text_grows_as_its_arguments_do() -> None:
    found = Output(shapes=SHAPES)
    told = [
        *found.add_call(0, "call_0", "patch", '{"inp'),
        *found.add_arguments(0, 'ut": "*** Beg'),
        *found.add_arguments(0, "in\\n+"),
        *found.add_arguments(0, 'é"}'),
        *found.finish("completed"),
    ]
    assert told == text_call(0, "patch", "*** Beg", "in\n+", "é")


def test_arguments_that_are_no_json_are_the_text_at_the_end() -> None:
    found = Output(shapes=SHAPES)
    told = [*found.add_call(0, "call_0", "patch", "*** Begin"), *found.finish("completed")]
    assert told == text_call(0, "patch", "*** Begin")


def test_a_custom_tools_call_ends_when_the_next_begins() -> None:
    found = Output(shapes=SHAPES)
    told = [
        *found.add_call(0, "call_0", "exec", '{"input": "a"}'),
        *found.add_call(1, "call_1", "exec", '{"input": "b"}'),
        *found.finish("completed"),
    ]
    first = text_call(0, "exec", "a", namespace="functions")
    second = text_call(1, "exec", "b", namespace="functions")
    assert told == [*first, *second]


def test_a_call_names_its_namespace_and_its_own_name() -> None:
    found = Output(shapes=SHAPES)
    found.add_call(0, "call_a", "n__f", "{}")
    found.add_call(1, "call_b", "f", "{}")
    first, second = found.objects()
    assert (first["name"], first["namespace"]) == ("f", "n")
    assert second == script.called(1, "call_b", "f", "{}", "in_progress")


def test_a_text_that_an_upstream_has_from_a_custom_call_is_told_as_it_came() -> None:
    found = Output(shapes=SHAPES)
    told = [
        *found.add_call(0, "call_0", "exec", '{"input": "a"}', "custom"),
        *found.finish("completed"),
    ]
    assert told == text_call(0, "exec", '{"input": "a"}', namespace="functions")
