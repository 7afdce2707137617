"""The form of the files `chain` and `checkpoint`, and of the header that each segment begins with:
what is known of a log's segments beside themselves.

The problem: a segment's own lines show what is wrong between them, but not that its end is gone,
nor that a whole segment is missing, or lies where another belongs. So each segment begins with a
`Header` that has its number, and what the one before held when it was left. Once a segment is left
and on the disk, the chain gets a line with what it holds. A line of the chain has the checksum of
the line before, so it cannot be changed without the next. The checkpoint knows how many lines
there are, and up to which byte the segment that is still written was on the disk.

The chain is only ever appended to, but for `Begun`: a start may write a new file, where the old
one is damaged or most of it is about segments that have gone.
"""

import enum
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec

from engine.log.format import exports, sealed
from machines import events, parse

CHAIN: Final = "chain"
"""File with a line for each segment that was closed, rewritten or deleted."""

CHECKPOINT: Final = "checkpoint"
"""File with one line, overwritten in place: see `Checkpoint`."""

CHECKPOINT_BYTES: Final = 256
"""Length of the checkpoint, in one sector of any disk, so that a power cut leaves it as it was
before a write or after it."""

NOTHING: Final = "00000000"
"""In place of the checksum of a line that is not there."""


class Figures(msgspec.Struct, frozen=True):
    """The amount of a segment's content, and its checksum.

    Attributes:
        records: its lines without the header.
        bytes: all of it.
        crc32: of all its bytes, 8 hexadecimal digits.
    """

    records: int
    bytes: int
    crc32: str


class Header(msgspec.Struct, frozen=True, omit_defaults=True):
    """The first line of a segment.

    Attributes:
        segment: its number.
        schema: version of the records behind it.
        writer: of the process that wrote it.
        created: in microseconds since the epoch.
        before: what the segment with the number before held, where this writer left or read it.
        export: only in a file of streams that were taken out of a log, whose `segment` is 0.
    """

    segment: int
    schema: int
    writer: str
    created: int
    before: Figures | None = None
    export: exports.Export | None = None


class Entry(msgspec.Struct, frozen=True, tag_field="entry", tag=True):
    """A line of the chain; each has the number of a segment."""

    segment: int


class Begun(Entry, frozen=True, tag="begun"):
    """Always the first: the chain is about this segment and all that follow.

    Attributes:
        oldest: number of the oldest segment that was there then, of an older schema perhaps.
    """

    oldest: int


class Closed(Entry, frozen=True, tag="closed"):
    """The segment is closed: no line will be appended to it.

    Attributes:
        ended: when it was last appended to, in microseconds since the epoch.
    """

    records: int
    bytes: int
    crc32: str
    ended: int


class Rewritten(Entry, frozen=True, tag="rewritten"):
    """The segment holds something else now than when it was closed."""

    records: int
    bytes: int
    crc32: str


class Pruned(Entry, frozen=True, tag="pruned"):
    """The segment and all before it were deleted, or will be in a moment."""


class Damaged(Entry, frozen=True, tag="damaged"):
    """A start found this many problems in what was there, up to this segment.

    What it did about them hides some, and a log must not look better for a start.
    """

    problems: int
    first: str

    @property
    def reason(self) -> str:
        """The problems as a reader reports them."""
        return f"a start found {self.problems} problems, first {self.first}"


AnyEntry = Begun | Closed | Rewritten | Pruned | Damaged


class LogEnd(enum.Enum):
    """Whether a log's writer has closed it, as its checkpoint says."""

    OPEN = "open"
    CLOSED = "closed"


class Checkpoint(msgspec.Struct, frozen=True):
    """The writer's knowledge when the checkpoint was last written; it may be older than the rest
    of the log.

    Attributes:
        checkpoint: version of the log's form.
        first: no stream that may still be open began before this segment.
        segment: the newest.
        synced: bytes of it that are on the disk.
        lines: of the chain; there are no fewer, and no more while the log is closed.
        mark: checksum of the last of them.
    """

    checkpoint: int
    first: int
    segment: int = 0
    synced: int = 0
    lines: int = 0
    mark: str = NOTHING
    state: LogEnd = LogEnd.OPEN


