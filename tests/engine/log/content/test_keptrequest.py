"""What the log keeps of a request: nobody's words, no key, and no more than there is room for."""

import hashlib
import json
import re
import typing
import unicodedata
from collections.abc import Iterator
from typing import Any, Literal

import msgspec
import pytest
from hypothesis import given, settings, strategies as st

from engine import slices
from engine.log.content import keptrequest
from tests.support.requests import chatrequests

WORD = "Zanzibar42"
"""A word that nothing but a content holds."""


def is_legible(character: str) -> bool:
    return unicodedata.category(character)[0] in "LNM"


KEY = b"k" * 16

Content = Literal["masked", "full"]


def keep(body: bytes, content: Content = "masked", key: bytes = KEY) -> keptrequest.Kept:
    """What is kept of a body."""
    return slices.at_once(keptrequest.keep(chatrequests.members(body), content, key))


def kept_text(request: Any, content: Content = "masked") -> str:
    return bytes(keep(msgspec.json.encode(request), content).request).decode()


def masked_request(request: Any) -> Any:
    return json.loads(kept_text(request))


NAMES = {
    "model": "org/model-5.5:free",
    "stream": True,
    "stream_options": {"include_usage": True},
    "temperature": 0.7,
    "top_p": 1,
    "n": 2,
    "seed": -7,
    "max_tokens": 100,
    "reasoning_effort": "high",
    "tool_choice": {"type": "function", "function": {"name": "get_weather"}},
    "response_format": {
        "type": "json_schema",
        "json_schema": {
            "name": "answer",
            "strict": True,
            "schema": {
                "type": "object",
                "properties": {"city": {"type": ["string", "null"], "format": "date"}},
                "required": ["city"],
                "additionalProperties": False,
                "$defs": {"Ort": {"anyOf": [{"type": "integer"}, {"$ref": "#/$defs/Ort"}]}},
            },
        },
    },
    "messages": [
        {"role": "assistant", "tool_calls": [{"id": "call_1", "type": "function", "index": 0}]},
        {"role": "tool", "tool_call_id": "call_1", "name": "get_weather", "content": None},
    ],
    "input": [
        {"type": "function_call", "call_id": "call_2", "name": "get_time", "id": "fc_1"},
        {
            "type": "custom_tool_call",
            "call_id": "call_3",
            "name": "exec",
            "namespace": "functions",
        },
        {
            "type": "additional_tools",
            "role": "developer",
            "tools": [
                {"type": "namespace", "name": "n", "tools": [{"type": "custom", "name": "c"}]}
            ],
        },
    ],
    "tools": [
        {"type": "function", "function": {"name": "get_weather", "strict": None}},
        {"type": "custom", "name": "patch", "format": {"type": "grammar", "syntax": "lark"}},
    ],
}
"""A request of nothing but what a masked log keeps."""


def test_names_and_settings_of_a_request_stay() -> None:
    assert masked_request(NAMES) == NAMES
    assert masked_request({"tool_choice": "auto"}) == {"tool_choice": "auto"}


