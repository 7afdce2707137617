"""The last record of a stream: what its machine, its sink and its clock say of it."""

from engine.stream.sink import Summary
from machines import events
from machines.stream import machine as stream


def terminal(
    machine: stream.Stream,
    summary: Summary,
    first_token_us: int | None,
    duration_us: int,
    gap_us: int,
) -> events.Terminal:
    """The record of a stream whose machine has ended, or was cut.

    Args:
        first_token_us: from the opening to the first token; None without one.
        gap_us: the longest silence between two events of the worker.
    """
    return events.Terminal(
        kind=machine.kind or "defect",
        emission_trigger=machine.emission_trigger,
        status=summary.status,
        finish_reasons=tuple(choice.reason for choice in machine.choices),
        finish_words=tuple(choice.word for choice in machine.choices),
        code=machine.failure.code if machine.failure is not None else None,
        cause=machine.cause,
        usage=machine.usage,
        frames=summary.frames,
        body_bytes=summary.body_bytes,
        body_hash=summary.body_hash,
        ttft_us=first_token_us,
        duration_us=duration_us,
        longest_gap_us=gap_us,
        **machine.tool_totals(),
    )
