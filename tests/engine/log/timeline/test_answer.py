"""What a client got: its calls, whole or not, and how much text."""

from pathlib import Path
from typing import Any

import pytest

from engine.log.timeline import timeline
from machines import events, tooloptions
from tests.support.logs import told

FINISHED = events.TurnFinished("stop")
CALLED = events.ToolCalled("call_1", "look", '{"a":1}')


def fates(found: timeline.Timeline) -> list[tuple[str, str, int, bool | None]]:
    """Name, fate, size and whether it parses, of each call."""
    return [(call.name, call.fate, call.size, call.parses) for call in found.calls]


def test_a_whole_call_goes_out_with_its_step(tmp_path: Path) -> None:
    found = told.told(tmp_path, (1, CALLED), (2, FINISHED))
    assert fates(found) == [("look", "sent", 7, True)]


def test_a_call_of_a_step_that_broke_off_never_went_out(tmp_path: Path) -> None:
    failed = events.TurnFailed("upstream_error", "upstream_disconnected", "No.")
    found = told.told(tmp_path / "a", (1, CALLED), (2, failed))
    assert fates(found) == [("look", "unfinished", 7, True)]
    dropped = events.ToolCallDropped("call_1", "look")
    found = told.told(tmp_path / "b", (1, dropped), (2, failed))
    assert [fate for _, fate, *_ in fates(found)] == ["dropped"]


def test_a_call_that_its_fragments_leave_open_is_unfinished(tmp_path: Path) -> None:
    begun = events.ToolCallDelta(0, "call_1", "look", '{"a":')
    found = told.told(tmp_path, (1, begun), (2, events.ClientGone("left")))
    assert [(name, fate, parses) for name, fate, _, parses in fates(found)] == [
        ("look", "unfinished", False)
    ]


def test_fragments_are_joined_as_the_client_got_them(tmp_path: Path) -> None:
    pieces = [
        events.ToolCallDelta(0, "call_1", "look", '{"a":'),
        events.ToolCallDelta(1, "call_2", "see", "{}"),
        events.ToolCallDelta(0, arguments='"é"}'),
    ]
    happened = [(1 + n, piece) for n, piece in enumerate(pieces)]
    found = told.told(tmp_path, *happened, (9, events.TurnFinished("tool_calls")))
    assert fates(found) == [("look", "sent", 10, True), ("see", "sent", 2, True)]


def test_a_call_over_the_limit_is_withheld(tmp_path: Path) -> None:
    options = tooloptions.ToolOptions(max_calls=1)
    second = events.ToolCalled("call_2", "see", "{}")
    found = told.told(tmp_path, (1, CALLED), (2, second), (3, FINISHED), tools=options)
    assert [(name, fate) for name, fate, *_ in fates(found)] == [
        ("look", "sent"),
        ("see", "withheld"),
    ]
    assert "1 call was withheld by the server's limits." in found.evidence


def test_a_call_that_a_limit_of_tokens_cut_is_unfinished(tmp_path: Path) -> None:
    pieces = [events.ToolCallDelta(0, "call_1", "look", '{"a":'), events.TurnFinished("length")]
    counted = events.TokensCounted(events.Usage(1, 2))
    for content in ("full", "masked"):
        happened = [(1 + n, piece) for n, piece in enumerate([*pieces, counted])]
        found = told.told(tmp_path / content, *happened, content=content)
        assert [(call.name, call.fate) for call in found.calls] == [("look", "unfinished")]
        assert "1 call was cut off, with half of the arguments: look." in found.evidence
        assert "finish `length`" in found.verdict


@pytest.mark.parametrize(
    ("arguments", "parses"), [("{}", True), ("[1]", False), ('{"a":', False), ("", True)]
)
def test_whether_arguments_are_an_object(tmp_path: Path, arguments: str, parses: bool) -> None:
    found = told.told(tmp_path, (1, events.ToolCalled("c", "look", arguments)), (2, FINISHED))
    assert [call.parses for call in found.calls] == [parses]


@pytest.mark.parametrize("content", ["full", "masked"])
def test_a_block_in_a_text_is_a_call(tmp_path: Path, content: str) -> None:
    block = "<use_tool><name>look</name><a>1</a></use_tool>"
    options: dict[str, Any] = {"tools": tooloptions.ToolOptions(names=("look",))}
    happened = [(1, events.TextDelta(f"I look. {block}")), (2, FINISHED)]
    found = told.told(tmp_path, *happened, content=content, **options)
    (call,) = found.calls
    assert (call.name, call.fate) == ("look", "sent")
    assert call.size == (len(block) if content == "masked" else len('{"a":"1"}'))
    assert found.received.characters == len("I look. ")
