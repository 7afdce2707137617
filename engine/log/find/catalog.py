"""All streams of a log, as rows: from the sidecars where they fit their segment, else from it.

A sidecar is a help and no witness. One that is missing, of another version or of a segment that
has another length by now is made again here, in memory: 150 MiB a second are searched so. One that
fits is still no more than a help: what is shown of it is held against the records first. The tail
of the segment that is written to, which its sidecar lacks, is read from there, and so are the
streams that have not ended. A segment that is gone has left its sidecar, and its rows are shown.

Files of records that are no log (transcripts, one segment alone) have no sidecars: each is
searched as a segment would be, and numbered in the order of their names.
"""

import contextlib
import io
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

import msgspec

from engine import regular
from engine.log.cold import files, reading
from engine.log.find import names, witnesses
from engine.log.format import chain, sealed
from engine.log.read import drafts, segments
from engine.log.summary import rows, scan, sidecars
from machines import parse

Tell = Callable[[int, int], object]
"""Is told how many bytes of how many have been searched."""


TAIL_BYTES: Final = 1 << 16
"""The end of a segment, in which the time of a record is looked for."""

_TIMES: Final = re.compile(rb'(?m)^\{"stream":"[^"]*","seq":\d+,"seg":\d+,"t":(\d+),')


_IDS: Final = re.compile(rb'(?m)^\{"summary":"((?:[^"\\]|\\.)*)"')


class _Looked(msgspec.Struct):
    """What the segments themselves were searched for.

    Attributes:
        made: rows of those that have no sidecar to be trusted, by number.
        begun: first records of the streams that have not ended.
    """

    made: dict[int, list[rows.Summary]]
    begun: dict[str, rows.Begun]


