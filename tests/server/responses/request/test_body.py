"""A Responses request is taken as the API takes it, or refused with the path of the field."""

import json
import typing
from typing import Any

import msgspec
import pytest
from openai.types.responses import response_input_item_param

from server.api.options import SearchOptions
from server.chat import request as chatbodies
from server.http import decoding, errors
from server.responses.request import body as responsesbodies, input_items
from tests.server import answering
from tests.support.requests import responserequests


def body(**fields: Any) -> bytes:
    """A request with these fields, and the two it must have unless they are among them."""
    return json.dumps({"model": "m", "input": "hi"} | fields).encode()


def parse(**fields: Any) -> responsesbodies.ResponsesRequest:
    return responserequests.parse(body(**fields))[0]


def ignored(**fields: Any) -> tuple[str, ...]:
    return responserequests.parse(body(**fields))[1]


def items(*given: Any) -> tuple[input_items.AnyItem, ...]:
    return parse(input=list(given)).items


def refusal(**fields: Any) -> errors.ApiError:
    with pytest.raises(errors.ApiError) as refused:
        responserequests.parse(body(**fields))
    return refused.value


def said(*parts: Any, role: str = "user") -> dict[str, Any]:
    return {"input": [{"role": role, "content": list(parts)}]}


def item(kind: str, **fields: Any) -> dict[str, Any]:
    return {"input": [{"type": kind} | fields]}


def test_the_smallest_request() -> None:
    request, names = responserequests.parse(body())
    assert (request.model, request.items) == (
        "m",
        (input_items.Message(role="user", content="hi"),),
    )
    assert (request.prologue, request.offered.functions, names) == ((), (), ())


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"{", "The body could not be parsed as JSON."),
        (b'{"model":"m","input":[{"role":NaN}]}', "The body could not be parsed as JSON."),
        (b'{"model":"m","input":"\xff"}', "The body is not valid UTF-8."),
        (b"[]", "The body must be a JSON object."),
        (b'{"input":' + b"[" * 100_000, "The body is nested too deeply: more than 128 levels."),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_is_not_a_json_object_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(errors.ApiError) as refused:
        responserequests.parse(data)
    error = refused.value
    assert (error.status, error.code, error.message) == (400, "invalid_json", message)


@pytest.mark.parametrize("model", [None, ""])
def test_a_model_is_required(model: str | None) -> None:
    error = refusal(model=model)
    assert (error.status, error.code, error.param) == (400, "model_required", "model")


