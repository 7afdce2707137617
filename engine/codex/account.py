"""The account behind a login: its plan, and what is left of its quota.

A ChatGPT account has two windows, a short one and a long one (5 hours and a week, on most plans).
Codex tells of them with each answer of the provider (`account/rateLimits/updated`), and when it is
asked (`account/rateLimits/read`), which costs a request to ChatGPT. A login with a key has none.
"""

from collections.abc import Iterator
from typing import Final

from engine import worker
from engine.codex import loginfile
from engine.codex.protocol import notifications

PLANS: Final = frozenset(
    {
        *("free", "go", "plus", "pro", "prolite", "promax", "team", "business", "enterprise"),
        *("self_serve_business_prolite", "self_serve_business_usage_based", "ent26"),
        *("enterprise_cbp_automation", "enterprise_cbp_usage_based"),
        *("edu", "edu_plus", "edu_pro"),
    }
)
"""The plans of the pinned schema's `PlanType`: any other is `unknown`, so that what a back end
says is no metric's label."""

UNKNOWN: Final = "unknown"
"""A plan that nobody has named, or a new one."""

LARGEST: Final = 1 << 40
"""Unix seconds and lengths beyond this are a mistake: there is no date for them."""

FULL: Final = 1.0
"""A quota that is used up. Codex rounds percentages to whole ones."""


class Account:
    """The knowledge of the account of one home.

    Attributes:
        login: of which kind it is.
        plan: one of `PLANS`, or `UNKNOWN`.
        credits: None: not known.
    """

    def __init__(self) -> None:
        self._clear()

    def _clear(self) -> None:
        self.login = loginfile.Kind.NONE
        self.plan = UNKNOWN
        self.credits: notifications.Credits | None = None
        self._limit_id: str | None = None
        self._windows: dict[str, worker.QuotaWindow] = {}

    def found(self, login: loginfile.Kind, plan: str | None = None) -> None:
        """Take a login; of another kind than before, nothing that was known of it is true."""
        if login is not self.login:
            self._clear()
            self.login = login
        self._take_plan(plan)

    def changed(self, login: loginfile.Kind) -> None:
        """Take another login: nothing that was known of the last one is true."""
        self._clear()
        self.login = login

    def read(self, its: notifications.RateLimitSnapshot) -> None:
        """Take the whole quota."""
        self._limit_id = its.limit_id
        self._windows.clear()
        self._merge(its)

    def updated(self, its: notifications.RateLimitSnapshot) -> None:
        """Take news of the quota: what they do not name stays. Those of another limit, such as a
        single model's, are not the account's."""
        if self._limit_id is None:
            self._limit_id = its.limit_id
        if its.limit_id in (None, self._limit_id):
            self._merge(its)

    def windows(self, now: float) -> tuple[worker.QuotaWindow, ...]:
        """Return the windows that have not been reset since they were told of."""
        return tuple(each for each in self._windows.values() if is_open(each, now))

    def retry_after(self, now: float) -> float | None:
        """Return the seconds until a used up quota is whole again; None where nobody knows."""
        resets = [
            each.resets_at - now
            for each in self.windows(now)
            if each.used >= FULL and each.resets_at is not None
        ]
        return max(resets, default=None)

    def health(self, now: float) -> worker.AccountHealth:
        """Return what may be shown: no name, no id, no amount of money."""
        has_credits = self.credits and (self.credits.unlimited or self.credits.has_credits)
        return worker.AccountHealth(
            self.login.value, self.plan, self.windows(now), bool(has_credits)
        )

    def _merge(self, its: notifications.RateLimitSnapshot) -> None:
        self._take_plan(its.plan_type)
        if its.credits is not None:
            self.credits = its.credits
        for name, told in _told(its):
            self._windows[name] = _window(name, told, self._windows.get(name))

    def _take_plan(self, plan: str | None) -> None:
        if plan is not None:
            self.plan = plan if plan in PLANS else UNKNOWN


def _told(
    its: notifications.RateLimitSnapshot,
) -> Iterator[tuple[str, notifications.RateLimitWindow]]:
    for name, window in (("primary", its.primary), ("secondary", its.secondary)):
        if window is not None:
            yield name, window


def _window(
    name: str, told: notifications.RateLimitWindow, before: worker.QuotaWindow | None
) -> worker.QuotaWindow:
    """Return a window as it is now; what is not said of it is as before."""
    minutes, resets_at = told.window_duration_mins, told.resets_at
    seconds = _whole(None if minutes is None else minutes * 60)
    if before is not None:
        seconds = before.seconds if seconds is None else seconds
        resets_at = before.resets_at if resets_at is None else resets_at
    used = min(max(told.used_percent / 100, 0.0), 10.0)
    return worker.QuotaWindow(name, used, seconds, _whole(resets_at))


def _whole(value: float | None) -> int | None:
    return int(value) if value is not None and 0 < value < LARGEST else None


def is_open(window: worker.QuotaWindow, now: float) -> bool:
    """Return whether a window has not been reset since it was told of."""
    return window.resets_at is None or window.resets_at > now
