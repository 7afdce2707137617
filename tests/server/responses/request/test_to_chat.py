"""A Responses request reaches an upstream as the chat completion that means the same."""

import json
import typing
from typing import Any

import msgspec
import pytest
from openai.types.chat import (
    ChatCompletionFunctionToolParam,
    ChatCompletionMessageParam,
    completion_create_params,
)
from pydantic import TypeAdapter

from server.http import errors
from tests.server.responses import clients
from tests.support.requests import responserequests

F = {"type": "function", "name": "f", "description": "does it", "strict": True}
G = {"type": "function", "name": "g", "parameters": {"type": "object"}}
CALL = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": '{"a": 1.50}'}
RESULT = {"type": "function_call_output", "call_id": "c1", "output": "3"}
THOUGHT = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "secret"}
TOLD = {"role": "user", "content": "hi"}


def translated(**fields: Any) -> Any:
    """The chat completion of a request with these fields."""
    body = json.dumps({"model": "m", "input": "hi"} | fields).encode()
    request, _ = responserequests.parse(body)
    call = msgspec.Raw(json.dumps(clients.CALL | {"id": "fc_1"}).encode())
    messages = responserequests.messages(request, {"fc_1": call})
    return responserequests.decoded(responserequests.chat_body(request, messages))


def messages(*items: Any) -> Any:
    """The messages that these items become."""
    return translated(input=list(items))["messages"]


def test_the_smallest_request() -> None:
    assert translated() == {"model": "m", "messages": [TOLD]}


def test_what_both_apis_have_is_passed_on() -> None:
    same = {
        "temperature": 0,
        "top_p": 0.5,
        "user": "u",
        "safety_identifier": "s",
        "prompt_cache_key": "k",
        "service_tier": "flex",
    }
    others = {"metadata": {"a": "b"}, "store": True, "truncation": "auto", "include": []}
    body = translated(
        **same,
        **others,
        stream=True,
        max_output_tokens=10,
        max_tool_calls=3,
        reasoning={"effort": "low", "summary": "auto"},
        text={"verbosity": "low"},
        unknown=1,
    )
    assert body == {
        "model": "m",
        "messages": [TOLD],
        "max_tokens": 10,
        "reasoning_effort": "low",
        "verbosity": "low",
        **same,
    }


def test_every_role_is_one_that_all_servers_know() -> None:
    body = translated(
        instructions="Be brief.",
        input=[{"role": role, "content": "x"} for role in ("developer", "system", "assistant")],
    )
    assert body["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "system", "content": "x"},
        {"role": "system", "content": "x"},
        {"role": "assistant", "content": "x"},
    ]


def test_content_is_a_string_unless_it_is_of_several_parts() -> None:
    image = {"type": "input_image", "image_url": "https://host/a.png", "detail": "low"}
    audio = {"type": "input_audio", "input_audio": {"data": "", "format": "wav"}}
    file = {"type": "input_file", "file_id": "file_1"}
    texts = [{"type": "input_text", "text": word} for word in "ab"]
    refusal = [{"type": "refusal", "refusal": "no"}]
    assert messages(
        {"role": "user", "content": texts[:1]},
        {"role": "user", "content": [*texts, image, audio, file]},
        {"role": "assistant", "content": refusal},
        {"role": "user", "content": ""},
    ) == [
        {"role": "user", "content": "a"},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "a"},
                {"type": "text", "text": "b"},
                {"type": "image_url", "image_url": {"url": "https://host/a.png", "detail": "low"}},
                audio,
                {"type": "file", "file": {"file_id": "file_1"}},
            ],
        },
        {"role": "assistant", "content": "no"},
        {"role": "user", "content": ""},
    ]


@pytest.mark.parametrize(
    ("part", "named"),
    [
        ({"type": "input_file", "file_url": "https://host/a.pdf"}, "'input_file'"),
        ({"type": "input_image", "file_id": "file_1"}, "'input_image by file_id'"),
    ],
)
def test_a_part_that_a_chat_cannot_have_is_refused_by_name(
    part: dict[str, Any], named: str
) -> None:
    text = {"type": "input_text", "text": "x"}
    with pytest.raises(errors.ApiError) as refused:
        messages({"role": "user", "content": [text, part]})
    error = refused.value
    assert (error.status, error.code) == (400, "unsupported_content")
    assert error.param == "input[0].content[1]"
    assert named in error.message


def call(call_id: str, arguments: str = '{"a": 1.50}') -> dict[str, Any]:
    function = {"name": "f", "arguments": arguments}
    return {"id": call_id, "type": "function", "function": function}


