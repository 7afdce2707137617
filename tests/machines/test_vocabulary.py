"""What records have in common: counts that add up, under the names that the events go by."""

import typing

from machines import events, vocabulary


def test_usage_adds_up() -> None:
    assert vocabulary.Usage(10, 5, cached_tokens=3, reasoning_tokens=1).total_tokens == 15


def test_events_have_the_same_words() -> None:
    assert events.Usage is vocabulary.Usage
    assert events.TimerName is vocabulary.TimerName
    fields = typing.get_type_hints(events.Terminal)
    assert fields["kind"] == vocabulary.TerminalKind
