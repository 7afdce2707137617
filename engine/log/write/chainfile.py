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
from engine.log.format import chain, sealed
from engine.log.write import chainlock, recovery
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
        holds: what each of them holds.
        pruned: number of the last segment that was deleted, or will be.

    Raises:
        NotRegular, OSError: the files cannot be written.
    """

    def __init__(
        self, directory: Path, found: recovery.Found, following: int, *, syncs: bool
    ) -> None:
        known = found.known
        self.ended: dict[int, int] = {}
        self.holds: dict[int, chain.Figures] = {}
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
            self._adopt()
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
        if self._owed:
            with chainlock.held(self._fd):
                self._write_owed()

    def append_now(self, entry: chain.Rewritten) -> None:
        """Write an entry now, or never.

        Raises:
            OSError: it may be there, or may not.
        """
        try:
            self.append(entry)
        except OSError:
            self._owed = [each for each in self._owed if each is not entry]
            raise

    def _write_owed(self) -> None:
        """Write what is owed, behind what another process may have written: for who holds the
        chain's lock."""
        self._refuse_cut()
        self._adopt()
        os.ftruncate(self._fd, self._size)  # what an earlier failure may have left
        if not self._owed:
            return
        data, mark = chain.joined(self._owed, self._point.mark)
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

    def _adopt(self) -> None:
        """Take over the lines that another process wrote behind ours, of segments that it
        rewrote."""
        found = os.fstat(self._fd).st_size - self._size
        for line in os.pread(self._fd, max(0, found), self._size).splitlines(keepends=True):
            if chain.rewriting(line, self._point.mark) is None:
                break
            self._size += len(line)
            count, mark = self._point.lines + 1, sealed.crc_of(line)
            self._point = msgspec.structs.replace(self._point, lines=count, mark=mark)

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
            with chainlock.held(self._fd):
                self._write_owed()
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
        is_long = kept.count > COMPACT_LINES and kept.count > LIVE_SHARE * len(kept.holds)
        if is_long and not kept.unknown:
            self._compact(kept, found.oldest or following)
        self.append(*found.closings, *damage)

    def _compact(self, kept: chain.Chain, oldest: int) -> None:
        """Put a chain that says no more than it must in the place of one that is long; not while
        another process goes on with that."""
        old = self._fd
        with chainlock.held(old):
            self._adopt()
            if self._point.lines > kept.count:
                return
            self.save()
            self._put(chain.compacted(kept, oldest), self._point.mark)
            os.close(old)

    def _go_on(self, kept: chain.Chain) -> None:
        self._fd = regular.open_regular(self._path, os.O_RDWR)
        self._size = kept.length
        self._point = msgspec.structs.replace(self._point, lines=kept.count, mark=kept.marks[-1])
        for entry in kept.closed.values():
            self._note(entry)
        self.holds |= kept.holds
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
                self.holds[number] = chain.figures(entry)
            case chain.Rewritten(number):
                self.holds[number] = chain.figures(entry)
            case chain.Pruned(number):
                self.pruned = max(self.pruned, number)
                for each in [each for each in self.ended if each <= number]:
                    del self.ended[each]
                    self.holds.pop(each, None)

    def _force(self, fd: int) -> None:
        if self._syncs:
            os.fsync(fd)


def _write_all(fd: int, data: bytes, offset: int) -> None:
    while data:  # a second time only to hear why the first was short
        written = os.pwrite(fd, data, offset)
        data, offset = data[written:], offset + written
