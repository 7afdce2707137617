"""Whatever the body of a request is, it is a request or an error for its client."""

import json
from typing import Any

import pytest
from hypothesis import given, strategies as st

from engine import slices
from engine.log.content import keptrequest
from server.chat import request as chatbodies, tool_fields
from server.http import decoding
from server.http.errors import ApiError
from tests.fuzz import inputs
from tests.simulator import answers
from tests.support.requests import chatrequests

MESSAGES = st.fixed_dictionaries(
    {"role": st.sampled_from(("user", "assistant", "tool", "system")) | inputs.JSON},
    optional={
        "content": inputs.JSON
        | st.lists(st.fixed_dictionaries({"type": inputs.JSON}, optional={"text": inputs.JSON})),
        "name": inputs.JSON,
        "tool_calls": inputs.JSON,
        "tool_call_id": inputs.JSON,
    },
)
TOOL_ENTRIES = st.fixed_dictionaries(
    {"type": st.just("function") | inputs.JSON},
    optional={
        "function": inputs.JSON
        | st.fixed_dictionaries(
            {"name": st.sampled_from(("f", "g")) | inputs.JSON},
            optional={
                "description": inputs.JSON,
                "parameters": inputs.JSON,
                "strict": inputs.JSON,
            },
        )
    },
)
REQUEST_BODIES = st.fixed_dictionaries(
    {
        "model": st.just("m") | inputs.JSON,
        "messages": st.lists(MESSAGES, max_size=3) | inputs.JSON,
    },
    optional={
        **dict.fromkeys(
            ("stream", "stream_options", "n", "max_tokens", "response_format"), inputs.JSON
        ),
        "stop": inputs.JSON | st.lists(st.text(max_size=3), max_size=5),
        "tools": st.lists(TOOL_ENTRIES, max_size=3) | inputs.JSON,
        "functions": st.lists(
            inputs.JSON | st.fixed_dictionaries({"name": st.just("f")}), max_size=2
        ),
        "tool_choice": st.sampled_from(("none", "auto", "required")) | inputs.JSON,
        "function_call": inputs.JSON,
        "parallel_tool_calls": inputs.JSON,
        "x": inputs.JSON,
    },
)


def is_refused_or_read(body: bytes) -> None:
    """Read a body as far as that goes without a worker."""
    try:
        request, ignored = chatrequests.parse(body)
        tool_fields.read(request, parallel=True)
        chatbodies.stop_sequences(request)
        slices.at_once(chatbodies.answer_form(request))
    except ApiError as error:
        assert 400 <= error.status < 500
        answers.heard_body(answers.Answer(error.status, {}, error.body(), True), 1)
    else:
        assert len(ignored) <= decoding.IGNORED_MAX


def is_refused_or_kept(body: bytes) -> None:
    """Read a body as far as the log does."""
    try:
        members = chatrequests.members(body)
    except ApiError as error:
        assert error.code == "invalid_json"
    else:
        slices.at_once(keptrequest.keep(members, "masked", b""))


@inputs.MANY
@given(REQUEST_BODIES | inputs.JSON)
def test_any_json_is_a_request_or_an_error_for_its_client(value: Any) -> None:
    is_refused_or_read(json.dumps(value).encode())


@inputs.MANY
@given(st.binary() | st.text().map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_body_is_a_request_or_an_error_for_its_client(body: bytes) -> None:
    is_refused_or_read(body)
    is_refused_or_kept(body)


@pytest.mark.parametrize(
    "deep", [b"[" * 100_000, b'{"model":' * 50_000, b'{"messages":[' + b"[" * 9_000]
)
def test_a_body_as_deep_as_it_likes_is_an_error_for_its_client(deep: bytes) -> None:
    is_refused_or_read(deep)
    is_refused_or_kept(deep)
