"""Calls of a model that was given no functions: Codex refuses them, and nothing is run."""

import json
from collections.abc import Iterator

import pytest

from tests.codex import toolplay, toolwire
from tests.codex.toolplay import Stage, call
from tests.support.logs import serverlog
from tests.support.process import machinetime, serving
from tests.support.providers.provider import Provider, Request
from tests.support.providers.replies import Answer, Message, Stream
from tests.support.providers.scripted import Gate

pytestmark = pytest.mark.codex

COMMAND = json.dumps({"cmd": "touch hacked", "command": ["touch", "hacked"]})

ROUNDS = 5
"""Calls that the stubborn model makes before the test has seen enough."""


def answer(request: Request) -> Answer:
    """A call of the function that the user's message names; then what came of it."""
    results = toolplay.outputs(request.body["input"])
    if request.prompt == "stubborn":
        number = len(results)
        return Stream((call(number, COMMAND, "exec_command"),) if number < ROUNDS else (Gate(),))
    if results:
        return Stream((Message((" ".join(results),)),), usage=toolplay.COUNTS)
    return Stream((call(1, COMMAND, request.prompt),), usage=toolplay.COUNTS)


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with toolplay.stage(answer) as stage:
        yield stage


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "name", ["exec_command", "shell_command", "apply_patch", "write_stdin", "get_weather"]
)
def test_a_call_is_refused_and_the_model_goes_on(stage: Stage, name: str, stream: bool) -> None:
    before = len(stage.provider.requests)
    told = toolwire.ask(stage.server, name, stream=stream)
    assert told.text == f"unsupported call: {name}"
    assert told.finish_reason == "stop"
    assert told.calls == []
    assert told.body["usage"]["total_tokens"] == 110  # both steps were paid for
    assert serverlog.recorded(stage.server, told.answer).kind == "completed"
    assert len(stage.provider.requests) == before + 2
    assert list(stage.server.data_dir.rglob("hacked")) == []
    assert toolplay.declared(stage.provider.requests[-1]) == []


def test_a_model_that_goes_on_calling_ends_at_the_first_limit() -> None:
    settings = {"PROXY_FIRST_CHUNK_TIMEOUT_MS": "1500"}
    with Provider(answer) as provider, serving.codex(provider.url, **settings) as server:
        told = toolwire.ask(server, "stubborn", stream=True)
        assert (told.answer.status, told.answer.error["code"]) == (504, "request_timeout")
        assert serverlog.recorded(server, told.answer).kind == "timeout"
        machinetime.until(provider.requests[ROUNDS].left.is_set, machinetime.SECOND)
        assert list(server.data_dir.rglob("hacked")) == []
