"""`PROXY_MAX_INPUT_ITEMS`: as many of each as the operator says, and not one more."""

import json
from typing import Any

import pytest

from server.config import load as configuration
from server.http import errors
from tests.server import answering
from tests.support.requests import chatrequests

LIMIT = 3
TEXT = {"type": "text", "text": "a"}
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}


def hi(count: int = 1, **fields: Any) -> list[Any]:
    return [{"role": "user", "content": "hi"} | fields] * count


def tool(number: int) -> dict[str, Any]:
    return {"type": "function", "function": {"name": f"f{number}"}}


def functions(count: int) -> list[Any]:
    return [{"name": f"f{number}"} for number in range(count)]


def assistant(calls: int) -> dict[str, Any]:
    return {"role": "assistant", "tool_calls": [CALL] * calls}


BOTH = ["read", "pass_on"]
MOST: list[tuple[str, dict[str, Any], dict[str, Any], list[str]]] = [
    ("messages", {"messages": hi(3)}, {"messages": hi(4)}, BOTH),
    (
        "messages[1].content",
        {"messages": [*hi(content=[TEXT] * 2), *hi(content=[TEXT])]},
        {"messages": [*hi(content=[TEXT] * 2), *hi(content=[TEXT] * 2)]},
        ["read"],
    ),
    (
        "messages[1].tool_calls",
        {"messages": [assistant(2), assistant(1)]},
        {"messages": [assistant(2), assistant(2)]},
        ["read"],
    ),
    (
        "tools",
        {"messages": hi(), "tools": [*map(tool, range(3))]},
        {"messages": hi(), "tools": [*map(tool, range(4))]},
        BOTH,
    ),
    (
        "functions",
        {"messages": hi(), "functions": functions(3)},
        {"messages": hi(), "functions": functions(4)},
        BOTH,
    ),
]


@pytest.mark.parametrize(
    ("param", "most", "more", "way"),
    [(param, most, more, way) for param, most, more, ways in MOST for way in ways],
)
def test_one_more_than_the_limit_is_refused(
    param: str, most: dict[str, Any], more: dict[str, Any], way: str
) -> None:
    settings, _ = configuration.load({"HOME": "/", "PROXY_MAX_INPUT_ITEMS": str(LIMIT)})
    read = getattr(chatrequests, way)
    read(json.dumps({"model": "m", **most}).encode(), settings)
    with pytest.raises(errors.ApiError) as refused:
        read(json.dumps({"model": "m", **more}).encode(), settings)
    assert (refused.value.status, refused.value.code) == (400, "array_above_max_length")
    assert refused.value.param == param
    assert refused.value.message == (
        f"Invalid '{param}': array too long. Expected an array with maximum length 3,"
        " but got a longer array instead."
    )


@pytest.mark.parametrize("way", BOTH)
def test_the_members_of_a_body_are_counted_too(way: str) -> None:
    settings, _ = configuration.load({"HOME": "/", "PROXY_MAX_INPUT_ITEMS": str(LIMIT)})
    read = getattr(chatrequests, way)
    read(json.dumps({"model": "m", "messages": hi(), "x": 1}).encode(), settings)
    with pytest.raises(errors.ApiError) as refused:
        read(json.dumps({"model": "m", "messages": hi(), "x": 1, "y": 1}).encode(), settings)
    assert refused.value.code == "object_above_max_properties"


def test_a_client_is_told_of_the_limit() -> None:
    environ = {"PROXY_MAX_INPUT_ITEMS": "3"}
    assert answering.ask({"messages": hi(3)}, environ=environ).status == 200
    refused = answering.ask({"messages": hi(4)}, environ=environ)
    assert refused.status == 400
    assert json.loads(refused.body)["error"] == {
        "message": (
            "Invalid 'messages': array too long. Expected an array with maximum length 3,"
            " but got a longer array instead."
        ),
        "type": "invalid_request_error",
        "param": "messages",
        "code": "array_above_max_length",
    }


def test_no_real_conversation_meets_the_default() -> None:
    assert answering.ask({"messages": hi(16_384)}).status == 200
    assert answering.ask({"messages": hi(16_385)}).status == 400


def test_choices_are_counted_before_a_turn_is_made_for_each() -> None:
    refused = answering.ask({"n": 10**15})
    assert refused.status == 400
    assert json.loads(refused.body)["error"]["param"] == "n"


@pytest.mark.parametrize(
    ("given", "kept"), [(None, None), (1, 4), (10**15, 4 * 10**15), (10**4000, 1 << 53)]
)
def test_a_limit_that_no_answer_meets_is_one_number(given: int | None, kept: int | None) -> None:
    settings, _ = configuration.load({"HOME": "/"})
    body = json.dumps({"model": "m", "messages": hi(), "max_tokens": given}).encode()
    assert chatrequests.read(body, settings).max_bytes == kept
