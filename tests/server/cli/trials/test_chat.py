"""Trials of Chat Completions: an answer that is right passes, and each that is wrong is named."""

import contextlib
from typing import Any

import pytest

from server.cli.trials import chat, client as trialclient
from server.cli.trials.client import Failed, Skipped, Unusable
from tests.server.cli.trials.asking import MODEL, answer, asking, chunk, error
from tests.support.providers import upstreams

ROLE = chunk({"role": "assistant", "content": ""})
HELLO = chunk({"content": "Hello"})
STOP = chunk(finish="stop")
COUNTS = {**chunk(), "choices": [], "usage": {"total_tokens": 9}}

CALL = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "get_weather", "arguments": '{"city":"Paris"}'},
}
TEXT = {"role": "assistant", "content": "Hello."}


def test_the_models_are_counted_and_one_is_chosen() -> None:
    with asking() as (client, server):
        assert chat.models(client, None) == (MODEL, "2 models, asking upstream-model")
        assert chat.models(client, "whole") == ("whole", "2 models, asking whole")
        assert chat.models(client, "m")[1] == "2 models, asking m, which is not listed"
        rows = [{"id": "a"}, {"id": "codex-5"}]
        server.server.models = upstreams.response(200, {"data": rows})
        assert chat.models(client, None)[0] == "codex-5"


@pytest.mark.parametrize("body", [{}, {"data": []}, {"data": [{}]}, {"data": "x"}])
def test_a_list_that_is_none_fails(body: dict[str, Any]) -> None:
    with asking() as (client, server):
        server.server.models = upstreams.response(200, body)
        with pytest.raises(Failed):
            chat.models(client, None)


@pytest.mark.parametrize(
    ("key", "why"), [(None, "a key is needed: OPENAI_API_KEY, --key"), ("k", "the key is refused")]
)
def test_a_refused_key_ends_all_trials(key: str | None, why: str) -> None:
    with asking((), key) as (client, server):
        server.server.models = error(401, "invalid_api_key")
        with pytest.raises(Unusable, match=why):
            chat.models(client, None)


def test_a_whole_answer() -> None:
    with asking([answer(TEXT)]) as (client, server):
        assert chat.whole(client, MODEL) == "6 characters, stop"
        assert server.requests[0].body["model"] == MODEL


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (error(503, "worker_not_ready"), "status 503, worker_not_ready: No."),
        (answer(TEXT, object="text_completion"), "it is no chat.completion"),
        (answer(TEXT, "done"), "finish_reason is done"),
        (answer({"role": "user", "content": "Hi"}), "its role is user"),
        (answer({"role": "assistant", "content": ""}), "the answer has no text"),
        (answer(TEXT, choices=[]), "the answer has no choice with a message"),
    ],
)
def test_a_whole_answer_that_is_wrong(wrong: upstreams.Answer, why: str) -> None:
    with asking([wrong]) as (client, _), pytest.raises(Failed) as raised:
        chat.whole(client, MODEL)
    assert str(raised.value) == why


def streamed(*chunks: dict[str, Any] | str) -> str:
    """What a trial says of a stream."""
    answers = [upstreams.raw_stream(upstreams.sse(*chunks))]
    with asking(answers) as (client, _):
        return chat.streamed(client, MODEL)


def test_a_streamed_answer() -> None:
    assert streamed(ROLE, HELLO, HELLO, STOP, COUNTS, "[DONE]") == "10 characters, stop, [DONE]"


