"""`langchain-openai` against a server on the real Codex binary."""

import importlib.util
from typing import Any

import pytest

from tests.clients import scenes

pytestmark = [
    pytest.mark.codex,
    pytest.mark.langchain,
    pytest.mark.skipif(
        importlib.util.find_spec("langchain_openai") is None, reason="needs langchain-openai"
    ),
    # Its dependencies warn about each other at import.
    pytest.mark.filterwarnings("default"),
]


def test_langchain_streams_and_invokes() -> None:
    from langchain_openai import ChatOpenAI
    from pydantic import SecretStr

    with scenes.stage() as server:
        for prompt, (text, reason) in scenes.SCENES.items():
            for usage_wanted in (True, False):
                model = ChatOpenAI(
                    base_url=server.url,
                    api_key=SecretStr("unused"),
                    model=scenes.MODEL,
                    stream_usage=usage_wanted,
                    max_retries=0,
                )
                chunks = list(model.stream(prompt))
                assert "".join(str(chunk.content) for chunk in chunks) == text
                reasons = [chunk.response_metadata.get("finish_reason") for chunk in chunks]
                assert [each for each in reasons if each] == [reason]
                counted = [chunk.usage_metadata for chunk in chunks if chunk.usage_metadata]
                assert len(counted) == usage_wanted
                whole = model.invoke(prompt)
                assert whole.content == text
                assert whole.response_metadata["finish_reason"] == reason
                assert whole.usage_metadata is not None
                assert whole.usage_metadata["total_tokens"] == 30


def get_weather(city: str) -> int:
    """The weather of a city."""
    return scenes.CITIES[city]


def test_langchain_calls_functions() -> None:
    from langchain_openai import ChatOpenAI
    from pydantic import SecretStr

    def streamed(messages: list[Any]) -> Any:
        first, *others = model.stream(messages)
        return sum(others, first)

    with scenes.stage() as server:
        model = ChatOpenAI(
            base_url=server.url,
            api_key=SecretStr("unused"),
            model=scenes.MODEL,
            stream_usage=True,
            max_retries=0,
        ).bind_tools([get_weather])
        for step in (model.invoke, streamed):
            messages: list[Any] = [("user", "weather")]
            rounds = []
            while (reply := step(messages)).tool_calls:
                rounds.append([call["args"]["city"] for call in reply.tool_calls])
                assert reply.invalid_tool_calls == []
                assert reply.content == "Let me look."
                assert reply.response_metadata["finish_reason"] == "tool_calls"
                assert reply.usage_metadata is not None
                assert reply.usage_metadata["total_tokens"] == 30
                messages.append(reply)
                for call in reply.tool_calls:
                    result = str(get_weather(**call["args"]))
                    messages.append(
                        {"role": "tool", "tool_call_id": call["id"], "content": result}
                    )
            assert rounds == [list(scenes.CITIES), ["Paris"]]
            assert reply.content == scenes.WEATHER_TEXT
            assert reply.response_metadata["finish_reason"] == "stop"
