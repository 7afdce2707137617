"""The life of one Codex turn: a seat on a process, a thread, its end, its retries."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
import structlog

from engine import appserver, conversation, failures, worker
from engine.channel import OVERLOADED, Call, Channel, ChannelClosed, RpcError, RpcTimedOut
from engine.codex import SILENCE, Progress, Routes, TurnReader
from machines import events

RETRY_BASE_S: Final = 0.5
"""First delay before another attempt; doubles, and jitter takes away up to a half."""

STEP_GRACE_S: Final = 5.0
"""How long a turn whose answer is whole may take to say that it is over."""

INTERRUPT_GRACE_S: Final = 2.0
"""How long an interrupt may go unanswered before its process is thought deaf."""

_log = structlog.get_logger(component="codex")


class Seat(msgspec.Struct, frozen=True, eq=False):
    """A turn's place on a process.

    Attributes:
        thread: makes the params of a new thread for a model.
        leave: gives the place to the next turn.
        suspect: told why the process seems to be deaf.
    """

    channel: Channel
    routes: Routes
    thread: Callable[[str], appserver.ThreadStartParams]
    leave: Callable[[], None]
    suspect: Callable[[str], None]


class Unavailable(Exception):
    """Raised where there is no seat to be had."""

    def __init__(self, failure: failures.ProviderFailure) -> None:
        super().__init__(failure.message)
        self.failure = failure


class Overdue(Exception):
    """Raised within an attempt whose answer is whole and whose end never came."""


TakeSeat = Callable[[int], Awaitable[Seat]]
"""Finds a seat for an attempt, counted from 1; raises Unavailable."""


class CodexTurn:
    """A turn in motion, over as many attempts as it needs."""

    def __init__(self, turn: worker.Turn, feed: worker.Feed, take_seat: TakeSeat) -> None:
        self._turn = turn
        self._feed = feed
        self._take_seat = take_seat
        self._trial: Attempt | None = None
        self._task = asyncio.get_running_loop().create_task(self._live())

    def cancel(self) -> None:
        """Interrupt the turn, wherever it is; one that is over ends by itself."""
        self._feed = SILENCE
        if self._trial is not None:
            self._trial.mute()
        if self._trial is None or not self._trial.over:
            self._task.cancel()

    async def _live(self) -> None:
        try:
            await self._attempts()
        except Exception:
            _log.exception("turn_broke", stream=self._turn.stream_id)
            self._feed.event(failures.DEFECT.event(self._turn.choice))

    async def _attempts(self) -> None:
        for attempt in range(1, 2 + failures.BEFORE_OUTPUT_RETRIES):
            try:
                seat = await self._take_seat(attempt)
            except Unavailable as unavailable:
                self._feed.event(unavailable.failure.event(self._turn.choice))
                return
            trial = self._trial = Attempt(self._turn, self._feed, seat)
            failure = await trial.run()
            if failure is None:
                return
            last = attempt > failures.BEFORE_OUTPUT_RETRIES
            if last or trial.spoke or not failure.retryable:
                self._feed.event(failure.event(self._turn.choice))
                return
            delay = RETRY_BASE_S * 2 ** (attempt - 1) * random.uniform(0.5, 1)  # noqa: S311 - jitter
            self._feed.event(
                events.RetryScheduled(attempt, int(delay * 1000), failure.code, self._turn.choice)
            )
            await asyncio.sleep(delay)


class Ending:
    """The end of an attempt, as soon as it is known.

    Attributes:
        known: the failure, None for an answer that was fed to the last; raises Overdue.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.known: asyncio.Future[failures.ProviderFailure | None] = self._loop.create_future()
        self._watchdog: asyncio.TimerHandle | None = None

    def progressed(self, progress: Progress) -> None:
        """Watch a turn that is whole; its own word ends it."""
        self.unwatch()
        if progress is Progress.WHOLE:
            self._watchdog = self._loop.call_later(STEP_GRACE_S, self._overdue)
        elif progress is Progress.OVER and not self.known.done():
            self.known.set_result(None)

    def failed(self, failure: failures.ProviderFailure) -> None:
        """The turn ended by a failure."""
        if not self.known.done():
            self.known.set_result(failure)

    def unwatch(self) -> None:
        """Wait for nothing any more."""
        if self._watchdog is not None:
            self._watchdog.cancel()
            self._watchdog = None

    def _overdue(self) -> None:
        if not self.known.done():
            self.known.set_exception(Overdue())


