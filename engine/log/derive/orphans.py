"""Erases streams from sidecars whose segment has gone: these rows are all that is left of them.

A sidecar outlives its segment by up to `PROXY_LOG_SUMMARY_AGE_S`, and its rows have the ids that
clients gave. What is left of a row is what a stub would have kept. A sidecar that was put aside
(`.old`), which nobody reads, loses the rows altogether.
"""

import os
import re
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from engine import regular
from engine.log.format import sealed
from engine.log.read import drafts
from engine.log.summary import rows, sidecars

_ID: Final = re.compile(rb'\{"summary":("(?:[^"\\]|\\.)*")')

_encode: Final = msgspec.json.Encoder().encode


class Manner(NamedTuple):
    """The manner of an erasure: when, in microseconds since the epoch, and whether the name of the
    key is forgotten."""

    purged_us: int
    forgets_key: bool


def streams(
    directory: Path, present: Collection[int], among: Collection[str], *, is_written: bool
) -> set[str]:
    """Return which of these streams have a row in a sidecar whose segment has gone.

    Args:
        present: numbers of the segments that are there.
        is_written: whether a server writes to the log.

    Raises:
        NotRegular, OSError: one cannot be read.
    """
    return {
        stream
        for path in _orphans(directory, present, is_written=is_written)
        for line in _lines(path)
        if (stream := _to_erase(line, among)) is not None
    }


def erase(
    directory: Path,
    present: Collection[int],
    going: Collection[str],
    manner: Manner,
    *,
    is_written: bool,
) -> set[str]:
    """Erase streams from the sidecars whose segment has gone, and return which had a row there.

    Args:
        present: numbers of the segments that are there.
        is_written: whether a server writes to the log.

    Raises:
        NotRegular, OSError: one cannot be read or written; it is as it was.
    """
    erased: set[str] = set()
    if not is_written:
        for path in sidecars.list_sidecars(directory)[1]:  # a killed process left them
            path.unlink(missing_ok=True)
    for path in _orphans(directory, present, is_written=is_written):
        here = {s for line in _lines(path) if (s := _to_erase(line, going)) is not None}
        if here and _rewrite(path, here, manner):
            erased |= here
    return erased


def _orphans(directory: Path, present: Collection[int], *, is_written: bool) -> list[Path]:
    """The sidecars whose segment is not there, but for one that a server writes to."""
    found = [
        each.path
        for each in sidecars.list_sidecars(directory)[0]
        if each.number not in present and (each.is_sealed or not is_written)
    ]
    return [*found, *sorted(directory.glob(f"*.summary{sidecars.ASIDE}"))]


def _lines(path: Path) -> Iterator[bytes]:
    try:
        with regular.reader(path) as file:
            while line := file.readline(sealed.LINE_LIMIT):
                yield line
    except FileNotFoundError:  # retention was faster
        return


def _to_erase(line: bytes, going: Collection[str]) -> str | None:
    """The stream that a line has to lose; whether the line is as it was written or not."""
    head = _ID.match(line)
    if head is None:
        return None
    try:
        stream = msgspec.json.decode(head[1], type=str)
    except msgspec.DecodeError:
        return None
    if stream not in going:
        return None
    row = rows.read(line)
    return None if row is not None and row.purged else stream


def _rewrite(path: Path, going: Collection[str], manner: Manner) -> bool:
    """Write a sidecar without these streams, and put it in its own place. One that lacked rows, or
    was not as it was written, is not made to look whole by that.

    Returns:
        Whether it is there; not where retention has deleted it meanwhile.
    """
    try:
        last = sidecars.last_line(path)
        modified = path.lstat()
    except FileNotFoundError:
        return False
    draft = path.with_name(f"{path.name}{drafts.DRAFT}")
    fd = regular.open_regular(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    try:
        with os.fdopen(fd, "wb") as file:
            crc = was = dropped = 0
            for line in _lines(path):
                if line.startswith(b'{"sealed":'):
                    continue
                was = zlib.crc32(line, was)
                kept = _left_of(line, going, manner, is_aside=path.suffix == sidecars.ASIDE)
                file.write(kept)
                crc = zlib.crc32(kept, crc)
                dropped += line.startswith(rows.ROW) and not kept
            if last is not None:
                crc32 = f"{crc:08x}" if last.crc32 == f"{was:08x}" else last.crc32
                sealing = msgspec.structs.replace(last, rows=last.rows - dropped, crc32=crc32)
                file.write(sealed.seal(_encode(sealing)[:-1]))
            file.flush()
            os.utime(fd, ns=(modified.st_atime_ns, modified.st_mtime_ns))  # retention goes by it
            os.fsync(fd)
        if not _is_still(path, modified):
            draft.unlink()
            return False
        draft.replace(path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise
    regular.sync_directory(path.parent)
    return True


def _is_still(path: Path, was: os.stat_result) -> bool:
    """Whether a path leads to the file that it led to."""
    try:
        return os.path.samestat(path.lstat(), was)
    except FileNotFoundError:
        return False


def _left_of(line: bytes, going: Collection[str], manner: Manner, *, is_aside: bool) -> bytes:
    """What is left of a line: of one that cannot be read, nothing."""
    if _to_erase(line, going) is None:
        return line
    row = rows.read(line)
    if row is None or is_aside:
        return b""
    return rows.written(rows.purged(row, manner.purged_us, forgets_key=manner.forgets_key))
