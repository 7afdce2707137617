"""Whatever the body of a Responses request is, it is a request or an error for its client."""

import json
from typing import Any

import msgspec
from hypothesis import given, strategies as st

from engine import slices
from server.config import load as configuration
from server.http import decoding
from server.http.errors import ApiError
from server.http.exchange import Headers
from server.responses.render import echo
from server.responses.request import (
    body as responsesbodies,
    conversation,
    input_items,
    options,
)
from tests.fuzz import inputs
from tests.simulator import answers
from tests.support.requests import chatrequests, responserequests

CALL = msgspec.Raw(b'{"type":"function_call","call_id":"a","name":"f","arguments":"{}"}')
SETTINGS, _ = configuration.load({"HOME": "/"})

PARTS = st.fixed_dictionaries(
    {
        "type": st.sampled_from(
            ("input_text", "output_text", "text", "refusal", "input_image", "input_file")
        )
        | inputs.JSON
    },
    optional=dict.fromkeys(("text", "refusal", "image_url", "file_url"), st.text() | inputs.JSON),
)
CONTENT = st.text(max_size=5) | st.lists(PARTS, max_size=2) | inputs.JSON
KINDS = (
    "message",
    "function_call",
    "function_call_output",
    "custom_tool_call",
    "custom_tool_call_output",
    "reasoning",
    "compaction",
    "item_reference",
    *sorted(input_items.HOSTED)[:2],
)
WORD = st.sampled_from(("a", "b")) | inputs.JSON
ITEMS = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(KINDS) | inputs.JSON,
        "role": st.sampled_from(("user", "assistant", "system", "developer")) | inputs.JSON,
        "content": CONTENT,
        "output": CONTENT,
        **dict.fromkeys(
            ("id", "call_id", "name", "arguments", "input", "encrypted_content", "status"), WORD
        ),
        "summary": inputs.JSON,
    },
)
TOOLS = st.fixed_dictionaries(
    {"type": st.sampled_from(("function", "web_search")) | inputs.JSON},
    optional={"name": WORD, "parameters": inputs.JSON, "strict": inputs.JSON},
)
REQUESTS = st.builds(
    lambda others, whole: others | whole,
    st.dictionaries(
        st.sampled_from((*responsesbodies.Fields.__struct_fields__, "items")),
        inputs.JSON,
        max_size=3,
    ),
    st.fixed_dictionaries(
        {
            "model": st.just("m") | inputs.JSON,
            "input": st.text() | st.lists(ITEMS, max_size=4) | inputs.JSON,
        },
        optional={
            "instructions": st.text() | st.lists(ITEMS, max_size=2),
            "tools": st.lists(TOOLS, max_size=3),
            "tool_choice": st.sampled_from(("none", "auto", "required")) | TOOLS,
        },
    ),
)


def is_refused_or_read(body: bytes) -> None:
    """Read a body as far as that goes without a worker, for either kind of worker."""
    try:
        request, ignored = responserequests.parse(body)
        assert len(ignored) <= decoding.IGNORED_MAX
        found = dict.fromkeys(slices.at_once(conversation.references(request.items)), CALL)
        messages = responserequests.messages(request, found)
        for way in (options.read, options.passthrough):
            slices.at_once(way(request, ignored, messages, Headers([]), SETTINGS))
        assert responserequests.decoded(responserequests.chat_body(request, messages))
        slices.at_once(echo.of(chatrequests.members(body)))
    except ApiError as error:
        assert 400 <= error.status < 500
        answers.heard_body(answers.Answer(error.status, {}, error.body(), True), 1)


@inputs.MANY
@given(REQUESTS | inputs.JSON)
def test_any_json_is_a_request_or_an_error_for_its_client(value: Any) -> None:
    is_refused_or_read(json.dumps(value).encode())


@inputs.MANY
@given(st.lists(ITEMS, min_size=1, max_size=4))
def test_any_items_are_an_input_or_an_error_for_its_client(items: list[Any]) -> None:
    is_refused_or_read(json.dumps({"model": "m", "input": items}).encode())


@inputs.MANY
@given(st.binary() | st.text().map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_body_is_a_request_or_an_error_for_its_client(body: bytes) -> None:
    is_refused_or_read(body)
