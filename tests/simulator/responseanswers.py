"""Reads what a client got from `/v1/responses`, as `answers` reads chat completions.

It comes to the same: one choice with its text, its reasoning and its calls. So those who judge an
answer by what a worker said need not know which endpoint it is from.
"""

from typing import Any, Final

import msgspec

from tests.simulator import answers
from tests.simulator.answers import Broken, Choice, Heard, Json

ENDS: Final = ("response.completed", "response.incomplete", "response.failed")
"""Events that hold the response as it ended."""

DELTAS: Final = {
    "response.output_text.delta": "content",
    "response.refusal.delta": "refusal",
    "response.reasoning_text.delta": "reasoning",
    "response.reasoning_summary_text.delta": "reasoning",
}
"""Events that add to a choice, and what they add to."""


def body(answer: answers.Answer) -> Heard:
    """What a whole JSON answer says."""
    found: Json = msgspec.json.decode(answer.body)
    if "object" not in found:
        return Heard([], error=answers.error_of(found) or "", frames=1)
    heard = Heard([Choice()], frames=1, usage_mark=answer.headers.get("x-turntape-usage"))
    _ended(heard, found)
    _fill(heard.choices[0], found["output"])
    return heard


def stream(data: bytes, whole: bool) -> Heard:
    """What an event stream says; the last event of one that is not whole may be cut."""
    *messages, rest = data.split(b"\n\n")
    if whole and rest:
        raise Broken(f"the body ends with {rest[:80]!r}")
    reading = _Events()
    for message in messages:
        reading.take(message)
    return reading.heard


class _Events:
    """Follows the events of one response."""

    def __init__(self) -> None:
        self.heard = Heard([Choice()])
        self._response: Json | None = None
        self._number = 0
        self._over = False
        self._comments: set[str] = set()

    def take(self, message: bytes) -> None:
        if self._over:
            raise Broken(f"something after the end: {message[:80]!r}")
        if message.startswith(b": "):
            self.heard.comments += 1
            self.heard.usage_mark = answers.usage_mark(message) or self.heard.usage_mark
            return
        self.heard.frames += 1
        if message == b"data: [DONE]":
            self._end()
            return
        first, _, second = message.partition(b"\ndata: ")
        event = msgspec.json.decode(second)
        number = event["sequence_number"]
        if event["type"] == "error" and event["code"] == "internal_error":
            self._number = max(self._number, number)  # what a bug took along was counted
        if first.decode() != f"event: {event['type']}" or number != self._number:
            raise Broken(f"{first!r} with {event['type']} as number {self._number}")
        self._number += 1
        self._event(event)

    def _event(self, event: Json) -> None:
        kind = event["type"]
        if self._response is not None:
            raise Broken(f"{kind} after the response's end")
        if kind in ENDS:
            self._response = event["response"]
        elif kind == "error":
            self.heard.error = event["code"]
        elif kind == "response.output_item.added" and _is_comment(event["item"]):
            self._comments.add(event["item"]["id"])
        elif kind in DELTAS:
            choice, name = self.heard.choices[0], DELTAS[kind]
            if event["item_id"] in self._comments:
                name = "reasoning"
            setattr(choice, name, getattr(choice, name) + event["delta"])

    def _end(self) -> None:
        self._over = True
        if self._response is None:
            raise Broken("[DONE] without a response")
        error = self.heard.error
        _ended(self.heard, self._response)
        if self.heard.error is not None:
            self.heard.error = error
        whole = Choice(finish=self.heard.choices[0].finish)
        _fill(whole, self._response["output"])
        told = self.heard.choices[0]
        said = (told.content, told.refusal, told.reasoning)
        lost = error == "internal_error"  # a bug may have taken along what was on its way
        if said != (whole.content, whole.refusal, whole.reasoning) and not lost:
            raise Broken(f"{said} was told, the response is {whole}")
        told.calls, told.finish = whole.calls, whole.finish


def _is_comment(item: Json) -> bool:
    """Whether an item is a message that belongs to the thinking."""
    return item.get("phase") == "commentary"


def _ended(heard: Heard, response: Json) -> None:
    """What the status of a response says."""
    choice = heard.choices[0]
    match response["status"]:
        case "completed":
            heard.done, choice.finish = True, "stop"
        case "incomplete":
            heard.done = True
            reason = response["incomplete_details"]["reason"]
            choice.finish = "length" if reason == "max_output_tokens" else reason
        case _:
            heard.error = response["error"]["code"]
    usage = response["usage"]
    if usage is not None:
        heard.usage = {
            "prompt_tokens": usage["input_tokens"],
            "completion_tokens": usage["output_tokens"],
            "total_tokens": usage["total_tokens"],
        }


def _fill(choice: Choice, output: list[Any]) -> None:
    """What the items of a response come to."""
    for item in output:
        match item["type"]:
            case "message":
                if _is_comment(item):
                    choice.reasoning += "".join(part["text"] for part in item["content"])
                    continue
                for part in item["content"]:
                    choice.content += part.get("text", "")
                    choice.refusal += part.get("refusal", "")
            case "reasoning":
                for part in (*item["summary"], *(item.get("content") or ())):
                    choice.reasoning += part["text"]
            case "function_call":
                choice.calls.append((item["call_id"], item["name"], item["arguments"]))
    if choice.finish == "stop" and choice.calls:
        choice.finish = "tool_calls"
