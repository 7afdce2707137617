"""What the doctor says of a file of keys."""

import datetime
from pathlib import Path

from server.cli.checks import keys
from server.cli.checks.findings import Status
from server.config.settings import Config
from tests.server import keyed

PATH = Path("/etc/turntape/keys.json")


def found(api_key: str | None = None, **expires: str | None) -> list[tuple[Status, str]]:
    named = {name: keyed.held(name, expires=end) for name, end in expires.items()}
    config = Config(data_dir=PATH, log_dir=PATH, api_keys_file=PATH, keys=named, api_key=api_key)
    return [(each.status, each.found) for each in keys.check(config)]


def after(**time: float) -> str:
    return (datetime.datetime.now(datetime.UTC) + datetime.timedelta(**time)).isoformat()


def test_without_a_file_nothing_is_said() -> None:
    assert list(keys.check(Config(data_dir=PATH, log_dir=PATH))) == []


def test_keys_that_are_good_for_long_are_counted() -> None:
    assert found(alice=None, bob=after(days=30)) == [(Status.OK, f"2 in {PATH}")]


def test_where_nobody_comes_in_it_is_said() -> None:
    assert found() == [(Status.WARN, f"none in {PATH}: nobody comes in")]
    assert found(api_key="k" * 16) == [(Status.OK, f"0 in {PATH}")]


def test_keys_that_end_are_named() -> None:
    ended = {f"old{number}": after(hours=-1) for number in range(5)}
    assert found(alice=after(days=6), bob=None, **ended) == [
        (Status.WARN, "5 of 7 have expired: old0, old1, old2 and 2 more"),
        (Status.WARN, "1 of 7 expire within a week: alice"),
    ]
