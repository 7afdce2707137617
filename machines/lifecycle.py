"""The life of the server: when it takes requests, and how it ends.

Theory of operation. `LifecycleMachine` declares the states, `TABLE` is what runs, and
`Lifecycle.step(event)` answers with actions for whoever owns the sockets.

    starting      sockets, log and workers are being opened
    ready         requests are taken
    maintenance   requests are refused for a while; streams that run go on
    draining      told to stop: no new connections or requests, streams that run go on
    stopped       nothing is left but to exit

Whether a worker can take a turn is the supervisor's to say; readiness needs both. A drain ends
with its last stream or at its deadline, whichever comes first, and a second request to stop ends
it at once: whoever asks twice does not want to wait.
"""

from typing import Final

import msgspec
from statemachine import State, StateMachine

from machines import table


class LifecycleMachine(StateMachine):
    """States of the server, and what leads from one to another."""

    starting = State(initial=True)
    ready = State()
    maintenance = State()
    draining = State()
    stopped = State(final=True)

    started = starting.to(ready)
    maintenance_on = maintenance.from_(ready, maintenance) | draining.to.itself()
    maintenance_off = ready.from_(ready, maintenance) | draining.to.itself()
    stop_asked = stopped.from_(starting, draining) | draining.from_(ready, maintenance)
    streams_drained = draining.to(stopped)
    drain_timed_out = draining.to(stopped)


TABLE: Final = table.compile_table(LifecycleMachine)
"""The compiled machine; `docs/machines.md` is drawn from it."""

STARTING: Final = LifecycleMachine.starting.id
READY: Final = LifecycleMachine.ready.id
MAINTENANCE: Final = LifecycleMachine.maintenance.id
DRAINING: Final = LifecycleMachine.draining.id
STOPPED: Final = LifecycleMachine.stopped.id


class Event(msgspec.Struct, frozen=True, tag_field="event"):
    """Anything that can happen to the server as a whole."""


class Started(Event, frozen=True, tag="started"):
    """Everything that a request needs is open."""


class MaintenanceOn(Event, frozen=True, tag="maintenance_on"):
    """The operator wants no new requests."""


class MaintenanceOff(Event, frozen=True, tag="maintenance_off"):
    """The operator wants requests again."""


class StopAsked(Event, frozen=True, tag="stop_asked"):
    """SIGTERM, SIGINT, or a failure to start."""


class StreamsDrained(Event, frozen=True, tag="streams_drained"):
    """The last stream is over."""


class DrainTimedOut(Event, frozen=True, tag="drain_timed_out"):
    """The deadline of `BeginDrain` passed with streams still open."""


AnyEvent = Started | MaintenanceOn | MaintenanceOff | StopAsked | StreamsDrained | DrainTimedOut
"""Every event of the server's life."""


class Action(msgspec.Struct, frozen=True, tag_field="action"):
    """Anything the server's life asks for."""


class AnnounceReady(Action, frozen=True, tag="announce_ready"):
    """Readiness is true, as far as it is the server's."""


class AnnounceNotReady(Action, frozen=True, tag="announce_not_ready"):
    """Readiness is false from now on."""


class BeginDrain(Action, frozen=True, tag="begin_drain"):
    """Take no connections, close idle ones; then step with `StreamsDrained` or `DrainTimedOut`.

    Neither of them is wanted once the state has been left.
    """

    timeout_ms: int


class EndStreams(Action, frozen=True, tag="end_streams"):
    """Tell every open stream that the server is stopping."""


class Shutdown(Action, frozen=True, tag="shutdown"):
    """Stop the workers, close the log and the sockets, exit. No event may follow."""


AnyAction = AnnounceReady | AnnounceNotReady | BeginDrain | EndStreams | Shutdown
"""Every action of the server's life."""


class Lifecycle:
    """The life of one server.

    Args:
        drain_timeout_ms: how long streams may go on once the server was told to stop.
    """

    def __init__(self, drain_timeout_ms: int) -> None:
        self.state = TABLE.initial
        self._drain_timeout_ms = drain_timeout_ms

    def step(self, event: AnyEvent) -> tuple[AnyAction, ...]:
        """Take one event and return the actions to carry out, in this order.

        Raises:
            IllegalEvent: the event does not belong in this state, which is kept.
        """
        before = self.state
        self.state = TABLE.next(before, str(event.__struct_config__.tag))
        if self.state == before:
            return ()
        if self.state == READY:
            return (AnnounceReady(),)
        if self.state == MAINTENANCE:
            return (AnnounceNotReady(),)
        if self.state == DRAINING:
            return (AnnounceNotReady(), BeginDrain(self._drain_timeout_ms))
        if before == DRAINING and not isinstance(event, StreamsDrained):
            return (EndStreams(), Shutdown())
        return (Shutdown(),)
