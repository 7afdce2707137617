"""`langchain-openai` plays the scenes on each worker."""

import functools
import importlib.util
from typing import Any

import pytest

from tests.clients import scenes
from tests.support.providers import upstreams

pytestmark = [
    pytest.mark.langchain,
    pytest.mark.skipif(
        importlib.util.find_spec("langchain_openai") is None, reason="needs langchain-openai"
    ),
    # Its dependencies warn about each other at import.
    pytest.mark.filterwarnings("default"),
]


@scenes.each_worker
def test_langchain_streams_and_invokes(worker: str) -> None:
    from langchain_openai import ChatOpenAI
    from pydantic import SecretStr

    with scenes.stage(worker) as server:
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


def streamed(model: Any, asked: Any) -> Any:
    """The chunks of a reply, added up."""
    first, *others = model.stream(asked)
    return sum(others, first)


@scenes.each_worker
def test_langchain_calls_functions(worker: str) -> None:
    from langchain_openai import ChatOpenAI
    from pydantic import SecretStr

    with scenes.stage(worker) as server:
        model = ChatOpenAI(
            base_url=server.url,
            api_key=SecretStr("unused"),
            model=scenes.MODEL,
            stream_usage=True,
            max_retries=0,
        ).bind_tools([get_weather])
        for step in (model.invoke, functools.partial(streamed, model)):
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


def responses_model(url: str) -> Any:
    """A model that is asked by the Responses API."""
    from langchain_openai import ChatOpenAI
    from pydantic import SecretStr

    return ChatOpenAI(
        base_url=url,
        api_key=SecretStr("unused"),
        model=scenes.MODEL,
        use_responses_api=True,
        max_retries=0,
    )


@scenes.each_worker
def test_langchain_streams_and_invokes_responses(worker: str) -> None:
    statuses = {"stop": "completed", "length": "incomplete"}
    with scenes.stage(worker) as server:
        model = responses_model(server.url)
        for prompt, (text, _) in scenes.SCENES.items():
            for reply in (model.invoke(prompt), streamed(model, prompt)):
                assert reply.text == text
                assert reply.response_metadata["status"] == statuses[prompt]
                assert reply.usage_metadata["total_tokens"] == 30


@scenes.each_worker
def test_langchain_calls_functions_by_responses(worker: str) -> None:
    with scenes.stage(worker) as server:
        model = responses_model(server.url).bind_tools([get_weather])
        for step in (model.invoke, functools.partial(streamed, model)):
            messages: list[Any] = [("user", "weather")]
            rounds = []
            while (reply := step(messages)).tool_calls:
                rounds.append([call["args"]["city"] for call in reply.tool_calls])
                assert reply.invalid_tool_calls == []
                assert reply.text == "Let me look."
                messages.append(reply)
                for call in reply.tool_calls:
                    result = str(get_weather(**call["args"]))
                    messages.append(
                        {"role": "tool", "tool_call_id": call["id"], "content": result}
                    )
            assert rounds == [list(scenes.CITIES), ["Paris"]]
            assert reply.text == scenes.WEATHER_TEXT


def test_k41_langchain_gets_as_many_choices_as_an_upstream_gives() -> None:
    """It asks for two, and the upstream takes no notice of `n`."""
    from langchain_core.messages import HumanMessage
    from langchain_openai import ChatOpenAI
    from pydantic import SecretStr

    with upstreams.stage([upstreams.PLAIN]) as stage:
        model = ChatOpenAI(
            base_url=stage.server.url,
            api_key=SecretStr("unused"),
            model=scenes.MODEL,
            n=2,
            max_retries=0,
        )
        (generated,) = model.generate([[HumanMessage("hi")]]).generations
        assert [each.text for each in generated] == ["Hello world"]
        chunks = list(model.stream("hi"))
        assert "".join(each.text for each in chunks) == "Hello world"
        assert stage.upstream.requests[0].body["n"] == 2
