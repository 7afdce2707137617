"""A table says exactly what the declared machine says, or refuses to be made."""

import itertools
import time
from typing import Any, cast

import pytest
from statemachine import Event, HistoryState, State, StateMachine
from statemachine.factory import StateMachineMetaclass

from machines import compiler, errors, table
from tests.machines.stream import oracle


class DoorMachine(StateMachine):
    """One of each: a plain transition, self-transitions of both kinds, a final state."""

    shut = State(initial=True)
    ajar = State()
    gone = State(final=True)

    pull = shut.to(ajar) | ajar.to(ajar)
    push = ajar.to(shut) | shut.to(shut, internal=True)
    burn = gone.from_(shut, ajar)


DOOR = compiler.compile_table(DoorMachine)


def test_a_declaration_becomes_its_table() -> None:
    assert (DOOR.name, DOOR.initial, DOOR.final) == ("door", "shut", frozenset({"gone"}))
    assert DOOR.states == ("shut", "ajar", "gone")
    assert DOOR.events == ("pull", "push", "burn")
    assert DOOR.transitions == {
        ("shut", "pull"): "ajar",
        ("ajar", "pull"): "ajar",
        ("ajar", "push"): "shut",
        ("shut", "push"): "shut",
        ("shut", "burn"): "gone",
        ("ajar", "burn"): "gone",
    }
    assert DOOR.next("shut", "pull") == DOOR.transitions["shut", "pull"] == "ajar"
    assert [DOOR.is_final(state) for state in DOOR.states] == [False, False, True]


@pytest.mark.parametrize(
    ("state", "event"), [("gone", "pull"), ("shut", "knock"), ("away", "push")]
)
def test_what_is_not_in_the_table_is_an_illegal_event(state: str, event: str) -> None:
    with pytest.raises(errors.IllegalEvent) as refused:
        DOOR.next(state, event)
    assert str(refused.value) == f"door: event {event!r} is illegal in state {state!r}"


def test_a_table_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        DOOR.initial = "ajar"  # type: ignore[misc]  # the type checker says so too


@pytest.mark.parametrize("seed", range(5))
def test_a_table_walks_like_the_machine_it_came_from(seed: int) -> None:
    tried = oracle.walk(DoorMachine, DOOR, seed, 500)
    assert tried == set(itertools.product(DOOR.states, DOOR.events))


def test_the_oracle_notices_a_table_that_lies() -> None:
    lie = table.Table(
        DOOR.name,
        DOOR.initial,
        DOOR.final,
        DOOR.states,
        DOOR.events,
        {**DOOR.transitions, ("ajar", "push"): "ajar"},
    )
    with pytest.raises(AssertionError, match="'push' in 'ajar'"):
        oracle.walk(DoorMachine, lie, 0, 500)


def declared(name: str = "LampMachine", **body: Any) -> type[StateMachine]:
    """A machine as a `class` statement would make it."""
    return cast("type[StateMachine]", StateMachineMetaclass(name, (StateMachine,), body))


def lamp(**more: Any) -> type[StateMachine]:
    """A machine of two states and the event `go` between them, with more in its body."""
    first, second = State(initial=True), State()
    go = first.to(second, **more.pop("transition", {}))
    return declared(
        **{"first": first, "second": second, "go": go, "back": second.to(first)} | more
    )


def hook(self: StateMachine) -> bool:
    """Something that a machine could call."""
    return True


def click(self: StateMachine) -> None:
    """Make a sound."""


def shine(self: StateMachine) -> None:
    """Make light."""


@pytest.mark.parametrize("kind", ["cond", "unless", "validators", "before", "on", "after"])
def test_a_transition_that_does_more_than_lead_on_is_refused(kind: str) -> None:
    machine = lamp(transition={kind: hook})
    with pytest.raises(
        errors.TableError, match=r"LampMachine: state 'first', event 'go': \w+ call"
    ):
        compiler.compile_table(machine)


@pytest.mark.parametrize(
    "name",
    [
        "prepare_event",
        "before_transition",
        "on_transition",
        "after_transition",
        "before_go",
        "on_go",
        "after_go",
        "on_enter_state",
        "on_exit_state",
        "on_enter_second",
        "on_exit_first",
        "on_invoke_second",
    ],
)
def test_a_method_that_the_library_would_call_by_its_name_is_refused(name: str) -> None:
    with pytest.raises(errors.TableError, match=f"LampMachine: .*callback '{name}'"):
        compiler.compile_table(lamp(**{name: hook}))


def test_a_decorated_method_is_refused() -> None:
    first, second = State(initial=True), State()
    go = first.to(second)
    machine = declared(
        first=first,
        second=second,
        go=go,
        back=second.to(first),
        click=go.before(click),
        shine=second.enter(shine),
    )
    with pytest.raises(errors.TableError) as refused:
        compiler.compile_table(machine)
    assert "state 'first', event 'go': before callback 'click'" in str(refused.value)
    assert "state 'second': enter callback 'shine'" in str(refused.value)


