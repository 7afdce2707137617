"""The timeline of a worker process's life: its states, its end, and how it came to it."""

from engine.log.find import stories
from engine.log.timeline import causes, codes, evidence, marks, steps, timeline
from machines import events


def fold(story: stories.Story, read: steps.Steps, problems: tuple[str, ...]) -> timeline.Timeline:
    """Return the timeline of a life."""
    changes = [step for step in read.all if isinstance(step.event, events.WorkerChanged)]
    last = read.all[-1] if read.all else None
    ended = last.event if last is not None and isinstance(last.event, events.Terminal) else None
    at_us = last.at_us if last is not None else 0
    found = _cause(changes, ended)
    first = changes[0].event if changes else None
    worker = first.worker if isinstance(first, events.WorkerChanged) else ""
    return timeline.Timeline(
        request=timeline.Request(
            stream=story.stream, opened_us=story.records[0].t, worker=worker, streaming=False
        ),
        ending=timeline.Ending(
            kind=ended.kind if ended is not None else "open",
            at_us=at_us,
            trigger=ended.emission_trigger if ended is not None else "",
            party=found.party,
        ),
        received=timeline.Received(status=None, whole=False),
        verdict=found.sentence,
        next_step=found.step,
        phases=_phases(changes, at_us),
        marks=marks.marks(read, ()),
        problems=problems,
        later=read.later,
    )


def _phases(changes: list[steps.Step], end_us: int) -> tuple[timeline.Phase, ...]:
    ends = [*(step.at_us for step in changes[1:]), end_us]
    return tuple(
        timeline.Phase(step.record.state, step.at_us, end)
        for step, end in zip(changes, ends, strict=False)
    )


def _cause(changes: list[steps.Step], ended: events.Terminal | None) -> codes.Cause:
    if ended is None:
        return codes.Cause(
            "nobody", "The process has no end in the log: it is running.", "Nothing to do."
        )
    if ended.emission_trigger == causes.RECOVERED:
        return codes.Cause(
            "server",
            "The server's own process ended while this one ran; its next start wrote this end.",
            "Look for who killed the server.",
        )
    if ended.kind == "shutdown":
        return codes.Cause("nobody", "The process was asked to stop, and did.", "Nothing to do.")
    returned = [
        step.event.detail["returncode"]
        for step in changes
        if isinstance(step.event, events.WorkerChanged) and "returncode" in step.event.detail
    ]
    how = evidence.ended(returned[-1]) if returned else f"ended ({ended.emission_trigger})"
    return codes.Cause(
        "worker",
        f"Nobody asked for its end: the process {how}.",
        "Look at its last lines in the diagnostics; -9 is a kill, mostly for want of memory.",
    )
