"""Holds the changes of a Codex turn and its thread, as a log has them, against their machines.

They cannot be computed again, since what the app-server said is not in the log. Each must be one
that the machine declares, and begin where the one before it ended.
"""

from machines import events
from machines.turn import machine, thread as threads, turn as turns


class Changes:
    """The changes of one stream, or of one process's life."""

    def __init__(self) -> None:
        self._turns: dict[int, str] = {}
        self._threads: dict[str, str] = {}

    def wrong(self, event: events.LateChange) -> str:
        """Take the next change and return what is wrong with it; empty where nothing is."""
        if isinstance(event, events.TurnChanged):
            change = machine.Change("turn", event.trigger, event.before, event.after)
            known = self._turns.get(event.choice, turns.SILENT)
            if known in turns.TABLE.final:
                known = turns.SILENT  # another attempt has begun
            self._turns[event.choice] = event.after
        else:
            change = machine.Change("thread", event.trigger, event.before, event.after)
            known = self._threads.get(event.thread_id, event.before)
            if event.before in (threads.STARTING, threads.ORPHANED):
                known = event.before  # another process may give the same id again
            if event.thread_id:  # until it has one, several attempts cannot be told apart
                self._threads[event.thread_id] = event.after
        if not machine.legal(change):
            return "no such change"
        # In the life of a process stands only what came after the end of a stream.
        return "" if event.before == known or event.late_of else f"it was {known}"


def describe(event: events.LateChange) -> str:
    """Spell a change for people."""
    of = "turn" if isinstance(event, events.TurnChanged) else "thread"
    return f"{of}: {event.before} -{event.trigger}-> {event.after}"
