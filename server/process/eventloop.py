"""Runs a coroutine on an event loop of its own, to which signals are brought."""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import structlog
import uvloop

from server.process import signals

REST_S = 1.0
"""How long tasks that are left may take to be cancelled."""

T = TypeVar("T")

_log = structlog.get_logger(component="server")


def run(work: Coroutine[Any, Any, T]) -> T:
    """The result of the work.

    `uvloop.run` would handle SIGINT in its own way, and wait at the end for every thread that the
    loop lent out, also for one that a name server keeps waiting. Here whatever has not ended is
    left behind: the process ends next.
    """
    loop = uvloop.new_event_loop()
    try:
        return loop.run_until_complete(_alone(work))
    finally:
        loop.close()


def _nothing() -> None:
    """Act on nothing."""


def forward(
    caught: signals.Caught,
    stop: Callable[[int], object],
    hangup: Callable[[], object] = _nothing,
    at_once: Callable[[], object] = _nothing,
) -> None:
    """Have the running loop act on every signal, those that came before too.

    Args:
        stop: called with the number of a signal that asks to stop.
        hangup: called for a SIGHUP that does not.
        at_once: called before `stop`, in the handler, whatever the loop is at.
    """
    loop = asyncio.get_running_loop()

    def receive(number: int) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: all is done
            if signals.asks_to_stop(number):
                at_once()
                loop.call_soon_threadsafe(stop, number)
            else:
                loop.call_soon_threadsafe(hangup)

    caught.deliver(receive)


async def _alone(work: Coroutine[Any, Any, T]) -> T:
    try:
        return await work
    finally:
        rest = asyncio.all_tasks() - {asyncio.current_task()}
        for task in rest:
            task.cancel()
        if rest:
            _, left = await asyncio.wait(rest, timeout=REST_S)
            for task in left:
                _log.warning("task_left", task=repr(task.get_coro()))
