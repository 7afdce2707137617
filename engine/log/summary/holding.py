"""The content of a log in figures: how far back it goes, and how far before the oldest of it goes.

The limits of a log are bytes, an age and a number of streams, and whoever sets them wants a time.
So this says how far back a log goes now, and how far it will at the rate of what it holds.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

import msgspec

from engine.log.cold import files
from engine.log.format import chain
from engine.log.read import segmentread
from engine.log.summary import sidecars

Limit = Literal["size", "age", "streams"]
"""By which limit the oldest goes."""


class Limits(msgspec.Struct, frozen=True):
    """The limits of a log; 0 is none.

    Attributes:
        compress_age_s: after which a segment is compressed; 0: never.
    """

    max_bytes: int
    max_age_s: int
    max_streams: int
    compress_age_s: int


class Horizon(msgspec.Struct, frozen=True):
    """The seconds that a log goes back at the rate of what it holds, and what ends them."""

    seconds: float
    by: Limit


class Holding(msgspec.Struct, frozen=True):
    """The content of a log when it was looked at.

    Attributes:
        at_us: when that was, in microseconds since the epoch.
        first_us: when the oldest segment was begun.
        bytes: of all segments as they lie on the disk.
        content_bytes: of the same before they were compressed.
        compressed: of these, how many segments, and their bytes before and after.
        streams: that ended in them, and requests that were refused, as far as summaries say.
    """

    at_us: int
    first_us: int
    segments: int
    bytes: int
    content_bytes: int
    streams: int
    compressed: int = 0
    compressed_bytes: int = 0
    compressed_content_bytes: int = 0

    def span_s(self, now_us: int) -> float:
        """Return how far back the log goes, in seconds."""
        return max(0, now_us - self.first_us) / 1_000_000

    def horizon(self, limits: Limits) -> Horizon | None:
        """Return how far back it will go, at the rate of what it holds.

        Returns:
            None where nothing limits it, or where too little is there to tell.
        """
        seconds = self.span_s(self.at_us)
        found: list[tuple[float, Limit]] = []
        if limits.max_age_s:
            found.append((limits.max_age_s, "age"))
        if limits.max_bytes and self.content_bytes and seconds:
            rate = self.content_bytes / seconds
            found.append((self._seconds_in(limits, rate), "size"))
        if limits.max_streams and self.streams and seconds:
            found.append((limits.max_streams * seconds / self.streams, "streams"))
        return Horizon(*min(found)) if found else None

    def _seconds_in(self, limits: Limits, rate: float) -> float:
        """How long content that comes at a rate, in bytes a second, fits into the size."""
        plain_s = limits.max_bytes / rate
        if not self.compressed_bytes or not limits.compress_age_s:
            return plain_s
        if plain_s <= limits.compress_age_s:
            return plain_s
        left = limits.max_bytes - limits.compress_age_s * rate
        ratio = self.compressed_content_bytes / self.compressed_bytes
        return limits.compress_age_s + left * ratio / rate


def look(
    directory: Path,
    found: Iterable[files.SegmentInfo],
    holds: Mapping[int, chain.Figures],
    now_us: int,
) -> Holding | None:
    """Return what a log holds; None where that is nothing.

    Args:
        found: its segments, oldest first.
        holds: their figures, of those that are closed.

    Raises:
        NotRegular, OSError: the directory cannot be read.
    """
    each = [(one, holds[one.number].bytes if one.number in holds else one.size) for one in found]
    if not each:
        return None
    oldest = each[0][0]
    header = segmentread.peek_header(oldest.path)
    compressed = [(one, content) for one, content in each if one.is_compressed]
    return Holding(
        now_us,
        oldest.modified_us if header is None else header.created,
        len(each),
        sum(one.size for one, _ in each),
        sum(content for _, content in each),
        sum(sidecars.rows_of(directory, one.number) for one, _ in each),
        len(compressed),
        sum(one.size for one, _ in compressed),
        sum(content for _, content in compressed),
    )
