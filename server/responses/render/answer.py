"""Outputs of a stream as the events of one response; both forms of the answer are made of them."""

from collections.abc import Callable
from typing import Any, Final

from machines import events, outputs
from server.chat import tool_render
from server.http.errors import case_of
from server.responses.render.echo import Echo
from server.responses.render.envelope import INCOMPLETE, Envelope, error_object, usage_object
from server.responses.render.items import OutputItems, Status
from server.responses.render.parts import Event, Part


class Answer:
    """A response while its answer comes.

    Attributes:
        output: its items.
        response: the response object as it ended; None until then.
        usage: None where the counts are unknown.
    """

    def __init__(self, opened: events.Opened, repeated: Echo | None = None) -> None:
        self._envelope = Envelope(opened, repeated)
        self.output = OutputItems(opened.completion_id, self._envelope.shows_encrypted)
        self.response: dict[str, Any] | None = None
        self.usage: events.Usage | None = None
        self._blocks = tool_render.Blocks(opened)
        self._status: Status = "completed"
        self._reason: str | None = None

    def take(self, output: outputs.AnyOutput, now: int) -> list[Event]:
        """Take an output and return the events that it means to the client.

        Args:
            now: when its event was recorded, in microseconds since the epoch.
        """
        if isinstance(output, outputs.Done):
            return self._done(now)
        make = _EVENTS.get(type(output))
        return make(self, output) if make is not None else []

    def cancelled(self) -> list[Event]:
        """Return the events of a response that its client cancelled: the API has none for it."""
        self.output.break_off()
        self.response = self._envelope.object("cancelled", self.output.objects())
        return [_lifecycle("failed", self.response)]

    def begun(self) -> dict[str, Any]:
        """Return the response object as it begins."""
        return self._envelope.object("in_progress", [])

    def text(self) -> tuple[Part, list[Event]]:
        """Return the part that text of the answer belongs to, and the events of its beginning."""
        return self.output.part("output_text")

    def _add_text(self, text: str, kind: str = "output_text") -> list[Event]:
        part, opening = self.output.part(kind)
        return [*opening, part.delta(text)]

    def _begun(self, _: outputs.Head) -> list[Event]:
        response = self.begun()
        return [_lifecycle("created", response), _lifecycle("in_progress", response)]

    def _waiting(self, _: outputs.Keepalive) -> list[Event]:
        """Return an event in place of a comment: the idle timers of some clients count a comment
        as silence."""
        return [_lifecycle("in_progress", self.begun())]

    def _finished(self, finish: outputs.Finish) -> list[Event]:
        if not self.output.refused:  # a refusal is an answer
            self._reason = INCOMPLETE.get(finish.reason)
        self._status = "completed" if self._reason is None else "incomplete"
        return self.output.finish(self._status)

    def _counted(self, totals: outputs.UsageTotals) -> list[Event]:
        self.usage = totals.usage
        return []

    def _done(self, now: int) -> list[Event]:
        self.response = self._envelope.object(
            self._status,
            self.output.objects(),
            usage=usage_object(self.usage),
            completed_at=now // 1_000_000,
            reason=self._reason,
        )
        return [_lifecycle(self._status, self.response)]

    def _failed(self, failure: outputs.Failure) -> list[Event]:
        self.output.break_off()
        error = error_object(failure)
        self.response = self._envelope.object("failed", self.output.objects(), error=error)
        members = {"code": failure.code, "message": failure.message, "param": failure.param}
        kind = case_of(failure.code, failure.status).type
        return [
            {"type": "error", "error": {"type": kind, **members}, **members},
            _lifecycle("failed", self.response),
        ]


_EVENTS: Final[dict[type, Callable[[Answer, Any], list[Event]]]] = {
    outputs.Head: Answer._begun,
    outputs.Content: lambda answer, its: answer._add_text(its.text),
    outputs.Reasoning: lambda answer, its: answer.output.add_reasoning(its.text, its.kind),
    outputs.ReasoningDone: lambda answer, its: answer.output.end_reasoning(its.encrypted_content),
    outputs.Refusal: lambda answer, its: answer._add_text(its.text, "refusal"),
    outputs.ToolCall: lambda answer, its: answer.output.add_call(
        its.index, its.call_id, its.name, its.arguments
    ),
    outputs.ToolArguments: lambda answer, its: answer.output.add_arguments(
        its.index, its.arguments
    ),
    outputs.ToolBlock: lambda answer, its: answer._add_text(answer._blocks.text(its)),
    outputs.Finish: Answer._finished,
    outputs.UsageTotals: Answer._counted,
    outputs.Keepalive: Answer._waiting,
    outputs.Failure: Answer._failed,
}
"""The method that makes the events of each output; any other output has none."""


def _lifecycle(name: str, response: dict[str, Any]) -> Event:
    return {"type": f"response.{name}", "response": response}
