"""Compiles a declared state machine into a frozen transition table.

A machine is declared once, as a python-statemachine class: states, events, and which event leads
from which state to which. That declaration is what people read, what the documentation is drawn
from, and what tests hold the running code against. It is not what runs: that is `machines.table`.

The two can only agree if the declaration says nothing that a table cannot. So the compiler
refuses everything that makes a step depend on more than state and event: guards, validators,
callbacks under any spelling, listeners, nested or parallel states, events with a delay,
transitions without an event. What a transition *does* is written in the machine's own `step`, next
to its declaration.
"""

from collections.abc import Iterator

from statemachine import State, StateMachine
from statemachine.callbacks import SpecListGrouper
from statemachine.transition import Transition

from machines import errors
from machines.table import Table


def compile_table(machine: type[StateMachine]) -> Table:
    """The table of a declared machine, named for its class: `stream` for `StreamMachine`.

    Raises:
        TableError: with everything in the declaration that a table cannot hold.
    """
    complaints = list(_in_machine(machine))
    transitions: dict[tuple[str, str], str] = {}
    for state in machine.states:
        complaints += _in_state(machine, state)
        for transition in state.transitions:
            complaints += _in_transition(machine, transition)
            for event in transition.events:
                if (state.id, event.id) in transitions:
                    complaints.append(f"state {state.id!r} has two transitions for {event.id!r}")
                if transition.target is not None:
                    transitions[state.id, event.id] = transition.target.id
    if complaints:
        raise errors.TableError(f"{machine.__name__}: {'; '.join(complaints)}")
    return Table(
        name=machine.__name__.removesuffix("Machine").lower(),
        initial=next(state.id for state in machine.states if state.initial),
        final=frozenset(state.id for state in machine.states if state.final),
        states=tuple(state.id for state in machine.states),
        events=tuple(dict.fromkeys(event for _, event in transitions)),
        transitions=transitions,
    )


def _in_machine(machine: type[StateMachine]) -> Iterator[str]:
    if not list(machine.states):
        yield "no states"
    if machine.allow_event_without_transition:
        yield "events without a transition are ignored instead of refused"
    if any(vars(base).get("listeners") for base in machine.__mro__):
        yield "listeners"
    yield from _callbacks(machine, "the machine", {"prepare": machine.prepare})


def _in_state(machine: type[StateMachine], state: State) -> Iterator[str]:
    where = f"state {state.id!r}"
    if state.states or state.parallel or state.is_history:
        yield f"{where} is compound, parallel or a history"
    hooks = {"enter": state.enter, "exit": state.exit, "invoke": state.invoke}
    yield from _callbacks(machine, where, hooks)


def _in_transition(machine: type[StateMachine], transition: Transition) -> Iterator[str]:
    where = f"state {transition.source.id!r}, event {str(transition.event)!r}"
    if transition.is_eventless:
        yield f"{where}: a transition without an event"
    if len(transition.targets) != 1:
        yield f"{where}: {len(transition.targets)} targets"
    for event in transition.events:
        if not event.id.isidentifier():
            yield f"{where}: the event is a pattern, or stands for one"
        if event.delay or event.internal:
            yield f"{where}: the event has a delay or a queue of its own"
    hooks = {
        "cond": transition.cond,
        "validators": transition.validators,
        "before": transition.before,
        "on": transition.on,
        "after": transition.after,
    }
    yield from _callbacks(machine, where, hooks)


def _callbacks(
    machine: type[StateMachine], where: str, hooks: dict[str, SpecListGrouper]
) -> Iterator[str]:
    """Complain about hooks in use.

    The library registers a name by convention (`on_enter_ready`, `before_go`) for every state and
    event; such a hook is in use only if the class has an attribute of that name.
    """
    for hook, specs in hooks.items():
        for spec in specs:
            if not spec.is_convention or hasattr(machine, spec.attr_name):
                yield f"{where}: {hook} callback {spec.attr_name!r}"
