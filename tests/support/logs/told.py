"""Timelines for tests: streams that the machine plays, written to a log and folded."""

import itertools
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from engine.log import event_log as eventlog
from engine.log.find import stories
from engine.log.read import segments
from engine.log.timeline import fold, timeline
from machines import events
from machines.stream.machine import Stream
from tests.support.logs import logs

SECOND = 1_000_000

Happened = tuple[float, events.StreamEvent]
"""An event, and its second since the opening."""


def write(
    directory: Path, *happened: Happened, end: dict[str, Any] | None = None, **fields: Any
) -> Path:
    """Write the log of one stream `st_1` as the server would, and return its directory.

    Args:
        end: members of the last record; without any it follows from the machine, and a stream
            whose machine has not ended stays open.
    """
    clock = logs.Clock(1_700_000_000 * SECOND)
    begun = clock.us + 1
    content = fields.pop("content", "full")
    event_log = eventlog.EventLog(logs.settings(directory, content=content), lambda: clock.us)
    event_log.open()
    clock.us = begun
    first = logs.opened(**{"worker": "codex", **fields})
    written, machine = event_log.stream("st_1"), Stream(first)
    written.open(first)
    for at, event in happened:
        assert isinstance(event, events.StreamInput)
        clock.us = begun + round(at * SECOND)
        written.append(event, machine.step(event))
    if machine.ended or end is not None:
        lasted = {"duration_us": clock.us - begun}
        written.close(_terminal(machine, lasted | (end or {})), machine.choices[0].state)
    event_log.flush()
    event_log.close()
    return directory


def _terminal(machine: Stream, members: dict[str, Any]) -> events.Terminal:
    usual: dict[str, Any] = {
        "kind": machine.kind,
        "emission_trigger": machine.emission_trigger,
        "status": 200,
        "code": machine.failure.code if machine.failure is not None else None,
        "cause": machine.cause,
        "finish_reasons": tuple(choice.reason for choice in machine.choices),
    }
    return events.Terminal(**usual | members)


def told(directory: Path, *happened: Happened, **fields: Any) -> timeline.Timeline:
    """Return the timeline of such a stream."""
    return fold.fold(stories.story(write(directory, *happened, **fields), "st_1"))


def of_records(path: Path, *records: logs.Record, stream: str = "st_1") -> timeline.Timeline:
    """Return the timeline of a stream whose records are given as they stand."""
    return fold.fold(story_of(logs.write(path / "events.jsonl", *records), stream))


def story_of(path: Path, stream: str) -> stories.Story:
    """Return the records of one stream of a file."""
    reading = segments.read(path)
    records = tuple(record for record in reading if record.stream == stream)
    return stories.Story(stream, records, tuple(reading.problems))


def texts(*pieces: str, since: float = 1.0, pace: float = 0.02) -> Iterable[Happened]:
    """Deltas of a text, each so many seconds behind the one before."""
    times = itertools.count(since, pace)
    return [(at, events.TextDelta(piece)) for at, piece in zip(times, pieces, strict=False)]
