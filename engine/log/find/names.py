"""The names that a stream can be asked for by, and what becomes of one that is not found.

A stream has several: its own id (`st_…`), the one its client sent or was given as
`x-request-id`, and the id of its answer (`chatcmpl-…`, `resp_…`). The beginning of one is enough
where nothing else begins so. A refused request has an id of its own (`rj_…`) and its client's; the
life of a worker process has one (`wk_…`).
"""

import itertools
from collections.abc import Iterable
from typing import Final

import msgspec

from engine.log.summary import rows

NEAR_MOST: Final = 3
"""Ids that are offered in place of one that is not found."""

NEAR_SHARED: Final = 4
"""Characters that an id must share with it, at the beginning or at the end, beyond its kind."""


class Covered(msgspec.Struct, frozen=True):
    """The time that a log holds streams of, in microseconds since the epoch; None: none."""

    first_us: int | None = None
    last_us: int | None = None


class NotFound(LookupError):
    """Raised for a name that no stream of a log has.

    Args:
        name: as it was asked for.
        covered: what the log holds.
        near: ids that come close.
    """

    def __init__(self, name: str, covered: Covered, near: tuple[str, ...] = ()) -> None:
        super().__init__(name)
        self.name = name
        self.covered = covered
        self.near = near


class Gone(NotFound):
    """Raised for a stream whose records were deleted with their segment, or erased: its row is
    left.

    Args:
        row: of the stream.
    """

    def __init__(self, name: str, covered: Covered, row: rows.Summary) -> None:
        super().__init__(name, covered)
        self.row = row


class Ambiguous(LookupError):
    """Raised for a name that several streams have: a client's id may repeat, a beginning may be of
    several ids.

    Args:
        found: their rows, newest first.
    """

    def __init__(self, name: str, found: tuple[rows.Summary, ...]) -> None:
        super().__init__(name)
        self.name = name
        self.found = found


def near(name: str, ids: Iterable[str]) -> tuple[str, ...]:
    """Return the ids that come closest to a name: those that share most of their beginning or of
    their end with it, or that have it in them."""
    found = []
    turned = name[::-1]
    kind = len(name) - len(name.rpartition("_")[2].rpartition("-")[2])
    for each in set(ids):
        at_start = _shared(name, each) - kind
        at_end = _shared(turned, each[::-1])
        shared = len(name) if len(name) >= NEAR_SHARED and name in each else max(at_start, at_end)
        if shared >= NEAR_SHARED:
            found.append((-shared, each))
    return tuple(each for _, each in sorted(found)[:NEAR_MOST])


def prefixes(ids: Iterable[str], least: int = 8) -> dict[str, str]:
    """Return the shortest beginning of each id that no other has.

    Args:
        least: characters that are shown at the least.
    """
    ordered = sorted(set(ids))
    shared = [0, *(_shared(a, b) for a, b in itertools.pairwise(ordered)), 0]
    return {
        each: each[: max(least, shared[at] + 1, shared[at + 1] + 1)]
        for at, each in enumerate(ordered)
    }


def _shared(a: str, b: str) -> int:
    """How many characters two texts have in common at their beginning."""
    pairs = enumerate(zip(a, b, strict=False))
    return next((at for at, (x, y) in pairs if x != y), min(len(a), len(b)))
