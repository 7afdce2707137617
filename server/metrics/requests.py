"""Counts ended requests: a projection of their terminal records and refusals.

Each request is counted once, when it has ended. A response that is made in the background is two
things: the request that began it, and a stream that ends later.
"""

import collections
from collections.abc import Callable, Iterable, Iterator
from typing import Final, get_args

from engine import distribution
from machines import vocabulary
from machines.tools import blocks as usetool
from server.access.entry import NOBODY_SAW, Entry, StreamEnd
from server.metrics import families, fault, labels
from server.metrics.families import Family, Type
from server.metrics.readings import Labels, Reading

REASONS: Final = get_args(usetool.Reason)
"""The reasons for which a textual block is none."""

MICROSECONDS: Final = 1_000_000


class RequestMetrics:
    """The counts of a server's requests since it began.

    Args:
        routes: patterns of the route table; a request of any other counts as `other`.
        listed: returns the models that the server lists now.
    """

    def __init__(self, routes: Iterable[str], listed: Callable[[], Iterable[str]]) -> None:
        self._routes = frozenset(routes)
        self._models = labels.ModelLabels(listed)
        self._counts: dict[Family, collections.Counter[Labels]] = {}
        self._distributions: dict[Family, dict[Labels, distribution.Distribution]] = {}
        for family in families.OF_REQUESTS:
            if family.type is Type.HISTOGRAM:
                self._distributions[family] = {}
            else:
                self._counts[family] = collections.Counter()
        self._begin_at_zero()

    def _begin_at_zero(self) -> None:
        """A rate is seen from the first event on only where a series was there before it."""
        for family, counts in self._counts.items():
            if not family.labels:
                counts[()] = 0
        for reason in REASONS:
            self._counts[families.TOOL_BUFFERS_ABORTED][reason,] = 0
        for cause in get_args(vocabulary.GoneCause):
            self._counts[families.CLIENTS_GONE][cause,] = 0

    def request_ended(self, entry: Entry, count: int) -> None:
        """Count a request that was answered, or whose client has left."""
        route, code = self._route(entry), labels.code(entry.code)
        status = labels.status(entry.status or NOBODY_SAW)
        self._add(families.REQUESTS, count, route, labels.method(entry.method), status, code)
        seconds = (entry.ended or entry.began) - entry.began
        self._observe(families.REQUEST_DURATION, seconds, route, times=count)
        end = entry.stream
        size = entry.body_bytes if end is None else end.terminal.body_bytes
        self._add(families.BODY_BYTES, size * count, route)
        if entry.code is not None:
            self._add_error(entry, entry.code, count)
        if end is not None:
            self._add_stream(route, entry, end)

    def background_ended(self, entry: Entry) -> None:
        """Count a stream that was made in the background."""
        assert entry.stream is not None, "it is told of its end"
        if entry.code is not None:
            self._add_error(entry, entry.code, 1)
        self._add_stream(self._route(entry), entry, entry.stream)

    def read(self) -> Iterator[Reading]:
        """Return copies of what was counted: they may be read on another thread."""
        for family, counts in self._counts.items():
            yield Reading(family, [*counts.items()])
        for family, values in self._distributions.items():
            yield Reading(family, [(key, each.copy()) for key, each in values.items()])

    def _route(self, entry: Entry) -> str:
        return labels.among(entry.route, self._routes)

    def _add(self, family: Family, amount: int, *values: str) -> None:
        self._counts[family][values] += amount

    def _observe(self, family: Family, value: float, *values: str, times: int = 1) -> None:
        seen = self._distributions[family]
        if values not in seen:
            seen[values] = distribution.empty(family.buckets)
        seen[values].observe(value, family.buckets, times)

    def _add_error(self, entry: Entry, code: str, count: int) -> None:
        end = entry.stream
        if end is None:
            whose = fault.fault_of(code)
        else:
            worker = end.opened.worker if entry.stood_in is None else entry.stood_in.worker
            status = end.failure_status or end.terminal.status
            whose = fault.fault_of_stream(code, status, worker)
        self._add(families.ERRORS, count, labels.code(code), whose.value)

    def _add_stream(self, route: str, entry: Entry, end: StreamEnd) -> None:
        terminal = end.terminal
        model = self._models.label(end.opened.model, entry.ended or entry.began)
        self._add(families.STREAMS, 1, route, model, terminal.kind)
        if terminal.cause is not None:
            self._add(families.CLIENTS_GONE, 1, terminal.cause)
        for number, reason in enumerate(terminal.finish_reasons):
            words = terminal.finish_words
            said = labels.word(words[number] if number < len(words) else None)
            self._add(families.FINISH_REASONS, 1, labels.reason(reason), said)
        if terminal.ttft_us is not None:
            first = terminal.ttft_us / MICROSECONDS
            self._observe(families.FIRST_TOKEN, first, route, model)
        self._observe(families.STREAM_DURATION, terminal.duration_us / MICROSECONDS, route)
        if terminal.first_content_us is not None:
            content = terminal.first_content_us / MICROSECONDS
            self._observe(families.FIRST_CONTENT, content, route, model)
        gap, owner = terminal.longest_gap_us / MICROSECONDS, terminal.longest_gap_owner
        self._observe(families.LONGEST_GAP, gap, route, owner or "worker")
        if terminal.parked_us:
            self._observe(families.LONGEST_GAP, terminal.parked_us / MICROSECONDS, route, "parked")
        self._add(families.FRAMES, terminal.frames, route)
        self._add(families.HEARTBEATS, terminal.heartbeats, route)
        self._add_usage(model, terminal.usage, terminal.usage_source)
        self._add_tools(end)

    def _add_usage(
        self, model: str, usage: vocabulary.Usage | None, source: vocabulary.UsageSource
    ) -> None:
        if usage is None:
            self._add(families.USAGE, 1, "unknown")
            return
        self._add(families.USAGE, 1, source)
        for kind, tokens in (
            ("input", usage.prompt_tokens),
            ("output", usage.completion_tokens),
            ("cached", usage.cached_tokens),
            ("reasoning", usage.reasoning_tokens),
            ("uncategorized", usage.other_tokens),
        ):
            if tokens > 0:  # a counter never goes back, whatever a provider says
                self._add(families.TOKENS, tokens, model, kind, source)

    def _add_tools(self, end: StreamEnd) -> None:
        terminal = end.terminal
        self._observe(families.TOOL_CALLS, terminal.tool_calls)
        self._add(families.TOOL_CALLS_WITHHELD, terminal.tool_calls_withheld)
        self._add(families.TOOL_CALLS_DROPPED, terminal.tool_calls_dropped)
        self._add(families.TOOL_BUFFERS_STARTED, terminal.tool_buffers_started)
        self._add(families.TOOL_BUFFERS_FLUSHED, terminal.tool_buffers_flushed)
        for reason, count in terminal.tool_buffers_aborted.items():
            self._add(families.TOOL_BUFFERS_ABORTED, count, labels.among(reason, REASONS))
