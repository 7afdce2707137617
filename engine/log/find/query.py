"""The language in which streams are asked for: on the command line, and in the page's filter box.

    kind:timeout,worker_lost model:codex-5 slow:2s since:14:00 -key:ci is:failed req_12

Words are separated by blanks; one with blanks in it stands in double quotes. A word with a known
name and a colon is a filter, one with `-` in front lets through what it else would not, and any
other word is looked for in ids, model, key and code. All must hold; of values with commas between
them one must. A command's flags are the same filters (`of_terms`), so that both mean the same.

A time without a day is the last one that is not after the log's newest record: a log of last week
is asked as one of today.
"""

import datetime
import re
from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from engine.log.summary import rows

GOOD: Final = frozenset({"completed", rows.OPEN, rows.LIFE})
"""Kinds that are no failure."""

SECOND: Final = 1_000_000
"""Microseconds."""

WITHIN_US: Final = 5 * 60 * SECOND
"""How far around a moment is looked, where nothing else is said."""

UNITS: Final = {
    "us": 1,
    "ms": 1000,
    "s": SECOND,
    "m": 60 * SECOND,
    "h": 3600 * SECOND,
    "d": 86_400 * SECOND,
}

_DURATION: Final = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,6})?)(us|ms|s|m|h|d)")
_CLOCK: Final = re.compile(r"(\d{1,2}):(\d\d)(?::(\d\d)(?:\.(\d{1,6}))?)?")
_WORD: Final = re.compile(r'(?:[^\s"]|"[^"]*"?)+')


class QueryError(ValueError):
    """Raised for a query that cannot be read.

    Args:
        word: the one at fault, as it was written.
        reason: what is wrong with it, and what is known instead.
    """

    def __init__(self, word: str, reason: str) -> None:
        super().__init__(f"{word}: {reason}")
        self.word = word
        self.reason = reason


class Moment(msgspec.Struct, frozen=True):
    """The moment and the zone that times in a query are relative to.

    Attributes:
        newest_us: of the log, or now; in microseconds since the epoch.
        zone: of times without one; None: this machine's.
    """

    newest_us: int
    zone: datetime.tzinfo | None = None


class Filter(msgspec.Struct, frozen=True):
    """One condition.

    Attributes:
        is_negated: whether a row must not fulfil it.
    """

    name: str
    values: tuple[str, ...]
    is_negated: bool = False


class Query(msgspec.Struct, frozen=True):
    """The streams that are asked for.

    Attributes:
        filters: all must hold.
        since_us: a stream that ended before it is not meant, in microseconds since the epoch.
        until_us: nor one that began at it or later.
        slow_us: shortest duration.
        gap_us: shortest of the longest silence.
        texts: must be in the texts of a stream; a row does not tell.
    """

    filters: tuple[Filter, ...] = ()
    since_us: int | None = None
    until_us: int | None = None
    slow_us: int | None = None
    gap_us: int | None = None
    texts: tuple[str, ...] = ()

    def matches(self, row: rows.Summary) -> bool:
        """Whether a row fulfils all but `texts`."""
        if self.since_us is not None and row.t < self.since_us:
            return False
        if self.until_us is not None and row.began_us >= self.until_us:
            return False
        if self.slow_us is not None and row.duration_us < self.slow_us:
            return False
        if self.gap_us is not None and row.longest_gap_us < self.gap_us:
            return False
        return all(_HOLDS[each.name](row, each.values) != each.is_negated for each in self.filters)


def is_failed(row: rows.Summary) -> bool:
    """Whether a stream did not come to its end as it should, whoever's doing that was."""
    return row.kind not in GOOD


def parse(text: str, moment: Moment) -> Query:
    """Read a query.

    Raises:
        QueryError: a word of it cannot be read.
    """
    return of_terms(terms(text), moment)


def terms(text: str) -> list["Term"]:
    """Split a query into names and values."""
    return [_term(word) for word in _WORD.findall(text)]