@pytest.mark.parametrize("given", [None, []])
def test_an_input_is_required_unless_a_response_goes_before(given: Any) -> None:
    error = refusal(input=given)
    assert (error.code, error.param) == ("invalid_request", "input")
    assert error.message == "Missing required parameter: 'input'."
    assert parse(input=given, previous_response_id="resp_1").items == ()
    assert parse(input="").items == (input_items.Message(role="user", content=""),)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": 1}, "model"),
        ({"input": 1}, "input"),
        ({"input": {}}, "input"),
        ({"input": ["hi"]}, "input[0]"),
        ({"input": [{}]}, "input[0].type"),
        ({"input": [{"type": None}]}, "input[0].type"),
        ({"input": [{"type": 1}]}, "input[0].type"),
        ({"input": [{"type": "tool"}]}, "input[0].type"),
        ({"input": [{"type": "compaction_trigger"}]}, "input[0].type"),
        ({"input": [{"type": "configuration_update"}]}, "input[0].type"),
        ({"input": [{"role": "user"}]}, "input[0].content"),
        ({"input": [{"role": "user", "content": None}]}, "input[0].content"),
        ({"input": [{"role": "tool", "content": "x"}]}, "input[0].role"),
        ({"input": [{"type": "message", "content": "x"}]}, "input[0].role"),
        ({"input": [{"id": 1}]}, "input[0].id"),
        (said("x"), "input[0].content[0]"),
        (said({"type": "input_text", "text": "x"}, {}), "input[0].content[1].type"),
        (said({"type": "video"}), "input[0].content[0].type"),
        (said({"type": "input_text"}), "input[0].content[0].text"),
        (said({"type": "input_text", "text": None}), "input[0].content[0].text"),
        (said({"type": "input_image"}), "input[0].content[0].image_url"),
        (said({"type": "input_image", "image_url": {}}), "input[0].content[0].image_url"),
        (said({"type": "input_audio"}), "input[0].content[0].input_audio"),
        (said({"type": "refusal"}, role="assistant"), "input[0].content[0].refusal"),
        (item("function_call", name="f", arguments="{}"), "input[0].call_id"),
        (item("function_call", call_id="c", arguments="{}"), "input[0].name"),
        (item("function_call", call_id="c", name="f", arguments={}), "input[0].arguments"),
        (item("function_call_output", call_id="c"), "input[0].output"),
        (item("function_call_output", call_id="c", output={}), "input[0].output"),
        (item("function_call_output", call_id="c", output=[{}]), "input[0].output[0].type"),
        (item("custom_tool_call", call_id="c", name="f"), "input[0].input"),
        (item("custom_tool_call_output", output="x"), "input[0].call_id"),
        (item("reasoning", summary=[{"type": "text"}]), "input[0].summary[0].type"),
        (item("reasoning", encrypted_content=1), "input[0].encrypted_content"),
        (item("compaction"), "input[0].encrypted_content"),
        (item("item_reference"), "input[0].id"),
        ({"instructions": 1}, "instructions"),
        ({"instructions": [{"role": "user"}]}, "instructions[0].content"),
        ({"instructions": [{"id": "msg_1"}]}, "instructions[0].type"),
        ({"stream": "yes"}, "stream"),
        ({"stream_options": True}, "stream_options"),
        ({"tools": {}}, "tools"),
        ({"tools": [{"type": "web_search"}] * 513}, "tools"),
        ({"tools": ["f"]}, "tools[0]"),
        ({"tools": [{"name": "f"}]}, "tools[0].type"),
        ({"tools": [{"type": "web_search"}, {"type": "function"}]}, "tools[1].name"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools[0].name"),
        ({"tools": [{"type": "function", "name": ""}]}, "tools[0].name"),
        (
            {"tools": [{"type": "function", "name": "f", "parameters": "{}"}]},
            "tools[0].parameters",
        ),
        ({"tool_choice": "any"}, "tool_choice"),
        ({"tool_choice": {}}, "tool_choice.type"),
        ({"tool_choice": {"type": "function"}}, "tool_choice.name"),
        ({"tool_choice": {"type": "allowed_tools", "tools": []}}, "tool_choice.mode"),
        ({"tool_choice": {"type": "allowed_tools", "mode": "auto"}}, "tool_choice.tools"),
        (
            {
                "tool_choice": {
                    "type": "allowed_tools",
                    "mode": "auto",
                    "tools": [{"type": "function"}],
                }
            },
            "tool_choice.tools[0].name",
        ),
        ({"parallel_tool_calls": 1}, "parallel_tool_calls"),
        ({"text": "json"}, "text"),
        ({"text": {"format": {}}}, "text.format.type"),
        ({"text": {"format": {"type": "xml"}}}, "text.format.type"),
        ({"text": {"format": {"type": "json_schema", "schema": {}}}}, "text.format.name"),
        ({"text": {"format": {"type": "json_schema", "name": "n"}}}, "text.format.schema"),
        (
            {"text": {"format": {"type": "json_schema", "name": "n", "schema": None}}},
            "text.format.schema",
        ),
        ({"text": {"verbosity": ""}}, "text.verbosity"),
        ({"reasoning": {"effort": "very high"}}, "reasoning.effort"),
        ({"reasoning": {"summary": "long"}}, "reasoning.summary"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"previous_response_id": 1}, "previous_response_id"),
        ({"store": "x"}, "store"),
        ({"background": 1}, "background"),
        ({"temperature": 2.1}, "temperature"),
        ({"top_p": 1.1}, "top_p"),
        ({"truncation": "middle"}, "truncation"),
        ({"metadata": {"a": 1}}, "metadata.a"),
        ({"include": "all"}, "include"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_field_of_a_wrong_type_or_out_of_range_is_named(
    fields: dict[str, Any], param: str
) -> None:
    error = refusal(**fields)
    assert (error.status, error.code, error.param) == (400, "invalid_request", param)
    assert f"'{param}'" in error.message or error.message.startswith("Invalid value: '")
    assert "`" not in error.message


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            item("tool"),
            "Invalid value for 'input[0].type': there are no items of type 'tool' here.",
        ),
        (
            {"input": ["hi"]},
            "Invalid type for 'input[0]': expected an object, but got a string instead.",
        ),
        (
            said({"type": "video"}),
            (
                "Invalid value: 'video'. Supported values are: 'input_text', 'output_text',"
                " 'text', 'refusal', 'input_image', 'input_file', and 'input_audio'."
            ),
        ),
        (item("item_reference"), "Missing required parameter: 'input[0].id'."),
    ],
)
def test_a_refusal_says_what_is_wrong(fields: dict[str, Any], message: str) -> None:
    assert refusal(**fields).message == message


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"conversation": "conv_1"}, "conversation"),
        ({"conversation": {"id": "conv_1"}}, "conversation"),
        ({"prompt": {"id": "pmpt_1"}}, "prompt"),
        ({"modalities": ["text", "image"]}, "modalities"),
        ({"tool_choice": {"type": "web_search"}}, "tool_choice"),
        ({"tool_choice": {"type": "local_shell"}}, "tool_choice"),
        ({"tool_choice": {"type": "mcp", "server_label": "s"}}, "tool_choice"),
    ],
)
def test_what_no_worker_can_honour_is_refused(fields: dict[str, Any], param: str) -> None:
    error = refusal(**fields)
    assert (error.status, error.code, error.param) == (400, "unsupported_parameter", param)
    assert f"'{param}'" in error.message or error.message.startswith("Invalid value: '")


