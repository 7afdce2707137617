"""The locks by which a log is rewritten while its writer goes on.

The writer of a log may be a server that runs for months, and streams are to be erased meanwhile,
by another process. Two locks (flock) keep them apart, which the system takes from a process that
is killed:

    the chain      held for a moment, by whoever appends to it, so that each goes on behind the
                   lines of the other
    the directory  held by the one process that rewrites segments, from its first draft to its last
"""

import contextlib
import errno
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from engine.log.write import lock as writerlock

PATIENCE_S: Final = 5.0
"""Seconds after which a chain that another process holds is given up: it is held for one fsync."""

_PAUSE_S: Final = 0.005


@contextlib.contextmanager
def held(fd: int) -> Iterator[None]:
    """Hold the lock of a chain, by its descriptor, which may be closed meanwhile.

    Raises:
        OSError: another process does not let go of it.
    """
    if fd < 0:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    if not _locked(fd, PATIENCE_S):
        raise OSError(errno.EAGAIN, "another process holds the log's chain")
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # with a descriptor that was closed it went
            fcntl.flock(fd, fcntl.LOCK_UN)


@contextlib.contextmanager
def alone(directory: Path, patience_s: float = 0.0) -> Iterator[None]:
    """Be the one that puts other files in the place of a log's segments: who erases streams, or
    who compresses. Neither may lose what the other has just put there.

    Args:
        patience_s: how long another one is waited for.

    Raises:
        LogLocked: another one does it.
        OSError: the directory cannot be locked.
    """
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if not _locked(fd, patience_s):
            reason = "another process rewrites segments here; try again when it has ended"
            raise writerlock.LogLocked(f"{directory}: {reason}")
        yield
    finally:
        os.close(fd)


def _locked(fd: int, patience_s: float) -> bool:
    """Whether the lock of a file could be had in time."""
    deadline = time.monotonic() + patience_s
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(_PAUSE_S)
        else:
            return True
