"""The machine of a stream as data: the page draws it, and lights the path of one stream."""

import msgspec

from machines import drawing, table
from machines.stream import states


class Arrow(msgspec.Struct, frozen=True):
    """A way from one state to another, and the events that lead along it."""

    source: str
    target: str
    events: tuple[str, ...]


class Machine(msgspec.Struct, frozen=True):
    """A compiled table, as a picture needs it."""

    name: str
    initial: str
    final: tuple[str, ...]
    states: tuple[str, ...]
    arrows: tuple[Arrow, ...]


def drawn(of: table.Table = states.TABLE) -> Machine:
    """Return what a picture of a table shows."""
    return Machine(
        of.name,
        of.initial,
        tuple(state for state in of.states if of.is_final(state)),
        of.states,
        tuple(Arrow(*ends, tuple(events)) for ends, events in drawing.arrows(of).items()),
    )
