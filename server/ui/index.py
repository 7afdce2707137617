"""The streams of a log for a page that is open for hours: read again only when the log has grown.

A reading of many rows takes a while, and a busy log grows all the time. So a reading is kept for
ten times as long as it took, and as long as the files are the same.
"""

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, NamedTuple

from engine.log.find import catalog, names, resolver, stories, texts
from engine.log.summary import rows

KEPT_TIMES: Final = 10
"""How much longer a reading is kept than it took: the page has at most a tenth of a core."""


class _Reading(NamedTuple):
    """The streams as they were.

    Attributes:
        files: what the log's files were then.
        until: the time before which it is not made again.
        ordered: the rows, the newest first.
        named: the same by the ids of their streams.
    """

    files: frozenset[tuple[str, int, int]]
    until: float
    found: catalog.Catalog
    ordered: tuple[rows.Summary, ...]
    named: dict[str, rows.Summary]


class Index:
    """The streams of one log. Its methods wait for the disk.

    Args:
        path: a log's directory, or one file of records.
        clock: seconds that never step back.

    Raises:
        NotFound, Ambiguous: no stream has the name that was asked for, or several have; `Gone`
            where its records were deleted or erased.
        NotRegular, OSError: the log cannot be read.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._clock = clock
        self._reading: _Reading | None = None

    def begin(self, tell: catalog.Tell) -> bool:
        """Read the rows for the first time; whether there is a log, or at least one stream.

        Args:
            tell: is told how far the reading is.
        """
        reading = self._read(tell)
        return reading.found.is_log or bool(reading.ordered)

    def newest_first(self) -> tuple[rows.Summary, ...]:
        """Return a row for every stream and every refusal, the newest first."""
        return self._read().ordered

    def hold(self, shown: Iterable[rows.Summary]) -> bool:
        """Hold rows against their records; where any is wrong all are read anew, and this is
        true."""
        reading = self._read()
        if not reading.found.hold(shown):
            return False
        self._reading = self._ordered(reading.found, reading.files, self._clock())
        return True

    def with_texts(self, wanted: list[rows.Summary], words: tuple[str, ...]) -> list[rows.Summary]:
        """Return those of the rows whose stream says all of these words."""
        if not words or not wanted:
            return wanted
        match = texts.search(self._read().found, wanted, words, lambda *_: None)
        return [row for row in wanted if row.summary in match.streams]

    def story(self, name: str) -> stories.Story:
        """Return the records of the stream that a name means."""
        reading = self._read()
        row = reading.named.get(name)
        if row is None or self.hold([row]):
            row = resolver.resolve(reading.found, name)
        told = stories.read(reading.found, row)
        if not told.records and not told.problems:
            raise names.Gone(name, names.Covered(), row)
        return told

    def _read(self, tell: catalog.Tell = lambda *_: None) -> _Reading:
        self._path.stat()  # a log that is gone is said to be, however new the reading
        begun = self._clock()
        if self._reading is not None and begun < self._reading.until:
            return self._reading
        files = _files(self._path)
        if self._reading is not None and files == self._reading.files:
            return self._reading
        self._reading = self._ordered(catalog.Catalog(self._path, tell), files, begun)
        return self._reading

    def _ordered(
        self, found: catalog.Catalog, files: frozenset[tuple[str, int, int]], begun: float
    ) -> _Reading:
        ended = (row for row in found.ended_rows() if not row.is_life)
        ordered = sorted((*ended, *found.open_rows()), key=lambda row: row.t, reverse=True)
        named = {row.summary: row for row in ordered}
        now = self._clock()
        until = now + KEPT_TIMES * (now - begun)
        return _Reading(files, until, found, tuple(ordered), named)


def _files(path: Path) -> frozenset[tuple[str, int, int]]:
    """The names of a log's files, their sizes, and when they were written to."""
    each = [*path.iterdir()] if path.is_dir() else [path]
    found = []
    for file in each:
        try:
            stat = file.stat()
        except FileNotFoundError:  # retention was faster
            continue
        found.append((file.name, stat.st_size, stat.st_mtime_ns))
    return frozenset(found)
