"""A check of the quota of the account that a running server is logged in to."""

import time
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from engine import worker
from engine.codex import account
from server.cli.checks.findings import Finding, fail, ok, warn

LOW: Final = 0.9
"""The used part of a quota from which on a warning comes."""


class _Health(msgspec.Struct):
    """The part of `/healthz` that is read here; older servers have none."""

    account: worker.AccountHealth | None = None


def check(answer: dict[str, Any]) -> Iterator[Finding]:
    """Look at the account in the answer of `/healthz`; nothing where it has none."""
    try:
        found = msgspec.convert(answer, _Health).account
    except msgspec.ValidationError:  # of another version of the server
        return
    if found is not None and found.login != "none":
        yield finding(found, time.time())


def finding(held: worker.AccountHealth, now: float) -> Finding:
    """Return what is to be said of an account."""
    what = f"{held.login}, plan {held.plan}"
    windows = [each for each in held.windows if account.is_open(each, now)]
    if not windows:
        return ok("account", f"{what}; nothing is known of a quota")
    found = "; ".join((what, *(told(each, now) for each in windows)))
    worst = max(each.used for each in windows)
    if worst >= account.FULL and not held.credits:
        advice = (
            "Requests are answered with 429 until then. Another account needs a server of its own:"
            " docs/login.md."
        )
        return fail("account", found, advice)
    if worst >= LOW:
        return warn("account", found, "Requests are answered with 429 once it is used up.")
    return ok("account", found)


def told(window: worker.QuotaWindow, now: float) -> str:
    """Return one window for people: `5 h quota 42 % used, resets in 2 h 10 min`."""
    length = window.name if window.seconds is None else span(window.seconds)
    used = f"{length} quota {window.used * 100:.0f} % used"
    if window.resets_at is None:
        return used
    return f"{used}, resets in {span(window.resets_at - now)}"


def span(seconds: float) -> str:
    """Return a length of time in its two largest units."""
    minutes = max(1, round(seconds / 60))
    days, hours, rest = minutes // 1440, minutes // 60 % 24, minutes % 60
    parts = [(days, "d"), (hours, "h"), (0 if days else rest, "min")]
    return " ".join(f"{count} {unit}" for count, unit in parts if count)