@pytest.mark.parametrize("kind", ["enter", "exit", "invoke"])
def test_a_state_with_callbacks_is_refused(kind: str) -> None:
    hooks: dict[str, Any] = {kind: "shine"}
    first, second = State(initial=True, **hooks), State()
    machine = declared(
        first=first, second=second, go=first.to(second), back=second.to(first), shine=shine
    )
    with pytest.raises(errors.TableError, match=f"state 'first': {kind} callback"):
        compiler.compile_table(machine)


def test_listeners_are_refused_inherited_ones_too() -> None:
    watched = lamp(listeners=[object])
    heir = StateMachineMetaclass("HeirMachine", (watched,), {})
    for machine in (watched, cast("type[StateMachine]", heir)):
        with pytest.raises(errors.TableError, match=f"{machine.__name__}: listeners"):
            compiler.compile_table(machine)


@pytest.mark.parametrize("again", ["first", "second"])
def test_a_second_transition_for_one_event_is_refused_even_to_the_same_state(again: str) -> None:
    first, second = State(initial=True), State()
    go = first.to(second) | first.to(first if again == "first" else second)
    machine = declared(first=first, second=second, go=go, back=second.to(first))
    with pytest.raises(errors.TableError, match="state 'first' has two transitions for 'go'"):
        compiler.compile_table(machine)


def test_nested_states_are_refused() -> None:
    class LampMachine(StateMachine):
        off = State(initial=True)

        class lit(State.Compound):
            dim = State(initial=True)
            bright = State()
            turn = dim.to(bright) | bright.to(dim)

        flip = off.to(lit) | lit.to(off)

    with pytest.raises(errors.TableError, match="state 'lit' is compound, parallel or a history"):
        compiler.compile_table(LampMachine)


def test_parallel_states_are_refused() -> None:
    class LampMachine(StateMachine):
        class both(State.Parallel):
            class left(State.Compound):
                dim = State(initial=True)
                bright = State()
                turn = dim.to(bright) | bright.to(dim)

            class right(State.Compound):
                cold = State(initial=True)
                warm = State()
                heat = cold.to(warm) | warm.to(cold)

    with pytest.raises(errors.TableError, match="state 'both' is compound, parallel or a history"):
        compiler.compile_table(LampMachine)


def test_events_that_are_more_than_a_name_are_refused() -> None:
    first, second = State(initial=True), State()
    machine = declared(
        first=first,
        second=second,
        later=Event(first.to(second), delay=50),
        at_once=Event(first.to(first), internal=True),
        error_seen=second.to(first),
        anything=Event(second.to(second), id="*"),
    )
    with pytest.raises(errors.TableError) as refused:
        compiler.compile_table(machine)
    complaints = str(refused.value)
    assert "state 'first', event 'later': the event has a delay" in complaints
    assert "state 'first', event 'at_once': the event has a delay or a queue" in complaints
    assert "state 'second', event 'error_seen error.seen': the event is a pattern" in complaints
    assert "state 'second', event '*': the event is a pattern" in complaints


def test_a_transition_without_an_event_or_a_target_is_refused() -> None:
    first, second = State(initial=True), State()
    first.to(second)
    machine = declared(first=first, second=second, go=second.to(None), back=second.to(first))
    with pytest.raises(errors.TableError) as refused:
        compiler.compile_table(machine)
    assert "state 'first', event '': a transition without an event" in str(refused.value)
    assert "state 'second', event 'go': 0 targets" in str(refused.value)


def test_a_machine_that_ignores_unknown_events_is_refused() -> None:
    with pytest.raises(errors.TableError, match=r"LampMachine: .* ignored instead of refused"):
        compiler.compile_table(lamp(allow_event_without_transition=True))


def test_a_machine_without_states_is_refused() -> None:
    with pytest.raises(errors.TableError, match="StateMachine: no states"):
        compiler.compile_table(StateMachine)


def test_a_history_is_refused() -> None:
    first, second = State(initial=True), State()
    machine = declared(
        validate_disconnected_states=False,
        validate_trap_states=False,
        first=first,
        second=second,
        before=HistoryState(),
        go=first.to(second) | second.to(first),
    )
    with pytest.raises(errors.TableError, match="state 'before' is compound, parallel or a hist"):
        compiler.compile_table(machine)


def test_a_step_is_far_cheaper_than_the_librarys_own() -> None:
    machine = DoorMachine()
    assert _cost(lambda: DOOR.next("ajar", "pull")) * 20 < _cost(lambda: machine.send("pull"))


def _cost(call: Any) -> float:
    """Seconds of the fastest of some batches."""
    batches = []
    for _ in range(5):
        begun = time.perf_counter()
        for _ in range(100):
            call()
        batches.append(time.perf_counter() - begun)
    return min(batches)
