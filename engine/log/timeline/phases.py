"""The states that a stream's choices went through, and from when to when each was."""

from typing import Final

from engine.log.timeline import steps, timeline
from machines import events
from machines.stream import states

_WAITING: Final = (states.HELD, states.ROLE)
"""The states before a choice has begun; all begin together."""


def phases(read: steps.Steps, choices: int, end_us: int) -> tuple[timeline.Phase, ...]:
    """Return the phases of each choice, in the order in which they began.

    Args:
        choices: how many the stream has.
        end_us: when the last of them ends.
    """
    found: list[timeline.Phase] = []
    now = [(states.HELD, 0)] * choices

    def move(choice: int, state: str, at: int) -> None:
        before, since = now[choice]
        if state != before:
            found.append(timeline.Phase(before, since, at, choice))
            now[choice] = (state, at)

    for step in read.all:
        record = step.record
        if isinstance(step.event, events.Opened | events.Terminal):
            continue
        for each in range(choices):
            if "role" in record.out and now[each][0] in _WAITING:
                move(each, states.CONTENT, step.at_us)
            if _concerns(step, each, choices, now[each][0]):
                for state in record.states or (record.state,):
                    move(each, state, step.at_us)
    found.extend(
        timeline.Phase(state, since, max(since, end_us), choice)
        for choice, (state, since) in enumerate(now)
    )
    return tuple(sorted(found, key=lambda phase: (phase.start_us, phase.end_us)))


def _concerns(step: steps.Step, choice: int, choices: int, state: str) -> bool:
    """Return whether a record's state is that of a choice too: an end is of all, and a deadline
    of those that were waiting for it."""
    if choices == 1 or step.record.state in states.TABLE.final:
        return True
    if step.choice is not None:
        return step.choice == choice
    return state == states.HELD or "finish" in step.record.out
