"""Asks a process over and over whether it answers.

A process may be stopped, or deaf, with no turn on it that would notice. So it is asked every
`INTERVAL_S`; within `INTERVAL_S + LIMIT_S` and a moment it is known that it does not answer, which
is less than the 5 s in which readiness has to tell.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final

from engine import lateness

INTERVAL_S: Final = 1.5
"""Between an answer and the next ping."""

LIMIT_S: Final = 3.0
"""How long an answer may take: an idle process needs 0.6 ms, a busy machine makes it 0.1 s."""


class Pings:
    """The pings of one process.

    Args:
        ask: returns when the process has answered.
        missed: told when an answer is late.
        answered: told of an answer that was late.
    """

    def __init__(
        self,
        ask: Callable[[], Coroutine[Any, Any, None]],
        missed: Callable[[], None],
        answered: Callable[[], None],
    ) -> None:
        self._ask = ask
        self._missed = missed
        self._answered = answered

    async def run(self) -> None:
        """Ask until cancelled."""
        while True:
            await asyncio.sleep(INTERVAL_S)
            answer = asyncio.ensure_future(self._ask())
            try:
                if not await _came(answer):
                    self._missed()
                    await answer
                    self._answered()
                answer.result()
            finally:
                answer.cancel()


async def _came(answer: asyncio.Future[None]) -> bool:
    """Whether the answer came in time, or waited to be read by then."""
    for seconds in (LIMIT_S, lateness.READ_S):
        done, _ = await asyncio.wait({answer}, timeout=seconds)
        if done:
            return True
    return False
