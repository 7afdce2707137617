"""The silences of a stream, and whose each was.

Whose one is, is said by `machines.silences`, as for the live figures. What that cannot know is
read from the last record (the event loop was held) and from the pressure of a slow client.
"""

import heapq
import itertools
from collections.abc import Iterable, Iterator
from typing import Final

from engine.log.timeline import steps, timeline
from machines import events, silences

LEAST_US: Final = 250_000
"""Shorter silences are none that anybody notices."""

PACES: Final = 4
"""A silence lasts as many times as long as the usual pause between two tokens: a slow model is
slow, and not silent over and over."""

AT_END_US: Final = 50_000
"""How long behind a silence the last record is of a stream that ended with it."""

PAUSES: Final = 5
"""Pauses between tokens that make a pace."""

MOST: Final = 100
"""Silences that are told of a stream, the longest."""


def gaps(read: steps.Steps, last: events.Terminal | None) -> tuple[timeline.Gap, ...]:
    """Return the silences of a stream, the longest first.

    Args:
        last: its last record; None where it has none, or another start wrote it.
    """
    signs = [step for step in read.all if not isinstance(step.event, events.TimerFired)]
    least = _least([step.at_us for step in signs if isinstance(step.event, steps.DELTAS)])
    found = _silences(signs)
    longest = max(found, key=_length, default=None)
    kept = [gap for gap in found if gap is longest or _length(gap) >= least]
    if longest is not None and last is not None and _length(longest) == last.longest_gap_us:
        # The live figures know of no slow client; of one the server is told by what it measures.
        is_known = longest.owner == "client" and last.longest_gap_owner != "server"
        owner = longest.owner if is_known else last.longest_gap_owner or longest.owner
        measured = timeline.Gap(longest.start_us, longest.end_us, owner, longest.after)
        kept = [measured if gap is longest else gap for gap in kept]
    return tuple(heapq.nlargest(MOST, [*_parked(signs), *kept], key=_length))


def final(silences: Iterable[timeline.Gap], read: steps.Steps, end_us: int) -> timeline.Gap | None:
    """Return the silence that a stream ended behind; None where it ended in the flow, or where a
    piece of the answer broke the silence."""
    last = max((gap for gap in silences if gap.owner != "parked"), key=_ended, default=None)
    if last is None or end_us - last.end_us > AT_END_US:
        return None
    behind = (step for step in read.all if step.record.seq > last.after)
    return None if any(isinstance(step.event, steps.DELTAS) for step in behind) else last


def _ended(gap: timeline.Gap) -> int:
    return gap.end_us


def _length(gap: timeline.Gap) -> int:
    return gap.end_us - gap.start_us


def _least(deltas: list[int]) -> int:
    """Return how long a silence is at the least, by the pace of the tokens."""
    pauses = [after - before for before, after in itertools.pairwise(deltas)]
    if len(pauses) < PAUSES:
        return LEAST_US
    usual = sorted(pauses)[len(pauses) // 2]
    return max(LEAST_US, PACES * usual)


def _parked(signs: list[steps.Step]) -> Iterator[timeline.Gap]:
    for step in signs:
        if isinstance(step.event, events.TurnResumed) and step.event.parked_us:
            yield timeline.Gap(-step.event.parked_us, 0, "parked", -1)


def _silences(signs: list[steps.Step]) -> list[timeline.Gap]:
    """Return every pause between two records that has a length."""
    found = []
    slow = False
    for before, after in itertools.pairwise(signs):
        slow |= isinstance(before.event, events.BufferPressure)
        if after.at_us <= before.at_us:
            continue
        event = after.event if not isinstance(after.event, events.Terminal) else None
        owner: timeline.Owner = silences.owner(type(before.event), event)
        if slow and owner == "worker" and after.at_us - before.at_us >= LEAST_US:
            owner, slow = "client", False  # it was held back, until the client had caught up
        found.append(timeline.Gap(before.at_us, after.at_us, owner, before.record.seq))
    return found
