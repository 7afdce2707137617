"""Reads the file of named keys: which there are, and what each may ask for.

The keys themselves are not in it, only their SHA-256 hashes. A slow, salted hash protects what
people choose, for that can be guessed; a key of `turntape keys add` has 256 random bits, which
nobody guesses however fast the hash is, and every request has its key hashed once.

It is JSON, and not TOML as the models file: `turntape keys` writes it too. To write TOML takes a
package of its own, or loses the comments; JSON has none to lose, so each key has a `note`.
`server.config.keys_edit` writes the file.
"""

import datetime
import json
import os
import re
import stat
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

import msgspec
from msgspec import Meta

from engine import regular
from server.config import declared
from server.http import mismatch

T = TypeVar("T")

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""The form of a key's name: it stands in lines, in labels of metrics, and in the store."""

OTHERS_NAMES: Final = frozenset({"PROXY_ADMIN_KEY", "PROXY_METRICS_TOKEN"})
"""Names that access lines have for keys of operators."""

HASH_PREFIX: Final = "sha256:"
"""How a hash begins: with what made it."""

HASH: Final = re.compile(rf"{HASH_PREFIX}[0-9a-f]{{64}}")
"""The form of a hash."""

FILE_BYTES: Final = 16 * declared.MIB
"""Largest file that is read: 10,000 keys with their models take a quarter of it."""

UNSAFE: Final = stat.S_IWGRP | stat.S_IRWXO
"""Bits that the file's mode must not have: whoever may write to it lets himself in. A group may
read it, such as that of the server where root owns the file."""

Amount = Annotated[int, Meta(ge=1, le=1 << 53)]
Window = Annotated[int, Meta(ge=1, le=86_400)]
Pattern = Annotated[str, Meta(pattern=r"^[\x21-\x7e]{1,256}\Z")]
Note = Annotated[str, Meta(max_length=256)]


