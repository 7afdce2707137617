"""The one way to work on something long without holding the event loop.

The problem: a request of some megabytes takes seconds of Python, and while it is worked on every
stream stands still. A thread is no help, since `json` and `msgspec` hold the interpreter's lock
for a whole call. So long work is done in slices of a few milliseconds, with a round of the loop
between two of them.

There are two forms. Work that needs nothing of the loop is a generator that yields after each
item, an item being some microseconds: `Steps`. `in_slices` runs it beside everything else, and
`at_once` runs the same to its end where nothing else waits (a start, a test). A coroutine that
does more than compute asks a `Slice` of its own whether its time is up.

Work that is over within its first slice never waits. Of all longer work only one slice runs in a
round of the loop, in turns, so that ten large requests make the others wait no longer than one.
"""

import collections
import gc
import time
import weakref
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    import asyncio  # half the start of a command that runs without a loop

SLICE_S: Final = 0.005
"""How long a slice is: what a large request adds to the delay of every other stream's token."""

now: Callable[[], float] = time.perf_counter
"""Seconds by the machine's clock, for everything that is not given another."""

T = TypeVar("T")

Steps = Generator[None, None, T]
"""Work that yields where it may be interrupted, and returns its result."""


class _Turns:
    """Who waits for the next slice of a loop: one is let go on in each round."""

    def __init__(self) -> None:
        self._waiting: collections.deque[asyncio.Future[None]] = collections.deque()

    def next(self, loop: "asyncio.AbstractEventLoop") -> "asyncio.Future[None]":
        """Done when it is the caller's turn."""
        turn: asyncio.Future[None] = loop.create_future()
        self._waiting.append(turn)
        if len(self._waiting) == 1:
            loop.call_soon(self._let_one_go, loop)
        return turn

    def _let_one_go(self, loop: "asyncio.AbstractEventLoop") -> None:
        turn = self._waiting.popleft()
        if not turn.done():  # else its task was cancelled
            turn.set_result(None)
        if self._waiting:
            loop.call_soon(self._let_one_go, loop)


_turns: Final["weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Turns]"] = (
    weakref.WeakKeyDictionary()
)


class Slice:
    """A coroutine's time on the loop until it should let others run.

    Args:
        seconds: how long; wall time, for that is what the others wait.
        clock: seconds; None for the machine's own.
    """

    def __init__(self, seconds: float = SLICE_S, clock: Callable[[], float] | None = None) -> None:
        self._seconds = seconds
        self._clock = clock or now
        self._end = self._clock() + seconds

    @property
    def spent(self) -> bool:
        """Whether it is time to `pause`; 0.1 µs, so it may be asked for every item."""
        return self._clock() >= self._end

    async def pause(self) -> None:
        """Let everything else run, and begin another slice when it is this coroutine's turn."""
        import asyncio

        loop = asyncio.get_running_loop()
        turns = _turns.setdefault(loop, _Turns())
        await turns.next(loop)
        self._end = self._clock() + self._seconds


async def in_slices(steps: Steps[T], own: Slice | None = None) -> T:
    """Run work to its end, and everything else beside it.

    Args:
        own: the time that it has until its first pause; None for a whole slice.

    Raises:
        Exception: whatever the work raises.
    """
    own = own or Slice()
    while True:
        with GcPaused():
            try:
                next(steps)
                while not own.spent:
                    next(steps)
            except StopIteration as end:
                result: T = end.value
                return result
        await own.pause()


def at_once(steps: Steps[T]) -> T:
    """Run work to its end in one go.

    Raises:
        Exception: whatever the work raises.
    """
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: T = end.value
            return result


def emptied(items: list[Any]) -> Steps[None]:
    """Give up a list whose items nobody else has: to free all at once would be one long step."""
    while items:
        items.pop()
        yield


class GcPaused:
    """Keep the cyclic collector off meanwhile; may be nested, and must not be awaited in.

    While a text is decoded, containers are only made and none can be garbage. The collector looks
    at all of them again and again: 1.7 s in place of 0.3 s for 3.6 million (measured).
    """

    __slots__ = ("_was_on",)

    def __enter__(self) -> None:
        self._was_on = gc.isenabled()
        gc.disable()

    def __exit__(self, *_: object) -> None:
        if self._was_on:
            gc.enable()
