"""Finds the name that a key goes by, and what may be asked for in that name.

The time of a search must not tell how close a wrong key came. A key is hashed (SHA-256), and its
hash is looked up under a second one whose secret this process makes at its start: what a stranger
sends lands anywhere in the table, whichever keys are in it. What is found there, or zeros, is
compared in constant time. So a search costs the same for one key and for thousands, found or not.
"""

import hashlib
import hmac
import secrets
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

import msgspec

from server.keys.account import UNLIMITED, Account, Limits

SETTING: Final = "PROXY_API_KEY"
"""The name that the key of this setting goes by; a file of keys may say its limits."""

_TAG_BYTES: Final = 16
_NO_DIGEST: Final = bytes(32)


class Models(msgspec.Struct, frozen=True):
    """The names of models that a key may ask for.

    Attributes:
        names: as they are.
        beginnings: of names.
    """

    names: frozenset[str]
    beginnings: tuple[str, ...]

    @classmethod
    def of(cls, patterns: Iterable[str]) -> "Models":
        """Read those of a file of keys: names, and beginnings that end with `*`."""
        given = list(patterns)
        beginnings = tuple(each[:-1] for each in given if each.endswith("*"))
        return cls(frozenset(given), beginnings)

    def allow(self, name: str) -> bool:
        """Whether a name is one of them."""
        return name in self.names or name.startswith(self.beginnings)


def id_of(name: str) -> str:
    """Return the owner of what a key's requests leave behind, empty for nobody's.

    It is made of the name, so that a key that is replaced loses nothing. Its form is none that
    `hashed_id` has.
    """
    return f"name:{name}" if name else ""


def hashed_id(key: str) -> str:
    """Return the owner of what `PROXY_API_KEY` left behind in versions before key names."""
    return hashlib.blake2b(key.encode(), digest_size=8).hexdigest()


class Grant:
    """The right to ask in a key's name: for which models, and how much.

    It stays as it was when a request came in.

    Args:
        name: of the key; empty where the server has none.
        account: what is used in this name.
        models: that it may ask for; None: all.
    """

    __slots__ = ("account", "key_id", "limits", "models", "name")

    def __init__(
        self,
        name: str,
        account: Account,
        limits: Limits = UNLIMITED,
        models: Models | None = None,
    ) -> None:
        self.name = name
        self.account = account
        self.limits = limits
        self.models = models
        self.key_id = id_of(name)

    def allows(self, model: str) -> bool:
        """Whether a model's name may be asked for."""
        return self.models is None or self.models.allow(model)


NOBODY: Final = Grant("", Account())
"""That of whoever has shown no key, where none is needed and nothing is counted."""


class _Held(NamedTuple):
    """One key: its hash, the grant of its name, and its last second."""

    digest: bytes
    grant: Grant
    expires_at: float | None


class KeyExpired(Exception):
    """Raised for a key whose time is over; only its holder learns of it."""


class Keyring:
    """The keys that a server accepts.

    Args:
        grants: by name; the one without a name is for everyone, where no key is needed.
        digests: SHA-256 of each key, with its name and the time at which it expires.
    """

    def __init__(
        self, grants: Mapping[str, Grant], digests: Iterable[tuple[bytes, str, float | None]] = ()
    ) -> None:
        self.grants = grants
        self._secret = secrets.token_bytes(32)
        self._held: dict[bytes, _Held] = {}
        for digest, name, expires_at in digests:
            self.hold(digest, name, expires_at)

    def hold(self, digest: bytes, name: str, expires_at: float | None) -> None:
        """Accept another key; one that was held already goes by this name from now on."""
        self._held[self._tag(digest)] = _Held(digest, self.grants[name], expires_at)

    @property
    def anyone(self) -> Grant:
        """The grant of all requests to a server that needs no key."""
        return self.grants.get("", NOBODY)

    def find(self, key: str, now: float) -> Grant | None:
        """Return the grant of a key; None where nobody holds it.

        Raises:
            KeyExpired: it was one of them.
        """
        digest = hashlib.sha256(key.encode()).digest()
        held = self._held.get(self._tag(digest))
        is_known = hmac.compare_digest(_NO_DIGEST if held is None else held.digest, digest)
        if held is None or not is_known:
            return None
        if held.expires_at is not None and now >= held.expires_at:
            raise KeyExpired
        return held.grant

    def _tag(self, digest: bytes) -> bytes:
        return hashlib.blake2b(digest, key=self._secret, digest_size=_TAG_BYTES).digest()
