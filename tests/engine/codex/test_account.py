"""What is known of an account: its plan, its quota, and when that is whole again."""

from typing import Any

import msgspec
import pytest

from engine import worker
from engine.codex import account
from engine.codex.loginfile import Kind
from engine.codex.protocol import notifications
from tests.tools import schemadrift

NOW = 1_000_000.0


def snapshot(**its: Any) -> notifications.RateLimitSnapshot:
    """A quota as Codex tells of it."""
    return msgspec.convert(its, notifications.RateLimitSnapshot)


def window(
    used: float, resets_in: float | None = 600, minutes: int | None = 300
) -> dict[str, Any]:
    """A window as Codex tells of it."""
    resets_at = None if resets_in is None else int(NOW + resets_in)
    return {"usedPercent": used, "resetsAt": resets_at, "windowDurationMins": minutes}


def chatgpt() -> account.Account:
    """The account of a ChatGPT login."""
    made = account.Account()
    made.found(Kind.CHATGPT, "plus")
    return made


def test_a_quota_is_read_whole_and_its_news_are_merged() -> None:
    its = chatgpt()
    its.read(snapshot(limitId="codex", primary=window(42), secondary=window(84, 6000, 10_080)))
    its.updated(snapshot(limitId="codex", primary={"usedPercent": 43}))
    assert its.windows(NOW) == (
        worker.QuotaWindow("primary", 0.43, 18_000, int(NOW) + 600),
        worker.QuotaWindow("secondary", 0.84, 604_800, int(NOW) + 6000),
    )
    its.read(snapshot(primary=window(1)))
    assert [each.name for each in its.windows(NOW)] == ["primary"]


def test_the_quota_of_one_model_is_not_the_account_s() -> None:
    its = chatgpt()
    its.read(snapshot(limitId="codex", primary=window(42)))
    its.updated(snapshot(limitId="codex_spark", primary=window(100)))
    assert its.windows(NOW)[0].used == 0.42


def test_a_window_that_has_ended_says_nothing_any_more() -> None:
    its = chatgpt()
    its.read(snapshot(primary=window(100, 10), secondary=window(5, None, None)))
    assert [each.name for each in its.windows(NOW)] == ["primary", "secondary"]
    assert [each.name for each in its.windows(NOW + 10)] == ["secondary"]


@pytest.mark.parametrize(
    ("primary", "secondary", "seconds"),
    [
        (window(100, 60), window(50, 900), 60),
        (window(100, 60), window(100, 900), 900),
        (window(99, 60), window(50, 900), None),
        (window(100, -60), window(50, 900), None),
        (window(100, None), None, None),
        (None, None, None),
    ],
)
def test_a_used_up_quota_is_whole_when_its_last_window_is_reset(
    primary: Any, secondary: Any, seconds: float | None
) -> None:
    its = chatgpt()
    its.read(snapshot(primary=primary, secondary=secondary))
    assert its.retry_after(NOW) == seconds


def test_what_is_shown_is_no_secret_and_of_a_known_set() -> None:
    its = chatgpt()
    paid = {"hasCredits": True, "unlimited": False, "balance": "12.50"}
    its.read(snapshot(limitId="codex", planType="plan of someone@example.org", credits=paid))
    shown = its.health(NOW)
    assert (shown.login, shown.plan, shown.credits) == ("chatgpt", "unknown", True)
    assert "someone" not in repr(shown)
    assert "12.50" not in repr(shown)


@pytest.mark.parametrize("odd", [1e300, -1.0, 0.0])
def test_numbers_that_are_no_times_are_none(odd: float) -> None:
    its = chatgpt()
    its.read(snapshot(primary={"usedPercent": 7, "resetsAt": odd, "windowDurationMins": odd}))
    assert its.windows(NOW) == (worker.QuotaWindow("primary", 0.07),)
    its.read(snapshot(primary={"usedPercent": odd}))
    assert 0 <= its.windows(NOW)[0].used <= 10


def test_of_another_login_nothing_is_known() -> None:
    its = chatgpt()
    its.read(snapshot(planType="pro", primary=window(42)))
    its.found(Kind.CHATGPT)
    assert (its.plan, len(its.windows(NOW))) == ("pro", 1)
    its.changed(Kind.CHATGPT)
    assert (its.plan, its.windows(NOW)) == ("unknown", ())
    its.read(snapshot(primary=window(42)))
    its.found(Kind.API_KEY)
    assert (its.login, its.windows(NOW)) == (Kind.API_KEY, ())


def test_every_plan_of_the_pinned_schema_is_known() -> None:
    said = schemadrift.pinned().shapes["account/rateLimits/updated"]["rateLimits.planType"]
    plans = set(said.removesuffix("?").split("|")) - {"null", account.UNKNOWN}
    assert plans == account.PLANS