def test_the_words_of_a_request_go_wherever_they_are() -> None:
    part = {"type": "text", "text": WORD}
    schema = {
        "title": WORD,
        "description": WORD,
        "default": {WORD: WORD},
        "enum": [WORD, 421, {"a": WORD}],
        "examples": [[WORD]],
        "const": WORD,
        "pattern": WORD,
        "x-comment": WORD,
        "minimum": 421,
    }
    request = {
        "model": "gpt-5.5",
        "messages": [
            {"role": "user", "name": WORD, "content": WORD},
            {"role": "system", "content": [part, {"type": "input_text", "text": WORD}]},
            {"role": WORD + " is no role", "refusal": WORD},
            {
                "role": "assistant",
                "tool_calls": [{"function": {"name": "f", "arguments": f'{{"a":"{WORD}"}}'}}],
                "function_call": {"name": "f", "arguments": {WORD: WORD}},
            },
            {"role": "user", "content": [{"type": "file", "file": {"filename": WORD}}]},
        ],
        "input": [{"type": "function_call_output", "output": WORD}, {"arguments": WORD}],
        "instructions": WORD,
        "tools": [
            {
                "type": "function",
                "function": {
                    "name": "f",
                    "description": WORD,
                    "parameters": {"properties": {"a": schema, "b": {"items": schema}}},
                },
            }
        ],
        "response_format": {"type": "json_schema", "json_schema": {"schema": schema}},
        "stop": [WORD],
        "user": WORD,
        "safety_identifier": WORD,
        "metadata": {WORD: WORD, "n": 421},
        "prediction": {"type": "content", "content": WORD},
        "logit_bias": {"421": -100},
        "unheard_of": {"deep": [{"deeper": WORD, "421": 421, "yes": True}]},
        f"{WORD} is no name": WORD,
    }
    text = kept_text(request)
    assert WORD not in text
    assert "421" not in text
    masked = msgspec.json.decode(text)
    assert masked["messages"][0] == {"role": "user", "name": "*" * 10, "content": "*" * 10}
    assert masked["messages"][3]["tool_calls"] == [
        {"function": {"name": "f", "arguments": '{"*":"**********"}'}}
    ]
    function = masked["tools"][0]["function"]
    assert set(function["parameters"]["properties"]["a"]) == set(schema)
    assert masked["unheard_of"] == {"****": [{"******": "*" * 10, "***": "*"}]}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def leaves(value: Any) -> Iterator[Any]:
    """What a JSON value is made of, names of members included."""
    if isinstance(value, dict):
        yield from value
        value = list(value.values())
    if isinstance(value, list):
        for member in value:
            yield from leaves(member)
    else:
        yield value


@settings(deadline=None)
@given(json_values)
def test_of_what_nobody_knows_nothing_is_legible(value: Any) -> None:
    for leaf in leaves(masked_request({"metadata": {"a": value}})["metadata"]):
        assert leaf is None or re.fullmatch(r"data:\d+", leaf) or not any(map(is_legible, leaf))


@settings(deadline=None)
@given(st.dictionaries(st.text(), json_values), st.sampled_from(typing.get_args(Content)))
def test_any_request_is_kept_on_one_line(request: Any, content: Content) -> None:
    text = kept_text(request, content)
    assert "\n" not in text
    assert isinstance(json.loads(text), dict)


def test_a_format_that_no_schema_knows_is_masked() -> None:
    schema = {"properties": {"a": {"type": "string", "format": "geheim"}}}
    masked = masked_request({"tools": [{"parameters": schema}]})
    assert masked["tools"][0]["parameters"]["properties"]["a"]["format"] == "******"


def test_media_leave_their_length() -> None:
    url = "data:image/png;base64," + "QUJD" * 1000
    part = {"type": "image_url", "image_url": {"url": url, "detail": "low"}}
    audio = {"type": "input_audio", "input_audio": {"data": "QUJD" * 1000, "format": "wav"}}
    masked = masked_request({"messages": [{"role": "user", "content": [part, audio]}]})
    assert masked["messages"][0]["content"] == [
        {"type": "image_url", "image_url": {"url": "data:4022", "detail": "low"}},
        {"type": "input_audio", "input_audio": {"data": "data:4000", "format": "wav"}},
    ]


@pytest.mark.parametrize("content", typing.get_args(Content))
def test_keys_and_tokens_enter_in_no_mode(content: Content) -> None:
    tool = {
        "type": "mcp",
        "server_label": "files",
        "server_url": "https://example.net",
        "headers": {"X-Anything": "S3CR3T"},
        "authorization": "S3CR3T",
    }
    request = {
        "tools": [tool],
        "metadata": {"api_key": "S3CR3T", "Auth-Token": "S3CR3T", "a": {"password": "S3CR3T"}},
    }
    text = kept_text(request, content)
    for word in ("S3CR3T", "headers", "authorization", "password"):
        assert word not in text
    assert msgspec.json.decode(text)["tools"][0]["server_label"] == "files"


def test_a_field_that_is_named_like_a_secret_stays_in_its_schema() -> None:
    parameters = {"properties": {"token": {"type": "string"}}, "required": ["token"]}
    request = {"tools": [{"parameters": parameters}], "max_tokens": 5}
    assert json.loads(kept_text(request, "full")) == request
    assert masked_request(request) == request


