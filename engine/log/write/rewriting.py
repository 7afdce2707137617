"""Puts other segments in the place of closed ones, while a server may be writing to the log.

Three steps, each on the disk before the next: a draft beside the segment; a line of the chain that
says what the segment holds from now on; the draft gets the segment's name. A process that is
killed leaves a draft that is of no use, or one that counts in its segment's place
(`engine.log.read.drafts`).

Without a server this process is the log's writer for the time, and begins as any writer does. With
one, the segment that the server writes to is not touched, and the line goes behind the server's in
its chain, whose checkpoint stays the server's.
"""

import contextlib
import os
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from engine import regular
from engine.log.format import chain
from engine.log.read import drafts, manifest, segments
from engine.log.write import chainfile, chainlock, lock as writerlock, recovery

ALONE_S: Final = 30.0
"""How long a segment that is being compressed is waited for: one of 10 MiB takes a few seconds."""


BLOCK_BYTES: Final = 1 << 18
"""About how much of a segment is in memory while it is rewritten, beside one line."""


class Changed(OSError):
    """Raised where the log was changed by others meanwhile: the same may be tried again."""


class Rewriter:
    """The one process that rewrites segments of a directory, as long as its block lasts.

    Attributes:
        owner: why this process is not the log's writer; None: it is.

    Raises:
        LogLocked: another process rewrites segments there.
        NotRegular, OSError: the log cannot be read or written.
    """

    def __init__(self, directory: Path) -> None:
        self.owner: writerlock.LogLocked | None = None
        self._directory = directory
        self._chain: chainfile.ChainFile | None = None
        self._held = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as held:
            held.enter_context(chainlock.alone(self._directory, ALONE_S))
            recovery.finish_drafts(self._directory)
            try:
                self._take(held)
            except writerlock.LogLocked as error:
                self.owner = error
            self._held = held.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._held.close()

    def replace(
        self,
        segment: segments.SegmentInfo,
        before: chain.Figures | None,
        content: Iterable[bytes],
    ) -> bool:
        """Put other content in the place of a closed segment's.

        Args:
            before: what the segment held when the new content was made of it, as the chain says;
                None of one that is older than the chain.
            content: in parts, each of whole lines; what they raise leaves the segment as it is.

        Returns:
            Whether it is there; not where retention has deleted the segment meanwhile.

        Raises:
            Changed: the segment holds something else by now, or the log's server has stopped.
            OSError: it could not be written; the segment is as it was.
        """
        path = self._directory / segments.segment_name(segment.number)
        draft = drafts.of(path)
        holds = write_draft(draft, content, segment.modified_us)
        entry = chain.Rewritten(segment.number, holds.records, holds.bytes, holds.crc32)
        try:
            if before is None:
                is_there = True
            elif self._chain is not None:
                self._chain.append_now(entry)
                is_there = True
            else:
                is_there = self._append_shared(entry, before)
        except OSError:
            recovery.finish_drafts(self._directory)  # the line may be there all the same
            raise
        if is_there:
            recovery.put(draft, path)
        else:
            draft.unlink()
        return is_there

    def _take(self, held: contextlib.ExitStack) -> None:
        """Become the log's writer, as a start does.

        Raises:
            LogLocked: a server is.
        """
        writerlock.refuse_if_written(self._directory)
        lock = writerlock.WriterLock(self._directory)
        lock.take()
        held.callback(lock.release)
        found = recovery.recover(self._directory)
        self._chain = chainfile.ChainFile(self._directory, found, found.newest + 1, syncs=True)
        held.callback(self._chain.close)

    def _append_shared(self, entry: chain.Rewritten, before: chain.Figures) -> bool:
        """Append to the chain of a log whose server goes on; whether its segment is still there.

        Raises:
            Changed, OSError: it could not be; nothing of it is there.
        """
        path = self._directory / chain.CHAIN
        fd = regular.open_regular(path, os.O_RDWR)
        try:
            with chainlock.held(fd):
                looked = manifest.look(self._directory)
                known = manifest.Manifest(self._directory, looked, headed=False)
                kept = known.chain
                if (
                    kept is None
                    or not known.is_chained
                    or kept.tail
                    or not regular.is_at(path, fd)
                ):
                    raise Changed(f"{path}: it is not as its server wrote it")
                if known.closed:
                    raise Changed(f"{path}: its server has stopped meanwhile; try again")
                if known.is_pruned(entry.segment):
                    return False
                if known.holds(entry.segment) != before:
                    raise Changed(f"{path}: segment {entry.segment} is another by now; try again")
                data, _ = chain.joined([entry], kept.marks[-1])
                _append(fd, data, kept.length)
        finally:
            os.close(fd)
        return True


def write_draft(draft: Path, content: Iterable[bytes], modified_us: int) -> chain.Figures:
    """Write a draft, as old as what it will be put in the place of: retention goes by that.

    Args:
        content: in parts, each of whole lines, the first of which is a header.

    Returns:
        What it holds.

    Raises:
        OSError: it could not be written, and is not there; nor is it after what `content` raises.
    """
    lines = size = crc = 0
    fd = regular.open_regular(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    try:
        try:
            for part in _gathered(content):
                lines += part.count(b"\n")
                size += len(part)
                crc = zlib.crc32(part, crc)
                rest = part
                while rest:
                    rest = rest[os.write(fd, rest) :]
            os.utime(fd, ns=(modified_us * 1000, modified_us * 1000))
            os.fsync(fd)
        finally:
            os.close(fd)
        regular.sync_directory(draft.parent)
    except Exception:
        with contextlib.suppress(OSError):  # else whoever comes next deletes it
            draft.unlink()
        raise
    return chain.Figures(lines - 1, size, f"{crc:08x}")


def _gathered(parts: Iterable[bytes]) -> Iterator[bytes]:
    """Join parts to what is worth a call of the system."""
    gathered: list[bytes] = []
    size = 0
    for part in parts:
        gathered.append(part)
        size += len(part)
        if size >= BLOCK_BYTES:
            yield b"".join(gathered)
            gathered.clear()
            size = 0
    yield b"".join(gathered)


def _append(fd: int, data: bytes, size: int) -> None:
    """Write behind what a file holds, all of it or nothing."""
    try:
        rest, at = data, size
        while rest:
            written = os.pwrite(fd, rest, at)
            rest, at = rest[written:], at + written
        os.fsync(fd)
    except OSError:
        os.ftruncate(fd, size)
        raise
