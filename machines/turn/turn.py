"""The states of one turn of Codex: how far the answer to one client has come.

    silent     nothing has come of it
    speaking   the model is at it
    whole      its answer is complete; only Codex's word that the turn is over is missing
    lacking    the same, without the call that the client requires
    owing      over, without the call that the client requires: the model may be asked for it
    calling    its answer ended with calls
    over       its answer was told to the last
    failed     it will never be whole, whatever still comes of it
    cancelled  nobody waits for it any more

A delta of an item that is open takes no step: a token must not pay for what cannot change.
`TurnMachine` declares the states; it is compiled at import to `TABLE`. `machines.turn.machine`
says what a step of the turn means to its thread.
"""

import enum
from typing import Final

from statemachine import State, StateMachine

from machines.compiler import compile_table


class TurnMachine(StateMachine):
    """The states of one turn, and what leads from each to the next."""

    silent = State(initial=True)
    speaking = State()
    whole = State()
    lacking = State()
    owing = State()
    calling = State(final=True)
    over = State(final=True)
    failed = State(final=True)
    cancelled = State(final=True)

    spoke = speaking.from_(silent, speaking, whole, lacking)
    kept_back = speaking.from_(silent, speaking, whole, lacking)
    item_started = silent.to.itself() | speaking.from_(speaking, whole, lacking)
    item_whole = whole.from_(silent, speaking, whole)
    answer_whole = whole.from_(silent, speaking, whole)
    step_whole = whole.from_(speaking, whole)
    step_lacking = lacking.from_(speaking, lacking)
    step_called = calling.from_(silent, speaking, whole, lacking)
    completed = over.from_(silent, speaking, whole, lacking)
    concluded = over.from_(speaking, whole)
    call_missing = owing.from_(silent, speaking, whole, lacking)
    demanded = owing.to(silent)
    demands_spent = owing.to(failed)
    overdue = whole.to(over) | lacking.to(failed)
    lost = whole.to(over) | failed.from_(silent, speaking, lacking, owing)
    refused = failed.from_(silent, speaking, whole, lacking)
    stopped = failed.from_(silent, speaking, whole, lacking, owing)
    cancel = cancelled.from_(silent, speaking, whole, lacking, owing)


TABLE: Final = compile_table(TurnMachine)
"""The compiled machine; `docs/machines.md` is drawn from it."""

SILENT: Final = TurnMachine.silent.id
SPEAKING: Final = TurnMachine.speaking.id
WHOLE: Final = TurnMachine.whole.id
LACKING: Final = TurnMachine.lacking.id
OWING: Final = TurnMachine.owing.id
CALLING: Final = TurnMachine.calling.id
OVER: Final = TurnMachine.over.id
FAILED: Final = TurnMachine.failed.id
CANCELLED: Final = TurnMachine.cancelled.id


class Event(enum.StrEnum):
    """Anything that can happen to a turn.

    Attributes:
        SPOKE: the first piece of an item that the client is told.
        KEPT_BACK: the first piece of a text that is not told until the call comes that the client
            requires.
        ITEM_STARTED: the model began an item.
        ITEM_WHOLE: a message is complete, in a turn that has no functions to call.
        ANSWER_WHOLE: the same, of a message that its provider calls the final answer.
        STEP_WHOLE: a step of the model is complete and calls nothing.
        STEP_LACKING: the same, where the client requires a call.
        STEP_CALLED: a step of the model is complete and has calls.
        COMPLETED: Codex ended the turn well.
        CONCLUDED: the same, and the turn has left nothing on its thread but what the client was
            told.
        CALL_MISSING: Codex ended the turn well, without the call that the client requires.
        DEMANDED: the model is asked for that call, in a next turn of the same thread.
        DEMANDS_SPENT: it was asked for it often enough.
        OVERDUE: the deadline of `whole` or `lacking` has passed.
        LOST: the process is gone.
        REFUSED: Codex ended the turn by an error.
        STOPPED: the turn has to end for a reason that Codex does not know of.
        CANCEL: nobody waits for the answer any more.
    """

    SPOKE = TurnMachine.spoke.id
    KEPT_BACK = TurnMachine.kept_back.id
    ITEM_STARTED = TurnMachine.item_started.id
    ITEM_WHOLE = TurnMachine.item_whole.id
    ANSWER_WHOLE = TurnMachine.answer_whole.id
    STEP_WHOLE = TurnMachine.step_whole.id
    STEP_LACKING = TurnMachine.step_lacking.id
    STEP_CALLED = TurnMachine.step_called.id
    COMPLETED = TurnMachine.completed.id
    CONCLUDED = TurnMachine.concluded.id
    CALL_MISSING = TurnMachine.call_missing.id
    DEMANDED = TurnMachine.demanded.id
    DEMANDS_SPENT = TurnMachine.demands_spent.id
    OVERDUE = TurnMachine.overdue.id
    LOST = TurnMachine.lost.id
    REFUSED = TurnMachine.refused.id
    STOPPED = TurnMachine.stopped.id
    CANCEL = TurnMachine.cancel.id


ANSWERED: Final = frozenset({CALLING, OVER})
"""States whose client has its whole answer, or is about to be told the last of it."""

ENDED: Final = TABLE.final | {OWING}
"""States in which nothing that Codex still says about the turn counts."""

DEADLINES: Final = {WHOLE: Event.OVERDUE, LACKING: Event.OVERDUE}
"""States that must not last, and the event that ends them. Codex is known to say nothing more of
a turn whose provider never sent `response.completed`."""
