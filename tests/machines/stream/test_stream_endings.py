"""How a stream ends: what becomes of held text, which deadlines count, what may come too late."""

import pytest

from machines import events
from machines.events import (
    ClientGone,
    ReasoningDelta,
    ServerStopping,
    TextDelta,
    TimerFired,
    TokensCounted,
    TurnFailed,
    TurnFinished,
    Usage,
)
from machines.outputs import (
    CancelTurn,
    Content,
    Done,
    Failure,
    Finish,
    Head,
    Reasoning,
    Rejected,
    Role,
    UsageTotals,
)
from tests.support.machines.playbook import Playbook, opened

COUNTS = Usage(10, 5)

LOST = TurnFailed("worker_lost", "worker_exited", "Gone.")

NO_OUTPUT = Failure("request_timeout", "The model sent no output within the time limit.")
TOO_LONG = Failure("request_timeout", "The request took longer than the server allows.")
SILENCE = Failure(
    "idle_timeout", "The model stopped sending output before its answer was complete."
)
STOPPING = Failure("server_shutdown", "The server is stopping.")


def speaking(**options: object) -> Playbook:
    """A stream that has said `a` and holds back `#`, which may begin its stop sequence."""
    book = Playbook(opened(stop=("##",), **options))
    return book >> TextDelta("a#") << Head() << Role() << Content("a")


def holding(**options: object) -> Playbook:
    """A stream that has said nothing, because all of its text is held back."""
    return Playbook(opened(stop=("##",), **options)) >> TextDelta("#")


def test_held_text_goes_before_the_finish() -> None:
    assert speaking() >> TurnFinished("stop") << Content("#") << Finish("stop") << Done()
    assert (
        holding()
        >> TurnFinished("stop")
        << Head()
        << Role()
        << Content("#")
        << Finish("stop")
        << Done()
    )


def test_held_text_that_was_no_stop_sequence_goes_with_what_follows() -> None:
    assert speaking() >> TextDelta("b") << Content("#b") >> ClientGone("left")


def test_a_completed_stop_sequence_is_never_seen() -> None:
    book = (
        speaking(include_usage=True)
        >> TextDelta("#b")
        << CancelTurn()
        << Finish("stop")
        << UsageTotals(None)
        << Done()
    )
    assert book
    assert (book.stream.kind, book.stream.emission_trigger) == ("completed", "text_delta")


@pytest.mark.parametrize(
    ("event", "failure", "kind"),
    [
        (LOST, Failure("worker_exited", "Gone."), "worker_lost"),
        (TimerFired("idle"), SILENCE, "timeout"),
        (TimerFired("total"), TOO_LONG, "timeout"),
        (ServerStopping(), STOPPING, "shutdown"),
    ],
)
def test_held_text_goes_before_a_failure_that_the_client_sees_in_the_stream(
    event: events.StreamInput, failure: Failure, kind: str
) -> None:
    book = speaking() >> event << Content("#") << failure
    assert book
    assert book.stream.kind == kind


@pytest.mark.parametrize(
    ("event", "failure"),
    [
        (LOST, Failure("worker_exited", "Gone.")),
        (TimerFired("first_chunk"), NO_OUTPUT),
        (TimerFired("total"), TOO_LONG),
        (ServerStopping(), STOPPING),
    ],
)
def test_held_text_does_not_turn_an_http_error_into_a_broken_stream(
    event: events.StreamInput, failure: Failure
) -> None:
    assert holding() >> event << Rejected(failure)
    assert (
        holding()
        >> TimerFired("head_hold")
        << Head()
        >> event
        << Role()
        << Content("#")
        << failure
    )


def test_held_text_is_not_sent_to_a_client_that_has_gone() -> None:
    assert speaking() >> ClientGone("left")
    assert holding() >> ClientGone("left")


def test_a_truncated_answer_keeps_its_held_text() -> None:
    book = (
        speaking(streaming=False)
        >> TimerFired("truncate")
        << Content("#")
        << CancelTurn()
        << Finish("length")
        << UsageTotals(None)
        << Done()
    )
    assert book
    assert (book.stream.kind, book.stream.emission_trigger) == ("truncated", "timer_fired")


def test_held_text_of_every_choice_goes_before_their_failure() -> None:
    assert (
        Playbook(opened(n=2, stop=("##",)))
        >> TextDelta("a#", 0)
        << Head()
        << Role(0)
        << Role(1)
        << Content("a", 0)
        >> TextDelta("#", 1)
        >> LOST
        << Content("#", 0)
        << Content("#", 1)
        << Failure("worker_exited", "Gone.")
    )


def test_thinking_does_not_wait_for_held_text() -> None:
    assert (
        holding()
        >> ReasoningDelta("hm")
        << Head()
        << Role()
        << Reasoning("hm")
        >> TextDelta("b")
        << Content("#b")
        >> ClientGone("left")
    )