Term = tuple[str, str, str]
"""A name, a value, and how they were written together. A name is empty where a word has none, and
begins with `-` where the filter is negated."""


def of_terms(terms: Iterable[Term], moment: Moment) -> Query:
    """Make a query of names and values.

    Raises:
        QueryError: one of them cannot be read.
    """
    filters: list[Filter] = []
    numbers: dict[str, int] = {}
    texts: list[str] = []
    for name, value, word in terms:
        bare = name.removeprefix("-")
        is_negated = bare != name
        if bare in _HOLDS:
            filters.append(Filter(bare, _values(bare, value, word), is_negated))
            continue
        if is_negated:
            raise QueryError(word, "only a filter by value can be negated")
        if bare == "text":
            texts.append(value)
        elif bare in ("slow", "gap", "within"):
            numbers[bare] = duration_us(value, word)
        elif bare in ("since", "until", "around"):
            numbers[bare] = time_us(value, moment, word)
        else:
            known = ", ".join(sorted({*_HOLDS, *NUMBERS} - {""}))
            raise QueryError(word, f"there is no filter of that name; there are {known}")
    since, until = _span(numbers)
    slow, gap = numbers.get("slow"), numbers.get("gap")
    return Query(tuple(filters), since, until, slow, gap, tuple(filter(None, texts)))


NUMBERS: Final = ("since", "until", "around", "within", "slow", "gap", "text")
"""Names beside those of filters by value."""


def duration_us(text: str, word: str) -> int:
    """Read a time such as `2s`, `1.5m`, `300ms`; a number alone is seconds.

    Raises:
        QueryError: it is none.
    """
    found = _DURATION.fullmatch(text if not text.replace(".", "", 1).isdigit() else f"{text}s")
    if found is None:
        raise QueryError(word, "it takes a time such as 2s, 300ms or 5m")
    return round(float(found[1]) * UNITS[found[2]])


def is_duration(text: str) -> bool:
    """Whether a time is said as how long ago it was (`10m`)."""
    return _DURATION.fullmatch(text) is not None


def time_us(text: str, moment: Moment, word: str) -> int:
    """Read a time of day, a day, both, seconds since the epoch, or how long ago (`10m`).

    Raises:
        QueryError: it is none.
    """
    try:
        if is_duration(text):
            return moment.newest_us - duration_us(text, word)
        if text.isascii() and text.isdigit() and len(text) >= 9:
            return int(text) * SECOND
        clock = _CLOCK.fullmatch(text)
        if clock is not None:
            return _last(clock, moment)
        day = datetime.datetime.fromisoformat(text)
        return _microseconds(day if day.tzinfo else _in_zone(day, moment.zone))
    except (ValueError, OverflowError):
        why = "it takes a time such as 14:05, 2026-01-31T14:05, 2026-01-31 or 10m (ago)"
        raise QueryError(word, why) from None


def _term(word: str) -> Term:
    name, colon, value = word.partition(":")
    is_filter = colon and re.fullmatch(r"-?[a-z]+", name) is not None
    if is_filter:
        return name, value.replace('"', ""), word
    bare = word.removeprefix("-") if len(word) > 1 else word
    return "-" if bare != word else "", bare.replace('"', ""), word


def _span(numbers: dict[str, int]) -> tuple[int | None, int | None]:
    since, until = numbers.get("since"), numbers.get("until")
    around = numbers.get("around")
    if around is not None:
        within = numbers.get("within", WITHIN_US)
        since = max(since or 0, around - within)
        until = around + within + 1 if until is None else min(until, around + within + 1)
    elif "within" in numbers and since is not None and until is None:
        until = since + numbers["within"]
    return since, until


