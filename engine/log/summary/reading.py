"""Reads summaries back, in the order of the log and a block at a time.

A place in that order is the number of a segment and an offset there: where the last record of the
request is. It stays the same whatever becomes of the files, so a reader can go on from it after a
restart, a rotation, or when the sidecar was made again.
"""

from pathlib import Path
from typing import BinaryIO, Final, Self

import msgspec

from engine import regular
from engine.log.format import sealed
from engine.log.read import segments
from engine.log.summary import rows, sidecars

BLOCK_BYTES: Final = 1 << 17
"""How much is read at a time: some 300 rows."""

Place = tuple[int, int]
"""Where a row stands in the log: its segment, and the offset of its record there."""

BEGINNING: Final[Place] = (0, -1)
"""The place before all rows."""


class Span(msgspec.Struct, frozen=True):
    """The rows that are asked for.

    Attributes:
        after: the place behind which they begin.
        through: the last segment; 0: there is none.
        start: the least time, in microseconds since the epoch.
        end: the time before which they must be; None: no limit.
    """

    through: int
    after: Place = BEGINNING
    start: int = 0
    end: int | None = None


class SummaryReader:
    """Lines of sidecars, for those who read them. Its methods wait for the disk.

    Files that surely have no row of the span are left out; a row that is not in it may come.

    Attributes:
        segment: number of the one whose rows came last.
        short: files that are known by now to lack rows, or to be missing beside their segment.

    Raises:
        OSError: the directory cannot be read.
    """

    def __init__(self, directory: Path, span: Span) -> None:
        self.segment = 0
        self._rows = 0
        self._last: sidecars.Sealed | None = None
        self._span = span
        self._directory = directory
        least = span.after[0]
        wanted = {
            each.number
            for each in segments.list_segments(directory)
            if least <= each.number <= span.through
        }
        if least <= span.through != 0:  # there also where somebody deleted all there was
            wanted.add(span.through)
        found = sidecars.list_sidecars(directory)[0]
        self.short = len(wanted - {each.number for each in found})
        if least > span.through:  # a cursor of another log: what it stands for is not here
            self.short += 1
        self._left = [each for each in found if least <= each.number <= span.through]
        self._left.reverse()
        self._file: BinaryIO | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give up the file that is open."""
        if self._file is not None:
            self._file.close()
        self._file = None

    def block(self) -> list[bytes] | None:
        """Return the next lines, of one sidecar; None behind the last.

        Raises:
            NotRegular, OSError: a file cannot be read.
        """
        while True:
            if self._file is None:
                if not self._left:
                    return None
                self._open(self._left.pop())
                continue
            data = self._file.read(BLOCK_BYTES)
            if data and not data.endswith(b"\n"):
                data += self._file.readline(sealed.LINE_LIMIT)
            if data:
                lines = data[: data.rfind(b"\n") + 1].splitlines(keepends=True)
                self._rows += sum(line.startswith(rows.ROW) for line in lines)
                return lines
            is_behind = self.segment > self._span.after[0]  # else nobody knows on which side
            self.short += is_behind and self._last is not None and self._rows != self._last.rows
            self.close()

    def _open(self, sidecar: sidecars.SidecarInfo) -> None:
        """Open a sidecar, if it may have a row that is asked for and is still there."""
        path = self._directory / sidecars.name_of(sidecar.number)
        for each in (path, path.with_name(f"{path.name}{sidecars.OPEN}"), path):
            try:
                last = sidecars.last_line(each)
                if last is None or self._may_have(last):
                    self._file, self.segment = regular.reader(each), sidecar.number
                    self._last, self._rows = last, 0
                    # Cut since, or all that is left of a segment that somebody deleted.
                    is_cut = last is None and each == path
                    self.short += is_cut and sidecar.modified_us >= self._span.start
            except FileNotFoundError:  # it has its other name by now, or retention was faster
                continue
            return

    def _may_have(self, last: sidecars.Sealed) -> bool:
        span = self._span
        is_over = span.end is not None and last.first >= span.end
        return bool(last.rows) and last.last >= span.start and not is_over
