"""One attempt at a Codex turn: a thread, its requests, its end, its wait for results.

What the thread may do, and when, is declared in `machines.turn`: this module sends what a step
asks for, and steps again with what comes of it.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec

from engine import containment, failures, slices, worker
from engine.codex.protocol import appserver
from engine.codex.protocol.channel import Call, ChannelClosed, RpcError, RpcTimedOut
from engine.codex.request import conversation, history, preparation, tools
from engine.codex.turns import citations, counting, forksources, modelstep, verdicts
from engine.codex.turns.reader import TurnReader
from engine.codex.turns.thread import Seat, Thread
from engine.containment import Boundary
from machines import events
from machines.turn import machine, thread as threads, turn as turns
from machines.wire import jsonrpc

CALL_DEMANDS: Final = 2
"""How often a model that must call a function, and does not, is asked again."""


class Unwanted(Exception):
    """Raised within an attempt whose thread has been given up meanwhile."""


class Attempt:
    """One thread with one turn, or with several where it waits or is idle in between.

    Args:
        fork: its way to a thread; None: it has a new one.

    Attributes:
        step: the step whose results it waits for; None while it runs.
    """

    def __init__(
        self,
        turn: worker.Turn,
        feed: worker.Feed,
        seat: Seat,
        prepared: preparation.Prepared,
        fork: forksources.Fork | None = None,
    ) -> None:
        self.step: modelstep.ModelStep | None = None
        self._turn = turn
        self._feed = feed
        self._fork = fork
        self._thread = Thread(seat, self._ids, self._record, self._passed)
        self._states = self._thread.states
        self._items = prepared.items
        self._toolset = prepared.toolset
        self._keeps = prepared.keeps
        self._past: set[str] = set()
        self._totals = counting.ThreadTotals()
        self._reader = self._read(None)

    @property
    def over(self) -> bool:
        """Whether its events have been fed to the last."""
        return self._states.turn in turns.ANSWERED

    @property
    def heard(self) -> bool:
        """Whether the client has been told anything of this attempt."""
        return self._states.heard

    @property
    def waiting(self) -> bool:
        """Whether results would let it go on."""
        return self._states.thread == threads.WAITING

    @property
    def idle(self) -> bool:
        """Whether a later request may go on with its thread."""
        return self._states.thread == threads.IDLE

    @property
    def said(self) -> history.Answer:
        """The answer as its client was told it."""
        return history.answer(self._reader.messages.told, self._reader.thinking.thoughts)

    def cancel(self) -> None:
        """Feed nothing more, and stop what may still run."""
        self.mute()
        if self._states.turn not in turns.TABLE.final:
            self._states.take_turn_event(turns.Event.CANCEL)
        self.let_go(threads.Event.GIVEN_UP)

    def mute(self) -> None:
        """Feed nothing more: its stream has ended."""
        self._feed = worker.SILENCE
        self._reader.mute()

    async def run(self) -> failures.ProviderFailure | None:
        """Run the turn to its end; None if its events have been fed to the last."""
        return await self._live(self._begin)

    async def resume(
        self,
        turn: worker.Turn,
        feed: worker.Feed,
        results: tuple[worker.Message, ...],
        parked_us: int,
    ) -> failures.ProviderFailure | None:
        """Go on with the results that were waited for so long, as `run` does."""

        async def bring() -> None:
            life = self._thread.seat.life
            feed.event(events.TurnResumed(self._thread.id, turn.choice, parked_us, life))
            for message in results:
                self._thread.answers.bring(message)

        self._turn, self._feed, self.step = turn, feed, None
        self._reader = self._read(None)
        self._thread.seat.routes.turns[self._thread.id] = self._reader
        self._states.take_thread_event(threads.Event.RESUMED)
        return await self._live(bring)

    async def go_on(
        self, turn: worker.Turn, feed: worker.Feed, items: tuple[msgspec.Raw, ...], idle_us: int
    ) -> failures.ProviderFailure | None:
        """Take another turn of its idle thread, with items that it has not seen, as `run` does."""

        async def bring() -> None:
            feed.event(events.ThreadReused(self._thread.id, turn.choice, idle_us))
            await self._begin_turn(items)

        self._turn, self._feed, self.step = turn, feed, None
        self._thread.ids = self._ids
        self._toolset = tools.Toolset(turn.tools) if turn.tools else None
        self._next_turn(None)
        self._thread.seat.routes.idle.pop(self._thread.id, None)
        self._states.take_thread_event(threads.Event.REUSED)
        return await self._live(bring)

    def rest(self) -> None:
        """Hold nothing of the request whose answer its thread has behind it."""
        self.mute()
        nothing: dict[str, Any] = {"messages": (), "body": {}, "tools": (), "output_schema": None}
        self._turn = msgspec.structs.replace(self._turn, **nothing)
        self._toolset = None
        self._next_turn(None)

    def reseat(self) -> bool:
        """Take a place on the process for going on; whether there was one."""
        return self._thread.reseat()

    def park(self) -> None:
        """Wait for results, and leave the place to others meanwhile."""
        self._thread.seat.leave()

    def let_go(self, why: threads.Event) -> None:
        """Wait for results, or the next request, no longer."""
        if self.waiting:
            self._states.take_thread_event(why)
        elif self.idle:
            given_up = why is threads.Event.GIVEN_UP
            self._states.take_thread_event(threads.Event.NOT_KEPT if given_up else why)

    async def _live(self, begin: Callable[[], Awaitable[None]]) -> failures.ProviderFailure | None:
        try:
            await self._run(begin)
        except BaseException:  # a bug of ours, or a cancellation that nobody told us of
            self.cancel()
            raise
        if self.over:  # a reply that never came is no failure of an answer that is whole
            self._thread.seat.login.accepted()
            return None
        self.mute()  # another attempt may follow, and what becomes of this thread outlast both
        failure = self._reader.failure
        try:
            return await self._thread.seat.explained(failure)
        except Exception as error:  # the failure counts, with its explanation or without
            containment.report(Boundary.TURN, error, **self._ids)
            return failure

    async def _run(self, begin: Callable[[], Awaitable[None]]) -> None:
        try:
            await begin()
            await self._answered()
        except RpcError as error:
            self._fail(verdicts.refused(error, self._turn.known))
        except RpcTimedOut as error:
            self._thread.seat.suspect(f"{error} unanswered")
            self._fail(failures.DEAF)
        except ChannelClosed:
            self._reader.lost()
        except Unwanted:
            pass  # whoever gave it up has seen to what is left of it

    def _fail(self, failure: failures.ProviderFailure) -> None:
        """Fail for a request, which a turn that has had an end before is not to blame for."""
        if not self._states.ended.is_set() or self._states.turn == turns.OWING:
            self._reader.fail(failure)

    async def _begin(self) -> None:
        params = self._thread.seat.thread(self._turn, self._toolset)
        self._states.take_thread_event(threads.Event.START_SENT)
        try:
            forked = self._fork is not None and await self._forked(self._fork, params)
            result = forked or await self._opened("thread/start", params)
        except (RpcError, RpcTimedOut):
            self._states.take_thread_event(threads.Event.START_REFUSED)
            raise
        self._thread.id = result.thread.id
        self._states.take_thread_event(threads.Event.STARTED)
        items, self._items = self._items, ()  # it may be parked for long, and they may be large
        await self._begin_turn(items)

    async def _forked(self, fork: forksources.Fork, anew: appserver.ThreadStartParams) -> Any:
        """Ask for a fork like a new thread; None where there is none."""
        try:
            with fork.source(anew) as params:
                result = await self._opened("thread/fork", params)
        except (RpcError, OSError) as error:
            return fork.failed(error)
        self._feed.event(fork.made(result.thread.id, self._turn.choice))
        return result

    async def _opened(self, method: str, params: msgspec.Struct) -> Any:
        # Known before its stream is told of it, which may end by that.
        self._thread.start = self._request(method, params, tools.LEVELS)
        self._tell_sent(self._thread.start)
        return await self._reply(self._thread.start)  # one that starts too late is released

    async def _begin_turn(self, items: tuple[msgspec.Raw, ...]) -> None:
        """Add items to the thread, and have the model go on from there."""
        self._check_wanted()
        self._thread.seat.routes.turns[self._thread.id] = self._reader
        sent: list[Call] = []
        try:
            await self._send_turn(items, sent)
            replies = [await self._reply(call) for call in sent]
        except BaseException:
            for call in sent:  # nobody waits for them any more
                if not call.reply.done():
                    call.unawaited()
            raise
        if not self._states.ended.is_set():
            turn_id = replies[-1].turn.id
            thread, choice = self._thread, self._turn.choice
            self._feed.event(events.TurnStarted(thread.id, turn_id, choice, thread.seat.life))

    async def _send_turn(self, items: tuple[msgspec.Raw, ...], sent: list[Call]) -> None:
        """Send the items, in batches that a line can hold, and the start of the turn behind them.

        Args:
            sent: what is sent is added to it.
        """
        own = slices.Slice()
        for batch in conversation.batches(items):
            params = appserver.ThreadInjectItemsParams(self._thread.id, batch)
            sent.append(self._send("thread/inject_items", params, conversation.LEVELS))
            if own.spent:
                await own.pause()
        start = appserver.TurnStartParams(
            thread_id=self._thread.id,
            effort=self._turn.effort,
            summary=self._turn.reasoning_summary,
            service_tier_for_turn=self._turn.service_tier,
            output_schema=self._turn.output_schema,
        )
        sent.append(self._send("turn/start", start))

    async def _answered(self) -> None:
        """Wait for the end; a model that owes a call is asked for it."""
        for count in range(1, CALL_DEMANDS + 1):
            await self._states.ended.wait()
            if self._states.turn != turns.OWING:
                return
            self._feed.event(events.CallDemanded(count, self._turn.choice))
            self._check_wanted()
            self._states.take_turn_event(turns.Event.DEMANDED)
            self._keeps = False  # its history has the demand
            self._next_turn(self._reader.counts.usage)
            await self._begin_turn((modelstep.DEMAND_ITEM,))
        await self._states.ended.wait()
        if self._states.turn == turns.OWING:
            self._reader.fail(failures.UNCALLED, turns.Event.DEMANDS_SPENT)

    def _next_turn(self, earlier: events.Usage | None) -> None:
        """Read the thread's next turn; what still comes of the last one is no news."""
        if self._reader.ended_as:
            self._past.add(self._reader.ended_as)
        self._reader = self._read(earlier)

    def _read(self, earlier: events.Usage | None) -> TurnReader:
        """Make a reader of a turn of the thread.

        Args:
            earlier: counts of turns before it that came to nothing.
        """
        its_tools = None
        if self._toolset is not None:
            step, required = modelstep.StepCollector(self._toolset), self._turn.call_required
            its_tools = modelstep.Tools(step, required, self._stepped, self._asked)
        return TurnReader(
            self._feed,
            self._turn.choice,
            self._states,
            its_tools,
            self._turn.reasoning_items,
            self._turn.separate_items,
            self._ids,
            self._turn.known,
            counting.TurnCounts(self._totals, earlier, by_step=its_tools is not None),
            self._past or (),
            self._keeps,
            citations.Citations(self._turn.separate_items) if self._turn.web_search else None,
        )

    @property
    def _ids(self) -> dict[str, str]:
        """The fields by which its lines in the diagnostics are found."""
        return {"req_id": self._turn.request_id, "stream": self._turn.stream_id}

    def _stepped(self, step: modelstep.ModelStep) -> None:
        """A step with calls is whole: Codex must not go on by itself, nor wait for nobody."""
        self._states.take_turn_event(turns.Event.STEP_CALLED, step.answerable)
        if self.waiting:
            self.step = step

    def _asked(self, rpc_id: jsonrpc.Id, call_id: str) -> None:
        """A step must become whole soon behind a call, or it may never."""
        if self._states.thread == threads.REFUSING:
            self._thread.answers.refuse(rpc_id)
            return
        # Codex may ask for the results that a client has brought one by one.
        waits = self._thread.answers.result_requested(rpc_id, call_id)
        if waits and not self._states.ended.is_set():
            self._states.take_thread_event(threads.Event.RESULT_ASKED)

    def _passed(self, event: turns.Event | threads.Event) -> None:
        """Take a deadline that has passed."""
        try:
            if event is turns.Event.OVERDUE:
                self._reader.overdue()
            elif isinstance(event, threads.Event):
                self._states.take_thread_event(event)
        except Exception as error:
            containment.report(Boundary.CALLBACK, error, **self._ids)
            self._reader.break_off()

    def _record(self, change: machine.Change) -> None:
        """Put a change on record: with its stream, or with its process once that has ended."""
        heard = self._feed is not worker.SILENCE
        change_of = (change.trigger, change.before, change.after, self._turn.choice)
        stream = "" if heard else self._turn.stream_id
        if change.machine == "turn":
            event: events.LateChange = events.TurnChanged(*change_of, stream)
        else:
            event = events.ThreadChanged(*change_of, stream, self._thread.id)
        if heard:
            self._feed.event(event)
        else:
            self._thread.seat.record(event)

    def _send(self, method: str, params: msgspec.Struct, levels: int | None = None) -> Call:
        call = self._request(method, params, levels)
        self._tell_sent(call)
        return call

    def _request(self, method: str, params: msgspec.Struct, levels: int | None) -> Call:
        self._check_wanted()
        return self._thread.seat.channel.send(method, params, levels=levels)

    def _tell_sent(self, call: Call) -> None:
        self._feed.event(events.RpcSent(call.method, call.rpc_id, self._turn.choice))

    def _check_wanted(self) -> None:
        """Stop where a stream has ended by what it was told last: the thread has been given up,
        and nothing that is sent now would ever be stopped.

        Raises:
            Unwanted: it has.
        """
        if self._states.thread in threads.UNWANTED:
            raise Unwanted

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
        if not self._states.ended.is_set():
            self._feed.event(events.RpcReplied(call.rpc_id, error, self._turn.choice))
