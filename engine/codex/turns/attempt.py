"""One attempt at a Codex turn: a thread, its requests, its end, its wait for results."""

import asyncio
import enum
import functools
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec

from engine import containment, failures, slices, worker
from engine.codex.protocol import appserver
from engine.codex.protocol.channel import (
    OVERLOADED,
    Call,
    Channel,
    ChannelClosed,
    RpcError,
    RpcTimedOut,
)
from engine.codex.request import conversation, preparation, tools
from engine.codex.turns import modelstep, toolanswers
from engine.codex.turns.dispatcher import Dispatcher
from engine.codex.turns.ending import Ending, Overdue, Stopped
from engine.codex.turns.reader import Progress, Tools, TurnReader
from engine.containment import Boundary
from machines import events

INTERRUPT_GRACE_S: Final = 2.0
"""How long an interrupt may go unanswered before its process is thought deaf."""

INTERRUPT_RETRY_S: Final = 0.1
"""Between two interrupts of a turn, where the process was too busy to take the first."""

RESULT_PATIENCE_S: Final = 5.0
"""How long the result of a call may be asked for while its step is not whole. Codex says nothing
of a step that broke behind a call until it has the result; with one it tells, or goes on."""

CALL_DEMANDS: Final = 2
"""How often a model that must call a function, and does not, is asked again."""

DEMAND: Final = "Call one of the functions you were given. Do not answer in words alone."
"""What it is told then: Codex always sends `tool_choice: auto`."""


class Seat(msgspec.Struct, frozen=True, eq=False):
    """A turn's place on a process.

    Attributes:
        thread: makes the params of a new thread for a model and its functions.
        leave: gives the place to the next turn. Safe to repeat.
        again: takes another place on the same process; None while there is none.
        suspect: told why the process seems to be deaf.
    """

    channel: Channel
    routes: Dispatcher
    thread: Callable[[worker.Turn, tools.Toolset | None], appserver.ThreadStartParams]
    leave: Callable[[], None]
    again: Callable[[], "Seat | None"]
    suspect: Callable[[str], None]


class Phase(enum.Enum):
    """What becomes of an attempt's thread."""

    RUNNING = enum.auto()
    WAITING = enum.auto()
    RELEASED = enum.auto()


