"""The vocabulary of the log: every event has one name, and survives being written and read."""

import typing

import msgspec
import pytest

from machines import events

COUNTS = events.Usage(10, 5, cached_tokens=3, reasoning_tokens=1)

EXAMPLES: dict[str, events.StreamInput] = {
    '{"event":"text_delta","text":"漢"}': events.TextDelta("漢"),
    '{"event":"reasoning_delta","text":"hm","choice":1}': events.ReasoningDelta("hm", 1),
    '{"event":"turn_finished","reason":"stop"}': events.TurnFinished("stop"),
    (
        '{"event":"tokens_counted","usage":{"prompt_tokens":10,"completion_tokens":5,'
        '"cached_tokens":3,"reasoning_tokens":1}}'
    ): events.TokensCounted(COUNTS),
    (
        '{"event":"turn_failed","kind":"upstream_error","code":"upstream_error","message":"no",'
        '"status":502,"retry_after":1.5}'
    ): events.TurnFailed("upstream_error", "upstream_error", "no", status=502, retry_after=1.5),
    '{"event":"timer_fired","timer":"idle"}': events.TimerFired("idle"),
    '{"event":"client_gone","cause":"left"}': events.ClientGone("left"),
    '{"event":"server_stopping"}': events.ServerStopping(),
}
"""What a log of this schema version holds; a change here needs another version."""


def test_usage_adds_up() -> None:
    assert COUNTS.total_tokens == 15


@pytest.mark.parametrize("written", EXAMPLES)
def test_an_event_is_written_and_read_as_it_always_was(written: str) -> None:
    assert msgspec.json.encode(EXAMPLES[written]).decode() == written
    assert msgspec.json.decode(written, type=events.StreamInput) == EXAMPLES[written]


def test_every_event_and_output_is_in_its_union_under_a_name_of_its_own() -> None:
    inputs = set(typing.get_args(events.StreamInput))
    assert inputs | {events.Opened, events.Terminal} == set(events.StreamEvent.__subclasses__())
    assert set(typing.get_args(events.AnyOutput)) == set(events.Output.__subclasses__())
    for base in (events.StreamEvent, events.Output):
        tags = [found.__struct_config__.tag for found in base.__subclasses__()]
        assert len(tags) == len(set(tags))


def test_what_happened_cannot_be_changed() -> None:
    for found in (*events.StreamEvent.__subclasses__(), *events.Output.__subclasses__()):
        assert found.__struct_config__.frozen
