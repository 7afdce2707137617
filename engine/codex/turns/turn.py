"""The life of one Codex turn, over as many attempts as it needs."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec

from engine import containment, failures, worker
from engine.codex.request import history, preparation
from engine.codex.turns import forksources, idlethreads, parking, verdicts
from engine.codex.turns.attempt import Attempt
from engine.codex.turns.thread import Seat
from machines import events
from machines.turn import thread as threads

OF_THE_HISTORY: Final = frozenset({"context_length_exceeded", "model_not_found", "upstream_error"})
"""Codes of failures that a thread's own history may be to blame for, or that it is not there any
more: a new one may hold less of the reasoning. A provider that keeps no items answers 404 to one
of reasoning that it cannot read, and Codex tells of a 404 that the model is unknown."""

OF_THE_ITEMS: Final = frozenset({400, 422})
"""Statuses of a provider that cannot take an item; which one it does not always say."""


class Unavailable(Exception):
    """Raised where there is no seat to be had."""

    def __init__(self, failure: failures.ProviderFailure) -> None:
        super().__init__(failure.message)
        self.failure = failure


TakeSeat = Callable[[int], Awaitable[Seat]]
"""Finds a seat for an attempt, counted from 1; raises Unavailable."""


class CodexTurn:
    """A turn in motion.

    Args:
        prepared: what its threads are made of, shared by the turns of a request.
        lot: where turns are parked that wait for results.
        idle: the threads that are kept for later requests.
        forks: the sources of threads for conversations that none goes on with.
    """

    def __init__(
        self,
        turn: worker.Turn,
        feed: worker.Feed,
        prepared: preparation.Preparation,
        take_seat: TakeSeat,
        lot: parking.Parking,
        idle: idlethreads.IdleThreads,
        forks: forksources.ForkSources,
    ) -> None:
        self._turn = turn
        self._feed = feed
        self._take_seat = take_seat
        self._parking = lot
        self._idle = idle
        self._forks = forks
        self._asked: history.History | None = None
        self._trial: Attempt | None = None
        self._prepared = prepared
        self._task = asyncio.get_running_loop().create_task(self._live())

    def cancel(self) -> None:
        """Interrupt the turn, wherever it is; one that is over ends by itself."""
        self._feed = worker.SILENCE
        if self._trial is not None:
            self._trial.cancel()
        if self._trial is None or not self._trial.over:
            self._task.cancel()

    def pause(self) -> None:
        """Do nothing: the process has one output for all its turns, and must always be read."""

    def resume(self) -> None:
        """Do nothing, for the same reason."""

    def keep(self) -> None:
        """Park the turn if its answer was calls whose results it can take; keep its thread if a
        later request can go on with it."""
        self._feed = worker.SILENCE
        trial = self._trial
        if trial is None:
            return
        trial.mute()
        try:
            if trial.waiting and trial.step is not None:
                self._parking.park(trial, self._turn, trial.step)
            elif trial.idle and self._asked is not None:
                self._idle.keep(trial, self._turn, self._asked)
        except Exception:
            trial.let_go(threads.Event.GIVEN_UP)  # nobody would bring it anything
            raise

    async def _live(self) -> None:
        try:
            self._asked = await self._prepared.digests()
            if not await self._resumed() and not await self._gone_on():
                await self._attempts()
        except Exception as error:
            turn = self._turn
            ids = {"req_id": turn.request_id, "stream": turn.stream_id}
            containment.report(containment.Boundary.TURN, error, **ids)
            self._feed.event(failures.DEFECT.event(self._turn.choice))

    async def _resumed(self) -> bool:
        """Whether a parked turn has answered this one."""
        try:
            found = self._parking.take(self._turn)
        except parking.Missed as missed:
            self._feed.event(events.ParkMissed(str(missed), self._turn.choice))
            return False
        if found is None:
            return False
        trial = self._trial = found.attempt
        parked_us = found.parked_us
        failure = await trial.resume(self._turn, self._feed, found.results, parked_us)
        if failure is not None and failure.retryable and not trial.heard:
            self._feed.event(events.ParkMissed(failure.code, self._turn.choice))
            return False
        if failure is not None:
            self._feed.event(failure.event(self._turn.choice))
        return True

    async def _gone_on(self) -> bool:
        """Whether the thread of an earlier answer has answered this turn."""
        asked = self._asked
        if asked is None:
            return False
        # Before it has a place on the process, which nobody would give back.
        unseen = () if asked.goal is None else await self._prepared.behind(asked.goal)
        try:
            found = self._idle.take(self._turn, asked)
        except idlethreads.Missed as missed:
            self._feed.event(events.ReuseMissed(str(missed), self._turn.choice))
            return False
        if found is None:
            return False
        trial = self._trial = found.attempt
        try:
            failure = await trial.go_on(self._turn, self._feed, unseen, found.idle_us)
        except BaseException:
            if trial.idle:  # it has not begun, and its release takes the place for left
                trial.park()
            raise
        if failure is not None and not trial.heard and _may_be_the_thread(failure):
            self._idle.miss(failure.code)
            self._feed.event(events.ReuseMissed(failure.code, self._turn.choice))
            return False
        if failure is not None:
            self._feed.event(failure.event(self._turn.choice))
        return True

    async def _attempts(self) -> None:
        for attempt in range(1, 2 + failures.BEFORE_OUTPUT_RETRIES):
            try:
                seat = await self._take_seat(attempt)
            except Unavailable as unavailable:
                self._feed.event(unavailable.failure.event(self._turn.choice))
                return
            trial = self._trial = await self._seated(seat, attempt)
            failure = await trial.run()
            if failure is None:
                return
            last = attempt > failures.BEFORE_OUTPUT_RETRIES
            if last or trial.heard or not failure.retryable:
                self._feed.event(failure.event(self._turn.choice))
                return
            delay = failures.retry_delay(attempt)
            self._feed.event(failure.retried(attempt, delay, self._turn.choice))
            await asyncio.sleep(delay)

    async def _seated(self, seat: Seat, attempt: int) -> Attempt:
        """An attempt that has the seat; one that cannot be made does not keep it."""
        try:
            prepared, fork = await self._prepared.get(), None
            if attempt == 1:  # what has failed once is tried in the plainest way
                fork = self._forks.find(self._turn, self._asked, seat)
            return Attempt(self._turn, self._feed, seat, prepared, fork)
        except BaseException:  # a turn may be cancelled meanwhile
            seat.leave()
            raise


def _may_be_the_thread(failure: failures.ProviderFailure) -> bool:
    """Whether a new thread may not fail in this way."""
    if verdicts.refuses_prompt(failure):
        return False  # and whoever asks again is counted again
    its = failure.status in OF_THE_ITEMS or failure.code in OF_THE_HISTORY
    return its or failure.retryable


class RequestRunner(msgspec.Struct, frozen=True):
    """Runs the turns of one request, all from one conversion of it."""

    prepared: preparation.Preparation
    take_seat: TakeSeat
    lot: parking.Parking
    idle: idlethreads.IdleThreads
    forks: forksources.ForkSources

    def run(self, turn: worker.Turn, feed: worker.Feed) -> CodexTurn:
        """Begin a turn."""
        lot, idle, forks = self.lot, self.idle, self.forks
        return CodexTurn(turn, feed, self.prepared, self.take_seat, lot, idle, forks)
