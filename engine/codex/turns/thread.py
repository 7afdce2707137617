"""One thread on a process: does what its machine asks for, so that nothing of it is left behind.

What is asked for on the way out may fail, and the reply to it may never come: whichever it is, the
thread's place goes to the next one.
"""

import asyncio
import functools
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from engine import containment, failures, worker
from engine.codex import loginstate, sharedlogin
from engine.codex.protocol import appserver
from engine.codex.protocol.channel import (
    OVERLOADED,
    Call,
    Channel,
    ChannelClosed,
    RpcError,
    RpcTimedOut,
)
from engine.codex.request import tools
from engine.codex.turns import states, toolanswers, verdicts
from engine.codex.turns.dispatcher import Dispatcher
from engine.containment import Boundary
from machines import events
from machines.turn import machine, thread as threads, turn as turns

UNAUTHORIZED: Final = verdicts.NAMED["unauthorized"].code
"""The code of a failure for which the login is to blame."""

INTERRUPT_GRACE_S: Final = 2.0
"""How long an interrupt may go unanswered before its process is to be replaced."""

INTERRUPT_RETRY_S: Final = 0.1
"""Between two interrupts of a turn, where the process was too busy to take the first."""


class Seat(msgspec.Struct, frozen=True, eq=False):
    """A turn's place on a process.

    Attributes:
        thread: makes the params of a new thread for a model and its functions.
        leave: gives the place to the next turn. Safe to repeat.
        again: takes another place on the same process; None while there is none.
        suspect: told which request the process left unanswered.
        record: keeps a change of state that comes too late for the log of a stream.
        login: that of the process.
        shared: the same, as all processes have it.
        life: id of the process's life in the event log; empty where it has none.
        tested: whether the process is of the version that everything here was measured on.
    """

    channel: Channel
    routes: Dispatcher
    thread: Callable[[worker.Turn, tools.Toolset | None], appserver.ThreadStartParams]
    leave: Callable[[], None]
    again: Callable[[], "Seat | None"]
    suspect: Callable[[str], None]
    record: Callable[[events.LateChange], None]
    login: loginstate.LoginState
    shared: sharedlogin.SharedLogin
    life: str = ""
    tested: bool = False

    async def explained(
        self, failure: failures.ProviderFailure | None
    ) -> failures.ProviderFailure | None:
        """Add to a failure what is known of the account: where to log in, or when its quota is
        whole again."""
        if failure is None or failure.code not in (UNAUTHORIZED, sharedlogin.USAGE_LIMIT):
            return failure
        if failure.code == sharedlogin.USAGE_LIMIT:
            return self.shared.with_reset(failure)
        self.login.refused()
        return await self.shared.with_link(failure, self.channel)