def test_a_conversation_and_a_response_cannot_both_go_before() -> None:
    error = refusal(conversation="conv_1", previous_response_id="resp_1")
    assert (error.status, error.code) == (400, "invalid_request")
    assert error.message.startswith("Mutually exclusive parameters")


def test_null_is_as_good_as_absent() -> None:
    optional = set(responsesbodies.Fields.__struct_fields__) - {"model", "input"}
    assert responserequests.parse(
        body(**dict.fromkeys(sorted(optional)), unknown=None)
    ) == responserequests.parse(body())
    options = parse(text={"format": None, "verbosity": None}, reasoning={"effort": None})
    assert (options.text, options.reasoning) == (
        responsesbodies.TextOptions(),
        responsesbodies.Reasoning(),
    )
    nothing = {"type": None, "id": None, "status": None, "phase": None}
    assert items(nothing | {"role": "user", "content": "x"}) == items(
        {"role": "user", "content": "x"}
    )
    thought = {"type": "reasoning", "summary": None, "content": None, "encrypted_content": None}
    assert items(thought) == (input_items.Reasoning(),)


def test_everything_an_input_may_hold_is_read() -> None:
    parts = [
        {"type": "input_text", "text": "t", "prompt_cache_breakpoint": {"mode": "explicit"}},
        {"type": "text", "text": "u"},
        {"type": "input_image", "image_url": "data:image/png;base64,", "detail": "low"},
        {"type": "input_image", "file_id": "file_1"},
        {"type": "input_file", "filename": "a.pdf", "file_data": "data:,"},
        {"type": "input_audio", "input_audio": {"data": "", "format": "wav"}},
    ]
    text = input_items.OutputText("x", [])
    assert items(
        *({"role": role, "content": role} for role in ("system", "developer", "user")),
        {"role": "user", "content": parts[:5]},
        {
            "type": "message",
            "id": "msg_1",
            "role": "assistant",
            "status": "completed",
            "phase": "final_answer",
            "content": [
                {"type": "output_text", "text": "x", "annotations": [], "logprobs": []},
                {"type": "refusal", "refusal": "no"},
            ],
        },
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": parts[:1]},
        {"type": "function_call_output", "output": "!", "name": "alarm"},
        {"type": "custom_tool_call", "call_id": "d", "name": "g", "input": "free"},
        {"type": "custom_tool_call_output", "call_id": "d", "output": "y"},
        {
            "type": "reasoning",
            "id": "rs_1",
            "summary": [{"type": "summary_text", "text": "s"}],
            "content": [{"type": "reasoning_text", "text": "r"}],
            "encrypted_content": "e",
        },
        {"type": "compaction", "encrypted_content": "e"},
        {"type": "item_reference", "id": "msg_2"},
        {"id": "msg_3"},
    ) == (
        input_items.Message(role="system", content="system"),
        input_items.Message(role="developer", content="developer"),
        input_items.Message(role="user", content="user"),
        input_items.Message(
            role="user",
            content=[
                input_items.InputText("t"),
                input_items.PlainText("u"),
                input_items.InputImage("data:image/png;base64,", None, "low"),
                input_items.InputImage(file_id="file_1"),
                input_items.InputFile("data:,", filename="a.pdf"),
            ],
        ),
        input_items.Message(
            role="assistant",
            content=[text, input_items.Refusal("no")],
            id="msg_1",
            status="completed",
            phase="final_answer",
        ),
        input_items.FunctionCall(call_id="c", name="f", arguments="{}"),
        input_items.FunctionCallOutput(output=[input_items.InputText("t")], call_id="c"),
        input_items.FunctionCallOutput(output="!", name="alarm"),
        input_items.CustomCall(call_id="d", name="g", input="free"),
        input_items.CustomCallOutput(call_id="d", output="y"),
        input_items.Reasoning(
            id="rs_1",
            summary=[input_items.SummaryText("s")],
            content=[input_items.ReasoningText("r")],
            encrypted_content="e",
        ),
        input_items.Compaction(encrypted_content="e"),
        input_items.ItemReference("msg_2"),
        input_items.ItemReference("msg_3"),
    )
    (spoken,) = items({"role": "user", "content": parts[5:]})
    assert isinstance(spoken, input_items.Message)
    (part,) = list(spoken.content)
    assert isinstance(part, input_items.InputAudio)
    assert {name: bytes(value) for name, value in part.input_audio.items()} == {
        "data": b'""',
        "format": b'"wav"',
    }


