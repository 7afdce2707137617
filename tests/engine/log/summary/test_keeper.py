"""Whatever becomes of a process, its disk or its files: the summaries say what the log says."""

import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import structlog

from engine.log import event_log as eventlog
from engine.log.content import mask
from engine.log.read import segments
from engine.log.summary import keeper, rows, sidecars, summarylog
from engine.log.summary.settings import SummaryCounts, SummarySettings, SummaryState
from machines import events
from tests.support.logs import logs, summaries
from tests.support.logs.summaries import KEPT


def open_log(directory: Path, **fields: Any) -> eventlog.EventLog:
    return logs.open_log(directory, **{**KEPT, **fields})


def check(directory: Path) -> None:
    """The summaries of a directory are those that its log wants, each once and in its order."""
    wanted = summaries.wanted(directory)
    assert wanted, "nothing to compare"
    assert summaries.told(directory) == wanted


def fill(event_log: eventlog.EventLog, name: str, count: int = 12) -> None:
    for number in range(count):
        summaries.write(event_log, f"{name}-{number}", model=f"m-{number % 3}", key="k")
        if number % 4 == 0:
            summaries.reject(event_log, f"{name}-r{number}", count=number + 1)


def test_every_request_has_one_row_over_rotations(tmp_path: Path) -> None:
    event_log = open_log(tmp_path, segment_bytes=2000)
    fill(event_log, "a")
    summaries.settle(event_log)
    check(tmp_path)
    event_log.close()
    check(tmp_path)
    numbers = [each.number for each in segments.list_segments(tmp_path)]
    assert len(numbers) > 3
    assert summaries.sealed_of(tmp_path) == numbers


def test_a_stream_that_ends_in_a_later_segment_knows_its_beginning(tmp_path: Path) -> None:
    event_log = open_log(tmp_path, segment_bytes=2000)
    long = event_log.stream("long")
    long.open(logs.opened(key="k"))
    fill(event_log, "a")
    long.close(logs.TERMINAL, "done")
    event_log.flush()
    event_log.close()
    check(tmp_path)
    (row,) = [row for row in summaries.rows_of(tmp_path) if row.summary == "long"]
    assert row.begun is not None
    assert row.begun[0] == 1 < row.at[0]
    segment = segments.list_segments(tmp_path)[0].path.read_bytes()
    assert segment[row.begun[1] :].startswith(b'{"stream":"long","seq":0,')


@pytest.mark.parametrize("is_held", [False, True], ids=["quick", "behind"])
def test_a_start_makes_up_for_what_a_killed_process_left(tmp_path: Path, is_held: bool) -> None:
    killed = tmp_path / "killed"
    event_log = open_log(killed, segment_bytes=2000)
    fill(event_log, "a", 3)
    summaries.settle(event_log)
    free = summaries.stall(event_log) if is_held else None
    open_one = logs.begin(event_log, "open")
    fill(event_log, "b", 8)
    if free is None:
        summaries.settle(event_log)
    left = logs.left_behind(killed)
    open_one.close(logs.TERMINAL, "done")
    if free is not None:
        free.set()
    event_log.close()

    later = open_log(left)
    fill(later, "c", 2)
    summaries.settle(later)
    check(left)
    assert summaries.told(left)[-4:] != []
    (recovered,) = [row for row in summaries.rows_of(left) if row.summary == "open"]
    assert (recovered.kind, recovered.trigger) == ("shutdown", "recovery")
    assert recovered.model == "gpt-5.5"
    assert not list(left.glob("*.new"))
    live = segments.list_segments(left)[-1].number
    assert [path.name for path in left.glob("*.open")] == [f"{sidecars.name_of(live)}.open"]
    later.close()
    check(left)


def test_a_log_of_an_earlier_version_is_summarized_whole(tmp_path: Path) -> None:
    before = logs.open_log(tmp_path, segment_bytes=2000)
    fill(before, "a")
    before.close()
    assert summaries.sealed_of(tmp_path) == []
    event_log = open_log(tmp_path)
    summaries.settle(event_log)
    check(tmp_path)
    assert event_log.summaries is not None
    assert event_log.summaries.counts.rebuilt == len(summaries.sealed_of(tmp_path)) > 3
    event_log.close()


def spoil_row(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data.replace(b'"completed"', b'"complete!"', 1))


def doubled(path: Path) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:2], *lines[1:]]))


