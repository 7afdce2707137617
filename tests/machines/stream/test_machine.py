"""One stream, told as playbooks: the rules of the wire for one choice and for several."""

import msgspec
import pytest

from machines import events
from machines.events import (
    BufferPressure,
    ChoiceMissing,
    ClientGone,
    ExtraMembers,
    ItemStarted,
    ReasoningDelta,
    RetryScheduled,
    RpcReplied,
    RpcSent,
    ServerStopping,
    TextDelta,
    TimerFired,
    TokensCounted,
    TurnFailed,
    TurnFinished,
    TurnStarted,
    Usage,
)
from machines.outputs import (
    CancelTurn,
    Content,
    Done,
    Failure,
    Finish,
    Head,
    Keepalive,
    Members,
    Reasoning,
    Rejected,
    Role,
    UsageTotals,
)
from tests.support.machines.playbook import Playbook, opened

COUNTS = Usage(10, 5, cached_tokens=3, reasoning_tokens=1)

LOST = TurnFailed("worker_lost", "worker_exited", "The worker's process ended.")

REFUSED = TurnFailed(
    "upstream_error", "context_length_exceeded", "Too long.", 0, 400, "messages", 2.5
)


def test_a_text_from_its_head_to_its_sentinel() -> None:
    book = (
        Playbook(opened())
        >> TextDelta("Hel")
        << Head()
        << Role()
        << Content("Hel")
        >> TextDelta("lo")
        << Content("lo")
        >> TurnFinished("stop")
        << Finish("stop")
        << Done()
    )
    assert book
    assert book.stream.ended
    assert book.stream.kind == "completed"
    assert book.stream.emission_trigger == "turn_finished"


def test_thinking_begins_an_answer_as_text_does() -> None:
    assert (
        Playbook(opened())
        >> ReasoningDelta("Hm")
        << Head()
        << Role()
        << Reasoning("Hm")
        >> ReasoningDelta("m.")
        << Reasoning("m.")
        >> TextDelta("42")
        << Content("42")
        >> ReasoningDelta("Sure.")
        << Reasoning("Sure.")
        >> TurnFinished("stop")
        << Finish("stop")
        << Done()
    )


def test_an_answer_without_a_word_is_whole_too() -> None:
    assert (
        Playbook(opened())
        >> TurnFinished("content_filter")
        << Head()
        << Role()
        << Finish("content_filter")
        << Done()
    )


def test_an_empty_delta_says_nothing() -> None:
    assert (
        Playbook(opened())
        >> TextDelta("")
        >> ReasoningDelta("")
        >> TextDelta("x")
        << Head()
        << Role()
        << Content("x")
        >> TextDelta("")
        >> ReasoningDelta("")
        >> TurnFinished("stop")
        << Finish("stop")
        << Done()
    )


def test_signs_of_life_do_not_release_the_head() -> None:
    book = (
        Playbook(opened())
        >> RpcSent("thread/start", 3)
        >> RpcReplied(3)
        >> TurnStarted("th_1", "tu_1")
        >> ItemStarted("reasoning")
        >> RetryScheduled(1, 500, "upstream_error")
    )
    assert book
    assert book >> TextDelta("x") << Head() << Role() << Content("x") >> BufferPressure(300_000)


@pytest.mark.parametrize(
    ("word", "reason", "kept"),
    [
        ("stop", "stop", None),
        ("length", "length", None),
        ("max_output_tokens", "length", "max_output_tokens"),
        ("safety", "content_filter", "safety"),
        ("banana", "stop", "banana"),
        ("", "stop", ""),
    ],
)
def test_a_finish_reason_is_canonical_and_the_workers_word_is_kept(
    word: str, reason: str, kept: str | None
) -> None:
    book = Playbook(opened()) >> TurnFinished(word) << Head() << Role() << Finish(reason) << Done()
    assert book
    assert book.stream.choices[0].reason == reason
    assert book.stream.choices[0].word == kept


def test_a_failure_before_the_head_is_all_there_is() -> None:
    book = (
        Playbook(opened())
        >> REFUSED
        << Rejected(Failure("context_length_exceeded", "Too long.", 400, "messages", 2.5))
    )
    assert book
    assert book.stream.kind == "upstream_error"
    assert book.stream.failure == Failure(
        "context_length_exceeded", "Too long.", 400, "messages", 2.5
    )


