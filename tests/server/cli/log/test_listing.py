"""What `turntape log` lists, in which order, and what it ends with."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from server.cli import printing
from tests.server.cli.log import asked
from tests.support.logs import logs, summaries
from tests.support.process import machinetime, measured, serving

HOSTILE = "\x1b[31mX\r\nst_0000 forged\u202e"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return asked.write(
        tmp_path / "log",
        {"duration_us": 5 * asked.SECOND, "longest_gap_us": 100},
        {"kind": "timeout", "status": 504, "code": "upstream_timeout", "model": "other"},
        {"key": "ci", "duration_us": 9 * asked.SECOND, "longest_gap_us": 3 * asked.SECOND},
        {"kind": "client_gone", "cause": "left", "worker": "codex", "texts": ("secret", " word")},
        {"kind": "open"},
    )


ALL = [f"st_{number:04}" for number in range(5)]


def test_a_summary_that_lies_is_not_shown(
    directory: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = asked.run(capfd, "log", directory, "--json")
    failed = asked.run(capfd, "log", directory, "--failed", "--json")
    summaries.forge(directory, lambda row: {**row, "kind": "empty", "key": "eve", "status": 599})
    assert asked.run(capfd, "log", directory, "--json") == before
    assert asked.run(capfd, "log", directory, "--failed", "--json") == failed
    assert asked.run(capfd, "log", directory, "--key", "eve")[0] == 3


def test_what_a_summary_hides_from_a_filter_its_records_show(
    directory: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    summaries.forge(
        directory,
        lambda row: None if row["kind"] == "client_gone" else {**row, "kind": "completed"},
    )
    flags = (directory, "--failed", "--json", "--from-records")
    assert asked.listed(capfd, *flags) == [ALL[1], ALL[3]]


def test_elsewhere_than_on_a_terminal_the_newest_is_last(
    directory: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    status, said, complained = asked.run(capfd, "log", directory, "--utc")
    assert (status, complained) == (0, "")
    head, day, *lines = said.splitlines()
    assert head.split() == ["ended", "kind", "code", "model", "ttft", "took", "id"]
    assert day == "-- 2025-11-30 UTC"
    assert [line.split()[-1] for line in lines] == ALL
    assert lines[1].startswith("12:01:00 timeout        upstream_timeout other")


@pytest.mark.parametrize(
    ("flags", "numbers"),
    [
        (("--failed",), [1, 3]),
        (("--kind", "timeout,client_gone"), [1, 3]),
        (("--kind", "open"), [4]),
        (("--code", "upstream*"), [1]),
        (("--status", "5xx"), [1]),
        (("--model", "other"), [1]),
        (("--key", "ci"), [2]),
        (("--worker", "codex"), [3]),
        (("--slow", "5s"), [0, 2]),
        (("--gap", "1s"), [2]),
        (("--since", "12:01", "--until", "12:03"), [1, 2]),
        (("--around", "12:01", "--within", "30s"), [1]),
        (("-q", "-is:failed -kind:open"), [0, 2]),
        (("-q", "req_2", "--key", "ci"), [2]),
        (("--sort", "failures"), [3, 1, 4, 2, 0]),
        (("--sort", "slow", "-n", "2"), [2, 0]),
        (("-n", "2"), [3, 4]),
        (("-n", "0"), []),
    ],
)
def test_filters_and_orders(
    flags: tuple[str, ...],
    numbers: list[int],
    directory: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    found = asked.listed(capfd, directory, "--utc", *flags)
    assert found == [ALL[number] for number in numbers]


def test_each_object_of_json_has_its_stream_and_the_members_of_its_row(
    directory: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    _, said, _ = asked.run(capfd, "log", directory, "--json", "--kind", "timeout")
    told = json.loads(said)
    assert (told["stream"], told["kind"], told["code"]) == (ALL[1], "timeout", "upstream_timeout")
    assert told["request_id"] == "req_1"
    assert told["completion_id"] == "chatcmpl-1"


def test_nothing_found_is_3_and_says_what_the_log_covers(
    directory: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    status, said, complained = asked.run(capfd, "log", directory, "--model", "none")
    assert (status, said) == (3, "")
    what, covers = complained.splitlines()
    assert what.endswith(": no stream is like that")
    assert covers.startswith("turntape: The log covers 2025-11-30 ")


def test_a_filter_that_cannot_be_read_is_named_as_it_was_typed(
    directory: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    status, said, complained = asked.run(capfd, "log", directory, "--slow", "fast")
    assert (status, said) == (2, "")
    assert complained.startswith("turntape: --slow fast: it takes a time such as 2s")


def test_no_log_is_a_failure_in_a_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    status, _, complained = asked.run(capfd, "log", tmp_path / "nowhere")
    assert status == 1
    assert complained == f"turntape: {tmp_path}/nowhere: No such file or directory\n"


def test_words_are_searched_and_what_is_masked_is_said(
    directory: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    status, said, complained = asked.run(capfd, "log", directory, "--text", "secret word")
    assert (status, said) == (3, "")
    assert "the texts of 5 are masked" in complained
    full = asked.write(tmp_path / "full", {}, {"texts": ("sec", "ret")}, content="full")
    assert asked.listed(capfd, full, "--text", "SECRET") == [ALL[1]]


def test_ids_are_as_short_as_they_can_be_pasted_into_show(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    asked.write(
        tmp_path, {"stream": "st_5e1f0000aaaa"}, {"stream": "st_5e1f0011bbbb"}, {"stream": "st_77"}
    )
    _, said, _ = asked.run(capfd, "log", tmp_path)
    ids = [line.split()[-1] for line in said.splitlines()[2:]]
    assert ids == ["st_5e1f000", "st_5e1f001", "st_77"]


def test_a_list_fits_80_columns_whatever_is_in_it(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    asked.write(
        tmp_path,
        {"model": HOSTILE * 3},
        {"model": "m" * 100, "kind": "upstream_error", "code": "c" * 60, "ttft_us": 10**10},
        {"stream": f"st_{'a' * 24}", "duration_us": 10**12},
        {"stream": f"st_{'a' * 6}{'b' * 18}"},
    )
    _, said, _ = asked.run(capfd, "log", tmp_path)
    assert len(said.splitlines()) == 6
    assert max(map(len, said.splitlines())) <= 80
    monkeypatch.delenv("COLUMNS")
    _, said, _ = asked.run(capfd, "log", tmp_path)
    assert f" {'*' * 60} {'m' * 100}" in said
    assert "…" not in said


def test_what_a_client_wrote_steers_nothing_and_forges_no_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    asked.write(
        tmp_path,
        {"model": HOSTILE, "request_id": HOSTILE, "key": HOSTILE, "stream": f"st_{HOSTILE}"},
        content="full",
    )
    for flags in ((), ("--sort", "failures")):
        _, said, _ = asked.run(capfd, "log", tmp_path, *flags)
        assert len(said.splitlines()) == 3
        assert all(line.isprintable() for line in said.splitlines())
    _, said, _ = asked.run(capfd, "log", tmp_path, "--json")
    assert len(said.splitlines()) == 1
    assert "\x1b" not in said


def test_the_processes_of_workers_are_listed_when_they_are_asked_for(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    asked.write(tmp_path, {"stream": "wk_1", "kind": "worker_lost"}, {"stream": "st_1"})
    assert asked.listed(capfd, tmp_path) == ["st_1"]
    assert asked.listed(capfd, tmp_path, "--kind", "process") == ["wk_1"]


def test_a_row_that_lies_about_a_process_is_not_shown(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    asked.write(tmp_path, {"stream": "wk_1", "kind": "worker_lost"}, {"stream": "st_1"})
    command = ("log", tmp_path, "--kind", "process", "--json")
    right = asked.run(capfd, *command)
    assert '"worker_lost"' in right[1]
    for lie in ({"kind": "timeout"}, {"t": asked.START - asked.SECOND}):

        def lying(row: dict[str, Any], lie: dict[str, Any] = lie) -> dict[str, Any]:
            return {**row, **lie} if row["summary"] == "wk_1" else row

        summaries.forge(tmp_path, lying)
        assert asked.run(capfd, *command) == right


def child(*arguments: str | Path, **environ: str) -> tuple[str, int]:
    """What a command writes to a terminal, and its exit status."""
    master, slave = pty.openpty()
    ran = subprocess.Popen(
        (sys.executable, "-m", "server", *map(str, arguments)),
        cwd=serving.ROOT,
        env={"PATH": os.environ["PATH"], **measured.VARIABLES, "TERM": "xterm", **environ},
        stdin=slave,
        stdout=slave,
        stderr=slave,
    )
    os.close(slave)
    said = b""
    while True:
        try:
            data = os.read(master, 4096)
        except OSError:  # the last writer has closed it
            break
        if not data:
            break
        said += data
    os.close(master)
    return said.decode(), ran.wait(machinetime.HANG_S)


@pytest.mark.slow
def test_on_a_terminal_failures_come_first_and_in_colour(directory: Path) -> None:
    said, status = child("log", directory, PAGER="cat")
    assert status == 0
    assert "\x1b[1;31mtimeout" in said
    assert said.index("client_gone") < said.index("timeout") < said.index("completed")
    plain, _ = child("log", directory, PAGER="cat", NO_COLOR="1")
    assert "\x1b" not in plain
    assert plain.index("client_gone") < plain.index("completed")


@pytest.mark.slow
def test_a_long_list_goes_through_the_pager_that_is_asked_for(tmp_path: Path) -> None:
    asked.write(tmp_path / "log", *({} for _ in range(40)))
    pager = tmp_path / "pager"
    pager.write_text("#!/bin/sh\necho paged; wc -l\n")
    pager.chmod(0o755)
    said, status = child("log", tmp_path / "log", PAGER=str(pager))
    assert status == 0
    assert said.split() == ["paged", "42"]
    unpaged, _ = child("log", tmp_path / "log", "--no-pager", PAGER=str(pager))
    assert "paged" not in unpaged


@pytest.mark.slow
def test_a_log_is_followed_until_ctrl_c_which_is_130(tmp_path: Path) -> None:
    event_log = logs.open_log(tmp_path, segment_bytes=3000, **summaries.KEPT)
    summaries.write(event_log, "st_before")
    with subprocess.Popen(
        (sys.executable, "-m", "server", "log", str(tmp_path), "-f", "--json"),
        cwd=serving.ROOT,
        env={"PATH": os.environ["PATH"], **measured.VARIABLES},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as ran:
        assert ran.stdout is not None
        assert ran.stderr is not None
        assert json.loads(ran.stdout.readline())["stream"] == "st_before"
        for number in range(12):
            summaries.write(event_log, f"st_{number}")
            assert json.loads(ran.stdout.readline())["stream"] == f"st_{number}"
        ran.send_signal(2)
        assert ran.wait(machinetime.HANG_S) == 130
        assert ran.stderr.read() == ""
    event_log.close()


def test_printable_is_what_makes_names_harmless() -> None:
    assert printing.printable(HOSTILE).isprintable()
