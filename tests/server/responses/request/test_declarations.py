"""Tools of every shape are read as functions, and what runs elsewhere is named."""

import json
from typing import Any

import msgspec
import pytest

from engine import slices
from machines.tooloptions import ToolShape
from server.api.options import SearchOptions
from server.http import errors
from server.responses.request import declarations, input_items
from tests.support.requests.chatrequests import LIMIT

F = {"type": "function", "name": "f", "description": "does it"}
PATCH = {"type": "custom", "name": "patch", "description": "Edits files."}
GROUP = {"type": "namespace", "name": "n", "description": "About n.", "tools": [F, PATCH]}


def raws(*tools: Any) -> list[msgspec.Raw]:
    return [msgspec.Raw(json.dumps(tool).encode()) for tool in tools]


def read(*tools: Any, limit: int = LIMIT) -> declarations.DeclaredTools:
    """A list of tools as it was read."""
    return slices.at_once(declarations.read(raws(*tools), "tools", limit))


def refusal(*tools: Any, limit: int = LIMIT) -> errors.ApiError:
    with pytest.raises(errors.ApiError) as refused:
        read(*tools, limit=limit)
    return refused.value


def test_each_tool_keeps_its_shape_and_its_place() -> None:
    found = read(F | {"name": "g"}, GROUP, PATCH)
    assert [(each.path, each.shape) for each in found.tools] == [
        ("tools[0]", ToolShape("g")),
        ("tools[1].tools[0]", ToolShape("f", "n")),
        ("tools[1].tools[1]", ToolShape("patch", "n", "custom")),
        ("tools[2]", ToolShape("patch", None, "custom")),
    ]
    assert found.ignored == ()


def test_a_custom_tool_is_a_function_of_one_string() -> None:
    (found,) = read(PATCH).tools
    assert json.loads(msgspec.json.encode(found.function.parameters)) == {
        "type": "object",
        "properties": {"input": {"type": "string"}},
        "required": ["input"],
        "additionalProperties": False,
    }
    assert found.function.description == f"Edits files.\n\n{declarations.INPUT_HINT}"
    assert not found.has_grammar


@pytest.mark.parametrize(
    ("syntax", "definition", "hint"),
    [("lark", "start: /.+/", "this Lark grammar"), ("regex", "[a-z]+", "this regular expression")],
)
def test_a_grammar_is_asked_for_in_words(syntax: str, definition: str, hint: str) -> None:
    form = {"type": "grammar", "syntax": syntax, "definition": definition}
    found, plain = read(
        PATCH | {"format": form}, PATCH | {"name": "p", "format": {"type": "text"}}
    ).tools
    assert found.function.description is not None
    assert hint in found.function.description
    assert found.function.description.endswith(f"\n\n{definition}")
    assert (found.has_grammar, plain.has_grammar) == (True, False)


def test_a_namespace_is_described_with_its_first_tool() -> None:
    first, second = read(GROUP).tools
    assert first.function.description == "does it\n\n`n`: About n."
    assert second.function.description is not None
    assert second.function.description.endswith("\n\nAlso one of `n`.")
    undescribed, _ = read(GROUP | {"description": ""}).tools
    assert undescribed.function.description == "does it"


def test_what_runs_elsewhere_is_named() -> None:
    hosted = [
        {"type": "file_search"},
        {"type": "mcp", "server_label": "s"},
        {"type": "local_shell"},
    ]
    inside = GROUP | {"tools": [F, {"type": "file_search"}]}
    found = read(*hosted, F, inside)
    assert found.ignored == ("tools[0]", "tools[1]", "tools[2]", "tools[4].tools[1]")
    assert [each.path for each in found.tools] == ["tools[3]", "tools[4].tools[0]"]


@pytest.mark.parametrize(
    ("tools", "param"),
    [
        ([F, F], "tools[1].name"),
        ([F, PATCH | {"name": "f"}], "tools[1].name"),
        ([GROUP, GROUP], "tools[1].tools[0].name"),
        ([{"type": "custom"}], "tools[0].name"),
        (
            [PATCH | {"format": {"type": "grammar", "syntax": "lark"}}],
            "tools[0].format.definition",
        ),
        ([PATCH | {"format": {"type": "x"}}], "tools[0].format.type"),
        ([GROUP | {"name": None}], "tools[0].name"),
        ([GROUP | {"tools": None}], "tools[0].tools"),
        ([GROUP | {"tools": [{"name": "f"}]}], "tools[0].tools[0].type"),
        ([GROUP | {"tools": [{"type": "function", "name": ""}]}], "tools[0].tools[0].name"),
    ],
)
def test_what_is_wrong_is_refused_by_its_path(tools: list[Any], param: str) -> None:
    assert (refusal(*tools).status, refusal(*tools).param) == (400, param)


def test_tools_of_namespaces_are_counted_with_the_others() -> None:
    assert len(read(F | {"name": "g"}, GROUP, limit=3).tools) == 3
    error = refusal(F | {"name": "g"}, GROUP, limit=2)
    assert (error.code, error.param) == ("array_above_max_length", "tools[1].tools")


def test_tools_among_the_items_are_read_where_they_stand() -> None:
    items: list[input_items.AnyItem] = [
        input_items.Message(role="user", content="hi"),
        input_items.AdditionalTools(raws(GROUP, {"type": "file_search"})),
        input_items.AdditionalTools(raws(F)),
    ]
    found = slices.at_once(declarations.among(items, "input", LIMIT))
    assert [each.path for each in found.tools] == [
        "input[1].tools[0].tools[0]",
        "input[1].tools[0].tools[1]",
        "input[2].tools[0]",
    ]
    assert found.ignored == ("input[1].tools[1]",)


def test_a_search_of_the_web_is_told_apart_from_what_runs_elsewhere() -> None:
    dated = {"type": "web_search_preview_2025_03_11", "user_location": {"country": "DE"}}
    found = read({"type": "web_search", "external_web_access": True}, F, dated)
    assert found.ignored == ()
    assert found.search == SearchOptions(("tools[0]", "tools[2]"), ("tools[2].user_location",))
    kept = read({"type": "web_search", "external_web_access": False}).search
    assert kept is not None and kept.access == "cached"
    items = [input_items.AdditionalTools(raws(F, {"type": "web_search"}))]
    among = slices.at_once(declarations.among(items, "input", LIMIT)).search
    assert among == SearchOptions(("input[0].tools[1]",))
