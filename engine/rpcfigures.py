"""Figures of the requests to a worker's processes: how long each took, how many had no result."""

import collections
from typing import Final, Literal

from engine import distribution

SECONDS: Final = tuple(round(0.001 * 2**power, 3) for power in range(15))
"""Bounds of the buckets: 1 ms, doubled up to 16.384 s. A reply comes in milliseconds, and is
waited for 10 s (`WORKER_REQUEST_TIMEOUT_MS`)."""

RpcFailure = Literal["refused", "timed_out", "process_lost", "unreadable"]
"""Why a request has no result."""


class RpcFigures:
    """The requests of one worker since it began, whichever process they went to.

    Attributes:
        seconds: of those that had a reply, by method.
        failures: those that had no result, by method and why.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, distribution.Distribution] = {}
        self.failures: collections.Counter[tuple[str, RpcFailure]] = collections.Counter()

    def replied(self, method: str, seconds: float) -> None:
        """Count a reply, which may be an error."""
        if method not in self.seconds:
            self.seconds[method] = distribution.empty(SECONDS)
        self.seconds[method].observe(seconds, SECONDS)

    def failed(self, method: str, why: RpcFailure) -> None:
        """Count a request without a result."""
        self.failures[method, why] += 1
