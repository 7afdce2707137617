"""Reads what a Responses stream sends, strictly, and folds it as its clients do.

Items and parts must begin before anything is told of them, grow until they end, and end once; they
are numbered from 0 in the order in which they begin.
"""

import copy
import functools
import json
import re
from collections.abc import Callable
from typing import Any, Final, NamedTuple, get_args

import pydantic
from openai.types.responses import ResponseStreamEvent

Event = dict[str, Any]

_MESSAGE: Final = re.compile(r"event: (?P<event>[^\n]+)\ndata: (?P<data>[^\n]+)")

TERMINAL: Final = frozenset({"response.completed", "response.incomplete", "response.failed"})
"""Types of the events that end a stream; an `error` comes before the last of them."""


def events(body: bytes) -> list[Event]:
    """The events of a stream, or of a part of one; comments are left out.

    Each must be one `event:` line, one `data:` line and a blank line; the sentinel is
    `{"done": True}`, and the last.
    """
    found: list[Event] = []
    messages = body.decode("utf-8").split("\n\n")
    assert messages.pop() == "", "the body does not end with a blank line"
    for message in messages:
        assert found[-1:] != [{"done": True}], "something after the sentinel"
        if message.startswith(": "):
            assert "\n" not in message
        elif message == "data: [DONE]":
            found.append({"done": True})
        else:
            lines = _MESSAGE.fullmatch(message)
            assert lines is not None, message
            found.append(json.loads(lines["data"]))
            assert found[-1]["type"] == lines["event"]
    return found


def whole(body: bytes) -> list[Event]:
    """The events of a stream that has come to its end, without the sentinel."""
    *found, last = events(body)
    assert last == {"done": True}
    assert [event["sequence_number"] for event in found] == list(range(len(found)))
    ends = [event["type"] for event in found if event["type"] in TERMINAL]
    assert ends == [found[-1]["type"]]
    errors = [index for index, event in enumerate(found) if event["type"] == "error"]
    failed = found[-1]["response"]["status"] == "failed"
    assert errors == ([len(found) - 2] if failed else [])
    return found


@functools.cache
def _models() -> dict[str, pydantic.TypeAdapter[Any]]:
    """What the SDK takes for each type of event."""
    union = get_args(ResponseStreamEvent)[0]
    return {
        get_args(model.model_fields["type"].annotation)[0]: pydantic.TypeAdapter(model)
        for model in get_args(union)
    }


def typed(event: Event) -> Any:
    """An event as the SDK has it, which must know it, and every member of the type it says."""
    return _models()[event["type"]].validate_json(json.dumps(event), strict=True)


def check_types(told: list[Event]) -> None:
    """The SDK takes every event."""
    for event in told:
        typed(event)


class Folded(NamedTuple):
    """What a client makes of a stream.

    Attributes:
        begun: the response as it began.
        deltas: the items as their deltas add up.
        done: the items that ended, as they then were.
        response: as the last event has it.
    """

    begun: Event
    deltas: list[Event]
    done: dict[int, Event]
    response: Event


def fold(told: list[Event]) -> Folded:
    """The items that a whole stream tells of."""
    folding = _Folding()
    begun = told[0]["response"]
    assert [event["type"] for event in told[:2]] == ["response.created", "response.in_progress"]
    for event in told[2:]:
        if event["type"] == "response.in_progress":
            assert event["response"] == begun, "a heartbeat tells of another response"
        elif event["type"] not in TERMINAL and event["type"] != "error":
            folding.take(event)
    response = told[-1]["response"]
    assert response["id"] == begun["id"]
    return Folded(begun, folding.items, folding.done, response)


class _Folding:
    """Items while they grow."""

    def __init__(self) -> None:
        self.items: list[Event] = []
        self.done: dict[int, Event] = {}
        self._parts: dict[int, Event] = {}

    def take(self, event: Event) -> None:
        """Take one event of an item."""
        name = event["type"].removeprefix("response.")
        index = event["output_index"]
        if name == "output_item.added":
            assert index == len(self.items)
            self.items.append(copy.deepcopy(event["item"]))
            return
        assert index < len(self.items), "the item has not begun"
        assert index not in self.done, "the item has ended"
        item = self.items[index]
        assert event.get("item_id", item["id"]) == item["id"]
        _TAKES[name](self, event, item)

    def ended(self, event: Event, item: Event) -> None:
        """An item ends."""
        index, whole = event["output_index"], event["item"]
        assert index not in self._parts, "a part of the item has not ended"
        assert whole["id"] == item["id"]
        self.done[index] = whole
        for late in ("status", "encrypted_content", "phase"):  # no delta tells of these
            if late in whole:
                item[late] = whole[late]

    def part_added(self, event: Event, item: Event) -> None:
        """A part begins."""
        index = event["output_index"]
        assert index not in self._parts, "two parts of an item at once"
        of = "summary" if "summary_index" in event else "content"
        parts = item.setdefault(of, [])
        assert event[f"{of}_index"] == len(parts)
        parts.append(dict(event["part"]))
        self._parts[index] = {"part": parts[-1], "place": _place(event)}

    def part_delta(self, event: Event, _: Event) -> None:
        """A part grows."""
        part = self._open(event)
        part[_member(part)] += event["delta"]

    def text_done(self, event: Event, _: Event) -> None:
        """What a part was."""
        part = self._open(event)
        assert event[_member(part)] == part[_member(part)]

    def part_done(self, event: Event, _: Event) -> None:
        """A part ends."""
        assert self._open(event) == event["part"]
        del self._parts[event["output_index"]]

    def argued(self, event: Event, item: Event) -> None:
        """A call grows."""
        item["arguments"] += event["delta"]

    def arguments_done(self, event: Event, item: Event) -> None:
        """What a call was."""
        assert (event["arguments"], event["name"]) == (item["arguments"], item["name"])

    def _open(self, event: Event) -> Event:
        found = self._parts[event["output_index"]]
        assert found["place"] == _place(event)
        part: Event = found["part"]
        return part


_TAKES: Final[dict[str, Callable[[_Folding, Event, Event], None]]] = {
    "output_item.done": _Folding.ended,
    "content_part.added": _Folding.part_added,
    "reasoning_summary_part.added": _Folding.part_added,
    "output_text.delta": _Folding.part_delta,
    "refusal.delta": _Folding.part_delta,
    "reasoning_text.delta": _Folding.part_delta,
    "reasoning_summary_text.delta": _Folding.part_delta,
    "output_text.done": _Folding.text_done,
    "refusal.done": _Folding.text_done,
    "reasoning_text.done": _Folding.text_done,
    "reasoning_summary_text.done": _Folding.text_done,
    "content_part.done": _Folding.part_done,
    "reasoning_summary_part.done": _Folding.part_done,
    "function_call_arguments.delta": _Folding.argued,
    "function_call_arguments.done": _Folding.arguments_done,
}
"""What each event does to an item."""


def _place(event: Event) -> tuple[str, int]:
    of = "summary_index" if "summary_index" in event else "content_index"
    return of, event[of]


def _member(part: Event) -> str:
    return "refusal" if part["type"] == "refusal" else "text"
