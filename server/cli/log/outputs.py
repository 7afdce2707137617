"""The files that a command over a log makes: what is in the way of one, and why it cannot be."""

import errno
from pathlib import Path
from typing import Final

from engine import regular

FREE_SPACE: Final = frozenset((errno.ENOSPC, errno.EDQUOT))


class Unwritable(Exception):
    """Raised for a file that cannot be written; what to do about it is in its notes."""


def in_the_way(path: Path, *, force: bool) -> tuple[str, ...]:
    """Return what is wrong with the place of a file, in sentences; nothing where it can be made.

    Args:
        force: whether a file that is there may be replaced.
    """
    if path.is_dir():
        return (f"{path}: is a directory; name a file in it",)
    if path.exists() and not path.is_file():
        return (f"{path}: is not a regular file; name another",)
    if path.exists() and not force:
        return (f"{path}: exists; --force replaces it",)
    return ()


def write(path: Path, data: bytes) -> None:
    """Write a file, whole or not at all.

    Raises:
        Unwritable: it cannot be.
    """
    try:
        regular.replace(path, data)
    except OSError as error:
        raise _refusal(path, error) from None


def make_directory(path: Path) -> None:
    """Make a directory, and those above it, where they are not there.

    Raises:
        Unwritable: it cannot be.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        refusal = Unwritable(f"{path}: something else is there, or above it")
        refusal.add_note("Name a directory, or a place for a new one.")
        raise refusal from None
    except OSError as error:
        raise _refusal(path, error) from None


def _refusal(path: Path, error: OSError) -> Unwritable:
    refusal = Unwritable(f"{path}: cannot be written: {error.strerror or error}")
    above = next((each for each in path.parents if each.exists()), path.parent)
    if not above.is_dir():
        refusal.add_note(f"{above} is no directory; name another place.")
    elif above != path.parent:
        refusal.add_note(f"There is no directory {path.parent}; make it first.")
    elif error.errno in FREE_SPACE:
        refusal.add_note("Nothing was written; make room, or name a place on another disk.")
    return refusal
