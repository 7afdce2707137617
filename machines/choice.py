"""What a stream knows of one of its choices: its state, its held text, its counts."""

from typing import Final

from machines import events
from machines.cutoff import CutOff

UNKNOWN: Final = "unknown"
"""In place of a choice's counts: they will never come."""

Counts = events.Usage | str | None
"""A choice's counts: known, `UNKNOWN`, or None while they may still come."""


class Choice:
    """One answer of a stream; only `machines.stream` changes it."""

    __slots__ = ("counts", "cutoff", "held", "index", "reason", "state", "word")

    def __init__(self, index: int, opened: events.Opened, state: str) -> None:
        scanned = bool(opened.stop) or opened.max_bytes is not None
        self.index = index
        self.state = state
        self.cutoff = CutOff(opened.stop, opened.max_bytes) if scanned else None
        self.held = ""
        self.reason: str | None = None
        self.word: str | None = None
        self.counts: Counts = None

    def release(
        self, text: str, decided: events.Decision | None
    ) -> tuple[events.Decision | None, str]:
        """The text that goes on now; what the scanner holds back stays in `held`."""
        if self.cutoff is None:
            return None, text
        return self._part(self.held + text, decided or self.cutoff.feed(text))

    def release_last(self, decided: events.Decision | None) -> tuple[events.Decision | None, str]:
        """What is left to go on when the worker has said its last word."""
        if self.cutoff is None or not self.held:
            return None, ""
        return self._part(self.held, decided or self.cutoff.end())

    def spill(self) -> str:
        """Everything that was held back, unscanned: for endings that are not the worker's word."""
        held, self.held = self.held, ""
        return held

    def count(self, usage: events.Usage | None) -> None:
        """Take counts by field-wise maximum: they may be repeated, and are never summed."""
        if usage is None:
            self.counts = self.counts or UNKNOWN
            return
        if self.counts == UNKNOWN:
            return
        known = self.counts if isinstance(self.counts, events.Usage) else usage
        self.counts = events.Usage(
            max(known.prompt_tokens, usage.prompt_tokens),
            max(known.completion_tokens, usage.completion_tokens),
            max(known.cached_tokens, usage.cached_tokens),
            max(known.reasoning_tokens, usage.reasoning_tokens),
        )

    def _part(self, buffer: str, decision: events.Decision) -> tuple[events.Decision, str]:
        self.held = "" if decision.cut else buffer[decision.released :]
        return decision, buffer[: decision.released]


def total(choices: tuple[Choice, ...]) -> events.Usage | None:
    """Counts of all choices, the prompt once; None while or where any is unknown."""
    known = [choice.counts for choice in choices if isinstance(choice.counts, events.Usage)]
    if len(known) < len(choices):
        return None
    return events.Usage(
        max(usage.prompt_tokens for usage in known),
        sum(usage.completion_tokens for usage in known),
        max(usage.cached_tokens for usage in known),
        sum(usage.reasoning_tokens for usage in known),
    )
