"""Counts what a key has used of its limits: requests, tokens of a window and of a day, streams.

A window begins with the first request or charge after the last one, and ends after its seconds. A
request is counted before it is answered; its tokens are known only behind the answer, so they are
charged then. Requests that are asked for side by side can therefore take a key over its tokens, by
what they use together; the next one is refused.
"""

import enum
import math
from typing import Final, NamedTuple

import msgspec

from server.permits import Permits

DAY_S: Final = 86_400
"""Seconds of a day of UTC, which knows no leap seconds here (POSIX time)."""


class Limits(msgspec.Struct, frozen=True):
    """The limits of a key; None: none.

    Attributes:
        requests, tokens: so many in a window of `window_s` seconds.
        tokens_per_day: in a day of UTC.
        streams: answers in the making at once.
    """

    requests: int | None = None
    tokens: int | None = None
    window_s: float = 60
    tokens_per_day: int | None = None
    streams: int | None = None


UNLIMITED: Final = Limits()
"""The limits of a key without any."""


class Measure(enum.Enum):
    """The things that a limit counts; the value is its word in messages and labels."""

    REQUESTS = "requests"
    TOKENS = "tokens"
    TOKENS_PER_DAY = "tokens_per_day"
    STREAMS = "streams"


class Level(NamedTuple):
    """How far a limit is used up.

    Attributes:
        reset_s: seconds until it is as if nothing had been used.
    """

    measure: Measure
    limit: int
    used: int
    reset_s: float

    @property
    def remaining(self) -> int:
        """The rest of the limit."""
        return max(0, self.limit - self.used)


class Account:
    """The use of one name's limits. Times are in seconds since the epoch, of a clock that never
    steps back.

    Attributes:
        permits: of its answers in the making.
        requests, tokens: since it is known, for metrics.
        refusals: requests that were refused, by limit.
        day: since the epoch, of `day_tokens`.
        is_daily: whether they count for a limit, and so over a restart.
    """

    def __init__(self) -> None:
        self.permits = Permits(0)
        self.requests = 0
        self.tokens = 0
        self.refusals = dict.fromkeys(Measure, 0)
        self.is_daily = False
        self.day = 0
        self.day_tokens = 0
        self._began = -math.inf
        self._window_requests = 0
        self._window_tokens = 0

    def take(self, limits: Limits, now: float) -> Level | None:
        """Count a request; return the limit that refuses it, and then it does not count."""
        for level in self.levels(limits, now):
            if not level.remaining:
                self.refusals[level.measure] += 1
                return level
        self.requests += 1
        self._window_requests += 1
        return None

    def charge(self, limits: Limits, tokens: int, now: float) -> None:
        """Count the tokens of an answer, in the window and the day in which it ends."""
        # Counted in a window that is over, answers longer than a window would never reach a limit.
        self._begin_window(limits, now)
        self._begin_day(now)
        self.tokens += tokens
        self.day_tokens += tokens
        self._window_tokens += tokens

    def restore(self, day: int, tokens: int) -> None:
        """Begin with what was used of a day before a restart."""
        self.day, self.day_tokens = day, tokens

    def levels(self, limits: Limits, now: float) -> list[Level]:
        """Return how far each limit is used up."""
        self._begin_window(limits, now)
        self._begin_day(now)
        left = self._began + limits.window_s - now
        found = []
        if limits.requests is not None:
            used = self._window_requests
            found.append(Level(Measure.REQUESTS, limits.requests, used, left))
        if limits.tokens is not None:
            found.append(Level(Measure.TOKENS, limits.tokens, self._window_tokens, left))
        if limits.tokens_per_day is not None:
            until = (self.day + 1) * DAY_S - now
            most = limits.tokens_per_day
            found.append(Level(Measure.TOKENS_PER_DAY, most, self.day_tokens, until))
        return found

    def _begin_window(self, limits: Limits, now: float) -> None:
        if now - self._began >= limits.window_s:
            self._began, self._window_requests, self._window_tokens = now, 0, 0

    def _begin_day(self, now: float) -> None:
        day = int(now // DAY_S)
        if day > self.day:
            self.day, self.day_tokens = day, 0


class Accounts:
    """The accounts of a server, by key's name: they outlive a reload and a replaced key."""

    def __init__(self) -> None:
        self._accounts: dict[str, Account] = {}

    def of(self, name: str) -> Account:
        """Return the account of a name, opened if there is none."""
        return self._accounts.setdefault(name, Account())

    def named(self) -> dict[str, Account]:
        """Return every account of a key, by its name."""
        return {name: each for name, each in self._accounts.items() if name}

    def keep(self, names: set[str]) -> None:
        """Close the accounts of all other names, as far as nothing is in the making for them."""
        for name, each in [*self._accounts.items()]:
            if name not in names and not each.permits.taken:
                del self._accounts[name]
