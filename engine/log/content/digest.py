"""Length and keyed hash of a body: how a log knows its bytes without holding them."""

import hashlib
import os
import secrets
from pathlib import Path
from typing import Final

import structlog

from engine import regular

HASH_BYTES: Final = 16
"""Length of the terminal record's `body_hash`: BLAKE2b-128."""

KEY_NAME: Final = "hash.key"
"""File with the key of a log's body hashes, beside its segments."""

_log = structlog.get_logger(component="event_log")


def load_key(directory: Path) -> bytes:
    """The key of a log, made when it is first asked for. Only its owner may read it.

    One that is no key is kept aside, and another takes its place: without a key the hashes of
    short answers could be guessed, and a server that did not start for it would help nobody. The
    hashes that were made with the lost key can no longer be checked.

    Raises:
        NotRegular: something else is in the file's place.
        OSError: it can be neither read nor made.
    """
    path = directory / KEY_NAME
    try:
        with regular.reader(path) as file:
            key = _key(file.read(2 * HASH_BYTES + 1))
    except FileNotFoundError:
        return _make(path)
    if key is None:
        path.replace(path.with_name(f"{KEY_NAME}.damaged"))
        _log.error("hash_key_replaced", path=str(path))
        return _make(path)
    return key


def _key(text: bytes) -> bytes | None:
    """The key in a file's text; None where it is none."""
    try:
        key = bytes.fromhex(text.decode())
    except ValueError:
        return None
    return key if len(key) == HASH_BYTES else None


def _make(path: Path) -> bytes:
    key = secrets.token_bytes(HASH_BYTES)
    draft = path.with_name(f"{KEY_NAME}.new")
    with os.fdopen(
        regular.open_regular(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), "w"
    ) as file:
        file.write(key.hex())
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    return key


class BodyDigest:
    """Hashes a body that comes in pieces, before HTTP framing.

    Args:
        key: at most 64 bytes; without it the hash of a short body could be guessed.
    """

    def __init__(self, key: bytes) -> None:
        self._hash = hashlib.blake2b(digest_size=HASH_BYTES, key=key)
        self.length = 0

    def update(self, data: bytes) -> None:
        """Add the next piece."""
        self._hash.update(data)
        self.length += len(data)

    def hexdigest(self) -> str:
        """Hash of everything so far."""
        return self._hash.hexdigest()