class Attempt:
    """One thread with one turn."""

    def __init__(self, turn: worker.Turn, feed: worker.Feed, seat: Seat) -> None:
        self._turn = turn
        self._feed = feed
        self._seat = seat
        self._ending = Ending()
        self._thread_start: Call | None = None
        self._thread_id = ""
        self._reader = TurnReader(feed, turn.choice, self._ending.progressed, self._ending.failed)

    @property
    def over(self) -> bool:
        """Whether its events have been fed to the last."""
        return self._reader.progress is Progress.OVER

    @property
    def spoke(self) -> bool:
        """Whether the client has seen anything of this attempt."""
        return self._reader.progress is not Progress.SILENT

    def mute(self) -> None:
        """Feed no further events."""
        self._feed = SILENCE
        self._reader.mute()

    async def run(self) -> failures.ProviderFailure | None:
        """Run the turn to its end; None if its events have been fed to the last."""
        try:
            failure = await self._outcome()
        finally:
            self._release()
        # A reply that never came is no failure of an answer that is whole.
        return None if self.over else failure

    async def _outcome(self) -> failures.ProviderFailure | None:
        try:
            return await self._begin_and_wait()
        except RpcError as error:
            return self._refused(error)
        except RpcTimedOut as error:
            self._seat.suspect(f"{error} unanswered")
            return failures.DEAF
        except ChannelClosed:
            return failures.LOST
        except Overdue:
            if not self.over:
                self._reader.finish("stop")
            return None

    async def _begin_and_wait(self) -> failures.ProviderFailure | None:
        turn = self._turn
        items = tuple(
            msgspec.Raw(msgspec.json.encode(item)) for item in conversation.items(turn.messages)
        )
        self._thread_start = self._send("thread/start", self._seat.thread(turn.target))
        # Shielded: a thread that starts after all must be found, to be released.
        result = await self._reply(self._thread_start)
        self._thread_id = result.thread.id
        self._seat.routes.turns[self._thread_id] = self._reader
        injected = self._send(
            "thread/inject_items", appserver.ThreadInjectItemsParams(self._thread_id, items)
        )
        started = self._send(
            "turn/start",
            appserver.TurnStartParams(
                thread_id=self._thread_id,
                effort=turn.effort,
                output_schema=turn.output_schema,
            ),
        )
        await self._reply(injected)
        begun = await self._reply(started)
        if not self._ending.known.done():
            self._feed.event(events.TurnStarted(self._thread_id, begun.turn.id, self._turn.choice))
        return await self._ending.known

    def _send(self, method: str, params: msgspec.Struct) -> Call:
        call = self._seat.channel.send(method, params)
        self._feed.event(events.RpcSent(method, call.rpc_id, self._turn.choice))
        return call

    async def _reply(self, call: Call) -> Any:
        try:
            result = await asyncio.shield(call.reply)
        except (RpcError, RpcTimedOut, ChannelClosed) as error:
            self._note(call, failures.safe(str(error) or type(error).__name__))
            raise
        self._note(call, None)
        return result

    def _note(self, call: Call, error: str | None) -> None:
        """Tell of a reply, unless the turn was faster and is over."""
        if not self._ending.known.done():
            self._feed.event(events.RpcReplied(call.rpc_id, error, self._turn.choice))

    def _refused(self, error: RpcError) -> failures.ProviderFailure:
        if error.code == OVERLOADED:
            return msgspec.structs.replace(failures.BUSY, retryable=True)
        return failures.ProviderFailure(code="upstream_error", message=failures.REDACTED)

    def _release(self) -> None:
        """Stop what may still run; the seat is free when the process has said so."""
        self._ending.unwatch()
        if self._thread_start is None:
            self._seat.leave()
        elif not self._thread_id:
            self._thread_start.reply.add_done_callback(self._release_late_thread)
        elif _has_result(self._ending.known):
            self._unsubscribe()
            self._seat.leave()
        else:
            params = appserver.TurnInterruptParams(self._thread_id, "")
            call = self._seat.channel.send("turn/interrupt", params, INTERRUPT_GRACE_S)
            call.reply.add_done_callback(self._interrupted)
            self._unsubscribe()

    def _interrupted(self, reply: asyncio.Future[Any]) -> None:
        if isinstance(reply.exception(), RpcTimedOut):
            self._seat.suspect("turn/interrupt unanswered")
        self._seat.leave()

    def _release_late_thread(self, reply: asyncio.Future[Any]) -> None:
        if reply.exception() is None:
            self._thread_id = reply.result().thread.id
            self._unsubscribe()
        self._seat.leave()

    def _unsubscribe(self) -> None:
        self._seat.routes.turns.pop(self._thread_id, None)
        params = appserver.ThreadUnsubscribeParams(self._thread_id)
        self._seat.channel.send("thread/unsubscribe", params)


def _has_result(future: asyncio.Future[Any]) -> bool:
    return future.done() and not future.cancelled() and future.exception() is None
