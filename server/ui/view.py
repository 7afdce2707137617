"""Tells the page of a log: rows, one stream in full, and how its silences lie."""

import itertools
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec

from engine.log.find import catalog, query, stories
from engine.log.summary import rows
from engine.log.timeline import fold, timeline
from server.ui import frames, index

SPARKS: Final = 32
"""Columns of the small picture of a stream's silences."""

MOST_ROWS: Final = 5_000
"""Most rows of one answer: about 2 MB of JSON, which a page reads within a frame or two."""


class Rows(msgspec.Struct, frozen=True):
    """Rows of streams, the newest first.

    Attributes:
        before: asks for the next ones; None: there are none.
        newest: how many rows the log has, by which a page sees that there are more.
    """

    rows: list[rows.Summary]
    before: str | None
    newest: int


class View:
    """One log, read for the page. Its methods wait for the disk.

    Args:
        path: a log's directory, or one file of records.

    Raises:
        NotFound, Ambiguous: no stream has the name that was asked for, or several have.
        NotRegular, OSError: the log cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._index = index.Index(path)

    def begin(self, tell: catalog.Tell) -> bool:
        """Read the log for the first time; whether there is one, or at least one stream.

        Args:
            tell: is told how far the reading is.
        """
        return self._index.begin(tell)

    def rows(self, asked: str, before: str, limit: int) -> Rows:
        """Return the newest rows that a filter lets through.

        Args:
            before: as an earlier answer has it; empty: from the newest.

        Raises:
            QueryError: the filter cannot be used.
        """
        told = self._rows(asked, before, limit)
        while self._index.hold(told.rows):
            told = self._rows(asked, before, limit)
        return told

    def _rows(self, asked: str, before: str, limit: int) -> Rows:
        every = self._index.newest_first()
        newest = every[0].t if every else 0
        wanted = query.parse(asked, query.Moment(newest))
        start = next((n for n, row in enumerate(every, 1) if row.summary == before), 0)
        fitting: Iterable[rows.Summary] = filter(wanted.matches, every[start:])
        if wanted.texts:
            fitting = self._index.with_texts([*fitting], wanted.texts)
        found = list(itertools.islice(fitting, limit + 1))
        more = len(found) > limit
        return Rows(found[:limit], found[limit - 1].summary if more else None, len(every))

    def timeline(self, name: str) -> timeline.Timeline:
        """Return what happened to a stream."""
        return fold.fold(self._index.story(name))

    def records(self, name: str) -> list[msgspec.Raw]:
        """Return a stream's records as they are on file."""
        return records(self._index.story(name))

    def seen(self, name: str) -> frames.Seen:
        """Return what a stream's client saw."""
        return frames.seen(self._index.story(name))

    def sparks(self, names: Iterable[str]) -> dict[str, list[int]]:
        """Return the silences of streams; one that is not there any more is left out."""
        found = {}
        for name in names:
            try:
                found[name] = spark(self.timeline(name))
            except LookupError:
                continue
        return found


def records(story: stories.Story) -> list[msgspec.Raw]:
    """Return the records of a story as they are on file."""
    return [msgspec.Raw(record.raw.rstrip(b"\n")) for record in story.records]


def spark(of: timeline.Timeline) -> list[int]:
    """Return the longest silence within each of `SPARKS` equal parts of a stream's time, in
    microseconds; one that lies in several is in each of them."""
    end = max(of.ending.at_us, 1)
    columns = [0] * SPARKS
    for gap in of.gaps:
        if gap.end_us <= 0:  # it was parked before it began
            continue
        first = min(SPARKS - 1, max(0, gap.start_us) * SPARKS // end)
        last = min(SPARKS - 1, max(0, gap.end_us - 1) * SPARKS // end)
        for column in range(first, last + 1):
            columns[column] = max(columns[column], gap.end_us - gap.start_us)
    return columns
