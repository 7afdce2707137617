"""The files that summaries are in: a sidecar beside each segment.

Beside `events-00000017.jsonl` lies `events-00000017.summary`, while that segment is written to
`events-00000017.summary.open`. It is a file of lines as the log's other files are:

    {"sidecar":17,"schema":2,"crc":"…"}
    {"summary":"st_5e1f","at":[17,104233],"t":1770000000123456,…,"crc":"…"}
    {"sealed":17,"rows":1,"first":…,"last":…,"bytes":…,"crc32":"…","crc":"…"}

The rows stand in the order of the records that they are of. The last line is written when nothing
more will come. It says what the file holds and how long the segment was then: a file that does not
fit either, or has rows of another version, is made again from the segment. A sidecar outlives its
segment, and is all that is left then.
"""

import contextlib
import os
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from engine import regular
from engine.log.format import sealed
from engine.log.summary import rows

SCHEMA: Final = 2
"""Version of the rows: 2 since they have the answer's id and the worker process. A sidecar of
another version is made again while its segment is there; the rows of one that is not are read as
far as they go."""

TAIL_BYTES: Final = 512
"""More than the last line of a sidecar has."""

BLOCK_BYTES: Final = 1 << 20
"""How much is read at a time for a checksum."""

OPEN: Final = ".open"
"""Behind the name of a sidecar whose segment is written to."""

DRAFT: Final = ".new"
"""Behind the name of one that is made again."""

REWRITTEN: Final = ".purge"
"""Behind the name of one that is made again since its segment was rewritten."""

ASIDE: Final = ".old"
"""Behind the name of one whose segment was deleted by hand, and whose number is another's now."""

_NAME: Final = re.compile(r"events-(\d{8,})\.summary(\.open|\.new)?")
_OFFSETS: Final = re.compile(rb'(?m)^\{"summary":"(?:[^"\\]|\\.)*","at":\[\d+,(\d+)\]')
"""Finds the offsets of rows, without reading them."""

_encode: Final = msgspec.json.Encoder().encode


class Sealed(msgspec.Struct, frozen=True):
    """The last line of a sidecar that is whole.

    Attributes:
        sealed: number of the segment.
        rows: how many there are.
        first: the least time of a row, in microseconds since the epoch; 0 without rows.
        last: the greatest.
        bytes: of the segment, when this was written.
        crc32: of all lines before this one, 8 hexadecimal digits.
    """

    sealed: int
    rows: int
    first: int
    last: int
    bytes: int
    crc32: str


_SEALS: Final = msgspec.json.Decoder(Sealed)


class SidecarInfo(msgspec.Struct, frozen=True):
    """A sidecar as the file system shows it.

    Attributes:
        is_sealed: whether it has the name of one that nothing more comes to.
    """

    number: int
    path: Path
    size: int
    modified_us: int
    is_sealed: bool


def name_of(number: int) -> str:
    """File name of a segment's sidecar."""
    return f"events-{number:08}.summary"


def list_sidecars(directory: Path) -> tuple[list[SidecarInfo], list[Path]]:
    """Return the sidecars of a log, one a segment and oldest first, and the drafts that a killed
    process left.

    Raises:
        OSError: the directory cannot be read.
    """
    found: dict[int, SidecarInfo] = {}
    drafts: list[Path] = []
    for path in directory.iterdir():
        name = _NAME.fullmatch(path.name)
        if name is None:
            continue
        if name[2] == DRAFT:
            drafts.append(path)
            continue
        try:
            stat = path.lstat()
        except FileNotFoundError:  # renamed or deleted meanwhile
            continue
        number, is_sealed = int(name[1]), name[2] is None
        if is_sealed or number not in found:
            modified_us = stat.st_mtime_ns // 1000
            found[number] = SidecarInfo(number, path, stat.st_size, modified_us, is_sealed)
    return [found[number] for number in sorted(found)], drafts


def last_line(path: Path) -> Sealed | None:
    """Return what the last line of a sidecar says; None where it has none such.

    Raises:
        NotRegular, OSError: it cannot be read.
    """
    with regular.reader(path) as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - TAIL_BYTES))
        line = file.read().rstrip(b"\n").rpartition(b"\n")[2] + b"\n"
    if not line.startswith(b'{"sealed":') or not sealed.is_sealed(line):
        return None
    try:
        return _SEALS.decode(line)
    except msgspec.DecodeError:
        return None


def is_whole(path: Path, segment_bytes: int) -> bool:
    """Whether a sidecar is as it was written, of this version, and of a segment of this length.

    Raises:
        NotRegular, OSError: it cannot be read.
    """
    last = last_line(path)
    if last is None or last.bytes != segment_bytes:
        return False
    crc = 0
    with regular.reader(path) as file:
        if not is_current(file.readline(TAIL_BYTES), last.sealed):
            return False
        file.seek(0)
        left = path.lstat().st_size - len(_line(last))
        while left > 0 and (data := file.read(min(left, BLOCK_BYTES))):
            crc = zlib.crc32(data, crc)
            left -= len(data)
    return left == 0 and last.crc32 == f"{crc:08x}"


