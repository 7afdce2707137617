"""What one request's provider says changes nothing of another's answer, on the real binary.

One process has one output for all its turns, and one read of it holds lines of many: so what
cannot be read or understood in a line of one turn must cost that turn alone.
"""

import concurrent.futures
import time

import pytest

from tests.support.client import chatclient
from tests.support.client.chatclient import LiveChat
from tests.support.logs import serverlog
from tests.support.process import serving
from tests.support.providers.provider import Provider, Request
from tests.support.providers.replies import Answer, HttpError, Message, Stream

pytestmark = pytest.mark.codex

INNOCENT = 4
DELTAS = 3000
"""In each of their answers."""

HOSTILE = 30
"""Requests beside them."""

ANSWERED_S = 20.0
"""All of those together, on a machine that does other things too; a tenth of it is usual."""

POISON = {
    "deep": "[" * 5000,
    "a regular expression's worst": "[" + ":" * 60_000,
    "long": "x" * 3_000_000,
    "every bracket": "[{" * 2000,
    "half a surrogate pair": "\ud83d",
    "controls": "\x00\x1b[31m\r\n\u2028" * 500,
}
"""Messages of a provider's refusal."""


def words(prompt: str) -> tuple[str, ...]:
    """The answer to an innocent prompt, like that to no other."""
    return tuple(f"{prompt}.{number} " for number in range(DELTAS))


@pytest.mark.long(usual=("controls",))
@pytest.mark.parametrize("message", POISON.values(), ids=POISON)
def test_refusals_of_any_shape_cost_no_other_stream_a_word(message: str) -> None:
    def script(request: Request) -> Answer:
        if request.prompt.startswith("innocent"):
            return Stream((Message(words(request.prompt)),), delay=0.0005)
        return HttpError(400, {"error": {"message": message, "code": "bad", "param": "input"}})

    prompts = [f"innocent{number}" for number in range(INNOCENT)]
    with (
        Provider(script) as provider,
        serving.codex(provider.url) as server,
        concurrent.futures.ThreadPoolExecutor(INNOCENT + HOSTILE) as pool,
    ):
        live = list(pool.map(lambda prompt: LiveChat(server, prompt, stream=True), prompts))
        list(pool.map(lambda each: each.next("content"), live))
        began = time.monotonic()
        hostile = [
            pool.submit(chatclient.ask, server, f"hostile{number}", stream=number % 2 == 0)
            for number in range(HOSTILE)
        ]
        answers = list(pool.map(LiveChat.answer, live))
        for refused in (each.result() for each in hostile):
            assert refused.status == 400
            assert refused.error["type"] == "invalid_request_error"
        assert time.monotonic() - began < ANSWERED_S
        for prompt, answer in zip(prompts, answers, strict=True):
            assert answer.text == "".join(words(prompt))
            assert answer.outline == ["role", "content", "finish", "done"]
            assert answer.finish_reason == "stop"
        serverlog.audit(server)
        assert server.replay().returncode == 0


@pytest.mark.long(usual=("Hello world-Hello world",))
@pytest.mark.parametrize(
    ("whole", "text"),
    [("Hello world, more", "Hello world, more"), ("Hello world", "Hello world")],
)
def test_a_whole_text_that_continues_its_pieces_is_completed(whole: str, text: str) -> None:
    script = {"hi": Stream((Message(("Hello", " world"), whole=whole),))}
    with Provider(script) as provider, serving.codex(provider.url) as server:
        assert chatclient.ask(server, "hi", stream=True).text == text
        assert chatclient.ask(server, "hi").text == text
        serverlog.audit(server)


@pytest.mark.long(usual=("Hello",))
@pytest.mark.parametrize("whole", ["Hello brave world", "Hello", "Bye world!!", "hello world"])
def test_a_whole_text_that_contradicts_its_pieces_is_an_error(whole: str) -> None:
    script = {"hi": Stream((Message(("Hello", " world"), whole=whole),))}
    with Provider(script) as provider, serving.codex(provider.url) as server:
        streamed = chatclient.ask(server, "hi", stream=True)
        assert streamed.text == "Hello world"
        assert streamed.outline == ["role", "content", "error"]
        assert streamed.error["code"] == "upstream_text_mismatch"
        body = chatclient.ask(server, "hi")
        assert (body.status, body.error["code"]) == (502, "upstream_text_mismatch")
        serverlog.audit(server)
        assert {each["kind"] for each in server.terminals() if each["status"]} == {
            "upstream_error"
        }
