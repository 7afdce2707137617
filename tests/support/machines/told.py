"""What of a worker's events a client can come to know: a test of that needs no more of them."""

from collections.abc import Iterable

import msgspec

from machines import events


def to_client(event: events.StreamInput) -> events.StreamInput:
    """The event without the other side's own words, which are for the operator."""
    if isinstance(event, events.TurnFailed):
        return msgspec.structs.replace(event, word=None, detail=None)
    return event


def all_to_client(found: Iterable[events.StreamInput]) -> list[events.StreamInput]:
    """The events, each without those words."""
    return [to_client(event) for event in found]
