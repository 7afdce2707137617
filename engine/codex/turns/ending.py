"""The end of an attempt at a Codex turn, as soon as it is known."""

import asyncio
from typing import Final

from engine import failures
from engine.codex.turns.reader import Progress

STEP_GRACE_S: Final = 5.0
"""How long a turn whose answer is whole may take to say that it is over."""


RUNS_ON: Final = frozenset(
    {
        failures.RUNAWAY,
        failures.UNREADABLE,
        failures.TOO_LARGE,
        failures.TEXT_MISMATCH,
        failures.DEFECT,
    }
)
"""Failures that were found here: Codex knows nothing of them, and its turn has to be stopped."""


class Stopped(Exception):
    """Raised within an attempt that is given up while its turn may still run."""

    def __init__(self, failure: failures.ProviderFailure) -> None:
        super().__init__(failure.message)
        self.failure = failure


class Overdue(Exception):
    """Raised within an attempt whose answer is whole and whose end never came."""


class Ending:
    """The end of an attempt, as soon as it is known.

    Attributes:
        known: the failure, None for an answer that was fed to the last; raises Overdue or Stopped.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.known: asyncio.Future[failures.ProviderFailure | None] = self._loop.create_future()
        # An end that came after another reason to stop must not be reported as never retrieved.
        self.known.add_done_callback(lambda known: known.cancelled() or known.exception())
        self._watchdog: asyncio.TimerHandle | None = None

    def progressed(self, progress: Progress) -> None:
        """Watch a turn that is whole; its own word ends it."""
        self.unwatch()
        if progress is Progress.WHOLE:
            self._watchdog = self._loop.call_later(STEP_GRACE_S, self._overdue)
        elif progress is Progress.OVER and not self.known.done():
            self.known.set_result(None)

    def failed(self, failure: failures.ProviderFailure) -> None:
        """The turn ended by a failure, or must be."""
        if self.known.done():
            return
        if failure in RUNS_ON:
            self.known.set_exception(Stopped(failure))
        else:
            self.known.set_result(failure)

    def unwatch(self) -> None:
        """Wait for nothing any more."""
        if self._watchdog is not None:
            self._watchdog.cancel()
            self._watchdog = None

    def _overdue(self) -> None:
        if not self.known.done():
            self.known.set_exception(Overdue())
