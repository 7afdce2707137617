"""The event log on disk, and its read side: file names, the form of a line, reading, recovery.

A log is a directory of segments, `events-00000001.jsonl` and so on, each a file of records, one a
line, written by one process at a time. A line ends in a checksum over everything before it; `seg`
counts the records of a segment, `seq` those of a stream. So a changed bit, a line that is gone,
doubled or cut are all found and located:

    torn     the last line of the last segment has no newline: its writer was stopped in the
             middle of it. Recovery cuts it off.
    corrupt  anything else that is not as it was written.

A stream whose beginning went with a segment past its age is neither: it is incomplete.
"""

import itertools
import os
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal

import msgspec

from machines import events, outputs

LINE_LIMIT: Final = 64 << 20
"""Bytes a line may have. The largest record holds a request's body, which is at most 16 MiB."""

PROBLEMS_KEPT: Final = 1000
"""Problems a `Reading` describes; it counts them all."""

CHECKPOINT: Final = "checkpoint"
"""File with the number of a segment before which no stream began that may still be open."""

Appended = events.StreamInput | events.WorkerChanged
"""What is recorded between the first record of a life and its last."""

LoggedEvent = events.Opened | Appended | events.Terminal
"""Every event that is a record: of a stream's life, or of a worker process's."""

ProblemKind = Literal["torn", "corrupt"]
"""What may be wrong with a line; see above."""

_NAME: Final = re.compile(r"events-(\d{8,})\.jsonl")
_SEAL_BYTES: Final = len(b',"crc":"00000000"}\n')
_BLOCK: Final = 1 << 16


class SegmentInfo(msgspec.Struct, frozen=True):
    """A segment as the file system shows it; `modified_us` is about when its last record was."""

    number: int
    path: Path
    size: int
    modified_us: int


class Record(msgspec.Struct, frozen=True, gc=False):
    """One intact line of a log.

    Attributes:
        event: tag of what happened; `load` gives the event itself.
        state: the stream's state after it.
        out: tags of what the machine answered.
        decision: what a scanner decided on the way.
        raw: the line as on disk.
        line: its number in `path`, from 1.
    """

    stream: str
    seq: int
    seg: int
    t: int
    event: str
    state: str
    out: tuple[str, ...]
    decision: outputs.Decision | None
    raw: bytes
    path: Path
    line: int

    def load(self) -> LoggedEvent:
        """The event.

        Raises:
            msgspec.ValidationError: it is not of this version's vocabulary.
        """
        return _EVENTS.decode(self.raw)


class Problem(msgspec.Struct, frozen=True):
    """Something in a log that is not as it was written.

    Attributes:
        line: number in the file, from 1.
        offset: of the line's first byte in the file.
        stream: the one that is hurt, where the line says so.
    """

    kind: ProblemKind
    path: Path
    line: int
    offset: int
    reason: str
    stream: str | None = None

    def __str__(self) -> str:
        return f"{self.path}:{self.line} (byte {self.offset}): {self.kind}: {self.reason}"


class OpenStream(msgspec.Struct):
    """What the log says of a stream with no terminal record.

    Attributes:
        next_seq: of the record that would be its next.
        answered: whether its response's head went out.
    """

    stream: str
    next_seq: int
    state: str
    opened_us: int
    last_us: int
    answered: bool = False


class Recovery(msgspec.Struct, frozen=True):
    """What a writer found that came to a log after another."""

    torn_bytes_cut: int = 0
    open_streams: tuple[OpenStream, ...] = ()
    problems: tuple[Problem, ...] = ()


class _Line(msgspec.Struct, gc=False):
    """What every record has, whatever its event."""

    stream: str
    seq: int
    seg: int
    t: int
    event: str
    state: str
    out: tuple[str, ...]
    released: int | None = None


_LINES: Final = msgspec.json.Decoder(_Line)
_DECISIONS: Final = msgspec.json.Decoder(outputs.Decision)
_EVENTS: Final[msgspec.json.Decoder[LoggedEvent]] = msgspec.json.Decoder(LoggedEvent)


def seal(body: bytes) -> bytes:
    """A record's line: its members, without the closing brace, and their checksum as the last."""
    return b'%b,"crc":"%08x"}\n' % (body, zlib.crc32(body))


def segment_name(number: int) -> str:
    """File name of a segment; names sort as their numbers do for the first 99,999,999."""
    return f"events-{number:08}.jsonl"