@pytest.mark.parametrize(
    ("chunks", "why"),
    [
        ((HELLO, STOP, "[DONE]"), "content comes before the role"),
        ((ROLE, HELLO, ROLE, STOP, "[DONE]"), "the role comes after content"),
        ((ROLE, STOP, "[DONE]"), "the stream has no content"),
        ((ROLE, HELLO, "[DONE]"), "finish_reason is None"),
        ((ROLE, HELLO, STOP), "the stream ends without [DONE]"),
        ((ROLE, HELLO, STOP, HELLO, "[DONE]"), "a choice goes on after its finish"),
        ((ROLE, HELLO, STOP, "[DONE]", HELLO), "something comes after [DONE]"),
        ((ROLE, chunk({"content": "x"}, id="c2")), "the id changes within the stream"),
        ((ROLE, {"error": {"code": "x"}}), "the stream ends with an error: {'code': 'x'}"),
        ((ROLE, chunk(object="x")), "no chunk: "),
        ((ROLE, {**chunk(), "choices": [None]}), "a choice has no delta"),
        ((ROLE, "hello"), "no JSON object: hello"),
    ],
)
def test_a_streamed_answer_that_is_wrong(chunks: tuple[Any, ...], why: str) -> None:
    with pytest.raises(Failed) as raised:
        streamed(*chunks)
    assert str(raised.value).startswith(why)


def calling(*calls: dict[str, Any], finish: str = "tool_calls") -> upstreams.Answer:
    """An answer of calls."""
    return answer({"role": "assistant", "content": None, "tool_calls": list(calls)}, finish)


def test_a_call_is_answered_with_its_result() -> None:
    with asking([calling(CALL), answer(TEXT)]) as (client, server):
        found = chat.tool_call(client, MODEL)
        history = server.requests[1].body["messages"]
    assert found == "1 called, their results answered, stop"
    assert [each["role"] for each in history] == ["user", "assistant", "tool"]
    assert history[2]["tool_call_id"] == "call_1"


def test_a_model_that_makes_no_call_says_nothing_of_the_server() -> None:
    with asking([answer(TEXT)]) as (client, _), pytest.raises(Skipped, match="made no call"):
        chat.tool_call(client, MODEL)


def changed(**members: Any) -> dict[str, Any]:
    """The call with other members of its function."""
    return {**CALL, "function": {**CALL["function"], **members}}  # type: ignore[dict-item]  # JSON


@pytest.mark.parametrize(
    ("answers", "why"),
    [
        ([calling(CALL, finish="stop")], "finish_reason of a call is stop"),
        ([calling(changed(name="rm"))], "it calls rm"),
        ([calling(changed(arguments="{"))], "no JSON object: {"),
        ([calling(CALL), error(400)], "status 400, some_code: No."),
        ([calling(CALL), answer({**TEXT, "content": ""})], "the result of the call has no answer"),
    ],
)
def test_a_call_that_is_wrong(answers: list[upstreams.Answer], why: str) -> None:
    with asking(answers) as (client, _), pytest.raises(Failed) as raised:
        chat.tool_call(client, MODEL)
    assert str(raised.value) == why


LONG: upstreams.Answer = [
    upstreams.STREAM_HEAD,
    upstreams.framed(upstreams.sse(ROLE, HELLO)),
    "stall",
]
"""A stream that says something, and goes on until its client leaves."""


def before_and_after(*open_streams: int | None) -> upstreams.Script:
    """A server of that stream; its health tells of so many open ones, the last from then on."""
    told = list(open_streams)

    def script(request: upstreams.Request) -> upstreams.Answer:
        if not request.path.endswith("/healthz"):
            return LONG
        return upstreams.response(200, {"streams": told.pop(0) if len(told) > 1 else told[0]})

    return script


def test_who_leaves_leaves_nothing_behind() -> None:
    asked: list[upstreams.Request] = []

    def script(request: upstreams.Request) -> upstreams.Answer:
        if not request.path.endswith("/healthz"):
            asked.append(request)
            return LONG
        still_open = sum(not each.left.is_set() for each in asked)
        return upstreams.response(200, {"streams": still_open})

    with asking(script) as (client, _):
        found = chat.disconnect(client, MODEL)
    assert len(asked) == 1
    assert found.startswith("left after 2 events, no stream left after ")


