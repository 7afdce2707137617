"""Which name a key goes by: hostile keys, expired ones, and what a search costs."""

import hashlib
import time
import timeit

import pytest

from server.keys import keyring
from server.keys.account import Account
from server.keys.keyring import Grant, Keyring, Models

NOW = 1_800_000_000.0


def ring(count: int, expires_at: float | None = None) -> Keyring:
    """A keyring of so many keys, `key-0` and so on, which go by the names `0` and so on."""
    names = [str(number) for number in range(count)]
    grants = {name: Grant(name, Account()) for name in names}
    digests = [
        (hashlib.sha256(f"key-{name}".encode()).digest(), name, expires_at) for name in names
    ]
    return Keyring(grants, digests)


def test_a_key_is_found_by_itself_alone() -> None:
    keys = ring(100)
    for name in ("0", "42", "99"):
        found = keys.find(f"key-{name}", NOW)
        assert found is keys.grants[name]
    digest = hashlib.sha256(b"key-1").hexdigest()
    hostile = ("", "key-", "KEY-1", "key-1 ", "key-100", digest, f"sha256:{digest}", "key-1\0")
    for key in (*hostile, "k" * 1_000_000, "é" * 100, "\udc80"[:0] + "ÿ"):
        assert keys.find(key, NOW) is None


def test_a_name_may_have_an_old_and_a_new_key() -> None:
    grant = Grant("alice", Account())
    digests = [(hashlib.sha256(key).digest(), "alice", None) for key in (b"old", b"new")]
    keys = Keyring({"alice": grant}, digests)
    assert keys.find("old", NOW) is keys.find("new", NOW) is grant


def test_an_expired_key_is_told_to_its_holder_only() -> None:
    keys = ring(2, NOW)
    assert keys.find("key-0", NOW - 0.001) is not None
    with pytest.raises(keyring.KeyExpired):
        keys.find("key-0", NOW)
    assert keys.find("key-9", NOW) is None


def test_an_owner_is_a_name_and_no_former_hash_is_taken_for_one() -> None:
    assert Grant("alice", Account()).key_id == "name:alice"
    assert Grant("", Account()).key_id == keyring.NOBODY.key_id == ""
    former = keyring.hashed_id("sk-client-1234567890")
    assert former == hashlib.blake2b(b"sk-client-1234567890", digest_size=8).hexdigest()
    assert keyring.id_of(former) != former


def test_models_are_names_or_beginnings() -> None:
    some = Grant("a", Account(), models=Models.of(["gpt-5.5", "codex-5*", "team/*"]))
    for name in ("gpt-5.5", "codex-5", "codex-5-high", "team/reviewer"):
        assert some.allows(name)
    for name in ("gpt-5.5x", "gpt-5", "codex", "Codex-5", "", "*"):
        assert not some.allows(name)
    assert Grant("a", Account()).allows("anything")
    assert not Grant("a", Account(), models=Models.of([])).allows("anything")
    assert Grant("a", Account(), models=Models.of(["*"])).allows("anything")


def test_a_thousand_keys_cost_as_much_as_one() -> None:
    """A search through all would take some hundred times as long."""
    few, many = ring(1), ring(1000)

    def seconds(keys: Keyring, key: str) -> float:
        calls = lambda: keys.find(key, NOW)  # noqa: E731 - timed as it stands
        return min(timeit.repeat(calls, repeat=20, number=200, timer=time.thread_time))

    for key in ("key-0", "key-none"):
        assert seconds(many, key) < 5 * seconds(few, key)
