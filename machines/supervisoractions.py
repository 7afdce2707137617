"""The actions that a supervisor asks for; `machines.supervisor` says when."""

from typing import Literal

import msgspec


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


class AwaitOutput(Action, frozen=True, tag="await_output"):
    """Step with `SilenceMeasured` after this long."""

    after_ms: int


class Probe(Action, frozen=True, tag="probe"):
    """Make the process a request such as it left unanswered, in place of the next ping; step with
    `PingAnswered` when it has answered."""


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
    """Cancel the deadline that `BeginHandshake`, `AwaitHealth`, `AwaitOutput`, `AwaitExit` or
    `ScheduleRestart` began, if there is one."""


AnyAction = (
    Spawn
    | BeginHandshake
    | AnnounceReady
    | AwaitHealth
    | AwaitOutput
    | Probe
    | AnnounceLost
    | Kill
    | AwaitExit
    | ScheduleRestart
    | CancelDeadline
)
"""Every action of a supervisor."""
