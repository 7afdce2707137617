"""One choice of a stream: its state, its held text and calls, its counts."""

import enum
from typing import Final

import msgspec

from machines import events, outputs
from machines.stream.cutoff import CutOff
from machines.stream.states import FINISHED, TABLE
from machines.tools.buffer import OutputList, ToolBuffer

LONGEST_TEXT: Final = 1 << 14
"""Most code points of a delta that is passed on without a step. One of this length may be a
thousand blocks of `<use_tool>`, which take some 20 ms: every other stream waits that long."""


class NoCounts(enum.Enum):
    """Stands in place of a choice's counts."""

    AWAITED = enum.auto()
    """They may still come."""

    DUE = enum.auto()
    """The choice was cut here: an estimate is to come, unless the worker has counts after all."""

    UNKNOWN = enum.auto()
    """They will never come."""


class Estimate(msgspec.Struct, frozen=True, gc=False):
    """Counts of ours, which those of the worker replace."""

    usage: events.Usage


Counts = events.Usage | Estimate | NoCounts
"""The counts of a choice, or why there are none."""


class Choice:
    """One answer of a stream; only `machines.stream.machine` and `choices` change it.

    Attributes:
        followed: whether counts or a failure of its worker come behind the finish.
        path: the states that it came to in the step at hand, in order.
    """

    __slots__ = (
        "counts",
        "cutoff",
        "followed",
        "held",
        "index",
        "path",
        "plain",
        "reason",
        "state",
        "tools",
        "word",
    )

    def __init__(self, index: int, opened: events.Opened, state: str) -> None:
        cuts = bool(opened.stop) or opened.max_bytes is not None
        self.index = index
        self.state = state
        self.path: list[str] = []
        self.cutoff = CutOff(opened.stop, opened.max_bytes) if cuts else None
        self.tools = ToolBuffer(index, opened)
        self.plain = self.cutoff is None and self.tools.inert
        self.held = ""
        self.reason: str | None = None
        self.word: str | None = None
        self.counts: Counts = NoCounts.AWAITED
        self.followed = False

    def move(self, trigger: str) -> None:
        """Take the transition that the table has for `trigger`."""
        state = TABLE.transitions[self.state, trigger]
        if state != self.state:
            self.state = state
            self.path.append(state)

    @property
    def is_between_calls(self) -> bool:
        """Whether it may be finished now: it has calls, and none is on its way."""
        return self.tools.is_between_calls and (self.state, FINISHED) in TABLE.transitions

    def waits(self, wants_usage: bool) -> bool:
        """Return whether the answer waits for counts: its client wants them, or they mark its
        end."""
        if self.counts is NoCounts.AWAITED:
            return wants_usage or self.followed
        return self.counts is NoCounts.DUE  # which the log wants, whoever else does

    def passes(self, text: str) -> bool:
        """Return whether a text is content as it is: nothing in it is cut off, held back or a
        call."""
        return self.plain or (self.cutoff is None and self.tools.passes(text))

    def release(
        self, text: str, decided: outputs.Decision | None
    ) -> tuple[outputs.Decision | None, OutputList]:
        """Take a text and return what may go to the client now; the rest stays held.

        Args:
            decided: what was decided when the text first came; None where nothing was, or where
                it is to be decided now.
        """
        if self.cutoff is None:
            return self._read(text, outputs.Decision(len(text)), decided)
        self.held += text
        return self._part(decided or self.cutoff.feed(text), decided)

    def release_last(
        self, decided: outputs.Decision | None
    ) -> tuple[outputs.Decision | None, OutputList]:
        """Flush the text that the cut-off still holds, at the end of the turn."""
        decision: outputs.Decision | None = None
        emitted: OutputList = []
        if self.cutoff is not None and self.held:
            decision, emitted = self._part(decided or self.cutoff.end(), decided)
        return decision, emitted + self.tools.spill("")

    def spill(self) -> OutputList:
        """Flush everything that is held, unscanned: for ends that are not the worker's own."""
        held, self.held = self.held, ""
        return self.tools.spill(held)

    def give_up_counts(self) -> None:
        """Take the counts for unknown, unless there are some."""
        if isinstance(self.counts, NoCounts):
            self.counts = NoCounts.UNKNOWN

    def miss_counts(self, opened: events.Opened) -> None:
        """Have the counts estimated, unless there are some: the choice was cut."""
        if self.counts is NoCounts.AWAITED:
            estimated = opened.prompt_bytes is not None
            self.counts = NoCounts.DUE if estimated else NoCounts.UNKNOWN

    def estimate(self, usage: events.Usage) -> None:
        """Take an estimate for the counts that are due."""
        if self.counts is NoCounts.DUE:
            self.counts = Estimate(usage)

    def count(self, usage: events.Usage | None) -> None:
        """Merge counts by field-wise maximum: they may be repeated, and are never summed."""
        if usage is None:
            self.give_up_counts()
            return
        if self.counts is NoCounts.UNKNOWN:
            return
        known = self.counts if isinstance(self.counts, events.Usage) else usage
        self.counts = known.larger(usage)

    def _part(
        self, decision: outputs.Decision, decided: outputs.Decision | None
    ) -> tuple[outputs.Decision | None, OutputList]:
        """Release the part of the held text that the cut-off decided on."""
        released, rest = self.held[: decision.released], self.held[decision.released :]
        self.held = "" if decision.cut else rest
        return self._read(released, decision, decided)

    def _read(
        self, text: str, decision: outputs.Decision, decided: outputs.Decision | None
    ) -> tuple[outputs.Decision | None, OutputList]:
        """Find the calls in released text; no decision where there was nothing to decide."""
        emitted, pieces = self.tools.text(text, decided.pieces if decided is not None else None)
        if decided is not None:
            return decided, emitted
        if pieces is None:
            return (decision if self.cutoff is not None else None), emitted
        cut = "tool_calls" if self.tools.full else decision.cut
        cut = "call_limit" if self.tools.exceeds else cut
        return outputs.Decision(decision.released, cut, pieces), emitted


def merged(
    released: outputs.Decision | None, of_calls: outputs.Decision | None
) -> outputs.Decision | None:
    """Join the decisions about the last text and about the calls behind it."""
    if released is None or of_calls is None:
        return released or of_calls
    return msgspec.structs.replace(
        released, joined=of_calls.joined, repeats=of_calls.repeats, marked=of_calls.marked
    )