class Catalog:
    """The streams of one log, as it is when it is first asked. Its methods wait for the disk.

    Args:
        path: a log's directory, a directory of other files of records, or one such file.
        tell: is told how far a search of segments is.

    Attributes:
        files: the segments that are there, by number.
        doubted: numbers of those whose sidecar is not believed.
        is_log: whether it is a log's directory, and no other files of records.
        damage: what is wrong with other files of records, once somebody has looked.

    Raises:
        OSError: there is nothing at `path`, or it cannot be read.
    """

    def __init__(self, path: Path, tell: Tell = lambda *_: None) -> None:
        self.path = path
        self._tell = tell
        self._sidecars: dict[int, sidecars.SidecarInfo] = {}
        self.doubted: set[int] = set()
        self._held: set[tuple[int, int]] = set()
        self._looked: _Looked | None = None
        self.damage: dict[Path, list[sealed.Problem]] = {}
        self.is_log = False
        self.files = {each.number: each for each in self._list()}

    @property
    def searched(self) -> list[int]:
        """Numbers of the segments whose rows cannot be had from a sidecar alone."""
        return [n for n, each in sorted(self.files.items()) if not self._has_sidecar(n, each)]

    def ended_rows(self) -> Iterator[rows.Summary]:
        """All that the log knows to have ended, in its order; worker processes too."""
        for number in self._numbers():
            found = [*self._rows_of(number)]
            if self._lacks(number, found):
                self.doubt(number)
                found = [*self._rows_of(number)]
            yield from found

    def open_rows(self) -> list[rows.Summary]:
        """The streams that have not ended, oldest first."""
        newest = self.newest_us()
        begun = sorted(self._look().begun.values(), key=lambda each: each.opening.t)
        return [rows.still_open(each, newest) for each in begun]

    def begun(self) -> list[rows.Begun]:
        """The first records of the streams that have not ended."""
        return [*self._look().begun.values()]

    def with_text(self, text: bytes) -> Iterator[rows.Summary]:
        """The rows that have these bytes in their line, without reading others; open ones too."""
        for number in self._numbers():
            yield from sidecars.rows_with(text, self._data(number), number)
        for row in self.open_rows():
            if text in rows.written(row):
                yield row

    def verify(self) -> bool:
        """Read every sidecar whole, and doubt those that are not as they were written.

        Returns:
            Whether there was any.
        """
        bad = []
        for number in self.files.keys() - self._made().keys():
            path = self._sidecars[number].path
            with contextlib.suppress(FileNotFoundError):  # retention was faster
                if not sidecars.is_whole(path, files.content_bytes(self.files[number].path)):
                    bad.append(number)
        for number in bad:
            self.doubt(number)
        return bool(bad)

    def doubt(self, number: int) -> None:
        """Have the rows of a segment be made from it, whatever its sidecar says."""
        self.doubted.add(number)
        self._looked = None

    def hold(self, shown: Iterable[rows.Summary]) -> bool:
        """Hold rows against their records, and doubt the sidecars of those that are wrong.

        Returns:
            Whether there were any: the rows are to be chosen anew then.

        Raises:
            NotRegular, OSError: the log cannot be read.
        """
        believed = self._sidecars.keys() - self.doubted
        unheld = [
            row
            for row in shown
            if row.kind not in (rows.OPEN, rows.LIFE)  # no sidecar has any
            and row.at not in self._held
            and row.at[0] in believed
        ]
        wrong = {row.at[0] for row in witnesses.wrong(unheld, self.files)}
        self._held |= {row.at for row in unheld}
        for number in wrong:
            self.doubt(number)
        return bool(wrong)

    def ended_like(self, is_wanted: Callable[[rows.Summary], bool]) -> list[rows.Summary]:
        """The rows of what has ended that are wanted, held against their records."""
        found = [row for row in self.ended_rows() if is_wanted(row)]
        while self.hold(found):
            found = [row for row in self.ended_rows() if is_wanted(row)]
        return found

    def covered(self) -> names.Covered:
        """The time that the log holds streams of."""
        spans = [(row.began_us, row.t) for row in (*self.ended_rows(), *self.open_rows())]
        if not spans:
            return names.Covered()
        return names.Covered(min(first for first, _ in spans), max(last for _, last in spans))

    def newest_us(self) -> int:
        """Time of the newest record, in microseconds since the epoch; 0 without any."""
        for _, segment in sorted(self.files.items(), reverse=True):
            end = files.content_bytes(segment.path)
            with drafts.reader(segment.path) as file:
                file.seek(max(0, end - TAIL_BYTES))
                times = _TIMES.findall(file.read(min(end, TAIL_BYTES)))
            if times:
                return int(times[-1])
        return 0

    def _list(self) -> list[segments.SegmentInfo]:
        """The segments, or other files of records."""
        path = self.path
        if not path.is_dir():
            return [_alone(1, path)]
        found = segments.list_segments(path)
        self._sidecars = {each.number: each for each in sidecars.list_sidecars(path)[0]}
        self.is_log = bool(found or self._sidecars)
        if self.is_log:
            return _current(path, found)
        return [
            _alone(number, each) for number, each in enumerate(sorted(path.glob("*.jsonl")), 1)
        ]

    def _numbers(self) -> list[int]:
        return sorted({*self._sidecars, *self.files})

    def _has_sidecar(self, number: int, segment: segments.SegmentInfo) -> bool:
        """Whether a segment has a sidecar of this version, and of its length."""
        sidecar = self._sidecars.get(number)
        if sidecar is None or not sidecar.is_sealed or number in self.doubted:
            return False
        try:
            last = sidecars.last_line(sidecar.path)
            with regular.reader(sidecar.path) as file:
                first = file.readline(sidecars.TAIL_BYTES)
        except FileNotFoundError:
            return False
        is_current = sidecars.is_current(first, number)
        is_of_it = last is not None and last.bytes == files.content_bytes(segment.path)
        return is_of_it and is_current

    def _made(self) -> dict[int, list[rows.Summary]]:
        return self._look().made

    def _data(self, number: int) -> bytes:
        """The rows of a segment as lines, which may be damaged where they are a sidecar's."""
        made = self._made().get(number)
        if made is not None:
            return b"".join(map(rows.written, made))
        return self._file_of(number)

    def _file_of(self, number: int) -> bytes:
        """What the sidecar of a segment holds; nothing where retention was faster."""
        sidecar = self._sidecars.get(number)
        try:
            with regular.reader(sidecar.path) if sidecar else io.BytesIO() as file:
                return file.read()
        except FileNotFoundError:
            return b""

    def _rows_of(self, number: int) -> Iterator[rows.Summary]:
        """The rows of a segment that are as they were written, each once."""
        made = self._made().get(number)
        if made is not None:
            yield from made
            return
        yield from sidecars.rows_in(self._data(number), number)

    def _lacks(self, number: int, found: list[rows.Summary]) -> bool:
        """Whether a sealed sidecar should have other rows than were read."""
        if number in self._made() or number not in self.files:
            return False
        try:
            last = sidecars.last_line(self._sidecars[number].path)
        except FileNotFoundError:  # retention was faster
            return False
        return last is None or last.rows != len(found)

    def _look(self) -> _Looked:
        """Search the segments that a sidecar is not enough for, and those that a stream may be
        open in."""
        if self._looked is not None:
            return self._looked
        looked = _Looked({}, {})
        first = _first_open(self.path)
        to_make = set(self.searched)
        numbers = [number for number in sorted(self.files) if number in to_make or number >= first]
        total = sum(self.files[number].size for number in numbers)
        done = 0
        for number in numbers:
            segment = self.files[number]
            if number in to_make:
                looked.made[number] = made = self._make(segment, looked.begun)
                for row in made:
                    looked.begun.pop(row.summary, None)
            else:
                ended = {*_IDS.findall(self._file_of(number))}
                looked.begun = {s: e for s, e in looked.begun.items() if s.encode() not in ended}
                looked.begun |= scan.begun_in(segment, ended)
            done += segment.size
            self._tell(done, total)
        looked.begun = {s: each for s, each in looked.begun.items() if each.place[0] >= first}
        self._looked = looked
        return looked

    def _make(
        self, segment: segments.SegmentInfo, begun: dict[str, rows.Begun]
    ) -> list[rows.Summary]:
        """Make the rows of a segment: from its records, behind those that a live sidecar has.

        Args:
            begun: streams that are open before it, and after.
        """
        known = self._known(segment.number)
        start = known[-1].at[1] if known else -1
        if known:
            begun |= scan.begun_in(segment, {row.summary.encode() for row in known})
        ended: list[tuple[scan.Found, str]] = []
        try:
            for found in scan.find(segment.path, start=max(0, start)):
                if found.offset == start:
                    continue  # the last that the sidecar has
                if found.event != scan.OPENED:
                    ended.append((found, _stream_of(found.line)))
                elif (first := scan.begin(segment.number, found)) is not None:
                    begun[first.opening.stream] = first
        except FileNotFoundError:  # retention was faster
            return known
        places = {stream: begun.pop(stream) for _, stream in ended if stream in begun}
        lacking = {s for _, s in ended if s and not s.startswith(rows.LIFE_PREFIX)} - {*places}
        older = [each for number, each in self.files.items() if number < segment.number]
        places |= scan.beginnings(lacking, older)
        made = (_summarize(segment.number, f, places.get(s)) for f, s in ended)
        return [*known, *(row for row in made if row is not None)]

    def _is_there(self, row: rows.Summary) -> bool:
        """Whether the log has the last record of a row, where the row says that it is."""
        segment = self.files.get(row.at[0])
        if segment is None:
            return False
        start = b'{"stream":%b,' % msgspec.json.encode(row.summary)
        try:
            with drafts.reader(segment.path) as file:
                file.seek(row.at[1])
                return file.read(len(start)) == start
        except reading.Damaged:  # it is there, and whoever reads it is told
            return True
        except FileNotFoundError:  # retention was faster
            return False

    def _known(self, number: int) -> list[rows.Summary]:
        """The rows that the sidecar of a live segment has, if they are of this version and the
        last is where it says."""
        sidecar = self._sidecars.get(number)
        if sidecar is None or sidecar.is_sealed or number in self.doubted:
            return []
        try:
            with regular.reader(sidecar.path) as file:
                data = file.read()
        except FileNotFoundError:  # sealed meanwhile
            return []
        found = [*sidecars.rows_in(data, number)]
        is_good = sidecars.is_current(data[: data.find(b"\n") + 1], number)
        is_good = is_good and len(found) == data.count(b"\n") - 1
        return found if is_good and found and self._is_there(found[-1]) else []