def test_a_stream_that_stays_open_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat, "LEFT_S", 0.1)
    with asking(before_and_after(0, 1)) as (client, _), pytest.raises(Failed, match="still open"):
        chat.disconnect(client, MODEL)


def test_a_server_that_no_longer_tells_of_its_streams_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(chat, "LEFT_S", 0.1)
    with asking(before_and_after(0, None)) as (client, _), pytest.raises(Failed, match="not told"):
        chat.disconnect(client, MODEL)


def test_others_streams_are_not_waited_for() -> None:
    with asking(before_and_after(3)) as (client, _):
        assert chat.disconnect(client, MODEL).endswith("/healthz was not asked")


def test_a_server_that_does_not_answer_after_it_fails() -> None:
    with asking(before_and_after(0)) as (client, server):
        server.server.models = error(500)
        with pytest.raises(Failed, match="status 500"):
            chat.disconnect(client, MODEL)


def test_a_stream_that_fails_before_its_client_leaves_fails() -> None:
    failing = upstreams.raw_stream(upstreams.sse(ROLE, {"error": {}}))
    empty = upstreams.raw_stream(upstreams.sse(ROLE))
    for script in (failing, empty):
        with asking([error(404), script]) as (client, _), pytest.raises(Failed):
            chat.disconnect(client, MODEL)


def test_a_wrong_key_is_refused() -> None:
    with asking([error(401)], "sk-right") as (client, server):
        assert chat.wrong_key(client, MODEL) == "refused with 401"
        (asked,) = server.requests
    assert asked.headers["authorization"] != "Bearer sk-right"
    assert "messages" not in asked.body


def test_a_server_without_a_key_says_nothing_of_it() -> None:
    with asking([error(400)]) as (client, _), pytest.raises(Skipped, match="needs no key"):
        chat.wrong_key(client, MODEL)


@pytest.mark.parametrize("wrong", [answer(TEXT), error(403), error(500)])
def test_a_wrong_key_that_is_taken_or_breaks_something_fails(wrong: upstreams.Answer) -> None:
    with asking([wrong]) as (client, _), pytest.raises(trialclient.Failed, match="a wrong key"):
        chat.wrong_key(client, MODEL)


ANYTHING: list[Any] = [None, 1, "x", [], [1], [[]], {}, [{}]]
"""Values of every kind that JSON has."""


def test_no_answer_breaks_a_trial() -> None:
    """Invariant: whatever a server answers, a trial passes, fails or is skipped."""
    shapes: list[dict[str, Any]] = [{}]
    for value in ANYTHING:
        shapes += [
            {"object": value, "choices": value, "data": value, "error": value, "id": value},
            *(
                {"choices": [{"delta": {name: value}}], "id": value}
                for name in ("role", "content")
            ),
            {"choices": [{"message": value, "delta": value, "finish_reason": value}]},
            *(
                {"choices": [{"message": {"role": "assistant", **message}, "delta": message}]}
                for message in (
                    {"content": value},
                    {"tool_calls": value},
                    {"tool_calls": [{"function": value}]},
                    {"tool_calls": [{"function": {"name": "get_weather", "arguments": value}}]},
                )
            ),
        ]
    for body in shapes:
        for kind in ("chat.completion", "chat.completion.chunk"):
            shape = {"object": kind, **body}
            with asking(_everything(shape)) as (client, server):
                server.server.models = upstreams.response(200, shape)
                for trial in (chat.whole, chat.streamed, chat.tool_call, chat.disconnect):
                    with contextlib.suppress(Failed, Skipped):
                        trial(client, MODEL)
                with contextlib.suppress(Failed):
                    chat.models(client, None)


def _everything(shape: dict[str, Any]) -> upstreams.Script:
    """A server that answers whatever it is asked with the same object."""

    def script(request: upstreams.Request) -> upstreams.Answer:
        if b'"stream": true' in request.raw:
            return upstreams.raw_stream(upstreams.sse(shape, shape))
        return upstreams.response(200, shape)

    return script
