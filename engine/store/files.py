"""The files of a store of responses: what may stand in their places, and whether it still does.

The problem: SQLite goes on writing to a file that was deleted, replaced or cut short, and whatever
it is given then is on no disk that anybody finds again. So whoever has the files open asks here,
now and then, whether they are still those that it opened.
"""

import enum
import stat
from pathlib import Path
from typing import Final, NamedTuple

from engine import regular

LOCK: Final = ".lock"
"""The suffix of the file that a process holds while the store is its own."""

LOGS: Final = ("-wal", "-shm")
"""The suffixes of the files that SQLite keeps beside the database."""

SUFFIXES: Final = ("", *LOGS, LOCK)
"""The suffixes of all files of a store."""

Identity = tuple[int, int]
"""A file's device and number."""


class Problem(enum.Enum):
    """The loss of a file that was open, in the words of the log line."""

    DELETED = "deleted"
    REPLACED = "replaced"
    CUT_SHORT = "cut short"


class Lost(NamedTuple):
    """A file that is no longer the one that is open, and what happened to it.

    Attributes:
        file: its name.
    """

    file: str
    problem: Problem


class StoreFiles:
    """Tells whether the files of a store are still those that were opened."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._opened: dict[str, Identity | None] = dict.fromkeys(SUFFIXES)
        self._size = 0

    def refuse_others(self) -> None:
        """Check that only regular files are where SQLite will write.

        Raises:
            NotRegular: a link, a pipe, a socket or a directory is in the place of one.
        """
        for suffix in SUFFIXES:
            beside = self._beside(suffix)
            try:
                mode = beside.lstat().st_mode
            except FileNotFoundError:
                continue
            if not stat.S_ISREG(mode):
                raise regular.NotRegular(beside)

    def begin(self) -> None:
        """Take the files that are there now for those that are open."""
        self._opened = self._found()
        self._size = self._length()

    def note_size(self) -> None:
        """Take the file's present length for the one that the store gave it."""
        self._size = self._length()

    @property
    def is_cut(self) -> bool:
        """Whether the file is shorter than the store left it."""
        return self._length() < self._size

    def lost(self) -> Lost | None:
        """Return the first file that is not the one that is open, if there is one."""
        for suffix, identity in self._found().items():
            opened = self._opened[suffix]
            if opened is None:  # it comes with the first write
                self._opened[suffix] = identity
            elif identity != opened:
                problem = Problem.REPLACED if identity else Problem.DELETED
                return Lost(self._beside(suffix).name, problem)
        return Lost(self._path.name, Problem.CUT_SHORT) if self.is_cut else None

    def remove_logs(self) -> None:
        """Remove SQLite's logs where the file that they belong to is gone.

        Another file in its place would be read together with them.
        """
        for suffix, identity in self._found().items():
            if suffix in LOGS and identity is not None and identity == self._opened[suffix]:
                self._beside(suffix).unlink(missing_ok=True)

    def _beside(self, suffix: str) -> Path:
        return self._path.with_name(f"{self._path.name}{suffix}")

    def _found(self) -> dict[str, Identity | None]:
        """Return the identity of each file that is there now, by suffix."""
        return {suffix: _identity(self._beside(suffix)) for suffix in SUFFIXES}

    def _length(self) -> int:
        try:
            return self._path.lstat().st_size
        except OSError:
            return 0


def _identity(path: Path) -> Identity | None:
    try:
        found = path.lstat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
