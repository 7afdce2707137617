"""The response object around its items: what it repeats of the request, what its end adds."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, strategies as st
from openai.types.responses import Response

from engine.log.content import mask
from machines import events, outputs
from machines.events import Usage
from server.responses.render import echo, envelope
from tests.server.responses.opening import opened
from tests.support.providers import responsescript as script


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
