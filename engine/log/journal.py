"""Keeps the lives of worker processes in the event log, each from its spawn to its end."""

import secrets

import msgspec

from engine.log import event_log as eventlog
from machines import events, outputs, supervisor


class WorkerJournal:
    """Records every transition of every supervised process, and what comes late on its threads."""

    def __init__(self, event_log: eventlog.EventLog) -> None:
        self._log = event_log
        self._lives: dict[str, eventlog.StreamLog] = {}
        self._states: dict[str, str] = {}

    def changed(self, worker: str, state: str, event: supervisor.AnyEvent) -> None:
        """Take one transition: it is on file before anything is done about it."""
        life = self._lives.get(worker)
        if life is None:
            if state in supervisor.GONE:
                return
            life = self._lives[worker] = self._log.stream(f"wk_{secrets.token_hex(12)}")
        self._states[worker] = state
        detail = msgspec.to_builtins(event)
        trigger = str(detail.pop("event"))
        life.append(events.WorkerChanged(worker, trigger, detail), outputs.Step(state, ()))
        if state in supervisor.GONE:
            kind: events.TerminalKind = (
                "shutdown" if state == supervisor.STOPPED else "worker_lost"
            )
            terminal = events.Terminal(kind=kind, emission_trigger=trigger, status=0)
            self._lives.pop(worker).close(terminal, state)
        self._log.flush()

    def late(self, worker: str, event: events.LateChange) -> None:
        """Take a change that came after the end of its stream; without a life the end of the
        process says what became of all its threads."""
        life = self._lives.get(worker)
        if life is not None:
            life.append(event, outputs.Step(self._states[worker], ()))
            self._log.flush()
