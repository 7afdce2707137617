"""Calls of earlier answers reach the model as it made them."""

import json

import pytest

from engine import slices, worker
from machines.tooloptions import ToolShape
from server.chat.request import DeclaredFunction
from server.responses.request import declarations, earliercalls, offered as offers
from server.responses.request.input_items import CustomCall, FunctionCall

OFFERED = offers.offer(
    declarations.Declared("", shape, DeclaredFunction(shape.name))
    for shape in (
        ToolShape("f"),
        ToolShape("f", "n"),
        ToolShape("patch", "n", "custom"),
    )
)


def read(item: FunctionCall | CustomCall) -> worker.Call:
    return slices.at_once(earliercalls.read(item, OFFERED))


def test_a_call_has_the_name_that_its_function_is_offered_by() -> None:
    call = FunctionCall(call_id="c", name="f", namespace="n", arguments="{ }")
    assert read(call) == worker.Call("c", "n__f", "{ }")


@pytest.mark.parametrize("text", ["*** Begin Patch\n", '{"a": 1}', "", '"'])
def test_the_text_of_a_tool_that_is_offered_is_the_argument(text: str) -> None:
    call = read(CustomCall(call_id="c", name="patch", namespace="n", input=text))
    assert (call.name, json.loads(call.arguments)) == ("patch", {"input": text})


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        ('{"a": 1}', {"a": 1}),
        ("[1]", {"input": "[1]"}),
        ("{" * 200, {"input": "{" * 200}),
    ],
)
def test_of_a_tool_that_is_not_an_object_is_all_the_arguments(
    text: str, arguments: object
) -> None:
    call = read(CustomCall(call_id="c", name="gone", input=text))
    assert (call.name, json.loads(call.arguments)) == ("gone", arguments)
