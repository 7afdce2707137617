"""Rows 47 and 48: a model that calls without end, and errors that are named like the server's."""

from collections.abc import Iterator

import pytest

from tests.faults import codexstage
from tests.faults.codexstage import Binary
from tests.support.providers.replies import Answer, FunctionCall, HttpError, Message, Stream

pytestmark = pytest.mark.codex

HANDFUL = 10
"""The most that a provider is asked for one request of a client's, whatever it answers: four steps
and those with which Codex is faster than the interrupt, on a busy machine."""


@pytest.fixture(scope="module")
def on() -> Iterator[Binary]:
    with codexstage.binary() as binary:
        yield binary


@pytest.mark.parametrize("beside", [(), (Message(("I try again.",)),)], ids=["mute", "chatty"])
def test_row_47_a_model_that_goes_on_calling_is_stopped(
    on: Binary, beside: tuple[Message, ...]
) -> None:
    calls: list[Answer] = [
        Stream((*beside, FunctionCall(f"call_{number}", "exec_command", ('{"cmd":"ls"}',))))
        for number in range(50)
    ]
    prompt = on.plan.prompt(*calls)
    answer = on.stage.ask(prompt)
    assert on.attempts(prompt) <= HANDFUL
    assert (answer.status, answer.error["code"]) == (502, "upstream_error")
    assert "calling functions" in answer.error["message"]
    on.stage.survived("upstream_error", "upstream_error", answer)


@pytest.mark.parametrize("code", ["concurrency_exceeded", "worker_busy", "maintenance"])
def test_row_48_an_error_that_is_named_like_ours_frees_and_takes_nothing(
    on: Binary, code: str
) -> None:
    """The server takes one stream at a time: a permit that is lost, or given back twice, shows."""
    refusal = HttpError(400, {"error": {"message": "Not now.", "code": code}})
    for _ in range(3):
        answer = on.stage.ask(on.plan.prompt(refusal), stream=True)
        assert (answer.status, answer.error["code"]) == (400, code)
    on.stage.survived("upstream_error", code, answer)
