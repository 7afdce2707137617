"""Length and keyed hash of a body: how a log knows its bytes without holding them."""

import hashlib
import os
import secrets
from pathlib import Path
from typing import Final

HASH_BYTES: Final = 16
"""Length of the terminal record's `body_hash`: BLAKE2b-128."""


KEY_NAME: Final = "hash.key"
"""File with the key of a log's body hashes, beside its segments."""


def load_key(directory: Path) -> bytes:
    """The key of a log, made when it is first asked for. Only its owner may read it.

    Raises:
        OSError: it can be neither read nor made.
    """
    path = directory / KEY_NAME
    try:
        return bytes.fromhex(path.read_text())
    except (FileNotFoundError, ValueError):
        key = secrets.token_bytes(HASH_BYTES)
    with open(path, "w", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        file.write(key.hex())
    return key


class BodyDigest:
    """Of a body that comes in pieces, before HTTP framing.

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
