"""The choices of a stream together: who begins, who is behind, what they add up to.

Every function takes all choices of one stream, in the order of their numbers.
"""

import collections
from collections.abc import Iterable
from typing import Any

from machines import events, outputs
from machines.stream import states
from machines.stream.choice import Choice
from machines.tools.buffer import OutputList


def begin(among: tuple[Choice, ...]) -> OutputList:
    """Emit the head and the roles, unless they were emitted before."""
    first = among[0]
    emitted: OutputList = []
    if first.state == states.HELD:
        emitted.append(outputs.Head())
    if first.state in (states.HELD, states.ROLE):
        for choice in among:
            choice.move(states.BEGIN)
            emitted.append(outputs.Role(choice.index))
    return emitted


def emit(among: tuple[Choice, ...], choice: Choice, released: OutputList) -> OutputList:
    """Emit what the scanners of one choice released; it moves to the state of the last of it."""
    if not released:
        return []
    begun = begin(among)
    for output in released:
        trigger = states.OUTPUT_TRIGGERS.get(type(output))
        if trigger is not None:
            choice.move(trigger)
    return begun + released


def step(
    among: tuple[Choice, ...],
    choice: Choice,
    emitted: Iterable[outputs.AnyOutput],
    decision: outputs.Decision | None = None,
) -> outputs.Step:
    """Make the `Step` of one choice, once every choice has made its transitions."""
    states = tuple(choice.path) if len(choice.path) > 1 else ()
    for each in among:
        each.path.clear()
    return outputs.Step(choice.state, tuple(emitted), decision, states)


def slowest(among: tuple[Choice, ...]) -> Choice:
    """The choice that is furthest from its end; of several, the first."""
    return min(among, key=lambda choice: states.TABLE.states.index(choice.state))


def total(among: tuple[Choice, ...]) -> events.Usage | None:
    """Add up the counts of all choices; None while or where any is unknown.

    The prompt counts once, however many choices answer it; the tokens of the answers are summed.
    """
    known = [choice.counts for choice in among if isinstance(choice.counts, events.Usage)]
    if len(known) < len(among):
        return None
    return events.Usage(
        max(usage.prompt_tokens for usage in known),
        sum(usage.completion_tokens for usage in known),
        max(usage.cached_tokens for usage in known),
        sum(usage.reasoning_tokens for usage in known),
    )


def tool_totals(among: tuple[Choice, ...]) -> dict[str, Any]:
    """The tool members of `events.Terminal`, of all choices together."""
    tools = [choice.tools for choice in among]
    aborted: collections.Counter[str] = collections.Counter()
    for each in tools:
        aborted.update(each.aborted)
    return {
        "tool_calls": sum(each.calls for each in tools),
        "tool_calls_withheld": sum(each.withheld for each in tools),
        "tool_calls_dropped": sum(each.dropped for each in tools),
        "tool_buffers_started": sum(each.started for each in tools),
        "tool_buffers_flushed": sum(each.flushed for each in tools),
        "tool_buffers_aborted": dict(aborted),
    }
