"""The choices of a stream together: who begins, who is behind, what they add up to.

Every function takes all choices of one stream, in the order of their numbers.
"""

import collections
from collections.abc import Iterable
from typing import Any

from machines import events, outputs
from machines.stream import states
from machines.stream.choice import Choice, Estimate, NoCounts
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


def total(among: tuple[Choice, ...], prompts: int = 1) -> outputs.UsageTotals:
    """Add up the counts of all choices; there are none while or where any is unknown.

    A prompt counts once, however many choices answer it, and as a worker counted it where one
    did; the tokens of the answers are summed.

    Args:
        prompts: how many the choices answer, as many each in their order.
    """
    if prompts <= 1:
        return _total(among)
    each = len(among) // prompts
    totals = [_total(among[start : start + each]) for start in range(0, len(among), each)]
    usages = [found.usage for found in totals if found.usage is not None]
    if len(usages) < len(totals):
        return outputs.UsageTotals(None)
    usage = events.Usage(
        sum(usage.prompt_tokens for usage in usages),
        sum(usage.completion_tokens for usage in usages),
        sum(usage.cached_tokens for usage in usages),
        sum(usage.reasoning_tokens for usage in usages),
        sum(usage.other_tokens for usage in usages),
    )
    counted = all(found.source == "counted" for found in totals)
    return outputs.UsageTotals(usage, "counted" if counted else "estimated")


def _total(among: tuple[Choice, ...]) -> outputs.UsageTotals:
    """Add up the counts of the choices that answer one prompt."""
    counted = [choice.counts for choice in among if isinstance(choice.counts, events.Usage)]
    estimated = [choice.counts.usage for choice in among if isinstance(choice.counts, Estimate)]
    known = counted + estimated
    if len(known) < len(among):
        return outputs.UsageTotals(None)
    of_prompt = counted or estimated
    usage = events.Usage(
        max(usage.prompt_tokens for usage in of_prompt),
        sum(usage.completion_tokens for usage in known),
        max(usage.cached_tokens for usage in of_prompt),
        sum(usage.reasoning_tokens for usage in known),
        sum(usage.other_tokens for usage in known),
    )
    return outputs.UsageTotals(usage, "estimated" if estimated else "counted")


def without_counts(among: tuple[Choice, ...]) -> list[int]:
    """Return the choices that were cut before their worker had counts for them."""
    return [each.index for each in among if each.counts is NoCounts.DUE]


def await_counts(among: tuple[Choice, ...]) -> bool:
    """Return whether a choice that was not cut may still be counted by its worker."""
    return any(each.counts is NoCounts.AWAITED for each in among)


def are_withheld(among: tuple[Choice, ...]) -> bool:
    """Return whether a call was made that the client will not see."""
    return any(each.tools.withheld or each.tools.dropped for each in among)


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