def list_segments(directory: Path) -> list[SegmentInfo]:
    """The segments of a log, oldest first.

    Raises:
        OSError: the directory cannot be read.
    """
    found = []
    for path in directory.iterdir():
        name = _NAME.fullmatch(path.name)
        if name is None:
            continue
        try:
            stat = path.stat()
        except FileNotFoundError:  # retention was faster
            continue
        found.append(SegmentInfo(int(name[1]), path, stat.st_size, stat.st_mtime_ns // 1000))
    return sorted(found, key=lambda segment: segment.number)


class Reading:
    """One pass over segments: iterate it for the intact records, in order.

    What it finds on the way is complete when the iteration is.

    Args:
        segments: oldest first.
        pruned: whether streams may have begun before the first of them.

    Attributes:
        problems: the first `PROBLEMS_KEPT` of them, in order.
        problem_count: how many there were.
        open: the streams without a terminal record.
        incomplete: the streams whose beginning is no longer there.
    """

    def __init__(self, segments: list[SegmentInfo], *, pruned: bool) -> None:
        self.problems: list[Problem] = []
        self.problem_count = 0
        self.open: dict[str, OpenStream] = {}
        self.incomplete: set[str] = set()
        self._segments = segments
        self._pruned = pruned
        self._path = Path()
        self._line = 0
        self._offset = 0

    def __iter__(self) -> Iterator[Record]:
        number = self._segments[0].number if self._segments else 0
        for segment in self._segments:
            self._path, self._line, self._offset = segment.path, 1, 0
            if segment.number != number:
                self._complain("corrupt", f"segment {segment_name(number)} is missing before it")
            number = segment.number + 1
            yield from self._read(segment is self._segments[-1])

    def _read(self, last: bool) -> Iterator[Record]:
        due: int | None = 0
        for raw in self._lines():
            line = self._parse(raw, last)
            if line is None:
                # Who knows how many records that was: the next one sets the count again.
                due = None
                continue
            if due is not None and line.seg < due:
                self._complain("corrupt", f"record {line.seg} of the segment comes twice")
                continue
            if due is not None and line.seg > due:
                self._complain("corrupt", f"records {due} to {line.seg - 1} are missing before it")
            due = line.seg + 1
            self._follow(line)
            yield self._record(line, raw)

    def _lines(self) -> Iterator[bytes]:
        try:
            file = self._path.open("rb")
        except FileNotFoundError:  # retention was faster
            self._pruned = True
            return
        with file:
            for number in itertools.count(1):
                line = file.readline(LINE_LIMIT)
                if not line:
                    return
                self._line = number
                yield line
                self._offset += len(line)

    def _parse(self, raw: bytes, last: bool) -> _Line | None:
        """The record of a line; None for a bad one, which is then on the list."""
        if not raw.endswith(b"\n"):
            if len(raw) == LINE_LIMIT:
                self._complain("corrupt", f"a line has more than {LINE_LIMIT} bytes")
            else:
                self._complain("torn" if last else "corrupt", "the last line has no end")
            return None
        if seal(raw[:-_SEAL_BYTES]) != raw:
            self._complain("corrupt", "its checksum does not fit")
            return None
        try:
            return _LINES.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            self._complain("corrupt", f"not a record: {error}")
            return None

    def _follow(self, line: _Line) -> None:
        """Hold a record against what is known of its stream."""
        known = self.open.get(line.stream)
        if known is None:
            known = OpenStream(line.stream, 0, line.state, line.t, line.t)
            self.open[line.stream] = known
            if line.seq and self._pruned:
                self.incomplete.add(line.stream)
                known.next_seq = line.seq
        if line.seq != known.next_seq:
            reason = f"stream {line.stream}: record {line.seq} where {known.next_seq} was due"
            self._complain("corrupt", reason, line.stream)
        if line.event == "terminal":
            del self.open[line.stream]
            return
        known.next_seq = line.seq + 1
        known.state = line.state
        known.last_us = line.t
        if "head" in line.out:
            known.answered = True

    def _record(self, line: _Line, raw: bytes) -> Record:
        decision = None if line.released is None else _DECISIONS.decode(raw)
        return Record(
            line.stream,
            line.seq,
            line.seg,
            line.t,
            line.event,
            line.state,
            line.out,
            decision,
            raw,
            self._path,
            self._line,
        )

    def _complain(self, kind: ProblemKind, reason: str, stream: str | None = None) -> None:
        self.problem_count += 1
        if len(self.problems) < PROBLEMS_KEPT:
            problem = Problem(kind, self._path, self._line, self._offset, reason, stream)
            self.problems.append(problem)


def read(path: Path) -> Reading:
    """Read a log's directory, one file of records, or a directory of such files.

    Raises:
        FileNotFoundError: there is nothing at `path`.
    """
    if not path.is_dir():
        return Reading([_file(1, path)], pruned=True)
    found = list_segments(path)
    if found:
        return Reading(found, pruned=found[0].number > 1)
    files = enumerate(sorted(path.glob("*.jsonl")), start=1)
    return Reading([_file(number, each) for number, each in files], pruned=True)


def _file(number: int, path: Path) -> SegmentInfo:
    stat = path.stat()
    return SegmentInfo(number, path, stat.st_size, stat.st_mtime_ns // 1000)


def recover(directory: Path) -> Recovery:
    """Cut a torn tail and find the streams that were left open.

    Reads on from the checkpoint: every stream that began earlier was over by then.

    Raises:
        OSError: the directory cannot be read, or the tail not be cut.
    """
    found = list_segments(directory)
    if not found:
        return Recovery()
    cut = _cut_torn_tail(found[-1].path)
    first = read_checkpoint(directory)
    if first > found[-1].number + 1:  # it is of another log, which was taken away
        first = 0
    recent = [segment for segment in found if segment.number >= first]
    reading = Reading(recent, pruned=True)
    for _ in reading:
        pass
    return Recovery(cut, tuple(reading.open.values()), tuple(reading.problems))


def _cut_torn_tail(path: Path) -> int:
    """Shorten a segment to its last newline; the number of bytes that went."""
    with path.open("rb") as file:
        size = end = file.seek(0, os.SEEK_END)
        whole = 0
        while end and not whole:
            start = max(0, end - _BLOCK)
            file.seek(start)
            newline = file.read(end - start).rfind(b"\n")
            whole, end = (start + newline + 1, end) if newline >= 0 else (0, start)
    if whole < size:
        os.truncate(path, whole)
    return size - whole


def read_checkpoint(directory: Path) -> int:
    """The segment that recovery may begin with; 0 where nothing says so."""
    try:
        return int((directory / CHECKPOINT).read_text())
    except (FileNotFoundError, ValueError):
        return 0


def write_checkpoint(directory: Path, number: int) -> None:
    """Say that no stream still open began before segment `number`.

    Raises:
        OSError: the old checkpoint stands.
    """
    draft = directory / f"{CHECKPOINT}.new"
    with open(draft, "w", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
        file.write(f"{number}\n")
    draft.replace(directory / CHECKPOINT)
