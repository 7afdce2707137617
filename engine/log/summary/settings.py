"""How summaries are kept, and what they went through."""

import enum

import msgspec


class SummarySettings(msgspec.Struct, frozen=True):
    """How summaries are kept; meanings and defaults as in `docs/configuration.md`.

    Attributes:
        max_age_s: since the last row of a sidecar whose segment is gone; 0 for no limit.
        max_bytes: of all sidecars together; 0 for no limit.
    """

    max_age_s: int = 90 * 86_400
    max_bytes: int = 256 << 20


class SummaryState(enum.Enum):
    """Whether the summaries say all that the log says.

    BEHIND: what a killed process or a stalled disk has left is made up for. FAILING: the last try
    to write failed, and others follow. CLOSED: nothing is written here, or no more.
    """

    WORKING = "working"
    BEHIND = "behind"
    FAILING = "failing"
    CLOSED = "closed"


class SummaryCounts(msgspec.Struct):
    """Counts of summaries since the process began, for metrics.

    Attributes:
        failures: tries to write that failed.
        rebuilt: sidecars that were made again from their segment.
        unreadable: last records that no summary could be made of.
        segments_missed: segments that were deleted before they were summarized.
        pruned: sidecars deleted by retention, of `bytes_pruned` together.
    """

    failures: int = 0
    rebuilt: int = 0
    unreadable: int = 0
    segments_missed: int = 0
    pruned: int = 0
    bytes_pruned: int = 0
