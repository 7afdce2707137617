"""The records of one stream as the fold reads them: each with its event and its time."""

from typing import Final, NamedTuple

from engine.log.find import stories
from engine.log.read import segments
from machines import events

DELTAS: Final = (
    events.TextDelta,
    events.ReasoningDelta,
    events.RefusalDelta,
    events.ToolCallDelta,
)
"""The events that come in runs, one a token."""

ALIVE: Final = (events.TextDelta, events.ReasoningDelta)
"""The events of these that nearly every record of a stream is."""


class Step(NamedTuple):
    """One record.

    Attributes:
        at_us: since the first of the stream.
    """

    record: segments.Record
    event: segments.LoggedEvent
    at_us: int

    @property
    def choice(self) -> int | None:
        """The choice that the event is of; None where it is of the whole stream."""
        return getattr(self.event, "choice", None)


class Steps(NamedTuple):
    """The records of a stream that can be told.

    Attributes:
        all: in their order.
        holes: `seq` of the records before which others are missing.
        later: whether there are more, which a later version wrote.
    """

    all: tuple[Step, ...]
    holes: frozenset[int]
    later: bool


def read(story: stories.Story) -> Steps:
    """Read the events of a stream's records, up to the first that a later version wrote."""
    found: list[Step] = []
    holes: list[int] = []
    later = any(each.kind == "later" and each.stream == story.stream for each in story.problems)
    begun = story.records[0].t if story.records else 0
    due = 0
    for record in story.records:
        try:
            event = record.load()
        except segments.LaterVersion:
            later = True
            break
        if record.seq != due:
            holes.append(record.seq)
        due = record.seq + 1
        found.append(Step(record, event, record.t - begun))
    return Steps(tuple(found), frozenset(holes), later)
