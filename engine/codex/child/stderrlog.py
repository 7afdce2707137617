"""Turns what a child says on its stderr into lines of the diagnostics."""

import asyncio
from typing import Final

import msgspec
import structlog

from machines import parse

STDERR_LINE_CHARACTERS: Final = 2000
"""Most characters that are kept of one line of the child's stderr."""

STDERR_LINES_A_SECOND: Final = 100
"""Lines of stderr that are logged at most; the rest is read, counted and dropped."""

_log = structlog.get_logger(component="worker_process")


class StderrLog:
    """Turns a child's stderr into log lines, at a bounded rate."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._rest = b""
        self._second = 0
        self._lines = 0

    def feed(self, data: bytes) -> None:
        """Log every whole line; of an endless one, its beginning."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > STDERR_LINE_CHARACTERS:
            lines.append(self._rest)
            self._rest = b""
        for line in lines:
            if line.strip():
                self._line(line)

    def _line(self, line: bytes) -> None:
        second = int(asyncio.get_running_loop().time())
        if second != self._second:
            dropped = self._lines - STDERR_LINES_A_SECOND
            if dropped > 0:
                _log.warning("worker_stderr_dropped", worker=self._name, lines=dropped)
            self._second, self._lines = second, 0
        self._lines += 1
        if self._lines <= STDERR_LINES_A_SECOND:
            level, text = _severity(line[:STDERR_LINE_CHARACTERS])
            _log.log(level, "worker_stderr", worker=self._name, text=text)


class _Fields(msgspec.Struct):
    message: str = ""


class _StderrRecord(msgspec.Struct):
    level: str = "WARN"
    fields: _Fields = msgspec.field(default_factory=_Fields)
    target: str = ""


_stderr_record: Final = msgspec.json.Decoder(_StderrRecord)

_LEVELS: Final = {"TRACE": 10, "DEBUG": 10, "INFO": 20, "WARN": 30, "ERROR": 30}
"""The severity of a line by Codex's own word for it. What it calls an error is mostly none that
anybody could do something about; one that matters fails a turn, which is told by itself."""


def _severity(line: bytes) -> tuple[int, str]:
    """Level and text of a line: Codex writes JSON, but for its first words."""
    try:
        record = parse.parse(line, _stderr_record)
    except parse.ParseError:
        return 30, line.decode(errors="replace")
    return _LEVELS.get(record.level, 30), f"{record.target}: {record.fields.message}"
