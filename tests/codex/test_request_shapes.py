"""What clients of other providers send to the chat endpoint, on the real Codex binary (K84)."""

from collections.abc import Iterator

import pytest

from tests.codex import toolplay
from tests.codex.toolplay import Stage
from tests.support.client import httpclient
from tests.support.providers.provider import Request
from tests.support.providers.replies import Answer, Message, Stream

pytestmark = pytest.mark.codex

MESSAGES = [
    {"role": "user", "content": "hi"},
    {
        "role": "assistant",
        "content": [
            {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
            {"type": "text", "text": "Hello."},
        ],
    },
    {
        "role": "user",
        "content": [
            {"type": "text", "text": "Look."},
            {"type": "image_url", "image_url": toolplay.PIXEL},
        ],
    },
]
"""A history from Mistral, and an image as its URL alone."""

REQUEST = {
    "model": "gpt-5.5",
    "messages": MESSAGES,
    "tools": [{"function": toolplay.WEATHER["function"]}],
    "tool_choice": "any",
}


def answer(request: Request) -> Answer:
    """Words alone at first, then a call."""
    demanded = request.body["input"][-1].get("role") == "developer"
    return Stream((toolplay.call(1) if demanded else Message(("No.",)),))


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with toolplay.stage(answer) as stage:
        yield stage


def test_k84_forms_of_other_providers_are_taken_where_their_meaning_is_plain(stage: Stage) -> None:
    reply = httpclient.ask(stage.server.url, "POST", "/chat/completions", REQUEST)
    assert reply.status == 200, reply
    assert reply.headers["x-turntape-ignored"] == "messages[1].content[0]"
    assert b'"finish_reason":"tool_calls"' in reply.body
    first, second = stage.provider.requests  # the call was demanded
    said = [item for item in first.body["input"] if item["type"] == "message"]
    assert [part["text"] for part in said[1]["content"]] == ["Hello."]
    assert said[2]["content"][1]["image_url"] == toolplay.PIXEL
    assert [tool["type"] for tool in first.body["tools"]] == ["function"]
    assert second.body["input"][-1]["role"] == "developer"
