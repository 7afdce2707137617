"""Tokens of a day are there after a restart; nothing that is wrong with their file stops one."""

import asyncio
import stat
from pathlib import Path

import pytest

from server.keys.account import DAY_S, Accounts, Limits
from server.keys.daily import DailyTokens

NOON = 20_000 * DAY_S + DAY_S / 2
LIMITS = Limits(tokens_per_day=100)


def used(path: Path, **tokens: int) -> DailyTokens:
    """The tokens that some keys have used of their day."""
    accounts = Accounts()
    for name, count in tokens.items():
        accounts.of(name).is_daily = True
        accounts.of(name).charge(LIMITS, count, NOON)
    return DailyTokens(path, accounts)


def after_a_restart(path: Path, now: float = NOON) -> Accounts:
    accounts = Accounts()
    DailyTokens(path, accounts).restore(now)
    return accounts


def test_they_survive(tmp_path: Path) -> None:
    path = tmp_path / "key-tokens.json"
    asyncio.run(used(path, alice=100, bob=99).save())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    accounts = after_a_restart(path)
    assert accounts.of("alice").take(LIMITS, NOON + 1) is not None
    assert accounts.of("bob").take(LIMITS, NOON + 1) is None
    assert accounts.of("alice").take(LIMITS, NOON + DAY_S) is None


def test_what_a_clock_that_was_ahead_has_left_refuses_nobody(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "key-tokens.json"
    asyncio.run(used(path, alice=100).save())
    accounts = after_a_restart(path, NOON - DAY_S)
    assert accounts.of("alice").take(LIMITS, NOON - DAY_S) is None
    assert "a day that has not come yet" in capsys.readouterr().out
    accounts.of("bob").is_daily = True
    accounts.of("bob").charge(LIMITS, 100, NOON - DAY_S)
    asyncio.run(DailyTokens(path, accounts).save())
    today = after_a_restart(path, NOON - DAY_S)
    assert today.of("bob").take(LIMITS, NOON - DAY_S) is not None


def test_nothing_is_written_where_no_key_has_such_a_limit(tmp_path: Path) -> None:
    accounts = Accounts()
    accounts.of("alice").charge(LIMITS, 5, NOON)
    asyncio.run(DailyTokens(tmp_path / "none", accounts).save())
    assert list(tmp_path.iterdir()) == []


def test_what_has_not_changed_is_not_written_again(tmp_path: Path) -> None:
    path = tmp_path / "key-tokens.json"
    kept = used(path, alice=1)
    asyncio.run(kept.save())
    path.unlink()
    asyncio.run(kept.save())
    assert not path.exists()


@pytest.mark.parametrize("text", ["", "{", '{"day":"x"}', "[1]", '{"day":1,"tokens":{"a":"b"}}'])
def test_a_damaged_file_is_told_and_forgotten(
    tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "key-tokens.json"
    path.write_text(text)
    assert after_a_restart(path).named() == {}
    assert "key_tokens_not_kept" in capsys.readouterr().out


def test_a_place_that_cannot_be_written_is_told_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = used(tmp_path / "absent" / "key-tokens.json", alice=1)
    asyncio.run(kept.save())
    asyncio.run(kept.save())
    assert capsys.readouterr().out.count("key_tokens_not_kept") == 1
