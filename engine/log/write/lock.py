"""The lock of a log's one writer.

The problem: who may write to the directory can delete the file that is locked, and then a second
process locks another of that name. So the writer looks again and again whether the file is still
there, and keeps its newest segment locked besides: who comes to a directory without a lock finds
that one.
"""

import contextlib
import fcntl
import os
from pathlib import Path
from typing import Final

from engine import regular
from engine.log.cold import files

LOCK: Final = "lock"
"""File whose lock the one writer has, and the number of its process in it."""


class LogLocked(OSError):
    """Raised where another process writes to the directory.

    Attributes:
        owner: who does, for a message.
    """

    def __init__(self, text: str, owner: str = "another process") -> None:
        super().__init__(text)
        self.owner = owner


class WriterLock:
    """The lock of one directory, held by at most one process."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / LOCK
        self._fd: int | None = None

    @property
    def is_held(self) -> bool:
        """Whether this process has the lock that others will try to get."""
        fd = self._fd
        try:
            return fd is not None and regular.is_at(self._path, fd)
        except OSError:  # another thread asks, and it was let go of meanwhile
            return False

    def take(self) -> None:
        """Make the directory, and lock it.

        Raises:
            LogLocked: another process writes there.
            NotRegular: something else is in the place of the file.
            OSError: it cannot be made or locked.
        """
        self.release()
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._fd = _locked(self._path)

    def release(self) -> None:
        """Let another process write."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def hold_segment(fd: int) -> None:
    """Have a segment be known to be written to, as long as its descriptor is open.

    Raises:
        OSError: it cannot be locked.
    """
    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)


def refuse_if_written(directory: Path) -> None:
    """Look whether a process writes to the newest segment.

    Raises:
        LogLocked: one does.
        NotRegular: something else is in the place of the segment.
        OSError: the directory cannot be read.
    """
    if not directory.is_dir():
        return
    for newest in files.list_segments(directory)[-1:]:
        with contextlib.suppress(FileNotFoundError), files.open_segment(newest.path) as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                raise _refusal(directory, _owner(directory / LOCK)) from None


def _locked(path: Path) -> int:
    """A descriptor with the lock.

    Raises:
        LogLocked, NotRegular, OSError: it cannot be had.
    """
    lock = regular.open_regular(path, os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        if not isinstance(error, BlockingIOError):
            raise
        raise _refusal(path.parent, _owner(path)) from None
    with contextlib.suppress(OSError):  # it only serves the message above
        os.ftruncate(lock, 0)
        os.pwrite(lock, b"%d\n" % os.getpid(), 0)
    return lock


def _owner(path: Path) -> str:
    """Who has the lock, for a message: it may have been made anew meanwhile, by this process."""
    with contextlib.suppress(OSError), regular.reader(path) as file:
        owner = file.read(20).decode(errors="replace").strip()
        if owner != str(os.getpid()):
            return f"process {owner}"
    return "another process"


def _refusal(directory: Path, owner: str) -> LogLocked:
    return LogLocked(
        f"{directory}: {owner} writes its event log here already; stop it, or set PROXY_DATA_DIR"
        " to another directory",
        owner,
    )
