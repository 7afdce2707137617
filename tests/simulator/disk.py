"""The disk under the event log: it can be full, write short, and be seen as a kill leaves it.

The files are real, in a directory of memory. What takes its time (syncing, closing, deleting) is
done one thing after the other, in virtual time instead of on a thread.
"""

import asyncio
import collections
import contextlib
import errno
import functools
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Literal

DiskFault = Literal["full", "short", "broken"]
"""No room at all; room for a part of what is written; every write fails, and new files too."""


class Disk:
    """Stands for the module `os` where the log writes.

    Attributes:
        fault: what is wrong with the disk now.
        faults: how often that was felt.
    """

    def __init__(self) -> None:
        self.fault: DiskFault | None = None
        self.faults = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def write(self, fd: int, data: bytes) -> int:
        """As `os.write`."""
        return os.write(fd, self._taken(data))

    def pwrite(self, fd: int, data: bytes, offset: int) -> int:
        """As `os.pwrite`."""
        return os.pwrite(fd, self._taken(data), offset)

    def _taken(self, data: bytes) -> bytes:
        """What there is room for of what is written."""
        if self.fault is None:
            return data
        self.faults += 1
        if self.fault == "short" and len(data) > 1:
            return data[: len(data) // 2]
        raise OSError(errno.ENOSPC if self.fault != "broken" else errno.EIO, "simulated")

    def open(self, path: Any, flags: int, mode: int = 0o777) -> int:
        """As `os.open`."""
        if self.fault == "broken" and flags & os.O_EXCL:
            self.faults += 1
            raise OSError(errno.EIO, "simulated")
        return os.open(path, flags, mode)


class Helper:
    """Stands for the log's helper thread.

    Args:
        delay: seconds that each chore takes which is one of the disk.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, delay: float) -> None:
        self._loop = loop
        self._delay = delay
        self._chores: collections.deque[tuple[float, Callable[[], object]]] = collections.deque()
        self._timer: asyncio.TimerHandle | None = None

    def submit(self, chore: Callable[..., object], *arguments: Any) -> Future[object]:
        """Have it done after everything that was asked before."""
        passes_on = any(isinstance(each, functools.partial) for each in arguments)
        done: Future[object] = Future()

        def work() -> None:
            try:
                done.set_result(chore(*arguments))
            except Exception as error:
                done.set_exception(error)

        self._chores.append((0.0 if passes_on else self._delay, work))
        if chore.__name__ == "_recover":  # which the log waits for
            self.shutdown()
        elif len(self._chores) == 1:
            self._work_later()
        return done

    def shutdown(self) -> None:
        """Wait until all is done."""
        if self._timer is not None:
            self._timer.cancel()
        while self._chores:
            self._chores.popleft()[1]()

    def _work_later(self) -> None:
        self._timer = self._loop.call_later(self._chores[0][0], self._work)

    def _work(self) -> None:
        self._chores[0][1]()
        self._chores.popleft()
        if self._chores:
            self._work_later()


class Unhurried:
    """Stands for the event that the helper thread waits for before it syncs."""

    def wait(self, timeout: float) -> bool:
        """`Helper` has let the time pass."""
        return False

    def is_set(self) -> bool:
        """What is read is read to its end."""
        return False

    def set(self) -> None:
        """Nobody waits."""

    def clear(self) -> None:
        """Nobody waits."""


class Threads:
    """Stands for the module `threading` in `engine.log.write.writer`."""

    Event = Unhurried
    Lock = threading.Lock


def memory_directory() -> Path:
    """Where the files of a run are; each run has a directory of its own there."""
    return next(path for path in (Path("/dev/shm"), Path("/tmp")) if os.access(path, os.W_OK))


def snapshot(log_dir: Path, into: Path) -> None:
    """What a process leaves that is killed now."""
    into.mkdir(parents=True)
    for path in sorted(log_dir.glob("[ce]*")):
        with contextlib.suppress(FileNotFoundError):
            shutil.copyfile(path, into / path.name)


@contextlib.contextmanager
def temporary_directory() -> Iterator[Path]:
    """A directory in memory, gone afterwards."""
    with tempfile.TemporaryDirectory(dir=memory_directory()) as name:
        yield Path(name)
