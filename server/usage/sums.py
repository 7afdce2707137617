"""Sums of ended requests.

Tokens that were counted and tokens that were estimated are summed apart, and answers whose tokens
nobody knows are counted as such: a sum never takes what is unknown for 0.
"""

import datetime
import heapq
import itertools
from typing import Any, Final

import msgspec

from engine import slices
from engine.log.summary import rows
from server.access.entry import GOOD_KINDS
from server.usage import routes
from server.usage.query import MOST_GROUPS, Group

OTHER: Final = "other"
"""In place of what is told apart no more, since there is too much of it."""

MOST_CODES: Final = 200
"""Codes of failures that are told apart in a group: providers make codes up."""

SORTED_AT_ONCE: Final = 1_000
"""Groups that are sorted in one go: a millisecond."""

_encode: Final = msgspec.json.Encoder().encode

DAY_US: Final = 86_400_000_000

Values = tuple[str | None, ...]
"""Where a request belongs: its day, key, model and route, as far as they are asked for."""


class Tokens(msgspec.Struct):
    """Sums of token counts.

    Attributes:
        other: those that a provider counts neither as input nor as output.
    """

    requests: int = 0
    input: int = 0
    output: int = 0
    cached: int = 0
    reasoning: int = 0
    other: int = 0

    def add(self, usage: rows.Counts) -> None:
        """Add the counts of one answer."""
        self.requests += 1
        self.input += usage.prompt_tokens
        self.output += usage.completion_tokens
        self.cached += usage.cached_tokens
        self.reasoning += usage.reasoning_tokens
        self.other += usage.other_tokens

    def merge(self, more: "Tokens") -> None:
        """Add other sums."""
        for name in self.__struct_fields__:
            setattr(self, name, getattr(self, name) + getattr(more, name))

    def shown(self) -> dict[str, int | float | None]:
        """Return the sums under the API's names; the share is None where there was no input."""
        return {
            "input_tokens": self.input,
            "output_tokens": self.output,
            "cached_tokens": self.cached,
            "cached_share": round(self.cached / self.input, 4) if self.input else None,
            "reasoning_tokens": self.reasoning,
            "other_tokens": self.other,
            "total_tokens": self.input + self.output + self.other,
        }


class Sums(msgspec.Struct):
    """Sums of one group.

    Attributes:
        unknown: answers whose tokens nobody knows.
        refused: requests that never were a stream, and cost no token.
        calls: tool calls that went to clients.
        failures: by kind and code.
    """

    requests: int = 0
    counted: Tokens = msgspec.field(default_factory=Tokens)
    estimated: Tokens = msgspec.field(default_factory=Tokens)
    unknown: int = 0
    refused: int = 0
    calls: int = 0
    withheld: int = 0
    dropped: int = 0
    started: int = 0
    flushed: int = 0
    aborted: dict[str, int] = msgspec.field(default_factory=dict)
    kinds: dict[str, int] = msgspec.field(default_factory=dict)
    failures: dict[tuple[str, str | None], int] = msgspec.field(default_factory=dict)

    def add(self, row: rows.Summary) -> None:
        """Add a request."""
        count = row.count
        self.requests += count
        self.kinds[row.kind] = self.kinds.get(row.kind, 0) + count
        if row.kind not in GOOD_KINDS:
            self._fail((row.kind, row.code), count)
        if row.is_refusal:
            self.refused += count
            return
        if row.usage is None:
            self.unknown += 1
        else:
            (self.estimated if row.usage_source == "estimated" else self.counted).add(row.usage)
        self.calls += row.tool_calls
        self.withheld += row.tool_calls_withheld
        self.dropped += row.tool_calls_dropped
        self.started += row.tool_buffers_started
        self.flushed += row.tool_buffers_flushed
        _merge(self.aborted, row.tool_buffers_aborted)

    def merge(self, more: "Sums") -> None:
        """Add other sums."""
        for name in _COUNTS:
            setattr(self, name, getattr(self, name) + getattr(more, name))
        self.counted.merge(more.counted)
        self.estimated.merge(more.estimated)
        _merge(self.aborted, more.aborted)
        _merge(self.kinds, more.kinds)
        for failure, count in more.failures.items():
            self._fail(failure, count)

    def shown(self) -> dict[str, Any]:
        """Return the sums as the API has them."""
        failures = sorted(self.failures.items(), key=lambda each: (-each[1], str(each[0])))
        return {
            "requests": self.requests,
            "kinds": self.kinds,
            **self.counted.shown(),
            "usage": {
                "counted": self.counted.requests,
                "estimated": self.estimated.requests,
                "unknown": self.unknown,
                "refused": self.refused,
            },
            "estimated": self.estimated.shown(),
            "tool_calls": self.calls,
            "tool_calls_withheld": self.withheld,
            "tool_calls_dropped": self.dropped,
            "tool_buffers": {
                "started": self.started,
                "flushed": self.flushed,
                "aborted": self.aborted,
            },
            "failures": [
                {"kind": kind, "code": code, "requests": count} for (kind, code), count in failures
            ],
        }

    def _fail(self, failure: tuple[str, str | None], count: int) -> None:
        if failure not in self.failures and len(self.failures) >= MOST_CODES:
            failure = failure[0], OTHER
        self.failures[failure] = self.failures.get(failure, 0) + count


