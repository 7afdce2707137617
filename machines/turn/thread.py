"""The states of one thread of Codex, which outlives the answers that are told of it.

    new           not asked for yet
    starting      asked for
    running       a turn of it runs, or may
    asked         Codex waits for the result of a call, and its step is not whole
    refusing      too long: each result that Codex asks for is a refusal
    waiting       its turn waits for the results of calls; the client has them
    idle          its turn is over; a later request may go on with it
    interrupting  Codex was asked to end its turn
    orphaned      nobody wants it, and it has not started yet
    released      Codex was told that it is not needed any more
    gone          its process is gone, and so is it

Each thread has a place on its process, and gives it back exactly once: on its way into one of the
final states, or for as long as it waits or is idle. `ThreadMachine` declares the states; it is
compiled at import to `TABLE`.
"""

import enum
from collections.abc import Mapping
from typing import Final

from statemachine import State, StateMachine

from machines.compiler import compile_table


class ThreadMachine(StateMachine):
    """The states of one thread, and what leads from each to the next."""

    new = State(initial=True)
    starting = State()
    running = State()
    asked = State()
    refusing = State()
    waiting = State()
    idle = State()
    interrupting = State()
    orphaned = State()
    released = State(final=True)
    gone = State(final=True)

    start_sent = new.to(starting)
    started = starting.to(running) | orphaned.to(released)
    start_refused = released.from_(starting, orphaned)
    result_asked = asked.from_(running, asked) | refusing.to.itself()
    patience_lost = asked.to(refusing)
    step_called = waiting.from_(running, asked) | refusing.to(interrupting)
    step_unanswerable = interrupting.from_(running, asked, refusing)
    resumed = waiting.to(running)
    turn_over = released.from_(running, asked, refusing)
    turn_concluded = running.to(idle)
    reused = idle.to(running)
    not_kept = idle.to(released)
    given_up = (
        new.to(released)
        | starting.to(orphaned)
        | interrupting.from_(running, asked, refusing, waiting)
    )
    expired = waiting.to(interrupting) | idle.to(released)
    evicted = waiting.to(interrupting) | idle.to(released)
    interrupt_refused = interrupting.to.itself()
    interrupted = interrupting.to(released)
    interrupt_ignored = interrupting.to(released)
    process_lost = gone.from_(
        starting, running, asked, refusing, waiting, idle, interrupting, orphaned
    )
    release_failed = released.from_(idle, interrupting, orphaned)


TABLE: Final = compile_table(ThreadMachine)
"""The compiled machine; `docs/machines.md` is drawn from it."""

NEW: Final = ThreadMachine.new.id
STARTING: Final = ThreadMachine.starting.id
RUNNING: Final = ThreadMachine.running.id
ASKED: Final = ThreadMachine.asked.id
REFUSING: Final = ThreadMachine.refusing.id
WAITING: Final = ThreadMachine.waiting.id
IDLE: Final = ThreadMachine.idle.id
INTERRUPTING: Final = ThreadMachine.interrupting.id
ORPHANED: Final = ThreadMachine.orphaned.id
RELEASED: Final = ThreadMachine.released.id
GONE: Final = ThreadMachine.gone.id


class Event(enum.StrEnum):
    """Anything that can happen to a thread.

    Attributes:
        START_SENT: `thread/start` was sent.
        STARTED: Codex's answer to it has the thread's id.
        START_REFUSED: Codex's answer to it is an error, or there is none.
        RESULT_ASKED: Codex waits for the result of a call whose step is not whole.
        PATIENCE_LOST: the deadline of `asked` has passed.
        STEP_CALLED: a step has calls whose results the client may bring.
        STEP_UNANSWERABLE: a step has calls that Codex would answer by itself, or that nobody
            waits for.
        RESUMED: the client has brought the results.
        TURN_OVER: Codex ended the turn.
        TURN_CONCLUDED: the same, and the thread holds just what the client has seen.
        REUSED: a later request goes on with it.
        NOT_KEPT: no later request will.
        GIVEN_UP: nobody wants the thread any more.
        EXPIRED: the results, or the next request, did not come in time.
        EVICTED: another thread waits, or is idle, in its place.
        INTERRUPT_REFUSED: Codex was too busy to take the interrupt.
        INTERRUPTED: Codex answered the interrupt.
        INTERRUPT_IGNORED: Codex did not, in the time that it has.
        PROCESS_LOST: the process is gone.
        RELEASE_FAILED: a bug of ours was met on the way out.
    """

    START_SENT = ThreadMachine.start_sent.id
    STARTED = ThreadMachine.started.id
    START_REFUSED = ThreadMachine.start_refused.id
    RESULT_ASKED = ThreadMachine.result_asked.id
    PATIENCE_LOST = ThreadMachine.patience_lost.id
    STEP_CALLED = ThreadMachine.step_called.id
    STEP_UNANSWERABLE = ThreadMachine.step_unanswerable.id
    RESUMED = ThreadMachine.resumed.id
    TURN_OVER = ThreadMachine.turn_over.id
    TURN_CONCLUDED = ThreadMachine.turn_concluded.id
    REUSED = ThreadMachine.reused.id
    NOT_KEPT = ThreadMachine.not_kept.id
    GIVEN_UP = ThreadMachine.given_up.id
    EXPIRED = ThreadMachine.expired.id
    EVICTED = ThreadMachine.evicted.id
    INTERRUPT_REFUSED = ThreadMachine.interrupt_refused.id
    INTERRUPTED = ThreadMachine.interrupted.id
    INTERRUPT_IGNORED = ThreadMachine.interrupt_ignored.id
    PROCESS_LOST = ThreadMachine.process_lost.id
    RELEASE_FAILED = ThreadMachine.release_failed.id


