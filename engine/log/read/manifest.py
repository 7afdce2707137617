"""The expected content of a log's directory, by its chain and its checkpoint, and where it is
another."""

import itertools
from collections.abc import Iterable
from pathlib import Path

import msgspec

from engine import regular
from engine.log.format import chain, sealed
from machines import events


class Looked(msgspec.Struct, frozen=True):
    """The files that were read beside the segments; None where there is no such file."""

    checkpoint: bytes | None
    chain: bytes | None


def look(directory: Path) -> Looked:
    """Read the checkpoint, then the chain: so its lines are all there that the checkpoint knows.

    Raises:
        OSError: one of them is no file, or cannot be read.
    """
    return Looked(_read(directory / chain.CHECKPOINT), _read(directory / chain.CHAIN))


def _read(path: Path) -> bytes | None:
    try:
        with regular.reader(path) as file:
            return file.read()
    except FileNotFoundError:
        return None


class Manifest:
    """The knowledge of the segments of one directory.

    Args:
        headed: whether any of them has a header.

    Attributes:
        chain: None where there is none, as with schema 1, and with files that are read alone.
        checkpoint: None where there is none that can be read.
        problems: what is wrong with the two.
        noted: what earlier starts have found.
    """

    def __init__(self, directory: Path, looked: Looked, headed: bool) -> None:
        self.checkpoint: chain.Checkpoint | None = None
        self.chain: chain.Chain | None = None
        self.problems: list[sealed.Problem] = []
        self.noted: list[sealed.Problem] = []
        if looked.checkpoint is not None:
            self._take_checkpoint(directory / chain.CHECKPOINT, looked.checkpoint)
        path = directory / chain.CHAIN
        if looked.chain is not None:
            self.chain = chain.Chain(path, looked.chain)
            self.problems += self.chain.problems
            self.noted += [found for _, found in self.chain.damaged]
            if not looked.checkpoint:
                self.complain(directory / chain.CHECKPOINT, "is missing")
            self._hold_against(self.chain)
        elif headed or (self.checkpoint is not None and self.checkpoint.lines):
            self.complain(path, "is missing")

    @property
    def closed(self) -> bool:
        """Whether the log was closed: then all that it should hold is known."""
        return self.checkpoint is not None and self.checkpoint.state is chain.LogEnd.CLOSED

    @property
    def newest(self) -> int:
        """Number of the newest segment that chain or checkpoint know of."""
        segment = 0 if self.checkpoint is None else self.checkpoint.segment
        closed = {} if self.chain is None else self.chain.closed
        return max(segment, *closed, 0 if self.chain is None else self.chain.pruned)

    @property
    def is_chained(self) -> bool:
        """Whether the chain can be gone on with."""
        return (
            self.chain is not None
            and self.chain.begun is not None
            and not any(
                each.kind == "corrupt" and each.path == self.chain.path for each in self.problems
            )
        )

    def holds(self, number: int) -> chain.Figures | None:
        """Return the figures of a segment; None where it is not closed, or of before the chain."""
        return None if self.chain is None else self.chain.holds.get(number)

    def held(self, number: int) -> chain.Figures | None:
        """Return the figures that a segment had when it was closed."""
        found = None if self.chain is None else self.chain.closed.get(number)
        return None if found is None else chain.figures(found)

    def synced(self, number: int) -> int:
        """Bytes of a segment that were on the disk, as far as is known."""
        point = self.checkpoint
        return point.synced if point is not None and point.segment == number else 0

    def is_headed(self, number: int) -> bool:
        """Whether a segment begins with a header if it holds anything."""
        begun = None if self.chain is None else self.chain.begun
        return begun is not None and number >= begun.segment

    def is_pruned(self, number: int) -> bool:
        """Whether a segment was deleted, or will be in a moment."""
        return self.chain is not None and number <= self.chain.pruned

    def missing(self, present: Iterable[int]) -> list[tuple[int, int]]:
        """First and last number of each row of segments that should be there beside these."""
        known = set(present)
        if self.chain is None or self.chain.begun is None:
            return _gaps(known)
        if self.chain.unknown:  # a later version may have put them elsewhere
            return []
        oldest = max(self.chain.begun.oldest, self.chain.pruned + 1)
        newest = max(self.newest, *known, 0)
        return _gaps({each for each in known if each >= oldest} | {oldest - 1, newest + 1})

    def strange(self, present: Iterable[int]) -> list[int]:
        """Numbers of segments among these that nobody wrote."""
        if self.chain is None or self.chain.begun is None or self.chain.unknown:
            return []
        last = max(self.chain.closed, default=self.chain.begun.segment - 1)
        return [
            each
            for each in present
            if self.is_headed(each)
            and not self.is_pruned(each)
            and each not in self.chain.closed
            and (each <= last or self.closed)
        ]

    def _take_checkpoint(self, path: Path, data: bytes) -> None:
        found = chain.parse_checkpoint(path, data)
        if isinstance(found, sealed.Problem):
            self.problems.append(found)
        else:
            self.checkpoint = found

    def _hold_against(self, kept: chain.Chain) -> None:
        """Whether chain and checkpoint know the same."""
        if kept.begun is None and not kept.unknown:
            self.complain(kept.path, "does not begin as a chain")
        point = self.checkpoint
        if point is None:
            return
        if point.checkpoint < events.SCHEMA_VERSION:
            self.complain(kept.path.with_name(chain.CHECKPOINT), "is of a log without a chain")
            return
        if not kept.reaches(point):
            self._complain_at_end(kept, f"ends here; {point.lines} lines were written")
        elif self.closed and kept.count > point.lines:
            self._complain_at_end(kept, f"goes on; {point.lines} lines were written")
        if kept.tail:
            kind: sealed.ProblemKind = "corrupt" if self.closed else "torn"
            reason = "the last line has no end"
            self.problems.append(
                sealed.Problem(kind, kept.path, kept.count + 1, kept.length, reason)
            )

    def _complain_at_end(self, kept: chain.Chain, reason: str) -> None:
        problem = sealed.Problem("corrupt", kept.path, kept.count + 1, kept.length, reason)
        self.problems.append(problem)

    def complain(self, path: Path, reason: str) -> None:
        """Say what is wrong with a whole file."""
        self.problems.append(sealed.Problem("corrupt", path, 1, 0, reason))


def _gaps(numbers: set[int]) -> list[tuple[int, int]]:
    """The rows of numbers that are not among these, and between two of them."""
    pairs = itertools.pairwise(sorted(numbers))
    return [(low + 1, high - 1) for low, high in pairs if high - low > 1]


NOTHING_KNOWN = Manifest(Path(), Looked(None, None), headed=False)
"""The manifest of files that are read without their directory."""