class _Loose(msgspec.Struct, frozen=True):
    """What lines of the chain have in every version."""

    segment: int | None = None
    after: str = ""


_encode: Final = msgspec.json.Encoder().encode
_HEADERS: Final = msgspec.json.Decoder(Header)
_ENTRIES: Final[msgspec.json.Decoder[AnyEntry]] = msgspec.json.Decoder(AnyEntry)
_LOOSE: Final = msgspec.json.Decoder(_Loose)
_CHECKPOINTS: Final = msgspec.json.Decoder(Checkpoint)


def measure(records: int, data: bytes) -> Figures:
    """Return the figures of a content."""
    return Figures(records, len(data), f"{zlib.crc32(data):08x}")


def figures(entry: Closed | Rewritten) -> Figures:
    """Return the figures of an entry's segment."""
    return Figures(entry.records, entry.bytes, entry.crc32)


def header_line(header: Header) -> bytes:
    """The line of a header."""
    return sealed.seal(_encode(header)[:-1])


def parse_header(line: bytes) -> Header:
    """The header in a sealed line of that kind.

    Raises:
        ParseError: a later version wrote it.
    """
    return parse.parse(line, _HEADERS)


def entry_line(entry: AnyEntry, after: str) -> bytes:
    """The line of an entry.

    Args:
        after: checksum of the line before.
    """
    return sealed.seal(b'%b,"after":"%b"' % (_encode(entry)[:-1], after.encode()))


def rewriting(line: bytes, after: str) -> Rewritten | None:
    """The entry in a line of the chain, if it says that a segment was rewritten.

    Args:
        after: checksum of the line before; None is returned of a line that does not follow it.
    """
    if not sealed.is_sealed(line) or not sealed.is_kind(line, "entry"):
        return None
    try:
        entry = parse.parse(line, _ENTRIES)
        follows = parse.parse(line, _LOOSE).after == after
    except parse.ParseError:
        return None
    return entry if isinstance(entry, Rewritten) and follows else None


def checkpoint_line(checkpoint: Checkpoint) -> bytes:
    """All that the file holds: always as long, so that it can be overwritten in place."""
    return sealed.seal(_encode(checkpoint)[:-1].ljust(CHECKPOINT_BYTES - sealed.SEAL_BYTES))


def parse_checkpoint(path: Path, data: bytes) -> Checkpoint | sealed.Problem | None:
    """Read a checkpoint; return what is wrong with it where it is damaged, None for an empty file.

    One of schema 1 is a number and a line feed.
    """
    if not data:
        return None
    if len(data) <= len("99999999999\n") and data[:-1].isdigit() and data[-1:] == b"\n":
        return Checkpoint(1, int(data))
    if data.count(b"\n") != 1 or not sealed.is_sealed(data):
        return sealed.Problem("corrupt", path, 1, 0, "its checksum does not fit")
    if not sealed.is_kind(data, "checkpoint"):
        return sealed.Problem("corrupt", path, 1, 0, "is no checkpoint")
    try:
        found = parse.parse(data, _CHECKPOINTS)
    except parse.ParseError as error:
        kind: sealed.ProblemKind = "later" if error.fault == "type" else "corrupt"
        return sealed.Problem(kind, path, 1, 0, error.detail)
    if found.checkpoint > events.SCHEMA_VERSION:
        return sealed.Problem("later", path, 1, 0, f"schema {found.checkpoint}")
    return found


