"""The doctor's look at the quota of an account."""

import time
from typing import Any

import pytest

from engine.worker import AccountHealth, QuotaWindow
from server.cli.checks import quota
from server.cli.checks.findings import Status

NOW = 1_000_000.0


def window(used: float, name: str = "primary", resets_in: int | None = 7800) -> QuotaWindow:
    """A window of five hours."""
    return QuotaWindow(name, used, 18_000, None if resets_in is None else int(NOW) + resets_in)


@pytest.mark.parametrize(
    ("windows", "paid", "status"),
    [
        ((window(0.42),), False, Status.OK),
        ((window(0.42), window(0.9, "secondary")), False, Status.WARN),
        ((window(1.0),), False, Status.FAIL),
        ((window(1.0),), True, Status.WARN),
        ((window(1.0, resets_in=-1),), False, Status.OK),
        ((), False, Status.OK),
    ],
)
def test_a_quota_is_watched_before_it_is_used_up(
    windows: tuple[QuotaWindow, ...], paid: bool, status: Status
) -> None:
    found = quota.finding(AccountHealth("chatgpt", "plus", windows, paid), NOW)
    assert found.status is status
    assert bool(found.advice) is (status is not Status.OK)


def test_a_quota_is_told_for_people() -> None:
    its = AccountHealth("chatgpt", "plus", (window(0.424),))
    said = "chatgpt, plan plus; 5 h quota 42 % used, resets in 2 h 10 min"
    assert quota.finding(its, NOW).found == said
    assert quota.told(QuotaWindow("secondary", 1.2), NOW) == "secondary quota 120 % used"
    assert quota.span(604_800 + 3600) == "7 d 1 h"
    assert quota.span(1) == "1 min"


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"account": None},
        {"account": {"login": "none"}},
        {"account": {"login": 7}},
        {"account": []},
    ],
)
def test_where_there_is_no_account_nothing_is_said(answer: Any) -> None:
    assert list(quota.check(answer)) == []


def test_the_account_is_read_off_the_health_page() -> None:
    kept = {"name": "primary", "used": 0.5, "resets_at": int(time.time()) + 90, "new": 1}
    (found,) = quota.check({"account": {"login": "chatgpt", "windows": [kept]}})
    assert found.status is Status.OK
    assert "primary quota 50 % used" in found.found
