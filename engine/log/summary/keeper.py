"""Keeps the sidecars of a log's directory: writes the live one, and puts the others right.

All of it happens on a thread of its own: a disk that stalls holds up neither the event loop nor
the log. The thread is handed the records that summaries are made of as they come on file. What it
was not handed it reads from the segments: what a killed process had left, what came while its disk
failed, and what did not fit into its queue. Both ways lead to the same rows, since a row is made
of the bytes that are on file.

A segment is summarized before the next one is: whoever reads the rows in order misses none.
"""

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

import structlog

from engine import containment
from engine.log.cold import files
from engine.log.read import segments
from engine.log.summary import moved, retention, rows, scan, sidecars
from engine.log.summary.settings import SummaryCounts, SummarySettings, SummaryState
from machines import parse

RETRY_S: Final = 1.0
"""Pause between two tries to write while they fail: each may read a whole segment."""

MOST_BEGUN: Final = 100_000
"""Streams whose beginning is remembered; for any other the log is searched at its end. There are
no more streams at once, but the log may have lost the ends of some."""

ROWS_AT_ONCE: Final = 1_000
"""Rows that are made before they are written."""


class Stopped(Exception):
    """Raised where nobody waits any more for what is made up for."""


_log = structlog.get_logger(component="event_log")


class Record(NamedTuple):
    """A first or last record as it came on file; None in its place is the beginning of a
    segment."""

    segment: int
    found: scan.Found | None = None


