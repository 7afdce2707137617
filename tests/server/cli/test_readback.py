"""What `inspect` and `replay` print of a log, and what they end with."""

from pathlib import Path

import pytest

from server.cli import command_line as cli
from tests.engine.log import test_replay
from tests.support.logs import logs

FORGED = "\x1b[31mX\r\nst_0000  2026-01-01T00:00:00.000000  forged\u202e"
"""A model's name that would write a row of its own, in red."""

OPENED, *REST = test_replay.FULL


def run(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str]:
    """Exit status and output of a command."""
    status, said, _ = run_whole(capsys, *arguments)
    return status, said


def run_whole(capfd: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    """Exit status, output and complaints of a command."""
    status = cli.main([*map(str, arguments)])
    said = capfd.readouterr()
    return status, said.out, said.err


@pytest.mark.parametrize("where", ["model", "request_id"])
@pytest.mark.parametrize("command", ["list", "steps", "replay"])
def test_foreign_text_is_one_row_and_steers_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], where: str, command: str
) -> None:
    path = logs.write(tmp_path / "log.jsonl", OPENED | {where: FORGED}, *REST[:-1])
    arguments = {
        "list": ("inspect", path),
        "steps": ("inspect", path, "--request", "st_1"),
        "replay": ("replay", path, "--request", FORGED),
    }
    _, said = run(capsys, *arguments[command])
    assert not {"\x1b", "\r", "\u202e"} & set(said)
    assert not any(line.startswith("st_0000") for line in said.splitlines())
    if command != "replay":
        shown = "\\x1b[31mX\\r\\nst_0000" in said
        assert shown is ((command, where) in (("steps", "request_id"), ("list", "model")))


def test_a_divergence_that_holds_foreign_text_is_a_table_all_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changed = REST[0] | {"out": ["head", FORGED]}
    path = logs.write(tmp_path / "log.jsonl", OPENED, changed, *REST[1:])
    status, said = run(capsys, "replay", path)
    assert status == 1
    assert "\x1b" not in said
    assert len(said.splitlines()) == 4


def test_an_id_of_nothing_is_said(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = logs.write(tmp_path / "log.jsonl", OPENED, *REST)
    status, said, complained = run_whole(capfd, "inspect", path, "--request", "nobody")
    assert (status, said) == (3, "")
    assert complained.startswith("turntape: no stream is called nobody\n")
    assert run_whole(capfd, "replay", path, "--request", "nobody") == (
        *(3, ""),
        "turntape: no finished stream is called nobody\n",
    )
    assert run(capfd, "inspect", path, "--request", "st_1")[0] == 0


def test_a_stream_without_an_end_is_no_finished_one(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = logs.write(tmp_path / "log.jsonl", OPENED, *REST[:-1])
    status, said, complained = run_whole(capfd, "replay", path, "--request", "st_1")
    assert status == 3
    assert "1 without an end" in said
    assert complained == "turntape: no finished stream is called st_1\n"


def test_all_states_of_a_step_are_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    last = REST[3] | {"states": ["finish", "done"]}
    path = logs.write(tmp_path / "log.jsonl", OPENED | {"schema": 2}, *REST[:3], last)
    _, said = run(capsys, "inspect", path, "--request", "st_1")
    assert "finish > done" in said


def test_what_is_in_the_place_of_a_file_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    event_log = logs.open_log(tmp_path)
    logs.write_stream(event_log, "s")
    event_log.close()
    chain = tmp_path / "chain"
    chain.unlink()
    chain.symlink_to(tmp_path / "lock")
    for command in ("inspect", "replay"):
        assert run(capsys, command, tmp_path) == (2, f"{chain}: corrupt: is not a regular file\n")
    assert (tmp_path / "lock").read_text().strip().isdigit()
