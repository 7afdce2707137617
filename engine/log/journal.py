"""Keeps the lives of worker processes in the event log, each from its spawn to its end."""

import secrets

import msgspec

from engine.log import backlog, event_log as eventlog
from machines import events, outputs, supervisor


class _Life(msgspec.Struct):
    """The log of one process, and the state that it is in."""

    log: eventlog.StreamLog
    state: str


class WorkerJournal:
    """Records every transition of every supervised process, and what comes late on its threads."""

    def __init__(self, event_log: eventlog.EventLog) -> None:
        self._log = event_log
        self._lives: dict[str, _Life] = {}

    def changed(self, worker: str, state: str, event: supervisor.AnyEvent) -> None:
        """Take one transition: it is on file before anything is done about it."""
        life = self._lives.get(worker)
        if life is None:
            if state in supervisor.GONE:
                return
            life = _Life(self._log.stream(f"{backlog.WORKER_LIFE}{secrets.token_hex(12)}"), state)
            self._lives[worker] = life
        life.state = state
        detail = msgspec.to_builtins(event)
        trigger = str(detail.pop("event"))
        changed = events.WorkerChanged(worker, trigger, detail)
        life.log.append(changed, outputs.Step(state, ()))
        if state in supervisor.GONE:
            kind: events.TerminalKind = (
                "shutdown" if state == supervisor.STOPPED else "worker_lost"
            )
            terminal = events.Terminal(kind=kind, emission_trigger=trigger, status=0)
            self._lives.pop(worker).log.close(terminal, state)
        self._log.flush()

    def id_of(self, worker: str) -> str:
        """Return the id of the life that a process is in; empty where it is in none."""
        life = self._lives.get(worker)
        return life.log.id if life is not None else ""

    def late(self, worker: str, event: events.LateChange) -> None:
        """Take a change that came after the end of its stream; without a life the end of the
        process says what became of all its threads."""
        life = self._lives.get(worker)
        if life is not None:
            life.log.append(event, outputs.Step(life.state, ()))
            self._log.flush()
