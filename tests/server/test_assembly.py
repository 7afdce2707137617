"""Each part of the server is made as the configuration has it."""

from pathlib import Path
from typing import Any

import pytest

from engine import regular
from engine.log.content import digest
from engine.routing import models
from server import assembly
from server.config import settings
from server.config.settings import Config

NO_MODELS = models.AnyModel(())


def config(directory: Path, **fields: Any) -> Config:
    """A configuration whose files are in a directory."""
    return settings.Config(data_dir=directory, log_dir=directory / "log", **fields)


def test_seconds_are_made_of_milliseconds_and_the_rest_stays(tmp_path: Path) -> None:
    options = assembly.codex_options(
        config(
            tmp_path,
            codex_api_key="sk-1",
            worker_count=3,
            worker_request_timeout_ms=1500,
            park_ttl_ms=2500,
            worker_backoff_max_ms=70,
        )
    )
    assert (options.processes, options.request_timeout, options.park_ttl) == (3, 1.5, 2.5)
    assert (options.limits.backoff_max_ms, options.api_key) == (70, "sk-1")
    assert (options.setup.has_key, options.setup.data_dir) == (True, tmp_path)
    assert not assembly.codex_options(config(tmp_path)).setup.has_key


def test_without_metrics_nothing_is_counted(tmp_path: Path) -> None:
    assert assembly.request_metrics(config(tmp_path, enable_metrics=False), (), tuple) is None
    assert assembly.request_metrics(config(tmp_path), (), tuple) is not None


def test_the_log_is_kept_as_it_is_configured(tmp_path: Path) -> None:
    made = assembly.log_settings(
        config(tmp_path, event_log="full", log_fsync="always", log_max_age_s=7)
    )
    assert (made.directory, made.content, made.fsync) == (tmp_path / "log", "full", "always")
    assert made.max_age_s == 7


def test_a_slow_client_may_hold_an_upstream_longer_than_a_process(tmp_path: Path) -> None:
    upstream = config(tmp_path, worker="upstream", upstream_url="http://u/v1", max_body_bytes=7)
    of_upstream, of_codex = map(assembly.http_limits, (upstream, config(tmp_path)))
    assert of_upstream.body_bytes == 7
    assert of_upstream.over_limit_stall == of_upstream.write_stall
    assert of_codex.over_limit_stall < of_codex.write_stall


def test_the_key_of_the_hashes_is_the_logs(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    key = assembly.hash_key(config(tmp_path))
    assert key == digest.load_key(tmp_path / "log") == assembly.hash_key(config(tmp_path))


def test_without_a_log_the_key_is_of_this_run_alone(tmp_path: Path) -> None:
    off = config(tmp_path, event_log="off")
    assert len({assembly.hash_key(off), assembly.hash_key(off)}) == 2
    assert list(tmp_path.iterdir()) == []


def test_a_log_that_cannot_be_written_is_no_matter_of_its_key(tmp_path: Path) -> None:
    (tmp_path / "log").touch()  # a file, where a directory should be
    assert len(assembly.hash_key(config(tmp_path))) == digest.HASH_BYTES


def test_something_else_in_the_keys_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "log" / digest.KEY_NAME).mkdir(parents=True)
    with pytest.raises(regular.NotRegular):
        assembly.hash_key(config(tmp_path))


@pytest.mark.parametrize("fields", [{"store": "off"}, {"enable_responses": False}])
def test_no_store_is_made_where_nothing_is_kept(tmp_path: Path, fields: dict[str, Any]) -> None:
    assert assembly.response_store(config(tmp_path, **fields)) is None
    assert assembly.response_store(config(tmp_path)) is not None


def test_a_worker_is_made_by_its_name(tmp_path: Path) -> None:
    unused: Any = None
    off = config(tmp_path, use_app_server=False)
    made = assembly.make_worker("codex", off, {}, unused, unused)
    assert made.health().state == "disabled"
    upstream = assembly.upstream_worker(
        config(tmp_path, upstream_url="http://u/v1", upstream_headers=("x-a: b",))
    )
    assert upstream.kind.name == "upstream"
