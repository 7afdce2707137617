"""Length and keyed hash of a body: how a log knows its bytes without holding them."""

import hashlib
from typing import Final

HASH_BYTES: Final = 16
"""Length of the terminal record's `body_hash`: BLAKE2b-128."""


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
