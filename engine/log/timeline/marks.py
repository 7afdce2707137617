"""The records of a stream as somebody reads them: one mark each, and one for a run of deltas."""

from typing import Final

import msgspec

from engine.log.read import segments
from engine.log.timeline import steps, timeline, words
from machines import events

TEXT_CHARACTERS: Final = 2_000
"""Characters of a run's text that a mark keeps; the records have the rest."""

_CLIENT: Final = (events.Opened, events.ClientGone, events.BufferPressure)
_MACHINE: Final = (
    events.TimerFired,
    events.TokensEstimated,
    events.ServerStopping,
    events.RetryScheduled,
    events.FallbackTaken,
    events.FallbackSkipped,
    events.ParkMissed,
    events.ReuseMissed,
    events.CallDemanded,
    events.RequestRejected,
    events.Terminal,
)


class _Run(msgspec.Struct):
    """Deltas of one kind and choice that nothing has come between."""

    first: steps.Step
    last: steps.Step
    texts: list[str]
    kept: int = 0
    records: int = 0
    characters: int = 0
    out: dict[str, None] = msgspec.field(default_factory=dict)
    states: dict[str, None] = msgspec.field(default_factory=dict)


def marks(read: steps.Steps, gaps: tuple[timeline.Gap, ...]) -> tuple[timeline.Mark, ...]:
    """Return the marks of a stream, in the order in which they began.

    Args:
        gaps: its silences: a run goes over none.
    """
    folded = _Marks({gap.after for gap in gaps})
    for step in read.all:
        folded.take(step)
    folded.close()
    return tuple(sorted(folded.found, key=lambda mark: mark.seq))


class _Marks:
    def __init__(self, silent_after: set[int]) -> None:
        self.found: list[timeline.Mark] = []
        self._runs: dict[int, _Run] = {}
        self._silent_after = silent_after

    def take(self, step: steps.Step) -> None:
        """Take a record: another choice's deltas do not end a run, anything else does."""
        if isinstance(step.event, steps.DELTAS):
            self._add(step)
        else:
            self.close()
            self.found.append(_mark(step))
        if step.record.seq in self._silent_after:
            self.close()

    def close(self) -> None:
        """End every run."""
        self.found.extend(map(_told, self._runs.values()))
        self._runs.clear()

    def _add(self, step: steps.Step) -> None:
        choice = step.choice or 0
        run = self._runs.get(choice)
        if run is not None and type(run.first.event) is not type(step.event):
            self.found.append(_told(self._runs.pop(choice)))
            run = None
        if run is None:
            run = self._runs[choice] = _Run(step, step, [])
        text = _text_of(step.event)
        run.last = step
        run.records += 1
        run.characters += len(text)
        if run.kept < TEXT_CHARACTERS:
            run.texts.append(text[: TEXT_CHARACTERS - run.kept])
            run.kept += len(run.texts[-1])
        run.out |= dict.fromkeys(step.record.out)
        run.states |= dict.fromkeys(step.record.states or (step.record.state,))


def _text_of(event: segments.LoggedEvent) -> str:
    if isinstance(event, events.ToolCallDelta):
        return event.arguments or ""
    assert isinstance(event, events.TextDelta | events.ReasoningDelta | events.RefusalDelta)
    return event.text


def _told(run: _Run) -> timeline.Mark:
    first = run.first
    return timeline.Mark(
        seq=first.record.seq,
        last_seq=run.last.record.seq,
        at_us=first.at_us,
        end_us=run.last.at_us,
        event=first.record.event,
        lane="worker",
        text="".join(run.texts),
        choice=first.choice or 0,
        records=run.records,
        characters=run.characters,
        states=tuple(run.states),
        out=tuple(run.out),
    )


def _mark(step: steps.Step) -> timeline.Mark:
    record, event = step.record, step.event
    lane: timeline.Lane = "worker"
    if isinstance(event, _CLIENT):
        lane = "client"
    elif isinstance(event, _MACHINE):
        lane = "machine"
    return timeline.Mark(
        seq=record.seq,
        last_seq=record.seq,
        at_us=step.at_us,
        end_us=step.at_us,
        event=record.event,
        lane=lane,
        text=words.words(event),
        choice=step.choice or 0,
        states=record.states or ((record.state,) if record.state else ()),
        out=record.out,
    )
