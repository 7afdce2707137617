"""Boundaries around a bug of ours: what it hit ends, one line says so, and nothing else notices.

A *boundary* is a place that the work of many streams passes: a worker's line, an event, a
wake-up, an end. Whatever is raised inside it is caught there, so that what stands beside it goes
on. `report` is the one thing that every boundary does then; what becomes of the stream that was
hit is the boundary's own. The line has the ids that the boundary knows.

A boundary catches `Exception`. What is expected to go wrong has a handler of its own before it:
only defects are reported here.
"""

import asyncio
import collections
import enum
from collections.abc import Awaitable, Callable, Iterable
from typing import Final, TypeVar

import structlog

RESTART_PAUSE_S: Final = 1.0
"""Between the failure of a background task and its next start."""

T = TypeVar("T")

_log = structlog.get_logger(component="containment")


class Boundary(enum.Enum):
    """Where failures are contained; the value is the `boundary` of their line."""

    WORKER_LINE = "worker_line"
    TURN = "turn"
    FEED = "feed"
    STREAM = "stream"
    STREAM_TIMER = "stream_timer"
    STREAM_END = "stream_end"
    WAKEUP = "wakeup"
    RECORD = "record"
    LOG = "log"
    PROCESS = "process"
    CALLBACK = "callback"
    CONNECTION = "connection"
    REQUEST = "request"
    ACCESS = "access"
    PROJECTION = "projection"
    STORE = "store"
    TASK = "task"
    SHUTDOWN = "shutdown"
    COMMAND = "command"


counts: Final[collections.Counter[str]] = collections.Counter()
"""Defects by boundary since the process began; those that could not be said under `unsaid`."""


def report(boundary: Boundary, error: BaseException, **ids: object) -> None:
    """Count a defect and log it with its traceback; never raises.

    Args:
        ids: what was hit: `req_id`, `stream`, `worker`, `task`.
    """
    counts[boundary.value] += 1
    try:
        _log.error("defect", boundary=boundary.value, exc_info=error, **ids)
    except Exception:  # diagnostics that fail must not take along what they report of
        counts["unsaid"] += 1


def each(
    boundary: Boundary, action: Callable[[T], object], items: Iterable[T], **ids: object
) -> None:
    """Do something to every item, whatever happens to one of them."""
    for item in items:
        try:
            action(item)
        except Exception as error:
            report(boundary, error, item=repr(item), **ids)


async def keep_running(name: str, work: Callable[[], Awaitable[None]]) -> None:
    """Run a background task to its end, and begin it again each time it fails."""
    while True:
        try:
            await work()
        except Exception as error:
            report(Boundary.TASK, error, task=name)
            await asyncio.sleep(RESTART_PAUSE_S)
        else:
            return
