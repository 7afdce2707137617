"""Reads `Retry-After`, in which an upstream may write anything.

What is neither seconds nor a date of HTTP says nothing, whatever else it is. The library's readers
of dates are of no use: they take far more, and raise what they do not document.
"""

import re
from datetime import UTC, datetime
from typing import Final

MOST_S: Final = 999_999_999
"""Most seconds that are passed on: thirty years, in a number that every client can read."""

LONGEST: Final = 64
"""Most characters of a value that is looked at; a date has 33 at most."""

CENTURY_AHEAD: Final = 50
"""Years ahead from which on a date of two digits is of the last century. Source: RFC 9110
§5.6.7."""

_TIME = r"(?P<hour>\d\d):(?P<minute>\d\d):(?P<second>\d\d)"
_DATES: Final = (
    # RFC 9110, 5.6.7: IMF-fixdate and RFC 850, whose zone some servers write as a number.
    re.compile(
        r"[a-z]{3,9}, (?P<day>\d\d)[ -](?P<month>[a-z]{3})[ -](?P<year>\d{4}|\d\d) "
        + _TIME
        + r" (?:GMT|UTC|[+-]0000)",
        re.IGNORECASE | re.ASCII,
    ),
    # ANSI C's asctime().
    re.compile(
        rf"[a-z]{{3}} (?P<month>[a-z]{{3}}) (?P<day>[ \d]\d) {_TIME} (?P<year>\d{{4}})",
        re.IGNORECASE | re.ASCII,
    ),
)
_MONTHS: Final = (
    *("jan", "feb", "mar", "apr", "may", "jun"),
    *("jul", "aug", "sep", "oct", "nov", "dec"),
)


def seconds(value: str, now: float) -> float | None:
    """Return how long to wait, 0 to `MOST_S` seconds; None where the value does not say it.

    Args:
        now: seconds since the epoch.
    """
    text = value.strip()
    if len(text) > LONGEST:
        return None
    if text.isascii() and text.isdigit():
        return float(min(int(text), MOST_S))
    at = _date(text, now)
    return None if at is None else min(max(0.0, at - now), MOST_S)


def milliseconds(value: str) -> float | None:
    """Return the seconds of a `retry-after-ms`, which OpenAI's SDKs prefer; None where the value
    does not say them."""
    text = value.strip()
    whole = text.partition(".")[0]
    if len(text) > LONGEST or not (whole.isascii() and whole.isdigit()):
        return None
    return min(int(whole), 1000 * MOST_S) / 1000


def _date(text: str, now: float) -> float | None:
    found = next((match for each in _DATES if (match := each.fullmatch(text))), None)
    if found is None or found["month"].lower() not in _MONTHS:
        return None
    month = 1 + _MONTHS.index(found["month"].lower())
    year = int(found["year"])
    if len(found["year"]) == 2:
        this_year = datetime.fromtimestamp(now, UTC).year
        year += this_year - this_year % 100
        if year > this_year + CENTURY_AHEAD:
            year -= 100
    clock = (int(found["hour"]), int(found["minute"]), min(59, int(found["second"])))
    try:
        return datetime(year, month, int(found["day"]), *clock, tzinfo=UTC).timestamp()
    except ValueError:
        return None
