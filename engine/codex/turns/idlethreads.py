"""Threads whose answer is whole, and that stay loaded for the next request of a conversation.

A provider caches the start of a prompt, under a key that Codex takes from the thread: on a new
thread for each request it finds next to nothing. So the thread of an answer that ended well is
kept, and where the next request's history is what the thread has seen, to the letter, it takes
another turn with the new messages alone. Where anything else is asked, or it is not known, the
history is sent anew on a new thread.

The first of several requests takes the thread. What is kept of a conversation here are digests;
its words are in the process that holds the thread.
"""

import asyncio
import collections
import functools
from typing import Final, NamedTuple

import msgspec

from engine import containment, worker
from engine.codex.request import history
from engine.codex.turns import attempt
from engine.containment import Boundary
from machines.turn import thread as threads

BYTES_A_THREAD: Final = 1 << 20
"""The memory of a thread with a short conversation (0.94 MB with 20 KB of it, on 0.163): each of
so many bytes of a long one counts as a thread more."""

STATES_A_THREAD: Final = 16
"""Conversations whose last state is known, for each thread that may be kept."""


class Idle(msgspec.Struct, frozen=True, eq=False):
    """A thread that is idle.

    Attributes:
        asked: the request that it has answered.
        answer: as its client was told it.
        effort, summary: as the turn was asked. Codex goes on with them where a turn names none.
        threads: that it counts as.
        since: when it began to be idle, in the loop's seconds.
    """

    attempt: attempt.Attempt
    asked: history.History
    answer: history.Answer
    effort: str | None
    summary: str | None
    threads: int
    expiry: asyncio.TimerHandle
    since: float


class Continuation(NamedTuple):
    """A thread that goes on, with a place on its process.

    Attributes:
        goal: the point that it has come to.
    """

    attempt: attempt.Attempt
    goal: history.Goal
    idle_us: int


class ReuseCounts(msgspec.Struct):
    """Counts of what became of conversations and their threads, for metrics.

    Attributes:
        begun: requests that no thread could go on with, as a conversation's first.
        reused: requests that a thread went on with.
        missed: requests whose conversation went on, and whose history was sent anew.
        kept, expired, evicted: threads.
    """

    begun: int = 0
    reused: int = 0
    missed: int = 0
    kept: int = 0
    expired: int = 0
    evicted: int = 0


class Missed(Exception):
    """Raised for a conversation that no thread goes on with.

    Args:
        reason: a word for the log.
    """


class IdleThreads:
    """The idle threads of a worker.

    Args:
        most: threads at once; the one that was idle for longest makes room. 0: none is kept.
        ttl: seconds that a thread stays.

    Attributes:
        missed: why no thread went on, by reason.
    """

    def __init__(self, most: int, ttl: float) -> None:
        self.counts = ReuseCounts()
        self.missed: collections.Counter[str] = collections.Counter()
        self._most = most
        self._ttl = ttl
        self._loop = asyncio.get_running_loop()
        self._threads: dict[bytes, Idle] = {}
        self._taken = 0
        self._states: collections.OrderedDict[bytes, str | Idle] = collections.OrderedDict()

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self._threads)

    @property
    def keeps(self) -> bool:
        """Whether any thread is kept."""
        return self._most > 0

    def keep(self, over: attempt.Attempt, turn: worker.Turn, asked: history.History) -> None:
        """Keep a thread whose answer has reached the client."""
        answer = over.said
        key = history.key(asked.identity, asked.whole, answer)
        takes = 1 + asked.size // BYTES_A_THREAD
        if not over.idle or takes > self._most:
            self._note(asked, "too_large" if over.idle else "worker_lost")
            over.let_go(threads.Event.GIVEN_UP)
            return
        if key in self._threads:  # another choice, or client, was told the same
            self._drop(key, threads.Event.EVICTED, "evicted")
        while self._threads and self._taken + takes > self._most:
            self.counts.evicted += 1
            self._drop(next(iter(self._threads)), threads.Event.EVICTED, "evicted")
        over.rest()
        expire = functools.partial(containment.each, Boundary.CALLBACK, self._expire)
        expiry = self._loop.call_later(self._ttl, expire, (key,))
        asked = msgspec.structs.replace(asked, goal=None)  # it holds the answer before
        idle = Idle(
            over,
            asked,
            answer,
            turn.effort,
            turn.reasoning_summary,
            takes,
            expiry,
            self._loop.time(),
        )
        self._threads[key] = idle
        self._taken += takes
        self.counts.kept += 1
        self._note(asked, idle)

    def take(self, turn: worker.Turn, asked: history.History) -> Continuation | None:
        """Return the thread that goes on with a turn; None where none could.

        Raises:
            Missed: it might, and there is none that has seen just this.
        """
        if asked.goal is None:
            self.counts.begun += 1
            self._note(asked, "not_kept")
            return None
        try:
            idle = self._find(turn, asked, asked.goal)
        except Missed as missed:
            self.miss(str(missed))
            self._note(asked, "not_kept")
            raise
        self.counts.reused += 1
        self._note(asked, "in_use")
        idle_us = round((self._loop.time() - idle.since) * 1_000_000)
        return Continuation(idle.attempt, asked.goal, idle_us)

    def miss(self, reason: str) -> None:
        """Count a conversation that no thread went on with after all."""
        self.counts.missed += 1
        self.missed[reason] += 1

    def close(self) -> None:
        """Let every thread go."""
        drop = functools.partial(self._drop, why=threads.Event.GIVEN_UP, state="not_kept")
        containment.each(Boundary.SHUTDOWN, drop, list(self._threads))

    def _find(self, turn: worker.Turn, asked: history.History, goal: history.Goal) -> Idle:
        key = history.key(asked.identity, goal.before, goal.answer)
        idle = self._threads.get(key)
        if idle is None:
            raise Missed(self._why(asked))
        if not idle.attempt.idle:
            self._drop(key, threads.Event.GIVEN_UP, "worker_lost")
            raise Missed("worker_lost")
        if not idle.answer.is_repeated_by(goal.answer):
            raise Missed("history_edited")
        if _unset(idle.effort, turn.effort) or _unset(idle.summary, turn.reasoning_summary):
            raise Missed("effort_unset")
        if not idle.attempt.reseat():
            raise Missed("worker_busy")
        return self._forget(key, "in_use")

    def _why(self, asked: history.History) -> str:
        """Return why there is no such thread, as far as it is known."""
        state = self._states.get(asked.opening, "unknown")
        if isinstance(state, str):
            return state
        same = state.asked.identity == asked.identity
        return "history_edited" if same else "options_changed"

    def _note(self, asked: history.History, state: "str | Idle") -> None:
        """Take note of the last state of a conversation."""
        self._states[asked.opening] = state
        self._states.move_to_end(asked.opening)
        while len(self._states) > max(1, self._most) * STATES_A_THREAD:
            self._states.popitem(last=False)

    def _forget(self, key: bytes, state: str) -> Idle:
        """Take a thread out of the list; its conversation is in another state from now on."""
        idle = self._threads.pop(key)
        self._taken -= idle.threads
        idle.expiry.cancel()
        if self._states.get(idle.asked.opening) is idle:
            self._note(idle.asked, state)
        return idle

    def _drop(self, key: bytes, why: threads.Event, state: str) -> None:
        self._forget(key, state).attempt.let_go(why)

    def _expire(self, key: bytes) -> None:
        self.counts.expired += 1
        self._drop(key, threads.Event.EXPIRED, "expired")


def _unset(before: str | None, now: str | None) -> bool:
    """Whether Codex would go on with what it was asked before, and is not asked for now."""
    return before is not None and now is None
