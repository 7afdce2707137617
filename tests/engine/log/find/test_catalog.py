"""The rows of a log are those that a pass over it finds, whatever there is of its sidecars."""

import os
import shutil
from pathlib import Path

import pytest

from engine import regular
from engine.log import event_log as eventlog
from engine.log.derive import purging
from engine.log.find import catalog, names, stories
from engine.log.read import segments
from engine.log.summary import sidecars
from tests.engine.log.derive import logsforderiving as deriving
from tests.support.logs import logs, summaries


def write(event_log: eventlog.EventLog, first: int, last: int) -> None:
    for number in range(first, last):
        summaries.write(event_log, f"st_{number:03}", request_id=f"req_{number:03}")


@pytest.fixture
def left(tmp_path: Path) -> Path:
    """What a killed process leaves: sealed sidecars, and a live one that lacks the tail."""
    event_log = logs.open_log(tmp_path / "log", segment_bytes=26_000, **summaries.KEPT)
    write(event_log, 0, 60)
    logs.begin(event_log, "st_open")
    event_log.flush()
    summaries.settle(event_log)
    free = summaries.stall(event_log)
    write(event_log, 60, 63)
    copy = logs.left_behind(tmp_path / "log")
    free.set()
    event_log.close()
    return copy


def told(path: Path) -> list[str]:
    return [row.summary for row in catalog.Catalog(path).ended_rows()]


ALL = [f"st_{number:03}" for number in range(63)]


def test_the_tail_that_the_live_sidecar_lacks_is_read_from_the_segment(left: Path) -> None:
    assert len(summaries.told(left)) == 60
    found = catalog.Catalog(left)
    assert [row.summary for row in found.ended_rows()] == ALL
    assert [row.summary for row in found.open_rows()] == ["st_open"]
    assert found.searched == [segments.list_segments(left)[-1].number]


def test_what_is_no_file_in_the_place_of_the_live_sidecar_is_refused(
    left: Path, tmp_path: Path
) -> None:
    (live,) = left.glob(f"*.summary{sidecars.OPEN}")
    elsewhere = live.rename(tmp_path / "elsewhere")
    live.symlink_to(elsewhere)
    with pytest.raises(regular.NotRegular):
        told(left)
    live.unlink()
    os.mkfifo(live)  # whoever opens it to read all of it waits for a writer
    with pytest.raises(regular.NotRegular):
        told(left)


def test_without_sidecars_the_same_rows_are_made(left: Path) -> None:
    wanted = [*catalog.Catalog(left).ended_rows()]
    for each in sidecars.list_sidecars(left)[0]:
        each.path.unlink()
    assert [*catalog.Catalog(left).ended_rows()] == wanted


def test_a_copy_of_records_without_their_directory_has_the_same_streams(
    left: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    for number, segment in enumerate(segments.list_segments(left)):
        shutil.copy(segment.path, other / f"part{number}.jsonl")
    assert told(other) == ALL
    assert [row.summary for row in catalog.Catalog(other).open_rows()] == ["st_open"]


def test_the_rows_of_deleted_segments_are_told(left: Path) -> None:
    for segment in segments.list_segments(left)[:-1]:
        segment.path.unlink()
    found = catalog.Catalog(left)
    assert [row.summary for row in found.ended_rows()] == ALL
    rows = {row.summary: row for row in found.ended_rows()}
    assert rows["st_000"].at[0] not in found.files
    assert rows["st_062"].at[0] in found.files


def test_whoever_waits_is_told_how_far_it_is(left: Path) -> None:
    for each in sidecars.list_sidecars(left)[0]:
        each.path.unlink()
    seen: list[tuple[int, int]] = []
    [*catalog.Catalog(left, lambda *far: seen.append(far)).ended_rows()]
    total = sum(each.size for each in segments.list_segments(left))
    assert seen[-1] == (total, total)
    assert len(seen) == len(segments.list_segments(left))


def test_nothing_there_is_an_error_and_an_empty_directory_is_an_empty_log(tmp_path: Path) -> None:
    assert told(tmp_path) == []
    with pytest.raises(FileNotFoundError):
        catalog.Catalog(tmp_path / "nowhere")


def test_the_row_of_an_erased_stream_is_told_without_a_sidecar_too(tmp_path: Path) -> None:
    deriving.write(tmp_path)
    purging.purge(tmp_path, {"st_0001"}, deriving.now_us(), lambda *_: None)
    for each in sidecars.list_sidecars(tmp_path)[0]:
        each.path.unlink()
    found = catalog.Catalog(tmp_path)
    assert [row.summary for row in found.ended_rows() if row.purged] == ["st_0001"]
    with pytest.raises(names.Gone):
        stories.story(tmp_path, "st_0001")
