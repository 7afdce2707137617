"""The event log on disk, and its read side: file names, records, one pass over them.

A log is a directory of segments, `events-00000001.jsonl` and so on, each a file of records, one a
line, written by one process at a time. A line ends in a checksum over everything before it; `seg`
counts the records of a segment, `seq` those of a stream; `engine.log.format.chain` says what whole
segments hold. So a changed bit, and what is gone, doubled, cut or misplaced, are all located:

    torn     behind what is known to be on the disk, the newest segment ends in the middle of a
             line, or in zeros: its writer was stopped there. Recovery cuts that off.
    corrupt  anything else that is not as it was written.
    later    as it was written, by a later version: what this one cannot read of it is skipped.

A stream whose beginning went with an old segment is none of these: it is incomplete. In a log of
schema 1 a missing end is not noticed.
"""

import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, get_args

import msgspec

from engine.log.format import chain, records, sealed
from engine.log.read import manifest, segmentread
from machines import events, outputs, parse

PROBLEMS_KEPT: Final = 1000
"""Problems a `Reading` describes; it counts them all."""

LOOKS: Final = 20
"""How often a directory is looked at again that changes meanwhile."""

Appended = events.StreamInput | events.WorkerChanged
"""An event between the first record of a life and its last."""

Last = events.Terminal | events.RequestRejected
"""An event that ends a life; a refused request has no other."""

LoggedEvent = events.Opened | Appended | Last
"""Every event that is a record."""

_NAME: Final = re.compile(r"events-(\d{8,})\.jsonl")


class SegmentInfo(msgspec.Struct, frozen=True):
    """A segment as the file system shows it; `modified_us` is about when its last record was."""

    number: int
    path: Path
    size: int
    modified_us: int


class LaterVersion(ValueError):
    """Raised for a record that is as it was written, and not of this version's vocabulary."""


class Record(msgspec.Struct, frozen=True, gc=False):
    """One intact line of a log.

    Attributes:
        event: tag of what happened; `load` gives the event itself.
        state: the stream's state after it.
        out: tags of what the machine answered.
        states: all states that the step led through, where they were several.
        raw: the line as on disk.
        released: code points that a scanner let go on, where one decided.
        line: its number in `path`, from 1.
        offset: of its first byte there.
    """

    stream: str
    seq: int
    seg: int
    t: int
    event: str
    state: str
    out: tuple[str, ...]
    states: tuple[str, ...]
    released: int | None
    raw: bytes
    path: Path
    line: int
    offset: int

    def load(self) -> LoggedEvent:
        """The event.

        Raises:
            LaterVersion: it has members, types or words that this version does not know.
        """
        try:
            event = parse.parse(self.raw, _EVENTS, records.DEPTH)
            unknown = records.unknown(self.raw, event)
            _ = self.decision
        except parse.ParseError as error:
            raise LaterVersion(f"{self.event}: {error.detail}") from None
        if unknown:
            raise LaterVersion(f"{self.event}: {', '.join(unknown)}")
        return event

    @property
    def decision(self) -> outputs.Decision | None:
        """The scanner's decision in the record, if it has one.

        Raises:
            LaterVersion: as `load`.
        """
        if self.released is None:
            return None
        try:
            return parse.parse(self.raw, _DECISIONS, records.DEPTH)
        except parse.ParseError as error:
            raise LaterVersion(f"{self.event}: {error.detail}") from None


