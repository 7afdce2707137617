"""Effort, verbosity and service tier reach the provider through the real Codex, as they were said.

Codex takes a verbosity for a whole thread, and an effort until another is given: so a
conversation's thread must not take one request's words into the next.
"""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.codex import toolplay
from tests.codex.toolplay import Stage
from tests.support.client import httpclient, httpwire
from tests.support.providers.provider import Request
from tests.support.providers.replies import Answer, Message, Stream

pytestmark = pytest.mark.codex

USER = {"role": "user", "content": "Say ok."}
SAID = {"role": "assistant", "content": "ok"}


def answer(request: Request) -> Answer:
    return Stream((Message(("ok",)),), usage=toolplay.COUNTS)


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with toolplay.stage(answer) as stage:
        yield stage


def ask(stage: Stage, path: str, **members: Any) -> tuple[httpwire.Response, dict[str, Any]]:
    """The answer to a request, and what the provider was asked."""
    before = len(stage.provider.requests)
    body = {"model": "gpt-5.5", **members}
    reply = httpclient.ask(stage.server.url, "POST", path, body)
    assert reply.status == 200, reply
    return reply, stage.provider.wait_for(before + 1).body


@pytest.mark.parametrize("word", ["low", "max", "a-new.word"])
def test_an_effort_is_any_word(stage: Stage, word: str) -> None:
    _, chat = ask(stage, "/chat/completions", messages=[USER], reasoning_effort=word)
    _, response = ask(stage, "/responses", input=[USER], reasoning={"effort": word})
    assert chat["reasoning"] == response["reasoning"] == {"effort": word}


@pytest.mark.parametrize("named", ["flex", "scale", "priority", "fast"])
def test_a_service_tier_is_passed_on(stage: Stage, named: str) -> None:
    for path, said in (("/chat/completions", "messages"), ("/responses", "input")):
        reply, body = ask(stage, path, **{said: [USER]}, service_tier=named)
        assert body["service_tier"] == named
        assert "x-turntape-ignored" not in reply.headers


@pytest.mark.parametrize(
    ("named", "ignored"), [("auto", None), ("default", None), ("turbo", "service_tier")]
)
def test_a_tier_that_cannot_be_said_is_named(
    stage: Stage, named: str, ignored: str | None
) -> None:
    for path, said in (("/chat/completions", "messages"), ("/responses", "input")):
        reply, body = ask(stage, path, **{said: [USER]}, service_tier=named)
        assert "service_tier" not in body
        assert reply.headers.get("x-turntape-ignored") == ignored


def test_verbosity_stands_beside_a_schema(stage: Stage) -> None:
    schema = {"type": "object", "properties": {}, "additionalProperties": False}
    form = {"type": "json_schema", "name": "f", "strict": True, "schema": schema}
    _, body = ask(stage, "/responses", input=[USER], text={"verbosity": "high", "format": form})
    assert body["text"]["verbosity"] == "high"
    assert body["text"]["format"]["schema"] == schema


def test_a_verbosity_that_codex_refuses_is_a_400(stage: Stage) -> None:
    body = {"model": "gpt-5.5", "messages": [USER], "verbosity": "loud"}
    reply = httpclient.ask(stage.server.url, "POST", "/chat/completions", body)
    error = json.loads(reply.body)["error"]
    assert (reply.status, error["param"]) == (400, "verbosity")


def test_a_thread_keeps_no_request_s_words_for_the_next() -> None:
    with toolplay.stage(answer) as stage:
        talk: list[Any] = [USER]
        said: list[tuple[Any, Any, str]] = []
        for members in (
            {"verbosity": "low", "service_tier": "flex"},
            {"verbosity": "low"},
            {"verbosity": "low", "service_tier": "priority"},
            {},
            {"verbosity": "high"},
        ):
            _, body = ask(stage, "/chat/completions", messages=talk, **members)
            verbosity = body.get("text", {}).get("verbosity")
            said.append((verbosity, body.get("service_tier"), body["prompt_cache_key"]))
            assert len(body["input"]) == len(talk)
            talk += [SAID, USER]
        assert [each[:2] for each in said] == [
            ("low", "flex"),
            ("low", None),
            ("low", "priority"),
            (None, None),
            ("high", None),
        ]
        keys = [key for _, _, key in said]
        assert keys[0] == keys[1] == keys[2]
        assert keys[2] != keys[3] == keys[4]  # new threads have their conversation's key
