"""What a response repeats of its request, whatever that says."""

import json
from typing import Any

import msgspec
import pytest
from openai.types.responses import Response

from engine import slices
from machines import events, tooloptions
from server.http import reading
from server.responses.render import echo, envelope
from tests.server.responses import clients
from tests.server.responses.opening import opened
from tests.support.providers import responsescript as script

FUNCTION: dict[str, Any] = {
    "type": "function",
    "name": "f",
    "description": "d",
    "parameters": {"type": "object"},
    "strict": True,
}


def first(request: Any = None, **options: Any) -> events.Opened:
    return opened(request=msgspec.Raw(msgspec.json.encode(request)), **options)


def begun(request: Any = None, **options: Any) -> dict[str, Any]:
    """The object as a client reads it, which the SDK takes."""
    found = envelope.Envelope(first(request, **options)).object("in_progress", [])
    body = msgspec.json.encode(found)
    Response.model_validate_json(body, strict=True)
    return dict(json.loads(body))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("background", True),
        ("instructions", "Be brief."),
        ("instructions", [{"type": "message", "role": "developer", "content": "Be brief."}]),
        ("max_output_tokens", 77),
        ("max_tool_calls", 3),
        ("metadata", {"a": "b"}),
        ("parallel_tool_calls", False),
        ("previous_response_id", "resp_0"),
        ("prompt_cache_key", "k"),
        ("safety_identifier", "s"),
        ("service_tier", "flex"),
        ("temperature", 0.3),
        ("tool_choice", "required"),
        ("tool_choice", {"type": "function", "name": "f"}),
        (
            "tool_choice",
            {
                "type": "allowed_tools",
                "mode": "auto",
                "tools": [{"type": "function", "name": "f"}],
            },
        ),
        ("tools", [FUNCTION]),
        ("top_p", 0.5),
        ("truncation", "auto"),
        ("user", "u"),
        ("reasoning", {"effort": "low", "summary": "auto"}),
        ("text", {"format": {"type": "json_object"}, "verbosity": "low"}),
    ],
)
def test_what_the_request_says_is_repeated(name: str, value: Any) -> None:
    assert begun({name: value}) == script.response("in_progress", [], **{name: value})


@pytest.mark.parametrize("name", ["metadata", "tools", "tool_choice", "text", "instructions"])
def test_null_says_nothing(name: str) -> None:
    assert begun({name: None}) == script.response("in_progress", [])


def test_what_a_part_of_an_object_does_not_say_is_as_usual() -> None:
    schema = {"type": "json_schema", "name": "a", "schema": {"type": "object"}, "strict": True}
    found = begun({"text": {"format": schema}, "reasoning": {"effort": "high"}})
    assert found["text"] == {"format": schema, "verbosity": "medium"}
    assert found["reasoning"] == {"effort": "high", "summary": None}
    empty = begun({"text": {"format": None}, "reasoning": {}})
    assert empty == script.response("in_progress", [])


def test_tools_have_every_member_and_those_that_are_no_functions_are_left_out() -> None:
    given = [{"type": "web_search"}, {"type": "function", "name": "f"}, {"type": "namespace"}]
    bare = {"type": "function", "name": "f", "description": None, "parameters": None}
    assert begun({"tools": given})["tools"] == [bare | {"strict": None}]


GROUP: dict[str, Any] = {"type": "namespace", "name": "n", "description": "", "tools": [FUNCTION]}
SHAPED = tooloptions.ToolOptions(names=("f",), shapes={"f": tooloptions.ToolShape("f", "n")})


def test_tools_of_other_shapes_are_repeated_where_the_model_is_offered_them() -> None:
    given = [{"type": "web_search"}, GROUP, {"type": "custom", "name": "c"}]
    assert begun({"tools": given}, tools=SHAPED)["tools"] == given[1:]
    assert begun({"tools": given})["tools"] == []


def of_bytes(request: bytes) -> Any:
    """The object of a request as it came, as a client reads it."""
    members = slices.at_once(reading.members_of(request, 100))
    repeated = slices.at_once(echo.of(members))
    found = envelope.Envelope(first(), repeated).object("in_progress", [])
    return json.loads(msgspec.json.encode(found))


@pytest.mark.parametrize("request_body", [b"[1]", b"null", b'{"user":' + b"[" * 9999, b'{"user"'])
def test_of_what_cannot_be_read_nothing_is_repeated(request_body: bytes) -> None:
    unread = msgspec.structs.replace(first(), request=msgspec.Raw(request_body))
    found = envelope.Envelope(unread).object("in_progress", [])
    assert json.loads(msgspec.json.encode(found)) == script.response("in_progress", [])


@pytest.mark.parametrize(
    ("value", "repeated"),
    [
        (b'"\xff"', "\ufffd"),
        (b"1e999", None),
        (b"9" * 5000, None),
        (b'[1.50, "\\u00e9" ]', [1.5, "é"]),
    ],
)
def test_what_is_odd_is_repeated_as_well_as_it_can_be(value: bytes, repeated: Any) -> None:
    assert of_bytes(b'{"metadata":%b}' % value)["metadata"] == repeated
    tool = of_bytes(b'{"tools":[{"type":"function","parameters":%b}]}' % value)["tools"][0]
    assert tool["parameters"] == repeated


def test_what_is_too_large_for_the_log_is_repeated_as_it_came_on_one_line() -> None:
    large = json.dumps(["漢 \n"] * 100_000, indent=1, ensure_ascii=False).encode()
    members = slices.at_once(reading.members_of(b'{"instructions":%b}' % large, 100))
    written = bytes(slices.at_once(echo.of(members)).members["instructions"])
    assert json.loads(written) == json.loads(large)
    assert b"\n" not in written


@pytest.mark.parametrize("size", [1, 100_000])
def test_a_replay_repeats_what_the_stream_did(size: int) -> None:
    request = json.dumps(
        {
            "model": "m",
            "input": "hi",
            "instructions": "é" * size,
            "tools": [FUNCTION, {"type": "function", "name": "g", "strict": None}, GROUP],
            "metadata": {"a": "b"},
            "text": {"verbosity": None, "format": {"type": "json_object"}},
        },
        indent=1,
        ensure_ascii=False,
    ).encode()
    kept = first(json.loads(request), tools=SHAPED)
    again = envelope.Envelope(first(json.loads(request))).object("in_progress", [])
    assert of_bytes(request) == json.loads(msgspec.json.encode(again))
    members = slices.at_once(reading.members_of(request, 100))
    live, replayed = slices.at_once(echo.of(members, has_shapes=True)), echo.logged(kept)
    assert live == replayed
    assert list(live.members) == list(replayed.members)


@pytest.mark.parametrize("client", clients.REQUESTS)
def test_the_sdk_takes_what_any_client_makes_it_repeat(client: str) -> None:
    begun(clients.REQUESTS[client])