SPOILT: dict[str, Callable[[Path], object]] = {
    "deleted": lambda path: path.unlink(),
    "emptied": lambda path: path.write_bytes(b""),
    "cut": lambda path: os.truncate(path, path.stat().st_size // 2),
    "changed": spoil_row,
    "doubled": doubled,
    "another's": lambda path: path.write_bytes(path.with_name(sidecars.name_of(1)).read_bytes()),
}


@pytest.mark.parametrize("how", SPOILT)
def test_a_sidecar_that_is_not_as_it_was_is_made_again(tmp_path: Path, how: str) -> None:
    event_log = open_log(tmp_path, segment_bytes=2000)
    fill(event_log, "a")
    event_log.close()
    path = tmp_path / sidecars.name_of(2)
    whole = path.read_bytes()
    SPOILT[how](path)
    later = open_log(tmp_path)
    summaries.settle(later)
    assert path.read_bytes() == whole
    assert later.summaries is not None
    assert later.summaries.counts.rebuilt == 1
    later.close()


def test_until_then_a_doubled_row_counts_once(tmp_path: Path) -> None:
    event_log = open_log(tmp_path)
    fill(event_log, "a", 2)
    event_log.close()
    path = tmp_path / sidecars.name_of(1)
    doubled(path)
    places = [row.at for row in summaries.rows_of(tmp_path)]
    assert len(places) == len(set(places)) + 1


def test_a_segment_that_is_shorter_than_its_summary_says_is_summarized_anew(
    tmp_path: Path,
) -> None:
    """Where nothing is synced, a machine that loses its power loses the end of a segment."""
    event_log = open_log(tmp_path)
    fill(event_log, "a", 4)
    event_log.close()
    left = logs.left_behind(tmp_path)
    for name in ("chain", "checkpoint"):
        (left / name).unlink()
    segment = segments.list_segments(left)[0].path
    lines = segment.read_bytes().splitlines(keepends=True)
    segment.write_bytes(b"".join(lines[: len(lines) // 2]))
    later = open_log(left)
    summaries.settle(later)
    check(left)
    later.close()


def test_what_does_not_fit_into_the_queue_is_read_from_the_segments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(summarylog, "QUEUE_BYTES", 3000)
    event_log = open_log(tmp_path, segment_bytes=4000)
    free = summaries.stall(event_log)
    fill(event_log, "a", 60)
    assert event_log.summaries is not None
    assert sum(len(each.found.line) for each in event_log.summaries._waiting if each.found) <= 3000
    free.set()
    summaries.settle(event_log)
    check(tmp_path)
    event_log.close()
    check(tmp_path)


@pytest.mark.parametrize("retry_s", [0.0, 1000.0], ids=["tried", "not tried"])
@pytest.mark.parametrize("is_held", [False, True], ids=["quick", "behind"])
def test_a_disk_that_fails_is_said_and_made_up_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, retry_s: float, is_held: bool
) -> None:
    monkeypatch.setattr(keeper, "RETRY_S", retry_s)
    write = os.write
    is_full = False

    def written(fd: int, data: bytes) -> int:
        path = Path(f"/proc/self/fd/{fd}").readlink()
        if is_full and ".summary" in path.name:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(fd, data)

    monkeypatch.setattr(os, "write", written)
    with structlog.testing.capture_logs() as lines:
        event_log = open_log(tmp_path, segment_bytes=4000)
        fill(event_log, "a", 3)
        summaries.settle(event_log)
        is_full = True
        free = summaries.stall(event_log) if is_held else threading.Event()
        fill(event_log, "b", 20)
        free.set()
        summaries.settle(event_log)
        assert event_log.summaries is not None
        assert event_log.summaries.state is SummaryState.FAILING
        assert event_log.summaries.counts.failures > 0
        assert event_log.counts.failures == 0, "the log itself is well"
        is_full = False
        monkeypatch.setattr(keeper, "RETRY_S", 0.0)
        summaries.settle(event_log)
        assert event_log.summaries.state.value == "working"
        check(tmp_path)
        event_log.close()
    check(tmp_path)
    said = [line["event"] for line in lines if line["event"].startswith("summaries_")]
    assert [each for each in said if each != "summaries_rebuilt"] == [
        "summaries_failing",
        "summaries_recovered",
    ]


def test_a_defect_costs_one_row_and_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    summarize = rows.summarize

    def broken(at: Any, line: bytes, begun: Any) -> Any:
        if b'"a-1"' in line:
            raise RuntimeError("planted")
        return summarize(at, line, begun)

    monkeypatch.setattr(rows, "summarize", broken)
    with structlog.testing.capture_logs() as lines:
        event_log = open_log(tmp_path)
        fill(event_log, "a", 3)
        event_log.close()
    assert [row.summary for row in summaries.rows_of(tmp_path)] == ["a-0", "rj_a-r0", "a-2"]
    (defect,) = [line for line in lines if line["event"] == "defect"]
    assert (defect["task"], defect["segment"]) == ("summary", 1)
    assert event_log.summaries is not None
    assert event_log.summaries.counts.unreadable == 1


def test_rows_outlive_their_segment(tmp_path: Path) -> None:
    event_log = open_log(tmp_path, segment_bytes=2000, max_bytes=5000)
    fill(event_log, "a", 40)
    logs.settle(event_log)
    summaries.settle(event_log)
    event_log.close()
    assert len(segments.list_segments(tmp_path)) < len(summaries.sealed_of(tmp_path)) - 5
    assert len(summaries.rows_of(tmp_path)) == 50
    later = open_log(tmp_path)
    summaries.settle(later)
    later.close()
    assert len(summaries.rows_of(tmp_path)) == 50


def test_what_is_not_summarized_yet_is_not_deleted_yet(tmp_path: Path) -> None:
    before = logs.open_log(tmp_path, segment_bytes=2000)
    fill(before, "a", 30)
    before.close()
    wanted = summaries.wanted(tmp_path)
    clock = logs.Clock()
    event_log = logs.open_log(tmp_path, clock, max_bytes=5000, segment_bytes=2000, **KEPT)
    summaries.settle(event_log)
    clock.advance(2)
    fill(event_log, "b", 1)
    logs.settle(event_log)
    assert len(segments.list_segments(tmp_path)) < 5
    event_log.close()
    assert summaries.told(tmp_path)[: len(wanted)] == wanted


def test_a_live_segment_that_is_deleted_leaves_its_rows(tmp_path: Path) -> None:
    clock = logs.Clock()
    event_log = logs.open_log(tmp_path, clock, **KEPT)
    fill(event_log, "a", 2)
    summaries.settle(event_log)
    segments.list_segments(tmp_path)[0].path.unlink()
    for name in ("b", "c"):
        clock.advance(2)
        fill(event_log, name, 1)
    event_log.close()
    told = [row.summary for row in summaries.rows_of(tmp_path)]
    assert {"a-0", "a-1"} <= set(told)
    assert len(told) == len(set(told))


def test_what_a_killed_process_left_of_a_segment_that_is_gone_stays(tmp_path: Path) -> None:
    event_log = open_log(tmp_path)
    fill(event_log, "a", 3)
    summaries.settle(event_log)
    left = logs.left_behind(tmp_path)
    event_log.close()
    for name in ("chain", "checkpoint", segments.segment_name(1)):
        (left / name).unlink()
    later = open_log(left)
    fill(later, "b", 1)
    summaries.settle(later)
    assert [each.number for each in segments.list_segments(left)] == [2]
    assert {"a-0", "a-1", "a-2"} <= {row.summary for row in summaries.rows_of(left)}
    assert later.summaries is not None
    assert later.summaries.counts.segments_missed == 1
    later.close()


def test_a_segment_with_the_number_of_one_that_was_deleted_has_a_sidecar_of_its_own(
    tmp_path: Path,
) -> None:
    old = sidecars.Sidecar(tmp_path, 1)
    old.seal(100, syncs=False)
    counts = SummaryCounts()
    kept = keeper.Keeper(
        tmp_path, SummarySettings(), counts, logs.Clock(), lambda: False, syncs=False
    )
    with structlog.testing.capture_logs() as lines:
        kept.take([keeper.Record(1)])
    kept.abandon()
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [f"{sidecars.name_of(1)}.old", f"{sidecars.name_of(1)}.open"]
    assert [line["event"] for line in lines] == ["summaries_set_aside"]
    assert counts.segments_missed == 1


def test_another_process_that_takes_the_log_has_the_summaries_too(tmp_path: Path) -> None:
    clock = logs.Clock()
    event_log = logs.open_log(tmp_path, clock, **KEPT)
    fill(event_log, "a", 2)
    assert event_log.summaries is not None
    event_log.summaries.abandon()
    summaries.settle(event_log)
    assert event_log.summaries.state is SummaryState.CLOSED
    event_log._writer.rotate(clock())  # as it does once it has the lock again
    fill(event_log, "b", 2)
    summaries.settle(event_log)
    check(tmp_path)
    event_log.close()
    check(tmp_path)


def test_nothing_is_summarized_where_nothing_is_logged(tmp_path: Path) -> None:
    event_log = open_log(tmp_path, content="off")
    assert event_log.summaries is None
    event_log.close()
    assert list(tmp_path.iterdir()) == []


def test_an_idle_log_prunes(tmp_path: Path) -> None:
    clock = logs.Clock()
    kept = SummarySettings(max_age_s=3600)
    event_log = logs.open_log(tmp_path, clock, segment_bytes=2000, max_bytes=5000, summaries=kept)
    fill(event_log, "a", 40)
    logs.settle(event_log)
    summaries.settle(event_log)
    assert summaries.sealed_of(tmp_path)[0] == 1
    clock.advance(7200)
    with structlog.testing.capture_logs() as lines:
        for _ in range(2):  # the segments go first
            event_log.prune()
            logs.settle(event_log)
            summaries.settle(event_log)
    present = {each.number for each in segments.list_segments(tmp_path)}
    assert set(summaries.sealed_of(tmp_path)) <= present
    told = sum(line["count"] for line in lines if line["event"] == "summaries_deleted")
    assert event_log.summaries is not None
    assert event_log.summaries.counts.pruned == told > 5
    event_log.close()


def test_hostile_words_stay_words(tmp_path: Path) -> None:
    names = ['a"b\\', "x\n\r\x00\u2028", "日本" * 100, '{"event":"terminal"}', "", "🙂"]
    event_log = open_log(tmp_path)
    for number, name in enumerate(names):
        body = b'{"model":"m","x":{"stream":"s","seq":0,"seg":0,"t":1,"event":"terminal"}}'
        summaries.write(event_log, f"a-{number}", model=name, request=msgspec.Raw(body))
    event_log.close()
    found = summaries.rows_of(tmp_path)
    wanted = [name and mask.mask_name(name[:128]) for name in names]
    assert [row.model for row in found] == wanted
    assert {row.target for row in found} == {"gpt-5.5"}


def test_a_code_that_is_a_sentence_is_no_code_here(tmp_path: Path) -> None:
    event_log = open_log(tmp_path, content="full")
    stream = logs.begin(event_log, "a")
    ended = events.Terminal(
        kind="upstream_error", emission_trigger="turn_failed", status=402, code="no credit, Anna"
    )
    stream.close(ended, "failed")
    event_log.flush()
    event_log.close()
    (row,) = summaries.rows_of(tmp_path)
    assert row.code == "** ******, ****"
    assert b"Anna" not in (tmp_path / sidecars.name_of(1)).read_bytes()


@pytest.mark.parametrize("content", ["full", "masked"])
def test_a_long_code_is_had_as_the_records_have_it(tmp_path: Path, content: mask.Content) -> None:
    code = "_".join(("quota", "exceeded", "for", "this", "model") * 4)
    event_log = open_log(tmp_path, content=content)
    ended = events.Terminal(
        kind="upstream_error", emission_trigger="turn_failed", status=402, code=code
    )
    logs.begin(event_log, "a").close(ended, "failed")
    event_log.close()
    (row,) = summaries.rows_of(tmp_path)
    assert row.code == (code if content == "full" else mask.mask_text(code))


def test_sidecars_of_an_older_schema_are_made_again_and_outlive_their_segment_as_they_are(
    tmp_path: Path,
) -> None:
    event_log = logs.open_log(tmp_path, segment_bytes=4000, **summaries.KEPT)
    for number in range(20):
        summaries.write(event_log, f"st_{number}")
    event_log.close()
    first, second, *_ = sidecars.list_sidecars(tmp_path)[0]
    for each in (first, second):
        logs.rewrite(each.path, 0, lambda members: members.update(schema=1))
        for number in range(1, len(each.path.read_bytes().splitlines()) - 1):
            logs.rewrite(each.path, number, lambda members: members.pop("completion_id"))
    told = summaries.told(tmp_path)
    (tmp_path / segments.segment_name(first.number)).unlink()
    older = first.path.read_bytes()
    later = logs.open_log(tmp_path, **summaries.KEPT)
    summaries.settle(later)
    later.close()
    assert first.path.read_bytes() == older
    assert b'"schema":2' in second.path.read_bytes()
    assert summaries.told(tmp_path)[: len(told)] == told
    rows = {row.summary: row.completion_id for row in summaries.rows_of(tmp_path)}
    assert rows["st_0"] == ""
    assert set(list(rows.values())[10:]) == {"chatcmpl-1"}
