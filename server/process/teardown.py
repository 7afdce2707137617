"""Ends what was begun: each step in its time, whatever another step does."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import structlog

from engine import containment

_log = structlog.get_logger(component="server")


Undo = Callable[[], Awaitable[object]]
"""Ends something, as far as it has begun."""


class Teardown(contextlib.AsyncExitStack):
    """The steps that undo a start, done in reverse order when the `async with` block is left.

    A step is added before what it undoes is begun, so it must do for what has begun in part. One
    that raises is reported, one that takes longer than its time is cancelled and left behind, and
    the next one follows in any case.

    Attributes:
        seconds: how long all steps together may take.
        undone: names of the steps that did not come to their end.
    """

    def __init__(self) -> None:
        super().__init__()
        self.seconds = 0.0
        self.undone: list[str] = []

    def add(self, step: str, seconds: float, undo: Undo) -> None:
        """Add a step that may take so long."""
        self.seconds += seconds
        self.push_async_callback(self._do, step, seconds, undo)

    async def _do(self, step: str, seconds: float, undo: Undo) -> None:
        async def work() -> None:
            await undo()

        task = asyncio.get_running_loop().create_task(work())
        done, _ = await asyncio.wait({task}, timeout=seconds)
        if not done:
            task.cancel()
            self.undone.append(step)
            _log.error("stop_step_timed_out", step=step, seconds=seconds)
        elif not task.cancelled() and (error := task.exception()) is not None:
            self.undone.append(step)
            containment.report(containment.Boundary.SHUTDOWN, error, step=step)
