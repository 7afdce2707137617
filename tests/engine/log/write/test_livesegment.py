"""The segment that is written: what a disk that takes nothing, or half of it, leaves in it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import structlog

from engine.log.read import segments
from tests.support.logs import fulldisk, logs

pytestmark = pytest.mark.slow


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.fixture
def clock() -> logs.Clock:
    return logs.Clock()


@pytest.mark.long(usual=("continue",))
@pytest.mark.parametrize("on_error", ["continue", "refuse"])
def test_a_full_disk_stops_nothing_and_loses_nothing_that_waits(
    tmp_path: Path, on_error: str
) -> None:
    assert fulldisk.in_namespace("full", tmp_path, on_error) == {
        "accepting_when_full": on_error == "continue",
        "failures": 6,
        "whole_when_full": True,
        "accepting_again": True,
        "all_there": True,
        "segments": 2,
        "lost": 0,
    }


@pytest.mark.long(usual=("continue",))
@pytest.mark.parametrize("on_error", ["continue", "refuse"])
def test_a_read_only_disk_stops_nothing_and_is_used_when_it_can_be(
    tmp_path: Path, on_error: str
) -> None:
    assert fulldisk.in_namespace("read-only", tmp_path, on_error) == {
        "accepting_when_full": on_error == "continue",
        "failures": 2,
        "accepting_again": True,
        "all_there": True,
        "lost": 0,
    }


FILE_LIMIT = """
import resource, sys
from pathlib import Path
from tests.support.logs import logs

clock = logs.Clock()
event_log = logs.open_log(Path(sys.argv[1]), clock, content="full")
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
stream = logs.begin(event_log, "s")
for number in range(100):
    stream.append(*logs.content(f"{number} {'x' * (number % 50)}"))
    event_log.flush()
    clock.advance(0.5)
stream.close(logs.TERMINAL, "done")
event_log.close()
print(event_log.counts.failures, event_log.counts.records_lost)
"""


def test_a_write_that_stops_half_way_is_undone_and_made_again(directory: Path) -> None:
    child = subprocess.run(
        (sys.executable, "-c", FILE_LIMIT, directory),
        env=logs.child_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    failures, lost = map(int, child.stdout.split()[-2:])
    assert failures >= 3
    assert lost == 0
    assert "File too large" in child.stdout
    records = logs.streams_of(directory)["s"]
    assert [int(text.split()[0]) for text in logs.texts(records)] == list(range(100))
    assert all(segment.size <= 5000 for segment in segments.list_segments(directory))


@pytest.mark.parametrize("before", [[], ["before"]], ids=["its first", "a later one"])
def test_a_write_that_cannot_be_undone_ends_its_segment(
    directory: Path, clock: logs.Clock, before: list[str]
) -> None:
    event_log = logs.open_log(directory, clock)
    for name in before:
        logs.write_stream(event_log, name)
    logs.fill_up(directory)
    with structlog.testing.capture_logs() as said:
        logs.write_stream(event_log, "during")
        logs.write_stream(event_log, "still")
        clock.advance(2)
        logs.write_stream(event_log, "after")
    assert [line["event"] for line in said] == [
        "event_log_write_not_undone",
        "event_log_failing",
        "event_log_recovered",
    ]
    assert "No space left on device" in said[1]["error"]
    event_log.close()
    assert list(logs.streams_of(directory)) == [*before, "during", "still", "after"]
    assert [segment.number for segment in segments.list_segments(directory)] == [1, 2]


def test_a_segment_that_is_cut_in_place_is_noticed_and_left(
    directory: Path, clock: logs.Clock
) -> None:
    event_log = logs.open_log(directory, clock)
    logs.write_stream(event_log, "before")
    os.truncate(segments.list_segments(directory)[0].path, 0)
    with structlog.testing.capture_logs() as said:
        logs.write_stream(event_log, "lost")
        for name in ("after", "later"):
            clock.advance(2)
            logs.write_stream(event_log, name)
    event_log.close()
    assert [line["event"] for line in said] == ["event_log_failing", "event_log_recovered"]
    assert "were written" in said[0]["error"]
    reading = segments.read(directory)
    whole = {record.stream for record in reading if record.path.name != "events-00000001.jsonl"}
    assert whole == {"after", "later"}
    assert {problem.path.name for problem in reading.problems} == {"events-00000001.jsonl"}
