"""Reads one segment line by line, and holds it against what it should hold."""

import os
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Final

from engine import regular
from engine.log.cold import files, reading
from engine.log.format import chain, exports, sealed
from engine.log.read import drafts, manifest
from machines import events, parse

LIMITLESS: Final = 1 << 62
"""In place of the length of a segment that nobody knows."""


def peek_header(path: Path) -> chain.Header | None:
    """The header of a segment; None where there is none that this version can read."""
    try:
        with files.open_segment(path) as file:
            line = file.readline(sealed.LINE_LIMIT)
    except (FileNotFoundError, regular.NotRegular, reading.Damaged):
        return None
    if not sealed.is_kind(line, "segment") or not sealed.is_sealed(line):
        return None
    try:
        return chain.parse_header(line)
    except parse.ParseError:
        return None


class SegmentReader:
    """One segment: iterate it for the lines behind its header.

    Args:
        number: by its name; 0 where it is not named as a segment.
        known: what the log should hold.
        following: the segment after it; None for the newest.
        note: takes each problem.

    Attributes:
        line: number in the file of the line at hand, from 1.
        offset: of its first byte there.
        is_gone: whether it was deleted meanwhile, as it should be.
        is_later: whether a later version wrote it.
        export: what its header says, where it is an export and no segment.
    """

    def __init__(
        self,
        number: int,
        path: Path,
        known: manifest.Manifest,
        following: Path | None,
        note: Callable[[sealed.Problem], object],
    ) -> None:
        self.path = path
        self.line = 0
        self.offset = 0
        self.is_gone = False
        self.is_later = False
        self.export: exports.Export | None = None
        self._number = number
        self._known = known
        self._note = note
        self._is_newest = following is None
        self._holds = known.holds(number)
        self._is_closed = self._holds is not None
        if not self._is_closed and following is not None and known.is_headed(number):
            header = peek_header(following)
            self._holds = None if header is None else header.before
        self._records = 0
        self._crc = 0
        self._size = 0
        self._behind = 0
        self._corrupt = False

    @property
    def figures(self) -> chain.Figures:
        """The figures of the segment as far as it was read; of an export without its header."""
        return chain.Figures(self._records, self.offset - self._behind, f"{self._crc:08x}")

    def __iter__(self) -> Iterator[bytes]:
        file = self._open()
        if file is not None:
            with file:
                yield from self._read(file)
                self._measure(file)
        if not self._corrupt:
            self.line += 1
            self._hold_against()

    def complain(self, kind: sealed.ProblemKind, reason: str, stream: str | None = None) -> None:
        """Say that something is wrong with the line at hand."""
        self._corrupt |= kind == "corrupt"
        self._note(sealed.Problem(kind, self.path, self.line, self.offset, reason, stream))

    def _open(self) -> BinaryIO | None:
        try:
            return drafts.reader(self.path)
        except FileNotFoundError:
            self._take_absence()
        except regular.NotRegular as error:
            self.complain("corrupt", str(error.strerror))
        return None

    def _read(self, file: BinaryIO) -> Iterator[bytes]:
        """The lines up to where the segment should end."""
        limit = LIMITLESS if self._holds is None else self._holds.bytes
        while line := self._next(file, limit):
            self.line += 1
            if self.line > 1 or not self._take_header(line):
                self._records += 1
                if line.endswith(b"\n"):
                    yield line
                else:
                    self._complain_of_end(line)
            if self.line == 1 and self.export is not None:  # whose figures leave out the header
                self._behind = len(line)
            else:
                self._crc = zlib.crc32(line, self._crc)
            self.offset += len(line)

    def _next(self, file: BinaryIO, end: int) -> bytes:
        """The next line; nothing at the end. Of what is damaged of a compressed segment no line is
        known, nor the line that ends behind it: they are not counted."""
        while True:
            try:
                return file.readline(min(sealed.LINE_LIMIT, max(0, end - self.offset)))
            except reading.Damaged as error:
                self._complain_of_next(error)
                resumed = reading.resume(file, error)
            if resumed is None:
                return b""
            self.offset = resumed

    def _complain_of_next(self, error: reading.Damaged) -> None:
        self.line += 1
        self.complain("corrupt", str(error.strerror))
        self.line -= 1

    def _measure(self, file: BinaryIO) -> None:
        """Take the length of the segment; that of a compressed one is in its last member."""
        try:
            self._size = file.seek(0, os.SEEK_END)
        except reading.Damaged as error:
            if not self._corrupt:
                self._complain_of_next(error)

    def _take_absence(self) -> None:
        """A segment that was there a moment ago: retention was faster, or it is lost."""
        looked = manifest.look(self.path.parent)
        now = manifest.Manifest(self.path.parent, looked, headed=False)
        self.is_gone = self._known.chain is None or now.is_pruned(self._number)
        if self.is_gone:
            self._holds = None
        else:
            self.complain("corrupt", "it is gone")

    def _take_header(self, line: bytes) -> bool:
        """Take the first line, if it is a header."""
        if not sealed.is_kind(line, "segment"):
            if self._known.is_headed(self._number) and line.endswith(b"\n"):
                self.complain("corrupt", "it has no header")
            return False
        if not sealed.is_sealed(line):
            return False
        try:
            header = chain.parse_header(line)
        except parse.ParseError as error:
            self.is_later = True
            self.complain("later", error.detail)
            return True
        self.export = header.export
        if self._number and header.segment != self._number:
            self.complain("corrupt", f"it is segment {header.segment}")
        elif header.before not in (None, self._known.held(self._number - 1) or header.before):
            self.complain("corrupt", "it does not follow the segment before it")
        if header.schema > events.SCHEMA_VERSION:
            self.is_later = True
            self.complain("later", f"schema {header.schema}")
        return True

    def _complain_of_end(self, line: bytes) -> None:
        """Say what is wrong with a last line that has no line feed."""
        if len(line) == sealed.LINE_LIMIT:
            self.complain("corrupt", f"a line has more than {sealed.LINE_LIMIT} bytes")
            return
        unfinished = self._is_newest and not self._is_closed and self.export is None
        torn = unfinished and self.offset >= self._known.synced(self._number)
        self.complain("torn" if torn else "corrupt", "the last line has no end")

    def _hold_against(self) -> None:
        """Whether a segment whose lines are good holds what it should."""
        if self.export is not None:
            self._hold_against_header(self.export)
            return
        holds = self._holds
        if self._is_closed and holds is not None and self.figures != holds:
            holds = self._rewritten() or holds
        if holds is None:
            synced = self._known.synced(self._number)
            if self.offset < synced:
                self.complain("corrupt", f"it ends here; {synced} bytes were on the disk")
        elif self.offset < holds.bytes:
            self.complain("corrupt", f"it ends here; {holds.bytes} bytes were written")
        elif self._size > holds.bytes:
            kind: sealed.ProblemKind = "corrupt" if self._is_closed else "torn"
            self.complain(kind, f"{self._size - holds.bytes} bytes follow its end")
        elif self.figures != holds:
            self.line, self.offset = 1, 0
            self.complain("corrupt", "it holds something else than was written")

    def _hold_against_header(self, export: exports.Export) -> None:
        """Whether an export has all that it was written with, and nothing more."""
        found = self.figures
        if found.bytes < export.bytes:
            self.complain("corrupt", f"it ends here; {export.bytes} bytes follow its header")
        elif found != chain.Figures(export.records, export.bytes, export.crc32):
            self.line, self.offset = 1, 0
            self.complain("corrupt", "it holds something else than was exported")

    def _rewritten(self) -> chain.Figures | None:
        """The figures of a segment that was rewritten while it was read; None where it was not."""
        looked = manifest.look(self.path.parent)
        return manifest.Manifest(self.path.parent, looked, headed=False).holds(self._number)
