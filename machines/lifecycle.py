"""The life of the server: when it takes requests, and how it ends.

Theory of operation. `LifecycleMachine` declares the states, `TABLE` is what runs, and
`Lifecycle.step(event)` answers with actions for whoever owns the sockets.

    starting      sockets, log and workers are being opened
    ready         requests are taken
    leaving       told to stop, and not ready any more: requests are taken for a while yet
    draining      told to stop: no new connections or requests, streams that run go on
    stopped       nothing is left but to exit

Whether a worker can take a turn is the supervisor's to say; readiness needs both. `leaving` is for
load balancers: one that asks for readiness every few seconds sends requests until it has asked
again, and a listener that was closed meanwhile would refuse them. Without a delay it is left out.
A drain ends with its last stream or at its deadline, whichever comes first. A second request to
stop ends the delay, and one within the drain ends that at once: whoever asks twice does not want
to wait.

Maintenance is no state of a life: a server in maintenance starts, is ready and drains like any
other. `server.maintenance` has it.
"""

from typing import Final

import msgspec
from statemachine import State, StateMachine

from machines import compiler


class LifecycleMachine(StateMachine):
    """States of the server, and what leads from one to another."""

    starting = State(initial=True)
    ready = State()
    leaving = State()
    draining = State()
    stopped = State(final=True)

    started = starting.to(ready)
    stop_announced = ready.to(leaving)
    delay_over = leaving.to(draining)
    stop_asked = stopped.from_(starting, draining) | draining.from_(ready, leaving)
    streams_drained = draining.to(stopped)
    drain_timed_out = draining.to(stopped)


TABLE: Final = compiler.compile_table(LifecycleMachine)
"""The compiled machine; `docs/machines.md` is drawn from it."""

STARTING: Final = LifecycleMachine.starting.id
READY: Final = LifecycleMachine.ready.id
LEAVING: Final = LifecycleMachine.leaving.id
DRAINING: Final = LifecycleMachine.draining.id
STOPPED: Final = LifecycleMachine.stopped.id


class Event(msgspec.Struct, frozen=True, tag_field="event"):
    """Anything that can happen to the server as a whole."""


class Started(Event, frozen=True, tag="started"):
    """Everything that a request needs is open."""


class StopAsked(Event, frozen=True, tag="stop_asked"):
    """SIGTERM, SIGINT, or a failure to start."""


class DelayOver(Event, frozen=True, tag="delay_over"):
    """The time of `AwaitDelay` has passed."""


class StreamsDrained(Event, frozen=True, tag="streams_drained"):
    """The last stream is over."""


class DrainTimedOut(Event, frozen=True, tag="drain_timed_out"):
    """The deadline of `BeginDrain` passed with streams still open."""


AnyEvent = Started | StopAsked | DelayOver | StreamsDrained | DrainTimedOut
"""Every event of the server's life."""


class Action(msgspec.Struct, frozen=True, tag_field="action"):
    """Anything the server's life asks for."""


class AnnounceReady(Action, frozen=True, tag="announce_ready"):
    """Readiness is true, as far as it is the server's."""


class AnnounceNotReady(Action, frozen=True, tag="announce_not_ready"):
    """Readiness is false from now on."""


class AwaitDelay(Action, frozen=True, tag="await_delay"):
    """Take connections and requests as before; then step with `DelayOver`.

    It is not wanted once the state has been left.
    """

    delay_ms: int


class BeginDrain(Action, frozen=True, tag="begin_drain"):
    """Take no connections, close idle ones; then step with `StreamsDrained` or `DrainTimedOut`.

    Neither of them is wanted once the state has been left.
    """

    timeout_ms: int


class EndStreams(Action, frozen=True, tag="end_streams"):
    """Tell every open stream that the server is stopping."""


class Shutdown(Action, frozen=True, tag="shutdown"):
    """Stop the workers, close the log and the sockets, exit. No event may follow."""


AnyAction = AnnounceReady | AnnounceNotReady | AwaitDelay | BeginDrain | EndStreams | Shutdown
"""Every action of the server's life."""


class Lifecycle:
    """The life of one server.

    Args:
        drain_timeout_ms: how long streams may go on once the server was told to stop.
        drain_delay_ms: how long it still takes requests before that; 0: not at all.
    """

    def __init__(self, drain_timeout_ms: int, drain_delay_ms: int = 0) -> None:
        self.state = TABLE.initial
        self._drain_timeout_ms = drain_timeout_ms
        self._drain_delay_ms = drain_delay_ms

    def step(self, event: AnyEvent) -> tuple[AnyAction, ...]:
        """Take one event and return the actions to carry out, in this order.

        Raises:
            IllegalEvent: the event does not belong in this state, which is kept.
        """
        before = self.state
        self.state = TABLE.next(before, self._trigger(event))
        if self.state == READY:
            return (AnnounceReady(),)
        if self.state == LEAVING:
            return (AnnounceNotReady(), AwaitDelay(self._drain_delay_ms))
        if self.state == DRAINING:
            return (AnnounceNotReady(), BeginDrain(self._drain_timeout_ms))
        if before == DRAINING and not isinstance(event, StreamsDrained):
            return (EndStreams(), Shutdown())
        return (Shutdown(),)

    def _trigger(self, event: AnyEvent) -> str:
        """The event's name in the table; the stop of a ready server that has a delay has a name
        of its own."""
        if isinstance(event, StopAsked) and self.state == READY and self._drain_delay_ms:
            return "stop_announced"
        return str(event.__struct_config__.tag)
