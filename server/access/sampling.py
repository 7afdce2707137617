"""Decides which access lines are written where not all are: good ones by chance, others whole."""

import zlib
from typing import Final

from server.access.entry import Entry, Severity

WHOLE: Final = 1
"""The rate of a line that stands for itself alone."""

LEFT_OUT: Final = 0
"""The rate of a line that is not written."""

SAMPLED_KINDS: Final = frozenset({"answered", "completed"})
"""The ends that are sampled: a cut, an empty or an aborted answer is rare, and is looked for."""


class Sampler:
    """Chooses one in `rate` of the lines that tell of nothing but success.

    The choice follows from the request's id alone: another process, or the same server after a
    restart, makes the same one, so that all lines of a request are there or none. A client that
    gives its requests ids of its own can choose them so that none of its successes is written.
    Nothing else is chosen: metrics count every request, and the event log has every stream.
    """

    def __init__(self, rate: int = WHOLE) -> None:
        self._rate = rate

    def rate_of(self, entry: Entry, severity: Severity) -> int:
        """Return how many such requests the entry's line stands for; `LEFT_OUT`: it has none."""
        if self._rate == WHOLE or severity > Severity.INFO or entry.kind not in SAMPLED_KINDS:
            return WHOLE
        is_chosen = zlib.crc32(entry.request_id.encode()) % self._rate == 0
        return self._rate if is_chosen else LEFT_OUT
