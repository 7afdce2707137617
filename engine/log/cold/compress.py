"""Puts a compressed segment in the place of a plain one.

The steps, each of which may be the last that a process does: the compressed one is written as a
draft, forced to the disk and read back; it gets its name, which is forced to the disk; the plain
one is deleted. So there is a whole segment at any moment, and where there are two the plain one
counts. A segment that does not hold what the chain says is left as it is, and so is one whose
compressed form does not.
"""

import contextlib
import os
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from engine import regular
from engine.log.cold import files, members, reading
from engine.log.format import chain


class Stopped(Exception):
    """Raised where nobody waits any more for what is compressed."""


class Unfit(Exception):
    """Raised for a segment that must stay as it is; says why."""


def _go_on() -> None:
    """Go on at once."""


def compress(
    directory: Path,
    number: int,
    holds: chain.Figures,
    between: Callable[[], object] = _go_on,
    may_delete: Callable[[], bool] = lambda: True,
) -> int:
    """Compress a segment that nothing is appended to any more, and delete the plain one.

    Args:
        holds: what the chain says of it.
        between: called after each member; what it raises ends it, and leaves the segment as it is.
        may_delete: whether this process is still the one that writes in the directory.

    Returns:
        The bytes of the compressed one.

    Raises:
        Unfit: it holds something else, or does not come out as it was, or another process came.
        NotRegular, OSError: it cannot be read or written; the plain one is there.
    """
    plain = directory / files.segment_name(number)
    compressed = directory / files.compressed_name(number)
    draft = compressed.with_name(f"{compressed.name}{files.DRAFT}")
    with contextlib.ExitStack() as opened:
        source = opened.enter_context(regular.reader(plain))
        fd = regular.open_regular(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        try:
            opened.callback(os.close, fd)
            size = _write(fd, source, number, holds, between)
            times = os.fstat(source.fileno())
            os.utime(fd, ns=(times.st_atime_ns, times.st_mtime_ns))  # retention goes by it
            os.fsync(fd)
            _read_back(draft, number, holds, between)
            if not may_delete() or not regular.is_at(plain, source.fileno()):
                raise Unfit("another process writes here, or has put another in its place")
            draft.replace(compressed)
        except BaseException:
            with contextlib.suppress(OSError):
                draft.unlink()
            raise
        regular.sync_directory(directory)
        if may_delete() and regular.is_at(compressed, fd):
            plain.unlink(missing_ok=True)  # retention may have been faster
    return size


def clear(directory: Path) -> None:
    """Delete what a killed process has left of a compression. The lock is held meanwhile.

    Raises:
        OSError: some of it is still there.
    """
    names = {path.name for path in directory.iterdir()}
    for name in names:
        is_draft = name.endswith(files.DRAFT)
        number = files.number_of(name.removesuffix(files.DRAFT))
        if number is None or not name.removesuffix(files.DRAFT).endswith(files.COMPRESSED):
            continue
        if is_draft or files.segment_name(number) in names:
            (directory / name).unlink(missing_ok=True)


def _write(
    fd: int,
    source: BinaryIO,
    number: int,
    holds: chain.Figures,
    between: Callable[[], object],
) -> int:
    offset = size = crc = 0
    while content := source.read(members.CONTENT_BYTES):
        size += _write_all(fd, members.encode(number, offset, content))
        offset += len(content)
        crc = zlib.crc32(content, crc)
        between()
    if (offset, f"{crc:08x}") != (holds.bytes, holds.crc32):
        raise Unfit("it holds something else than was written")
    return size + _write_all(fd, members.encode(number, offset, b""))


def _write_all(fd: int, data: bytes) -> int:
    rest = data
    while rest:  # a second time only to hear why the first was short
        rest = rest[os.write(fd, rest) :]
    return len(data)


def _read_back(
    draft: Path, number: int, holds: chain.Figures, between: Callable[[], object]
) -> None:
    crc = length = 0
    try:
        with reading.open_members(draft, number) as file:
            for content in _parts(file):
                crc = zlib.crc32(content, crc)
                length += len(content)
                between()
    except reading.Damaged as error:
        raise Unfit(f"it does not come back as it was: {error.strerror}") from None
    if (length, f"{crc:08x}") != (holds.bytes, holds.crc32):
        raise Unfit("it does not come back as it was")


def _parts(file: BinaryIO) -> Iterator[bytes]:
    while content := file.read(members.CONTENT_BYTES):
        yield content
