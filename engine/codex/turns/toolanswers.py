"""Brings the client's results to the calls of a thread that waits for them.

Codex asks for them in an order of its own, and on some versions for the next only once it has the
last: so a result waits for its question, and a question for its result.
"""

from collections.abc import Callable
from typing import Final

from engine import worker
from engine.codex.protocol import appserver
from engine.codex.request import conversation
from machines.wire import jsonrpc

Answer = Callable[[jsonrpc.Id, appserver.ToolCallResult], None]
"""Sends the reply to a request of the worker."""


NOTHING: Final = appserver.ToolCallResult((appserver.InputText(""),), success=False)
"""The result that Codex is given where none is waited for any more."""


class ToolAnswers:
    """The results that answer the calls of one thread."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._asked: dict[str, jsonrpc.Id] = {}
        self._results: dict[str, appserver.ToolCallResult] = {}

    def result_requested(self, rpc_id: jsonrpc.Id, call_id: str) -> bool:
        """Answer Codex's question for the result of a call, once the client has brought it.

        Returns:
            Whether the question has to wait for that.
        """
        result = self._results.pop(call_id, None)
        if result is None:
            self._asked[call_id] = rpc_id
        else:
            self._answer(rpc_id, result)
        return result is None

    def refuse(self, rpc_id: jsonrpc.Id) -> None:
        """Answer a question with nothing."""
        self._answer(rpc_id, NOTHING)

    def refuse_all(self) -> None:
        """Answer every question that waits with nothing."""
        for rpc_id in self._asked.values():
            self._answer(rpc_id, NOTHING)
        self._asked.clear()

    def bring(self, message: worker.Message) -> None:
        """The client has a result."""
        call_id = conversation.answered(message)
        assert call_id is not None
        result = _result(message)
        rpc_id = self._asked.pop(call_id, None)
        if rpc_id is None:
            self._results[call_id] = result
        else:
            self._answer(rpc_id, result)


def _result(message: worker.Message) -> appserver.ToolCallResult:
    output = conversation.output(message)
    if isinstance(output, str):
        return appserver.ToolCallResult((appserver.InputText(output),))
    return appserver.ToolCallResult(
        tuple(
            appserver.InputImage(part["image_url"])
            if part["type"] == "input_image"
            else appserver.InputText(part["text"])
            for part in output
        )
    )
