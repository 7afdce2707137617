"""Cuts a text that came in one event into pieces that are taken one after the other.

The problem: a worker may send an answer of megabytes as one delta. Masking, recording and
rendering it in one go would hold every other stream for as long. In pieces of `PIECE` code points
each is a delta of its own, with a record and a frame of its own; joined they are the same text.
"""

from typing import Final

import msgspec

from machines import events
from machines.stream import choice

PIECE: Final = choice.LONGEST_TEXT
"""Code points of a piece: some hundred microseconds of work, whatever its letters are."""

TEXTS: Final = (events.TextDelta, events.ReasoningDelta, events.RefusalDelta)
"""Events whose text may be cut anywhere."""

AT_ONCE: Final = (
    events.ClientGone,
    events.ServerStopping,
    events.TimerFired,
    events.BufferPressure,
)
"""Events that are not the worker's, and do not wait behind what it said."""


def of(event: events.StreamInput) -> list[events.StreamInput]:
    """The pieces of an event: itself, where it is taken whole."""
    if not isinstance(event, TEXTS) or len(event.text) <= PIECE:
        return [event]
    text = event.text
    return [
        msgspec.structs.replace(event, text=text[start : start + PIECE])
        for start in range(0, len(text), PIECE)
    ]
