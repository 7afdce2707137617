"""The summaries of a log as the event loop sees them: it hands records over, and goes on.

`engine.log.summary.keeper` does the work, on a thread of its own. What waits for it is bounded: if
the disk stalls, records are not handed over, and the keeper reads them from the segments later.
"""

import asyncio
import threading
from collections.abc import Callable, Collection
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Final

from engine import containment
from engine.log.summary import keeper, scan
from engine.log.summary.settings import SummaryCounts, SummarySettings, SummaryState

QUEUE_BYTES: Final = 8 << 20
"""Records that may wait for the thread; one of a request has 256 KiB at the most."""

GATHER_S: Final = 0.1
"""How long records are gathered before the thread is woken. A process that is killed meanwhile
loses no row: the next start makes it from the log."""


class SummaryLog:
    """The summaries of one log. Its methods are for the loop's thread.

    Args:
        syncs: whether sealed files are forced to the disk.

    Attributes:
        directory: where the sidecars are, beside the segments.
        counts: for metrics.
    """

    def __init__(
        self,
        directory: Path,
        settings: SummarySettings,
        now_us: Callable[[], int],
        *,
        syncs: bool,
    ) -> None:
        self.directory = directory
        self.counts = SummaryCounts()
        self._closing = threading.Event()
        self._keeper = keeper.Keeper(
            directory, settings, self.counts, now_us, self._closing.is_set, syncs=syncs
        )
        self._thread = ThreadPoolExecutor(1, "log-summaries")
        self._guard = threading.Lock()
        self._waiting: list[keeper.Record] = []
        self._bytes = 0
        self._is_missing = False
        self._is_asked = False

    @property
    def state(self) -> SummaryState:
        """How it goes."""
        return self._keeper.state

    @property
    def needs_segments(self) -> bool:
        """Whether segments are still to be summarized that a process before left. While that
        cannot be done the answer is no: the disk's limits come first. Any thread may ask."""
        return self._keeper.state in (SummaryState.CLOSED, SummaryState.BEHIND)

    @property
    def through(self) -> int:
        """Number of the last segment whose rows may be read: none before it lacks any."""
        return self._keeper.through

    def turned(self, segment: int) -> None:
        """Take note that another segment is written to, the first one too."""
        self._hand_over([keeper.Record(segment)], 0)

    def written(
        self,
        segment: int,
        offset: int,
        streams: Collection[bytes],
        pending: list[tuple[bytes, int, bytes]],
        lines: list[bytes],
    ) -> None:
        """Take what was put on file; never raises.

        Args:
            offset: of the first line.
            streams: prefixes of those that began or ended; records of others are passed over.
            pending: the records as they were before they were lines.
        """
        try:
            records = []
            size = 0
            for (prefix, _, rest), line in zip(pending, lines, strict=True):
                if prefix in streams:
                    event = scan.event_of(rest)
                    if event is not None:
                        records.append(keeper.Record(segment, scan.Found(offset, event, line)))
                        size += len(line)
                offset += len(line)
            if records:
                self._hand_over(records, size)
        except Exception as error:
            self._broke(error)

    def settled(self) -> Future[None]:
        """Return what is done once everything that is on file by now is summarized, or could not
        be: `state` says which, or the exception that it has."""
        return self._submit(self._settle)

    def prune(self) -> None:
        """Apply the limits of age and size. Every new segment does; this is for idle servers."""
        self._submit(self._keeper.prune)

    def abandon(self) -> None:
        """Leave the files to another process; the next segment of ours begins anew."""
        with self._guard:
            self._waiting.clear()
            self._bytes = 0
        self._submit(self._keeper.abandon)

    def close(self) -> None:
        """Wait until all is written that was handed over."""
        self._closing.set()
        self._submit(self._work)
        self._submit(self._keeper.close)
        self._thread.shutdown()

    def _hand_over(self, records: list[keeper.Record], size: int) -> None:
        with self._guard:
            if self._bytes + size > QUEUE_BYTES:
                self._is_missing = True
                records = [keeper.Record(each.segment) for each in records[-1:]]
                self._waiting.clear()
                self._bytes = size = 0
            self._waiting += records
            self._bytes += size
            is_asked, self._is_asked = self._is_asked, True
        if not is_asked:
            self._ask()

    def _ask(self) -> None:
        """Have the thread work in a while: to wake it costs more than a row."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self._submit(self._work)
        else:
            loop.call_later(GATHER_S, self._wake)

    def _wake(self) -> None:
        if not self._closing.is_set():
            self._submit(self._work)

    def _submit(self, chore: Callable[[], None]) -> Future[None]:
        return self._thread.submit(self._attempt, chore)

    def _attempt(self, chore: Callable[[], None]) -> None:
        """Do something on the thread, where nobody else would hear of a defect."""
        try:
            chore()
        except Exception as error:
            self._broke(error)
            raise

    def _broke(self, error: Exception) -> None:
        """Say what a defect was; the records that it kept back are read from the segments."""
        containment.report(containment.Boundary.LOG, error, task="summaries")
        with self._guard:
            self._is_missing = True

    def _settle(self) -> None:
        """Do all that was handed over, on the thread, and what else is missing."""
        self._work()
        self._keeper.catch_up()

    def _work(self) -> None:
        """Do what has been handed over, on the thread."""
        with self._guard:
            waiting, self._waiting = self._waiting, []
            is_missing, self._is_missing = self._is_missing, False
            self._bytes = 0
            self._is_asked = False
        self._keeper.take(waiting, is_missing=is_missing)
