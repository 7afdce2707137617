"""Limits that a feed keeps are those the machine would keep, for every split of the text."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, strategies as st

from engine.routing import limits
from engine.routing.limits import Limits
from machines import events
from machines.events import TextDelta, TokensCounted, TurnFailed, TurnFinished
from machines.stream import machine as stream
from tests.support.logs import logs

END: tuple[events.StreamInput, ...] = (TokensCounted(events.Usage(3, 4)), TurnFinished("stop"))


class Kept:
    """A feed that keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[events.StreamInput] = []

    def event(self, event: events.StreamInput) -> None:
        self.told.append(event)


def play(bounds: Limits, *said: events.StreamInput) -> tuple[list[events.StreamInput], list[int]]:
    """What comes through, and the choices that were cut."""
    kept, cut = Kept(), list[int]()
    feed = limits.limited(bounds, kept, cut.append)
    for event in said:
        feed.event(event)
    return kept.told, cut


def text_of(told: list[events.StreamInput]) -> str:
    return "".join(event.text for event in told if isinstance(event, TextDelta))


def test_without_limits_there_is_nothing_between() -> None:
    kept = Kept()
    assert limits.limited(limits.NONE, kept, lambda _: None) is kept


def test_a_cut_ends_the_choice_and_tells_first_that_its_turn_may_stop() -> None:
    told, cut = play(Limits(max_bytes=5), TextDelta("abc"), TextDelta("def"), TextDelta("g"), *END)
    cut_short = [TextDelta("abc"), TextDelta("de"), TurnFinished("length", cut_short=True)]
    assert (told, cut) == (cut_short, [0])


def test_each_choice_has_its_own() -> None:
    said = (TextDelta("ab", 0), TextDelta("abcd", 1), TextDelta("cd", 0))
    told, cut = play(Limits(max_bytes=4), *said, TurnFinished("stop", 0), TurnFinished("stop", 1))
    assert cut == []
    assert told == [*said, TurnFinished("stop", 0), TurnFinished("stop", 1)]


def test_what_is_held_comes_before_the_end_or_the_failure() -> None:
    failed = TurnFailed("worker_lost", "worker_exited", "gone")
    for last in (TurnFinished("stop"), failed):
        told, cut = play(Limits(stop=("END",)), TextDelta("a EN"), last)
        assert told == [TextDelta("a "), TextDelta("EN"), last]
        assert cut == []


def test_anything_else_passes() -> None:
    started, thought = events.ItemStarted("reasoning"), events.ReasoningDelta("END of it")
    assert play(Limits(stop=("END",)), started, thought)[0] == [started, thought]


def machine(opened: events.Opened, said: list[events.StreamInput]) -> list[Any]:
    """Content and finish as a stream has them."""
    its = stream.Stream(opened)
    outs = [output for event in said for output in its.step(event).outputs]
    text = "".join(output.text for output in outs if hasattr(output, "text"))
    return [text, [output.reason for output in outs if hasattr(output, "reason")]]


@given(
    st.lists(st.text("aEND é", max_size=4), max_size=8),
    st.none() | st.integers(1, 12),
    st.sampled_from([(), ("END",), ("aa", "E"), (" ",)]),
)
def test_it_cuts_where_the_machine_would(
    texts: list[str], most: int | None, stop: tuple[str, ...]
) -> None:
    said: list[events.StreamInput] = [*map(TextDelta, texts), *END]
    opened = logs.opened(stop=(), max_bytes=None, n=1)
    bounded = msgspec.structs.replace(opened, stop=stop, max_bytes=most)
    kept = play(Limits(stop, most), *said)[0]
    assert machine(opened, kept) == machine(bounded, said)


@pytest.mark.parametrize("end", [TurnFinished("stop"), TurnFailed("empty", "empty", "")])
def test_after_a_cut_nothing_comes(end: events.StreamInput) -> None:
    told, _ = play(Limits(max_bytes=1), TextDelta("ab"), TextDelta("c"), end)
    assert text_of(told) == "a"
    assert told[-1] == TurnFinished("length", cut_short=True)
