"""The evidence for the cause of an ending: how long, how often, in whose words.

Each is a sentence of its own that follows from the records alone. A text that is masked is not
quoted: that it is there is said.
"""

import itertools
from collections.abc import Iterator
from typing import Final

from engine.log.read import segments
from engine.log.timeline import attempts, causes, gaps, steps, timeline
from machines import events

NOTABLE_US: Final = 2_000_000
"""From how long on a silence is told of, where nothing went wrong by it."""

LEFT_US: Final = 1_000_000
"""How long nothing came for a client that left, where that may be why."""

QUOTED: Final = 160
"""Characters of the other side's own words."""

OWNERS: Final[dict[timeline.Owner, str]] = {
    "worker": "nothing came from the model's side",
    "client": "the client did not read",
    "server": "the server itself waited or was held up",
    "parked": "the turn waited for the results of its calls",
    "queued": "the turn waited for a free place on a worker",
}
"""Whose a silence was, for people."""


def evidence(
    read: steps.Steps,
    told: timeline.Timeline,
    life: tuple[segments.Record, ...] = (),
) -> tuple[str, ...]:
    """Return what speaks for the cause of a stream's ending, the strongest first.

    Args:
        told: the timeline, but for its verdict.
        life: records of the process that ran it, where they were looked up.
    """
    found = itertools.chain(
        _cut(read, told),
        _exit(told, life),
        _silence(read, told),
        _attempts(told),
        words(told.ending),
        _calls(told),
    )
    return tuple(found)


def seconds(microseconds: int) -> str:
    """Spell a time in seconds, with as many digits as matter."""
    value = microseconds / 1e6
    return f"{value:.3f} s" if value < 1 else f"{value:.2f} s" if value < 10 else f"{value:.1f} s"


_CUTS: Final = {
    "stop": "It was cut here by a stop sequence that the request has.",
    "length": "It was cut here at the length that the request allows.",
    "tool_calls": "It was ended here behind its first calls, as the server is set.",
}


def _cut(read: steps.Steps, told: timeline.Timeline) -> Iterator[str]:
    """Say why an answer that ended well is shorter than its client may have wished."""
    if told.ending.kind != "completed":
        return
    decided = (step.record.decision for step in read.all if step.record.released is not None)
    cuts = {decision.cut for decision in decided if decision is not None and decision.cut}
    yield from (_CUTS[cut] for cut in sorted(cuts) if cut in _CUTS)


def is_lost(told: timeline.Timeline) -> bool:
    """Return whether a process ended under an attempt of a stream."""
    return any(attempt.code == "worker_exited" for attempt in told.attempts)


def _exit(told: timeline.Timeline, life: tuple[segments.Record, ...]) -> Iterator[str]:
    """Say how the process ended that a stream was lost with."""
    if not is_lost(told):
        return
    for record in reversed(life):
        event = record.load()
        if isinstance(event, events.WorkerChanged) and "returncode" in event.detail:
            yield f"{event.worker} {ended(event.detail['returncode'])}."
            return


def ended(returncode: int | str) -> str:
    """Say how a process ended."""
    if isinstance(returncode, int) and returncode < 0:
        return f"was killed by signal {-returncode} (returncode {returncode})"
    return f"ended with returncode {returncode}"


def _silence(read: steps.Steps, told: timeline.Timeline) -> Iterator[str]:
    """Say how long nothing came, where that is or may be why."""
    of_stream = [gap for gap in told.gaps if gap.owner != "parked"]
    if not of_stream:
        return
    is_whole = told.ending.kind == "completed"
    last = None if is_whole else gaps.final(of_stream, read, told.ending.at_us)
    is_why = last is not None and told.ending.kind in ("timeout", "client_gone")
    gap = last if last is not None and is_why else of_stream[0]
    least = LEFT_US if told.ending.kind == "client_gone" and is_why else NOTABLE_US
    length = gap.end_us - gap.start_us
    if told.ending.kind == "timeout" or length >= least:
        where = "Before its end" if gap is last else f"From {seconds(gap.start_us)} on"
        # A turn that never had its place has no record that says whose the silence was.
        is_queued = gap is last and (told.ending.kind, told.ending.party) == ("timeout", "worker")
        owner = "queued" if is_queued else gap.owner
        yield f"{where} it was silent for {seconds(length)}: {OWNERS[owner]}."


def _attempts(told: timeline.Timeline) -> Iterator[str]:
    made = attempts.made(told.attempts)
    failed = [each for each in made if each.code]
    if len(made) > told.request.n or (failed and told.ending.kind == "completed"):
        codes = ", ".join(dict.fromkeys(each.code for each in failed if each.code))
        yield f"{_counted(len(made), 'attempt')} made" + (
            f"; failed by {codes}." if codes else "."
        )
    fallbacks = [each for each in told.attempts if each.how == "fallback"]
    if fallbacks:
        yield f"The last target asked was {fallbacks[-1].target} on {fallbacks[-1].worker}."
    missed = next((each for each in told.attempts if each.how == "missed"), None)
    if missed is not None:
        yield f"Results came for a turn that was not parked any more ({missed.reason})."


def words(ending: timeline.Ending) -> Iterator[str]:
    """Say what was said about an ending, and of which field; not what is masked."""
    if ending.param is not None and not causes.is_masked(ending.param):
        yield f"It is about `{ending.param}`."
    if ending.retry_after is not None and ending.party == "provider":
        yield f"It asks to be left alone for {ending.retry_after:g} s."
    if ending.should_retry is False:
        yield "Its answer says that the same request would fail again."
    said = ending.detail or (
        ending.message if ending.kind in ("upstream_error", "rejected") else ""
    )
    if causes.is_masked(said):
        if ending.kind != "rejected":  # what we say of a refusal follows from its code
            yield "What it said itself is masked in this log."
    elif said:
        quoted = said if len(said) <= QUOTED else said[: QUOTED - 1] + "…"
        whose = "The client was told" if ending.kind == "rejected" else "In its own words"
        yield f"{whose}: {quoted}"


def _calls(told: timeline.Timeline) -> Iterator[str]:
    for call in told.calls:
        if call.parses is False and call.fate == "sent":
            yield f"The arguments of its call of {call.name} are no JSON object."
            return
    withheld = sum(call.fate == "withheld" for call in told.calls)
    if withheld:
        yield f"{_counted(withheld, 'call')} withheld by the server's limits."
    cut = [call.name for call in told.calls if call.fate == "unfinished"]
    if cut:
        yield f"{_counted(len(cut), 'call')} cut off, with half of the arguments: {cut[-1]}."
    dropped = sum(call.fate == "dropped" for call in told.calls)
    if dropped:
        yield f"{_counted(dropped, 'call')} dropped, as the step broke off: the client got none."


def _counted(count: int, what: str) -> str:
    return f"1 {what} was" if count == 1 else f"{count} {what}s were"
