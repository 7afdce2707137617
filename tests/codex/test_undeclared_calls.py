"""Calls of a model that was given no functions: Codex refuses them, and nothing is run."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.codex import toolplay, toolwire
from tests.codex.toolplay import Stage, call
from tests.support.logs import serverlog
from tests.support.providers.provider import Request
from tests.support.providers.replies import Answer, Message, Reasoning, Stream

pytestmark = pytest.mark.codex

COMMAND = json.dumps({"cmd": "touch hacked", "command": ["touch", "hacked"]})

HANDFUL = 10
"""The most that a provider is asked for one request of a client's, whatever it answers: four steps
and those with which Codex is faster than the interrupt, on a busy machine."""


STUBBORN: dict[str, tuple[Message | Reasoning, ...]] = {
    "stubborn": (),
    "stubborn with words": (Message(("I try again.",)),),
    "stubborn with thoughts": (Reasoning(((("Hm."),),)),),
}
"""What a model says beside each of the calls that it makes without end."""


def answer(request: Request) -> Answer:
    """A call of the function that the user's message names; then what came of it."""
    results = toolplay.outputs(request.body["input"])
    if request.prompt in STUBBORN:
        said = STUBBORN[request.prompt]
        number = len(results)
        return Stream((*said, call(number, COMMAND, "exec_command")), usage=toolplay.COUNTS)
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


@pytest.mark.parametrize("declares", [False, True], ids=["without tools", "with another tool"])
@pytest.mark.parametrize("prompt", STUBBORN)
def test_a_model_that_goes_on_calling_is_stopped(
    stage: Stage, prompt: str, declares: bool
) -> None:
    """`exec_command` is declared by nobody here; with tools declared, the client has the call."""
    before = len(stage.provider.requests)
    fields: dict[str, Any] = {"tools": [toolplay.WEATHER]} if declares else {}
    told = toolwire.ask(stage.server, prompt, stream=True, **fields)
    assert len(stage.provider.requests) - before <= HANDFUL
    if declares:
        assert told.finish_reason == "tool_calls"
        assert [name for name, _ in told.calls] == ["exec_command"]
        return
    error = told.frames[-1]["error"] if told.streamed else told.answer.error
    assert error["code"] == "upstream_error"
    assert "calling functions" in error["message"]
    assert serverlog.recorded(stage.server, told.answer).kind == "upstream_error"
    toolwire.ask(stage.server, "exec_command")  # two requests of its own, and no other comes
    assert len(stage.provider.requests) - before <= HANDFUL + 2
    assert list(stage.server.data_dir.rglob("hacked")) == []
