"""Opens the files of a log, which must be files: no links, pipes, sockets or directories.

The problem: whoever may write to the directory can put something else where a file belongs. To
open a pipe hangs until somebody writes to it, to shorten a link shortens what it points to, and a
key that is read from one is no key.
"""

import contextlib
import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO


class NotRegular(OSError):
    """Raised where something else is in a file's place."""

    def __init__(self, path: Path) -> None:
        super().__init__(errno.EINVAL, "is not a regular file", str(path))


def open_regular(path: Path, flags: int) -> int:
    """A descriptor of a file that is none but its owner's, where it is made.

    Raises:
        NotRegular: there is something else at `path`.
        OSError: it cannot be opened.
    """
    flags |= os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        fd = os.open(path, flags, 0o600)
    except OSError as error:
        # A link; a pipe without a reader, or a socket; a directory.
        if error.errno in (errno.ELOOP, errno.ENXIO, errno.EISDIR):
            raise NotRegular(path) from None
        raise
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise NotRegular(path)
    return fd


def reader(path: Path) -> BinaryIO:
    """A file, to read from.

    Raises:
        NotRegular, OSError: as `open_regular`.
    """
    return os.fdopen(open_regular(path, os.O_RDONLY), "rb")


def replace(path: Path, data: bytes, prepare: Callable[[int], object] | None = None) -> None:
    """Replace a file: what is read later is the old one or the new one, and whole.

    Args:
        prepare: called with the descriptor of the new file, before it has anything in it.

    Raises:
        NotRegular, OSError: it cannot be written, or is not known to be on the disk.
    """
    draft = path.with_name(f"{path.name}.new")
    try:
        fd = open_regular(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        with os.fdopen(fd, "wb") as file:
            if prepare is not None:
                prepare(fd)
            file.write(data)
            file.flush()
            os.fsync(fd)
        draft.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Force a directory to the disk: a new file is there when its name is.

    Raises:
        OSError: it did not come there.
    """
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def is_at(path: Path, fd: int) -> bool:
    """Whether an open file is still the one that its path leads to."""
    try:
        return os.path.samestat(os.fstat(fd), path.lstat())
    except FileNotFoundError:
        return False