def test_calls_of_a_step_are_one_message_and_thoughts_are_left_out() -> None:
    assert messages(
        THOUGHT,
        {"role": "assistant", "content": "Wait."},
        CALL,
        RESULT,
        THOUGHT,
        CALL | {"call_id": "c2", "arguments": ""},
        THOUGHT,
        CALL | {"call_id": "c3"},
        {"role": "assistant", "content": "And wait."},
        RESULT | {"call_id": "c3", "output": [{"type": "input_text", "text": "4"}]},
        RESULT | {"call_id": "c2"},
        THOUGHT,
    ) == [
        {"role": "assistant", "content": "Wait.", "tool_calls": [call("c1")]},
        {"role": "tool", "tool_call_id": "c1", "content": "3"},
        {
            "role": "assistant",
            "content": "And wait.",
            "tool_calls": [call("c2", "{}"), call("c3")],
        },
        {"role": "tool", "tool_call_id": "c3", "content": "4"},
        {"role": "tool", "tool_call_id": "c2", "content": "3"},
    ]


def test_calls_alone_have_no_content() -> None:
    assert messages(CALL, RESULT)[0] == {
        "role": "assistant",
        "content": None,
        "tool_calls": [call("c1")],
    }


def test_what_a_tool_says_unasked_keeps_its_name() -> None:
    assert messages({"type": "function_call_output", "output": "!", "name": "alarm"}) == [
        {"role": "system", "name": "alarm", "content": "!"}
    ]


def named(tool: dict[str, Any]) -> dict[str, Any]:
    return {"type": "function", "function": {k: v for k, v in tool.items() if k != "type"}}


@pytest.mark.parametrize(
    ("choice", "tools", "said"),
    [
        (None, [F, G], None),
        ("auto", [F, G], "auto"),
        ("required", [F, G], "required"),
        ({"type": "function", "name": "g"}, [G], {"type": "function", "function": {"name": "g"}}),
        (
            {
                "type": "allowed_tools",
                "mode": "required",
                "tools": [{"type": "function", "name": "f"}],
            },
            [F],
            "required",
        ),
    ],
)
def test_tools_are_those_that_may_be_called(choice: Any, tools: Any, said: Any) -> None:
    body = translated(
        tools=[{"type": "web_search"}, F, G], tool_choice=choice, parallel_tool_calls=False
    )
    assert body["tools"] == [named(tool) for tool in tools]
    assert body.get("tool_choice") == said
    assert body["parallel_tool_calls"] is False


@pytest.mark.parametrize("fields", [{"tools": [F], "tool_choice": "none"}, {"tools": []}])
def test_without_tools_nothing_is_said_of_them(fields: dict[str, Any]) -> None:
    assert translated(**fields, parallel_tool_calls=True) == translated()


def test_a_choice_that_nothing_can_satisfy_is_refused() -> None:
    with pytest.raises(errors.ApiError) as refused:
        translated(tool_choice="required")
    assert refused.value.param == "tool_choice"


def test_schemas_reach_the_upstream_as_the_client_wrote_them() -> None:
    written = b'{ "type":"object","properties":{"b":{ "maximum":1.50 },"a":{}} }'
    tool = G | {"parameters": "HERE"}
    text = {"format": {"type": "json_schema", "name": "n", "strict": True, "schema": "HERE"}}
    given = json.dumps({"model": "m", "input": "hi", "tools": [tool], "text": text})
    request, _ = responserequests.parse(given.encode().replace(b'"HERE"', written))
    body = responserequests.chat_body(request, ())
    assert b'"schema":' + written in bytes(body["response_format"])
    assert b'{"b":{ "maximum":1.50 },"a":{}}' in bytes(body["tools"])


@pytest.mark.parametrize(
    ("wanted", "sent"),
    [
        ({"type": "text"}, None),
        ({"type": "json_object"}, {"type": "json_object"}),
        (
            {"type": "json_schema", "name": "n", "schema": {}, "strict": None, "description": "d"},
            {
                "type": "json_schema",
                "json_schema": {"name": "n", "schema": {}, "description": "d"},
            },
        ),
    ],
)
def test_the_form_of_the_answer_is_passed_on(wanted: Any, sent: Any) -> None:
    assert translated(text={"format": wanted}).get("response_format") == sent


@pytest.mark.parametrize("client", clients.REQUESTS)
def test_what_every_client_sends_becomes_a_request_of_the_sdk(client: str) -> None:
    body = translated(**clients.REQUESTS[client])
    # The SDK's type of the whole does not look into its lists.
    TypeAdapter(list[ChatCompletionMessageParam]).validate_python(body["messages"])
    TypeAdapter(list[ChatCompletionFunctionToolParam]).validate_python(body.get("tools", []))
    whole = completion_create_params.CompletionCreateParamsNonStreaming
    TypeAdapter[Any](whole).validate_python(body)
    assert body.keys() <= typing.get_type_hints(whole).keys()
