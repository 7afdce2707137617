"""The size of a conversation, as it is estimated before anybody is asked for an answer."""

import json
from typing import Any

import pytest

from tests.server import answering

PATH = "/v1/responses/input_tokens"


def ask(path: str = PATH, **fields: Any) -> answering.Answer:
    return answering.ask({"messages": None, **fields}, path=path)


def test_instructions_input_and_tools_count_and_no_turn_is_begun() -> None:
    tool = {"type": "function", "name": "add", "description": "sums", "parameters": {}}
    found = ask(input="漢字漢", instructions="Be brief.", tools=[tool])
    assert (found.status, found.turn, found.first) == (200, None, {})
    assert found.headers["x-turntape-usage"] == "estimated"
    size = 9 + 9 + len("add") + len("sums") + len("{}")
    told = {"object": "response.input_tokens", "input_tokens": -(-size // 4)}
    assert json.loads(found.body) == told


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ({"input": "Hi", "model": "nobody"}, 404, "model_not_found"),
        ({"input": 5}, 400, None),
        ({"input": "Hi", "previous_response_id": "resp_0"}, 400, "previous_response_not_found"),
    ],
)
def test_what_is_wrong_is_told_as_for_an_answer(
    fields: dict[str, Any], status: int, code: str | None
) -> None:
    found = ask(**fields)
    assert (found.status, json.loads(found.body)["error"]["code"]) == (status, code)


def test_a_shorter_conversation_is_nothing_that_a_worker_gives() -> None:
    found = ask("/v1/responses/compact", input="Hi")
    assert found.turn is None
    assert (found.status, json.loads(found.body)["error"]["code"]) == (
        400,
        "unsupported_operation",
    )
