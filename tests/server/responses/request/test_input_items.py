"""An item is read by its type, or by what it has where it names none."""

import json
from typing import Any

import msgspec
import pytest

from server.http import errors
from server.responses.request import input_items
from tests.support.requests import responserequests


def read(**members: Any) -> Any:
    """An item as it was read."""
    return responserequests.read_item(msgspec.Raw(json.dumps(members).encode()))


def refusal(**members: Any) -> errors.ApiError:
    """What is said of one that is refused."""
    with pytest.raises(errors.ApiError) as refused:
        read(**members)
    return refused.value


CALL = {"call_id": "c1", "name": "add"}


@pytest.mark.parametrize(
    ("members", "item"),
    [
        (
            {"type": "message", "role": "user", "content": "hi"},
            input_items.Message(role="user", content="hi"),
        ),
        (
            {"type": "function_call", **CALL, "arguments": "{}"},
            input_items.FunctionCall(call_id="c1", name="add", arguments="{}"),
        ),
        (
            {"type": "function_call_output", "call_id": "c1", "output": "3"},
            input_items.FunctionCallOutput(call_id="c1", output="3"),
        ),
        (
            {"type": "custom_tool_call", **CALL, "input": "x"},
            input_items.CustomCall(call_id="c1", name="add", input="x"),
        ),
        (
            {"type": "custom_tool_call", **CALL, "namespace": "n", "input": ""},
            input_items.CustomCall(call_id="c1", name="add", namespace="n", input=""),
        ),
        (
            {"type": "additional_tools", "role": "developer", "id": "at_1", "tools": []},
            input_items.AdditionalTools([], "at_1", "developer"),
        ),
        (
            {"type": "reasoning", "summary": [], "encrypted_content": "e"},
            input_items.Reasoning(summary=[], encrypted_content="e"),
        ),
        ({"type": "item_reference", "id": "msg_1"}, input_items.ItemReference("msg_1")),
    ],
)
def test_an_item_is_what_its_type_says(members: dict[str, Any], item: object) -> None:
    assert read(**members) == item


@pytest.mark.parametrize("kind", [{}, {"type": None}])
def test_without_a_type_a_role_is_a_message_and_an_id_alone_a_reference(
    kind: dict[str, Any],
) -> None:
    message = input_items.Message(role="user", content="hi")
    assert read(role="user", content="hi", **kind) == message
    assert read(id="msg_1", **kind) == input_items.ItemReference("msg_1")
    assert refusal(content="hi", **kind).param == "input[0].type"


@pytest.mark.parametrize("kind", sorted(input_items.HOSTED))
def test_an_item_of_a_tool_elsewhere_is_kept_as_it_came(kind: str) -> None:
    found = read(type=kind, more=[1])
    assert isinstance(found, input_items.Unshown)
    assert json.loads(bytes(found.item)) == {"type": kind, "more": [1]}


def test_a_type_that_there_is_not_is_named_in_part() -> None:
    error = refusal(type="x" * 1000)
    assert (error.code, error.param) == ("invalid_request", "input[0].type")
    assert len(error.message) < 300


def test_a_field_at_fault_is_named_by_its_path() -> None:
    part = {"type": "input_image"}
    assert refusal(role="user", content=[part]).param == "input[0].content[0].image_url"
    assert refusal(type="function_call", **CALL, arguments={}).param == "input[0].arguments"


def test_parts_are_counted_by_their_field() -> None:
    part = {"type": "input_text", "text": "a"}
    counted = input_items.part_counts(read(role="user", content=[part, part]))
    assert list(counted) == [("content", 2)]
    counted = input_items.part_counts(read(type="reasoning", summary=[]))
    assert list(counted) == [("summary", 0)]
    assert list(input_items.part_counts(read(role="user", content="hi"))) == []
