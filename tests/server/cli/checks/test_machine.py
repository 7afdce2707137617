"""The doctor's look at the machine: descriptors, the clock, what is installed."""

import os
import resource
from pathlib import Path

import pytest

from server.cli.checks import machine
from server.cli.checks.findings import Finding, Status
from tests.server.cli.checks import checking


def look(tmp_path: Path, server: int | None = None, **environ: str) -> dict[str, Finding]:
    """The findings about the machine."""
    return checking.by_name(machine.check(checking.config(tmp_path, **environ), server))


def test_too_few_descriptors_for_the_streams_are_a_warning(tmp_path: Path) -> None:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    found = look(tmp_path, PROXY_SSE_MAX_CONCURRENCY=str(soft))["fds"]
    assert found.status is Status.WARN
    assert found.found == f"{soft} for this shell, some {soft + 64} at the configured limits"
    assert "LimitNOFILE=" in found.advice
    assert look(tmp_path, PROXY_SSE_MAX_CONCURRENCY="1")["fds"].status is Status.OK


@pytest.mark.parametrize(
    ("environ", "need"),
    [
        ({"PROXY_WORKER": "codex"}, 64 + 8 + 64),
        ({"PROXY_WORKER": "codex", "WORKER_COUNT": "2"}, 64 + 16 + 128),
        ({"PROXY_WORKER": "codex", "PROXY_SSE_MAX_CONCURRENCY": "10"}, 64 + 8 + 10),
        ({"PROXY_WORKER": "upstream", "PROXY_UPSTREAM_URL": "http://x"}, 64 + 2000),
        ({}, 64 + 1000),
    ],
)
def test_what_a_server_needs_at_its_limits(
    tmp_path: Path, environ: dict[str, str], need: int
) -> None:
    assert machine.wanted(checking.config(tmp_path, **environ)) == need


def test_the_limits_of_a_running_server_are_its_own(tmp_path: Path) -> None:
    found = look(tmp_path, os.getpid())["fds"].found
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert found.startswith(f"{soft} for process {os.getpid()},")


def test_a_server_that_has_gone_meanwhile_has_none(tmp_path: Path) -> None:
    assert " for this shell, " in look(tmp_path, 1 << 30)["fds"].found


def test_a_clock_that_was_never_set_is_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert look(tmp_path)["clock"].status is Status.OK
    monkeypatch.setattr(machine, "YEARS", range(1970, 1971))
    assert look(tmp_path)["clock"].status is Status.FAIL


def test_the_extra_of_a_configured_worker_must_be_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream = {"PROXY_WORKER": "upstream", "PROXY_UPSTREAM_URL": "http://x"}
    assert "upstream (aiohttp " in look(tmp_path, None, **upstream)["extras"].found
    names = ("codex", "otel", "upstream")
    monkeypatch.setattr(machine, "EXTRAS", dict.fromkeys(names, "no-such"))
    missing = look(tmp_path, None, **upstream)["extras"]
    assert (missing.status, missing.found) == (Status.FAIL, "none")
    assert "pip install 'turntape[upstream]'" in missing.advice
    assert look(tmp_path)["extras"].status is Status.OK
    untraced = look(tmp_path, None, PROXY_ENABLE_TRACING="true")["extras"]
    assert untraced.status is Status.FAIL
    assert "pip install 'turntape[otel]'" in untraced.advice


def test_the_scripted_worker_needs_its_transcripts(tmp_path: Path) -> None:
    assert look(tmp_path)["recorded"].status is Status.OK
    none = look(tmp_path, None, PROXY_TRANSCRIPTS_DIR=str(tmp_path))["recorded"]
    assert (none.status, none.found) == (Status.FAIL, f"{tmp_path}: no transcripts")
    other = look(tmp_path, None, PROXY_SCRIPTED_TRANSCRIPT="no-such")["recorded"]
    assert other.found.endswith("no transcript 'no-such'")
    assert "recorded" not in look(tmp_path, None, PROXY_WORKER="codex")
