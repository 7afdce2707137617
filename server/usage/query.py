"""The query of a request for usage: a time, filters, groups, a limit."""

import datetime
import enum
from typing import Final
from urllib.parse import parse_qs

import msgspec

from engine.log.summary import reading
from server.http.decoding import invalid
from server.http.errors import ApiError

MICROSECONDS: Final = 1_000_000

FIELDS: Final = 64
"""Most parameters of a query."""

MOST_GROUPS: Final = 10_000
"""Most groups of an answer, and most that are told apart while it is summed."""

MOST_LINES: Final = 1_000_000
"""Largest `limit` of lines; without one there is none."""

USUAL_GROUPS: Final = 1_000
"""Groups of an answer where none is asked for."""


class Group(enum.Enum):
    """A member of a request that usage is summed by."""

    DAY = "day"
    KEY = "key"
    MODEL = "model"
    ROUTE = "route"


FILTERS: Final = ("key", "model", "route", "kind", "code")
"""Members of a request that must be one of those named; an empty value names those without one."""

_OF_BOTH: Final = ("start", "end", "limit", *FILTERS)
OF_SUMS: Final = (*_OF_BOTH, "group_by")
OF_LINES: Final = (*_OF_BOTH, "after")
"""The parameters of each route."""


class Query(msgspec.Struct, frozen=True):
    """The requests that are asked for.

    Attributes:
        start: the least time at which they ended, in microseconds since the epoch.
        end: the time before which they did; None: no limit.
        only: the values that each filter lets through.
        limit: of groups, or of lines; None: no limit.
        after: the place in the log behind which lines begin.
    """

    start: int = 0
    end: int | None = None
    only: dict[str, frozenset[str]] = {}
    groups: tuple[Group, ...] = ()
    limit: int | None = None
    after: reading.Place = reading.BEGINNING


def read(text: str, known: tuple[str, ...]) -> Query:
    """Read a query.

    Args:
        known: the parameters that there are; any other is refused, since a filter that was
            mistyped must not pass for one that lets everything through.

    Raises:
        ApiError: `invalid_request` with the parameter at fault.
    """
    try:
        given = parse_qs(text, keep_blank_values=True, max_num_fields=FIELDS)
    except ValueError:
        raise ApiError("invalid_request", f"The query has over {FIELDS} parameters.") from None
    for name in given:
        if name not in known:
            message = f"Unknown parameter: '{name[:64]}'. There are {', '.join(known)}."
            raise ApiError("invalid_request", message, name[:64])
    start, end = _time(given, "start"), _time(given, "end")
    if end is not None and end <= (start or 0):
        raise invalid("end", "it must be later than 'start'")
    is_sum = "group_by" in known
    limit = _limit(given, MOST_GROUPS if is_sum else MOST_LINES)
    return Query(
        start=start or 0,
        end=end,
        only={name: frozenset(given[name]) for name in FILTERS if name in given},
        groups=_groups(given.get("group_by", [])),
        limit=limit or (USUAL_GROUPS if is_sum else None),
        after=_place(_last(given, "after")),
    )


def cursor(place: reading.Place) -> str:
    """Return a place in the log as `after` takes it."""
    return f"{place[0]}-{place[1]}"


def _last(given: dict[str, list[str]], name: str) -> str | None:
    return given[name][-1] if name in given else None


def _time(given: dict[str, list[str]], name: str) -> int | None:
    text = _last(given, name)
    if text is None:
        return None
    if text.isascii() and text.isdigit() and len(text) <= 11:
        return int(text) * MICROSECONDS
    try:
        # A plus sign is a space in a query that was not escaped.
        moment = datetime.datetime.fromisoformat(text.replace(" ", "+"))
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=datetime.UTC)
        return max(0, round(moment.timestamp() * MICROSECONDS))
    except (ValueError, OverflowError):
        why = "it must be seconds since the epoch, or a time such as 2026-01-31T14:00:00Z"
        raise invalid(name, f"{why}, or a day such as 2026-01-31") from None


def _groups(given: list[str]) -> tuple[Group, ...]:
    names = [name.strip() for each in given for name in each.split(",")]
    known = {each.value for each in Group}
    for name in names:
        if name not in known:
            raise invalid("group_by", f"it must be of {', '.join(sorted(known))}, with commas")
    return tuple(each for each in Group if each.value in names)


def _limit(given: dict[str, list[str]], most: int) -> int | None:
    text = _last(given, "limit")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 10 and 1 <= int(text) <= most):
        raise invalid("limit", f"it must be a whole number from 1 to {most}")
    return int(text)


def _place(text: str | None) -> reading.Place:
    if text is None:
        return reading.BEGINNING
    segment, dash, offset = text.partition("-")
    is_good = dash and text.isascii() and segment.isdigit() and offset.isdigit()
    if not is_good or len(text) > 40:
        raise invalid("after", "it must be the 'cursor' of a line")
    return int(segment), int(offset)
