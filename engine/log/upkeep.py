"""The care for a log's old segments: which are deleted, which are compressed, what is held.

It is done after each rotation and once an hour, on threads that neither the loop nor a write waits
for.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Final

import structlog

from engine.log.cold import files
from engine.log.format import chain
from engine.log.settings import LogCounts, LogSettings
from engine.log.summary import holding, summarylog
from engine.log.write import chainfile, compressor, retention

PARTS: Final = 8
"""A segment is left after this part of a limit, since it can only be deleted as a whole."""

_log = structlog.get_logger(component="event_log")


class Upkeep:
    """The care for the segments of one log.

    Args:
        is_writer: whether this process is still the one that writes in the directory.

    Attributes:
        is_due: whether the limits could not be applied when they were to be.
        holding: what the log held when it was looked at last; None: that was never, or nothing.
            It may be read on any thread.
        limits: by which the oldest goes.
    """

    def __init__(
        self,
        settings: LogSettings,
        counts: LogCounts,
        summaries: summarylog.SummaryLog | None,
        is_writer: Callable[[], bool],
    ) -> None:
        self.is_due = False
        self.holding: holding.Holding | None = None
        self.limits = settings.limits
        self._settings = settings
        self._counts = counts
        self._summaries = summaries
        self._compressor = compressor.Compressor(settings.directory, counts.compression, is_writer)

    def is_full(self, age_us: int, streams: int) -> bool:
        """Return whether a segment of such an age, in which so many streams ended, is to be left.

        Its size is the writer's to limit.
        """
        settings = self._settings
        too_old = 0 < settings.max_age_s * 1_000_000 // PARTS <= age_us
        return too_old or 0 < -(-settings.max_streams // PARTS) <= streams

    def apply(self, kept: chainfile.ChainFile, now_us: int, first: int) -> None:
        """Delete what is over a limit, and have compressed what is old; on the helper thread.

        Args:
            first: no request that may still be open began before this segment.
        """
        if self._summaries is not None and self._summaries.needs_segments:
            self.is_due = True
            return
        self._prune(kept, now_us)
        self._compress(kept, now_us, first)

    def close(self) -> None:
        """Give up what is being compressed."""
        self._compressor.close()

    def _prune(self, kept: chainfile.ChainFile, now_us: int) -> None:
        settings = self._settings
        # The live segment will fill, so the others leave it room.
        others = settings.max_bytes and max(1, settings.max_bytes - settings.segment_bytes)
        try:
            gone = retention.prune(
                settings.directory,
                kept,
                now_us,
                others,
                settings.max_age_s,
                settings.max_streams,
            )
        except OSError as error:  # what is written is not in danger for it
            _log.error("segment_not_deleted", path=str(settings.directory), error=str(error))
            return
        self._counts.segments_pruned += len(gone)
        self._counts.bytes_pruned += sum(segment.size for segment in gone)

    def _compress(self, kept: chainfile.ChainFile, now_us: int, first: int) -> None:
        age_us = self._settings.compress_age_s * 1_000_000
        wanted = [
            compressor.Cold(number, kept.holds[number])
            for number, ended_us in sorted(kept.ended.items())
            if age_us and number < first and now_us - ended_us >= age_us
        ]
        self._compressor.take(wanted, functools.partial(self._look, dict(kept.holds), now_us))

    def _look(self, holds: Mapping[int, chain.Figures], now_us: int) -> None:
        """Note what the log holds; on the thread that compresses."""
        found = files.list_segments(self._settings.directory)
        self.holding = holding.look(self._settings.directory, found, holds, now_us)
