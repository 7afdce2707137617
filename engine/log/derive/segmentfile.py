"""Reads one closed segment, whole, and holds it against what it should be."""

from pathlib import Path

from engine.log.format import chain, sealed
from engine.log.read import drafts


class Damaged(Exception):
    """Raised for a segment that is not what its log says: it must not be made to look as if it
    were."""


def lines(path: Path, holds: chain.Figures | None) -> list[bytes]:
    """Return the lines of a closed segment, its header first if it has one.

    Args:
        holds: as the chain says; None where it does not.

    Raises:
        Damaged: it holds something else.
        NotRegular, OSError: it cannot be read.
    """
    with drafts.reader(path) as file:
        data = file.read()
    found = data.splitlines(keepends=True)
    headed = bool(found) and sealed.is_kind(found[0], "segment")
    if holds is not None and chain.measure(len(found) - headed, data) != holds:
        raise Damaged(f"{path}: corrupt: it is not as it was written")
    return found
