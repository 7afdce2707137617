"""The event log: what is in a record, what is kept of a content, how much is kept in all."""

import time
from pathlib import Path

import pytest

from engine.log import event_log as eventlog
from engine.log.read import segments
from engine.log.write import recovery
from machines import events, outputs
from tests.support.logs import logs

DAY_S = 86_400


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.fixture
def clock() -> logs.Clock:
    return logs.Clock()


def test_a_masked_log_holds_no_word_and_a_full_one_every_word(tmp_path: Path) -> None:
    for content, held in (("masked", False), ("full", True)):
        directory = tmp_path / content
        event_log = logs.open_log(directory, content=content)
        stream = event_log.stream("s")
        stream.open(logs.opened(stop=("Geheim",)))
        stream.append(*logs.content("Geheim"))
        stream.append(events.ReasoningDelta("Geheim"), outputs.Step("content", ()))
        failure = events.TurnFailed("upstream_error", "upstream_error", "Geheim")
        stream.append(failure, outputs.Step("failed", (outputs.Failure("x", "Geheim"),)))
        event_log.close()
        records = logs.streams_of(directory)["s"]
        assert [b"Geheim" in record.raw for record in records] == [held] * 4
        opened = records[0].load()
        assert isinstance(opened, events.Opened)
        assert opened.content == content
        assert logs.texts(records) == ["Geheim" if held else "******"]


@pytest.mark.parametrize("usual", ["masked", "full"])
def test_a_stream_may_be_kept_otherwise_than_the_rest(directory: Path, usual: str) -> None:
    event_log = logs.open_log(directory, content=usual)
    for content in (None, "masked", "full"):
        stream = event_log.stream(str(content), content)
        stream.open(logs.opened(stop=("Geheim",)))
        stream.append(*logs.content("Geheim"))
        stream.close(logs.TERMINAL, "done")
    event_log.close()
    for name, records in logs.streams_of(directory).items():
        kept = usual if name == "None" else name
        opened = records[0].load()
        assert isinstance(opened, events.Opened)
        assert opened.content == kept
        assert logs.texts(records) == ["Geheim" if kept == "full" else "******"]


def test_where_the_log_is_off_no_stream_is_kept(directory: Path) -> None:
    event_log = logs.open_log(directory, content="off")
    stream = event_log.stream("s", "full")
    stream.open(logs.opened())
    stream.append(*logs.content("Geheim"))
    stream.close(logs.TERMINAL, "done")
    event_log.close()
    assert not directory.exists()


def test_off_keeps_nothing_and_needs_no_directory(directory: Path, clock: logs.Clock) -> None:
    event_log = eventlog.EventLog(logs.settings(directory, content="off"), clock)
    assert event_log.open() == recovery.Recovery()
    stream = event_log.stream("s")
    times = [stream.open(logs.opened()), stream.append(*logs.content("x"))]
    times.append(stream.close(logs.TERMINAL, "done"))
    event_log.flush()
    assert event_log.accepting
    event_log.prune()
    event_log.close()
    assert times == sorted(times)
    assert not directory.exists()


def test_all_segments_together_stay_below_the_limit(directory: Path) -> None:
    event_log = logs.open_log(directory, segment_bytes=10_000, max_bytes=50_000)
    for number in range(200):
        logs.write_stream(event_log, f"s{number}", deltas=8)
    event_log.close()
    full = segments.list_segments(directory)
    assert sum(segment.size for segment in full) <= 50_000
    logs.open_log(directory, segment_bytes=10_000, max_bytes=50_000).close()
    found = segments.list_segments(directory)
    assert 20_000 < sum(segment.size for segment in found) <= 50_000 - 10_000
    assert event_log.counts.segments_pruned == full[0].number - 1
    assert event_log.counts.bytes_pruned > 100_000
    reading = segments.read(directory)
    assert max(int(record.stream[1:]) for record in reading) == 199
    assert reading.problems == []


def test_a_segment_too_old_is_left_and_later_deleted(directory: Path) -> None:
    clock = logs.Clock(time.time_ns() // 1000)
    event_log = logs.open_log(directory, clock, max_age_s=8 * DAY_S)
    logs.write_stream(event_log, "old")
    clock.advance(0.9 * DAY_S)
    logs.write_stream(event_log, "older than a moment")
    assert len(segments.list_segments(directory)) == 1
    clock.advance(0.2 * DAY_S)
    logs.write_stream(event_log, "a day later")
    assert len(segments.list_segments(directory)) == 2
    clock.advance(8 * DAY_S)
    event_log.prune()
    event_log.close()
    assert event_log.counts.segments_pruned == 2
    assert logs.lines_of(directory) == []


def test_no_limits_delete_nothing(directory: Path, clock: logs.Clock) -> None:
    event_log = logs.open_log(directory, clock, segment_bytes=1000, max_bytes=0, max_age_s=0)
    for number in range(20):
        logs.write_stream(event_log, f"s{number}")
        clock.advance(100 * DAY_S)
    event_log.prune()
    event_log.close()
    assert len(logs.streams_of(directory)) == 20
