"""What a reload changes, what waits for a restart, and what is said of it."""

from pathlib import Path
from typing import Any

from engine.routing.fleet import Rule
from server.config import changes, load as configuration, settings
from server.config.settings import Config
from tests.server import keyed


def config(**fields: Any) -> Config:
    return Config(data_dir=Path("/d"), log_dir=Path("/l"), **fields)


def told(before: Config, after: Config) -> dict[str, tuple[str | None, str | None, bool]]:
    return {name: rest for name, *rest in changes.changes(before, after)}  # type: ignore[misc]  # a Change


def test_every_setting_that_is_live_is_one() -> None:
    assert not changes.LIVE - {item.field for item in settings.SETTINGS}


def test_what_made_something_at_the_start_is_not_live() -> None:
    """A list, so that whoever makes a setting live has thought of what was made with it."""
    waiting = {item.field for item in settings.SETTINGS} - changes.LIVE
    assert {"host", "port", "worker", "data_dir", "log_dir", "max_body_bytes"} <= waiting
    assert {item.field for item in settings.SETTINGS if item.field.startswith("worker")} <= waiting
    assert {item.field for item in settings.SETTINGS if item.field.startswith("log_")} <= waiting
    assert {item.field for item in settings.SETTINGS if item.field.startswith("codex_")} <= waiting


def test_of_what_was_read_the_live_part_comes_into_force() -> None:
    running = config(port=1, timeout_ms=5, sources={"port": "flag", "timeout_ms": "env"})
    read = config(
        port=2,
        timeout_ms=6,
        models={"a": Rule()},
        keys={"alice": keyed.held("alice")},
        sources={"port": "env", "timeout_ms": "file"},
    )
    merged = changes.merge(running, read)
    assert (merged.port, merged.timeout_ms) == (1, 6)
    assert (list(merged.models), list(merged.keys)) == (["a"], ["alice"])
    assert merged.sources == {"port": "flag", "timeout_ms": "file"}
    assert changes.merge(running, running) == running


def test_each_change_is_told_with_what_it_was_and_is() -> None:
    running = config(
        port=1,
        timeout_ms=5,
        models={"a": Rule(), "b": Rule()},
        keys={"alice": keyed.held("alice"), "bob": keyed.held("bob"), "eve": keyed.held("eve")},
    )
    read = config(
        port=2,
        timeout_ms=6,
        models={"a": Rule(effort="high"), "c": Rule()},
        keys={
            "alice": keyed.held("alice", streams=2),
            "bob": keyed.held("bob", 2),
            "carol": keyed.held("carol"),
        },
    )
    assert told(running, read) == {
        "PORT": ["1", "2", True],
        "PROXY_TIMEOUT_MS": ["5", "6", False],
        "models.a": ["codex: a", "codex: a, effort high", False],
        "models.b": ["codex: b", None, False],
        "models.c": [None, "codex: c", False],
        "keys.alice": ["all models", "all models, 2 streams", False],
        "keys.bob": ["all models", "all models, another key", False],
        "keys.eve": ["all models", None, False],
        "keys.carol": [None, "all models", False],
    }
    assert told(read, read) == {}


def test_secrets_are_not_among_what_is_told() -> None:
    secrets = {name: f"{name}-0123456789" for name in ("api_key", "admin_key", "upstream_api_key")}
    found = list(changes.changes(config(), config(**secrets)))
    assert len(found) == len(secrets)
    assert not any(value in str(found) for value in secrets.values())
    assert {change.after for change in found} == {"********"}


def test_a_half_that_must_not_run_is_noticed_by_the_same_check() -> None:
    running = config(host="0.0.0.0", api_key="k" * 16)
    read = config(host="127.0.0.1")
    configuration.check(read)
    try:
        configuration.check(changes.merge(running, read))
    except configuration.ConfigError as error:
        assert error.name == "PROXY_API_KEY"
    else:
        raise AssertionError("a server without a key would listen everywhere")
