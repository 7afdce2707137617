"""Outputs of a stream as the events of one response; both forms of the answer are made of them."""

from collections.abc import Callable
from typing import Any, Final

from machines import events, outputs
from server.chat import tool_render
from server.http.errors import case_of
from server.responses.render import textmembers
from server.responses.render.echo import Echo
from server.responses.render.envelope import INCOMPLETE, Envelope, error_object, usage_object
from server.responses.render.items import OutputItems
from server.responses.render.parts import Event, Part
from server.responses.render.partsitems import Status
from server.responses.render.textmembers import Token


class Answer:
    """A response while its answer comes.

    Attributes:
        output: its items.
        response: the response object as it ended; None until then.
        totals: its counts.
        logprobs: tokens that go with the next text.
    """

    def __init__(self, opened: events.Opened, repeated: Echo | None = None) -> None:
        self._envelope = Envelope(opened, repeated)
        self.output = OutputItems(
            opened.completion_id,
            self._envelope.shows_encrypted,
            opened.empty_message,
            opened.tools.shapes,
        )
        self.response: dict[str, Any] | None = None
        self.totals = outputs.UsageTotals(None)
        self._blocks = tool_render.Blocks(opened)
        self._status: Status = "completed"
        self._reason: str | None = None
        self.logprobs: list[Token] = []

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
        return [*opening, part.delta(text, self.tokens())]

    def tokens(self) -> list[Token]:
        """Hand over the tokens of the text that is told next."""
        tokens, self.logprobs = self.logprobs, []
        return tokens

    def _members(self, its: outputs.Members) -> list[Event]:
        """Take what the API has a place for of the further members of an answer."""
        if its.place == "choice":
            self.logprobs += textmembers.logprobs(its.members)
        if its.place == "delta":
            return self.output.cite(textmembers.citations(its.members))
        return []

    def _add_reasoning(self, its: outputs.Reasoning) -> list[Event]:
        if its.kind == "commentary":
            return self._add_text(its.text)
        self.logprobs.clear()  # they are of the thinking
        return self.output.add_reasoning(its.text, its.kind)

    def _add_call(self, its: outputs.ToolCall) -> list[Event]:
        self.logprobs.clear()  # they are of the call
        return self.output.add_call(its.index, its.call_id, its.name, its.arguments, its.kind)

    def _add_arguments(self, its: outputs.ToolArguments) -> list[Event]:
        self.logprobs.clear()
        return self.output.add_arguments(its.index, its.arguments)

    def _begun(self, _: outputs.Head) -> list[Event]:
        response = self.begun()
        return [_lifecycle("created", response), _lifecycle("in_progress", response)]

    def _waiting(self, _: outputs.Keepalive) -> list[Event]:
        """Return an event in place of a comment: the idle timers of some clients count a comment
        as silence."""
        return [_lifecycle("in_progress", self.begun())]

    def _finished(self, finish: outputs.Finish) -> list[Event]:
        refused = self.output.refused and finish.reason == "content_filter"
        if not refused:  # a refusal is an answer; one that was cut is none
            self._reason = INCOMPLETE.get(finish.reason)
        self._status = "completed" if self._reason is None else "incomplete"
        told = self.output.add_tokens(self.tokens())
        return [*told, *self.output.finish(self._status)]

    def _counted(self, totals: outputs.UsageTotals) -> list[Event]:
        self.totals = totals
        return []

    def _done(self, now: int) -> list[Event]:
        self.response = self._envelope.object(
            self._status,
            self.output.objects(),
            usage=usage_object(self.totals.usage),
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
    outputs.Reasoning: Answer._add_reasoning,
    outputs.ReasoningPart: lambda answer, _: answer.output.end_reasoning_part(),
    outputs.ReasoningDone: lambda answer, its: answer.output.end_reasoning(its.encrypted_content),
    outputs.MessageBegun: lambda answer, its: answer.output.begin_message(its.phase),
    outputs.MessageDone: lambda answer, its: answer.output.end_message(its.phase),
    outputs.Refusal: lambda answer, its: answer._add_text(its.text, "refusal"),
    outputs.Members: Answer._members,
    outputs.ToolCall: Answer._add_call,
    outputs.ToolArguments: Answer._add_arguments,
    outputs.ToolBlock: lambda answer, its: answer._add_text(answer._blocks.text(its)),
    outputs.Finish: Answer._finished,
    outputs.UsageTotals: Answer._counted,
    outputs.Keepalive: Answer._waiting,
    outputs.Failure: Answer._failed,
}
"""The method that makes the events of each output; any other output has none."""


def _lifecycle(name: str, response: dict[str, Any]) -> Event:
    return {"type": f"response.{name}", "response": response}
