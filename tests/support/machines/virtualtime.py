"""An event loop in virtual time: its clock moves only when nothing is left to do before a timer.

The loop's clock does not know the machine's. A computation, a busy machine or a slow disk takes no
time at all here, so that what a test observes in seconds is the same everywhere. Real sockets,
pipes and threads may be used: what is ready is handled before the clock moves. What is not ready
when the clock moves is overtaken by the timer, so a test that waits for a thread must not have a
timer beside it whose firing matters.
"""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")


class JumpingSelector(selectors.DefaultSelector):
    """Does not wait for a time, but moves its clock.

    Attributes:
        now: seconds of virtual time since the beginning.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            return super().select()
        ready = super().select(0)
        if not ready:
            self.now += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop in virtual time."""

    def __init__(self) -> None:
        self._jumping = JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now

    def hold(self, seconds: float) -> None:
        """Have the callback that calls this take so long."""
        self._jumping.now += seconds


def run(main: Coroutine[Any, Any, Result]) -> Result:
    """Run to the end, as `asyncio.run` does."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(_whole(main))


async def _whole(main: Coroutine[Any, Any, Result]) -> Result:
    """Wait for threads before the runner does: its limit of time is over at once on this loop."""
    try:
        return await main
    finally:
        loop: Any = asyncio.get_running_loop()
        await loop.shutdown_default_executor()
        loop._default_executor = None