class Thread:
    """One thread of an attempt, from the request for it to its release.

    Args:
        record: takes each change of state.
        passed: takes the event of a deadline that has passed.

    Attributes:
        ids: what its lines in the diagnostics are found by.
        id: Codex's id of it; empty until it has started.
        start: the request that it was asked for with.
        answers: what its calls are answered with.
        states: its own state, and that of the turn that runs on it.
    """

    def __init__(
        self,
        seat: Seat,
        ids: Mapping[str, str],
        record: Callable[[machine.Change], None],
        passed: Callable[[turns.Event | threads.Event], None],
    ) -> None:
        self.seat = seat
        self.id = ""
        self.start: Call | None = None
        self.answers = toolanswers.ToolAnswers(seat.channel.answer)
        loop = asyncio.get_running_loop()
        self.states = states.States(record, self._act, passed, loop)
        self.ids = ids
        self._interrupt_until = 0.0

    def reseat(self) -> bool:
        """Take a place on the process for going on; whether there was one."""
        seat = self.seat.again()
        if seat is not None:
            self.seat = seat
        return seat is not None

    def _act(self, action: threads.Action) -> None:
        """Do what a step asks for; where a release fails, all that may still be done."""
        if action is threads.Action.REFUSE_RESULTS:
            self.answers.refuse_all()  # the turn goes on: what fails here fails it
            return
        match action:
            case threads.Action.AWAIT_START:
                act = self._await_start
            case threads.Action.INTERRUPT:
                act = self._interrupt
            case threads.Action.INTERRUPT_AGAIN:
                act = self._interrupt_again
            case threads.Action.UNSUBSCRIBE:
                act = self._unsubscribe
            case threads.Action.LEAVE:
                act = self._leave
            case threads.Action.REST:
                act = self._rest
            case threads.Action.ABANDON:
                act = self._abandon
        self._or_abandon(act)

    def _or_abandon(self, step: Callable[[], None]) -> None:
        """Do a step of the way out. A thread that cannot be released is left all the same: its
        turn is not to go on for nobody."""
        try:
            step()
        except Exception as error:
            containment.report(Boundary.CALLBACK, error, **self.ids)
            if self.states.thread in threads.TABLE.final:
                self._abandon()
            else:
                self.states.take_thread_event(threads.Event.RELEASE_FAILED)

    def _leave(self) -> None:
        # A process that dies as it has started a thread loses its turns before this one is made.
        self._unroute()
        self.seat.leave()

    def _rest(self) -> None:
        self._leave()
        lost = functools.partial(self.states.take_thread_event, threads.Event.PROCESS_LOST)
        self.seat.routes.idle[self.id] = lost

    def _abandon(self) -> None:
        self._leave()
        if self.id:
            stop = appserver.TurnInterruptParams(self.id, "")
            leave = appserver.ThreadUnsubscribeParams(self.id)
            send = self.seat.channel.send
            lasts = (("turn/interrupt", stop), ("thread/unsubscribe", leave))
            containment.each(Boundary.CALLBACK, lambda last: send(*last).unawaited(), lasts)

    def _unroute(self) -> None:
        """Have no line read for the thread any more."""
        self.seat.routes.turns.pop(self.id, None)
        self.seat.routes.idle.pop(self.id, None)

    def _unsubscribe(self) -> None:
        self._unroute()
        params = appserver.ThreadUnsubscribeParams(self.id)
        self.seat.channel.send("thread/unsubscribe", params).unawaited()

    def _await_start(self) -> None:
        if self.start is None:  # it was given up in the moment before it was asked for
            self.states.take_thread_event(threads.Event.START_REFUSED)
        else:
            self._when_replied(self.start, self._started)

    def _started(self, reply: asyncio.Future[Any]) -> None:
        """Take the reply to a request for a thread that nobody wants any more."""
        error = reply.exception()
        if error is None:
            self.id = reply.result().thread.id
            self.states.take_thread_event(threads.Event.STARTED)
        elif isinstance(error, ChannelClosed):
            self.states.take_thread_event(threads.Event.PROCESS_LOST)
        else:
            self.states.take_thread_event(threads.Event.START_REFUSED)

    def _interrupt(self) -> None:
        """Have Codex stop the turn; its place is free when the process says so."""
        self._interrupt_until = asyncio.get_running_loop().time() + INTERRUPT_GRACE_S
        self._ask_to_stop()

    def _interrupt_again(self) -> None:
        again = functools.partial(self._or_abandon, self._stop_again)
        asyncio.get_running_loop().call_later(INTERRUPT_RETRY_S, again)

    def _stop_again(self) -> None:
        self._ask_to_stop()
        self._unsubscribe()  # whoever was too busy for the one was so for the other

    def _ask_to_stop(self) -> None:
        params = appserver.TurnInterruptParams(self.id, "")
        seconds = self._interrupt_until - asyncio.get_running_loop().time()
        call = self.seat.channel.send("turn/interrupt", params, seconds)
        self._when_replied(call, self._interrupted)

    def _interrupted(self, reply: asyncio.Future[Any]) -> None:
        error = reply.exception()
        again = asyncio.get_running_loop().time() + INTERRUPT_RETRY_S
        if isinstance(error, ChannelClosed):
            self.states.take_thread_event(threads.Event.PROCESS_LOST)
        elif isinstance(error, RpcTimedOut):
            self.seat.suspect("turn/interrupt unanswered")
            self.states.take_thread_event(threads.Event.INTERRUPT_IGNORED)
        elif not isinstance(error, RpcError) or error.code != OVERLOADED:
            self.states.take_thread_event(threads.Event.INTERRUPTED)
        elif again < self._interrupt_until:
            self.states.take_thread_event(threads.Event.INTERRUPT_REFUSED)
        else:
            self.seat.suspect("turn/interrupt refused")
            self.states.take_thread_event(threads.Event.INTERRUPT_IGNORED)

    def _when_replied(self, call: Call, then: Callable[[asyncio.Future[Any]], None]) -> None:
        def replied(reply: asyncio.Future[Any]) -> None:
            if self.states.thread not in threads.TABLE.final:
                self._or_abandon(functools.partial(then, reply))

        call.unawaited().add_done_callback(replied)