def test_every_item_of_the_sdk_is_read_or_refused_by_its_type() -> None:
    kinds = {
        kind
        for each in typing.get_args(response_input_item_param.ResponseInputItemParam)
        for kind in typing.get_args(typing.get_type_hints(each)["type"])
        if isinstance(kind, str)
    }
    assert len(kinds) > 25
    for kind in kinds:
        try:
            responserequests.read_item(msgspec.Raw(json.dumps({"type": kind}).encode()))
        except errors.ApiError as error:
            unknown = error.param == "input[0].type"
            assert unknown == (kind in ("compaction_trigger", "configuration_update")), kind


def test_items_of_tools_that_run_elsewhere_are_left_out_and_named() -> None:
    request, names = responserequests.parse(
        body(
            input=[
                {"type": "web_search_call", "id": "ws_1", "action": {"type": "search"}},
                {"role": "user", "content": "hi"},
                {"type": "mcp_list_tools"},
            ],
            instructions=[{"type": "image_generation_call"}],
        )
    )
    assert names == ("input[0]", "input[2]", "instructions[0]")
    assert isinstance(request.items[0], input_items.Unshown)
    assert len(request.items) == 3


def test_tools_that_are_no_functions_are_left_out_and_named() -> None:
    request, names = responserequests.parse(
        body(
            tools=[
                {"type": "file_search", "name": 5},
                {"type": "function", "name": "f", "parameters": {"type": "object"}},
                {"type": "namespace", "name": "n", "tools": [{"type": "function", "name": "g"}]},
                {"type": "custom", "name": "h"},
                {"type": "function", "name": "i", "description": None, "strict": None},
            ]
        )
    )
    assert names == ("tools[0]",)
    assert [(path, function.name) for path, function in request.offered.functions] == [
        ("tools[1]", "f"),
        ("tools[2].tools[0]", "g"),
        ("tools[3]", "h"),
        ("tools[4]", "i"),
    ]
    assert request.offered.functions[3][1] == chatbodies.DeclaredFunction("i")


