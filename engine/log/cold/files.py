"""The segments of a directory by their names, and the one way to open one.

A segment lies there as `events-00000017.jsonl` or, compressed, as `events-00000017.jsonl.gz`.
Where both lie the plain one counts: a process was killed before it deleted that. A segment may be
compressed while somebody reads the log, so who does not find the one looks for the other.
"""

import errno
import os
import re
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from engine import regular
from engine.log.cold import reading

COMPRESSED: Final = ".gz"
"""Behind the name of a segment that is compressed."""

DRAFT: Final = ".new"
"""Behind that, until it is whole."""

_NAME: Final = re.compile(r"events-(\d{8,})\.jsonl(\.gz)?")


class SegmentInfo(msgspec.Struct, frozen=True):
    """A segment as the file system shows it; `modified_us` is about when its last record was.

    Attributes:
        size: of the file as it lies there, in bytes.
    """

    number: int
    path: Path
    size: int
    modified_us: int

    @property
    def is_compressed(self) -> bool:
        """Whether the file is compressed."""
        return self.path.suffix == COMPRESSED


def segment_name(number: int) -> str:
    """File name of a segment; names sort as their numbers do for the first 99,999,999."""
    return f"events-{number:08}.jsonl"


def compressed_name(number: int) -> str:
    """File name of a segment that is compressed."""
    return f"{segment_name(number)}{COMPRESSED}"


def number_of(name: str) -> int | None:
    """Return the number of a segment by its file's name; None where it is not named as one."""
    found = _NAME.fullmatch(name)
    if found is None or name != f"{segment_name(int(found[1]))}{found[2] or ''}":
        return None
    return int(found[1])


def list_segments(directory: Path) -> list[SegmentInfo]:
    """The segments of a log, oldest first.

    Raises:
        OSError: the directory cannot be read.
    """
    # Twice: a large directory is read in parts, and a segment may change its name meanwhile.
    names = {path.name for _ in range(2) for path in directory.iterdir()}
    numbers = {number for name in names if (number := number_of(name)) is not None}
    found = (_look(directory, number) for number in sorted(numbers))
    return [each for each in found if each is not None]


def _look(directory: Path, number: int) -> SegmentInfo | None:
    for name in (segment_name(number), compressed_name(number)):
        path = directory / name
        try:
            stat = path.lstat()
        except FileNotFoundError:  # it has its other name, or retention was faster
            continue
        return SegmentInfo(number, path, stat.st_size, stat.st_mtime_ns // 1000)
    return None


def open_segment(path: Path) -> BinaryIO:
    """Open a segment, to read its content at any offset, in whichever form it lies there.

    Args:
        path: of one of its forms, or of any other file of records.

    Raises:
        NotRegular: something else is in its place.
        OSError: it cannot be opened. Whoever reads may meet `reading.Damaged` besides.
    """
    number = number_of(path.name)
    if number is None:
        return _open(path, None)
    names = segment_name(number), compressed_name(number)
    for name in (*names, names[0]):
        try:
            return _open(path.with_name(name), number)
        except FileNotFoundError:
            continue
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))


def _open(path: Path, number: int | None) -> BinaryIO:
    if path.suffix == COMPRESSED:
        return reading.open_members(path, number)
    return regular.reader(path)


def content_bytes(path: Path) -> int:
    """Return the bytes of a segment's content; of a damaged one those before the damage.

    Raises:
        NotRegular, OSError: it cannot be read.
    """
    with open_segment(path) as file:
        try:
            return file.seek(0, os.SEEK_END)
        except reading.Damaged as error:
            return error.offset


def remove(directory: Path, number: int) -> None:
    """Delete a segment, in each form that it has.

    Raises:
        OSError: it is still there.
    """
    (directory / segment_name(number)).unlink(missing_ok=True)
    (directory / compressed_name(number)).unlink(missing_ok=True)
