"""The official Python SDK's `responses.connect()` plays the scenes on each worker."""

import pytest
from openai import OpenAI
from openai.resources.responses.responses import ResponsesConnection

from tests.clients import scenes

# The SDK opens its socket in the way that the newest `websockets` has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:connect.* must be used:DeprecationWarning")


def answer(connection: ResponsesConnection) -> tuple[str, str]:
    """The text of the pieces of one response, and the status that it ends with."""
    text = ""
    for event in connection:
        if event.type == "response.output_text.delta":
            text += event.delta
        elif event.type in ("response.completed", "response.incomplete", "response.failed"):
            return text, str(event.response.status)
    raise AssertionError("the socket was closed within an answer")


@pytest.mark.parametrize("store", [True, False])
def test_responses_over_one_socket(client: OpenAI, store: bool) -> None:
    with client.responses.connect() as connection:
        for prompt in scenes.SCENES:
            connection.response.create(model=scenes.MODEL, input=prompt, store=store)
        found = [answer(connection) for _ in scenes.SCENES]
    statuses = {"stop": "completed", "length": "incomplete"}
    assert found == [(text, statuses[reason]) for text, reason in scenes.SCENES.values()]
