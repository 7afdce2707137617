"""The process that ran a stream, and the streams that a process ran."""

from pathlib import Path

import msgspec

from engine.log.find import catalog, names, stories
from engine.log.read import segments
from engine.log.timeline import evidence, fold, timeline
from machines import events


def told(path: Path, story: stories.Story) -> timeline.Timeline:
    """Return the timeline of a stream or of a process's life, with what the log has elsewhere of
    its process."""
    found = fold.fold(story)
    if evidence.is_lost(
        found
    ):  # of any other its process says nothing, and finding that takes long
        found = fold.fold(story, life(path, story))
    return msgspec.structs.replace(found, ran=ran(path, found))


def life(path: Path, story: stories.Story) -> stories.Story | None:
    """Return the life of the process that ran a stream last, where the log has it."""
    for record in reversed(story.records):
        if record.event not in ("turn_started", "turn_resumed"):
            continue
        try:
            event = record.load()
            if isinstance(event, events.TurnStarted | events.TurnResumed) and event.process:
                return stories.story(path, event.process)
        except (names.NotFound, names.Ambiguous, segments.LaterVersion):
            continue
    return None


def ran(path: Path, found: timeline.Timeline) -> tuple[timeline.Ran, ...]:
    """Return the streams that ended on a process, in their order; none of what is no process."""
    process = found.request.stream
    if not process.startswith(fold.LIFE):
        return ()
    return tuple(
        timeline.Ran(row.summary, row.kind, row.t - found.request.opened_us, row.code)
        for row in catalog.Catalog(path).ended_like(lambda row: row.process == process)
    )