def test_instructions_are_a_text_or_items() -> None:
    assert parse(instructions="Be brief.").prologue == (
        input_items.Message(role="developer", content="Be brief."),
    )
    assert parse(instructions="").prologue == ()
    assert parse(instructions=[{"role": "system", "content": "x"}]).prologue == (
        input_items.Message(role="system", content="x"),
    )


def test_tools_that_the_instructions_declare_are_offered() -> None:
    search = {"type": "web_search"}
    tools = [{"type": "function", "name": "f"}, search, {"type": "file_search"}]
    request, names = responserequests.parse(
        body(
            instructions=[{"type": "additional_tools", "tools": tools}],
            input=[
                {"type": "additional_tools", "tools": [search]},
                {"role": "user", "content": "x"},
            ],
            tools=[search],
        )
    )
    assert names == ("instructions[0].tools[2]",)
    assert request.search == SearchOptions(
        ("tools[0]", "instructions[0].tools[1]", "input[0].tools[0]")
    )
    assert [path for path, _ in request.offered.functions] == ["instructions[0].tools[0]"]


def test_what_nobody_knows_is_named() -> None:
    strange = {"client_metadata": {}, "top_k": 3, "items": [1], "a b": 1, "moderation": None}
    assert ignored(**strange) == ("client_metadata", "top_k", "items")
    known: dict[str, Any] = {
        "metadata": {"a": "b"},
        "user": "u",
        "safety_identifier": "s",
        "include": ["x.y"],
    }
    known |= {"prompt_cache_key": "k", "store": False, "background": False, "max_tool_calls": 3}
    assert ignored(**known, stream_options={"include_obfuscation": True}) == ()
    many = {f"field_{index}": index for index in range(30)}
    assert len(ignored(**many)) == decoding.IGNORED_MAX
    assert parse(**strange).items == parse().items


USER = {"role": "user", "content": "hi"}
TEXT = {"type": "input_text", "text": "a"}
SUMMARY = {"type": "summary_text", "text": "a"}


@pytest.mark.parametrize(
    ("param", "most", "more"),
    [
        ("input", {"input": [USER] * 3}, {"input": [USER] * 4}),
        ("instructions", {"instructions": [USER] * 3}, {"instructions": [USER] * 4}),
        (
            "input[1].content",
            {"input": [USER | {"content": [TEXT] * 2}, USER | {"content": [TEXT]}]},
            {"input": [USER | {"content": [TEXT] * 2}, USER | {"content": [TEXT] * 2}]},
        ),
        (
            "input[0].output",
            {"input": [{"type": "function_call_output", "output": [TEXT] * 3}]},
            {"input": [{"type": "function_call_output", "output": [TEXT] * 4}]},
        ),
        (
            "input[0].summary",
            {"input": [{"type": "reasoning", "summary": [SUMMARY] * 3}]},
            {"input": [{"type": "reasoning", "summary": [SUMMARY] * 4}]},
        ),
        ("tools", {"tools": [{"type": "x"}] * 3}, {"tools": [{"type": "x"}] * 4}),
    ],
)
def test_one_more_than_the_limit_is_refused(
    param: str, most: dict[str, Any], more: dict[str, Any]
) -> None:
    responserequests.parse(body(**most), limit=3)
    with pytest.raises(errors.ApiError) as refused:
        responserequests.parse(body(**more), limit=3)
    assert (refused.value.code, refused.value.param) == ("array_above_max_length", param)


def test_the_limit_is_the_operators() -> None:
    for items, status in ((3, 200), (4, 400)):
        answer = answering.ask(
            {"input": [USER] * items},
            path="/v1/responses",
            environ={"PROXY_MAX_INPUT_ITEMS": "3"},
        )
        assert answer.status == status
