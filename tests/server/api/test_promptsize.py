"""The size of a prompt is that of its texts, in whichever form a worker is given it."""

from typing import Any

import msgspec
import pytest

from engine import slices
from server.api import promptsize
from server.chat import passthrough, translate
from server.config import load as configuration
from server.http.exchange import Headers

TOOL = {"name": "add", "description": "sums up", "parameters": {"type": "object"}}
CALL = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a":1}'}}
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 400}}
HI = {"role": "user", "content": "Hi"}

CALL_JSON = len(msgspec.json.encode([CALL]))


def size(reads: Any, messages: list[dict[str, Any]], **fields: Any) -> int:
    body = {"model": "m", "messages": messages, **fields}
    members = {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in body.items()}
    config = configuration.load({"HOME": "/"})[0]
    options = slices.at_once(reads(members, Headers([]), config))
    return slices.at_once(promptsize.of_prompt(options))


@pytest.mark.parametrize(
    ("messages", "fields", "of_turn", "of_body"),
    [
        ([HI], {}, 2, 2),
        ([{"role": "system", "content": "漢字"}, HI], {}, 8, 8),
        ([{"role": "user", "content": [{"type": "text", "text": "Hi"}, IMAGE]}], {}, 2, 2),
        (
            [
                {"role": "assistant", "content": None, "tool_calls": [CALL]},
                {"role": "tool", "tool_call_id": "c1", "content": "2"},
            ],
            {},
            3 + 7 + 1,
            CALL_JSON + 1,
        ),
        (
            [HI],
            {"tools": [{"type": "function", "function": TOOL}]},
            2 + 3 + 7 + 17,
            2 + len(msgspec.json.encode({"type": "function", "function": TOOL})),
        ),
        ([HI], {"functions": [TOOL]}, 2 + 3 + 7 + 17, 2 + len(msgspec.json.encode(TOOL))),
    ],
)
def test_texts_calls_results_and_tools_count(
    messages: list[dict[str, Any]], fields: dict[str, Any], of_turn: int, of_body: int
) -> None:
    assert size(translate.read, messages, **fields) == of_turn
    assert size(passthrough.read, messages, **fields) == of_body


@pytest.mark.parametrize("message", [1, None, {"content": {"no": "text"}}, {"tool_calls": None}])
def test_what_is_no_message_has_no_size(message: Any) -> None:
    assert size(passthrough.read, [message, HI]) == 2
