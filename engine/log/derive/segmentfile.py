"""Reads one segment a line at a time, and holds it against what it should be."""

import zlib
from collections.abc import Iterator
from pathlib import Path

from engine.log.cold import reading
from engine.log.format import chain, sealed
from engine.log.read import drafts


class Damaged(Exception):
    """Raised for a segment that is not what its log says: it must not be made to look as if it
    were."""


def lines(path: Path, holds: chain.Figures | None) -> Iterator[bytes]:
    """Yield the lines of a segment, its header first if it has one. No more than one of them is in
    memory, and a part of the file.

    Args:
        holds: as the chain says; None where it does not.

    Raises:
        Damaged: it holds something else, which is known behind its last line, or cannot be
            unpacked.
        NotRegular, OSError: it cannot be read.
    """
    records = size = crc = 0
    with drafts.reader(path) as file:
        try:
            while line := file.readline(sealed.LINE_LIMIT):
                records += not sealed.is_kind(line, "segment") or bool(size)
                size += len(line)
                crc = zlib.crc32(line, crc)
                yield line
        except reading.Damaged as error:
            raise Damaged(f"{path}: corrupt: {error.strerror}") from None
    if holds is not None and chain.Figures(records, size, f"{crc:08x}") != holds:
        raise Damaged(f"{path}: corrupt: it is not as it was written")
