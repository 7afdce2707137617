"""Of a request that is passed on only that is read which the server acts on."""

import json
from typing import Any

import msgspec
import pytest

from server.api.options import AnswerOptions
from server.config import load as configuration
from server.http import errors
from tests.support.requests import chatrequests

HI = [{"role": "user", "content": "hi"}]


def read(**fields: Any) -> AnswerOptions:
    settings, _ = configuration.load({"HOME": "/"})
    body = json.dumps({"model": "m", "messages": HI} | fields).encode()
    return chatrequests.pass_on(body, settings)


def names(**fields: Any) -> list[str]:
    return [tool.name for tool in read(**fields).tools]


def test_the_names_of_functions_are_read_in_their_order() -> None:
    tools = [{"type": "function", "function": {"name": name}} for name in ("b", "a")]
    assert names(tools=tools) == ["b", "a"]
    assert names(functions=[{"name": "c"}, {"name": "b"}]) == ["c", "b"]
    assert names(tools=tools, functions=[{"name": "c"}]) == ["b", "a", "c"]
    assert names(tools=[{"function": {"name": "untyped", "parameters": 1}}]) == ["untyped"]


@pytest.mark.parametrize(
    "tool",
    [
        None,
        1,
        [],
        {},
        {"type": "web_search"},
        {"function": None},
        {"function": "f"},
        {"function": {}},
        {"function": {"name": None}},
        {"function": {"name": ["f"]}},
        {"function": {"name": "f" * 257}},
    ],
)
def test_what_has_no_name_that_could_be_called_is_for_the_upstream_to_judge(tool: Any) -> None:
    assert names(tools=[tool, {"function": {"name": "g"}}]) == ["g"]
    function = tool.get("function") if isinstance(tool, dict) else tool
    assert names(functions=[function]) == []


@pytest.mark.parametrize(
    "fields",
    [
        {"messages": [1, None, "x", {"role": "bot", "content": {"a": [1]}}]},
        {"temperature": "warm", "top_k": [], "metadata": 1, "stop": {}, "response_format": "x"},
        {"reasoning_effort": "huge", "logit_bias": [], "modalities": "text", "seed": 10**30},
    ],
)
def test_nothing_is_refused_that_the_upstream_may_understand(fields: dict[str, Any]) -> None:
    body = {name: msgspec.json.decode(value) for name, value in read(**fields).body.items()}
    assert body == {"model": "m", "messages": HI} | fields


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"model": 1}, "model"),
        ({"model": "m" * 257}, "model"),
        ({"stream": "yes"}, "stream"),
        ({"stream_options": []}, "stream_options"),
        ({"n": 0}, "n"),
        ({"tools": {}}, "tools"),
    ],
)
def test_what_the_server_acts_on_is_refused_where_it_is_wrong(
    fields: dict[str, Any], param: str
) -> None:
    with pytest.raises(errors.ApiError) as refused:
        read(**fields)
    assert (refused.value.status, refused.value.param) == (400, param)


def test_a_tag_is_found_in_a_text_of_any_message_and_in_nothing_else() -> None:
    tagged = "<saved_memories and more"
    parts = [{"type": "text", "text": "a"}] * 2000 + [{"type": "text", "text": tagged}]
    for content in (tagged, [{"text": tagged}], parts):
        messages = [*HI, {"role": "user", "content": content}]
        assert read(messages=messages).output_mode == "obsidian-xml"
    for message in (
        {"role": "user", "content": "saved_memories"},
        {"role": "user", "content": [{"image_url": tagged}, tagged, None]},
        {"role": "user", "content": {"text": tagged}},
        {"role": "user", "name": tagged},
        [tagged],
    ):
        assert read(messages=[*HI, message]).output_mode == "openai-json"


def test_more_parts_than_the_limit_are_not_looked_at() -> None:
    settings, _ = configuration.load({"HOME": "/", "PROXY_MAX_INPUT_ITEMS": "3"})
    for count, mode in ((3, "obsidian-xml"), (4, "openai-json")):
        parts = [{"type": "text", "text": "<saved_memories"}] * count
        body = json.dumps({"model": "m", "messages": [{"role": "user", "content": parts}]})
        assert chatrequests.pass_on(body.encode(), settings).output_mode == mode


def test_the_older_form_of_functions_is_answered_in_its_form() -> None:
    older, newer = [{"name": "f"}], [{"type": "function", "function": {"name": "f"}}]
    assert read(functions=older).legacy
    assert not read(functions=older, tools=newer).legacy
    assert not read(functions=[]).legacy


def test_a_tag_is_found_however_it_is_escaped() -> None:
    settings, _ = configuration.load({"HOME": "/"})
    for less in (b"<", rb"\u003c", rb"\u003C"):
        written = b'{"role":"user","content":"%bsaved_memories>"}' % less
        body = b'{"model":"m","messages":[%b]}' % written
        assert chatrequests.pass_on(body, settings).output_mode == "obsidian-xml"
