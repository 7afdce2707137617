"""The doctor's look at the event log: its writer, its damage, its newest failures."""

import os
import re
import shutil
import time
from pathlib import Path

import pytest

from engine.log.read import segments
from engine.log.summary.settings import SummarySettings
from machines import events
from server.cli.checks import eventlog
from server.cli.checks.findings import Finding, Status
from tests.server.cli.checks import checking
from tests.support.logs import coldlogs, logs

NOW_US = 1_000_000 * int(time.time())
DAY_US = 86_400 * 1_000_000


def look(log: Path, **environ: str) -> list[Finding]:
    """The findings about a log."""
    return list(eventlog.check(checking.config(log.parent, PROXY_LOG_DIR=str(log), **environ)))


def records(log: Path) -> Finding:
    """The finding about what is in it."""
    return checking.by_name(look(log))["records"]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A log of one stream that was closed."""
    event_log = logs.open_log(tmp_path / "log", logs.Clock(NOW_US - 3 * DAY_US))
    logs.write_stream(event_log, "s")
    event_log.close()
    return tmp_path / "log"


def end(log: Path, stream_id: str, at: int = NOW_US, **fields: object) -> None:
    """Write a stream that ends so to a log."""
    event_log = logs.open_log(log, logs.Clock(at))
    ended: dict[str, object] = {
        "kind": "completed",
        "emission_trigger": "turn_finished",
        "status": 200,
    }
    logs.begin(event_log, stream_id).close(events.Terminal(**{**ended, **fields}), "done")  # type: ignore[arg-type]  # a test's words
    event_log.close()


def refuse(log: Path, stream_id: str, status: int, code: str) -> None:
    """Write a request that was refused to a log."""
    event_log = logs.open_log(log, logs.Clock(NOW_US))
    refused = events.RequestRejected(request_id=f"req-{stream_id}", code=code, status=status)
    event_log.stream(stream_id).close(refused, "rejected")
    event_log.close()


def failures(log: Path) -> list[str]:
    """The failures that are shown, without their times."""
    return [each.found.partition("  ")[2] for each in look(log) if each.name == "failure"]


def test_a_log_that_was_closed_is_well(log: Path) -> None:
    report = look(log)
    assert [(each.name, each.status) for each in report] == [
        ("log", Status.OK),
        ("records", Status.OK),
        ("held", Status.OK),
        ("failures", Status.OK),
    ]
    assert report[0].found.endswith(" of 1.0 GiB in 1 segments, nobody writes")
    assert report[1].found.startswith("events-00000001.jsonl can be read, the last sync mark at ")


def test_a_log_that_is_written_is_not_disturbed(tmp_path: Path) -> None:
    log = tmp_path / "log"
    event_log = logs.open_log(log)
    logs.write_stream(event_log, "s")
    logs.settle(event_log)
    before = {path: path.stat().st_mtime_ns for path in log.iterdir()}
    report = look(log)
    assert report[0].found.endswith(f"process {os.getpid()} writes")
    assert report[1].status is Status.OK
    assert {path: path.stat().st_mtime_ns for path in log.iterdir()} == before
    event_log.close()
    assert eventlog.holder(log / "lock") is None


def test_the_kernels_list_may_have_locks_of_files_without_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = tmp_path / "lock"
    lock.write_text("42\n")
    inode = lock.stat().st_ino
    listed = tmp_path / "locks"
    listed.write_text(
        "1: POSIX  ADVISORY  WRITE 7 00:00:1 0 EOF\n"
        "2: FLOCK  ADVISORY  WRITE 8 <none>:0 0 EOF\n"
        f"3: -> FLOCK  ADVISORY  WRITE 42 ff:ff:{inode} 0 EOF\n"
    )
    monkeypatch.setattr(eventlog, "LOCKS", listed)
    assert eventlog.holder(lock) == 42
    lock.write_text("43\n")
    assert eventlog.holder(lock) is None


def test_the_limit_is_said(log: Path) -> None:
    (found, *_) = look(log, PROXY_LOG_MAX_BYTES="0")
    assert " of no limit in " in found.found


def test_a_log_of_a_server_that_was_killed_is_a_warning(tmp_path: Path) -> None:
    event_log = logs.open_log(tmp_path / "log")
    logs.write_stream(event_log, "s")
    left = logs.left_behind(tmp_path / "log")
    event_log.close()
    assert (records(left).status, records(left).found) == (
        Status.WARN,
        "its last server was killed",
    )
    with segments.list_segments(left)[-1].path.open("ab") as segment:
        segment.write(b'{"stream":"t","seq":0')
    assert records(left).found == "its last server was killed, and tore a line"


def held(log: Path, **environ: str) -> str:
    """What is said about how long the log goes back."""
    return checking.by_name(look(log, **environ))["held"].found


def test_how_long_it_goes_back_is_said(tmp_path: Path) -> None:
    log, clock = tmp_path / "log", logs.Clock(NOW_US - 3 * 3_600_000_000)
    event_log = logs.open_log(
        log, clock, content="full", segment_bytes=1 << 16, summaries=SummarySettings()
    )
    for number in range(90):
        logs.play(event_log, f"st_{number}", *[f"{number} hello "] * 100)
        clock.advance(120)
    event_log.close()
    said = held(log, PROXY_LOG_MAX_AGE_S="0", PROXY_LOG_MAX_BYTES="0")
    assert said == "90 streams of 3 h"
    assert held(log, PROXY_LOG_MAX_AGE_S="0").startswith("90 streams of 3 h; holds ")
    assert held(log, PROXY_LOG_MAX_STREAMS="60").endswith("; holds 2 h at this rate, by streams")
    assert held(log, PROXY_LOG_MAX_AGE_S="3600").endswith("; holds 60 min at this rate, by age")
    plain = int(held(log, PROXY_LOG_MAX_AGE_S="0").split()[6])
    coldlogs.compress_all(log)
    said = held(log, PROXY_LOG_MAX_AGE_S="0")
    assert re.fullmatch(
        r"90 streams of 3 h, \d+ segments compressed from 1\.\d MiB;"
        r" holds \d+ days at this rate, by size",
        said,
    )
    assert int(said.split()[12]) > 5 * plain


def test_a_compressed_log_is_looked_at_as_any_other(log: Path) -> None:
    end(log, "bad", kind="timeout", code="head_timeout", status=504)
    before = failures(log)
    coldlogs.compress_all(log)
    assert failures(log) == before == ["req-1  timeout  head_timeout"]
    assert records(log).status is Status.OK
    path = log / "events-00000002.jsonl.gz"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    found = records(log)
    assert found.status is Status.FAIL
    assert found.found.startswith(f"{path}: ")
    assert "compressed member" in found.found


def test_a_changed_byte_is_a_failure(log: Path) -> None:
    path = log / "events-00000001.jsonl"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    found = records(log)
    assert found.status is Status.FAIL
    assert found.found.startswith("1 of the last ")
    assert f"turntape replay {log}" in found.advice


@pytest.mark.parametrize("name", ["chain", "checkpoint", "events-00000001.jsonl"])
def test_a_file_that_is_missing_is_a_failure(log: Path, name: str) -> None:
    (log / name).unlink()
    found = records(log)
    assert found.status is Status.FAIL
    assert "is missing" in found.found


def test_a_pipe_in_the_place_of_a_file_is_a_failure(log: Path) -> None:
    (log / "chain").unlink()
    os.mkfifo(log / "chain")
    (found,) = look(log)
    assert (found.status, found.found) == (Status.FAIL, f"{log}/chain: is not a regular file")


def test_without_a_log_there_is_nothing_to_look_at(log: Path) -> None:
    (off,) = look(log, PROXY_EVENT_LOG="off")
    shutil.rmtree(log)
    (absent,) = look(log)
    assert (off.found, absent.found) == ("off, by PROXY_EVENT_LOG", "nothing written yet")
    log.mkdir()
    assert records(log).found == "none"


def test_the_newest_failures_are_shown_the_newest_first(log: Path) -> None:
    for number in range(4):
        end(log, f"u{number}", kind="upstream_error", status=502, code="upstream_disconnected")
    end(log, "d", kind="defect", status=500)
    refuse(log, "r", 503, "server_shutdown")
    assert failures(log) == [
        "req-r  refused  server_shutdown",
        "req-1  defect  500",
        "req-1  upstream_error  upstream_disconnected",
    ]
    newest = next(each for each in look(log) if each.name == "failure")
    assert newest.status is Status.WARN
    assert newest.advice == f"`turntape inspect {log} --request req-r` has its steps."


def test_what_a_client_did_is_no_failure(log: Path) -> None:
    end(log, "a", kind="client_gone", status=200)
    end(log, "b", kind="rejected", status=400, code="invalid_value")
    refuse(log, "c", 401, "invalid_api_key")
    assert failures(log) == []


def test_an_old_failure_is_no_warning(log: Path) -> None:
    end(log, "a", NOW_US - 2 * DAY_US, kind="timeout", status=504, code="late")
    (old,) = [each for each in look(log) if each.name == "failure"]
    assert (old.status, old.advice) == (Status.OK, "")


def test_only_the_end_of_a_large_segment_is_read(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = log / "events-00000001.jsonl"
    whole = eventlog.read_tail(path)
    monkeypatch.setattr(eventlog, "TAIL_BYTES", len(whole.lines[-1]) + 10)
    assert eventlog.read_tail(path) == ([whole.lines[-1]], 0, 0, "")