DEADLINES: Final = {ASKED: Event.PATIENCE_LOST}
"""States that must not last, and the event that ends them. Codex says nothing of a step that broke
behind a call until it has the call's result; with one it tells, or goes on (0.163)."""

UNWANTED: Final = TABLE.final | {INTERRUPTING, ORPHANED}
"""States from which no answer can come any more."""


class Action(enum.Enum):
    """Anything that a step of a thread asks for.

    Attributes:
        AWAIT_START: step with `started` or `start_refused` when `thread/start` is answered.
        INTERRUPT: send `turn/interrupt`; step with what comes of it.
        INTERRUPT_AGAIN: the same in a moment, unless its time is over.
        UNSUBSCRIBE: send `thread/unsubscribe`; nothing that is said of the thread counts any more.
        REFUSE_RESULTS: answer what Codex asks for with a refusal, now and later.
        LEAVE: give the place on the process to the next thread.
        REST: the same, and step with `process_lost` if the process is.
        ABANDON: try each part of a release, since one of them failed; `LEAVE` too.
    """

    AWAIT_START = enum.auto()
    INTERRUPT = enum.auto()
    INTERRUPT_AGAIN = enum.auto()
    UNSUBSCRIBE = enum.auto()
    REFUSE_RESULTS = enum.auto()
    LEAVE = enum.auto()
    REST = enum.auto()
    ABANDON = enum.auto()


_STOPS: Final = (Action.INTERRUPT, Action.UNSUBSCRIBE)

_ACTIONS: Final[Mapping[tuple[str, Event], tuple[Action, ...]]] = {
    (REFUSING, Event.PATIENCE_LOST): (Action.REFUSE_RESULTS,),
    (ORPHANED, Event.GIVEN_UP): (Action.AWAIT_START,),
    (INTERRUPTING, Event.STEP_CALLED): _STOPS,
    (INTERRUPTING, Event.STEP_UNANSWERABLE): _STOPS,
    (INTERRUPTING, Event.GIVEN_UP): _STOPS,
    (INTERRUPTING, Event.EXPIRED): _STOPS,
    (INTERRUPTING, Event.EVICTED): _STOPS,
    (INTERRUPTING, Event.INTERRUPT_REFUSED): (Action.INTERRUPT_AGAIN,),
    (IDLE, Event.TURN_CONCLUDED): (Action.REST,),
    (RELEASED, Event.NOT_KEPT): (Action.UNSUBSCRIBE,),
    (RELEASED, Event.EXPIRED): (Action.UNSUBSCRIBE,),
    (RELEASED, Event.EVICTED): (Action.UNSUBSCRIBE,),
    (RELEASED, Event.STARTED): (Action.UNSUBSCRIBE, Action.LEAVE),
    (RELEASED, Event.TURN_OVER): (Action.UNSUBSCRIBE, Action.LEAVE),
    (RELEASED, Event.START_REFUSED): (Action.LEAVE,),
    (RELEASED, Event.GIVEN_UP): (Action.LEAVE,),
    (RELEASED, Event.INTERRUPTED): (Action.LEAVE,),
    (RELEASED, Event.INTERRUPT_IGNORED): (Action.LEAVE,),
    (RELEASED, Event.RELEASE_FAILED): (Action.ABANDON,),
    (GONE, Event.PROCESS_LOST): (Action.LEAVE,),
}


def actions(state: str, event: Event) -> tuple[Action, ...]:
    """Return what is to be done about an event that has led to this state, in this order."""
    return _ACTIONS.get((state, event), ())
