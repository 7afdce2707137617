"""The values of a metric, as they are counted and as they are handed over.

Nothing of `prometheus_client` is needed to count: it takes 20 ms and 2 MiB to load, which is left
to the first scrape. What it is for comes then: the formats, and which of them is answered with.
"""

from collections.abc import Iterable
from typing import NamedTuple

from engine import distribution
from server.metrics.families import Family

Labels = tuple[str, ...]
"""Values of a family's labels, in its order."""


class Reading(NamedTuple):
    """The values of a family at one moment, by labels; those of a histogram are distributions."""

    family: Family
    values: Iterable[tuple[Labels, float | distribution.Distribution]]


def one(family: Family, value: float) -> Reading:
    """Return the reading of a family without labels."""
    return Reading(family, [((), value)])
