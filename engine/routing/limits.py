"""Keeps the limits of a request on the way to its stream, where no machine and no worker does.

Each stream's machine keeps those its first target's worker cannot. A target that stands in may
be able to do less.
"""

from collections.abc import Callable
from typing import Final

import msgspec

from engine import worker
from machines import events, outputs
from machines.stream import cutoff


class Limits(msgspec.Struct, frozen=True):
    """The limits at which an answer ends early.

    Attributes:
        stop: sequences.
        max_bytes: of text; None for no limit.
    """

    stop: tuple[str, ...] = ()
    max_bytes: int | None = None


NONE: Final = Limits()
"""The limits of a request that has none."""


OnCut = Callable[[int], None]
"""Called with a choice whose turn is no longer wanted, before its stream learns of its end."""


def limited(limits: Limits, feed: worker.Feed, on_cut: OnCut) -> worker.Feed:
    """Return the feed, or one in front of it that keeps the limits."""
    return feed if limits == NONE else LimitedFeed(limits, feed, on_cut)


class LimitedFeed:
    """Passes the events of a stream on, each choice up to its limits."""

    def __init__(self, limits: Limits, feed: worker.Feed, on_cut: OnCut) -> None:
        self._limits = limits
        self._feed = feed
        self._on_cut = on_cut
        self._texts: dict[int, _Text] = {}

    def event(self, event: events.StreamInput) -> None:
        """Take one event."""
        choice = getattr(event, "choice", 0)
        text = self._texts.setdefault(choice, _Text(self._limits))
        if text.over:
            return
        released, cut = "", None
        if isinstance(event, events.TextDelta):
            released, cut = text.take(event.text)
        elif isinstance(event, events.TurnFinished | events.TurnFailed):
            released, cut = text.take_last()
        if released:
            self._feed.event(events.TextDelta(released, choice))
        if cut is not None:
            text.over = True
            self._on_cut(choice)
            self._feed.event(events.TurnFinished(cut, choice, cut_short=True))
        elif not isinstance(event, events.TextDelta):
            self._feed.event(event)


class _Text:
    """The text of one choice; `over` once it was cut."""

    def __init__(self, limits: Limits) -> None:
        self.over = False
        self._cutoff = cutoff.CutOff(limits.stop, limits.max_bytes)
        self._held = ""

    def take(self, text: str) -> tuple[str, outputs.Cut | None]:
        """Take a text; return what goes on now, and why the answer ends behind it, if it does."""
        self._held += text
        return self._release(self._cutoff.feed(text))

    def take_last(self) -> tuple[str, outputs.Cut | None]:
        """Return the held text as `take` does, when no more can come."""
        return self._release(self._cutoff.end())

    def _release(self, decision: outputs.Decision) -> tuple[str, outputs.Cut | None]:
        released = self._held[: decision.released]
        self._held = self._held[decision.released :]
        return released, decision.cut
