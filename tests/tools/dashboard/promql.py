"""The queries that panels are made of."""

from typing import Final

from tests.tools.dashboard.panel import Queries

SERVER: Final = 'job=~"$job", instance=~"$instance"'
REQUESTS: Final = f'{SERVER}, route=~"$route"'
ANSWERS: Final = f'{REQUESTS}, model=~"$model"'
RESPONSES: Final = f'{SERVER}, route=~"/v1/responses.*"'
OURS: Final = f'{SERVER}, fault=~"server|worker"'
EACH: Final = "$__rate_interval"


def rate(metric: str, *by: str, where: str = SERVER) -> str:
    """How often a second, in all or by some labels."""
    return f"sum{_by(by)} (rate({metric}{{{where}}}[{EACH}]))"


def gained(metric: str, *by: str, where: str = SERVER, over: str = EACH) -> str:
    """How many in a time."""
    return f"sum{_by(by)} (increase({metric}{{{where}}}[{over}]))"


def share(part: str, whole: str) -> str:
    """One rate as a part of another; nothing where the other is 0."""
    return f"{part} / ({whole} > 0)"


def quantile(part: float, metric: str, *by: str, where: str = SERVER) -> str:
    """A quantile of a histogram."""
    return f"histogram_quantile({part}, {rate(f'{metric}_bucket', 'le', *by, where=where)})"


def quantiles(metric: str, where: str = SERVER) -> Queries:
    """The usual four."""
    parts = (0.5, 0.9, 0.95, 0.99)
    return tuple((quantile(part, metric, where=where), f"p{part * 100:.0f}") for part in parts)


def gauge(metric: str, *by: str, more: str = "") -> str:
    """A gauge as it is, in all or by some labels."""
    return f"sum{_by(by)} ({metric}{{{SERVER}{more}}})"


def heatmap(metric: str, where: str) -> Queries:
    """A histogram's buckets."""
    return ((gained(f"{metric}_bucket", "le", where=where), "{{le}}"),)


def _by(labels: tuple[str, ...]) -> str:
    return f" by ({', '.join(labels)})" if labels else ""
