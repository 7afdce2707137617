"""Directories that go with the mock's process, or at the start of the next one.

A mock has a log while it runs, and deletes it when it is stopped; a process that is killed cannot.
So each holds a lock on its directory, which the system releases however the process ends, and a
mock that starts deletes those directories of its user that nobody holds.
"""

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

PREFIX: Final = "turntape-mock-"
"""Begins the name of every such directory, among the system's temporary files."""


@contextlib.contextmanager
def directory() -> Iterator[str]:
    """Have an empty directory, which is deleted at the end."""
    path, lock = _made()
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(lock)


def sweep() -> None:
    """Delete what killed processes have left."""
    for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):  # another's, or held, or a mock that starts was faster
            lock = _opened(path)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.fstat(lock).st_uid == os.geteuid():
                    shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(lock)


def _made() -> tuple[str, int]:
    """A new directory, and the descriptor that holds its lock."""
    while True:
        path = tempfile.mkdtemp(prefix=PREFIX)
        # Between its making and its lock it looks like one that nobody holds.
        with contextlib.suppress(FileNotFoundError):
            lock = _opened(path)
            with contextlib.suppress(OSError):  # where there are no locks nobody sweeps either
                fcntl.flock(lock, fcntl.LOCK_EX)
            if Path(path).is_dir():
                return path, lock
            os.close(lock)


def _opened(path: str | Path) -> int:
    """A descriptor of a directory, which a link to one is not.

    Raises:
        OSError: it is none, or cannot be opened.
    """
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
