"""Folds the records of one stream into its `Timeline`: the one reader of a stream.

What is missing is said. Where records are gone from the middle the sentence about the end still
stands, since the last record says that; what needs the records between is marked.
"""

from typing import Final, TypeVar

import msgspec

from engine import workerkinds
from engine.log.find import stories
from engine.log.timeline import (
    answer,
    attempts,
    causes,
    evidence,
    gaps,
    leaving,
    lives,
    marks,
    phases,
    steps,
    timeline,
)
from machines import events

LIFE: Final = "wk_"
"""The beginning of the id of a worker process's life."""


Event = TypeVar("Event", bound=events.StreamEvent)


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
    ending = _ending(read, opened, last, got)
    silences = gaps.gaps(read, last)
    request = _request(story, opened)
    found = causes.cause(ending, _around(read, request, ending, silences, got))
    ending = msgspec.structs.replace(ending, party=found.party)
    got.ended(_fate(ending))
    return timeline.Timeline(
        request=request,
        ending=ending,
        received=_received(read, opened, last, got),
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
    read: steps.Steps,
    opened: events.Opened | None,
    last: events.Terminal | None,
    got: answer.Answer,
) -> timeline.Ending:
    at_us = read.all[-1].at_us if read.all else 0
    failed, retried = _last(read, events.TurnFailed), _last(read, events.RetryScheduled)
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
        status=_status(opened, last),
        code=last.code,
        cause=last.cause,
        message=told.message if told is not None else "",
        param=told.param if told is not None else None,
        detail=detail,
        word=failed.word if failed is not None else None,
        retry_after=failed.retry_after if failed is not None else None,
        should_retry=failed.should_retry if failed is not None else None,
    )


def _around(
    read: steps.Steps,
    request: timeline.Request,
    ending: timeline.Ending,
    silences: tuple[timeline.Gap, ...],
    got: answer.Answer,
) -> causes.Around:
    """Return what the cause of an ending follows from, beside it."""
    last = gaps.final(silences, read, ending.at_us)
    silent_us = last.end_us - last.start_us if last is not None else 0
    failed = _last(read, events.TurnFailed)
    ended = _last(read, events.Terminal)
    taken = _last(read, events.FallbackTaken)
    worker = taken.worker if taken is not None else request.worker
    model = request.target if ending.kind == "upstream_error" else request.model
    return causes.Around(
        timer=_timer(read),
        worker=worker,
        model=taken.model if taken is not None else model,
        status=(failed.status if failed is not None else None) or 0,
        finishes=ended.finish_reasons if ended is not None else (),
        left=leaving.Left(ending.at_us, silent_us, request.streaming, got.first_us is not None),
        queued=worker == workerkinds.CODEX.name and _is_queued(read),
        masked=request.content == "masked",
        key=request.key,
    )


def _is_queued(read: steps.Steps) -> bool:
    """Return whether nothing has been done for a turn of Codex, nor come from it: what is done
    first, once it has a place on a process, has a record."""
    if read.holes:
        return False
    for step in reversed(read.all):
        if isinstance(step.event, events.Opened | events.FallbackTaken):
            return True
        if not isinstance(step.event, events.TimerFired | events.Terminal):
            return False
    return False


def _last(read: steps.Steps, kind: type[Event]) -> Event | None:
    """Return the last event of a kind; None without one."""
    return next((step.event for step in reversed(read.all) if isinstance(step.event, kind)), None)


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
    if ending.kind in _WHOLE:
        return "sent" if ending.kind == "completed" else "unfinished"
    return "unknown" if ending.kind == "open" else "unfinished"


def _received(
    read: steps.Steps,
    opened: events.Opened | None,
    last: events.Terminal | None,
    got: answer.Answer,
) -> timeline.Received:
    """Return what the client got: of an answer in one body all, or none."""
    whole = last is not None and last.kind in _WHOLE
    is_body = opened is not None and not opened.streaming
    sent, unsent = (got.characters, 0) if whole or not is_body else (0, got.characters)
    if last is None:
        headed = not is_body and any("head" in step.record.out for step in read.all)
        return timeline.Received(
            status=200 if headed else None,
            whole=False,
            characters=sent,
            unsent=unsent,
            first_us=got.first_us,
        )
    return timeline.Received(
        status=_status(opened, last) or None,
        whole=whole,
        error=got.failure is not None and bool(last.status),
        frames=last.frames,
        body_bytes=last.body_bytes,
        characters=sent,
        unsent=unsent,
        finish_reasons=last.finish_reasons,
        first_us=got.first_us,
        usage=last.usage,
        usage_source=last.usage_source,
    )


def _status(opened: events.Opened | None, last: events.Terminal) -> int:
    """Return the status that went out; a start that finds an open stream takes its head for sent,
    and that of one body waits for the end."""
    is_body = opened is not None and not opened.streaming
    return 0 if is_body and last.emission_trigger == causes.RECOVERED else last.status


_WHOLE: Final = ("completed", "truncated")
"""The kinds of an answer that ended as one does."""


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
    masked = causes.is_masked(event.message)
    found = causes.cause(ending, causes.Around(model=event.model, masked=masked))
    times = f" It stands for {event.count} of the kind." if event.count > 1 else ""
    request = timeline.Request(
        stream=story.stream,
        request_id=event.request_id,
        opened_us=story.records[0].t,
        endpoint=event.route or event.path,
        model=event.model,
        key=event.key,
        client=event.client,
        content="masked" if masked else "full",
    )
    return timeline.Timeline(
        request=request,
        ending=msgspec.structs.replace(ending, party=found.party),
        received=timeline.Received(status=event.status, whole=True, error=True),
        verdict=found.sentence + times,
        evidence=tuple(evidence.words(ending)),
        next_step=found.step,
        marks=marks.marks(read, ()),
        problems=problems,
        later=read.later,
    )
