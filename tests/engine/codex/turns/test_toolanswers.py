"""Results and the questions for them, in whatever order they come."""

import itertools

import pytest

from engine import worker
from engine.codex.protocol import appserver
from engine.codex.turns import toolanswers
from machines.wire import jsonrpc

URL = "data:image/png;base64,AA=="


ORDERS = tuple(itertools.permutations(["ask 1", "ask 2", "bring 1", "bring 2"]))


def result(call_id: str, *parts: worker.Part) -> worker.Message:
    """A tool message."""
    return worker.Message("tool", parts, call_id=call_id)


@pytest.mark.parametrize("order", ORDERS)
def test_each_question_gets_its_result_once(order: tuple[str, ...]) -> None:
    sent: list[tuple[jsonrpc.Id, appserver.ToolCallResult]] = []
    answers = toolanswers.ToolAnswers(lambda rpc_id, answer: sent.append((rpc_id, answer)))
    for step in order:
        action, call_id = step.split()
        if action == "ask":
            answers.result_requested(f"rpc {call_id}", call_id)
        else:
            answers.bring(result(call_id, worker.TextPart(f"of {call_id}")))
    expected = [
        (f"rpc {call_id}", appserver.ToolCallResult((appserver.InputText(f"of {call_id}"),)))
        for call_id in "12"
    ]
    assert sorted(sent, key=str) == expected


def test_a_result_is_one_text_or_its_parts() -> None:
    sent: list[appserver.ToolCallResult] = []
    answers = toolanswers.ToolAnswers(lambda _, answer: sent.append(answer))
    see = worker.TextPart("see ")
    for rpc_id, parts in enumerate(((), (see, see), (see, worker.ImagePart(URL, "x")))):
        answers.result_requested(rpc_id, "c")
        answers.bring(result("c", *parts))
    assert [answer.content_items for answer in sent] == [
        (appserver.InputText(""),),
        (appserver.InputText("see see "),),
        (appserver.InputText("see "), appserver.InputImage(URL)),
    ]
