"""The event log on disk, and its read side: file names, records, one pass over them.

A log is a directory of segments, `events-00000001.jsonl` and so on, each a file of records, one a
line, written by one process at a time; `engine.log.cold` compresses old ones. A line ends in a
checksum over everything before it; `seg` counts the records of a segment, `seq` those of a stream;
`engine.log.format.chain` says what whole segments hold. So a changed bit, and what is gone,
doubled, cut or misplaced, are all located:

    torn     behind what is known to be on the disk, the newest segment ends in the middle of a
             line, or in zeros: its writer was stopped there. Recovery cuts that off.
    corrupt  anything else that is not as it was written.
    later    as it was written, by a later version: what this one cannot read of it is skipped.

A stream whose beginning went with an old segment is none of these, nor one that was erased.
"""

import itertools
import operator
from collections.abc import Iterator
from pathlib import Path
from typing import Final, get_args

import msgspec

from engine.log.cold import files
from engine.log.format import chain, records, sealed, stubs
from engine.log.read import deltas, drafts, manifest, segmentread
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

SegmentInfo = files.SegmentInfo
"""A segment as the file system shows it."""

segment_name = files.segment_name
"""File name of a segment that is not compressed."""

list_segments = files.list_segments
"""The segments of a log, oldest first, each in the form that it has."""


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
        delta: the record as it was read, where it is a text delta's.
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
    delta: deltas.Delta | None = None

    def load(self) -> LoggedEvent:
        """The event.

        Raises:
            LaterVersion: it has members, types or words that this version does not know.
        """
        if self.delta is not None:
            return self.delta.load()
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
        if self.delta is not None:
            return self.delta.decision
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


_AnyLine = records.Line | deltas.Delta

_fields: Final = operator.attrgetter(*Record.__struct_fields__[:9])
_DECISIONS: Final = msgspec.json.Decoder(outputs.Decision)
_EVENTS: Final[msgspec.json.Decoder[LoggedEvent]] = msgspec.json.Decoder(LoggedEvent)
TAGS: Final = frozenset(kind.__struct_config__.tag for kind in get_args(LoggedEvent))
"""The events that this version knows."""

_LAST_TAGS: Final = frozenset(kind.__struct_config__.tag for kind in get_args(Last))


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
        purged: the streams that were erased, of which only stubs are left.
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
        self.purged: set[str] = set()
        self.measured: dict[int, chain.Figures] = {}
        self._segments = segments
        self._known = known
        self._pruned = pruned
        self._uncounted = False

    def __iter__(self) -> Iterator[Record]:
        for problem in (*self._known.noted, *self._known.problems):
            self._note(problem)
        for segment, after in itertools.zip_longest(self._segments, self._segments[1:]):
            following = None if after is None else after.path
            reader = segmentread.SegmentReader(
                segment.number, segment.path, self._known, following, self._note
            )
            yield from self._read(reader)
            self._pruned |= reader.is_gone
            self.measured[segment.number] = reader.figures
        for stream in self.purged & self.open.keys():
            del self.open[stream]

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
                due = None  # who knows how many that was: the next one sets the count again
                continue
            if due == 0 and reader.export is not None:
                due = 1  # its header is counted, so that it is missed where it is gone
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

    def _parse(self, raw: bytes, reader: segmentread.SegmentReader) -> _AnyLine | None:
        """The record of a line; None for a bad one, which is then on the list."""
        if not sealed.is_sealed(raw):
            reader.complain("corrupt", "its checksum does not fit")
            return None
        if (delta := deltas.read(raw)) is not None:
            return delta
        try:
            if not sealed.is_kind(raw, "stream"):
                raise parse.ParseError("syntax", "its first member is another")
            return parse.parse(raw, records.LINES, records.DEPTH)
        except parse.ParseError as error:
            if error.fault != "type":
                reader.complain("corrupt", f"it is no record: {error}")
                return None
            detail = error.detail
        try:
            place = stubs.place(raw)
        except parse.ParseError:
            # Of whichever stream that was, there is one that has it, and now has a hole.
            self._uncounted = True
            self.later.update(self.open)
            reader.complain("later", detail)
            return None
        return records.Line(place.stream, place.seq, place.seg, 0, place.event or detail, "", ())

    def _follow(self, line: _AnyLine, reader: segmentread.SegmentReader) -> None:
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
        if line.event in TAGS:
            known.state = line.state
            known.last_us = line.t
        if "head" in line.out:
            known.answered = True

    def _is_known(self, line: _AnyLine, reader: segmentread.SegmentReader) -> bool:
        """Whether this version knows what a record says; of one that it does not is noted."""
        if line.event == stubs.PURGED:
            self.purged.add(line.stream)
        if line.stream in self.later or line.stream in self.purged:
            return False
        if line.event not in TAGS:
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


def _record(line: _AnyLine, raw: bytes, reader: segmentread.SegmentReader) -> Record:
    delta = line if isinstance(line, deltas.Delta) else None
    return Record(*(*_fields(line), raw, reader.path, reader.line, reader.offset, delta))


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
    alone = [_alone(each) for each in sorted(path.glob("*.jsonl"))]
    return Reading(alone, manifest.NOTHING_KNOWN, pruned=True)


def _alone(path: Path) -> SegmentInfo:
    path = path.resolve() if path.is_symlink() else path
    stat = path.stat()
    number = files.number_of(path.name) or 0
    return SegmentInfo(number, path, stat.st_size, stat.st_mtime_ns // 1000)


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
    for index, each in enumerate(found):
        path = drafts.current(each.path, known.holds(each.number))
        found[index] = msgspec.structs.replace(each, path=path)
    return known, [each for each in found if not known.is_pruned(each.number)]
