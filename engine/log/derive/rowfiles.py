"""Has the summaries beside a log agree with segments that were rewritten.

A row says where in their segments the records are, and those have moved; and of a stream that was
erased it says more than its stubs do. So each sidecar that is not right any more is made again, as
a start would. It is looked at what is there and not at what was done, since whoever did that may
have been killed before the sidecars came to their turn.
"""

import time
from collections.abc import Collection, Iterator
from pathlib import Path

from engine import regular
from engine.log.cold import files
from engine.log.format import stubs
from engine.log.read import segments
from engine.log.summary import keeper, moved, rows, scan, sidecars
from engine.log.summary.settings import SummaryCounts, SummarySettings


def remake(
    directory: Path, closed: list[segments.SegmentInfo], erased: Collection[str]
) -> list[int]:
    """Make again every sidecar that is not right any more, and return their numbers; none where
    none was kept.

    Args:
        closed: the segments that are not written to.
        erased: streams of which nothing but figures shall be left.

    Raises:
        NotRegular, OSError: one cannot be read or written; the next start makes it again.
    """
    kept = {each.number: each for each in sidecars.list_sidecars(directory)[0]}
    making = keeper.Keeper(
        directory, SummarySettings(), SummaryCounts(), _now_us, lambda: False, syncs=True
    )
    made = []
    for each in closed:
        sidecar = kept.get(each.number)
        path = directory / segments.segment_name(each.number)
        if sidecar is None:
            continue
        try:
            size = files.content_bytes(path)
        except FileNotFoundError:  # retention was faster
            continue
        if not sidecars.is_whole(sidecar.path, size) or _is_stale(sidecar, erased):
            making.remake(segments.SegmentInfo(each.number, path, size, each.modified_us))
            made.append(each.number)
            if not sidecar.is_sealed:  # of a server that was killed
                sidecar.path.unlink(missing_ok=True)
    return made


def left(directory: Path) -> Iterator[rows.Summary]:
    """Find the rows that have more of a stream than the stub of its last record: whoever erased it
    was killed before the sidecar came to its turn.

    Raises:
        NotRegular, OSError: the log cannot be read.
    """
    present = {each.number: each for each in segments.list_segments(directory)}
    for sidecar in sidecars.list_sidecars(directory)[0]:
        segment = present.get(sidecar.number)
        if segment is None:
            continue
        try:
            erased = {stubs.read(e.line).stream for e in scan.find(segment.path, (scan.ENDED,))}
            yield from (
                row
                for row in (_rows(sidecar.path) if erased else ())
                if row.summary in erased and not row.purged
            )
        except FileNotFoundError:  # retention was faster
            continue


def _is_stale(sidecar: sidecars.SidecarInfo, erased: Collection[str]) -> bool:
    """Whether a row tells of a stream that was erased, or points to where its beginning is not."""
    if any(row.summary in erased and not row.purged for row in _rows(sidecar.path)):
        return True
    return sidecar.is_sealed and moved.has_moved(sidecar.path.parent, sidecar.number)


def _rows(path: Path) -> Iterator[rows.Summary]:
    with regular.reader(path) as file:
        yield from filter(None, map(rows.read, file))


def _now_us() -> int:
    return time.time_ns() // 1000
