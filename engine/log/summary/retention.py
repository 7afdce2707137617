"""Deletes sidecars that are past their age or over their size.

One whose segment is still there is never deleted: the next start would make it again. So the
limits of the log bound those, and the limits here the ones that have outlived their segment.
"""

from collections.abc import Collection
from pathlib import Path

import structlog

from engine.log.summary import sidecars
from engine.log.summary.settings import SummaryCounts, SummarySettings

_log = structlog.get_logger(component="event_log")


def expired(
    found: list[sidecars.SidecarInfo],
    segments: Collection[int],
    now_us: int,
    settings: SummarySettings,
) -> list[sidecars.SidecarInfo]:
    """Return which sidecars shall go: the oldest, up to the first that may stay.

    Args:
        found: oldest first.
        segments: numbers of those that are there.

    Raises:
        NotRegular, OSError: one cannot be read.
    """
    total = sum(each.size for each in found)
    oldest_us = now_us - settings.max_age_s * 1_000_000
    going = []
    for each in found:
        if each.number in segments:
            break
        too_big = 0 < settings.max_bytes < total
        if not too_big and not (settings.max_age_s > 0 and _ended_us(each) < oldest_us):
            break
        going.append(each)
        total -= each.size
    return going


def _ended_us(sidecar: sidecars.SidecarInfo) -> int:
    last = sidecars.last_line(sidecar.path)
    return last.last if last is not None and last.rows else sidecar.modified_us


def prune(
    directory: Path,
    segments: Collection[int],
    now_us: int,
    settings: SummarySettings,
    counts: SummaryCounts,
) -> None:
    """Delete what `expired` names, count it, and say so.

    Raises:
        NotRegular, OSError: one cannot be read or deleted; those before it are gone.
    """
    going = expired(sidecars.list_sidecars(directory)[0], segments, now_us, settings)
    for each in going:
        each.path.unlink(missing_ok=True)
        counts.pruned += 1
        counts.bytes_pruned += each.size
    if going:
        _log.info(
            "summaries_deleted",
            count=len(going),
            bytes=sum(each.size for each in going),
            oldest=going[0].path.name,
            newest=going[-1].path.name,
        )
