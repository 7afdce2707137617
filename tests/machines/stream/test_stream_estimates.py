"""A turn that was cut here has an estimate for counts, and never both."""

import pytest

from machines import events
from machines.events import (
    TextDelta,
    TimerFired,
    TokensCounted,
    TokensEstimated,
    TurnFailed,
    TurnFinished,
    Usage,
)
from machines.outputs import CancelTurn, Content, Done, Finish, Head, Role, UsageTotals
from machines.stream import choices
from tests.support.machines.playbook import Playbook, opened

COUNTS = Usage(20, 5, 3, 1)
ESTIMATE = Usage(11, 4, 0, 2)


def cut(**options: object) -> Playbook:
    """A stream whose first choice was cut after its first letter."""
    book = Playbook(opened(prompt_bytes=44, stop=("#",), **options)) >> TextDelta("a#b") << Head()
    for choice in range(book.stream.opened.n):
        book <<= Role(choice)
    return book << Content("a") << CancelTurn() << Finish("stop")


@pytest.mark.parametrize("streaming", [True, False])
def test_a_cut_waits_for_its_estimate_whoever_wants_usage(streaming: bool) -> None:
    book = cut(streaming=streaming)
    assert book
    assert book.stream.kind is None
    assert choices.without_counts(book.stream.choices) == [0]
    book >>= TokensEstimated(ESTIMATE)
    if not streaming:
        book <<= UsageTotals(ESTIMATE, "estimated")
    assert book << Done()
    assert (book.stream.kind, book.stream.emission_trigger) == ("completed", "text_delta")
    assert book.stream.totals == UsageTotals(ESTIMATE, "estimated")


def test_nothing_is_estimated_for_a_log_that_has_no_size_of_its_prompt() -> None:
    assert (
        Playbook(opened(stop=("#",), include_usage=True))
        >> TextDelta("#")
        << Head()
        << Role()
        << CancelTurn()
        << Finish("stop")
        << UsageTotals(None)
        << Done()
    )


@pytest.mark.parametrize(
    ("event", "fields", "kind", "trigger"),
    [
        (TimerFired("truncate"), {"streaming": False}, "truncated", "timer_fired"),
        (
            TurnFailed("worker_lost", "worker_exited", "Gone."),
            {"include_usage": True, "length_on_worker_exit": True},
            "truncated",
            "turn_failed",
        ),
        (
            TurnFinished("length", cut_short=True),
            {"include_usage": True},
            "completed",
            "turn_finished",
        ),
    ],
)
def test_every_cut_is_estimated(
    event: events.StreamInput, fields: dict[str, bool], kind: str, trigger: str
) -> None:
    book = Playbook(opened(prompt_bytes=44, **fields)) >> TextDelta("a") << Head() << Role()
    book = book << Content("a") >> event
    if not isinstance(event, TurnFinished):
        book <<= CancelTurn()
    book = book << Finish("length") >> TokensEstimated(ESTIMATE)
    assert book << UsageTotals(ESTIMATE, "estimated") << Done()
    assert (book.stream.kind, book.stream.emission_trigger) == (kind, trigger)


def test_counts_that_were_known_before_the_cut_stand() -> None:
    assert (
        Playbook(opened(prompt_bytes=44, stop=("#",), include_usage=True))
        >> TokensCounted(COUNTS)
        >> TextDelta("#")
        << Head()
        << Role()
        << CancelTurn()
        << Finish("stop")
        << UsageTotals(COUNTS)
        << Done()
    )


@pytest.mark.parametrize("estimated", [True, False], ids=["after", "instead"])
def test_counts_of_the_worker_replace_an_estimate(estimated: bool) -> None:
    book = cut(n=2, include_usage=True)
    if estimated:
        book >>= TokensEstimated(ESTIMATE)
    assert (
        book
        >> TurnFinished("stop", 1)
        << Finish("stop", 1)
        >> TokensCounted(COUNTS, 0)
        >> TokensEstimated(ESTIMATE, 0)
        >> TokensCounted(Usage(20, 0, 3), 1)
        << UsageTotals(COUNTS)
        << Done()
    )


def test_a_prompt_that_a_worker_counted_is_not_estimated() -> None:
    book = cut(n=2, include_usage=True) >> TokensEstimated(Usage(99, 4, 0, 2))
    book = book >> TokensCounted(COUNTS, 1) >> TurnFinished("stop", 1) << Finish("stop", 1)
    assert book << UsageTotals(Usage(20, 9, 3, 3), "estimated") << Done()


def test_all_choices_are_estimated_with_one_prompt() -> None:
    book = cut(n=2, include_usage=True) >> TokensEstimated(ESTIMATE, 0) >> TextDelta("#", 1)
    book = book << CancelTurn(1) << Finish("stop", 1) >> TokensEstimated(ESTIMATE, 1)
    assert book << UsageTotals(Usage(11, 8, 0, 4), "estimated") << Done()


def test_a_choice_that_was_not_cut_is_never_estimated() -> None:
    book = cut(n=2, include_usage=True) >> TokensEstimated(ESTIMATE, 0)
    book = book >> TurnFinished("stop", 1) << Finish("stop", 1) >> TokensEstimated(ESTIMATE, 1)
    assert book >> TimerFired("finish_grace") << UsageTotals(None) << Done()