@pytest.mark.parametrize(
    ("request_", "repeatable"),
    [
        ({"user": "Jane"}, True),
        ({"metadata": {"api_key": "a"}}, False),
        ({"input": "a" * keptrequest.KEPT_BYTES}, True),
        ({"instructions": "a" * keptrequest.KEPT_BYTES}, False),
        ({"input": "a" * 300_000, "tools": ["a" * 300_000]}, False),
    ],
)
def test_an_answer_that_would_repeat_what_is_gone_cannot_be_made_again(
    request_: Any, repeatable: bool
) -> None:
    assert keep(msgspec.json.encode(request_), "full").repeatable is repeatable
    assert not keep(msgspec.json.encode(request_), "masked").repeatable


def test_nothing_is_kept_where_nothing_is_logged() -> None:
    members = chatrequests.members(b'{"user":"Jane"}')
    assert slices.at_once(keptrequest.keep(members, "off", KEY)) == keptrequest.Kept()


MESSAGES = [{"role": "user", "content": "Zanzibar " * 1000}] * 40
"""More than is kept."""


def test_of_a_large_request_the_large_members_are_left_out() -> None:
    request = {"model": "m", "messages": MESSAGES, "tools": [], "user": "Jane"}
    sent = msgspec.json.encode(MESSAGES)
    assert json.loads(kept_text(request, "full")) == {
        "model": "m",
        "messages": {
            "omitted": {
                "bytes": len(sent),
                "items": 40,
                "digest": hashlib.blake2b(sent, digest_size=16).hexdigest(),
            }
        },
        "tools": [],
        "user": "Jane",
    }
    masked = masked_request(request)
    keyed = hashlib.blake2b(sent, digest_size=16, key=KEY).hexdigest()
    assert masked["messages"]["omitted"]["digest"] == keyed
    assert (masked["model"], masked["user"]) == ("m", "****")


def test_what_is_kept_is_no_more_than_the_limit() -> None:
    fits = {"messages": "a" * (keptrequest.KEPT_BYTES - 100), "user": "Jane"}
    assert json.loads(kept_text(fits, "full")) == fits
    request = {f"field_{number}": "a" * (100 + number) for number in range(5000)}
    kept = json.loads(kept_text(request, "full"))
    assert list(kept) == list(request)
    whole = {name: value for name, value in kept.items() if isinstance(value, str)}
    sizes = sum(len(name) + len(value) + 2 for name, value in whole.items())
    assert keptrequest.KEPT_BYTES - 6000 < sizes <= keptrequest.KEPT_BYTES
    assert all(name in whole for name in list(request)[:100])  # the smallest of them


def test_the_name_of_a_member_that_is_left_out_is_masked_too() -> None:
    request = {"What Jane said": "a" * keptrequest.KEPT_BYTES}
    assert list(masked_request(request)) == ["**** **** ****"]
    assert "Jane" not in kept_text({"api_key": "Jane" * 100_000})


@pytest.mark.parametrize("member", [b"1" * 5000, b'"\xff"'])
def test_a_member_that_cannot_be_read_is_left_out(member: bytes) -> None:
    kept = keep(b'{"user":"Jane","x":' + member + b"}", "full")
    found = json.loads(bytes(kept.request))
    assert found["user"] == "Jane"
    assert found["x"]["omitted"]["bytes"] == len(member)
    assert not kept.repeatable


def test_masking_can_be_interrupted_at_every_value() -> None:
    body = b'{"x":[' + b'[[1],{"a":2}],' * 10_000 + b"1]}"
    steps = keptrequest.keep(chatrequests.members(body), "masked", KEY)
    assert sum(1 for _ in steps) > 50_000


def test_the_last_of_two_members_of_one_name_does_not_hide_the_first() -> None:
    assert bytes(keep(b'{"token":"S3CR3T","token":{}}', "full").request) == b'{"token":{}}'
    assert bytes(keep(b'{"user":"Jane","user":"*"}').request) == b'{"user":"*"}'
