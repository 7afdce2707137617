"""Follows a log while it is written: what has ended since the last look, across segments.

The segments themselves are read, from where the last look stopped, and not the sidecars: a stream
is told of as soon as its last record is on file.
"""

from pathlib import Path

from engine.log.find import catalog
from engine.log.read import segments
from engine.log.summary import rows, scan
from machines import parse


class Follower:
    """A log that is followed from now on. Its methods wait for the disk.

    Args:
        found: the log as it is now.
    """

    def __init__(self, found: catalog.Catalog) -> None:
        self._directory: Path = found.path
        self._begun = {each.opening.stream: each for each in found.begun()}
        while found.hold([*found.ended_rows()][-1:]):  # else it may be behind all that comes
            pass
        ended = [row.at for row in found.ended_rows()]
        began = [each.place for each in found.begun()]
        # Behind the last record that the catalog knows: what has come since is read again.
        self._number, self._offset = max([(min(found.files, default=0), 0), *ended, *began])
        self._known = {row.summary for row in found.ended_rows() if row.at == max(ended)}

    def look(self) -> list[rows.Summary]:
        """Return what has ended since the last look, in the order of the log.

        Raises:
            OSError: the log cannot be read.
        """
        made: list[rows.Summary] = []
        present = [s for s in segments.list_segments(self._directory) if s.number >= self._number]
        for segment in present:
            if segment.number > self._number:
                # Nothing more comes to the one before it, and all of that was read.
                self._number, self._offset = segment.number, 0
            try:
                self._read(segment, made)
            except FileNotFoundError:  # retention was faster
                continue
        return made

    def _read(self, segment: segments.SegmentInfo, made: list[rows.Summary]) -> None:
        for found in scan.find(segment.path, start=self._offset):
            self._offset = found.offset + len(found.line)
            if found.event == scan.OPENED:
                begun = scan.begin(segment.number, found)
                if begun is not None:
                    self._begun[begun.opening.stream] = begun
                continue
            try:
                stream = rows.stream_of(found.line)
                place = segment.number, found.offset
                row = rows.summarize(place, found.line, self._begun.pop(stream, None))
                if row.summary not in self._known:
                    made.append(row)
            except parse.ParseError:  # a later version's
                continue
