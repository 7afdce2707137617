"""The older name does what the new ones do, and says which these are."""

from pathlib import Path

import pytest

from tests.server.cli.log import asked


def test_a_path_alone_is_a_list(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    asked.write(tmp_path, {}, {"kind": "timeout"})
    _, wanted, _ = asked.run(capfd, "log", tmp_path)
    status, said, complained = asked.run(capfd, "inspect", tmp_path)
    assert (status, said) == (0, wanted)
    assert complained == "turntape: inspect is an older name: use `turntape log PATH`\n"


def test_one_request_is_shown_step_by_step(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    asked.write(tmp_path, {})
    status, said, complained = asked.run(capfd, "inspect", tmp_path, "--request", "req_0")
    assert status == 0
    assert said.startswith("stream st_0000, request req_0")
    assert "turntape show --all --log PATH ID" in complained
    assert asked.run(capfd, "inspect", tmp_path, "--request", "nobody")[0] == 3
