"""Records are handed over as they come on file, and nothing waits for the thread."""

from pathlib import Path

import pytest
import structlog

from engine.log.summary import keeper, scan, summarylog
from engine.log.summary.settings import SummarySettings, SummaryState
from tests.support.logs import logs, summaries
from tests.support.logs.summaries import KEPT


def test_only_lines_of_marked_streams_are_looked_at(tmp_path: Path) -> None:
    log = summarylog.SummaryLog(tmp_path, SummarySettings(), logs.Clock(), syncs=False)
    ended = b'5,"event":"terminal","kind":"completed","emission_trigger":"x","status":200'
    pending = [(b"a", 0, ended), (b"b", 0, ended), (b"a", 1, b'5,"event":"text_delta"')]
    lines = logs.lines(
        {"stream": "a", "event": "terminal", "emission_trigger": "x"},
        {"stream": "b", "event": "terminal", "emission_trigger": "x"},
        {"stream": "a", "event": "text_delta"},
    ).splitlines(keepends=True)
    log.turned(1)
    log.written(1, 100, {b"b"}, pending, lines)
    log.close()
    (row,) = summaries.rows_of(tmp_path)
    assert (row.summary, row.at) == ("b", (1, 100 + len(lines[0])))


def test_what_it_raises_is_contained(tmp_path: Path) -> None:
    log = summarylog.SummaryLog(tmp_path, SummarySettings(), logs.Clock(), syncs=False)
    with structlog.testing.capture_logs() as lines:
        log.written(1, 0, {b"a"}, [(b"a", 0, None)], [b""])  # type: ignore[list-item] # a bug
    assert [line["event"] for line in lines] == ["defect"]
    log.close()


def test_what_a_defect_kept_back_is_read_from_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    event_log = logs.open_log(tmp_path, **KEPT)
    with monkeypatch.context() as patched:
        patched.setattr(scan, "event_of", None)  # a bug
        summaries.write(event_log, "a")
    summaries.write(event_log, "b")
    event_log.close()
    assert [row.summary for row in summaries.rows_of(tmp_path)] == ["a", "b"]


def test_a_defect_on_the_thread_is_said_and_costs_no_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    event_log = logs.open_log(tmp_path, **KEPT)
    assert event_log.summaries is not None
    with monkeypatch.context() as patched, structlog.testing.capture_logs() as lines:
        patched.setattr(keeper.Keeper, "take", None)  # a bug
        summaries.write(event_log, "a")
        assert event_log.summaries.settled().exception() is not None
    defects = [line for line in lines if line["event"] == "defect"]
    assert {line["task"] for line in defects} == {"summaries"}
    event_log.close()
    assert [row.summary for row in summaries.rows_of(tmp_path)] == ["a"]


def test_a_flush_does_not_wait_for_a_disk_that_stalls(tmp_path: Path) -> None:
    event_log = logs.open_log(tmp_path, **KEPT)
    free = summaries.stall(event_log)
    for number in range(50):
        summaries.write(event_log, f"a-{number}")  # would hang here
    assert event_log.summaries is not None
    assert len(summaries.rows_of(tmp_path)) < 50
    free.set()
    summaries.settle(event_log)
    assert len(summaries.rows_of(tmp_path)) == 50
    assert event_log.summaries.state is SummaryState.WORKING
    event_log.close()
    assert event_log.summaries.through == 0
