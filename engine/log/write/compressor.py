"""Compresses old segments beside the log's writer, which never waits for it.

A thread of its own takes one member of a segment after the other. It has the least priority, and
pauses after each for so long that it takes `SHARE` of a processor; to compress lets go of the
interpreter. A stop waits for the member at hand and no longer.
"""

import contextlib
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import msgspec
import structlog

from engine import containment
from engine.log.cold import compress, files
from engine.log.format import chain
from engine.log.read import manifest
from engine.log.write import chainlock, lock as writerlock

SHARE: Final = 0.25
"""The part of one processor that it takes at the most: some 12 MiB of a log in a second."""

LEAST_PRIORITY: Final = 19
"""The least priority of a thread on Linux."""

_log = structlog.get_logger(component="event_log")


class Cold(msgspec.Struct, frozen=True):
    """A segment that is to be compressed, and what the chain says that it holds."""

    number: int
    holds: chain.Figures


class CompressionCounts(msgspec.Struct):
    """Counts of compression since the process began, for metrics.

    Attributes:
        segments: that were compressed.
        bytes_read: of their content.
        bytes_written: of what they are now.
        failures: segments that could not be compressed, each time that it was tried.
    """

    segments: int = 0
    bytes_read: int = 0
    bytes_written: int = 0
    failures: int = 0


class Compressor:
    """Compresses segments of one directory. Its methods may be called on any thread.

    Args:
        is_writer: whether this process is still the one that writes in the directory.
    """

    def __init__(
        self,
        directory: Path,
        counts: CompressionCounts,
        is_writer: Callable[[], bool],
    ) -> None:
        self._directory = directory
        self._counts = counts
        self._is_writer = is_writer
        self._thread = ThreadPoolExecutor(1, "log-compression", _lower_priority)
        self._closing = threading.Event()
        self._guard = threading.Lock()
        self._wanted: tuple[list[Cold], Callable[[], object]] | None = None
        self._is_clear = False
        self._unfit: set[int] = set()
        self._said = ""
        self._worked_s = 0.0

    def take(self, wanted: list[Cold], look: Callable[[], object]) -> None:
        """Have these be compressed, in their order, in place of those that were wanted before.

        Args:
            look: called on the thread before them, and again where any of them was.
        """
        with self._guard:
            is_asked, self._wanted = self._wanted is not None, (wanted, look)
        if not is_asked:
            with contextlib.suppress(RuntimeError):  # it is closed
                self._thread.submit(self._attempt)

    def close(self) -> None:
        """Stop as soon as the member at hand is done."""
        self._closing.set()
        self._thread.shutdown()

    def _attempt(self) -> None:
        """Do what is wanted, where nobody else would hear of a defect."""
        try:
            self._work()
        except compress.Stopped:
            pass
        except OSError as error:
            self._fail(str(self._directory), error)
        except Exception as error:
            containment.report(containment.Boundary.LOG, error, task="compression")

    def _work(self) -> None:
        with self._guard:
            asked, self._wanted = self._wanted, None
        if asked is None:
            return
        wanted, look = asked
        if not self._is_clear and self._is_writer():
            compress.clear(self._directory)
            self._is_clear = True
        look()
        if sum(self._compress(each) for each in wanted):
            look()

    def _compress(self, cold: Cold) -> bool:
        """Compress a segment, and return whether it was."""
        path = self._directory / files.segment_name(cold.number)
        if cold.number in self._unfit or self._closing.is_set() or not path.exists():
            return False
        self._worked_s = time.thread_time()
        try:
            with chainlock.alone(self._directory):
                size = compress.compress(
                    self._directory, cold.number, self._holds(cold), self._pace, self._is_writer
                )
        except writerlock.LogLocked:  # streams are erased there: the next look wants it again
            return False
        except compress.Unfit as error:
            self._unfit.add(cold.number)
            self._fail(str(path), error)
            return False
        except FileNotFoundError:  # retention was faster
            return False
        except OSError as error:
            self._fail(str(path), error)
            return False
        except compress.Stopped:
            raise
        except Exception as error:  # it is this segment's: the others are not left for it
            self._unfit.add(cold.number)
            self._counts.failures += 1
            containment.report(containment.Boundary.LOG, error, task="compression", path=str(path))
            return False
        self._said = ""
        self._counts.segments += 1
        self._counts.bytes_read += cold.holds.bytes
        self._counts.bytes_written += size
        _log.info(
            "segment_compressed",
            segment=cold.number,
            bytes=cold.holds.bytes,
            compressed_bytes=size,
        )
        return True

    def _holds(self, cold: Cold) -> chain.Figures:
        """What a segment holds by now: another process may have erased streams there since."""
        looked = manifest.look(self._directory)
        known = manifest.Manifest(self._directory, looked, headed=False)
        return known.holds(cold.number) or cold.holds

    def _pace(self) -> None:
        """Pause for the processor's time that the last member took, and more.

        Raises:
            Stopped: nobody waits for it any more.
        """
        took_s = time.thread_time() - self._worked_s
        if self._closing.wait(took_s * (1 / SHARE - 1)):
            raise compress.Stopped
        self._worked_s = time.thread_time()

    def _fail(self, path: str, error: Exception) -> None:
        """Say what is wrong, once: it is tried again and again."""
        self._counts.failures += 1
        text = error.strerror or str(error) if isinstance(error, OSError) else str(error)
        if text != self._said:
            _log.warning("segment_not_compressed", path=path, error=text)
        self._said = text


def _lower_priority() -> None:
    with contextlib.suppress(OSError, AttributeError):  # not everywhere has a thread its own
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), LEAST_PRIORITY)
