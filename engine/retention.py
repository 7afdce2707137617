"""Deletes segments of the event log that are past their age or over its size."""

from pathlib import Path

import structlog

from engine import segments

_log = structlog.get_logger(component="retention")


def expired(
    found: list[segments.SegmentInfo], now_us: int, max_bytes: int, max_age_s: float
) -> list[segments.SegmentInfo]:
    """Which segments shall go: the oldest, up to the first that may stay.

    Never the newest, which is being written. Nothing between two that stay, so that what is left
    of a log has no hole.

    Args:
        found: oldest first.
        max_bytes: of all segments together; 0 for no limit.
        max_age_s: since a segment's last record; 0 for no limit.
    """
    total = sum(segment.size for segment in found)
    oldest_us = now_us - round(max_age_s * 1_000_000)
    going = []
    for segment in found[:-1]:
        too_big = max_bytes > 0 and total > max_bytes
        too_old = max_age_s > 0 and segment.modified_us < oldest_us
        if not too_big and not too_old:
            break
        going.append(segment)
        total -= segment.size
    return going


def prune(
    directory: Path, now_us: int, max_bytes: int, max_age_s: float
) -> list[segments.SegmentInfo]:
    """Delete what `expired` names, and say so; the segments that are gone.

    One that cannot be deleted ends it, and is tried again the next time.
    """
    gone: list[segments.SegmentInfo] = []
    for segment in expired(segments.list_segments(directory), now_us, max_bytes, max_age_s):
        try:
            segment.path.unlink(missing_ok=True)
        except OSError as error:
            _log.error("segment_not_deleted", path=str(segment.path), error=str(error))
            break
        gone.append(segment)
    if gone:
        _log.info(
            "segments_deleted",
            count=len(gone),
            bytes=sum(segment.size for segment in gone),
            oldest=gone[0].path.name,
            newest=gone[-1].path.name,
        )
    return gone
