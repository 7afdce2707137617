"""Follows an event log while it is written, so that its oldest segments may go meanwhile."""

import collections
from pathlib import Path

import msgspec

from engine.log.cold import files

MARKS = (b'"event":"opened"', b'"event":"terminal"')
"""The members of a line that is the first of a stream, or its last."""


class _Line(msgspec.Struct):
    stream: str
    event: str
    request_id: str = ""
    kind: str = ""


_LINES = msgspec.json.Decoder(_Line)


class LogTail:
    """The streams of a log.

    Attributes:
        ends: kinds of the terminal records of each request.
        bytes_written: to the log, those included that are no longer there.
    """

    def __init__(self, directory: Path) -> None:
        self.ends: dict[str, list[str]] = collections.defaultdict(list)
        self.bytes_written = 0
        self._directory = directory
        self._requests: dict[str, str] = {}
        self._offsets: dict[int, int] = collections.defaultdict(int)

    def read(self) -> None:
        """Take the lines that were written since."""
        for segment in files.list_segments(self._directory):
            at = self._offsets[segment.number]
            if segment.is_compressed or segment.size > at:
                with files.open_segment(segment.path) as file:
                    file.seek(at)
                    whole, newline, _ = file.read().rpartition(b"\n")
                self._offsets[segment.number] += len(whole) + len(newline)
                self.bytes_written += len(whole) + len(newline)
                self._take(whole)

    def _take(self, lines: bytes) -> None:
        for raw in lines.split(b"\n"):
            # Most lines are deltas, and decoding is dear.
            if not any(mark in raw for mark in MARKS):
                continue
            line = _LINES.decode(raw)
            if line.event == "opened":
                self._requests[line.stream] = line.request_id
                self.ends[line.request_id] = []
            elif line.event == "terminal" and line.stream in self._requests:
                # Else it is the end of a worker process, whose life is in the log too.
                self.ends[self._requests[line.stream]].append(line.kind)
