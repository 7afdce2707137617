"""The records of one stream, taken out of a log by any of its names.

Only the part of the log that they are in is read, from the first to the last, and there they are
looked for by how they begin: of a log of 1 GiB that is a few MiB.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from engine.log.cold import reading
from engine.log.find import catalog, names, resolver
from engine.log.format import records, sealed, stubs
from engine.log.read import drafts, segments
from engine.log.summary import rows, scan
from machines import events, parse

ENDS: Final = ("terminal", "request_rejected")
"""The last record of a stream."""


class Story(msgspec.Struct, frozen=True):
    """All that a log has of one stream.

    Attributes:
        stream: its id: `st_…`, `rj_…` of a refused request, `wk_…` of a worker process.
        records: in their order; intact ones only.
        problems: what is wrong with the log where they are.
        row: the stream in a list.
    """

    stream: str
    records: tuple[segments.Record, ...]
    problems: tuple[sealed.Problem, ...] = ()
    row: rows.Summary | None = None


def story(path: Path, name: str) -> Story:
    """Return the records of the stream that a name means.

    Args:
        path: a log's directory, or one file of records.
        name: any that `engine.log.find.names` knows.

    Raises:
        NotFound: no stream has it; `Gone` where its records were deleted or erased.
        Ambiguous: several have.
        NotRegular, OSError: the log cannot be read.
    """
    found = catalog.Catalog(path)
    row = resolver.resolve(found, name)
    told = read(found, row)
    if not told.records and not told.problems:
        raise names.Gone(name, found.covered(), row)
    return told


def read(found: catalog.Catalog, row: rows.Summary) -> Story:
    """Return the records of a row's stream; none where they were deleted or erased.

    Raises:
        NotRegular, OSError: the log cannot be read.
    """
    if row.purged:
        return Story(row.summary, (), (), row)
    reading = _StoryReader(row.summary)
    kept = [*reading.read(pieces(found, row))]
    if row.begun is not None and not (kept and kept[0].seq == 0):
        # The row is wrong about where it began, or that is gone.
        reading = _StoryReader(row.summary)
        kept = [*reading.read(pieces(found, msgspec.structs.replace(row, begun=None)))]
    is_later = any(each.kind == "later" for each in reading.problems)
    losses = () if is_later else _losses(found, row, kept)
    problems = (*reading.problems, *losses)
    return Story(row.summary, tuple(kept), problems, row)


def _losses(
    found: catalog.Catalog, row: rows.Summary, kept: list[segments.Record]
) -> Iterator[sealed.Problem]:
    """Say what a stream has lost that its own records do not show: its end, by its row, or that of
    a file that says how much it should have."""
    is_ended = row.kind not in (rows.OPEN, rows.LIFE)
    if kept and is_ended and kept[-1].event not in ENDS:
        number, offset = row.at
        path = found.path / segments.segment_name(number)
        yield sealed.Problem("corrupt", path, 0, offset, "its last record is missing", row.summary)
    if not found.is_log:
        for path in {record.path for record in kept}:
            for problem in _damage(found, path):
                if problem.kind == "corrupt" and problem.stream != row.summary:
                    yield problem


def _damage(found: catalog.Catalog, path: Path) -> list[sealed.Problem]:
    """What is wrong with a file of records. It is read whole for that, so it is kept: who looks at
    one stream after another does not wait for it each time."""
    if path not in found.damage:
        reading = segments.read(path)
        for _ in reading:
            pass
        found.damage[path] = reading.problems
    return found.damage[path]


def pieces(
    found: catalog.Catalog, row: rows.Summary
) -> Iterator[tuple[segments.SegmentInfo, int, bytes]]:
    """Yield the lines of a stream's records as they are on disk, with segment and offset; none of
    one that was erased, or is being erased: its first record is a stub then.

    Raises:
        NotRegular, OSError: the log cannot be read.
    """
    start = b'{"stream":%b,"seq":' % msgspec.json.encode(row.summary)
    is_ended = row.kind not in (rows.OPEN, rows.LIFE)
    first, begin = row.begun or (_first_of(found, row, start) or min(found.files, default=0), 0)
    last, end = row.at if is_ended else (max(found.files, default=0), -1)
    for number in sorted(found.files):
        if first <= number <= last:
            segment = found.files[number]
            least = begin if number == first else 0
            limit = end + 1 if is_ended and number == last else None
            try:
                for offset, line in scan.starting(segment.path, start, least, limit):
                    if stubs.is_stub(line):
                        return
                    yield segment, offset, line
            except FileNotFoundError:  # retention was faster
                continue


def _first_of(found: catalog.Catalog, row: rows.Summary, start: bytes) -> int | None:
    """Number of the segment that has the first record of what has no `opened`: looked for from
    its last record back."""
    last = row.at[0] if row.is_life else 0
    for number in sorted((n for n in found.files if n <= last), reverse=True):
        for _ in scan.starting(found.files[number].path, start + b"0,"):
            return number
    return None


class _StoryReader:
    """Makes records of one stream's lines, and holds them against each other.

    Attributes:
        problems: what is wrong with them.
    """

    def __init__(self, stream: str) -> None:
        self.problems: list[sealed.Problem] = []
        self._stream = stream
        self._due: int | None = None
        self._headed: dict[Path, bool] = {}

    def read(
        self, lines: Iterator[tuple[segments.SegmentInfo, int, bytes]]
    ) -> Iterator[segments.Record]:
        """Yield the records that are intact, up to one of a later version."""
        for segment, offset, raw in lines:
            line = self._parse(segment.path, offset, raw)
            if line is None:
                continue
            number = line.seg + 1 + self._has_header(segment.path)
            if self._due is not None and line.seq != self._due:
                reason = f"stream {line.stream}: record {line.seq} where {self._due} was due"
                self._complain("corrupt", segment.path, number, offset, reason)
            self._due = line.seq + 1
            if line.event not in segments.TAGS or line.schema > events.SCHEMA_VERSION:
                reason = line.event if line.event not in segments.TAGS else "its stream"
                self._complain("later", segment.path, number, offset, reason)
                return
            yield segments.Record(
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
                segment.path,
                number,
                offset,
            )

    def _parse(self, path: Path, offset: int, raw: bytes) -> records.Line | None:
        if not sealed.is_sealed(raw):
            number = _line_number(path, offset)
            self._complain("corrupt", path, number, offset, "its checksum does not fit")
            return None
        try:
            return parse.parse(raw, records.LINES, records.DEPTH)
        except parse.ParseError as error:
            number = _line_number(path, offset)
            if error.fault == "type":
                self._complain("later", path, number, offset, error.detail)
            else:
                self._complain("corrupt", path, number, offset, f"it is no record: {error}")
            return None

    def _has_header(self, path: Path) -> bool:
        if path not in self._headed:
            try:
                with drafts.reader(path) as file:
                    beginning = file.read(len(b'{"segment":'))
            except (FileNotFoundError, reading.Damaged):  # retention was faster, or it is said
                beginning = b""
            self._headed[path] = sealed.is_kind(beginning, "segment")
        return self._headed[path]

    def _complain(
        self, kind: sealed.ProblemKind, path: Path, line: int, offset: int, reason: str
    ) -> None:
        self.problems.append(sealed.Problem(kind, path, line, offset, reason, self._stream))


def _line_number(path: Path, offset: int) -> int:
    """Number of the line that begins there, from 1."""
    count = 1
    for start, whole in scan.blocks(path):
        if start >= offset:
            break
        count += whole[: offset - start].count(b"\n")
    return count
