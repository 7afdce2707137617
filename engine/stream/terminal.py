"""The last record of a stream: what its machine, its sink and its clock say of it."""

from engine.stream import times
from engine.stream.sink import Summary
from machines import events
from machines.stream import machine as stream


def terminal(
    machine: stream.Stream,
    summary: Summary,
    at: times.Times,
    now: int,
) -> events.Terminal:
    """The record of a stream whose machine has ended, or was cut.

    Args:
        now: when that was, in the log's microseconds.
    """
    totals = machine.totals
    return events.Terminal(
        kind=machine.kind or "defect",
        emission_trigger=machine.emission_trigger,
        status=summary.status,
        finish_reasons=tuple(choice.reason for choice in machine.choices),
        finish_words=tuple(choice.word for choice in machine.choices),
        code=machine.failure.code if machine.failure is not None else None,
        cause=machine.cause,
        usage=totals.usage,
        usage_source=totals.source,
        frames=summary.frames,
        body_bytes=summary.body_bytes,
        body_hash=summary.body_hash,
        ttft_us=at.since_opened(at.token),
        first_content_us=at.since_opened(at.content),
        duration_us=now - at.opened,
        longest_gap_us=at.longest_gap,
        longest_gap_owner=at.gap_owner,
        parked_us=at.parked,
        heartbeats=at.heartbeats,
        own_us=summary.own_us,
        process=at.process,
        **machine.tool_totals(),
    )


def without_figures(machine: stream.Stream, duration_us: int) -> events.Terminal:
    """Return what is certain of the record where the rest cannot be had."""
    return events.Terminal(
        kind=machine.kind or "defect",
        emission_trigger=machine.emission_trigger,
        status=0,
        code=machine.failure.code if machine.failure is not None else None,
        duration_us=duration_us,
    )
