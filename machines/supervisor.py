"""The life of one worker process: what to do about each thing that happens to it.

Theory of operation. `SupervisorMachine` declares the states, `TABLE` is what runs, and
`Supervisor.step(event)` answers with actions; it has no clock, no process and no socket. Whoever
carries the actions out (`engine.codex.child.process`) steps it again with what came of them.

    stopped     nobody wants the process
    spawning    asked the operating system for it
    handshake   it runs, and has not said yet who it is
    ready       it takes turns
    stopping    asked to end; its exit, or the answer to the spawn, is awaited
    killing     killed for being deaf or unusable; its exit is awaited
    backoff     gone; another attempt follows soon
    failed      gone; another attempt follows at the longest delay: the process dies again and
                again, or cannot be started at all

There is at most one process: a new one is spawned only after the exit of the last. There is at
most one deadline: the action that begins it names its length, and `CancelDeadline` ends it where
its state is left early. And there is no way to give up: a crash loop is slowed down to the longest
delay and goes on, because a full disk or a missing binary may be mended while the server runs.

The delay before an attempt doubles from the shortest to the longest and begins anew once the
process has been well for a while. What an immediate attempt could not cure (the binary is missing,
or too old) goes to the longest delay at once. There is no jitter: it keeps many clients of one
server apart, and here each process is its own.
"""

from typing import Final, Literal

import msgspec
from statemachine import State, StateMachine

from machines import table


class SupervisorMachine(StateMachine):
    """States of a worker process, and what leads from one to another."""

    stopped = State(initial=True)
    spawning = State()
    handshake = State()
    ready = State()
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
    went_deaf = killing.from_(ready, killing) | stopping.to.itself()
    exited = backoff.from_(handshake, ready, killing) | stopping.to(stopped)
    exited_again = failed.from_(handshake, ready, killing)
    backoff_elapsed = spawning.from_(backoff, failed)
    stop_asked = stopped.from_(stopped, backoff, failed) | stopping.from_(
        spawning, handshake, ready, killing, stopping
    )
    stop_timed_out = stopping.to.itself()


TABLE: Final = table.compile_table(SupervisorMachine)
"""The compiled machine; `docs/machines.md` is drawn from it."""

STOPPED: Final = SupervisorMachine.stopped.id
SPAWNING: Final = SupervisorMachine.spawning.id
HANDSHAKE: Final = SupervisorMachine.handshake.id
READY: Final = SupervisorMachine.ready.id
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


class WentDeaf(Event, frozen=True, tag="went_deaf"):
    """The process runs but answers no more."""

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
    | WentDeaf
    | Exited
    | BackoffElapsed
    | StopAsked
    | StopTimedOut
)
"""Every event of a supervisor."""


class Action(msgspec.Struct, frozen=True, tag_field="action"):
    """Anything a supervisor asks for."""


class Spawn(Action, frozen=True, tag="spawn"):
    """Start the process; then step with `Spawned` or `SpawnFailed`."""


class BeginHandshake(Action, frozen=True, tag="begin_handshake"):
    """Ask the process who it is; then step with `HandshakeDone`, `…Failed` or `…TimedOut`."""

    timeout_ms: int


class AnnounceReady(Action, frozen=True, tag="announce_ready"):
    """Turns may go to the process."""


class AwaitHealth(Action, frozen=True, tag="await_health"):
    """Step with `HealthProven` after this long."""

    after_ms: int


class AnnounceLost(Action, frozen=True, tag="announce_lost"):
    """No turn may go to the process, and its turns are over; `reason` is for people."""

    reason: str


class Kill(Action, frozen=True, tag="kill"):
    """Send the process a signal."""

    signal: Literal["SIGTERM", "SIGKILL"]


class AwaitExit(Action, frozen=True, tag="await_exit"):
    """Step with `StopTimedOut` after this long."""

    grace_ms: int


class ScheduleRestart(Action, frozen=True, tag="schedule_restart"):
    """Step with `BackoffElapsed` after this long."""

    delay_ms: int


