"""What a segment that has gone left of a stream in its sidecar is erased too."""

import functools
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.log.derive import choosing, orphans, purging
from engine.log.find import catalog
from engine.log.read import drafts, segments
from engine.log.summary import reading, rows, sidecars
from engine.log.write import lock as writerlock
from tests.engine.log import test_kills
from tests.engine.log.derive import logsforderiving as deriving
from tests.support.logs import damage, logs, summaries


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A log whose first two segments have gone, and left their sidecars."""
    return write(tmp_path / "log")


def write(directory: Path) -> Path:
    deriving.write(directory, streams=12, **deriving.SUMMARIZED)
    event_log = logs.open_log(directory, segment_bytes=4000, content="full", max_bytes=9000)
    logs.wait_for_chores(event_log)
    event_log.close()
    assert segments.list_segments(directory)[0].number > 2
    assert sidecars.list_sidecars(directory)[0][0].number == 1
    return directory


def purge(directory: Path, *streams: str, **options: bool) -> purging.Purged:
    return purging.purge(directory, streams, 77, lambda _done, _of: None, **options)


def contents(directory: Path) -> bytes:
    return b"".join(path.read_bytes() for path in directory.iterdir() if path.is_file())


def test_the_ids_of_the_client_go_and_the_figures_stay(log: Path) -> None:
    was = {row.summary: row for row in summaries.rows_of(log)}
    assert was["st_0001"].at[0] not in catalog.Catalog(log).files
    planned = purging.plan(log, {"st_0001"}, is_written=False)
    done = purge(log, "st_0001")
    assert (done.streams, done.rows, done.records) == ({"st_0001"}, 1, 0)
    assert (planned.streams, planned.rows) == (done.streams, done.rows)
    left = contents(log)
    assert b"req_1" + b'"' not in left
    assert b"chatcmpl-1" + b'"' not in left
    now = {row.summary: row for row in summaries.rows_of(log)}
    assert now.keys() == was.keys()
    assert now["st_0001"].purged == 77
    for name in rows.OF_PURGED:
        assert getattr(now["st_0001"], name) == getattr(was["st_0001"], name)
    for name in now.keys() - {"st_0001"}:
        assert now[name] == was[name]
    for each in sidecars.list_sidecars(log)[0]:
        last = sidecars.last_line(each.path)
        assert last is not None
        assert sidecars.is_whole(each.path, last.bytes)


def short(log: Path) -> int:
    """How many sidecars lack rows, by those who read them for usage."""
    with reading.SummaryReader(log, reading.Span(1 << 40)) as reader:
        while reader.block() is not None:
            pass
        return reader.short


def test_a_sidecar_that_lost_a_row_does_not_become_whole(log: Path) -> None:
    path = sidecars.list_sidecars(log)[0][0].path
    lines = path.read_bytes().splitlines(keepends=True)
    kept, lost = (line for line in lines if line.startswith(rows.ROW))
    path.write_bytes(b"".join(line for line in lines if line != lost))
    last = sidecars.last_line(path)
    assert last is not None
    row = rows.read(kept)
    assert row is not None
    lacking = short(log)
    purge(log, row.summary)
    assert f'"{row.request_id}"'.encode() not in path.read_bytes()
    now = sidecars.last_line(path)
    assert now == last  # as many rows as were there before one was lost
    assert not sidecars.is_whole(path, last.bytes)
    assert short(log) == lacking


def test_its_age_stays_for_retention_goes_by_it(log: Path) -> None:
    path = sidecars.list_sidecars(log)[0][0].path
    os.utime(path, (1000, 1000))
    purge(log, "st_0000", "st_0001")
    assert path.stat().st_mtime == 1000


def test_all_of_a_key_or_before_a_time_are_found_there(log: Path) -> None:
    gone = {row.summary: row for row in summaries.rows_of(log)}["st_0001"]
    assert "st_0001" in choosing.of_key(log, gone.key).streams
    assert "st_0001" in choosing.before(log, gone.t + 1).streams
    assert "st_0001" not in choosing.before(log, gone.t).streams
    purge(log, "st_0001")
    assert "st_0001" not in choosing.before(log, gone.t + 1).streams


def test_the_name_of_the_key_goes_where_that_is_asked(log: Path) -> None:
    was = {row.summary: row for row in summaries.rows_of(log)}
    some = {name for name, row in was.items() if row.key == was["st_0001"].key}
    assert {was[name].at[0] in catalog.Catalog(log).files for name in some} == {True, False}
    purge(log, *some, forgets_key=True)
    assert was["st_0001"].key.encode() not in contents(log)
    assert {row.summary for row in summaries.rows_of(log) if not row.key} == some


def test_to_erase_again_changes_nothing(log: Path) -> None:
    purge(log, "st_0001")
    before = damage.read_files(log)
    assert purge(log, "st_0001").rows == 0
    assert damage.read_files(log) == before


def test_what_was_put_aside_or_left_by_a_killed_process_goes_too(log: Path) -> None:
    first = sidecars.list_sidecars(log)[0][0].path
    aside = first.with_name(f"{first.name}{sidecars.ASIDE}")
    shutil.copy(first, aside)
    shutil.copy(first, first.with_name(f"{first.name}{sidecars.DRAFT}"))
    purge(log, "st_0001")
    assert b'"req_1"' not in contents(log)
    assert b'"req_0"' in aside.read_bytes()
    assert not list(log.glob(f"*{sidecars.DRAFT}"))


def test_a_row_that_was_damaged_goes_as_a_whole(log: Path) -> None:
    path = sidecars.list_sidecars(log)[0][0].path
    path.write_bytes(path.read_bytes().replace(b'"chatcmpl-1"', b'"chatcmpl-x"'))
    purge(log, "st_0001")
    assert b'"req_1"' not in contents(log)
    assert {row.summary for row in summaries.rows_of(log)} >= {"st_0000", "st_0002"}


@pytest.mark.parametrize("when", ["before", "while it is written"])
def test_a_sidecar_that_retention_deletes_meanwhile_stays_away(
    when: str, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = sidecars.list_sidecars(log)[0][0].path
    where, name = (sidecars, "last_line") if when == "before" else (os, "fsync")
    real: Callable[..., Any] = getattr(where, name)

    def slower(*arguments: Any) -> Any:
        path.unlink(missing_ok=True)
        return real(*arguments)

    numbers = {each.number for each in segments.list_segments(log)}
    others = damage.read_files(log)
    del others[path.name]
    monkeypatch.setattr(where, name, slower)
    manner = orphans.Manner(77, False)
    assert not orphans.erase(log, numbers, {"st_0001"}, manner, is_written=False)
    assert damage.read_files(log) == others


def test_beside_a_server_too(log: Path) -> None:
    event_log = logs.open_log(log, segment_bytes=4000, **deriving.SUMMARIZED)
    deriving.play(event_log, 20)
    summaries.settle(event_log)
    with pytest.raises(writerlock.LogLocked):
        writerlock.refuse_if_written(log)
    done = purge(log, "st_0001")
    assert (done.streams, done.busy) == ({"st_0001"}, set())
    assert b'"req_1"' not in contents(log)
    deriving.play(event_log, 21)
    summaries.settle(event_log)
    event_log.close()
    assert b'"req_1"' not in contents(log)
    assert {"st_0001", "st_0020", "st_0021"} <= {row.summary for row in summaries.rows_of(log)}


@pytest.mark.slow
def test_killed_at_any_call_it_leaves_all_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write(tmp_path / "source")
    wanted = [row.summary for row in summaries.rows_of(source)]
    reaper = test_kills.Reaper(monkeypatch)
    for last in range(1000):
        directory = tmp_path / "log"
        shutil.copytree(source, directory)
        ended = reaper.run(functools.partial(purge, directory, "st_0001", "st_0010"), last)
        assert [row.summary for row in summaries.rows_of(directory)] == wanted
        purge(directory, "st_0001", "st_0010")
        assert [row.summary for row in summaries.rows_of(directory)] == wanted
        left = contents(directory)
        assert b'"req_1"' not in left
        assert b'"req_10"' not in left
        shutil.rmtree(directory)
        if ended:
            return
    raise AssertionError("it never came to its end")


@pytest.mark.parametrize("call", ["open", "utime", "fsync", "replace"])
def test_a_disk_that_is_full_leaves_all_rows(
    call: str, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = [row.summary for row in summaries.rows_of(log)]
    real: Callable[..., Any] = getattr(os, call)

    def full(path: Any, *arguments: Any, **options: Any) -> Any:
        if call != "open" or str(path).endswith(f".summary{drafts.DRAFT}"):
            raise OSError(28, "No space left on device")
        return real(path, *arguments, **options)

    numbers = {each.number for each in segments.list_segments(log)}
    erase = functools.partial(
        orphans.erase, log, numbers, {"st_0001"}, orphans.Manner(77, False), is_written=False
    )
    with monkeypatch.context() as patched:
        patched.setattr(os, call, full)
        with pytest.raises(OSError, match="No space"):
            erase()
    assert [row.summary for row in summaries.rows_of(log)] == wanted
    assert b'"req_1"' in contents(log)
    assert not list(log.glob(f"*{drafts.DRAFT}"))
    assert erase() == {"st_0001"}
    assert b'"req_1"' not in contents(log)