_COUNTS: Final = tuple(each.name for each in msgspec.structs.fields(Sums) if each.type is int)
"""Members of sums that are numbers."""


def _merge(sums: dict[str, int], more: dict[str, int]) -> None:
    for name, count in more.items():
        sums[name] = sums.get(name, 0) + count


def _order(item: tuple[Values, Sums]) -> tuple[tuple[bool, str], ...]:
    return tuple((value is not None, value or "") for value in item[0])


class Grouped:
    """Sums by group.

    Args:
        groups: what they are summed by.
    """

    def __init__(self, groups: tuple[Group, ...]) -> None:
        self._groups = groups
        self._sums: dict[Values, Sums] = {}
        self._other = Sums()
        self._days: dict[int, str] = {}

    def add(self, row: rows.Summary) -> None:
        """Add a request to its group."""
        values = tuple(self._value(group, row) for group in self._groups)
        sums = self._sums.get(values)
        if sums is None:
            if len(self._sums) >= MOST_GROUPS:
                self._other.add(row)
                return
            sums = self._sums[values] = Sums()
        sums.add(row)

    def shown(self, limit: int) -> slices.Steps[dict[str, Any]]:
        """Return groups in their order, the sums of those beyond the limit, and those of all."""
        names = [group.value for group in self._groups]
        data: list[msgspec.Raw] = []
        rest, total = Sums(), Sums()
        items = iter(self._sums.items())
        parts = []
        while part := list(itertools.islice(items, SORTED_AT_ONCE)):
            parts.append(sorted(part, key=_order))
            yield
        for values, sums in heapq.merge(*parts, key=_order):
            total.merge(sums)
            if names and len(data) < limit:
                members = {**dict(zip(names, values, strict=True)), **sums.shown()}
                data.append(msgspec.Raw(_encode(members)))
            elif names:
                rest.merge(sums)
            yield
        rest.merge(self._other)
        total.merge(self._other)
        return {
            "group_by": names,
            "data": data,
            "has_more": rest.requests > 0,
            "rest": rest.shown() if rest.requests else None,
            "total": total.shown(),
        }

    def _value(self, group: Group, row: rows.Summary) -> str | None:
        match group:
            case Group.DAY:
                return self._day(row.t // DAY_US)
            case Group.KEY:
                return row.key or None
            case Group.MODEL:
                return row.model or None
            case Group.ROUTE:
                return routes.route_of(row) or None

    def _day(self, number: int) -> str:
        day = self._days.get(number)
        if day is None:
            day = str(datetime.date(1970, 1, 1) + datetime.timedelta(days=number))
            self._days[number] = day
        return day