def _last(clock: re.Match[str], moment: Moment) -> int:
    """The last time of day that is not after the newest record."""
    hour, minute, second = int(clock[1]), int(clock[2]), int(clock[3] or 0)
    fraction = int((clock[4] or "0").ljust(6, "0"))
    # A minute that is still running is meant as well, when it is named.
    newest = datetime.datetime.fromtimestamp(moment.newest_us / SECOND, datetime.UTC)
    local = newest.astimezone(moment.zone)
    day = datetime.datetime(local.year, local.month, local.day, hour, minute, second, fraction)
    found = _in_zone(day, moment.zone)
    if found > newest + datetime.timedelta(minutes=1):
        found = _in_zone(day - datetime.timedelta(days=1), moment.zone)
    return _microseconds(found)


def _in_zone(moment: datetime.datetime, zone: datetime.tzinfo | None) -> datetime.datetime:
    return moment.astimezone() if zone is None else moment.replace(tzinfo=zone)


def _microseconds(moment: datetime.datetime) -> int:
    return round(moment.timestamp() * SECOND)


def _values(name: str, value: str, word: str) -> tuple[str, ...]:
    values = tuple(each.strip().casefold() for each in value.split(",") if each.strip())
    if not values and name != "":
        raise QueryError(word, "it has no value")
    if name == "is" and (wrong := [each for each in values if each not in IS]):
        raise QueryError(word, f"{wrong[0]} is none of {', '.join(IS)}")
    if name == "status" and not all(re.fullmatch(r"\d{1,3}|\d(xx)", each) for each in values):
        raise QueryError(word, "it takes a status such as 502, or 5xx")
    return values or (value.casefold(),)


def _exact(get: Callable[[rows.Summary], Iterable[str | None]]) -> "_Holds":
    return lambda row, values: any((each or "").casefold() in values for each in get(row))


def _matching(get: Callable[[rows.Summary], Iterable[str | None]]) -> "_Holds":
    """A value is whole, or a beginning with `*` behind it."""
    return lambda row, values: any(
        have == value or (value.endswith("*") and have.startswith(value[:-1]))
        for have in ((each or "").casefold() for each in get(row))
        for value in values
    )


def _starting(get: Callable[[rows.Summary], Iterable[str | None]]) -> "_Holds":
    return lambda row, values: any((each or "").casefold().startswith(values) for each in get(row))


def _has_status(row: rows.Summary, values: tuple[str, ...]) -> bool:
    status = str(row.status)
    return any(status == each or status == each.replace("xx", status[1:]) for each in values)


def _mentions(row: rows.Summary, values: tuple[str, ...]) -> bool:
    texts = (
        *(row.summary, row.request_id, row.completion_id, row.process),
        *(row.kind, row.code or "", row.model, row.target, row.worker, row.key, row.route),
    )
    return any(value in text.casefold() for text in texts for value in values)


IS: Final[dict[str, Callable[[rows.Summary], bool]]] = {
    "failed": is_failed,
    "good": lambda row: not is_failed(row),
    "open": lambda row: row.kind == rows.OPEN,
    "refused": lambda row: row.is_refusal,
    "streaming": lambda row: row.streaming and bool(row.endpoint),
    "estimated": lambda row: row.usage_source == "estimated",
    "purged": lambda row: bool(row.purged),
}
"""The values of `is`."""

_Holds = Callable[[rows.Summary, tuple[str, ...]], bool]

_HOLDS: Final[dict[str, _Holds]] = {
    "": _mentions,
    "kind": _exact(lambda row: (row.kind,)),
    "code": _matching(lambda row: (row.code,)),
    "status": _has_status,
    "model": _matching(lambda row: (row.model, row.target)),
    "key": _matching(lambda row: (row.key,)),
    "worker": lambda row, values: (
        _matching(lambda row: (row.worker,))(row, values)
        or (bool(row.process) and row.process.casefold().startswith(values))
    ),
    "endpoint": _exact(lambda row: (row.endpoint, row.route)),
    "id": _starting(lambda row: (row.summary, row.request_id, row.completion_id)),
    "cause": _exact(lambda row: (row.cause,)),
    "owner": _exact(lambda row: (row.longest_gap_owner,)),
    "finish": _exact(lambda row: row.finish_reasons),
    "is": lambda row, values: any(IS[each](row) for each in values),
}
"""The filters by value, by name."""
