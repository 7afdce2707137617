"""The response object around its items: what it repeats of the request, what its end adds."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, strategies as st
from openai.types.responses import Response

from engine import slices
from engine.log.content import mask
from machines import events, outputs
from machines.events import Usage
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


def test_it_has_every_member_whatever_the_request_says() -> None:
    assert begun() == script.response("in_progress", [])
    assert begun({"model": "m", "input": "hi"}) == script.response("in_progress", [])


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
            "tools": [FUNCTION, {"type": "function", "name": "g", "strict": None}],
            "metadata": {"a": "b"},
            "text": {"verbosity": None, "format": {"type": "json_object"}},
        },
        indent=1,
        ensure_ascii=False,
    ).encode()
    logged = msgspec.Raw(msgspec.json.encode(json.loads(request)))
    again = envelope.Envelope(first(json.loads(request))).object("in_progress", [])
    assert of_bytes(request) == json.loads(msgspec.json.encode(again))
    members = slices.at_once(reading.members_of(request, 100))
    live, replayed = slices.at_once(echo.of(members)), echo.logged(logged)
    assert live == replayed
    assert list(live.members) == list(replayed.members)


@pytest.mark.parametrize("client", clients.REQUESTS)
def test_the_sdk_takes_what_any_client_makes_it_repeat(client: str) -> None:
    begun(clients.REQUESTS[client])


@pytest.mark.parametrize("summary", ["auto", "concise", "detailed", "none"])
def test_a_summary_that_is_not_wanted_is_none(summary: str) -> None:
    told = begun({"reasoning": {"summary": summary}})["reasoning"]["summary"]
    assert told == (None if summary == "none" else summary)


def test_it_is_known_by_the_streams_own_members() -> None:
    found = begun(completion_id="resp_x", created=7, model="the-model", stored=True)
    assert found == script.response(
        "in_progress", [], id="resp_x", created_at=7, model="the-model", store=True
    )


def test_an_end_adds_what_only_it_knows() -> None:
    found = envelope.Envelope(first()).object(
        "incomplete",
        [{"id": "msg_1"}],
        usage=script.usage(1, 2),
        completed_at=9,
        reason="max_output_tokens",
    )
    assert json.loads(msgspec.json.encode(found)) == script.response(
        "incomplete",
        [{"id": "msg_1"}],
        usage=script.usage(1, 2),
        completed_at=9,
        incomplete_details={"reason": "max_output_tokens"},
    )


def test_every_count_is_shown_and_unknown_ones_are_zeros() -> None:
    assert envelope.usage_object(Usage(10, 5, 3, 1)) == script.usage(10, 5, 3, 1)
    assert envelope.usage_object(None) == script.usage(0, 0)


@pytest.mark.parametrize(
    ("failure", "code", "kind"),
    [
        (outputs.Failure("worker_exited", "Gone."), "server_error", "server_error"),
        (
            outputs.Failure("rate_limit_exceeded", "Gone.", 429),
            "rate_limit_exceeded",
            "rate_limit_error",
        ),
        (outputs.Failure("odd_code", "Gone.", 422), "server_error", "invalid_request_error"),
    ],
)
def test_an_error_has_a_code_that_sdks_know(
    failure: outputs.Failure, code: str, kind: str
) -> None:
    error = envelope.error_object(failure)
    assert error == {"code": code, "message": "Gone.", "type": kind, "param": None}
    body = script.response("failed", [], error=error)
    Response.model_validate_json(json.dumps(body), strict=True)


@pytest.mark.parametrize(
    ("include", "shows"),
    [
        (["reasoning.encrypted_content"], True),
        (["file_search_call.results", "reasoning.encrypted_content"], True),
        (["file_search_call.results"], False),
        ([], False),
        (None, False),
        ("*********.*********_*******", False),
    ],
)
def test_encrypted_content_is_for_those_who_ask(include: Any, shows: bool) -> None:
    assert envelope.Envelope(first({"include": include})).shows_encrypted is shows


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
REQUESTS = st.dictionaries(
    st.sampled_from([*echo.USUAL, "reasoning", "text", "tool_choice", "tools", "include"]),
    JSON,
)


@given(REQUESTS | JSON)
def test_whatever_a_log_has_of_a_request_makes_a_response(request: Any) -> None:
    """Invariant: a log that was masked, or written by another version, can be rendered."""
    masked = mask.mask_event(first(request))
    assert isinstance(masked, events.Opened)
    for each in (first(request), masked):
        found = envelope.Envelope(each).object("in_progress", [])
        assert found.keys() == script.response("in_progress", []).keys()
        msgspec.json.encode(found)
