"""What a panel of the dashboard is made of."""

import enum
from typing import Any, NamedTuple


class Draw(enum.Enum):
    """The ways to draw a panel, by Grafana's names of its own panels."""

    TIME = "timeseries"
    STAT = "stat"
    BARS = "bargauge"
    HEAT = "heatmap"
    TEXT = "text"


Queries = tuple[tuple[str, str], ...]
"""Queries in PromQL, each with what its series are called."""


class Panel(NamedTuple):
    """One panel.

    Attributes:
        meaning: what one sees behind the panel's `i`.
        unit: Grafana's name of a unit.
        limits: values from which on it is drawn in another colour.
        most: the value at the top of the panel, where that is known.
        named: show the name of each series and not its value.
    """

    title: str
    meaning: str
    queries: Queries = ()
    unit: str = "short"
    draw: Draw = Draw.TIME
    width: int = 8
    height: int = 8
    stacked: bool = False
    limits: tuple[tuple[float, str], ...] = ()
    most: float | None = None
    named: bool = False
    markdown: str = ""


class Row(NamedTuple):
    """Panels under one title."""

    title: str
    panels: tuple[Panel, ...]


def stat(title: str, meaning: str, query: str, unit: str = "short", **more: Any) -> Panel:
    """A single number of now."""
    made = Panel(title, meaning, ((query, ""),), unit, Draw.STAT, width=3, height=4)
    return made._replace(**more)
