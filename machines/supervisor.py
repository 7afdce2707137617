"""The life of one worker process: what to do about each thing that happens to it.

Theory of operation. `SupervisorMachine` declares the states, `TABLE` is what runs, and
`Supervisor.step(event)` answers with actions
(`machines.supervisoractions`); it has no clock, no process and no socket. Whoever
carries the actions out (`engine.codex.child.process`) steps it again with what came of them.

    stopped       nobody wants the process
    spawning      asked the operating system for it
    handshake     it runs, and has not said yet who it is
    ready         it takes turns
    unresponsive  a ping was not answered in time: it takes no turns, those that it has go on
    suspect       it left a request unanswered, and has not yet answered another of the kind: as
                  unresponsive, and replaced when no turn runs on it
    retiring      it answered the other one, or there is news that it cannot take: it takes turns,
                  and is replaced when none runs on it
    stopping      asked to end; its exit, or the answer to the spawn, is awaited
    killing       killed for being deaf or unusable; its exit is awaited
    backoff       gone; another attempt follows soon
    failed        gone; another attempt follows at the longest delay: the process dies again and
                  again, or cannot be started at all

A process that seems not to answer may only be slow, on a busy machine, and a kill ends every turn
that it has. So it is first given no new turns. It is killed when no turn runs on it, or for
silence: when it has said nothing at all for as long as `hang_ms`.

There is at most one process: a new one is spawned only after the exit of the last. There is at
most one deadline: the action that begins it names its length, and `CancelDeadline` ends it where
its state is left early. And there is no way to give up: a crash loop is slowed down to the longest
delay and goes on, because a full disk or a missing binary may be mended while the server runs.

The delay before an attempt doubles from the shortest to the longest and begins anew once the
process has been well for a while. What an immediate attempt could not cure (the binary is missing,
or too old) goes to the longest delay at once. There is no jitter: it keeps many clients of one
server apart, and here each process is its own.
"""

from typing import Final

import msgspec
from statemachine import State, StateMachine

from machines import compiler, supervisoractions as actions


class SupervisorMachine(StateMachine):
    """States of a worker process, and what leads from one to another."""

    stopped = State(initial=True)
    spawning = State()
    handshake = State()
    ready = State()
    unresponsive = State()
    suspect = State()
    retiring = State()
    stopping = State()
    killing = State()
    backoff = State()
    failed = State()

    start_asked = stopped.to(spawning)
    spawned = spawning.to(handshake) | stopping.to.itself()
    spawn_failed = spawning.to(failed) | stopping.to(stopped)
    handshake_done = handshake.to(ready)
    handshake_failed = handshake.to(killing)
    handshake_timed_out = handshake.to(killing)
    health_proven = ready.to.itself()
    ping_missed = ready.to(unresponsive) | retiring.to(suspect)
    ping_answered = unresponsive.to(ready) | suspect.to(retiring)
    outdated = ready.to(retiring)
    suspected = suspect.from_(ready, unresponsive, suspect, retiring)
    emptied = killing.from_(suspect, retiring)
    heard = unresponsive.to.itself() | suspect.to.itself()
    fell_silent = killing.from_(unresponsive, suspect)
    went_deaf = (
        killing.from_(ready, unresponsive, suspect, retiring, killing) | stopping.to.itself()
    )
    exited = backoff.from_(
        handshake, ready, unresponsive, suspect, retiring, killing
    ) | stopping.to(stopped)
    exited_again = failed.from_(handshake, ready, unresponsive, suspect, retiring, killing)
    backoff_elapsed = spawning.from_(backoff, failed)
    stop_asked = stopped.from_(stopped, backoff, failed) | stopping.from_(
        spawning, handshake, ready, unresponsive, suspect, retiring, killing, stopping
    )
    stop_timed_out = stopping.to.itself()


TABLE: Final = compiler.compile_table(SupervisorMachine)
"""The compiled machine; `docs/machines.md` is drawn from it."""

STOPPED: Final = SupervisorMachine.stopped.id
SPAWNING: Final = SupervisorMachine.spawning.id
HANDSHAKE: Final = SupervisorMachine.handshake.id
READY: Final = SupervisorMachine.ready.id
UNRESPONSIVE: Final = SupervisorMachine.unresponsive.id
SUSPECT: Final = SupervisorMachine.suspect.id
RETIRING: Final = SupervisorMachine.retiring.id
STOPPING: Final = SupervisorMachine.stopping.id
KILLING: Final = SupervisorMachine.killing.id
BACKOFF: Final = SupervisorMachine.backoff.id
FAILED: Final = SupervisorMachine.failed.id


