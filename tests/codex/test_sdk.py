"""The official OpenAI SDK on a server whose worker is the real Codex binary."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import openai
import pydantic
import pytest
from openai import AsyncOpenAI, OpenAI
from openai.types.chat import ChatCompletionChunk

from tests.support.client import chatclient
from tests.support.logs import serverlog
from tests.support.process import machinetime, serving
from tests.support.providers.provider import Provider
from tests.support.providers.replies import (
    Answer,
    Cut,
    Failed,
    HttpError,
    Incomplete,
    Message,
    Reasoning,
    Stream,
    Usage,
    joined,
)
from tests.support.providers.scripted import Gate

pytestmark = pytest.mark.codex

KEY = "client-key-of-24-letters"

OWN_MODEL = "acme/über model:1"
"""A model that only the provider knows, with characters that a path must escape."""

TEXTS: dict[str, tuple[str, ...]] = {
    "repeated tokens": ("the ", "the ", "the ", "\n", "\n", "the ", "the"),
    "newlines": ("\n\n", "a\r\n", "\r", "\n", "b\u2028", "\u2029c", "\n"),
    "emoji": ("👩", "\u200d", "👩\u200d", "👧🏽", "\ufe0f", "🇩", "🇪", "1", "\ufe0f\u20e3"),
    "cjk": ("你好", "，", "世界", "日本", "語の", "텍스트", "か", "\u3099", "𠮷"),
    "markup": ("data: [DONE]\n\n", "<use_tool>", "\\", '"', "\\u0041", "\t", "\x7f", "\x01"),
    "long": ("ä" * 70_000, "b"),
}
"""Texts that are easily spoilt, in the pieces they come in."""

COUNTS = Usage(input_tokens=21, output_tokens=34, cached_tokens=13, reasoning_tokens=8)

PLAIN = ("so ", "far")

SCRIPT: dict[str, Answer] = {
    **{name: Stream((Message(pieces),), usage=COUNTS) for name, pieces in TEXTS.items()},
    "stop": Stream((Message(PLAIN),), usage=COUNTS),
    "length": Stream((Message(PLAIN),), Incomplete("max_output_tokens"), COUNTS),
    "filter": Stream((Message(PLAIN),), Incomplete("content_filter")),
    "uncounted": Stream((Message(("hi",)),), usage=None),
    "person": Stream((Message(('{"name": "Ada",', ' "age": 36}')),)),
    "thoughts": Stream(
        (
            Reasoning((("I ", "see."), ("Yes.",))),
            Message(("Let me ", "look."), phase="commentary"),
            Message(("4", "2"), phase="final_answer"),
            Message(("Or 43?",)),
        )
    ),
    "endless": Stream((Message(("abcdefgh", "ijkl", Gate())),)),
    "cut": Stream((Message(("so ", "far", Cut())),)),
    "400": HttpError(400, {"error": {"message": "No.", "code": "bad", "param": "input"}}),
    "401": HttpError(401),
    "403": HttpError(403),
    "404": HttpError(404),
    "422": HttpError(422),
    "429": HttpError(429),
    "context": Stream(end=Failed("context_length_exceeded")),
    "500": HttpError(500),
}


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    with Provider(SCRIPT) as provider:
        yield provider


@pytest.fixture(scope="module")
def server(provider: Provider) -> Iterator[serving.Serve]:
    settings = {"PROXY_API_KEY": KEY, "PROXY_CODEX_MODELS": OWN_MODEL, "PROXY_PROTECT_MODELS": "1"}
    with serving.codex(provider.url, **settings) as server:
        yield server
        serverlog.audit(server, KEY)


@pytest.fixture
def client(server: serving.Serve) -> Iterator[OpenAI]:
    with sdk(server) as client:
        yield client


def sdk(server: serving.Serve, key: str = KEY) -> OpenAI:
    """A client that takes nothing that is not as the API types it, and tries once."""
    return OpenAI(
        base_url=server.url, api_key=key, max_retries=0, _strict_response_validation=True
    )


def messages(text: str) -> list[Any]:
    """A conversation of one message."""
    return [{"role": "user", "content": text}]


def text_of(chunks: list[ChatCompletionChunk]) -> str:
    """The content of a stream of one choice."""
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


@pytest.mark.parametrize("name", TEXTS)
def test_text_is_the_providers_byte_for_byte(client: OpenAI, name: str) -> None:
    expected = joined(TEXTS[name])
    whole = client.chat.completions.create(model="gpt-5.5", messages=messages(name))
    assert whole.choices[0].message.content == expected
    with client.chat.completions.create(
        model="gpt-5.5", messages=messages(name), stream=True
    ) as stream:
        chunks = list(stream)
    assert text_of(chunks) == expected
    assert len({chunk.id for chunk in chunks}) == 1
    assert {chunk.model for chunk in chunks} == {"gpt-5.5"}


@pytest.mark.parametrize("name", TEXTS)
def test_text_is_the_providers_for_the_async_client(server: serving.Serve, name: str) -> None:
    async def both() -> tuple[str | None, str]:
        async with AsyncOpenAI(
            base_url=server.url, api_key=KEY, max_retries=0, _strict_response_validation=True
        ) as client:
            create = client.chat.completions.create
            whole = await create(model="gpt-5.5", messages=messages(name))
            stream = await create(model="gpt-5.5", messages=messages(name), stream=True)
            async with stream:
                chunks = [chunk async for chunk in stream]
        return whole.choices[0].message.content, text_of(chunks)

    assert asyncio.run(both()) == (joined(TEXTS[name]), joined(TEXTS[name]))


@pytest.mark.parametrize("name", TEXTS)
def test_text_is_the_providers_for_the_stream_helper(client: OpenAI, name: str) -> None:
    with client.chat.completions.stream(
        model="gpt-5.5", messages=messages(name), stream_options={"include_usage": True}
    ) as stream:
        deltas = [event.delta for event in stream if event.type == "content.delta"]
        final = stream.get_final_completion()
    assert "".join(deltas) == joined(TEXTS[name])
    assert final.choices[0].message.content == joined(TEXTS[name])
    assert final.usage is not None
    assert final.usage.total_tokens == 55


@pytest.mark.parametrize("reason", ["stop", "length"])
@pytest.mark.parametrize("include_usage", [True, False])
def test_finish_and_usage_of_a_stream(client: OpenAI, reason: str, include_usage: bool) -> None:
    with client.chat.completions.create(
        model="gpt-5.5",
        messages=messages(reason),
        stream=True,
        stream_options={"include_usage": include_usage},
    ) as stream:
        chunks = list(stream)
    reasons = [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices]
    assert reasons == [*[None] * (len(reasons) - 1), reason]
    assert text_of(chunks) == joined(PLAIN)
    usages = [chunk.usage for chunk in chunks if chunk.usage is not None]
    assert [bool(chunk.choices) for chunk in chunks] == [True] * len(reasons) + [False] * len(
        usages
    )
    assert len(usages) == include_usage
    for usage in usages:
        assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (21, 34, 55)
        assert usage.prompt_tokens_details is not None
        assert usage.prompt_tokens_details.cached_tokens == 13
        assert usage.completion_tokens_details is not None
        assert usage.completion_tokens_details.reasoning_tokens == 8


@pytest.mark.parametrize("reason", ["stop", "length"])
def test_finish_and_usage_of_a_whole_answer(client: OpenAI, reason: str) -> None:
    whole = client.chat.completions.with_raw_response.create(
        model="gpt-5.5", messages=messages(reason)
    )
    assert "x-turntape-usage" not in whole.headers
    done = whole.parse()
    assert done.choices[0].finish_reason == reason
    assert done.usage is not None
    assert (done.usage.prompt_tokens, done.usage.completion_tokens) == (21, 34)


@pytest.mark.parametrize(
    ("text", "reason", "content"),
    [
        ("filter", "content_filter", "so far"),
        ("uncounted", "stop", "hi"),
    ],
)
def test_counts_that_nobody_told_are_marked_unknown(
    server: serving.Serve,
    client: OpenAI,
    text: str,
    reason: str,
    content: str,
) -> None:
    whole = client.chat.completions.with_raw_response.create(
        model="gpt-5.5", messages=messages(text)
    )
    assert whole.headers["x-turntape-usage"] == "unknown"
    done = whole.parse()
    assert (done.choices[0].finish_reason, done.choices[0].message.content) == (reason, content)
    assert done.usage is not None
    assert done.usage.total_tokens == 0
    key = {"authorization": f"Bearer {KEY}"}
    usage_asked = {"stream": True, "stream_options": {"include_usage": True}}
    streamed = chatclient.ask(server, text, key, **usage_asked)
    assert streamed.outline == ["role", "content", "finish", "usage", "done"]
    assert (streamed.finish_reason, streamed.text) == (reason, content)
    assert streamed.usage is not None
    assert streamed.usage["total_tokens"] == 0
    assert streamed.comments == ["x-turntape-usage: unknown"]


def test_a_cut_turn_stops_the_provider(client: OpenAI, provider: Provider) -> None:
    before = len(provider.requests)
    client.chat.completions.create(model="gpt-5.5", messages=messages("endless"), max_tokens=1)
    machinetime.until(provider.wait_for(before + 1).left.is_set, machinetime.SECOND)


def test_thinking_and_several_messages(client: OpenAI) -> None:
    whole = client.chat.completions.create(model="gpt-5.5", messages=messages("thoughts"))
    message = whole.choices[0].message
    assert message.content == "42\n\nOr 43?"
    assert message.model_extra == {"reasoning_content": "I see.\n\nYes.\n\nLet me look."}


class Person(pydantic.BaseModel):
    """What the model is asked for."""

    name: str
    age: int


def test_parse_into_a_model(client: OpenAI, provider: Provider) -> None:
    before = len(provider.requests)
    parsed = client.chat.completions.parse(
        model="gpt-5.5", messages=messages("person"), response_format=Person
    )
    assert parsed.choices[0].message.parsed == Person(name="Ada", age=36)
    asked_for = provider.wait_for(before + 1).body["text"]["format"]
    assert asked_for["type"] == "json_schema"
    assert asked_for["schema"] == {**Person.model_json_schema(), "additionalProperties": False}


def test_choices_side_by_side(client: OpenAI, provider: Provider) -> None:
    before = len(provider.requests)
    whole = client.chat.completions.create(model="gpt-5.5", messages=messages("stop"), n=3)
    said = [(one.index, one.message.content, one.finish_reason) for one in whole.choices]
    assert said == [(index, "so far", "stop") for index in range(3)]
    assert whole.usage is not None
    assert (whole.usage.prompt_tokens, whole.usage.completion_tokens) == (21, 102)
    assert len(provider.requests) == before + 3


def test_models(client: OpenAI) -> None:
    listed = [model.id for model in client.models.list()]
    assert {"gpt-5.5", "codex-5", "codev-5-high", OWN_MODEL} <= set(listed)
    assert len(listed) == len(set(listed))
    for name in ("gpt-5.5", OWN_MODEL):
        found = client.models.retrieve(name)
        assert (found.id, found.object) == (name, "model")


def test_a_model_of_the_providers_own_is_asked_for(client: OpenAI, provider: Provider) -> None:
    before = len(provider.requests)
    done = client.chat.completions.create(model=OWN_MODEL, messages=messages("stop"))
    assert done.model == OWN_MODEL
    assert provider.wait_for(before + 1).body["model"] == OWN_MODEL


def test_an_alias_names_model_and_effort(client: OpenAI, provider: Provider) -> None:
    before = len(provider.requests)
    done = client.chat.completions.create(model="codex-5-high", messages=messages("stop"))
    assert done.model == "codex-5-high"
    body = provider.wait_for(before + 1).body
    assert (body["model"], body["reasoning"]["effort"]) == ("gpt-5.5", "high")


def test_the_conversation_reaches_the_model_in_order(client: OpenAI, provider: Provider) -> None:
    before = len(provider.requests)
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    conversation: list[Any] = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": parts},
        {"role": "assistant", "content": "c"},
        {"role": "developer", "content": "Now."},
        {"role": "user", "content": "stop"},
    ]
    client.chat.completions.create(model="gpt-5.5", messages=conversation)
    assert provider.wait_for(before + 1).messages == [
        ("developer", "Be brief."),
        ("user", "ab"),
        ("assistant", "c"),
        ("developer", "Now."),
        ("user", "stop"),
    ]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("text", "error", "status", "code"),
    [
        ("400", openai.BadRequestError, 400, "bad"),
        ("context", openai.BadRequestError, 400, "context_length_exceeded"),
        ("401", openai.AuthenticationError, 401, "worker_unauthorized"),
        ("403", openai.PermissionDeniedError, 403, "provider_forbidden"),
        ("404", openai.NotFoundError, 404, "model_not_found"),
        ("422", openai.UnprocessableEntityError, 422, "provider_rejected"),
        ("429", openai.RateLimitError, 429, "rate_limit_exceeded"),
        ("500", openai.InternalServerError, 502, "upstream_error"),
    ],
)
def test_a_failure_of_the_provider_is_the_sdks_own_error(
    client: OpenAI,
    text: str,
    error: type[openai.APIStatusError],
    status: int,
    code: str,
    stream: bool,
) -> None:
    with pytest.raises(error) as caught:
        client.chat.completions.create(model="gpt-5.5", messages=messages(text), stream=stream)
    assert (caught.value.status_code, caught.value.code) == (status, code)


def test_a_failure_within_a_stream_is_an_api_error(client: OpenAI) -> None:
    said: list[str] = []
    with (
        pytest.raises(openai.APIError) as caught,
        client.chat.completions.create(
            model="gpt-5.5", messages=messages("cut"), stream=True
        ) as stream,
    ):
        said.extend(chunk.choices[0].delta.content or "" for chunk in stream)
    assert "".join(said) == "so far"
    assert caught.value.code == "upstream_disconnected"


def test_errors_of_the_request_itself(server: serving.Serve, client: OpenAI) -> None:
    create = client.chat.completions.create
    captains: list[Any] = [{"role": "captain", "content": "hi"}]
    with pytest.raises(openai.NotFoundError) as unknown:
        create(model="nobody", messages=messages("stop"))
    assert (unknown.value.code, unknown.value.param) == ("model_not_found", "model")
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("nobody/else")
    with pytest.raises(openai.BadRequestError) as wrong:
        create(model="gpt-5.5", messages=captains)
    assert wrong.value.param == "messages[0].role"
    with sdk(server, key="another") as stranger:
        with pytest.raises(openai.AuthenticationError) as refused:
            stranger.chat.completions.create(model="gpt-5.5", messages=messages("stop"))
        with pytest.raises(openai.AuthenticationError):
            stranger.models.list()
    assert refused.value.code == "invalid_api_key"


def test_a_stream_says_the_same_as_the_whole_answer(server: serving.Serve) -> None:
    key = {"authorization": f"Bearer {KEY}"}
    usage = {"stream_options": {"include_usage": True}}
    whole = chatclient.ask(server, "thoughts", key)
    streamed = chatclient.ask(server, "thoughts", key, stream=True, **usage)
    assert streamed.outline == ["role", "reasoning", "content", "finish", "usage", "done"]
    assert streamed.text == whole.text
    assert streamed.finish_reason == whole.finish_reason
    assert streamed.usage == whole.usage
    assert json.loads(whole.raw)["object"] == "chat.completion"
    for answer in (whole, streamed):
        assert serverlog.recorded(server, answer).kind == "completed"