class Attempt:
    """One thread with one turn, or with several where it waits for results in between.

    Attributes:
        step: the step whose results it waits for; None while it runs.
    """

    def __init__(
        self, turn: worker.Turn, feed: worker.Feed, seat: Seat, prepared: preparation.Prepared
    ) -> None:
        self.step: modelstep.ModelStep | None = None
        self._turn = turn
        self._feed = feed
        self._seat = seat
        self._items = prepared.items
        self._toolset = prepared.toolset
        self._answers = toolanswers.ToolAnswers(seat.channel.answer)
        self._past: set[str] = set()
        self._phase = Phase.RUNNING
        self._patience: asyncio.TimerHandle | None = None
        self._thread_start: Call | None = None
        self._thread_id = ""
        self._listen(None)

    @property
    def over(self) -> bool:
        """Whether its events have been fed to the last."""
        return self._reader.progress is Progress.OVER and not self._reader.uncalled

    @property
    def spoke(self) -> bool:
        """Whether the client has seen anything of this attempt."""
        return self._reader.spoke

    @property
    def waiting(self) -> bool:
        """Whether results would let it go on."""
        lost = self._seat.channel.closed or self._reader.progress is Progress.FAILED
        return self._phase is Phase.WAITING and not lost

    def mute(self) -> None:
        """Feed no further events."""
        self._feed = worker.SILENCE
        self._reader.mute()

    async def run(self) -> failures.ProviderFailure | None:
        """Run the turn to its end; None if its events have been fed to the last."""
        return await self._live(self._begin)

    async def resume(
        self, turn: worker.Turn, feed: worker.Feed, results: tuple[worker.Message, ...]
    ) -> failures.ProviderFailure | None:
        """Go on with the results that were waited for, as `run` does."""

        async def bring() -> None:
            feed.event(events.TurnResumed(self._thread_id, turn.choice))
            for message in results:
                self._answers.bring(message)

        self._turn, self._feed, self.step, self._phase = turn, feed, None, Phase.RUNNING
        self._listen(None)
        self._seat.routes.turns[self._thread_id] = self._reader
        return await self._live(bring)

    def reseat(self) -> bool:
        """Take a place on the process for going on; whether there was one."""
        seat = self._seat.again()
        if seat is not None:
            self._seat = seat
        return seat is not None

    def park(self) -> None:
        """Wait for results, and leave the place to others meanwhile."""
        self._seat.leave()

    def let_go(self) -> None:
        """Wait for results no longer."""
        if self._phase is Phase.WAITING:
            self._interrupt()

    async def _live(self, begin: Callable[[], Awaitable[None]]) -> failures.ProviderFailure | None:
        try:
            failure = await self._outcome(begin)
        finally:
            self._or_leave(self._release)
        # A reply that never came is no failure of an answer that is whole.
        return None if self.over else failure

    async def _outcome(
        self, begin: Callable[[], Awaitable[None]]
    ) -> failures.ProviderFailure | None:
        try:
            await begin()
            return await self._answered()
        except RpcError as error:
            return self._or_known(self._refused(error))
        except RpcTimedOut as error:
            self._seat.suspect(f"{error} unanswered")
            return self._or_known(failures.DEAF)
        except ChannelClosed:
            return self._or_known(failures.LOST)
        except Stopped as stopped:
            return stopped.failure
        except Overdue:
            if not self.over:
                self._reader.finish("stop")
            return failures.UNCALLED if self._reader.uncalled else None

    def _or_known(self, failure: failures.ProviderFailure) -> failures.ProviderFailure | None:
        """A request's failure, unless the turn had an end before: then the request is to blame
        for nothing."""
        known = self._ending.known
        if not known.done():
            return failure
        error = known.exception()
        if isinstance(error, Stopped):
            return error.failure
        return known.result() if error is None else failure

    async def _begin(self) -> None:
        turn = self._turn
        params = self._seat.thread(turn, self._toolset)
        self._thread_start = self._send("thread/start", params, tools.LEVELS)
        # Shielded: a thread that starts after all must be found, to be released.
        result = await self._reply(self._thread_start)
        self._thread_id = result.thread.id
        items, self._items = self._items, ()  # it may be parked for long, and they may be large
        await self._begin_turn(items)

    async def _begin_turn(self, items: tuple[msgspec.Raw, ...]) -> None:
        """Add items to the thread, and have the model go on from there."""
        self._seat.routes.turns[self._thread_id] = self._reader
        own = slices.Slice()
        injected = []
        for batch in conversation.batches(items):
            params = appserver.ThreadInjectItemsParams(self._thread_id, batch)
            injected.append(self._send("thread/inject_items", params, conversation.LEVELS))
            if own.spent:
                await own.pause()
        started = self._send(
            "turn/start",
            appserver.TurnStartParams(
                thread_id=self._thread_id,
                effort=self._turn.effort,
                summary=self._turn.reasoning_summary,
                output_schema=self._turn.output_schema,
            ),
        )
        for call in injected:
            await self._reply(call)
        begun = await self._reply(started)
        if not self._ending.known.done():
            self._feed.event(events.TurnStarted(self._thread_id, begun.turn.id, self._turn.choice))

    async def _answered(self) -> failures.ProviderFailure | None:
        """Wait for the end; a model that owes a call is asked for it."""
        for count in range(1, CALL_DEMANDS + 1):
            failure = await self._ending.known
            if failure is not None or not self._reader.uncalled:
                return failure
            self._feed.event(events.CallDemanded(count, self._turn.choice))
            self._listen(self._reader.usage)
            words = [{"type": "input_text", "text": DEMAND}]
            demand = {"type": "message", "role": "developer", "content": words}
            await self._begin_turn((msgspec.Raw(msgspec.json.encode(demand)),))
        failure = await self._ending.known
        return failures.UNCALLED if self._reader.uncalled else failure

    def _listen(self, earlier: events.Usage | None) -> None:
        """Read the next turn of the thread."""
        self._ending = Ending()
        its_tools = None
        if self._toolset is not None:
            collector = modelstep.StepCollector(self._toolset)
            required = self._turn.call_required
            its_tools = Tools(
                collector,
                required,
                self._answers,
                self._past,
                earlier,
                self._stepped,
                self._asked,
            )
        self._reader = TurnReader(
            self._feed,
            self._turn.choice,
            self._ending.progressed,
            self._ending.failed,
            its_tools,
            self._turn.reasoning_items,
            {"req_id": self._turn.request_id, "stream": self._turn.stream_id},
            self._turn.known,
        )

    def _stepped(self, step: modelstep.ModelStep) -> None:
        """A step with calls is whole: Codex must not go on by itself, nor wait for nobody."""
        self._phase = Phase.WAITING
        heard = self._feed is not worker.SILENCE
        if heard and step.answerable and self._answers.stage == "waiting":
            self.step = step
        else:
            self._interrupt()

    def _asked(self) -> None:
        """A step must become whole soon behind a call, or it may never."""
        if self._patience is None:
            loop = asyncio.get_running_loop()
            self._patience = loop.call_later(RESULT_PATIENCE_S, self._lose_patience)

    def _lose_patience(self) -> None:
        if self._phase is not Phase.RUNNING:
            return
        try:
            self._answers.give_up()
        except Exception as error:
            containment.report(Boundary.CALLBACK, error, **self._reader.ids)
            self._reader.break_off()

    def _send(self, method: str, params: msgspec.Struct, levels: int | None = None) -> Call:
        call = self._seat.channel.send(method, params, levels=levels)
        self._feed.event(events.RpcSent(method, call.rpc_id, self._turn.choice))
        return call

    async def _reply(self, call: Call) -> Any:
        try:
            result = await asyncio.shield(call.reply)
        except (RpcError, RpcTimedOut, ChannelClosed) as error:
            self._note(call, failures.safe(str(error) or type(error).__name__, self._turn.known))
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
        """Stop what may still run; what waits for results is let go by whoever keeps it."""
        self._ending.unwatch()
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
        if self._phase is not Phase.RUNNING:
            return
        if self._thread_start is None:
            self._seat.leave()
        elif not self._thread_id:
            self._when_replied(self._thread_start, self._release_late_thread)
        elif _has_result(self._ending.known):
            self._unsubscribe()
            self._seat.leave()
        else:
            self._interrupt()

    def _or_leave(self, step: Callable[[], None]) -> None:
        """Do what gives the place back in the end; at once, where that fails."""
        try:
            step()
        except Exception as error:
            containment.report(Boundary.CALLBACK, error, **self._reader.ids)
            self._abandon()

    def _abandon(self) -> None:
        """Leave a thread that could not be released: its turn is not to go on for nobody."""
        self.step = None  # nobody could bring it results
        unreleased, self._phase = self._phase is not Phase.RELEASED, Phase.RELEASED
        self._seat.routes.turns.pop(self._thread_id, None)
        self._seat.leave()
        if self._thread_id and unreleased:
            stop = appserver.TurnInterruptParams(self._thread_id, "")
            leave = appserver.ThreadUnsubscribeParams(self._thread_id)
            send = self._seat.channel.send
            lasts = (("turn/interrupt", stop), ("thread/unsubscribe", leave))
            containment.each(Boundary.CALLBACK, lambda last: send(*last).unawaited(), lasts)

    def _interrupt(self) -> None:
        """Stop the thread's turn and release it; its place is free when the process says so."""
        deadline = asyncio.get_running_loop().time() + INTERRUPT_GRACE_S
        self._or_leave(functools.partial(self._ask_to_stop, deadline))

    def _ask_to_stop(self, deadline: float) -> None:
        params = appserver.TurnInterruptParams(self._thread_id, "")
        seconds = deadline - asyncio.get_running_loop().time()
        call = self._seat.channel.send("turn/interrupt", params, seconds)
        self._when_replied(call, functools.partial(self._interrupted, deadline))
        self._unsubscribe()

    def _when_replied(self, call: Call, then: Callable[[asyncio.Future[Any]], None]) -> None:
        def replied(reply: asyncio.Future[Any]) -> None:
            self._or_leave(functools.partial(then, reply))

        call.unawaited().add_done_callback(replied)

    def _interrupted(self, deadline: float, reply: asyncio.Future[Any]) -> None:
        loop = asyncio.get_running_loop()
        error = reply.exception()
        if isinstance(error, RpcError) and error.code == OVERLOADED:
            if loop.time() + INTERRUPT_RETRY_S < deadline:
                again = functools.partial(self._ask_to_stop, deadline)
                loop.call_later(INTERRUPT_RETRY_S, self._or_leave, again)
                return
            self._seat.suspect("turn/interrupt refused")
        elif isinstance(error, RpcTimedOut):
            self._seat.suspect("turn/interrupt unanswered")
        self._seat.leave()

    def _release_late_thread(self, reply: asyncio.Future[Any]) -> None:
        if reply.exception() is None:
            self._thread_id = reply.result().thread.id
            self._unsubscribe()
        self._seat.leave()

    def _unsubscribe(self) -> None:
        self._phase = Phase.RELEASED
        self._seat.routes.turns.pop(self._thread_id, None)
        params = appserver.ThreadUnsubscribeParams(self._thread_id)
        self._seat.channel.send("thread/unsubscribe", params).unawaited()


def _has_result(future: asyncio.Future[Any]) -> bool:
    return future.done() and not future.cancelled() and future.exception() is None