class Limits(msgspec.Struct, frozen=True):
    """The lengths of a process's life, in milliseconds; defaults as `docs/configuration.md`."""

    handshake_ms: int = 15_000
    stop_grace_ms: int = 5_000
    backoff_initial_ms: int = 500
    backoff_max_ms: int = 5_000
    healthy_after_ms: int = 30_000
    hang_ms: int = 15_000


class Event(msgspec.Struct, frozen=True, tag_field="event"):
    """Anything that can happen to a worker process."""


class StartAsked(Event, frozen=True, tag="start_asked"):
    """The process is wanted."""


class Spawned(Event, frozen=True, tag="spawned"):
    """The process runs."""

    pid: int


class SpawnFailed(Event, frozen=True, tag="spawn_failed"):
    """The process could not be started; `message` says why."""

    message: str


class HandshakeDone(Event, frozen=True, tag="handshake_done"):
    """The process answered and can be worked with; `version` is what it called itself."""

    version: str


class HandshakeFailed(Event, frozen=True, tag="handshake_failed"):
    """The process answered and cannot be worked with: too old, or it refused."""

    message: str


class HandshakeTimedOut(Event, frozen=True, tag="handshake_timed_out"):
    """The deadline of `BeginHandshake` passed without an answer."""


class HealthProven(Event, frozen=True, tag="health_proven"):
    """The deadline of `AwaitHealth` passed with the process still ready."""


class PingMissed(Event, frozen=True, tag="ping_missed"):
    """The process did not answer a ping within `after_ms`."""

    after_ms: int


class PingAnswered(Event, frozen=True, tag="ping_answered"):
    """The process has answered the ping that it missed, or what `Probe` asked it."""


class Suspected(Event, frozen=True, tag="suspected"):
    """The process left a request unanswered; `message` says which."""

    message: str


class Outdated(Event, frozen=True, tag="outdated"):
    """Something has changed that the process learns when it starts; `message` says what."""

    message: str


class Emptied(Event, frozen=True, tag="emptied"):
    """No turn runs on the process any more."""


class SilenceMeasured(Event, frozen=True, tag="heard"):
    """The deadline of `AwaitOutput` passed. `silent_ms` is how long the process has said nothing:
    from `hang_ms` on, the event is `fell_silent`."""

    silent_ms: int


class WentDeaf(Event, frozen=True, tag="went_deaf"):
    """The output of the process cannot be read on."""

    message: str


class Exited(Event, frozen=True, tag="exited"):
    """The process is gone; `returncode` as `subprocess` has it: below zero, a signal's number."""

    returncode: int


class BackoffElapsed(Event, frozen=True, tag="backoff_elapsed"):
    """The deadline of `ScheduleRestart` passed."""


class StopAsked(Event, frozen=True, tag="stop_asked"):
    """The process is not wanted any more. Its turns should be over: SIGTERM ends them too."""


class StopTimedOut(Event, frozen=True, tag="stop_timed_out"):
    """The deadline of `AwaitExit` passed with the process still there."""


AnyEvent = (
    StartAsked
    | Spawned
    | SpawnFailed
    | HandshakeDone
    | HandshakeFailed
    | HandshakeTimedOut
    | HealthProven
    | PingMissed
    | PingAnswered
    | Suspected
    | Outdated
    | Emptied
    | SilenceMeasured
    | WentDeaf
    | Exited
    | BackoffElapsed
    | StopAsked
    | StopTimedOut
)
"""Every event of a supervisor."""


DEADLINES: Final = {
    HANDSHAKE: "handshake_timed_out",
    READY: "health_proven",
    UNRESPONSIVE: "heard",
    SUSPECT: "heard",
    STOPPING: "stop_timed_out",
    BACKOFF: "backoff_elapsed",
    FAILED: "backoff_elapsed",
}
"""The states with a deadline, and the event that its passing is."""

GONE: Final = frozenset({STOPPED, BACKOFF, FAILED})
"""The states without a process."""

TAKING: Final = frozenset({READY, RETIRING})
"""The states in which turns may begin."""

WORKING: Final = TAKING | {UNRESPONSIVE, SUSPECT}
"""The states in which turns may run."""

ATTEMPT: Final = frozenset({SPAWNING, HANDSHAKE}) | WORKING
"""The states of an attempt that may yet succeed, or has."""


