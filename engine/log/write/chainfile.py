"""The files `chain` and `checkpoint` while they are written.

Everything in them is about what is on file already, so a process that is killed leaves them
behind the segments, never ahead. The chain's lines are there before a checkpoint that counts them,
and a log is said to be open before anything in it is changed. `engine.log.write.recovery` brings
to an end whatever a kill between two of these steps has left.
"""

import contextlib
import errno
import os
from pathlib import Path
from typing import Final

import msgspec
import structlog

from engine import regular
from engine.log.format import chain
from engine.log.write import recovery
from machines import events

COMPACT_LINES: Final = 1024
"""Lines that a chain may have before a start leaves out those of segments that are gone."""

LIVE_SHARE: Final = 4
"""It does so where there are more than this many lines for each segment that is there."""


_log = structlog.get_logger(component="event_log")


class ChainFile:
    """The chain and the checkpoint of one directory, written by the one process that writes there.

    Args:
        found: what a writer before left there; this goes on with it.
        following: number of the segment that will be next.
        syncs: whether what is written is forced to the disk.

    Attributes:
        ended: when each closed segment was last appended to, in microseconds since the epoch.
        pruned: number of the last segment that was deleted, or will be.

    Raises:
        NotRegular, OSError: the files cannot be written.
    """

    def __init__(
        self, directory: Path, found: recovery.Found, following: int, *, syncs: bool
    ) -> None:
        known = found.known
        self.ended: dict[int, int] = {}
        self.pruned = 0
        self._path = directory / chain.CHAIN
        self._point_path = directory / chain.CHECKPOINT
        self._syncs = syncs
        self._owed: list[chain.AnyEntry] = []
        self._size = 0
        self._fd = -1
        self._point = chain.Checkpoint(events.SCHEMA_VERSION, found.oldest, found.newest)
        trusted = not any(each.path == self._point_path for each in known.problems)
        if trusted and known.checkpoint is not None:
            self._point = msgspec.structs.replace(
                known.checkpoint, checkpoint=events.SCHEMA_VERSION, state=chain.LogEnd.OPEN
            )
        self._point_fd = regular.open_regular(self._point_path, os.O_RDWR | os.O_CREAT)
        try:
            # What is wrong with a checkpoint must stay to be seen until it is noted.
            if trusted:
                self.save()
            self._begin(found, following)
            if not trusted:
                self.save()
                os.ftruncate(self._point_fd, chain.CHECKPOINT_BYTES)
            self._force(self._point_fd)
        except OSError:
            self.release()
            raise

    def is_there(self) -> bool:
        """Whether the files are still the ones that their paths lead to, and as long."""
        return self._is_whole(self._path, self._fd, self._size) and self._is_whole(
            self._point_path, self._point_fd, chain.CHECKPOINT_BYTES
        )

    def restore(self) -> None:
        """Put back what somebody deleted or replaced: it is known here, and nothing need be read
        again. For the thread that writes the files.

        Raises:
            OSError: it cannot be put back, or the chain was cut short.
        """
        if not self._is_whole(self._path, self._fd, self._size):
            self._refuse_cut()
            self._put_back(self._path, self._fd, os.pread(self._fd, self._size, 0))
        if not self._is_whole(self._point_path, self._point_fd, chain.CHECKPOINT_BYTES):
            self._put_back(self._point_path, self._point_fd, chain.checkpoint_line(self._point))

    def _put_back(self, path: Path, fd: int, data: bytes) -> None:
        draft = path.with_name(f"{path.name}.new")
        made = regular.open_regular(draft, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        try:
            _write_all(made, data, 0)
            self._force(made)
            draft.replace(path)
            os.dup2(made, fd, inheritable=False)
        finally:
            os.close(made)
        _log.warning("event_log_file_restored", path=str(path))

    def _refuse_cut(self) -> None:
        """A chain that is cut short must not be filled up with zeros.

        Raises:
            OSError: it is.
        """
        if os.fstat(self._fd).st_size < self._size:
            raise OSError(errno.EIO, "the log's chain was cut short", str(self._path))

    @staticmethod
    def _is_whole(path: Path, fd: int, size: int) -> bool:
        return regular.is_at(path, fd) and os.fstat(fd).st_size >= size

    def append(self, *entries: chain.AnyEntry) -> None:
        """Write entries, behind those that could not be written before.

        Raises:
            OSError: they could not be; none of them is there in part.
        """
        self._owed += entries
        if not self._owed:
            return
        data, mark = chain.joined(self._owed, self._point.mark)
        self._refuse_cut()
        os.ftruncate(self._fd, self._size)  # what an earlier failure may have left
        try:
            _write_all(self._fd, data, self._size)
        except OSError:
            with contextlib.suppress(OSError):  # then it is done before the next try
                os.ftruncate(self._fd, self._size)
            raise
        self._size += len(data)
        count = self._point.lines + len(self._owed)
        self._point = msgspec.structs.replace(self._point, lines=count, mark=mark)
        for entry in self._owed:
            self._note(entry)
        self._owed = []
        self._force(self._fd)

    def save(
        self,
        first: int | None = None,
        *,
        synced: tuple[int, int] | None = None,
        state: chain.LogEnd = chain.LogEnd.OPEN,
    ) -> None:
        """Write the checkpoint; what is not given is as before.

        Args:
            first: the segment that a recovery may begin with.
            synced: number of a segment, and how many of its bytes are on the disk.

        Raises:
            OSError: the old one stands.
        """
        if first is not None:
            self._point = msgspec.structs.replace(self._point, first=first)
        if synced is not None:
            segment, size = synced
            # What was on the disk once is so for ever.
            size = max(size, self._point.synced) if segment == self._point.segment else size
            self._point = msgspec.structs.replace(self._point, segment=segment, synced=size)
        self._point = msgspec.structs.replace(self._point, state=state)
        _write_all(self._point_fd, chain.checkpoint_line(self._point), 0)

    def close(self) -> None:
        """Say that the log is closed, and give up the files. A log that something is owed to stays
        open: the next start finds out what that is.

        Raises:
            OSError: what had to be written could not be.
        """
        try:
            self.append()
            self.save(state=chain.LogEnd.CLOSED)
            self._force(self._point_fd)
        finally:
            self.release()

    def release(self) -> None:
        """Give up the files as they are."""
        for fd in (self._fd, self._point_fd):
            if fd >= 0:
                os.close(fd)
        self._fd = self._point_fd = -1

    def _begin(self, found: recovery.Found, following: int) -> None:
        """Have a chain that knows of all that is there."""
        kept = found.known.chain
        damage = () if found.damage is None else (found.damage,)
        if kept is None or not found.known.is_chained:
            begun = chain.Begun(following, found.oldest or following)
            if kept is not None:
                self._path.replace(self._path.with_name(f"{chain.CHAIN}.damaged"))
            self._put([begun, *damage], self._point.mark)
            return
        self._go_on(kept)
        if (
            kept.count > COMPACT_LINES
            and kept.count > LIVE_SHARE * len(kept.holds)
            and not kept.unknown
        ):
            self.save()
            os.close(self._fd)
            self._fd = -1
            self._put(chain.compacted(kept, found.oldest or following), self._point.mark)
        self.append(*found.closings, *damage)

    def _go_on(self, kept: chain.Chain) -> None:
        self._fd = regular.open_regular(self._path, os.O_RDWR)
        self._size = kept.length
        self._point = msgspec.structs.replace(self._point, lines=kept.count, mark=kept.marks[-1])
        for entry in kept.closed.values():
            self._note(entry)
        self.pruned = kept.pruned

    def _put(self, entries: list[chain.AnyEntry], after: str) -> None:
        """Put a new file in the place of the chain."""
        data, mark = chain.joined(entries, after)
        draft = self._path.with_name(f"{chain.CHAIN}.new")
        self._fd = regular.open_regular(draft, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        _write_all(self._fd, data, 0)
        self._force(self._fd)
        draft.replace(self._path)
        self._size = len(data)
        self._point = msgspec.structs.replace(self._point, lines=len(entries), mark=mark)
        for entry in entries:
            self._note(entry)

    def _note(self, entry: chain.AnyEntry) -> None:
        match entry:
            case chain.Closed(number, ended=ended):
                self.ended[number] = ended
            case chain.Pruned(number):
                self.pruned = max(self.pruned, number)
                for each in [each for each in self.ended if each <= number]:
                    del self.ended[each]

    def _force(self, fd: int) -> None:
        if self._syncs:
            os.fsync(fd)


def _write_all(fd: int, data: bytes, offset: int) -> None:
    while data:  # a second time only to hear why the first was short
        written = os.pwrite(fd, data, offset)
        data, offset = data[written:], offset + written