class CancelDeadline(Action, frozen=True, tag="cancel_deadline"):
    """Cancel the deadline that `BeginHandshake`, `AwaitHealth`, `AwaitExit` or `ScheduleRestart`
    began, if there is one."""


AnyAction = (
    Spawn
    | BeginHandshake
    | AnnounceReady
    | AwaitHealth
    | AnnounceLost
    | Kill
    | AwaitExit
    | ScheduleRestart
    | CancelDeadline
)
"""Every action of a supervisor."""

DEADLINES: Final = {
    HANDSHAKE: "handshake_timed_out",
    READY: "health_proven",
    STOPPING: "stop_timed_out",
    BACKOFF: "backoff_elapsed",
    FAILED: "backoff_elapsed",
}
"""The states with a deadline, and the event that its passing is."""

GONE: Final = frozenset({STOPPED, BACKOFF, FAILED})
"""The states without a process."""

ATTEMPT: Final = frozenset({SPAWNING, HANDSHAKE, READY})
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

    def step(self, event: AnyEvent) -> tuple[AnyAction, ...]:
        """Take one event and return the actions to carry out, in this order.

        Raises:
            IllegalEvent: the event does not belong in this state, which is kept.
        """
        before, trigger = self.state, self._trigger(event)
        self.state = TABLE.next(before, trigger)
        self._weigh(event)
        actions: list[AnyAction] = []
        if self.state != before and DEADLINES.get(before, trigger) != trigger:
            actions.append(CancelDeadline())
        if before in ATTEMPT and self.state not in ATTEMPT:
            actions.append(AnnounceLost(_reason(event)))
        actions += self._stop(before, event) if self.state == STOPPING else self._pursue(before)
        return tuple(actions)

    @property
    def _shortest(self) -> int:
        return min(self._limits.backoff_initial_ms, self._limits.backoff_max_ms)

    def _trigger(self, event: AnyEvent) -> str:
        """The event's name in the table, where an exit after many others has its own."""
        if isinstance(event, Exited) and self.state != STOPPING:
            return "exited_again" if self._delay_ms == self._limits.backoff_max_ms else "exited"
        return str(event.__struct_config__.tag)

    def _weigh(self, event: AnyEvent) -> None:
        """Set the delay before the next attempt by what the event says about its chances."""
        match event:
            case StartAsked() | HealthProven():
                self._delay_ms = self._shortest
            case SpawnFailed() | HandshakeFailed():
                self._delay_ms = self._limits.backoff_max_ms

    def _pursue(self, before: str) -> list[AnyAction]:
        """Return the actions that entering the new state asks for."""
        if self.state == before:
            return []
        if self.state == SPAWNING:
            return [Spawn()]
        if self.state == HANDSHAKE:
            return [BeginHandshake(self._limits.handshake_ms)]
        if self.state == READY:
            return [AnnounceReady(), AwaitHealth(self._limits.healthy_after_ms)]
        if self.state == KILLING:
            return [Kill("SIGKILL")]
        if self.state in (BACKOFF, FAILED):
            delay_ms = self._delay_ms
            self._delay_ms = min(2 * delay_ms, self._limits.backoff_max_ms)
            return [ScheduleRestart(delay_ms)]
        return []

    def _stop(self, before: str, event: AnyEvent) -> list[AnyAction]:
        """End an unwanted process: SIGTERM, a period of grace, then SIGKILL."""
        if isinstance(event, StopTimedOut):
            return [Kill("SIGKILL")]
        if isinstance(event, Spawned) or before in (HANDSHAKE, READY):
            return [Kill("SIGTERM"), AwaitExit(self._limits.stop_grace_ms)]
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
        case WentDeaf(message):
            return f"went deaf: {message}"
        case Exited(returncode) if returncode < 0:
            return f"killed by signal {-returncode}"
        case Exited(returncode):
            return f"exited with code {returncode}"
    return "asked to stop"
