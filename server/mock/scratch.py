"""Directories that go with the mock's process, or at the start of the next one.

A mock has a log while it runs, and deletes it when it is stopped; a process that is killed cannot.
So each holds a lock on its directory, which the system releases however the process ends, and a
mock that starts deletes those directories of its user that nobody holds. A directory of a mock has
a marker in it: one that somebody else has given such a name may hold what they want to keep.
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

MARKER: Final = ".turntape-mock"
"""Name of an empty file in each of them, which is made once it is locked."""

_DATA: Final = "data"
"""Name of the directory beside the marker that is handed out."""


@contextlib.contextmanager
def directory() -> Iterator[str]:
    """Have an empty directory, which is deleted at the end."""
    path = tempfile.mkdtemp(prefix=PREFIX)
    lock = _opened(path)
    try:
        with contextlib.suppress(OSError):  # where there are no locks nobody sweeps either
            fcntl.flock(lock, fcntl.LOCK_EX)
        data = Path(path, _DATA)
        data.mkdir()
        Path(path, MARKER).touch()
        yield str(data)
    finally:
        _delete(path)
        os.close(lock)


def sweep() -> None:
    """Delete what killed processes have left."""
    for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):  # another's, or held, or no mock's
            lock = _opened(path)
            try:
                os.stat(MARKER, dir_fd=lock, follow_symlinks=False)
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.fstat(lock).st_uid == os.geteuid():
                    _delete(path)
            finally:
                os.close(lock)


def _delete(path: str | Path) -> None:
    """Delete a directory, and the marker last: whoever is killed meanwhile leaves one to sweep."""
    shutil.rmtree(Path(path, _DATA), ignore_errors=True)
    shutil.rmtree(path, ignore_errors=True)


def _opened(path: str | Path) -> int:
    """A descriptor of a directory, which a link to one is not.

    Raises:
        OSError: it is none, or cannot be opened.
    """
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
