"""`langchain-openai` against a server on the real Codex binary."""

import importlib.util

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
