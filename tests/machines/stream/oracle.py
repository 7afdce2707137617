"""Holds a compiled table against the library that defined its machine."""

import random

from statemachine import StateMachine
from statemachine.exceptions import TransitionNotAllowed

from machines import errors, table


def walk(
    machine_class: type[StateMachine], compiled: table.Table, seed: int, steps: int
) -> set[tuple[str, str]]:
    """Send the same random events to a machine and to its table; they must agree at each step.

    Events that the state does not allow are sent too, and both must refuse them. A walk that
    reached a final state, and was refused there, begins again.

    Returns:
        Every `(state, event)` that was tried; compare it with all pairs to know the walk's reach.
    """
    rng = random.Random(seed)
    tried: set[tuple[str, str]] = set()
    machine, state = machine_class(), compiled.initial
    for _ in range(steps):
        untried = [event for event in compiled.events if (state, event) not in tried]
        if state in compiled.final and not untried:
            machine, state = machine_class(), compiled.initial
            continue
        # Half of the steps try something new, or rare corners would need very long walks.
        event = rng.choice(untried if untried and rng.random() < 0.5 else compiled.events)
        tried.add((state, event))
        expected = _send(machine, event)
        assert _next(compiled, state, event) == expected, f"{event!r} in {state!r}"
        state = expected or state
        assert [active.id for active in machine.configuration] == [state]
    return tried


def agree(
    machine_class: type[StateMachine], compiled: table.Table, state: str, event: str
) -> None:
    """Send one event to a machine that is in some state, and hold its table against it."""
    expected = _send(machine_class(start_value=state), event)
    assert _next(compiled, state, event) == expected, f"{event!r} in {state!r}"


def _send(machine: StateMachine, event: str) -> str | None:
    """Where the library's own engine goes, None where it refuses."""
    try:
        machine.send(event)
    except TransitionNotAllowed:
        return None
    (active,) = machine.configuration
    return active.id


def _next(compiled: table.Table, state: str, event: str) -> str | None:
    try:
        return compiled.next(state, event)
    except errors.IllegalEvent as refused:
        assert (refused.machine, refused.state, refused.event) == (compiled.name, state, event)
        return None
