"""Writes readings in the formats of Prometheus; loaded by the first scrape, on a thread.

Its functions run on a thread of their own: a scrape of thousands of series takes tens of
milliseconds, which no stream waits for.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from prometheus_client import core, exposition, process_collector, registry

from engine import distribution
from server.metrics.families import Family, Type
from server.metrics.readings import Labels, Reading


class Exposition(NamedTuple):
    """The answer to a scrape."""

    content_type: str
    body: bytes


_OF_PROCESS: Final = process_collector.ProcessCollector(registry=None)  # each scrape has its own


class _Readings(registry.Collector):
    """Readings, as a registry collects them."""

    def __init__(self, readings: Iterable[Reading]) -> None:
        self._readings = readings

    def collect(self) -> Iterator[core.Metric]:
        for family, values in self._readings:
            yield _metric(family, values)


def expose(readings: Sequence[Reading], accept: str | None) -> Exposition:
    """Write readings in the format that is asked for, or in the oldest one.

    Args:
        accept: the request's `Accept`.
    """
    own = registry.CollectorRegistry(auto_describe=False)
    own.register(_Readings(readings))
    own.register(_OF_PROCESS)
    try:
        encode, content_type = exposition.choose_encoder(accept or "")
    except (TypeError, ValueError):  # of a version that is no number
        encode, content_type = exposition.choose_encoder("")
    return Exposition(content_type, encode(own))


def _metric(
    family: Family, values: Iterable[tuple[Labels, float | distribution.Distribution]]
) -> core.Metric:
    if family.type is Type.HISTOGRAM:
        return _histogram(family, values)
    made: core.CounterMetricFamily | core.GaugeMetricFamily
    if family.type is Type.COUNTER:
        made = core.CounterMetricFamily(family.name, family.meaning, labels=family.labels)
    else:
        made = core.GaugeMetricFamily(family.name, family.meaning, labels=family.labels)
    for labels, value in values:
        assert not isinstance(value, distribution.Distribution)
        made.add_metric(labels, value)
    return made


def _histogram(
    family: Family, values: Iterable[tuple[Labels, float | distribution.Distribution]]
) -> core.Metric:
    made = core.HistogramMetricFamily(family.name, family.meaning, labels=family.labels)
    bounds = [*map(str, family.buckets), "+Inf"]
    for labels, seen in values:
        assert isinstance(seen, distribution.Distribution)
        cumulated = itertools.accumulate(seen.counts)
        made.add_metric(labels, list(zip(bounds, cumulated, strict=True)), seen.sum)
    return made