class Key(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All that the file says of one name. What is left out is not limited.

    Attributes:
        hashes: of the keys that go by this name, the newest first; while a key is replaced there
            are two.
        models: names that it may ask for, and beginnings of names that end with `*`; None: all.
        requests, tokens: so many a window of `window_s` seconds.
        tokens_per_day: a day of UTC.
        streams: answers that may be in the making at once.
        created, expires: in ISO 8601 with a zone; from `expires` on the key is refused.
        note: for people.
    """

    hashes: Annotated[list[str], Meta(min_length=1, max_length=8)]
    models: list[Pattern] | None = None
    requests: Amount | None = None
    tokens: Amount | None = None
    window_s: Window | None = None
    tokens_per_day: Amount | None = None
    streams: Amount | None = None
    created: str | None = None
    expires: str | None = None
    note: Note = ""

    @property
    def digests(self) -> tuple[bytes, ...]:
        """The hashes as bytes."""
        return tuple(bytes.fromhex(each.removeprefix(HASH_PREFIX)) for each in self.hashes)

    @property
    def expires_at(self) -> float | None:
        """When it expires, in seconds since the epoch; None: never."""
        return None if self.expires is None else _instant(self.expires).timestamp()


class KeysFileError(Exception):
    """Raised for a file that must not be used; its text says what is wrong, and holds no key."""


class _Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file: its keys are read one by one, so that a complaint can name them."""

    keys: dict[str, Any]


def load(path: Path) -> dict[str, Key]:
    """The keys of a file, by name.

    Raises:
        KeysFileError: it cannot be read, others may change it, or a key in it is wrong.
    """
    return parse(_read(path))


def parse(data: bytes) -> dict[str, Key]:
    """The keys of a file's text, by name.

    Raises:
        KeysFileError: with the place that is at fault.
    """
    try:
        document = json.loads(data, object_pairs_hook=_members)
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError is a ValueError
        raise KeysFileError(f"is not JSON: {error}") from None
    found = _converted(document, _Document, "")
    keys = {name: _key(name, value) for name, value in found.keys.items()}
    holders: dict[str, str] = {}
    for name, key in keys.items():
        for one in key.hashes:
            if one in holders:
                raise KeysFileError(f"keys.{name}.hashes: keys.{holders[one]} has the same key")
            holders[one] = name
    return keys


def check_name(name: str) -> None:
    """Refuse what cannot be a key's name.

    Raises:
        KeysFileError: it cannot.
    """
    if NAME.fullmatch(name) is None:
        shown = name[: mismatch.SHOWN]
        problem = "letters, digits, `.`, `_` and `-`, at most 64, the first a letter or digit"
        raise KeysFileError(f"{shown!r} is no name of a key: {problem}")
    if name in OTHERS_NAMES:
        raise KeysFileError(f"{name!r} is the name of an operator's key")


def show(key: Key) -> str:
    """Say what a key may do, in one line; its hashes are not shown."""
    window = f" in {key.window_s} s" if key.window_s is not None else " a window"
    said = [
        "all models" if key.models is None else f"models {','.join(key.models) or 'none'}",
        *([f"{key.requests} requests{window}"] if key.requests is not None else []),
        *([f"{key.tokens} tokens{window}"] if key.tokens is not None else []),
        *([f"{key.tokens_per_day} tokens a day"] if key.tokens_per_day is not None else []),
        *([f"{key.streams} streams"] if key.streams is not None else []),
        *([f"expires {key.expires}"] if key.expires is not None else []),
        *([f"{len(key.hashes)} keys by this name"] if len(key.hashes) > 1 else []),
    ]
    return ", ".join(said)


def _read(path: Path) -> bytes:
    try:
        # Links are followed: Kubernetes mounts secrets as links.
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise KeysFileError("is not there; `turntape keys add NAME` makes it") from None
    except OSError as error:
        raise KeysFileError(f"cannot be read: {error.strerror}") from None
    try:
        _check_file(path, os.fstat(fd))
        with open(fd, "rb", closefd=False) as file:
            data = file.read(FILE_BYTES + 1)
    except OSError as error:
        raise KeysFileError(f"cannot be read: {error.strerror}") from None
    finally:
        os.close(fd)
    if len(data) > FILE_BYTES:
        raise KeysFileError(f"has more than {FILE_BYTES} bytes")
    return data


def _check_file(path: Path, found: os.stat_result) -> None:
    """Refuse a file that anyone but its owner, who is the server's user or root, may change."""
    if not stat.S_ISREG(found.st_mode):
        raise regular.NotRegular(path)
    if os.geteuid() not in (0, found.st_uid) and found.st_uid:
        raise KeysFileError(f"belongs to user {found.st_uid}, who could add keys to it")
    if (mode := stat.S_IMODE(found.st_mode)) & UNSAFE:
        raise KeysFileError(f"has mode {mode:04o}, open to others: `chmod 0600 {path}`")


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The members of an object: of two with one name, one would be lost in silence."""
    members: dict[str, Any] = {}
    for name, value in pairs:
        if name in members:
            raise KeysFileError(f"{name[: mismatch.SHOWN]!r} is in it twice")
        members[name] = value
    return members


def _key(name: str, value: Any) -> Key:
    check_name(name)
    key = _converted(value, Key, f"keys.{name}")
    for number, one in enumerate(key.hashes):
        if HASH.fullmatch(one) is None:  # it may be the key itself, which must not be repeated
            problem = f"expected {HASH_PREFIX} and 64 digits of lower-case hexadecimal"
            raise KeysFileError(f"keys.{name}.hashes[{number}]: {problem}")
    for field in ("created", "expires"):
        if (text := getattr(key, field)) is not None:
            try:
                _instant(text)
            except ValueError:
                problem = "expected a time with a zone, such as 2026-01-31T12:00:00Z"
                raise KeysFileError(f"keys.{name}.{field}: {problem}") from None
    return key


def _instant(text: str) -> datetime.datetime:
    given = datetime.datetime.fromisoformat(text)
    if given.tzinfo is None:
        raise ValueError(text)
    return given


def _converted(value: Any, kind: type[T], place: str) -> T:
    found = mismatch.find(kind, value, place)
    if found is not None:
        where = f"{found.path}: " if found.path else ""
        raise KeysFileError(f"{where}{found.problem}")
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError:  # something that `mismatch` has no sentence for
        raise KeysFileError(f"{place or 'it'} is not what it should be") from None
