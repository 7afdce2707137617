"""A running log compresses what is old and over, keeps to its limits, and knows what it holds."""

from pathlib import Path

import pytest

from engine.log import event_log as eventlog, journal
from engine.log.cold import files
from engine.log.read import segments
from engine.log.summary.settings import SummarySettings
from machines import supervisor
from tests.support.logs import logs, summaries


def settle(event_log: eventlog.EventLog) -> None:
    """Wait until old segments are seen to."""
    logs.settle(event_log)
    event_log.upkeep._compressor._thread.submit(int).result(30)


def forms(directory: Path) -> list[str]:
    return [each.path.suffix for each in files.list_segments(directory)]


def write(event_log: eventlog.EventLog, clock: logs.Clock, count: int = 4) -> None:
    """Streams that fill some segments, a minute between two."""
    for number in range(count):
        logs.play(event_log, f"st_{clock.us}_{number}", *["hello "] * 30)
        clock.advance(60)


@pytest.fixture
def clock() -> logs.Clock:
    return logs.Clock()


def test_segments_are_compressed_after_their_age(tmp_path: Path, clock: logs.Clock) -> None:
    event_log = logs.open_log(tmp_path, clock, segment_bytes=3000, compress_age_s=600)
    write(event_log, clock, 8)
    settle(event_log)
    assert set(forms(tmp_path)) == {".jsonl"}
    clock.advance(300)
    event_log.prune()
    settle(event_log)
    now = forms(tmp_path)
    assert 1 < now.count(".gz") < len(now) - 1
    assert now == sorted(now)  # the oldest
    event_log.close()
    assert len(logs.streams_of(tmp_path)) == 8


def test_without_an_age_none_is(tmp_path: Path, clock: logs.Clock) -> None:
    event_log = logs.open_log(tmp_path, clock, segment_bytes=3000, compress_age_s=0)
    write(event_log, clock)
    clock.advance(10**7)
    event_log.prune()
    settle(event_log)
    event_log.close()
    assert set(forms(tmp_path)) == {".jsonl"}


def test_a_request_that_is_not_over_keeps_its_segments_plain(
    tmp_path: Path, clock: logs.Clock
) -> None:
    event_log = logs.open_log(tmp_path, clock, segment_bytes=3000, compress_age_s=60)
    write(event_log, clock)
    long = logs.begin(event_log, "st_long")
    event_log.flush()
    first = long.first_segment
    write(event_log, clock, 8)
    clock.advance(6000)
    event_log.prune()
    settle(event_log)
    for each in files.list_segments(tmp_path):
        assert each.is_compressed == (each.number < first), each.number
    long.close(logs.TERMINAL, "done")
    write(event_log, clock, 4)
    settle(event_log)
    assert files.list_segments(tmp_path)[first].is_compressed
    event_log.close()


def test_the_life_of_a_worker_process_keeps_none(tmp_path: Path, clock: logs.Clock) -> None:
    """It lasts for weeks, and a start reads a compressed segment as any other."""
    event_log = logs.open_log(tmp_path, clock, segment_bytes=3000, compress_age_s=60)
    lives = journal.WorkerJournal(event_log)
    lives.changed("codex-0", "spawning", supervisor.StartAsked())
    write(event_log, clock, 8)
    clock.advance(6000)
    event_log.prune()
    settle(event_log)
    assert forms(tmp_path)[0] == ".gz"
    left = logs.left_behind(tmp_path)
    event_log.close()
    again = eventlog.EventLog(logs.settings(left), clock)
    found = again.open()
    again.close()
    assert [each.stream[:3] for each in found.open_streams] == ["wk_"]
    assert found.problems == ()
    assert len(logs.streams_of(left)) == 9


def test_the_next_start_goes_on_with_a_compressed_log(tmp_path: Path, clock: logs.Clock) -> None:
    for _ in range(3):
        event_log = logs.open_log(tmp_path, clock, segment_bytes=3000, compress_age_s=60)
        write(event_log, clock, 4)
        clock.advance(6000)
        event_log.prune()
        settle(event_log)
        event_log.close()
    assert forms(tmp_path).count(".gz") > 5
    assert len(logs.streams_of(tmp_path)) == 12


def test_usage_is_made_again_from_compressed_segments(tmp_path: Path, clock: logs.Clock) -> None:
    kept = {"segment_bytes": 3000, "compress_age_s": 60, "summaries": SummarySettings()}
    event_log = logs.open_log(tmp_path, clock, **kept)
    write(event_log, clock, 6)
    clock.advance(6000)
    event_log.prune()
    assert event_log.summaries is not None
    event_log.summaries.settled().result(30)
    event_log.prune()
    settle(event_log)
    event_log.close()
    assert ".gz" in forms(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.glob("*.summary")}
    for path in tmp_path.glob("*.summary"):
        path.unlink()
    again = logs.open_log(tmp_path, clock, **kept)
    assert again.summaries is not None
    again.summaries.settled().result(30)
    assert again.summaries.counts.rebuilt == len(before)
    again.close()
    assert {name: (tmp_path / name).read_bytes() for name in before} == before
    assert summaries.sealed_of(tmp_path)


def test_sidecars_of_compressed_segments_are_not_made_again(
    tmp_path: Path, clock: logs.Clock
) -> None:
    kept = {"segment_bytes": 3000, "compress_age_s": 60, "summaries": SummarySettings()}
    event_log = logs.open_log(tmp_path, clock, **kept)
    write(event_log, clock, 4)
    clock.advance(6000)
    assert event_log.summaries is not None
    event_log.summaries.settled().result(30)
    event_log.prune()
    settle(event_log)
    event_log.close()
    assert ".gz" in forms(tmp_path)
    again = logs.open_log(tmp_path, clock, **kept)
    assert again.summaries is not None
    again.summaries.settled().result(30)
    assert again.summaries.counts.rebuilt == 0
    again.close()


def test_the_oldest_go_by_the_number_of_streams(tmp_path: Path, clock: logs.Clock) -> None:
    event_log = logs.open_log(
        tmp_path, clock, max_streams=40, max_bytes=0, summaries=SummarySettings()
    )
    assert event_log.summaries is not None
    for number in range(200):
        logs.write_stream(event_log, f"st_{number}")
        clock.advance(2)
        event_log.summaries.settled().result(30)
    event_log.prune()
    settle(event_log)
    ended = [record.stream for record in segments.read(tmp_path) if record.event == "terminal"]
    assert ended[-1] == "st_199"
    assert 40 - 10 <= len(ended) <= 40
    assert event_log.counts.segments_pruned > 20
    event_log.close()


def test_what_is_held_is_known(tmp_path: Path, clock: logs.Clock) -> None:
    event_log = logs.open_log(
        tmp_path, clock, segment_bytes=3000, compress_age_s=60, summaries=SummarySettings()
    )
    assert event_log.summaries is not None
    begun = clock.us
    write(event_log, clock, 8)
    event_log.summaries.settled().result(30)
    event_log.prune()
    settle(event_log)
    held = event_log.upkeep.holding
    assert held is not None
    found = files.list_segments(tmp_path)
    assert held.segments == len(found)
    assert held.bytes == sum(each.size for each in found) < held.content_bytes
    assert held.streams == 8
    assert held.compressed == forms(tmp_path).count(".gz") > 0
    assert held.span_s(clock.us) == pytest.approx((clock.us - begun) / 1e6, abs=1)
    event_log.close()


def test_one_that_is_off_has_nothing(tmp_path: Path) -> None:
    event_log = logs.open_log(tmp_path / "none", content="off")
    event_log.prune()
    assert event_log.upkeep.holding is None
    event_log.close()
