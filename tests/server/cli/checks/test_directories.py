"""The doctor's look at the disk: whose directories and files are, who may read them, the room."""

import os
from pathlib import Path

import pytest

from server.cli.checks import directories
from server.cli.checks.findings import Finding, Status
from tests.server.cli.checks import checking


def look(data: Path, **environ: str) -> dict[str, Finding]:
    """The findings about the disk."""
    return checking.by_name(directories.check(checking.config(data, **environ)))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A directory for data with a log and a Codex home in it, all as the server makes them."""
    path = tmp_path / "data"
    for directory in (path, path / "log", path / "codex-home"):
        directory.mkdir(mode=0o700)
    for name in ("responses.sqlite", "log/events-00000001.jsonl", "codex-home/auth.json"):
        (path / name).touch(0o600)
    return path


def test_what_the_server_makes_is_well(data: Path) -> None:
    report = look(data, PROXY_WORKER="codex")
    assert {name: each.status for name, each in report.items() if name != "disk"} == dict.fromkeys(
        ("data", "logs", "home", "files"), Status.OK
    )
    assert report["data"].found == f"{data}, mode 0700"
    assert report["files"].found == "3 with keys or content, none of them for others"


@pytest.mark.parametrize(
    ("mode", "status"),
    [
        (0o755, Status.WARN),
        (0o750, Status.WARN),
        (0o770, Status.FAIL),
        (0o777, Status.FAIL),
    ],
)
@pytest.mark.parametrize(
    ("name", "place"), [("data", ""), ("logs", "log"), ("home", "codex-home")]
)
def test_a_wrong_mode_is_named_with_the_command(
    data: Path, name: str, place: str, mode: int, status: Status
) -> None:
    (data / place).chmod(mode)
    found = look(data, PROXY_WORKER="codex")[name]
    assert found.status is status
    assert f"mode {mode:04o}" in found.found
    assert f"`chmod 0700 {(data / place)}`" in found.advice


@pytest.mark.parametrize(
    "name", ["responses.sqlite", "log/events-00000001.jsonl", "codex-home/auth.json"]
)
def test_a_file_that_others_can_read_is_a_failure(data: Path, name: str) -> None:
    (data / name).chmod(0o644)
    found = look(data, PROXY_WORKER="codex")["files"]
    assert (found.status, found.found) == (Status.FAIL, "1 of 3 can be read by others")
    assert f"`chmod 0600 {data / name}`" in found.advice


def test_many_files_are_counted(data: Path) -> None:
    for number in range(2, 12):
        (data / "log" / f"events-{number:08}.jsonl").touch(0o644)
    found = look(data)["files"]
    assert found.found == "10 of 12 can be read by others"
    assert found.advice.endswith("events-00000004.jsonl` and 7 more.")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives a directory away")
def test_another_users_directory_is_a_failure(data: Path) -> None:
    os.chown(data, 12_345, -1)
    found = look(data)["data"]
    assert found.status is Status.FAIL
    assert found.found.endswith("belongs to user 12345")


def test_what_is_not_there_is_made_where_it_can_be(tmp_path: Path) -> None:
    report = look(tmp_path / "new" / "data")
    assert report["data"].status is Status.OK
    assert report["data"].found == f"{tmp_path}/new/data, which the first start makes"
    assert not (tmp_path / "new").exists()


def test_a_file_in_its_place_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert look(tmp_path / "file")["data"].found == f"{tmp_path}/file is no directory"
    below = look(tmp_path, PROXY_LOG_DIR=str(tmp_path / "file" / "log"))["logs"]
    assert below.status is Status.FAIL
    assert below.found == f"{tmp_path}/file/log: Not a directory"


def test_without_a_log_its_directory_is_not_looked_at(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    given = {"PROXY_EVENT_LOG": "off", "PROXY_LOG_DIR": str(tmp_path / "file" / "log")}
    assert "logs" not in look(tmp_path, **given)


def test_less_room_than_the_log_may_take_is_a_warning(tmp_path: Path) -> None:
    found = look(tmp_path, PROXY_LOG_MAX_BYTES="1024GiB")["disk"]
    assert found.status is Status.WARN
    assert found.found.endswith("and 1.0 TiB may be wanted")
    assert "PROXY_LOG_MAX_BYTES" in found.advice


def test_what_the_log_has_already_is_not_wanted_again(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(directories, "LOW_BYTES", 0)
    os.truncate(data / "log" / "events-00000001.jsonl", 1 << 40)  # a hole, which takes no room
    assert look(data, PROXY_LOG_MAX_BYTES="1024GiB")["disk"].status is Status.OK


def test_a_full_disk_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directories, "FULL_BYTES", 1 << 60)
    found = look(tmp_path)["disk"]
    assert found.status is Status.FAIL
    assert "PROXY_LOG_ON_ERROR" in found.advice
