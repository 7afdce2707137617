"""A chat request is taken as the API takes it, or refused with the path of the field at fault."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, strategies as st

from engine import slices
from server.api import answerform
from server.chat import request as chatbodies
from server.http import errors
from tests.support.requests import chatrequests

HI = [{"role": "user", "content": "hi"}]


def body(**fields: Any) -> bytes:
    """A request with these fields, and the two it must have unless they are among them."""
    return json.dumps({"model": "m", "messages": HI} | fields).encode()


def parse(**fields: Any) -> chatbodies.ChatRequest:
    return chatrequests.parse(body(**fields))[0]


def refusal(data: bytes) -> errors.ApiError:
    with pytest.raises(errors.ApiError) as refused:
        chatrequests.parse(data)
    return refused.value


def test_the_smallest_request() -> None:
    request, ignored = chatrequests.parse(body())
    assert request == chatbodies.ChatRequest([chatbodies.ChatMessage("user", "hi")], "m")
    assert ignored == ()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "The body could not be parsed as JSON."),
        (b"{", "The body could not be parsed as JSON."),
        (b'{"model":"m"} x', "The body could not be parsed as JSON."),
        (b'{"model":NaN}', "The body could not be parsed as JSON."),
        (b"\xef\xbb\xbf{}", "The body could not be parsed as JSON."),
        (b'{"model":"\\ud800"}', "The body could not be parsed as JSON."),
        (b'{"model":"\xff"}', "The body is not valid UTF-8."),
        (b"[]", "The body must be a JSON object."),
        (b"null", "The body must be a JSON object."),
        (b'"x"', "The body must be a JSON object."),
        (b'{"tools":' + b"[" * 100_000, "The body is nested too deeply: more than 128 levels."),
        (
            b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
            "The body is nested too deeply: more than 128 levels.",
        ),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_is_not_a_json_object_is_refused(data: bytes, message: str) -> None:
    error = refusal(data)
    assert (error.status, error.code, error.param) == (400, "invalid_json", None)
    assert error.message == message


@pytest.mark.parametrize("size", [1, 100_000], ids=["small", "large"])
@pytest.mark.parametrize(
    ("before", "after", "around"),
    [
        (b'"x":', b"", 1),
        (b'"x":{"y":[1,', b"]}", 3),
        (b'"response_format":{"type":"json_schema","json_schema":{"name":"n","schema":', b"}}", 3),
        (b'"tools":[{"type":"function","function":{"name":"f","parameters":{"a":', b"}}}]", 5),
        (b'"logit_bias":null,"z":[[', b"]]", 3),
    ],
)
def test_a_body_may_have_128_levels_wherever_they_are(
    before: bytes, after: bytes, around: int, size: int
) -> None:
    for levels, fits in ((128 - around, True), (129 - around, False)):
        deep = b"[" * levels + b"]" * levels
        start = b'{"model":"m","messages":[{"role":"user","content":"%b"}],' % (b"a" * size)
        data = start + before + deep + after + b"}"
        if fits:
            assert chatrequests.parse(data)[0].model == "m"
        else:
            error = refusal(data)
            assert (error.code, error.param) == ("invalid_json", None)
            assert error.message == "The body is nested too deeply: more than 128 levels."


@pytest.mark.parametrize("model", [None, ""])
def test_a_model_is_required(model: str | None) -> None:
    error = refusal(body(model=model))
    assert (error.status, error.code, error.param) == (400, "model_required", "model")
    assert refusal(json.dumps({"messages": HI}).encode()).code == "model_required"


def test_the_name_of_a_model_is_a_name() -> None:
    assert parse(model="m" * 256).model == "m" * 256
    error = refusal(body(model="m" * 257))
    assert (error.status, error.code, error.param) == (400, "invalid_request", "model")
    assert error.message == (
        "Invalid 'model': string too long. Expected a string with maximum length 256,"
        " but got a string with length 257 instead."
    )


def test_messages_are_required() -> None:
    error = refusal(b'{"model":"m"}')
    assert (error.status, error.code, error.param) == (400, "invalid_request", "messages")
    assert error.message == "Missing required parameter: 'messages'."


def user(*parts: Any) -> list[Any]:
    return [{"role": "user", "content": list(parts)}]


def assistant(**fields: Any) -> list[Any]:
    return [{"role": "assistant"} | fields]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": None}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"messages": [*HI, 1]}, "messages[1]"),
        ({"messages": [*HI, *HI, {"content": "x"}]}, "messages[2].role"),
        ({"messages": [*HI, {"role": "bot"}]}, "messages[1].role"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": {}}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "name": 1}]}, "messages[0].name"),
        ({"messages": [{"role": "tool", "tool_call_id": 1}]}, "messages[0].tool_call_id"),
        ({"messages": user("x")}, "messages[0].content[0]"),
        ({"messages": user({"type": "video"})}, "messages[0].content[0].type"),
        ({"messages": user({"text": "x"})}, "messages[0].content[0].type"),
        ({"messages": user({"type": "text"})}, "messages[0].content[0].text"),
        ({"messages": user({"type": "text", "text": None})}, "messages[0].content[0].text"),
        ({"messages": user({"type": "image_url"})}, "messages[0].content[0].image_url"),
        (
            {"messages": user({"type": "image_url", "image_url": {}})},
            "messages[0].content[0].image_url.url",
        ),
        ({"messages": user({"type": "refusal"})}, "messages[0].content[0].refusal"),
        ({"messages": assistant(tool_calls={})}, "messages[0].tool_calls"),
        ({"messages": assistant(tool_calls=[{}])}, "messages[0].tool_calls[0].id"),
        (
            {"messages": assistant(tool_calls=[{"id": "c"}])},
            "messages[0].tool_calls[0].function",
        ),
        (
            {"messages": assistant(tool_calls=[{"id": "c", "function": {"name": 1}}])},
            "messages[0].tool_calls[0].function.name",
        ),
        ({"messages": assistant(function_call={})}, "messages[0].function_call.name"),
        ({"model": 1}, "model"),
        ({"stream": "yes"}, "stream"),
        ({"stream": 1}, "stream"),
        ({"stream_options": True}, "stream_options"),
        ({"stream_options": {"include_usage": 1}}, "stream_options.include_usage"),
        ({"n": 0}, "n"),
        ({"n": 1.5}, "n"),
        ({"n": True}, "n"),
        ({"stop": 1}, "stop"),
        ({"stop": [1]}, "stop[0]"),
        ({"stop": ["a"] * 5}, "stop"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": "10"}, "max_tokens"),
        ({"max_completion_tokens": -1}, "max_completion_tokens"),
        ({"response_format": "json"}, "response_format"),
        ({"response_format": {}}, "response_format.type"),
        ({"response_format": {"type": "xml"}}, "response_format.type"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"schema": {}}}},
            "response_format.json_schema.name",
        ),
        ({"reasoning_effort": "very high"}, "reasoning_effort"),
        ({"temperature": -0.1}, "temperature"),
        ({"temperature": 2.1}, "temperature"),
        ({"temperature": "1"}, "temperature"),
        ({"top_p": 1.1}, "top_p"),
        ({"presence_penalty": 2.1}, "presence_penalty"),
        ({"frequency_penalty": -2.1}, "frequency_penalty"),
        ({"seed": 1.5}, "seed"),
        ({"logit_bias": []}, "logit_bias"),
        ({"logit_bias": {"1": "x"}}, "logit_bias.1"),
        ({"service_tier": 1}, "service_tier"),
        ({"verbosity": ""}, "verbosity"),
        ({"logprobs": "yes"}, "logprobs"),
        ({"top_logprobs": "1"}, "top_logprobs"),
        ({"modalities": "text"}, "modalities"),
        ({"audio": 1}, "audio"),
        (
            {
                "messages": assistant(
                    tool_calls=[{"id": "c", "function": {"name": "f", "arguments": {}}}]
                )
            },
            "messages[0].tool_calls[0].function.arguments",
        ),
        (
            {"messages": assistant(tool_calls=[{"id": "c", "type": "custom"}])},
            "messages[0].tool_calls[0].function",
        ),
        (
            {"messages": assistant(tool_calls=[{"id": "c", "custom": {"input": "x"}}])},
            "messages[0].tool_calls[0].custom.name",
        ),
        ({"parallel_tool_calls": 1}, "parallel_tool_calls"),
        ({"user": 1}, "user"),
        ({"metadata": {"a": 1}}, "metadata.a"),
        ({"store": "x"}, "store"),
        ({"safety_identifier": 1}, "safety_identifier"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_field_of_a_wrong_type_or_out_of_range_is_named(
    fields: dict[str, Any], param: str
) -> None:
    error = refusal(body(**fields))
    assert (error.status, error.code, error.param) == (400, "invalid_request", param)
    assert f"'{param}'" in error.message or error.message.startswith("Invalid value: '")
    assert "`" not in error.message


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"n": "1"},
            "Invalid type for 'n': expected an integer, but got a string instead.",
        ),
        (
            {"n": 0},
            "Invalid 'n': integer below minimum value. Expected a value >= 1, but got 0 instead.",
        ),
        (
            {"messages": [{"role": "bot"}]},
            (
                "Invalid value: 'bot'. Supported values are: 'assistant', 'developer', 'function',"
                " 'system', 'tool', and 'user'."
            ),
        ),
        (
            {"messages": [{"role": "user", "content": 5}]},
            (
                "Invalid type for 'messages[0].content': expected one of a string or array of"
                " objects, but got an integer instead."
            ),
        ),
        ({"messages": [{}]}, "Missing required parameter: 'messages[0].role'."),
    ],
)
def test_a_refusal_says_what_is_wrong(fields: dict[str, Any], message: str) -> None:
    assert refusal(body(**fields)).message == message


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"logprobs": True}, "logprobs"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"audio": {"voice": "alloy"}}, "audio"),
        ({"modalities": ["text", "audio"]}, "modalities"),
    ],
)
def test_what_no_worker_can_honour_is_refused(fields: dict[str, Any], param: str) -> None:
    error = refusal(body(**fields))
    assert (error.status, error.code, error.param) == (400, "unsupported_parameter", param)
    assert error.message == f"Unsupported parameter: '{param}' is not supported by this server."


@pytest.mark.parametrize(
    "fields",
    [
        {"logprobs": False},
        {"top_logprobs": 0},
        {"modalities": ["text"]},
        {"modalities": []},
        {"parallel_tool_calls": False},
        {"user": "u", "metadata": {"a": "b"}, "store": True, "safety_identifier": "s"},
    ],
)
def test_what_asks_for_nothing_unusual_passes_unnamed(fields: dict[str, Any]) -> None:
    assert chatrequests.parse(body(**fields))[1] == ()


def test_null_is_as_good_as_absent() -> None:
    optional = set(chatbodies.ChatRequest.__struct_fields__) - {"messages", "model"}
    request, ignored = chatrequests.parse(body(**dict.fromkeys(sorted(optional)), unknown=None))
    assert request == parse()
    assert ignored == ()
    message = {"role": "assistant", "content": None, "name": None, "tool_calls": None}
    message |= {"function_call": None, "tool_call_id": None, "refusal": None}
    assert parse(messages=[message]).messages == [chatbodies.ChatMessage("assistant")]
    assert parse(stream_options={"include_usage": None}).stream_options is not None


def test_everything_a_message_may_hold_is_read() -> None:
    calls = [
        {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}},
        {"id": "d", "function": {"name": "f", "arguments": None}},
        {"id": "e", "type": "custom", "custom": {"name": "g", "input": "x"}, "function": None},
    ]
    parts = [
        {"type": "text", "text": "t"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,", "detail": "low"}},
        {"type": "input_audio", "input_audio": {"data": "", "format": "wav"}},
        {"type": "file", "file": {"file_id": "f"}},
    ]
    roles = ["system", "developer", "user", "assistant", "tool", "function"]
    request = parse(
        messages=[
            *({"role": role, "content": "x"} for role in roles),
            {"role": "user", "content": parts, "name": "ann"},
            {"role": "assistant", "tool_calls": calls},
            {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]},
            {"role": "tool", "tool_call_id": "c", "content": parts[:2]},
        ]
    )
    assert [message.role for message in request.messages[:6]] == roles
    assert request.messages[6].content == [
        chatbodies.TextContent("t"),
        chatbodies.ImageContent(chatbodies.ImageUrl("data:image/png;base64,")),
        chatbodies.AudioContent(),
        chatbodies.FileContent(),
    ]
    assert request.messages[6].name == "ann"
    assert request.messages[7].tool_calls == [
        chatbodies.ToolCall("c", chatbodies.CalledFunction("f", "{}")),
        chatbodies.ToolCall("d", chatbodies.CalledFunction("f")),
        chatbodies.ToolCall("e", custom=chatbodies.CalledCustom("g", "x")),
    ]
    assert request.messages[8].content == [chatbodies.RefusalContent("no")]
    assert request.messages[9].content == request.messages[6].content[:2]


def test_what_is_not_forwarded_is_named_as_the_api_names_it() -> None:
    fields: dict[str, Any] = {
        "temperature": 0,
        "top_p": 1,
        "presence_penalty": -2,
        "frequency_penalty": 2,
        "seed": 7,
        "logit_bias": {"50256": -100},
        "top_k": 3,
    }
    assert chatrequests.parse(body(**fields))[1] == tuple(fields)


def test_the_names_of_what_is_ignored_are_few_and_fit_for_a_header() -> None:
    strange = {"a b": 1, "x\r\ny": 1, "ü": 1, "": 1, "x" * 65: 1, "1a": 1, "ok.name-1": 1}
    assert chatrequests.parse(body(**strange))[1] == ("ok.name-1",)
    many = {f"field_{index}": index for index in range(30)}
    assert chatrequests.parse(body(**many))[1] == tuple(f"field_{index}" for index in range(20))


@pytest.mark.parametrize(
    ("stop", "sequences"),
    [
        (None, ()),
        ("\n", ("\n",)),
        ([], ()),
        (["a", "b", "c", "d"], ("a", "b", "c", "d")),
    ],
)
def test_stop_is_one_sequence_or_up_to_four(stop: Any, sequences: tuple[str, ...]) -> None:
    assert chatbodies.stop_sequences(parse(stop=stop)) == sequences


@pytest.mark.parametrize("stop", ["", ["a", ""]])
def test_an_empty_stop_sequence_is_refused(stop: Any) -> None:
    with pytest.raises(errors.ApiError) as refused:
        chatbodies.stop_sequences(parse(stop=stop))
    assert (refused.value.code, refused.value.param) == ("invalid_request", "stop")


def form_of(request: chatbodies.ChatRequest) -> answerform.AnswerForm:
    return slices.at_once(chatbodies.answer_form(request))


def test_a_schema_is_kept_as_the_client_wrote_it() -> None:
    schema = b'{ "type":"object",  "properties": {"b": {}, "a": {"maximum": 1.50}} }'
    named = {"name": "n", "strict": True, "schema": "HERE"}
    written = body(response_format={"type": "json_schema", "json_schema": named})
    written = written.replace(b'"HERE"', schema)
    kept = form_of(chatrequests.parse(written)[0])
    assert kept.schema is not None
    assert bytes(kept.schema) == schema


@pytest.mark.parametrize("response_format", [None, {"type": "text"}, {"type": "json_object"}])
def test_other_formats_have_no_schema(response_format: Any) -> None:
    assert form_of(parse(response_format=response_format)).schema is None


@pytest.mark.parametrize("json_schema", [None, {"name": "n"}, {"name": "n", "schema": None}])
def test_a_schema_that_is_missing_is_refused(json_schema: Any) -> None:
    request = parse(response_format={"type": "json_schema", "json_schema": json_schema})
    with pytest.raises(errors.ApiError) as refused:
        form_of(request)
    assert refused.value.code == "invalid_request"
    assert refused.value.param == "response_format.json_schema"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(chatbodies.ChatRequest.__struct_fields__), JSON))
def test_any_values_are_taken_or_refused_as_a_bad_request(fields: dict[str, Any]) -> None:
    """Invariant: nothing but an `ApiError` of status 400 comes out of any JSON object."""
    try:
        chatrequests.parse(body(**fields))
    except errors.ApiError as error:
        assert error.status == 400
        assert msgspec.json.decode(error.body())["error"]["message"]


@given(st.binary(max_size=40))
def test_any_bytes_are_taken_or_refused_as_a_bad_request(data: bytes) -> None:
    """Invariant: nothing but an `ApiError` of status 400 comes out of any bytes."""
    assert refusal(data).status == 400
