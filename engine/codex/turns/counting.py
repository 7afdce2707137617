"""The tokens that one turn took, by the counts of its thread.

Codex counts a thread from its start, and a thread may have several turns. With raw items it tells
each step's own counts too, and those count: a turn whose calls wait for results never tells its
thread's.
"""

from typing import Final

from engine.codex.protocol import notifications
from machines import events

STEPS_MAX: Final = 4
"""Steps of the model that a turn may have behind it and go on. Codex answers by itself what it
knows no handler for, such as a call of a function that the model was not given, and asks the
provider again, without end (0.163 to 0.171)."""

NONE: Final = notifications.TokenCounts(0, 0, 0, 0, 0)
"""The counts of a thread that has had no turn."""


class ThreadTotals:
    """Counts of a thread since its start, after its last two steps."""

    def __init__(self) -> None:
        self.before = NONE
        self.after = NONE

    def take(self, total: notifications.TokenCounts) -> None:
        """Take the counts after another step."""
        self.before, self.after = self.after, total


class TurnCounts:
    """The counts of one turn.

    Args:
        totals: of its thread, shared by its turns.
        earlier: counts of turns before it that came to nothing.
        by_step: whether each step tells its own.

    Attributes:
        steps: of the model that are over.
    """

    def __init__(
        self,
        totals: ThreadTotals | None = None,
        earlier: events.Usage | None = None,
        by_step: bool = False,
    ) -> None:
        self.steps = 0
        self._totals = totals or ThreadTotals()
        self._since = self._totals.after
        self._earlier = earlier
        self._by_step = by_step
        self._counts: notifications.TokenCounts | None = None

    def thread_counted(self, total: notifications.TokenCounts) -> None:
        """Take the counts of the thread; they are true only if the turn ends well."""
        self._totals.take(total)
        if not self._by_step:
            self.steps += 1
            self._counts = difference(self._since, total)

    def step_counted(self, counts: notifications.TokenCounts | None) -> None:
        """Take a step's own counts; None where its provider sent none."""
        self.steps += 1
        self._counts = counts

    def cut(self) -> None:
        """Count a step that its provider cut: what it took is told with the thread's alone."""
        if self._by_step:
            totals = self._totals
            known = totals.after is not NONE
            self._counts = difference(totals.before, totals.after) if known else None

    @property
    def speaks(self) -> bool:
        """Whether the model is known to have put out more than its reasoning."""
        counts = self._counts
        return counts is not None and counts.output_tokens > counts.reasoning_output_tokens

    @property
    def usage(self) -> events.Usage | None:
        """The counts as the API has them, with those of turns that came to nothing; None where
        they are not known."""
        counts = self._counts
        if counts is None:
            return None
        own = events.Usage(
            counts.input_tokens,
            counts.output_tokens,
            counts.cached_input_tokens,
            counts.reasoning_output_tokens,
        )
        return own if self._earlier is None else added(self._earlier, own)


def difference(
    before: notifications.TokenCounts, after: notifications.TokenCounts
) -> notifications.TokenCounts:
    """Return what was counted between two totals of a thread."""
    counts = {
        name: max(0, getattr(after, name) - getattr(before, name))
        for name in after.__struct_fields__
    }
    return notifications.TokenCounts(**counts)


def added(first: events.Usage, second: events.Usage) -> events.Usage:
    """Return the counts of two turns together."""
    return events.Usage(
        first.prompt_tokens + second.prompt_tokens,
        first.completion_tokens + second.completion_tokens,
        first.cached_tokens + second.cached_tokens,
        first.reasoning_tokens + second.reasoning_tokens,
    )
