"""The server's diagnostics about one stream, stitched into its records by time.

A line is about it if it has its id, or its request's, or is about the process that ran it and of
that time. What journalctl prints before a JSON object is passed over; lines of other programs and
for people are not read.
"""

import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from engine.log.find import stories
from engine.log.timeline import fold, timeline
from machines import events
from server.cli import printing
from server.cli.log import picture

SLACK_US: Final = 5_000_000
"""How long before and behind a stream a line about its process may be."""

LEADING: Final = ("timestamp", "event", "severity", "component", "env")
"""Members of a line that have another place here, or none."""


class Said(msgspec.Struct, frozen=True):
    """A line of the diagnostics.

    Attributes:
        at_us: since the epoch.
    """

    at_us: int
    line: dict[str, Any]


def lines(story: stories.Story, path: Path, *, is_utc: bool = False) -> Iterator[picture.Line]:
    """Return the picture of a stream with the diagnostics about it.

    Raises:
        OSError: the file cannot be read.
    """
    told = fold.fold(story)
    begun = told.request.opened_us
    found = sorted(_about(told, story, path), key=lambda said: said.at_us)
    yield from picture.lines(msgspec.structs.replace(told, marks=(), gaps=()), is_utc=is_utc)
    rows = [(mark.at_us, picture.mark(mark)) for mark in told.marks]
    rows += [(said.at_us - begun, _line(said, begun)) for said in found]
    yield from (line for _, line in sorted(rows, key=lambda row: row[0]))
    if not found:
        yield picture.Line(f"No line of {path} is about this stream.", "bad")


def _about(told: timeline.Timeline, story: stories.Story, path: Path) -> Iterator[Said]:
    ids = {told.request.stream, told.request.request_id} - {""}
    workers = {
        event.worker
        for event in (
            record.load() for record in story.records if record.event == "worker_changed"
        )
        if isinstance(event, events.WorkerChanged)
    }
    begun, ended = told.request.opened_us, told.request.opened_us + told.ending.at_us
    is_codex = told.request.worker == "codex"
    for said in _read(path):
        is_near = begun - SLACK_US <= said.at_us <= ended + SLACK_US
        names = {said.line.get("req_id"), said.line.get("stream"), said.line.get("late_of")}
        process = said.line.get("worker")
        if ids & names or (is_near and process and (is_codex or process in workers)):
            yield said


def _read(path: Path) -> Iterator[Said]:
    file = sys.stdin.buffer if str(path) == "-" else path.open("rb")
    with file:
        for raw in file:
            start = raw.find(b"{")
            if start < 0:
                continue
            try:
                line = msgspec.json.decode(raw[start:], type=dict[str, Any])
                if "MESSAGE" in line:  # journalctl -o json
                    line = msgspec.json.decode(line["MESSAGE"], type=dict[str, Any])
                moment = datetime.fromisoformat(line["timestamp"])
            except (msgspec.DecodeError, KeyError, TypeError, ValueError):
                continue
            yield Said(round(moment.timestamp() * 1e6), line)


def _line(said: Said, begun: int) -> picture.Line:
    members = {name: value for name, value in said.line.items() if name not in LEADING}
    for name in ("req_id", "stream"):
        members.pop(name, None)
    rest = " ".join(f"{name}={value}" for name, value in members.items())
    text = f"{said.line.get('event', '')} {rest}".rstrip()
    at = f"{(said.at_us - begun) / 1e6:>8.3f} s"
    bad = said.line.get("severity") in ("warning", "error", "critical")
    return picture.Line(
        printing.fit(f"{at}  server   {text}", picture.COLUMNS), "bad" if bad else "plain"
    )
