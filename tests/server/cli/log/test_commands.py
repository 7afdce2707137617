"""Which log a command is about."""

from pathlib import Path

import pytest

from server.cli.log import commands


def test_a_path_that_is_given_is_the_log_and_else_the_configured_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert commands.path_of(tmp_path) == tmp_path
    monkeypatch.setenv("PROXY_LOG_DIR", str(tmp_path / "configured"))
    assert commands.path_of(None) == tmp_path / "configured"