def _current(directory: Path, found: list[segments.SegmentInfo]) -> list[segments.SegmentInfo]:
    """The segments, and in the place of one the draft that counts: streams were erased there, and
    it has not got its name yet."""
    if not any(directory.glob(f"*{drafts.DRAFT}")):
        return found
    known = segments.examine(directory)[0]
    return [
        msgspec.structs.replace(each, path=drafts.current(each.path, known.holds(each.number)))
        for each in found
    ]


def _alone(number: int, path: Path) -> segments.SegmentInfo:
    path = path.resolve() if path.is_symlink() else path
    stat = path.stat()
    return segments.SegmentInfo(number, path, stat.st_size, stat.st_mtime_ns // 1000)


def _first_open(directory: Path) -> int:
    """Number of the first segment that has a stream which may still be open; 0: nobody knows."""
    path = directory / chain.CHECKPOINT
    try:
        with regular.reader(path) as file:
            found = chain.parse_checkpoint(path, file.read())
    except (FileNotFoundError, NotADirectoryError):
        return 0
    return found.first if isinstance(found, chain.Checkpoint) else 0


def _stream_of(line: bytes) -> str:
    try:
        return rows.stream_of(line)
    except parse.ParseError:
        return ""


def _summarize(number: int, found: scan.Found, begun: rows.Begun | None) -> rows.Summary | None:
    """The row of a last record, or of its stub; None where this version cannot read it."""
    at = number, found.offset
    try:
        if found.event == scan.ENDED:
            return rows.of_stub(at, found.line)
        return rows.summarize(at, found.line, begun)
    except parse.ParseError:
        return None


def ids_of(row: rows.Summary) -> tuple[str, ...]:
    """The names that a row's stream can be asked for by."""
    return tuple(filter(None, (row.summary, row.request_id, row.completion_id)))