def test_every_failure_of_an_answer_that_is_not_streamed_is_all_there_is() -> None:
    book = Playbook(opened(streaming=False)) >> TextDelta("Hel") << Head() << Role()
    assert (
        book
        << Content("Hel")
        >> LOST
        << Rejected(Failure("worker_exited", "The worker's process ended."))
    )


def test_a_failure_after_content_is_the_last_thing_said() -> None:
    book = (
        Playbook(opened(include_usage=True))
        >> TextDelta("Hel")
        << Head()
        << Role()
        << Content("Hel")
        >> TokensCounted(COUNTS)
        >> LOST
        << Failure("worker_exited", "The worker's process ended.")
        >> TextDelta("lo")
        >> TurnFinished("stop")
        >> TokensCounted(COUNTS)
    )
    assert book
    assert book.stream.kind == "worker_lost"
    assert book.stream.totals.usage == COUNTS, "the log keeps what is known"


def test_the_head_goes_alone_when_the_hold_is_over_and_heartbeats_begin() -> None:
    assert (
        Playbook(opened())
        >> TimerFired("head_hold")
        << Head()
        >> TimerFired("heartbeat")
        << Keepalive()
        >> TimerFired("head_hold")
        >> TextDelta("x")
        << Role()
        << Content("x")
        >> TimerFired("heartbeat")
        << Keepalive()
        >> TurnFinished("stop")
        << Finish("stop")
        << Done()
        >> TimerFired("heartbeat")
    )


def test_the_head_of_several_choices_goes_once_and_heartbeats_begin() -> None:
    assert (
        Playbook(opened(n=2))
        >> TimerFired("head_hold")
        << Head()
        >> TimerFired("head_hold")
        >> TimerFired("heartbeat")
        << Keepalive()
        >> TextDelta("b", 1)
        << Role(0)
        << Role(1)
        << Content("b", 1)
        >> ClientGone("left")
    )


def test_a_failure_after_the_head_alone_has_no_role() -> None:
    assert (
        Playbook(opened())
        >> TimerFired("head_hold")
        << Head()
        >> REFUSED
        << Failure("context_length_exceeded", "Too long.", 400, "messages", 2.5)
    )


def test_usage_that_is_known_follows_the_finish_at_once() -> None:
    assert (
        Playbook(opened(include_usage=True))
        >> TextDelta("x")
        << Head()
        << Role()
        << Content("x")
        >> TokensCounted(COUNTS)
        >> TurnFinished("stop")
        << Finish("stop")
        << UsageTotals(COUNTS)
        << Done()
    )


def test_usage_that_comes_late_ends_the_answer() -> None:
    book = (
        Playbook(opened(include_usage=True))
        >> TurnFinished("stop")
        << Head()
        << Role()
        << Finish("stop")
        >> TimerFired("heartbeat")
        << Keepalive()
        >> ItemStarted("reasoning")
        >> TokensCounted(COUNTS)
        << UsageTotals(COUNTS)
        << Done()
    )
    assert book
    assert book.stream.emission_trigger == "tokens_counted"


def test_usage_nobody_asked_for_is_neither_shown_nor_waited_for() -> None:
    book = (
        Playbook(opened())
        >> TokensCounted(COUNTS)
        >> TurnFinished("stop")
        << Head()
        << Role()
        << Finish("stop")
        << Done()
    )
    assert book
    assert book.stream.totals.usage == COUNTS


def test_a_folded_answer_always_has_usage() -> None:
    assert (
        Playbook(opened(streaming=False))
        >> TurnFinished("stop")
        << Head()
        << Role()
        << Finish("stop")
        >> TokensCounted(COUNTS)
        << UsageTotals(COUNTS)
        << Done()
    )


def test_repeated_counts_are_a_maximum_not_a_sum() -> None:
    assert (
        Playbook(opened(include_usage=True))
        >> TokensCounted(Usage(10, 1, 4, 0))
        >> TokensCounted(Usage(9, 7, 0, 2))
        >> TurnFinished("stop")
        << Head()
        << Role()
        << Finish("stop")
        << UsageTotals(Usage(10, 7, 4, 2))
        << Done()
    )


def test_counts_that_will_never_come_are_not_waited_for() -> None:
    assert (
        Playbook(opened(include_usage=True))
        >> TokensCounted(None)
        >> TurnFinished("stop")
        << Head()
        << Role()
        << Finish("stop")
        << UsageTotals(None)
        << Done()
    )
    assert (
        Playbook(opened(include_usage=True))
        >> TokensCounted(COUNTS)
        >> TokensCounted(None)
        >> TurnFinished("stop")
        << Head()
        << Role()
        << Finish("stop")
        << UsageTotals(COUNTS)
        << Done()
    )


