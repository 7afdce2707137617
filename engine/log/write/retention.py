"""Deletes segments of the event log that are past their age, over its size, or have more streams
than shall be kept.

A segment counts with its bytes as it lies on the disk, so more of them stay where they are
compressed. Its streams are those that ended in it, as its summaries say.
"""

import itertools
from collections.abc import Sequence
from pathlib import Path

import msgspec
import structlog

from engine.log.cold import files
from engine.log.format import chain
from engine.log.read import segments
from engine.log.summary import sidecars
from engine.log.write import chainfile

_log = structlog.get_logger(component="event_log")


def expired(
    found: list[segments.SegmentInfo],
    now_us: int,
    max_bytes: int,
    max_age_s: float,
    max_streams: int = 0,
    streams: Sequence[int] = (),
) -> list[segments.SegmentInfo]:
    """Which segments shall go: the oldest, up to the first that may stay.

    Never the newest, which is being written. Nothing between two that stay, so that what is left
    of a log has no hole.

    Args:
        found: oldest first.
        max_bytes: of all segments together; 0 for no limit.
        max_age_s: since a segment's last record; 0 for no limit.
        max_streams: of all segments together; 0 for no limit.
        streams: of each segment, where there is a limit.
    """
    total = sum(segment.size for segment in found)
    ended = sum(streams)
    oldest_us = now_us - round(max_age_s * 1_000_000)
    going = []
    for segment, its in zip(found[:-1], streams or itertools.repeat(0), strict=False):
        too_big = max_bytes > 0 and total > max_bytes
        too_old = max_age_s > 0 and segment.modified_us < oldest_us
        too_many = 0 < max_streams < ended
        if not too_big and not too_old and not too_many:
            break
        going.append(segment)
        total -= segment.size
        ended -= its
    return going


def prune(
    directory: Path,
    kept: chainfile.ChainFile,
    now_us: int,
    max_bytes: int,
    max_age_s: float,
    max_streams: int = 0,
) -> list[segments.SegmentInfo]:
    """Delete what `expired` names, and say so; the segments that are gone.

    The chain says first what will go, so a kill in between leaves files that nobody reads, and no
    hole. They go with the next; so does what could not be deleted.

    A segment is as old as the log's own time says: the system's clock may have been set since.

    Raises:
        OSError: the chain cannot be written, and nothing was deleted.
    """
    found = [
        msgspec.structs.replace(each, modified_us=kept.ended.get(each.number, each.modified_us))
        for each in segments.list_segments(directory)
    ]
    left = [each for each in found if each.number <= kept.pruned]
    staying = found[len(left) :]
    streams = [sidecars.rows_of(directory, each.number) for each in staying if max_streams]
    going = expired(staying, now_us, max_bytes, max_age_s, max_streams, streams)
    if going:
        kept.append(chain.Pruned(going[-1].number))
    gone: list[segments.SegmentInfo] = []
    for segment in (*left, *going):
        try:
            files.remove(directory, segment.number)
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
