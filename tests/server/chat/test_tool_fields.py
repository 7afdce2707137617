"""The fields about tools, as a client sends them, become what a turn may call, or a refusal."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, strategies as st

from engine import slices, worker
from server.chat import request as chatbodies, tool_fields
from server.http import errors
from tests.support.requests import chatrequests

HI = [{"role": "user", "content": "hi"}]


def function(name: Any, **fields: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name} | fields}


F, G, H = function("f"), function("g"), function("h")
CUSTOM = {"type": "custom", "custom": {"name": "f"}}
WEB_SEARCH = {"type": "web_search", "search_context_size": "low"}
NAMESPACE = {"type": "namespace", "name": "n", "tools": [F]}


def allowed(mode: Any, *tools: Any) -> dict[str, Any]:
    return {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": list(tools)}}


def parse(**fields: Any) -> chatbodies.ChatRequest:
    return chatrequests.parse(json.dumps({"model": "m", "messages": HI} | fields).encode())[0]


def read(**fields: Any) -> tool_fields.Wanted:
    return tool_fields.read(parse(**fields), parallel=True)


def names(wanted: tool_fields.Wanted) -> list[str]:
    return [tool.name for tool in wanted.tools]


def refusal(**fields: Any) -> errors.ApiError:
    request = parse(**fields)
    with pytest.raises(errors.ApiError) as refused:
        tool_fields.read(request, parallel=True)
    return refused.value


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tools": {}}, "tools"),
        ({"tools": [F] * 513}, "tools"),
        ({"tools": ["f"]}, "tools[0]"),
        ({"tools": [{"name": "f"}]}, "tools[0].type"),
        ({"tools": [{"function": {}}]}, "tools[0].function.name"),
        ({"tools": [F, {"type": "function"}]}, "tools[1].function"),
        ({"tools": [{"type": "function", "name": "f"}]}, "tools[0].function"),
        ({"tools": [{"type": "function", "function": {}}]}, "tools[0].function.name"),
        ({"tools": [function(None)]}, "tools[0].function.name"),
        ({"tools": [function("")]}, "tools[0].function.name"),
        ({"tools": [function("f" * 257)]}, "tools[0].function.name"),
        ({"tools": [function("f", description=1)]}, "tools[0].function.description"),
        ({"tools": [function("f", parameters=[])]}, "tools[0].function.parameters"),
        ({"tools": [function("f", parameters="{}")]}, "tools[0].function.parameters"),
        ({"tools": [function("f", strict="yes")]}, "tools[0].function.strict"),
        ({"tool_choice": "some"}, "tool_choice"),
        ({"tool_choice": 1}, "tool_choice"),
        ({"tool_choice": {}}, "tool_choice.type"),
        ({"tool_choice": {"type": "custom", "custom": {"name": "f"}}}, "tool_choice.type"),
        ({"tool_choice": {"type": "function"}}, "tool_choice.function"),
        ({"tool_choice": function("")}, "tool_choice.function.name"),
        ({"tool_choice": {"type": "allowed_tools"}}, "tool_choice.allowed_tools"),
        ({"tool_choice": allowed("none")}, "tool_choice.allowed_tools.mode"),
        (
            {"tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto"}}},
            "tool_choice.allowed_tools.tools",
        ),
        ({"tool_choice": allowed("auto", {})}, "tool_choice.allowed_tools.tools[0].type"),
        (
            {"tool_choice": allowed("auto", {"type": "function"})},
            "tool_choice.allowed_tools.tools[0].function",
        ),
        ({"functions": {}}, "functions"),
        ({"functions": [{"name": "f"}] * 513}, "functions"),
        ({"functions": [F]}, "functions[0].name"),
        ({"functions": [{"name": "f", "parameters": 1}]}, "functions[0].parameters"),
        ({"function_call": "required"}, "function_call"),
        ({"function_call": {}}, "function_call.name"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_malformed_field_is_named(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(errors.ApiError) as refused:
        parse(**fields)
    error = refused.value
    assert (error.status, error.code, error.param) == (400, "invalid_request", param)
    assert f"'{param}'" in error.message or error.message.startswith("Invalid value: '")


def test_what_is_just_within_the_limits_is_taken() -> None:
    tools = [function(f"{index:0256}") for index in range(512)]
    assert len(read(tools=tools).tools) == 512


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"tools": [], "functions": []},
        {"tools": None, "tool_choice": None},
        {"tool_choice": "none", "function_call": "none"},
        {"tool_choice": "auto", "function_call": "auto"},
        {"parallel_tool_calls": None},
        {"tools": [], "tool_choice": allowed("auto")},
    ],
)
def test_without_tools_nothing_is_wanted(fields: dict[str, Any]) -> None:
    assert read(**fields) == tool_fields.Wanted()


def test_a_tool_is_what_the_client_declared() -> None:
    schema = '{"type": "object","properties":{"b":{ "maximum":1.50 },"a":{}},"$schema":"s"}'
    tools = [
        function("f", description="does it", parameters="HERE", strict=True),
        function("g", description=None, parameters=None),
        function("h", parameters={}),
    ]
    written = json.dumps({"model": "m", "messages": HI, "tools": tools})
    request, _ = chatrequests.parse(written.replace('"HERE"', schema).encode())
    f, g, h = tool_fields.read(request, parallel=True).tools
    assert (f.name, f.description) == ("f", "does it")
    assert f.parameters is not None
    assert list(msgspec.json.decode(f.parameters)) == ["type", "properties", "$schema"]
    assert b'{"b":{ "maximum":1.50 },"a":{}}' in bytes(f.parameters)
    assert g == worker.Tool("g")
    assert h.parameters is not None
    assert bytes(h.parameters) == b"{}"


def test_what_is_no_function_is_left_out_and_named() -> None:
    wanted = read(tools=[CUSTOM, F, WEB_SEARCH, G, NAMESPACE])
    assert names(wanted) == ["f", "g"]
    assert wanted.ignored == ("tools[0]", "tools[2]", "tools[4]")


@pytest.mark.parametrize(
    ("choice", "left", "required"),
    [
        (None, ["f", "g", "h"], False),
        ("auto", ["f", "g", "h"], False),
        ("none", [], False),
        ("required", ["f", "g", "h"], True),
        (G, ["g"], True),
        (allowed("auto", H, F), ["f", "h"], False),
        (allowed("required", G, G), ["g"], True),
        (allowed("auto"), [], False),
        (allowed("auto", CUSTOM, H), ["h"], False),
    ],
)
def test_the_choice_leaves_what_it_allows(choice: Any, left: list[str], required: bool) -> None:
    wanted = read(tools=[F, G, H], tool_choice=choice)
    assert (names(wanted), wanted.required, wanted.legacy) == (left, required, False)


@pytest.mark.parametrize(
    ("choice", "left", "required"),
    [
        (None, ["f", "g"], False),
        ("auto", ["f", "g"], False),
        ("none", [], False),
        ({"name": "g"}, ["g"], True),
    ],
)
def test_legacy_functions_are_tools(choice: Any, left: list[str], required: bool) -> None:
    functions = [F["function"], G["function"]]
    wanted = read(functions=functions, function_call=choice, tool_choice="auto")
    assert (names(wanted), wanted.required, wanted.legacy) == (left, required, True)


@pytest.mark.parametrize(
    ("fields", "param", "said"),
    [
        ({"tools": [F, G, F]}, "tools[2].function.name", "'f' is declared twice"),
        ({"functions": [{"name": "f"}] * 2}, "functions[1].name", "'f' is declared twice"),
        ({"tools": [F], "functions": [{"name": "g"}]}, "functions", "beside 'tools'"),
        ({"tools": [F], "tool_choice": G}, "tool_choice", "no function 'g' is in 'tools'"),
        ({"tool_choice": G}, "tool_choice", "no function 'g' is in 'tools'"),
        ({"tools": [CUSTOM], "tool_choice": F}, "tool_choice", "no function 'f' is in 'tools'"),
        (
            {"tools": [F], "tool_choice": allowed("auto", F, H, G)},
            "tool_choice",
            "no function 'g' is in 'tools'",
        ),
        ({"tool_choice": "required"}, "tool_choice", "no function of 'tools' to call"),
        (
            {"tools": [], "tool_choice": "required"},
            "tool_choice",
            "no function of 'tools' to call",
        ),
        (
            {"tools": [WEB_SEARCH], "tool_choice": "required"},
            "tool_choice",
            "no function of 'tools' to call",
        ),
        (
            {"tools": [F], "tool_choice": allowed("required", CUSTOM)},
            "tool_choice",
            "no function of 'tools' to call",
        ),
        (
            {"functions": [{"name": "f"}], "tool_choice": F},
            "tool_choice",
            "no function 'f' is in 'tools'",
        ),
        (
            {"functions": [{"name": "f"}], "function_call": {"name": "g"}},
            "function_call",
            "no function 'g' is in 'functions'",
        ),
        (
            {"tools": [F], "function_call": {"name": "f"}},
            "function_call",
            "no function 'f' is in 'functions'",
        ),
    ],
)
def test_what_nothing_can_satisfy_is_refused(
    fields: dict[str, Any], param: str, said: str
) -> None:
    error = refusal(**fields)
    assert (error.status, error.code, error.param) == (400, "invalid_request", param)
    assert error.message.startswith(f"Invalid value for '{param}': ")
    assert said in error.message


@pytest.mark.parametrize("configured", [True, False])
def test_the_operator_decides_on_parallel_calls_where_the_client_does_not(
    configured: bool,
) -> None:
    for asked, parallel in [(None, configured), (True, True), (False, False)]:
        request = parse(tools=[F], parallel_tool_calls=asked)
        assert tool_fields.read(request, parallel=configured).parallel is parallel


def test_a_legacy_answer_has_room_for_one_call() -> None:
    assert not read(functions=[{"name": "f"}], parallel_tool_calls=True).parallel


def calls(**fields: Any) -> tuple[worker.Call, ...]:
    (message,) = parse(messages=[{"role": "assistant"} | fields]).messages
    return slices.at_once(tool_fields.calls(message))


def test_calls_of_the_history_are_kept() -> None:
    called = [
        {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}},
        {"id": "2", "function": {"name": "f", "arguments": None}},
        {"id": "3", "type": "function", "function": {"name": "f"}},
        {"id": "4", "type": "custom", "custom": {"name": "g", "input": "free"}},
        {"id": "5", "type": "custom", "custom": {"name": "g"}},
    ]
    assert calls(tool_calls=called) == (
        worker.Call("1", "f", '{"a": 1}'),
        worker.Call("2", "f", ""),
        worker.Call("3", "f", ""),
        worker.Call("4", "g", "free"),
        worker.Call("5", "g", ""),
    )
    assert calls(function_call={"name": "f", "arguments": "{}"}) == (worker.Call("f", "f", "{}"),)
    assert calls(function_call={"name": "f", "arguments": None}) == (worker.Call("f", "f", ""),)
    assert calls(content="hi") == ()


FUNCTIONS = st.sampled_from([F, G, H, CUSTOM, WEB_SEARCH])
NAMED = st.sampled_from([F, G, H])
CHOICES = (
    st.sampled_from([None, "auto", "none", "required"])
    | NAMED
    | st.builds(
        lambda mode, tools: allowed(mode, *tools),
        st.sampled_from(["auto", "required"]),
        st.lists(FUNCTIONS, max_size=3),
    )
)


@given(st.lists(FUNCTIONS, max_size=4), CHOICES)
def test_a_required_call_can_always_be_made(tools: list[Any], choice: Any) -> None:
    """Invariant: where a call is required there is something to call, and all of it declared."""
    try:
        wanted = read(tools=tools, tool_choice=choice)
    except errors.ApiError as error:
        assert error.status == 400
    else:
        assert wanted.tools or not wanted.required
        assert all(function(tool.name) in tools for tool in wanted.tools)


def test_a_function_needs_no_type_and_any_means_required() -> None:
    wanted = read(tools=[{"function": {"name": "f"}}, G], tool_choice="any")
    assert (names(wanted), wanted.required, wanted.ignored) == (["f", "g"], True, ())
    assert refusal(tool_choice="any").param == "tool_choice"
