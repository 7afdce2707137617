"""The draft of a segment that is rewritten: how a kill between two steps is seen through.

A segment is rewritten in three steps: the new one is written beside it, as `NAME.purge`; the chain
says what the segment holds from now on; the draft gets the segment's name. Between the second and
the third the segment is not what the chain says, and its draft is: then the draft counts. Any
other draft is of no use, and is not read. `engine.log.write.rewriting` takes these steps.
"""

import contextlib
import stat
import zlib
from pathlib import Path
from typing import BinaryIO, Final

from engine import regular
from engine.log.cold import files
from engine.log.format import chain

DRAFT: Final = ".purge"
"""Behind the name of a segment that is written anew."""

_BLOCK: Final = 1 << 20


def of(path: Path) -> Path:
    """Return where the draft of a segment is, whether that is compressed or not."""
    return path.with_name(f"{path.name.removesuffix('.gz')}{DRAFT}")


def current(path: Path, holds: chain.Figures | None) -> Path:
    """Return where a segment is: at its own path, or in the draft that counts in its place."""
    draft = of(path)
    return draft if counts(draft, holds) else path


def counts(draft: Path, holds: chain.Figures | None) -> bool:
    """Whether a draft is there, and is what its segment should hold.

    Args:
        holds: as the chain says; None where it does not.
    """
    with contextlib.suppress(FileNotFoundError):
        found = draft.lstat()
        if holds is not None and stat.S_ISREG(found.st_mode) and found.st_size == holds.bytes:
            return _crc_of(draft) == holds.crc32
    return False


def reader(path: Path) -> BinaryIO:
    """Open a segment, or its draft, which may have got the segment's name since.

    Raises:
        NotRegular, OSError: it cannot be read.
    """
    try:
        return files.open_segment(path)
    except FileNotFoundError:
        if path.suffix != DRAFT:
            raise
        return files.open_segment(path.with_suffix(""))


def _crc_of(path: Path) -> str:
    crc = 0
    with regular.reader(path) as file:
        while block := file.read(_BLOCK):
            crc = zlib.crc32(block, crc)
    return f"{crc:08x}"
