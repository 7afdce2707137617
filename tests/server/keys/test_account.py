"""What a key has used: windows, days, and what is left of both."""

import pytest

from server.keys.account import DAY_S, Account, Accounts, Limits, Measure

NOON = 20_000 * DAY_S + DAY_S / 2
"""In seconds since the epoch."""


def test_a_window_takes_so_many_requests_and_begins_anew_with_the_next_one() -> None:
    account, limits = Account(), Limits(requests=2, window_s=60)
    assert account.take(limits, NOON) is None
    assert account.take(limits, NOON + 10) is None
    refused = account.take(limits, NOON + 20)
    assert refused is not None
    assert (refused.measure, refused.limit, refused.used, refused.remaining) == (
        *(Measure.REQUESTS, 2, 2, 0),
    )
    assert refused.reset_s == 40
    assert account.take(limits, NOON + 59.9) is not None
    assert account.take(limits, NOON + 60) is None
    (level,) = account.levels(limits, NOON + 100)
    assert (level.used, level.remaining, level.reset_s) == (1, 1, 20)
    assert (account.requests, account.refusals[Measure.REQUESTS]) == (3, 2)


def test_tokens_are_charged_behind_the_answer_and_refuse_the_next_request() -> None:
    account, limits = Account(), Limits(tokens=100)
    assert account.take(limits, NOON) is None
    assert account.take(limits, NOON) is None  # side by side: nobody knows yet
    account.charge(limits, 99, NOON + 1)
    assert account.take(limits, NOON + 2) is None
    account.charge(limits, 500, NOON + 3)
    refused = account.take(limits, NOON + 4)
    assert refused is not None
    assert (refused.measure, refused.remaining, refused.used) == (Measure.TOKENS, 0, 599)
    assert account.take(limits, NOON + 60) is None


def test_answers_longer_than_a_window_count_in_the_one_in_which_they_end() -> None:
    account, limits = Account(), Limits(tokens=100)
    assert account.take(limits, NOON) is None
    account.charge(limits, 500, NOON + 70)
    refused = account.take(limits, NOON + 71)
    assert refused is not None
    assert (refused.used, refused.reset_s) == (500, 59)
    assert account.take(limits, NOON + 130) is None


def test_a_day_of_tokens_ends_at_midnight_utc() -> None:
    account, limits = Account(), Limits(tokens_per_day=100)
    account.charge(limits, 100, NOON)
    refused = account.take(limits, NOON + 1)
    assert refused is not None
    assert (refused.measure, refused.reset_s) == (Measure.TOKENS_PER_DAY, DAY_S / 2 - 1)
    assert account.take(limits, NOON + DAY_S / 2) is None
    account.charge(limits, 1, NOON + DAY_S / 2 + 1)
    (level,) = account.levels(limits, NOON + DAY_S)
    assert level.used == 1


def test_what_ends_after_midnight_counts_for_the_new_day() -> None:
    account, limits = Account(), Limits(tokens_per_day=100)
    account.charge(limits, 60, NOON)
    account.charge(limits, 60, NOON + DAY_S)
    assert account.take(limits, NOON + DAY_S) is None
    assert account.tokens == 120


def test_without_limits_nothing_is_refused_and_all_is_counted() -> None:
    account, limits = Account(), Limits()
    for _ in range(1000):
        assert account.take(limits, NOON) is None
    account.charge(limits, 5, NOON)
    assert account.levels(limits, NOON) == []
    assert (account.requests, account.tokens) == (1000, 5)


def test_other_limits_count_what_was_used_before_them() -> None:
    account = Account()
    for _ in range(3):
        account.take(Limits(), NOON)
    assert account.take(Limits(requests=3), NOON + 1) is not None
    assert account.take(Limits(requests=4), NOON + 1) is None
    assert account.take(Limits(requests=4, window_s=1), NOON + 1) is None


@pytest.mark.parametrize("measure", Measure)
def test_each_measure_has_a_word_for_labels(measure: Measure) -> None:
    assert measure.value.replace("_", "").isalpha()


def test_accounts_outlive_a_reload_and_no_more_than_the_names_that_are_left() -> None:
    accounts = Accounts()
    for number in range(1000):
        accounts.of(f"k{number}").take(Limits(), NOON)
    busy = accounts.of("k7")
    permit = busy.permits.take(1)
    assert permit is not None
    kept = accounts.of("k1")
    accounts.keep({"", "k1"})
    assert accounts.named() == {"k1": kept, "k7": busy}
    permit.release()
    accounts.keep({"", "k1"})
    assert accounts.named() == {"k1": kept}