class Supervisor:
    """One worker process, wanted or not.

    Args:
        limits: how long each thing may take.
    """

    def __init__(self, limits: Limits) -> None:
        self.state = TABLE.initial
        self._limits = limits
        self._delay_ms = self._shortest
        self._suspicion = ""

    def step(self, event: AnyEvent) -> tuple[actions.AnyAction, ...]:
        """Take one event and return the actions to carry out, in this order.

        Raises:
            IllegalEvent: the event does not belong in this state, which is kept.
        """
        before, trigger = self.state, self._trigger(event)
        self.state = TABLE.next(before, trigger)
        self._weigh(event)
        asked: list[actions.AnyAction] = []
        if self.state != before and DEADLINES.get(before, trigger) != trigger:
            asked.append(actions.CancelDeadline())
        if before in ATTEMPT and self.state not in ATTEMPT:
            reason = self._suspicion if isinstance(event, Emptied) else _reason(event)
            asked.append(actions.AnnounceLost(reason))
        match event:
            case SilenceMeasured(silent_ms) if self.state == before:
                asked.append(actions.AwaitOutput(self._limits.hang_ms - silent_ms))
            case _ if self.state == STOPPING:
                asked += self._stop(before, event)
            case _:
                asked += self._pursue(before, event)
        return tuple(asked)

    @property
    def _shortest(self) -> int:
        return min(self._limits.backoff_initial_ms, self._limits.backoff_max_ms)

    def _trigger(self, event: AnyEvent) -> str:
        """The event's name in the table; an exit after many others has a name of its own, and a
        silence that is too long."""
        match event:
            case Exited() if self.state != STOPPING and self._is_slowest:
                return "exited_again"
            case SilenceMeasured(silent_ms) if silent_ms >= self._limits.hang_ms:
                return "fell_silent"
        return str(event.__struct_config__.tag)

    @property
    def _is_slowest(self) -> bool:
        return self._delay_ms == self._limits.backoff_max_ms

    def _weigh(self, event: AnyEvent) -> None:
        """Set the delay before the next attempt by what the event says about its chances."""
        match event:
            case StartAsked() | HealthProven() | Emptied():  # who is replaced did not die
                self._delay_ms = self._shortest
            case SpawnFailed() | HandshakeFailed():
                self._delay_ms = self._limits.backoff_max_ms
            case Suspected(message) | Outdated(message):
                self._suspicion = f"retired: {message}"

    def _pursue(self, before: str, event: AnyEvent) -> list[actions.AnyAction]:
        """Return the actions that entering the new state asks for."""
        if self.state == before:
            return []
        match self.state:
            case SupervisorMachine.spawning.id:
                return [actions.Spawn()]
            case SupervisorMachine.handshake.id:
                return [actions.BeginHandshake(self._limits.handshake_ms)]
            case SupervisorMachine.ready.id:
                return [
                    actions.AnnounceReady(),
                    actions.AwaitHealth(self._limits.healthy_after_ms),
                ]
            case SupervisorMachine.retiring.id:
                return [actions.AnnounceReady()]
            case SupervisorMachine.killing.id:
                return [actions.Kill("SIGKILL")]
        return self._doubt(event) if self.state in WORKING else self._restart()

    def _doubt(self, event: AnyEvent) -> list[actions.AnyAction]:
        """Wait for a sign of life; where another request was left unanswered, ask for one."""
        if isinstance(event, PingMissed):
            return [actions.AwaitOutput(max(self._limits.hang_ms - event.after_ms, 0))]
        return [actions.AwaitOutput(self._limits.hang_ms), actions.Probe()]

    def _restart(self) -> list[actions.AnyAction]:
        """Schedule the next attempt, where there is to be one."""
        if self.state == STOPPED:
            return []
        delay_ms = self._delay_ms
        self._delay_ms = min(2 * delay_ms, self._limits.backoff_max_ms)
        return [actions.ScheduleRestart(delay_ms)]

    def _stop(self, before: str, event: AnyEvent) -> list[actions.AnyAction]:
        """End an unwanted process: SIGTERM, a period of grace, then SIGKILL."""
        if isinstance(event, StopTimedOut):
            return [actions.Kill("SIGKILL")]
        if isinstance(event, Spawned) or before in {HANDSHAKE} | WORKING:
            return [actions.Kill("SIGTERM"), actions.AwaitExit(self._limits.stop_grace_ms)]
        return []


def _reason(event: AnyEvent) -> str:
    """Why an attempt is over, for people."""
    match event:
        case SpawnFailed(message):
            return f"could not be started: {message}"
        case HandshakeFailed(message):
            return f"handshake failed: {message}"
        case HandshakeTimedOut():
            return "handshake timed out"
        case SilenceMeasured(silent_ms):
            return f"went deaf: no output for {silent_ms / 1000:.1f} s"
        case WentDeaf(message):
            return f"went deaf: {message}"
        case Exited(returncode) if returncode < 0:
            return f"killed by signal {-returncode}"
        case Exited(returncode):
            return f"exited with code {returncode}"
    return "asked to stop"
