"""How the event log is kept, and what it went through."""

import enum
from pathlib import Path
from typing import Literal

import msgspec

from engine import redaction
from engine.log.content import mask
from engine.log.summary import holding
from engine.log.summary.settings import SummarySettings
from engine.log.write import compressor, writer as segmentwriter


class LogState(enum.Enum):
    """Whether records reach the disk.

    CLOSED: not open yet, or no more. FAILING: the last try to write failed, and others follow.
    """

    CLOSED = enum.auto()
    WRITING = enum.auto()
    FAILING = enum.auto()


class LogSettings(msgspec.Struct, frozen=True):
    """How the log is kept; meanings and defaults as in `docs/configuration.md`.

    Attributes:
        max_bytes: of all segments together; 0 for no limit.
        max_age_s: since a segment's last record; 0 for no limit.
        max_streams: that ended in all segments together; 0 for no limit.
        compress_age_s: since a segment's last record, from which on it is compressed; 0: never.
        summaries: of ended requests; None: none are kept.
        known: the secrets that no record of a beginning, a failure or an end has.
    """

    directory: Path
    content: mask.Content = "masked"
    fsync: segmentwriter.FsyncPolicy = "interval"
    segment_bytes: int = 64 << 20
    max_bytes: int = 1 << 30
    max_age_s: int = 7 * 86_400
    max_streams: int = 0
    compress_age_s: int = 600
    on_error: Literal["continue", "refuse"] = "continue"
    known: redaction.Redaction = redaction.NONE
    summaries: SummarySettings | None = None

    @property
    def limits(self) -> holding.Limits:
        """By which the oldest of it goes."""
        return holding.Limits(
            self.max_bytes, self.max_age_s, self.max_streams, self.compress_age_s
        )


class LogCounts(msgspec.Struct):
    """Counts of a log since its process began, for metrics.

    Attributes:
        failures: tries to write that failed.
        records_lost: records that will never be on file.
        segments_pruned: segments deleted by retention, of `bytes_pruned` together.
        compression: what became of old segments.
    """

    failures: int = 0
    records_lost: int = 0
    segments_pruned: int = 0
    bytes_pruned: int = 0
    compression: compressor.CompressionCounts = msgspec.field(
        default_factory=compressor.CompressionCounts
    )