def is_current(line: bytes, number: int) -> bool:
    """Whether the first line of a sidecar is that of a segment's, in this version."""
    return line == _first_line(number)


def _first_line(number: int) -> bytes:
    return _line({"sidecar": number, "schema": SCHEMA})


def rows_of(directory: Path, number: int) -> int:
    """Return how many rows the sidecar of a segment has; 0 where there is none.

    Raises:
        NotRegular, OSError: it cannot be read.
    """
    path = directory / name_of(number)
    for each in (path, path.with_name(f"{path.name}{OPEN}"), path):
        try:
            last = last_line(each)
            return _rows_in(each) if last is None else last.rows
        except FileNotFoundError:  # it has its other name by now, or there is none
            continue
    return 0


def rows_in(data: bytes, number: int) -> Iterator[rows.Summary]:
    """Yield the rows of a sidecar's content that are as they were written, each once.

    Args:
        number: of its segment.
    """
    seen = -1
    for line in data.splitlines(keepends=True):
        row = row_in(line, number)
        if row is not None and row.at[1] > seen:
            seen = row.at[1]
            yield row


def rows_with(text: bytes, data: bytes, number: int) -> Iterator[rows.Summary]:
    """Yield those of `rows_in` that have these bytes in their line, most often without reading
    others: only where places are not in their order it takes all to tell which row is a second."""
    at = data.find(text)
    told = seen = -1
    looked = 0
    while at >= 0:
        start, end = data.rfind(b"\n", 0, at) + 1, data.find(b"\n", at) + 1
        row = row_in(data[start:end], number)
        seen = max(seen, *map(int, _OFFSETS.findall(data, looked, start)), -1)
        looked = start
        if row is not None and row.at[1] <= seen:
            for each in rows_in(data, number):
                if each.at[1] > told and text in rows.written(each):
                    yield each
            return
        if row is not None:
            told = row.at[1]
            yield row
        at = data.find(text, end) if end else -1


def row_in(line: bytes, number: int) -> rows.Summary | None:
    """Return the row of a line of a segment's sidecar; None where it is none that one has."""
    row = rows.read(line) if line.startswith(rows.ROW) else None
    is_one = row is not None and row.at[0] == number and row.kind not in (rows.OPEN, rows.LIFE)
    return row if is_one else None


def _rows_in(path: Path) -> int:
    with regular.reader(path) as file:
        return sum(line.startswith(rows.ROW) for line in file)


def _line(line: msgspec.Struct | dict[str, int]) -> bytes:
    return sealed.seal(_encode(line)[:-1])


class Sidecar:
    """A sidecar while it is written.

    Args:
        draft: what the file's name has at its end until it is sealed.

    Attributes:
        number: of the segment.
        rows: how many it has.

    Raises:
        NotRegular, OSError: it cannot be made.
    """

    def __init__(self, directory: Path, number: int, draft: str = OPEN) -> None:
        self.number = number
        self.rows = 0
        self._path = directory / name_of(number)
        self._draft = directory / f"{name_of(number)}{draft}"
        self._size = self._crc = self._first = self._last = 0
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND
        self._fd = regular.open_regular(self._draft, flags)
        try:
            self._write(_first_line(number))
        except OSError:
            self.release()
            raise

    def append(self, summaries: list[rows.Summary]) -> None:
        """Write rows.

        Raises:
            OSError: none of them is there, or the file is of no use any more.
        """
        if summaries:
            self._write(b"".join(map(rows.written, summaries)))
            times = [each.t for each in summaries]
            self._first = min(self._first or times[0], *times)
            self._last = max(self._last, *times)
            self.rows += len(summaries)

    def seal(self, segment_bytes: int, *, syncs: bool) -> None:
        """Write the last line, and give the file its name.

        Raises:
            OSError: it has not got it.
        """
        crc32 = f"{self._crc:08x}"
        last = Sealed(self.number, self.rows, self._first, self._last, segment_bytes, crc32)
        try:
            self._write(_line(last))
            if syncs:
                os.fsync(self._fd)
            self._draft.replace(self._path)
            if syncs:
                regular.sync_directory(self._path.parent)
        finally:
            self.release()

    def release(self) -> None:
        """Give up the file as it is."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1

    def _write(self, data: bytes) -> None:
        rest = data
        try:
            while rest:
                rest = rest[os.write(self._fd, rest) :]
        except OSError:
            with contextlib.suppress(OSError):  # a reader passes over half a line
                os.ftruncate(self._fd, self._size)
            raise
        self._size += len(data)
        self._crc = zlib.crc32(data, self._crc)