GIVE_UP: list[tuple[events.StreamInput, str]] = [
    (TimerFired("finish_grace"), "timer_fired"),
    (LOST, "turn_failed"),
    (ServerStopping(), "server_stopping"),
]


@pytest.mark.parametrize(("event", "trigger"), GIVE_UP)
def test_after_the_finish_nothing_but_the_counts_can_be_lost(
    event: events.StreamInput, trigger: str
) -> None:
    book = (
        Playbook(opened(include_usage=True))
        >> TurnFinished("stop")
        << Head()
        << Role()
        << Finish("stop")
        >> event
        << UsageTotals(None)
        << Done()
    )
    assert book
    assert book.stream.kind == "completed"
    assert book.stream.emission_trigger == trigger
    assert book.stream.failure is None


def test_a_second_finish_and_text_after_it_are_ignored() -> None:
    assert (
        Playbook(opened(include_usage=True))
        >> TurnFinished("length")
        << Head()
        << Role()
        << Finish("length")
        >> TextDelta("more")
        >> ReasoningDelta("more")
        >> TurnFinished("stop")
        >> TokensCounted(COUNTS)
        << UsageTotals(COUNTS)
        << Done()
    )


@pytest.mark.parametrize("cause", ["left", "write_stall"])
def test_nothing_is_said_to_a_client_that_has_gone(cause: events.GoneCause) -> None:
    book = (
        Playbook(opened())
        >> TextDelta("x")
        << Head()
        << Role()
        << Content("x")
        >> ClientGone(cause)
        >> TextDelta("y")
        >> TurnFinished("stop")
        >> LOST
    )
    assert book
    assert (book.stream.kind, book.stream.cause) == ("client_gone", cause)
    assert book.stream.emission_trigger == "client_gone"


def test_every_role_goes_out_before_anything_else() -> None:
    assert (
        Playbook(opened(n=3))
        >> TextDelta("b", 1)
        << Head()
        << Role(0)
        << Role(1)
        << Role(2)
        << Content("b", 1)
        >> TextDelta("a", 0)
        << Content("a", 0)
        >> TurnFinished("stop", 1)
        << Finish("stop", 1)
        >> ReasoningDelta("c", 2)
        << Reasoning("c", 2)
        >> TurnFinished("length", 2)
        << Finish("length", 2)
        >> TurnFinished("stop", 0)
        << Finish("stop", 0)
        << Done()
    )


def test_usage_of_several_choices_counts_the_prompt_once_after_the_last_finish() -> None:
    assert (
        Playbook(opened(n=2, include_usage=True))
        >> TokensCounted(Usage(10, 5, 3, 1), 0)
        >> TurnFinished("stop", 0)
        << Head()
        << Role(0)
        << Role(1)
        << Finish("stop", 0)
        >> TurnFinished("stop", 1)
        << Finish("stop", 1)
        >> TokensCounted(Usage(10, 7, 8, 2), 1)
        << UsageTotals(Usage(10, 12, 8, 3))
        << Done()
    )


def test_one_failure_ends_every_choice() -> None:
    book = (
        Playbook(opened(n=2))
        >> TextDelta("a", 0)
        << Head()
        << Role(0)
        << Role(1)
        << Content("a", 0)
        >> TurnFinished("stop", 0)
        << Finish("stop", 0)
        >> TurnFailed("upstream_error", "upstream_error", "No.", 1)
        << Failure("upstream_error", "No.")
        >> TextDelta("b", 1)
    )
    assert book
    assert [choice.state for choice in book.stream.choices] == ["failed", "failed"]


def test_one_choice_is_cut_while_the_other_goes_on() -> None:
    book = (
        Playbook(opened(n=2, stop=("##",)))
        >> TextDelta("a##b", 0)
        << Head()
        << Role(0)
        << Role(1)
        << Content("a", 0)
        << CancelTurn(0)
        << Finish("stop", 0)
        >> TextDelta("late", 0)
        >> TurnFailed("upstream_error", "upstream_error", "The worker interrupted the turn.", 0)
        >> TextDelta("c", 1)
        << Content("c", 1)
        >> TurnFinished("length", 1)
        << Finish("length", 1)
        << Done()
    )
    assert book
    assert book.stream.kind == "completed"


