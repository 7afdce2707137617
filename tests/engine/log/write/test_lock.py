"""A log is one process's: its lock is noticed when it goes, and given up when it is another's."""

import os
from pathlib import Path

import pytest
import structlog

from engine.log.write import lock as writerlock
from tests.support.logs import logs

pytestmark = pytest.mark.slow


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.fixture
def clock() -> logs.Clock:
    return logs.Clock()


def test_a_lock_that_is_deleted_is_made_again_and_lets_nobody_in_meanwhile(
    directory: Path, clock: logs.Clock
) -> None:
    event_log = logs.open_log(directory, clock)
    logs.write_stream(event_log, "before")
    (directory / "lock").unlink()
    with pytest.raises(writerlock.LogLocked):
        logs.open_log(directory)
    assert not (directory / "lock").exists()
    clock.advance(2)
    with structlog.testing.capture_logs() as said:
        logs.write_stream(event_log, "after")
    assert [line["event"] for line in said] == ["event_log_lock_restored"]
    assert int((directory / "lock").read_text()) == os.getpid()
    with pytest.raises(writerlock.LogLocked):
        logs.open_log(directory)
    event_log.close()
    assert list(logs.streams_of(directory)) == ["before", "after"]


def test_a_log_that_another_process_has_taken_is_left_to_it(
    directory: Path, clock: logs.Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = logs.open_log(directory, clock)
    logs.begin(ours, "cut")
    logs.write_stream(ours, "before")
    logs.wait_for_chores(ours)
    (directory / "lock").unlink()
    with monkeypatch.context() as older:  # a version that does not look at segments
        older.setattr(writerlock, "refuse_if_written", lambda _: None)
        theirs = logs.open_log(directory, clock)
    logs.write_stream(theirs, "theirs")
    clock.advance(2)
    with structlog.testing.capture_logs() as said:
        for name in ("lost", "too"):
            logs.write_stream(ours, name)
            clock.advance(2)
    assert [line["event"] for line in said] == ["event_log_failing", "event_log_records_lost"]
    assert ours.counts.failures == 2
    theirs.close()
    logs.write_stream(ours, "after")
    assert ours.accepting
    ours.close()
    assert ours.counts.records_lost == 5
    assert list(logs.streams_of(directory)) == ["cut", "before", "theirs", "too", "after"]
