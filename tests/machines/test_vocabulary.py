"""What records have in common: counts that add up, under the names that the events go by."""

import typing

from machines import events, vocabulary


def test_usage_adds_up() -> None:
    assert vocabulary.Usage(10, 5, cached_tokens=3, reasoning_tokens=1).total_tokens == 15


def test_the_larger_of_two_counts_is_so_field_by_field_and_in_its_total() -> None:
    one, other = vocabulary.Usage(7, 2, 0, 5), vocabulary.Usage(6, 3, 1, 4)
    assert one.larger(other) == other.larger(one) == vocabulary.Usage(7, 3, 1, 5)
    told = vocabulary.Usage(9, 5).with_total(334)
    assert (told.total_tokens, told.other_tokens) == (334, 320)
    assert told.larger(vocabulary.Usage(9, 6)).total_tokens == 334
    assert vocabulary.Usage(9, 5).with_total(3).total_tokens == 14


def test_events_have_the_same_words() -> None:
    assert events.Usage is vocabulary.Usage
    assert events.TimerName is vocabulary.TimerName
    fields = typing.get_type_hints(events.Terminal)
    assert fields["kind"] == vocabulary.TerminalKind
