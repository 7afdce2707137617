"""The times of one answer, told in the answer itself where an operator has switched that on.

The member `metrics` has the form of vLLM's per-request metrics. It is made of the times of the
stream's records, so a replay makes the same bytes again.
"""

from typing import Final

from machines import events, outputs

MEMBER: Final = "metrics"
"""Where they are in a body, or in the chunk of the counts."""

_TOKENS: Final = (
    outputs.Content,
    outputs.Reasoning,
    outputs.Refusal,
    outputs.ToolBlock,
    outputs.ToolCall,
)
"""Outputs that bring something that the model made."""


class RequestMetrics:
    """Measures one answer.

    Args:
        since: when its stream was opened, in microseconds since the epoch.
    """

    def __init__(self, since: int) -> None:
        self._since = since
        self._first: int | None = None
        self._last = since

    def take(self, output: outputs.AnyOutput, now: int) -> None:
        """Take note of an output: of the first that the model made, and of the last finish."""
        if self._first is None and isinstance(output, _TOKENS):
            self._first = self._last = now
        elif isinstance(output, outputs.Finish):
            self._last = now

    def object(self, usage: events.Usage | None) -> dict[str, float | None]:
        """Return the member; what is not known is null.

        Args:
            usage: counts of all choices together.
        """
        first = self._first
        made = 0.0 if first is None else (self._last - first) / 1000
        tokens = 0 if usage is None else usage.completion_tokens
        between = tokens - 1
        return {
            "time_to_first_token_ms": None if first is None else (first - self._since) / 1000,
            "generation_time_ms": None if first is None else made,
            "queue_time_ms": None,  # no worker says how long a turn waited before it was begun
            "mean_itl_ms": made / between if between > 0 and made else None,
            "tokens_per_second": tokens / made * 1000 if tokens and made else None,
        }


def of(opened: events.Opened) -> RequestMetrics | None:
    """Make what measures a stream; None where its answer does not tell."""
    return None if opened.metrics_since is None else RequestMetrics(opened.metrics_since)
