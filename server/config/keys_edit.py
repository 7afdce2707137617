"""Changes the file of named keys: one change after another, each whole, none of them lost.

Two commands may change it at once, and a server may read it meanwhile. So whoever changes it holds
a lock beside it from the reading to the writing, and puts a whole new file in the old one's place.
"""

import contextlib
import fcntl
import functools
import hashlib
import json
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from engine import regular
from server.config import keys_file

LOCK: Final = ".lock"
"""The end of the lock's name, behind that of the file of keys."""

KEY_PREFIX: Final = "sk-tt-"
"""How a key begins that is made here: `sk-` is what diagnostics and error texts hide by its form,
for the value of a key is known to its holder alone."""

KEY_BYTES: Final = 32
"""Random bytes of a key that is made here."""


def make_key() -> str:
    """Return a new key."""
    return KEY_PREFIX + secrets.token_urlsafe(KEY_BYTES)


def hash_of(key: str) -> str:
    """Return a key's hash as the file has it."""
    return keys_file.HASH_PREFIX + hashlib.sha256(key.encode()).hexdigest()


def read(path: Path) -> dict[str, keys_file.Key]:
    """Return the keys of a file that somebody has named: complaints name it too.

    Raises:
        KeysFileError: as `keys_file.load`.
    """
    try:
        return keys_file.load(path)
    except keys_file.KeysFileError as error:
        raise keys_file.KeysFileError(f"{path}: {error}") from None


class Editing:
    """The keys of a file while it is changed: `keys` is what will be written."""

    def __init__(self, keys: dict[str, keys_file.Key]) -> None:
        self.keys = keys


@contextlib.contextmanager
def editing(path: Path) -> Iterator[Editing]:
    """Change a file's keys: what they are at the end is written, unless an exception ends it.

    Raises:
        KeysFileError: what is in the file cannot be used, so nothing is changed.
        OSError: it cannot be read or written.
    """
    path = path.resolve()  # a link stays one
    with _locked(path):
        before = read(path) if path.exists() else {}
        change = Editing(dict(before))
        yield change
        if change.keys != before or not path.exists():
            data = written(change.keys)
            keys_file.parse(data)  # nothing is written that a server would not read
            regular.replace(path, data, functools.partial(_take_after, path=path))


def written(keys: dict[str, keys_file.Key]) -> bytes:
    """Return the text of a file with these keys."""
    members = {
        name: {
            field: value
            for field, value in msgspec.structs.asdict(key).items()
            if value not in (None, "")
        }
        for name, key in keys.items()
    }
    return (json.dumps({"keys": members}, indent=2) + "\n").encode()


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    lock = regular.open_regular(path.with_name(path.name + LOCK), os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _take_after(fd: int, path: Path) -> None:
    """Leave a file to the server's user, where root changes it; let its group read it still."""
    with contextlib.suppress(FileNotFoundError):
        old, own = path.stat(), os.fstat(fd)
        if (own.st_uid, own.st_gid) != (old.st_uid, old.st_gid):
            os.fchown(fd, old.st_uid, old.st_gid)
        os.fchmod(fd, old.st_mode & 0o640)