class OpenStream(msgspec.Struct):
    """The log's knowledge of a stream with no terminal record.

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


class _Line(msgspec.Struct, gc=False):
    """What every record has, whatever its event."""

    stream: str
    seq: int
    seg: int
    t: int
    event: str
    state: str
    out: tuple[str, ...]
    states: tuple[str, ...] = ()
    released: int | None = None
    schema: int = 1


class _Place(msgspec.Struct, gc=False):
    """What says where a record belongs."""

    stream: str
    seq: int
    seg: int


_LINES: Final = msgspec.json.Decoder(_Line)
_PLACES: Final = msgspec.json.Decoder(_Place)
_DECISIONS: Final = msgspec.json.Decoder(outputs.Decision)
_EVENTS: Final[msgspec.json.Decoder[LoggedEvent]] = msgspec.json.Decoder(LoggedEvent)
_TAGS: Final = frozenset(kind.__struct_config__.tag for kind in get_args(LoggedEvent))
_LAST_TAGS: Final = frozenset(kind.__struct_config__.tag for kind in get_args(Last))


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
        if name is None or path.name != segment_name(int(name[1])):
            continue
        try:
            stat = path.lstat()
        except FileNotFoundError:  # retention was faster
            continue
        found.append(SegmentInfo(int(name[1]), path, stat.st_size, stat.st_mtime_ns // 1000))
    return sorted(found, key=lambda segment: segment.number)


class Reading:
    """One pass over segments: iterate it for the intact records, in order.

    What it finds on the way is complete when the iteration is.

    Args:
        segments: oldest first.
        known: what they should hold.
        pruned: whether streams may have begun before the first of them.

    Attributes:
        problems: the first `PROBLEMS_KEPT` of them, in order.
        counts: how many there were of each kind.
        open: the streams without a terminal record.
        incomplete: the streams whose beginning is no longer there.
        later: the streams that a later version wrote something of.
        measured: what each segment holds.
    """

    def __init__(
        self, segments: list[SegmentInfo], known: manifest.Manifest, *, pruned: bool
    ) -> None:
        self.problems: list[sealed.Problem] = []
        self.counts: dict[sealed.ProblemKind, int] = {"torn": 0, "corrupt": 0, "later": 0}
        self.open: dict[str, OpenStream] = {}
        self.incomplete: set[str] = set()
        self.later: set[str] = set()
        self.measured: dict[int, chain.Figures] = {}
        self._segments = segments
        self._known = known
        self._pruned = pruned
        self._uncounted = False

    def __iter__(self) -> Iterator[Record]:
        for problem in (*self._known.noted, *self._known.problems):
            self._note(problem)
        paths = [segment.path for segment in self._segments]
        for segment, following in itertools.zip_longest(self._segments, paths[1:]):
            reader = segmentread.SegmentReader(
                segment.number, segment.path, self._known, following, self._note
            )
            yield from self._read(reader)
            self._pruned |= reader.is_gone
            self.measured[segment.number] = reader.figures

    def load(self, record: Record) -> LoggedEvent | None:
        """The event of a record; None where a later version wrote it, which is noted."""
        try:
            return record.load()
        except LaterVersion as error:
            if record.stream not in self.later:
                self.later.add(record.stream)
                self._note(
                    sealed.Problem(
                        "later", record.path, record.line, record.offset, str(error), record.stream
                    )
                )
            return None

    def _read(self, reader: segmentread.SegmentReader) -> Iterator[Record]:
        due: int | None = 0
        for raw in reader:
            line = self._parse(raw, reader)
            if line is None:
                # Who knows how many records that was: the next one sets the count again.
                due = None
                continue
            if due is not None and line.seg < due:
                reader.complain("corrupt", f"record {line.seg} of the segment comes twice")
                continue
            if due is not None and line.seg > due:
                missing = f"records {due} to {line.seg - 1} are missing before it"
                reader.complain("corrupt", missing)
            due = line.seg + 1
            self._follow(line, reader)
            if self._is_known(line, reader):
                yield _record(line, raw, reader)

    def _parse(self, raw: bytes, reader: segmentread.SegmentReader) -> _Line | None:
        """The record of a line; None for a bad one, which is then on the list."""
        if not sealed.is_sealed(raw):
            reader.complain("corrupt", "its checksum does not fit")
            return None
        try:
            if not sealed.is_kind(raw, "stream"):
                raise parse.ParseError("syntax", "its first member is another")
            return parse.parse(raw, _LINES, records.DEPTH)
        except parse.ParseError as error:
            if error.fault != "type":
                reader.complain("corrupt", f"it is no record: {error}")
                return None
            detail = error.detail
        try:
            place = parse.parse(raw, _PLACES, records.DEPTH)
        except parse.ParseError:
            # Of whichever stream that was, there is one that has it, and now has a hole.
            self._uncounted = True
            self.later.update(self.open)
            reader.complain("later", detail)
            return None
        return _Line(place.stream, place.seq, place.seg, 0, detail, "", ())

    def _follow(self, line: _Line, reader: segmentread.SegmentReader) -> None:
        """Hold a record against what is known of its stream."""
        known = self.open.get(line.stream)
        if known is None:
            known = OpenStream(line.stream, 0, line.state, line.t, line.t)
            self.open[line.stream] = known
            if line.seq and self._pruned:
                self.incomplete.add(line.stream)
                known.next_seq = line.seq
        if line.seq != known.next_seq and not self._uncounted:
            reason = f"stream {line.stream}: record {line.seq} where {known.next_seq} was due"
            reader.complain("corrupt", reason, line.stream)
        if line.event in _LAST_TAGS:
            del self.open[line.stream]
            return
        known.next_seq = line.seq + 1
        if line.event in _TAGS:
            known.state = line.state
            known.last_us = line.t
        if "head" in line.out:
            known.answered = True

    def _is_known(self, line: _Line, reader: segmentread.SegmentReader) -> bool:
        """Whether this version knows what a record says; of one that it does not is noted."""
        if line.stream in self.later:
            return False
        if line.event not in _TAGS:
            reason = line.event
        elif reader.is_later or line.schema > events.SCHEMA_VERSION:
            reason = "its stream"
        else:
            return True
        self.later.add(line.stream)
        reader.complain("later", reason, line.stream)
        return False

    def _note(self, problem: sealed.Problem) -> None:
        self.counts[problem.kind] += 1
        if len(self.problems) < PROBLEMS_KEPT:
            self.problems.append(problem)


def _record(line: _Line, raw: bytes, reader: segmentread.SegmentReader) -> Record:
    return Record(
        line.stream,
        line.seq,
        line.seg,
        line.t,
        line.event,
        line.state,
        line.out,
        line.states,
        line.released,
        raw,
        reader.path,
        reader.line,
        reader.offset,
    )


def read(path: Path) -> Reading:
    """Read a log's directory, one file of records, or a directory of such files.

    A file that is read without its directory shows what is wrong between its lines, and in its
    header; not that its end is missing, nor that it is another's.

    Raises:
        NotRegular: something else is in the place of the log's chain or checkpoint.
        OSError: there is nothing at `path`, or it cannot be read.
    """
    if not path.is_dir():
        return Reading([_alone(path)], manifest.NOTHING_KNOWN, pruned=True)
    known, found = examine(path)
    if found or known.problems or known.chain is not None:
        return Reading(found, known, pruned=bool(found) and found[0].number > 1)
    files = [_alone(each) for each in sorted(path.glob("*.jsonl"))]
    return Reading(files, manifest.NOTHING_KNOWN, pruned=True)


def _alone(path: Path) -> SegmentInfo:
    path = path.resolve() if path.is_symlink() else path
    name = _NAME.fullmatch(path.name)
    stat = path.stat()
    return SegmentInfo(int(name[1]) if name else 0, path, stat.st_size, stat.st_mtime_ns // 1000)


def examine(directory: Path) -> tuple[manifest.Manifest, list[SegmentInfo]]:
    """Return the manifest of a log's directory, and the segments that it has, oldest first.

    Its writer may go on meanwhile.

    Raises:
        NotRegular: something else is in the place of its chain or checkpoint.
        OSError: it cannot be read.
    """
    for _ in range(LOOKS):
        looked = manifest.look(directory)
        found = list_segments(directory)
        if manifest.look(directory) == looked:
            break
    headed = looked.chain is None and any(segmentread.peek_header(each.path) for each in found)
    known = manifest.Manifest(directory, looked, headed)
    present = [each.number for each in found]
    for first, last in known.missing(present):
        more = f", and all up to {segment_name(last)}" if last > first else ""
        known.complain(directory / segment_name(first), f"it is missing{more}")
    for number in known.strange(present):
        known.complain(directory / segment_name(number), "it is not in the chain")
    return known, [each for each in found if not known.is_pruned(each.number)]
