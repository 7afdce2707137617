"""The segment that is written to, and the lines that are written."""

import errno
import os
import zlib
from collections.abc import Callable
from pathlib import Path

from engine import regular
from engine.log.format import chain, sealed

Pending = tuple[bytes, int, bytes]
"""A record before it has its place in a segment: what comes before the value of `seq`, `seq`, and
the rest from the value of `t` on, without the checksum."""


class RecordTooLarge(ValueError):
    """Raised for a record that no reader would read back.

    Attributes:
        index: its place among those that were to be written.
    """

    def __init__(self, index: int) -> None:
        super().__init__(f"a record has more than {sealed.LINE_LIMIT} bytes")
        self.index = index


class LiveSegment:
    """The segment that is written to; what it holds is counted as it is written.

    Attributes:
        size: its bytes, of which `crc` is the checksum.
        records: how many it holds.
        ended_us: when it was last appended to.
    """

    __slots__ = ("crc", "created_us", "ended_us", "fd", "number", "path", "records", "size")

    def __init__(self, number: int, path: Path, fd: int, now_us: int) -> None:
        self.number = number
        self.path = path
        self.fd = fd
        self.created_us = self.ended_us = now_us
        self.size = self.records = self.crc = 0

    @property
    def figures(self) -> chain.Figures:
        """The figures of the segment as it is now."""
        return chain.Figures(self.records, self.size, f"{self.crc:08x}")

    def write(self, data: bytes) -> None:
        """Append all of it, or nothing.

        Raises:
            OSError: it could not be written; `undo` must follow.
        """
        rest = data
        while rest:  # a second time only to hear why the first was short
            rest = rest[os.write(self.fd, rest) :]
        self.size += len(data)
        self.crc = zlib.crc32(data, self.crc)

    def undo(self) -> None:
        """Take away what is there of a write that failed.

        Raises:
            OSError: it stays there.
        """
        size = os.fstat(self.fd).st_size
        if size < self.size:  # it would be filled up with zeros
            raise OSError(errno.EIO, "somebody cut the live segment short", str(self.path))
        os.ftruncate(self.fd, self.size)

    def problem(self) -> str | None:
        """Return what somebody else did to the file; None where it is as it was written.

        Raises:
            OSError: that cannot be found out.
        """
        if not regular.is_at(self.path, self.fd):
            return f"the live segment is gone with {self.records} records"
        size = os.fstat(self.fd).st_size
        if size != self.size:
            return f"the live segment has {size} bytes, and {self.size} were written"
        return None


OnWritten = Callable[[LiveSegment, list[Pending], list[bytes]], object]
"""Takes records that were appended, and the line of each. It must not raise."""


def refuse_too_large(lines: list[bytes]) -> None:
    """Look whether a reader would read every line back.

    Raises:
        RecordTooLarge: it would not.
    """
    for index, line in enumerate(lines):
        if len(line) > sealed.LINE_LIMIT:
            raise RecordTooLarge(index)


def without_unwritable(pending: list[Pending]) -> tuple[list[Pending], list[Pending]]:
    """The records that can be written, and read back; and those that cannot, each with all that
    follow of its stream."""
    hit: set[bytes] = set()
    kept: list[Pending] = []
    lost: list[Pending] = []
    for record in pending:
        if record[0] not in hit and not _is_writable(record):
            hit.add(record[0])
        (lost if record[0] in hit else kept).append(record)
    return kept, lost


def _is_writable(record: Pending) -> bool:
    try:
        refuse_too_large(numbered([record], 0))
    except Exception:  # whatever it is: the caller has it already, and looks for its cause
        return False
    return True


def numbered(pending: list[Pending], first: int) -> list[bytes]:
    """The lines of records, numbered from `first` in their segment.

    It is `sealed.seal` for each, without the call: this is a token's hot path.
    """
    found = []
    for seg, (prefix, seq, rest) in enumerate(pending, first):
        body = b'%b%d,"seg":%d,"t":%b' % (prefix, seq, seg, rest)
        found.append(b'%b,"crc":"%08x"}\n' % (body, zlib.crc32(body)))
    return found