def test_a_choice_that_was_cut_leaves_the_sum_unknown() -> None:
    assert (
        Playbook(opened(n=2, stop=("#",), include_usage=True))
        >> TextDelta("#", 0)
        << Head()
        << Role(0)
        << Role(1)
        << CancelTurn(0)
        << Finish("stop", 0)
        >> TokensCounted(COUNTS, 0)
        >> TokensCounted(COUNTS, 1)
        >> TurnFinished("stop", 1)
        << Finish("stop", 1)
        << UsageTotals(None)
        << Done()
    )


def test_the_grace_of_one_choice_does_not_begin_while_another_speaks() -> None:
    assert (
        Playbook(opened(n=2, include_usage=True))
        >> TurnFinished("stop", 0)
        << Head()
        << Role(0)
        << Role(1)
        << Finish("stop", 0)
        >> TimerFired("finish_grace")
        >> TextDelta("b", 1)
        << Content("b", 1)
        >> TokensCounted(Usage(10, 1), 1)
        >> TurnFinished("stop", 1)
        << Finish("stop", 1)
        >> TokensCounted(Usage(10, 2), 0)
        << UsageTotals(Usage(10, 3))
        << Done()
    )


def test_a_choice_whose_counts_are_lost_does_not_lose_anothers() -> None:
    assert (
        Playbook(opened(n=2, include_usage=True))
        >> TurnFinished("stop", 0)
        << Head()
        << Role(0)
        << Role(1)
        << Finish("stop", 0)
        >> TurnFinished("stop", 1)
        << Finish("stop", 1)
        >> TurnFailed("worker_lost", "worker_exited", "Gone.", 1)
        >> TokensCounted(COUNTS, 0)
        << UsageTotals(None)
        << Done()
    )


def test_a_client_of_several_choices_leaves_them_all() -> None:
    book = (
        Playbook(opened(n=2, include_usage=True))
        >> TurnFinished("stop", 0)
        << Head()
        << Role(0)
        << Role(1)
        << Finish("stop", 0)
        >> ClientGone("left")
    )
    assert book
    assert [choice.state for choice in book.stream.choices] == ["abandoned", "abandoned"]


MEMBERS = msgspec.Raw(b'{"a":1}')


def test_k41_a_choice_that_never_came_has_a_role_and_no_finish() -> None:
    book = (
        Playbook(opened(n=3, include_usage=True))
        >> TextDelta("a", 1)
        << Head()
        << Role(0)
        << Role(1)
        << Role(2)
        << Content("a", 1)
        >> ReasoningDelta("c", 0)
        << Reasoning("c", 0)
        >> TokensCounted(COUNTS, 0)
        >> TokensCounted(Usage(10, 0), 1)
        >> TokensCounted(Usage(10, 0), 2)
        >> TurnFinished("stop", 0)
        << Finish("stop", 0)
        >> TurnFinished("stop", 1)
        << Finish("stop", 1)
        >> ChoiceMissing(2)
        << UsageTotals(COUNTS)
        << Done()
    )
    assert book
    assert [choice.reason for choice in book.stream.choices] == ["stop", "stop", None]


def test_members_that_go_with_an_output_begin_nothing() -> None:
    assert (
        Playbook(opened(n=2))
        >> ExtraMembers("chunk", MEMBERS)
        << Members("chunk", MEMBERS)
        >> ExtraMembers("choice", MEMBERS, 1, followed=True)
        << Members("choice", MEMBERS, 1, followed=True)
        >> ExtraMembers("delta", MEMBERS, 1)
        << Head()
        << Role(0)
        << Role(1)
        << Members("delta", MEMBERS, 1)
        >> TurnFinished("stop", 1, no_text="null")
        << Finish("stop", 1, "null")
        >> ExtraMembers("delta", MEMBERS, 1)
        >> ExtraMembers("choice", MEMBERS, 1)
        >> ExtraMembers("usage", MEMBERS, 1)
        << Members("usage", MEMBERS, 1)
        >> REFUSED
        << Failure("context_length_exceeded", "Too long.", 400, "messages", 2.5)
    )


def test_a_failure_behind_members_that_wait_is_the_whole_response() -> None:
    assert (
        Playbook(opened())
        >> ExtraMembers("choice", MEMBERS, followed=True)
        << Members("choice", MEMBERS, followed=True)
        >> REFUSED
        << Rejected(Failure("context_length_exceeded", "Too long.", 400, "messages", 2.5))
    )