class Chain:
    """A chain, read.

    Attributes:
        marks: the checksum of each line, by its number; that of line 0 is `NOTHING`.
        length: bytes of the lines that have an end.
        tail: bytes behind them.
        begun: its first entry; None where it has none.
        closed: the segments that were closed, and are not deleted.
        holds: what segments hold now, for those of them that are known.
        told: checksums of the lines that say so, by the segment.
        pruned: number of the last segment that was deleted.
        damaged: what starts found, of segments that are still there, each with its place.
        problems: what is wrong with its own lines.
        unknown: whether a later version's entries are in it.
    """

    def __init__(self, path: Path, data: bytes) -> None:
        self.path = path
        self.marks = [NOTHING]
        self.length = 0
        self.begun: Begun | None = None
        self.closed: dict[int, Closed] = {}
        self.holds: dict[int, Figures] = {}
        self.told: dict[int, str] = {}
        self.pruned = 0
        self.problems: list[sealed.Problem] = []
        self.unknown = False
        self.damaged: list[tuple[Damaged, sealed.Problem]] = []
        *whole, tail = data.split(b"\n")
        self.tail = len(tail)
        for line in whole:
            self._read(line + b"\n")
            self.length += len(line) + 1
        for number in [each for each in self.holds if each <= self.pruned]:
            self.closed.pop(number, None)
            del self.holds[number]
        self.damaged = [each for each in self.damaged if each[0].segment > self.pruned]

    @property
    def count(self) -> int:
        """How many lines it has."""
        return len(self.marks) - 1

    def reaches(self, checkpoint: Checkpoint) -> bool:
        """Whether it has every line that a checkpoint knows of."""
        found = self.marks[checkpoint.lines : checkpoint.lines + 1]
        return found == [checkpoint.mark] or checkpoint.mark == self._continued

    _continued = ""
    """Checksum of the last line of the chain that this one took the place of."""

    def _read(self, line: bytes) -> None:
        if not sealed.is_sealed(line):
            self._complain("corrupt", "its checksum does not fit")
            self.marks.append("")  # the next line says what it was
            return
        try:
            self._enter(line)
        except parse.ParseError as error:
            if error.fault == "type" and sealed.is_kind(line, "entry"):
                self.unknown = True
                self._complain("later", error.detail)
            else:
                self._complain("corrupt", f"is no entry: {error}")
        self.marks.append(sealed.crc_of(line))

    def _enter(self, line: bytes) -> None:
        if not sealed.is_kind(line, "entry"):
            raise parse.ParseError("syntax", "its first member is another")
        after = parse.parse(line, _LOOSE).after
        number = len(self.marks)
        if number == 1:
            self._continued = after if after != NOTHING else ""
        elif self.marks[-1] not in ("", after):
            self._complain("corrupt", "does not follow the line before it")
        entry = parse.parse(line, _ENTRIES)
        if isinstance(entry, Begun) is not (number == 1):
            self._complain("corrupt", f"line {number} is not where a chain begins")
        match entry:
            case Begun():
                self.begun = entry
            case Closed() | Rewritten():
                if isinstance(entry, Closed):
                    self.closed[entry.segment] = entry
                self.holds[entry.segment] = figures(entry)
                self.told[entry.segment] = sealed.crc_of(line)
            case Pruned():
                self.pruned = max(self.pruned, entry.segment)
            case Damaged():
                self.damaged.append((entry, self._problem("corrupt", entry.reason)))

    def _complain(self, kind: sealed.ProblemKind, reason: str) -> None:
        self.problems.append(self._problem(kind, reason))

    def _problem(self, kind: sealed.ProblemKind, reason: str) -> sealed.Problem:
        return sealed.Problem(kind, self.path, len(self.marks), self.length, reason)


def compacted(kept: Chain, oldest: int) -> list[AnyEntry]:
    """Entries that say of the segments from `oldest` on what a chain says."""
    begun = oldest if kept.begun is None else max(oldest, kept.begun.segment)
    entries: list[AnyEntry] = [Begun(begun, oldest)]
    if kept.pruned:
        entries.append(Pruned(kept.pruned))
    for number, closed in kept.closed.items():
        entries.append(closed)
        now = kept.holds[number]
        if now != figures(closed):
            entries.append(Rewritten(number, now.records, now.bytes, now.crc32))
    return entries + [entry for entry, _ in kept.damaged]


def joined(entries: Iterable[AnyEntry], after: str) -> tuple[bytes, str]:
    """The lines of entries, and the checksum of the last.

    Args:
        after: checksum of the line before them.
    """
    found = []
    for entry in entries:
        found.append(entry_line(entry, after))
        after = sealed.crc_of(found[-1])
    return b"".join(found), after