class Keeper:
    """The sidecars of one directory. Its methods are for one thread; only a defect raises.

    Args:
        is_closing: says whether nobody waits any more for what takes long.
        syncs: whether sealed files are forced to the disk.

    Attributes:
        state: may be read on any thread.
        through: number of the last segment whose rows may be read: those before it have all of
            theirs, and the live one's are there in order. It may be read on any thread.
    """

    def __init__(
        self,
        directory: Path,
        settings: SummarySettings,
        counts: SummaryCounts,
        now_us: Callable[[], int],
        is_closing: Callable[[], bool],
        *,
        syncs: bool,
    ) -> None:
        self.state = SummaryState.CLOSED
        self.through = 0
        self._directory = directory
        self._settings = settings
        self._counts = counts
        self._now = now_us
        self._is_closing = is_closing
        self._syncs = syncs
        self._live = self._own = 0
        self._sidecar: sidecars.Sidecar | None = None
        self._covered = 0
        self._is_unread = False
        self._begun: dict[str, rows.Begun] = {}
        self._whole: set[int] = set()
        self._failed_s = -RETRY_S

    def take(self, records: list[Record], *, is_missing: bool = False) -> None:
        """Summarize what has come on file.

        Args:
            is_missing: whether records before these were not handed over.
        """
        try:
            self._take(records, is_missing=is_missing)
        except Exception as error:
            # What was left of them is read from the segments, up to the newest.
            self._live = max([self._live, *(each.segment for each in records)])
            self._fail(error)
        self.catch_up()

    def catch_up(self) -> None:
        """Make up for what is missing, if it is time for another try."""
        is_due = time.monotonic() - self._failed_s >= RETRY_S
        if self._sidecar is not None or not self._live or not is_due:
            return
        try:
            self._make_up()
        except Stopped:
            pass
        except Exception as error:
            self._fail(error)

    def prune(self) -> None:
        """Apply the limits of age and size."""
        if self._sidecar is None:
            return  # segments may be missing that are still to be summarized
        try:
            present = {each.number for each in segments.list_segments(self._directory)}
            self._whole &= present
            retention.prune(self._directory, present, self._now(), self._settings, self._counts)
        except OSError as error:
            _log.error("summaries_not_deleted", path=str(self._directory), error=str(error))

    def close(self) -> None:
        """Seal the live sidecar: nothing more comes to its segment."""
        try:
            self._seal()
        except OSError as error:
            _log.error("summaries_not_closed", error=str(error))
        self.abandon()

    def abandon(self) -> None:
        """Leave the files as they are: another process has them, or may have."""
        self._drop()
        self._live = self._own = self.through = 0
        self._begun.clear()
        self._whole.clear()
        self.state = SummaryState.CLOSED

    def _take(self, records: list[Record], *, is_missing: bool) -> None:
        made: list[rows.Summary] = []
        if is_missing:
            self._drop()
        for segment, found in records:
            if segment > self._live:
                self._write(made)
                self._turn(segment, is_missing=is_missing)
                is_missing = False
            if found is None or segment < self._live:
                continue
            if self._sidecar is None:
                self._is_unread = True
            elif found.offset >= self._covered:
                self._covered = found.offset + len(found.line)
                self._summarize(segment, found, made)
        self._write(made)

    def _turn(self, number: int, *, is_missing: bool) -> None:
        """Go on with another segment: nothing more comes to the one before it."""
        self._live = number
        self._seal()
        self._is_unread = is_missing
        self.catch_up()

    def _seal(self) -> None:
        sidecar, self._sidecar = self._sidecar, None
        if sidecar is None:
            return
        path = self._directory / segments.segment_name(sidecar.number)
        try:
            size = files.content_bytes(path)
        except FileNotFoundError:  # somebody deleted the segment, and its rows stay
            size = self._covered
        sidecar.seal(size, syncs=self._syncs)
        self._whole.add(sidecar.number)

    def _drop(self) -> None:
        """Give up the live sidecar, which is to be made again."""
        if self._sidecar is not None:
            self._sidecar.release()
        self._sidecar = None
        self._is_unread = True

    def _write(self, made: list[rows.Summary]) -> None:
        if self._sidecar is not None:
            self._sidecar.append(made)
        made.clear()

    def _summarize(self, segment: int, found: scan.Found, made: list[rows.Summary]) -> None:
        """Take the next record of a segment, and add the row that it makes."""
        place = segment, found.offset
        try:
            if found.event == scan.OPENED:
                begun = rows.opening(place, found.line)
                self._begun[begun.opening.stream] = begun
                if len(self._begun) > MOST_BEGUN:
                    del self._begun[next(iter(self._begun))]
                return
            if found.event == scan.ENDED:
                made.append(rows.of_stub(place, found.line))
                return
            stream = rows.stream_of(found.line)
            if stream and stream not in self._begun:
                self._find({stream}, segment)
            made.append(rows.summarize(place, found.line, self._begun.pop(stream, None)))
        except parse.ParseError as error:
            self._counts.unreadable += 1
            _log.warning(
                "summary_not_made", segment=segment, offset=found.offset, error=str(error)
            )
        except Exception as error:
            self._counts.unreadable += 1
            ids = {"segment": segment, "offset": found.offset}
            containment.report(containment.Boundary.LOG, error, task="summary", **ids)

    def _find(self, streams: set[str], before: int) -> None:
        """Look in older segments for the beginnings of streams."""
        older = [e for e in segments.list_segments(self._directory) if e.number <= before]
        self._begun.update(scan.beginnings(streams, older))

    def _make_up(self) -> None:
        """Summarize all segments that are not, in their order, and go on with the live one.

        Raises:
            Stopped: nobody waits for it any more.
            NotRegular, OSError: something cannot be read or written.
        """
        present = segments.list_segments(self._directory)
        self._adopt({each.number for each in present})
        for segment in present:
            if segment.number < self._live:
                self.through = max(self.through, segment.number - 1)
                self._put_right(segment)
        self.through = max(self.through, self._live - 1)
        if self._own != self._live:
            self._set_aside(self._live)
            self._own = self._live
        self._sidecar = sidecars.Sidecar(self._directory, self._live)
        self.through = self._live  # not before: whoever reads would miss its file
        self._covered = 0
        if self._is_unread:
            self._read_live(self._sidecar)
        if self.state is SummaryState.FAILING:
            _log.warning("summaries_recovered", segment=self._live)
        self.state = SummaryState.WORKING
        self.prune()

    def _read_live(self, sidecar: sidecars.Sidecar) -> None:
        """Write the rows of the live segment whose records were not handed over."""
        path = self._directory / segments.segment_name(self._live)
        try:
            self._fill(segments.SegmentInfo(self._live, path, 0, 0), sidecar)
        except FileNotFoundError:
            self._counts.segments_missed += 1
            _log.error("segment_not_summarized", segment=self._live)
        except BaseException:
            self._drop()
            raise

    def _adopt(self, present: set[int]) -> None:
        """Keep what is left of segments that are gone, and nothing of drafts."""
        found, drafts = sidecars.list_sidecars(self._directory)
        for draft in drafts:
            draft.unlink(missing_ok=True)
        for each in found:
            if not each.is_sealed and each.number not in present and each.number < self._live:
                each.path.replace(self._directory / sidecars.name_of(each.number))
                self._counts.segments_missed += 1
                _log.error("segment_not_summarized", segment=each.number, kept=each.path.name)

    def _set_aside(self, number: int) -> None:
        """Make room for the sidecar of a segment that was begun here: whatever has its name is of
        one that somebody deleted."""
        name = sidecars.name_of(number)
        for path in (self._directory / name, self._directory / f"{name}{sidecars.OPEN}"):
            if path.exists():
                path.replace(path.with_name(f"{name}{sidecars.ASIDE}"))
                self._counts.segments_missed += 1
                _log.error("summaries_set_aside", segment=number, kept=f"{name}{sidecars.ASIDE}")

    def _put_right(self, segment: segments.SegmentInfo) -> None:
        """Make the sidecar of a segment that is closed, if it is not there as it should be."""
        if segment.number in self._whole:
            return
        path = self._directory / sidecars.name_of(segment.number)
        if self.state is not SummaryState.FAILING:
            self.state = SummaryState.BEHIND
        try:
            size = files.content_bytes(segment.path)
            if not path.exists() or not self._is_right(segment.number, size):
                draft = sidecars.Sidecar(self._directory, segment.number, sidecars.DRAFT)
                try:
                    self._fill(segment, draft)
                    draft.seal(size, syncs=self._syncs)
                finally:
                    draft.release()
                self._counts.rebuilt += 1
                _log.info("summaries_rebuilt", segment=segment.number, rows=draft.rows)
        except FileNotFoundError:
            if not path.exists():
                self._counts.segments_missed += 1
                _log.error("segment_not_summarized", segment=segment.number)
        path.with_name(f"{path.name}{sidecars.OPEN}").unlink(missing_ok=True)
        self._whole.add(segment.number)

    def _is_right(self, number: int, segment_bytes: int) -> bool:
        path = self._directory / sidecars.name_of(number)
        whole = sidecars.is_whole(path, segment_bytes)
        return whole and not moved.has_moved(self._directory, number)

    def remake(self, segment: segments.SegmentInfo) -> None:
        """Make the sidecar of a segment anew that was rewritten, whoever reads it meanwhile.

        Raises:
            NotRegular, OSError: something cannot be read or written.
        """
        draft = sidecars.Sidecar(self._directory, segment.number, sidecars.REWRITTEN)
        try:
            self._fill(segment, draft)
            draft.seal(files.content_bytes(segment.path), syncs=self._syncs)
        finally:
            draft.release()

    def _fill(self, segment: segments.SegmentInfo, sidecar: sidecars.Sidecar) -> None:
        """Write all rows of a segment."""
        self._look_back(segment)
        made: list[rows.Summary] = []
        for found in scan.find(segment.path):
            self._summarize(segment.number, found, made)
            if segment.number == self._live:
                self._covered = found.offset + len(found.line)
            elif self._is_closing():  # there may be many of them
                raise Stopped
            if len(made) >= ROWS_AT_ONCE:
                sidecar.append(made)
                made.clear()
        sidecar.append(made)

    def _look_back(self, segment: segments.SegmentInfo) -> None:
        """Find the beginnings that a segment lacks, all at once: it may have hundreds."""
        here: set[str] = set()
        lacking: set[str] = set()
        for found in scan.find(segment.path):
            with contextlib.suppress(parse.ParseError):
                if found.event == scan.OPENED:
                    here.add(rows.opening((0, 0), found.line).opening.stream)
                else:
                    lacking.add(rows.stream_of(found.line))
        lacking -= {"", *here, *self._begun}
        if lacking:
            self._find(lacking, segment.number - 1)

    def _fail(self, error: Exception) -> None:
        self._counts.failures += 1
        self._failed_s = time.monotonic()
        self._drop()
        if not isinstance(error, OSError):
            containment.report(containment.Boundary.LOG, error, task="summaries")
        if self.state is not SummaryState.FAILING:
            _log.error("summaries_failing", segment=self._live, error=str(error))
        self.state = SummaryState.FAILING
