"""Holds the changes of a Codex turn and its thread, as a log has them, against their machines.

They cannot be computed again, since what the app-server said is not in the log. Each must be one
that the machine declares, and begin where the one before it ended.
"""

from machines import events
from machines.turn import machine, thread as threads, turn as turns


class Changes:
    """The changes of one stream, each behind the one before it."""

    def __init__(self) -> None:
        self._turns: dict[int, str] = {}
        self._threads: dict[str, str] = {}

    def wrong(self, event: events.LateChange) -> str:
        """Take the next change and return what is wrong with it; empty where nothing is."""
        if isinstance(event, events.TurnChanged):
            known = self._turns.get(event.choice, turns.SILENT)
            if known in turns.TABLE.final:
                known = turns.SILENT  # another attempt has begun
            self._turns[event.choice] = event.after
        else:
            known = self._threads.get(event.thread_id, event.before)
            if event.before in (threads.STARTING, threads.ORPHANED):
                known = event.before  # another process may give the same id again
            if event.thread_id:  # until it has one, several attempts cannot be told apart
                self._threads[event.thread_id] = event.after
        return illegal(event) or ("" if event.before == known else f"it was {known}")


def illegal(event: events.LateChange) -> str:
    """Return what is wrong with a change by itself; empty where its machine has it."""
    of = _machine(event)
    change = machine.Change(of, event.trigger, event.before, event.after)
    return "" if machine.legal(change) else "no such change"


def describe(event: events.LateChange) -> str:
    """Spell a change for people."""
    return f"{_machine(event)}: {event.before} -{event.trigger}-> {event.after}"


def _machine(event: events.LateChange) -> machine.Machine:
    return "turn" if isinstance(event, events.TurnChanged) else "thread"