def test_an_answer_over_its_budget_is_cut_at_a_code_point() -> None:
    book = (
        Playbook(opened(max_bytes=4, include_usage=True))
        >> TextDelta("漢")
        << Head()
        << Role()
        << Content("漢")
        >> TextDelta("字")
        << CancelTurn()
        << Finish("length")
        << UsageTotals(None)
        << Done()
        >> TextDelta("late")
        >> TokensCounted(COUNTS)
        >> LOST
    )
    assert book
    assert book.stream.kind == "completed"


def test_held_text_over_the_budget_is_cut_when_the_worker_has_finished() -> None:
    assert (
        Playbook(opened(max_bytes=2, stop=("##!",), include_usage=True))
        >> TextDelta("a##")
        << Head()
        << Role()
        << Content("a")
        >> TokensCounted(COUNTS)
        >> TurnFinished("stop")
        << Content("#")
        << Finish("length")
        << UsageTotals(COUNTS)
        << Done()
    )


def test_an_answer_of_a_lost_worker_may_count_as_truncated() -> None:
    book = (
        speaking(length_on_worker_exit=True, include_usage=True)
        >> LOST
        << Content("#")
        << CancelTurn()
        << Finish("length")
        << UsageTotals(None)
        << Done()
    )
    assert book
    assert (book.stream.kind, book.stream.emission_trigger) == ("truncated", "turn_failed")


@pytest.mark.parametrize(
    "event",
    [
        TurnFailed("upstream_error", "upstream_error", "No."),
        TurnFailed("timeout", "request_timeout", "No."),
    ],
)
def test_only_a_lost_worker_counts_as_truncated(event: TurnFailed) -> None:
    book = speaking(length_on_worker_exit=True) >> event
    assert book << Content("#") << Failure(event.code, "No.")


@pytest.mark.parametrize("held", [True, False])
def test_a_lost_worker_that_never_spoke_is_a_failure(held: bool) -> None:
    book = Playbook(opened(length_on_worker_exit=True))
    if not held:
        book >>= TimerFired("head_hold")
        book <<= Head()
    failure = Failure("worker_exited", "Gone.")
    assert book >> LOST << (Rejected(failure) if held else failure)


def test_a_lost_worker_truncates_every_choice_that_is_open() -> None:
    book = (
        Playbook(opened(n=3, length_on_worker_exit=True, include_usage=True))
        >> TextDelta("a", 0)
        << Head()
        << Role(0)
        << Role(1)
        << Role(2)
        << Content("a", 0)
        >> TurnFinished("stop", 1)
        << Finish("stop", 1)
        >> LOST
        << CancelTurn(0)
        << Finish("length", 0)
        << CancelTurn(2)
        << Finish("length", 2)
    )
    assert book
    assert book.stream.kind is None, "the counts of choice 1 are still waited for"
    assert book >> TokensCounted(COUNTS, 1) << UsageTotals(None) << Done()
    assert book.stream.kind == "truncated"


def test_an_answer_can_be_truncated_before_its_first_word() -> None:
    assert (
        Playbook(opened(streaming=False))
        >> TimerFired("truncate")
        << Head()
        << Role()
        << CancelTurn()
        << Finish("length")
        << UsageTotals(None)
        << Done()
    )


def test_the_first_chunk_may_be_late_before_and_after_the_head_but_not_after_text() -> None:
    assert Playbook(opened()) >> TimerFired("first_chunk") << Rejected(NO_OUTPUT)
    role = Playbook(opened()) >> TimerFired("head_hold") << Head()
    assert role >> TimerFired("first_chunk") << NO_OUTPUT
    assert speaking() >> TimerFired("first_chunk") >> ClientGone("left")


def test_silence_counts_only_once_there_was_output() -> None:
    book = Playbook(opened()) >> TimerFired("idle")
    assert book >> TextDelta("x") << Head() << Role() << Content("x")
    assert book >> TimerFired("idle") << SILENCE


def test_a_deadline_that_passes_after_the_finish_fails_nothing() -> None:
    assert (
        Playbook(opened(include_usage=True))
        >> TurnFinished("stop")
        << Head()
        << Role()
        << Finish("stop")
        >> TimerFired("first_chunk")
        >> TimerFired("idle")
        >> TimerFired("total")
        >> TimerFired("truncate")
        >> TokensCounted(COUNTS)
        << UsageTotals(COUNTS)
        << Done()
    )


def test_one_silent_choice_of_two_fails_both() -> None:
    assert (
        Playbook(opened(n=2))
        >> TurnFinished("stop", 0)
        << Head()
        << Role(0)
        << Role(1)
        << Finish("stop", 0)
        >> TimerFired("idle")
        << SILENCE
    )
