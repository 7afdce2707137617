"""Folds the records of one stream into its `Timeline`: the one reader of a stream.

What is missing is said. Where records are gone from the middle the sentence about the end still
stands, since the last record says that; what needs the records between is marked.
"""

from typing import Final

import msgspec

from engine.log.find import stories
from engine.log.timeline import (
    answer,
    attempts,
    causes,
    evidence,
    gaps,
    lives,
    marks,
    phases,
    steps,
    timeline,
)
from machines import events

LIFE: Final = "wk_"
"""The beginning of the id of a worker process's life."""


def fold(story: stories.Story, life: stories.Story | None = None) -> timeline.Timeline:
    """Return the timeline of a stream, of a refused request, or of a process's life.

    Args:
        life: that of the process that ran the stream, where it was looked up.

    Raises:
        ValueError: it has no record.
    """
    if not story.records:
        raise ValueError(f"{story.stream} has no record")
    read = steps.read(story)
    problems = _problems(story, read)
    if story.stream.startswith(LIFE):
        return lives.fold(story, read, problems)
    first = read.all[0].event if read.all else None
    if isinstance(first, events.RequestRejected):
        return _rejected(story, read, first, problems)
    told = _stream(story, read, problems)
    said = evidence.evidence(read, told, life.records if life is not None else ())
    return msgspec.structs.replace(told, evidence=said)


def _stream(
    story: stories.Story, read: steps.Steps, problems: tuple[str, ...]
) -> timeline.Timeline:
    opened, last = _ends(read)
    got = answer.Answer(opened, read.holes)
    for step in read.all:
        if not isinstance(step.event, events.Opened | events.Terminal):
            got.take(step)
    ending = _ending(read, last, got)
    found = causes.cause(ending, _timer(read))
    ending = msgspec.structs.replace(ending, party=found.party)
    got.ended(_fate(ending))
    silences = gaps.gaps(read, last)
    request = _request(story, opened)
    return timeline.Timeline(
        request=request,
        ending=ending,
        received=_received(read, last, got),
        verdict=found.sentence,
        next_step=found.step,
        attempts=attempts.attempts(read, opened, ending),
        phases=phases.phases(read, request.n, ending.at_us),
        gaps=silences,
        marks=marks.marks(read, silences),
        calls=got.calls,
        problems=problems,
        later=read.later,
    )


def _ends(read: steps.Steps) -> tuple[events.Opened | None, events.Terminal | None]:
    first = read.all[0].event if read.all else None
    last = read.all[-1].event if read.all else None
    return (
        first if isinstance(first, events.Opened) else None,
        last if isinstance(last, events.Terminal) else None,
    )


def _problems(story: stories.Story, read: steps.Steps) -> tuple[str, ...]:
    """Return what is wrong with the log, that of the stream first."""
    found = []
    for seq in sorted(read.holes):
        before = max((step.record.seq for step in read.all if step.record.seq < seq), default=None)
        found.append(
            "the beginning of this stream is not in the log any more"
            if before is None
            else f"records {before + 1} to {seq - 1} of this stream are missing: what is told of"
            " the time between may be wrong"
        )
    own = [each for each in story.problems if each.stream == story.stream]
    others = [each for each in story.problems if each.stream != story.stream]
    return (*found, *map(str, own), *map(str, others))


def _request(story: stories.Story, opened: events.Opened | None) -> timeline.Request:
    begun = story.records[0].t
    if opened is None:
        return timeline.Request(stream=story.stream, opened_us=begun)
    body = None if bytes(opened.request) == b"null" else opened.request
    return timeline.Request(
        stream=story.stream,
        request_id=opened.request_id,
        completion_id=opened.completion_id,
        opened_us=begun,
        endpoint=opened.endpoint,
        model=opened.model,
        target=opened.target,
        worker=opened.worker,
        key=opened.key,
        n=opened.n,
        streaming=opened.streaming,
        effort=opened.effort,
        content=opened.content,
        versions=opened.versions,
        body=body,
    )


def _ending(
    read: steps.Steps, last: events.Terminal | None, got: answer.Answer
) -> timeline.Ending:
    at_us = read.all[-1].at_us if read.all else 0
    failed = next(
        (step.event for step in reversed(read.all) if isinstance(step.event, events.TurnFailed)),
        None,
    )
    retried = next(
        (
            step.event
            for step in reversed(read.all)
            if isinstance(step.event, events.RetryScheduled)
        ),
        None,
    )
    if last is None:
        return timeline.Ending(kind="open", at_us=at_us)
    told = got.failure
    detail = failed.detail if failed is not None else None
    if detail is None and retried is not None and last.code is not None:
        detail = retried.detail
    return timeline.Ending(
        kind=last.kind,
        at_us=at_us,
        trigger=last.emission_trigger,
        status=last.status,
        code=last.code,
        cause=last.cause,
        message=told.message if told is not None else "",
        param=told.param if told is not None else None,
        detail=detail,
        word=failed.word if failed is not None else None,
    )


def _timer(read: steps.Steps) -> str:
    """Return the deadline that passed last, if nothing came behind it but the end."""
    for step in reversed(read.all):
        if isinstance(step.event, events.TimerFired):
            return step.event.timer
        if not isinstance(step.event, events.Terminal):
            return ""
    return ""


def _fate(ending: timeline.Ending) -> timeline.Fate:
    """Return what became of calls that were not whole at the end."""
    if ending.kind in ("completed", "truncated"):
        return "sent" if ending.kind == "completed" else "unfinished"
    return "unknown" if ending.kind == "open" else "unfinished"


def _received(
    read: steps.Steps, last: events.Terminal | None, got: answer.Answer
) -> timeline.Received:
    headed = any("head" in step.record.out for step in read.all)
    if last is None:
        return timeline.Received(
            status=200 if headed else None,
            whole=False,
            characters=got.characters,
            first_us=got.first_us,
        )
    return timeline.Received(
        status=last.status or None,
        whole=last.kind in ("completed", "truncated"),
        frames=last.frames,
        body_bytes=last.body_bytes,
        characters=got.characters,
        finish_reasons=last.finish_reasons,
        first_us=got.first_us,
        usage=last.usage,
        usage_source=last.usage_source,
    )


def _rejected(
    story: stories.Story,
    read: steps.Steps,
    event: events.RequestRejected,
    problems: tuple[str, ...],
) -> timeline.Timeline:
    ending = timeline.Ending(
        kind="rejected",
        at_us=0,
        status=event.status,
        code=event.code,
        message=event.message,
        param=event.param,
    )
    found = causes.cause(ending)
    times = f" It stands for {event.count} of the kind." if event.count > 1 else ""
    request = timeline.Request(
        stream=story.stream,
        request_id=event.request_id,
        opened_us=story.records[0].t,
        endpoint=event.route or event.path,
        key=event.key,
    )
    return timeline.Timeline(
        request=request,
        ending=msgspec.structs.replace(ending, party=found.party),
        received=timeline.Received(status=event.status, whole=True),
        verdict=found.sentence + times,
        next_step=found.step,
        marks=marks.marks(read, ()),
        problems=problems,
        later=read.later,
    )
