"""What is erased is gone from every file, and the rest of the log is as it was."""

import collections
import contextlib
import functools
import gzip
import os
import random
import shutil
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from engine import slices
from engine.log import event_log as eventlog
from engine.log.derive import choosing, purging, rowfiles, segmentfile
from engine.log.find import catalog, names, resolver, stories
from engine.log.read import drafts, segments
from engine.log.summary import rows
from engine.log.write import chainlock, lock as writerlock, recovery, rewriting
from server.usage import query, sums
from tests import test_docs_log
from tests.engine.log import test_kills
from tests.engine.log.derive import logsforderiving as deriving
from tests.simulator import disk
from tests.support.logs import coldlogs, damage, logs, summaries
from tests.support.process import machinetime


@pytest.fixture
def log(tmp_path: Path) -> Path:
    deriving.write(tmp_path / "log", **deriving.SUMMARIZED)
    return tmp_path / "log"


def purge(directory: Path, *streams: str) -> purging.Purged:
    return purging.purge(directory, streams, 77, lambda _done, _of: None)


def contents(directory: Path) -> bytes:
    return b"".join(path.read_bytes() for path in directory.iterdir() if path.is_file())


def all_of(directory: Path) -> tuple[segments.Reading, dict[str, list[segments.Record]]]:
    """A log that was read, and the records of its streams."""
    reading = segments.read(directory)
    found: dict[str, list[segments.Record]] = collections.defaultdict(list)
    for record in reading:
        found[record.stream].append(record)
    return reading, found


def places(records: Iterable[segments.Record]) -> list[tuple[bytes, int]]:
    return [(record.raw, record.line) for record in records]


def test_nothing_of_the_stream_is_left_and_the_others_are_as_they_were(log: Path) -> None:
    _, was = all_of(log)
    done = purge(log, "st_0001", "st_0004")
    assert done.streams == {"st_0001", "st_0004"}
    assert done.records == len(was["st_0001"]) + len(was["st_0004"])
    reading, now = all_of(log)
    assert reading.problems == []
    assert reading.purged == done.streams
    assert reading.open == {}
    assert now.keys() == was.keys() - done.streams
    for name, records in now.items():
        assert places(records) == places(was[name])
    left = contents(log)
    for gone in (b"req_1", b"chatcmpl-1", b"req_4", b"Zanzibar42 1"):
        assert gone not in left
    assert b"req_2" in left
    assert test_docs_log.read(log) == was.keys()  # the page is enough to read it
    assert deriving.replayed(log).purged == 2


def test_a_stub_has_the_place_of_its_record_and_the_last_its_figures(log: Path) -> None:
    _, was = all_of(log)
    purge(log, "st_0003")
    for record in was["st_0003"]:
        name = record.path.name
        line = (log / name).read_bytes().splitlines()[record.line - 1]
        stub = f'{{"stream":"st_0003","seq":{record.seq},"seg":{record.seg},"purged":77,'
        assert line.startswith(stub.encode())
        assert (b'"ended":{' in line) == (record.event == "terminal")


def test_its_row_keeps_the_figures_and_loses_the_client_s_ids(log: Path) -> None:
    was = {row.summary: row for row in summaries.rows_of(log)}
    purge(log, "st_0001")
    now = {row.summary: row for row in summaries.rows_of(log)}
    assert now.keys() == was.keys()
    gone = now["st_0001"]
    assert gone.purged == 77
    assert gone.request_id == ""
    for name in rows.OF_PURGED:
        assert getattr(gone, name) == getattr(was["st_0001"], name)
    for name in now.keys() - {"st_0001"}:  # each still says where its records are
        for (number, offset), event in ((now[name].begun, "opened"), (now[name].at, "terminal")):  # type: ignore[misc] # all were begun
            data = (log / segments.segment_name(number)).read_bytes()
            place = f'{{"stream":"{name}"'.encode()
            assert data[offset:].startswith(place)
            assert f'"event":"{event}"'.encode() in data[offset:].splitlines()[0]


@pytest.mark.parametrize("groups", [(), (query.Group.MODEL,), (query.Group.KEY,)])
def test_usage_stays_as_it_was(log: Path, groups: tuple[query.Group, ...]) -> None:
    def summed() -> dict[str, Any]:
        grouped = sums.Grouped(groups)
        for row in summaries.rows_of(log):
            grouped.add(row)
        return slices.at_once(grouped.shown(100))

    was = summed()
    purge(log, "st_0001", "st_0003")
    assert summed() == was
    for path in log.glob("*.summary"):
        path.unlink()
    rowfiles_of = {row.summary: row for row in catalog.Catalog(log).ended_rows()}
    assert {name for name, row in rowfiles_of.items() if row.purged} == {"st_0001", "st_0003"}


def test_the_key_of_a_stream_goes_where_that_is_asked_and_the_figures_stay(log: Path) -> None:
    was = {row.summary: row for row in summaries.rows_of(log)}
    of_key = [name for name, row in was.items() if row.key == was["st_0001"].key]
    purging.purge(log, of_key, 77, lambda _done, _of: None, forgets_key=True)
    assert was["st_0001"].key.encode() not in contents(log)
    now = {row.summary: row for row in summaries.rows_of(log)}
    for name in of_key:
        assert now[name].key == ""
        assert now[name].usage == was[name].usage


def test_rows_are_made_again_from_the_stubs_alone(log: Path) -> None:
    purge(log, "st_0002")
    was = summaries.rows_of(log)
    for path in log.glob("*.summary"):
        path.unlink()
    event_log = logs.open_log(log, **deriving.SUMMARIZED)
    deriving.play(event_log, 9)
    summaries.settle(event_log)
    event_log.close()
    assert summaries.rows_of(log)[: len(was)] == was


def test_the_next_start_goes_on_with_it(log: Path) -> None:
    purge(log, "st_0000", "st_0005")
    event_log = logs.open_log(log, segment_bytes=4000)
    assert event_log._recovery is not None
    assert event_log._recovery.open_streams == ()
    deriving.play(event_log, 9)
    event_log.close()
    reading, found = all_of(log)
    assert reading.problems == []
    assert "st_0009" in found


def test_to_erase_again_changes_nothing(log: Path) -> None:
    purge(log, "st_0001")
    before = damage.read_files(log)
    assert purge(log, "st_0001").segments == []
    assert damage.read_files(log) == before


def test_a_plan_writes_nothing_and_says_what_is_done(log: Path) -> None:
    before = damage.read_files(log)
    planned = purging.plan(log, {"st_0001", "st_0002"}, is_written=False)
    assert damage.read_files(log) == before
    done = purge(log, "st_0001", "st_0002")
    assert (planned.streams, planned.records, planned.segments) == (
        done.streams,
        done.records,
        done.segments,
    )


def test_a_stream_that_a_killed_process_left_open_is_not_closed(tmp_path: Path) -> None:
    event_log = logs.open_log(tmp_path / "log", content="full")
    deriving.play(event_log, 1, ends=False)
    deriving.play(event_log, 2)
    left = logs.left_behind(tmp_path / "log")
    event_log.close()
    purge(left, "st_0001")
    again = logs.open_log(left)
    again.close()
    reading, found = all_of(left)
    assert reading.problems == []
    assert found.keys() == {"st_0002"}
    assert b"recovery" not in contents(left)


def test_a_damaged_segment_is_not_made_to_look_whole(log: Path) -> None:
    path = segments.list_segments(log)[1].path
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-1]))
    streams = {line.split(b'"')[3].decode() for line in lines[1:-1]}
    with pytest.raises(segmentfile.Damaged, match=path.name):
        purge(log, *streams)
    reading, _ = all_of(log)
    assert reading.counts["corrupt"]


KINDS = damage.damages()


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_damage_to_a_log_that_was_purged_is_found(kind: str) -> None:
    with disk.temporary_directory() as directory:
        deriving.write(directory)
        purge(directory, "st_0001", "st_0004")
        before = damage.read_files(directory)
        for seed in range(4):
            files = dict(before)
            rng = random.Random(seed)
            while files == before:
                KINDS[kind](rng, files)
            damage.write_files(directory, files, before)
            reading, _ = all_of(directory)
            assert reading.counts["corrupt"] or reading.counts["torn"], (kind, seed)
            damage.write_files(directory, before, files)


# A server that writes meanwhile.


def test_a_server_goes_on_and_closes_what_another_process_rewrote(tmp_path: Path) -> None:
    event_log = logs.open_log(tmp_path / "log", segment_bytes=4000, content="full")
    for number in range(6):
        deriving.play(event_log, number)
    logs.wait_for_chores(event_log)
    done = purge(tmp_path / "log", "st_0000", "st_0001")
    assert done.streams == {"st_0000", "st_0001"}
    deriving.play(event_log, 6)
    assert all_of(tmp_path / "log")[0].problems == []
    for number in range(7, 12):
        deriving.play(event_log, number)
    logs.wait_for_chores(event_log)
    assert purge(tmp_path / "log", "st_0007").streams == {"st_0007"}
    event_log.close()
    reading, found = all_of(tmp_path / "log")
    assert reading.problems == []
    assert reading.purged == {"st_0000", "st_0001", "st_0007"}
    assert len(found) == 9
    assert test_docs_log.read(tmp_path / "log")


def test_a_stream_in_the_segment_that_is_written_to_is_left_alone(tmp_path: Path) -> None:
    event_log = logs.open_log(tmp_path / "log", content="full")
    deriving.play(event_log, 1)
    before = (tmp_path / "log" / segments.segment_name(1)).read_bytes()
    planned = purging.plan(tmp_path / "log", {"st_0001"}, is_written=True)
    done = purge(tmp_path / "log", "st_0001")
    assert planned.busy == done.busy == {"st_0001"}
    assert done.streams == set()
    assert (tmp_path / "log" / segments.segment_name(1)).read_bytes() == before
    event_log.close()
    assert purge(tmp_path / "log", "st_0001").streams == {"st_0001"}


def test_of_two_processes_one_is_refused(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rewriting, "ALONE_S", 0.0)
    with rewriting.Rewriter(log), pytest.raises(writerlock.LogLocked, match="another process"):
        purge(log, "st_0001")
    assert purge(log, "st_0001").streams == {"st_0001"}


PURGES = """
import sys, time
from pathlib import Path
from engine.log.derive import purging
print("ready", flush=True)
sys.stdin.readline()
done = purging.purge(Path(sys.argv[1]), sys.argv[2:], time.time_ns() // 1000, lambda *_: None)
print(*sorted(done.streams))
"""
"""A program that erases streams when it is told to, and says which."""


@pytest.mark.slow  # two interpreters are started
def test_two_processes_that_purge_at_once_both_do(tmp_path: Path) -> None:
    log = tmp_path / "log"
    deriving.write(log, streams=30, **deriving.SUMMARIZED)
    asked = [[f"st_{number:04}" for number in range(start, 30, 3)] for start in (0, 1)]
    asked[1].append("st_0003")  # which the other one erases too
    programs = [
        subprocess.Popen(
            (sys.executable, "-c", PURGES, str(log), *streams),
            cwd=logs.ROOT,
            env=logs.child_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for streams in asked
    ]
    said: list[str] = []
    for program in programs:
        assert program.stdout is not None
        assert program.stdout.readline() == "ready\n"
    for program in programs:
        assert program.stdin is not None
        program.stdin.write("go\n")
        program.stdin.flush()
    for program in programs:
        out, _ = program.communicate(timeout=machinetime.HANG_S)
        assert program.returncode == 0
        said += out.split()
    assert sorted(said) == sorted({*asked[0], *asked[1]})  # st_0003 once
    reading, found = all_of(log)
    assert reading.problems == []
    assert reading.purged == {*said}
    assert len(found) == 30 - len(said)
    assert {row.summary for row in summaries.rows_of(log) if row.purged} == {*said}


@pytest.mark.slow  # what compresses pauses for longer than it works
def test_purges_while_a_server_writes_rotates_and_compresses(tmp_path: Path) -> None:
    """Two erase at once, as two processes would: each lock is of a file that was opened alone."""
    log, clock, streams = tmp_path / "log", logs.Clock(), 30
    settings = {"segment_bytes": 3000, "compress_age_s": 60, "max_age_s": 0, "content": "full"}
    event_log = logs.open_log(log, clock, **settings, **deriving.SUMMARIZED)
    wanted = {f"st_{number:04}" for number in range(streams) if number % 3}
    over, erased = threading.Event(), threading.Semaphore(0)

    def erase(some: set[str]) -> None:
        while not over.is_set():
            with contextlib.suppress(writerlock.LogLocked, rewriting.Changed):
                for _ in purge(log, *some).streams:
                    erased.release()

    halves = [{name for name in wanted if int(name[3:]) % 2 == half} for half in (0, 1)]
    threads = [threading.Thread(target=erase, args=(half,)) for half in halves]
    for thread in threads:
        thread.start()
    for number in range(streams):
        deriving.play(event_log, number)
        clock.advance(100)
        if number > 12 and number % 3 == 0:  # so often at the least something is erased meanwhile
            assert erased.acquire(timeout=machinetime.HANG_S)
    over.set()
    for thread in threads:
        thread.join(machinetime.HANG_S)
    for number in range(streams, streams + 3):  # what nobody erases any more is compressed now
        deriving.play(event_log, number)
        clock.advance(100)
    logs.wait_for_chores(event_log)
    event_log.upkeep._compressor._thread.submit(int).result(machinetime.HANG_S)
    event_log.close()
    assert event_log.counts.compression.segments > 0
    assert event_log.counts.compression.failures == 0
    streams += 3
    purge(log, *wanted)
    reading, found = all_of(log)
    assert reading.problems == []
    assert reading.purged == wanted
    assert len(found) == streams - len(wanted)
    left = b"".join(gzip.decompress(path.read_bytes()) for path in log.glob("*.gz"))
    left += contents(log)
    for name in wanted:
        assert f'"req_{int(name[3:])}"'.encode() not in left
    rows_left = {row.summary: row for row in summaries.rows_of(log)}
    assert {name for name, row in rows_left.items() if row.purged} == wanted
    assert len(rows_left) == streams


def test_a_server_waits_for_the_line_of_another_process(tmp_path: Path) -> None:
    """The chain's lock is what keeps two lines apart that are written at the same time."""
    event_log = logs.open_log(tmp_path / "log", segment_bytes=2000, content="full")
    deriving.play(event_log, 0)
    logs.wait_for_chores(event_log)
    lines = (tmp_path / "log" / "chain").read_bytes().count(b"\n")
    fd = os.open(tmp_path / "log" / "chain", os.O_RDWR)
    closed = threading.Event()
    with contextlib.closing(os.fdopen(fd, "rb")), chainlock.held(fd):
        for number in range(1, 4):
            deriving.play(event_log, number)
        event_log._writer.later(closed.set)
        assert (tmp_path / "log" / "chain").read_bytes().count(b"\n") == lines
    assert closed.wait(30)
    assert (tmp_path / "log" / "chain").read_bytes().count(b"\n") > lines
    event_log.close()
    assert all_of(tmp_path / "log")[0].problems == []


# Killed, or without room, at any system call.


def lives(directory: Path) -> dict[str, Callable[[], object]]:
    return {"purge": lambda: purge(directory, "st_0001", "st_0003")}


def check(directory: Path, whole: set[str]) -> None:
    """A log of which nothing is wrong, with all that is not erased; the next purge ends it."""
    reading, found = all_of(directory)
    assert reading.problems == []
    assert found.keys() - reading.purged >= whole - {"st_0001", "st_0003"}
    deriving.replayed(directory)
    purge(directory, "st_0001", "st_0003")
    left = contents(directory)
    assert b"req_1" not in left
    assert b"req_3" not in left
    assert not list(directory.glob(f"*{drafts.DRAFT}"))
    reading, found = all_of(directory)
    assert reading.problems == []
    assert reading.purged == {"st_0001", "st_0003"}


@pytest.mark.long(usual=("beside a server-plain",))
@pytest.mark.slow
@pytest.mark.parametrize("form", ["plain", "compressed"])
@pytest.mark.parametrize("is_served", [False, True], ids=["alone", "beside a server"])
def test_killed_at_any_call_it_leaves_a_whole_log(
    is_served: bool, form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "source"
    deriving.write(source, streams=5, **deriving.SUMMARIZED)
    if form == "compressed":
        coldlogs.compress_all(source)
    reaper = test_kills.Reaper(monkeypatch)
    for last in range(1000):
        directory = tmp_path / "log"
        shutil.copytree(source, directory)
        served = None
        if is_served:
            served = logs.open_log(directory, segment_bytes=4000, content="full")
            deriving.play(served, 8)
            logs.wait_for_chores(served)
        whole = {f"st_{number:04}" for number in range(5)}
        erase = functools.partial(purge, directory, "st_0001", "st_0003")
        ended = reaper.run(erase, last)
        if served is not None:
            if last % 2:  # the server goes on, or the next start finds what is left
                deriving.play(served, 9)
            served.close()
        check(directory, whole)
        shutil.rmtree(directory)
        if ended:
            assert last > 20
            return
    raise AssertionError("it never came to its end")


@pytest.mark.slow
@pytest.mark.parametrize("form", ["plain", "compressed"])
@pytest.mark.parametrize("call", ["write", "pwrite", "fsync", "replace"])
def test_a_disk_that_is_full_at_any_call_leaves_a_whole_log(
    call: str, form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "source"
    deriving.write(source, streams=5, **deriving.SUMMARIZED)
    if form == "compressed":
        coldlogs.compress_all(source)
    real: Callable[..., Any] = getattr(os, call)
    for at in range(100):
        shutil.copytree(source, tmp_path / "log")
        calls = 0

        def full(*arguments: Any, at: int = at, **options: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == at + 1:
                raise OSError(28, "No space left on device")
            return real(*arguments, **options)

        with monkeypatch.context() as patched:
            patched.setattr(os, call, full)
            with contextlib.suppress(OSError):
                purge(tmp_path / "log", "st_0001", "st_0003")
        check(tmp_path / "log", {f"st_{number:04}" for number in range(5)})
        shutil.rmtree(tmp_path / "log")
        if calls <= at:
            return
    raise AssertionError("it never came to its end")


def test_what_was_erased_is_not_found(log: Path) -> None:
    purge(log, "st_0000")
    with pytest.raises(names.NotFound):
        stories.story(log, "st_0000")


def test_a_purge_that_was_stopped_shows_nothing_of_a_stream_and_is_asked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "small"
    deriving.write(log, segment_bytes=1000, **deriving.SUMMARIZED)
    found = all_of(log)[1]
    stream = next(name for name, each in found.items() if len({one.path for one in each}) > 2)
    was = next(row for row in summaries.rows_of(log) if row.summary == stream)
    replace = rewriting.Rewriter.replace
    done: list[int] = []

    def once(self: rewriting.Rewriter, segment: Any, before: Any, content: Any) -> bool:
        if done:
            raise OSError(28, "No space left on device")
        done.append(segment.number)
        return replace(self, segment, before, content)

    with monkeypatch.context() as patched:
        patched.setattr(rewriting.Rewriter, "replace", once)
        with pytest.raises(OSError, match="No space"):
            purge(log, stream)
    with pytest.raises(names.NotFound):
        stories.story(log, stream)
    known = catalog.Catalog(log)
    assert resolver.resolve(known, was.request_id).summary == stream
    assert stream in choosing.of_key(log, was.key).streams
    assert purge(log, stream).streams == {stream}
    row = next(row for row in summaries.rows_of(log) if row.summary == stream)
    for name in rows.OF_PURGED:
        assert getattr(row, name) == getattr(was, name)
    assert was.request_id.encode() not in contents(log)
    assert purging.plan(log, {stream}, is_written=False).streams == set()


@pytest.mark.parametrize("forgets_key", [False, True])
def test_ids_that_a_kill_left_in_a_summary_are_something_to_erase(
    log: Path, monkeypatch: pytest.MonkeyPatch, forgets_key: bool
) -> None:
    mine = choosing.of_key(log, "alpha").streams
    erase = functools.partial(purging.purge, forgets_key=forgets_key)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(rowfiles, "remake", killed)
        for _ in segments.list_segments(log):  # each is killed behind one segment
            with contextlib.suppress(KeyboardInterrupt):
                erase(log, mine, 77, lambda _done, _of: None)
    assert b'"req_0"' in contents(log)
    assert choosing.of_key(log, "alpha").streams == mine
    assert purging.plan(log, mine, is_written=False).streams == mine
    assert erase(log, mine, 78, lambda _done, _of: None).streams == mine
    assert b'"req_0"' not in contents(log)
    assert {row.summary for row in summaries.rows_of(log) if row.purged == 77} == mine
    assert choosing.of_key(log, "alpha").streams == set()
    assert purging.plan(log, mine, is_written=False).streams == set()


def test_what_stops_a_purge_midway_leaves_no_id_of_what_it_erased(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = next(row for row in summaries.rows_of(log) if row.begun and row.begun[0] == row.at[0])
    last = max(each.number for each in segments.list_segments(log))
    assert row.at[0] < last
    path = log / segments.segment_name(last)
    path.write_bytes(path.read_bytes().replace(b"text_delta", b"test_delta", 1))
    with pytest.raises(segmentfile.Damaged):
        purge(log, *{row.summary for row in summaries.rows_of(log)})
    assert f'"{row.request_id}"'.encode() not in contents(log)


def left_damaged(tmp_path: Path, old: bytes, new: bytes) -> Path:
    """A log that a killed process left, whose one segment nothing says the content of, with other
    bytes in it."""
    event_log = logs.open_log(tmp_path / "log", content="full", **deriving.SUMMARIZED)
    deriving.play(event_log, 1)
    deriving.play(event_log, 2)
    summaries.settle(event_log)
    copy = logs.left_behind(tmp_path / "log")
    event_log.close()
    (path,) = copy.glob("*.jsonl")
    data = path.read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, new, 1))
    return copy


@pytest.mark.parametrize(
    ("old", "new"),
    [(b"Say Zanzibar42", b"say Zanzibar42"), (b'"kind":"completed"', b'"kind":"Completed"')],
    ids=["a delta", "the end"],
)
def test_a_damaged_record_is_erased_too(tmp_path: Path, old: bytes, new: bytes) -> None:
    copy = left_damaged(tmp_path, old, new)
    planned = purging.plan(copy, {"st_0001"}, is_written=False)
    done = purge(copy, "st_0001")
    assert (done.streams, done.records) == ({"st_0001"}, planned.records)
    stubs = [
        line for line in contents(copy).splitlines() if line.startswith(b'{"stream":"st_0001"')
    ]
    assert len(stubs) == done.records
    assert all(b'"purged":77' in line for line in stubs)
    (row,) = [row for row in summaries.rows_of(copy) if row.summary == "st_0001"]
    assert (row.purged, row.key, row.kind) == (77, "beta", "completed")
    assert purging.plan(copy, {"st_0001"}, is_written=False).streams == set()


def test_a_record_that_cannot_be_read_at_all_is_not_said_to_be_erased(tmp_path: Path) -> None:
    copy = left_damaged(tmp_path, b'"t":1700000', b'"t":17{0000')
    with pytest.raises(segmentfile.Damaged, match="cannot be erased"):
        purge(copy, "st_0001")
    assert b"Say Zanzibar42" in contents(copy)


def test_a_draft_that_counts_is_what_is_shown(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A purge is killed between the chain's line and the segment's new name."""

    def killed(draft: Path, path: Path) -> None:
        raise OSError(5, f"killed before {draft} was {path}")

    with monkeypatch.context() as patched:
        patched.setattr(recovery, "put", killed)
        with pytest.raises(OSError, match="killed"):
            purge(log, "st_0002")
    assert list(log.glob("*.purge")) != []
    with pytest.raises(names.NotFound):
        stories.story(log, "st_0002")
    assert stories.story(log, "st_0005").records[-1].event == "terminal"


def prunes(event_log: eventlog.EventLog, directory: Path, until: int) -> None:
    """Have the server's own limit delete segments, oldest first, before one."""
    number = 100
    while segments.list_segments(directory)[0].number < until:
        number += 1
        deriving.play(event_log, number)
        logs.wait_for_chores(event_log)
    summaries.settle(event_log)


@pytest.mark.parametrize("moment", ["before it is read", "before its new form is written"])
def test_a_segment_that_retention_deletes_meanwhile_is_passed_over(
    moment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings: dict[str, Any] = {"segment_bytes": 4000, "max_bytes": 14000, "content": "full"}
    event_log = logs.open_log(tmp_path, **settings, **deriving.SUMMARIZED)
    deriving.play(event_log, 0)
    while len(segments.list_segments(tmp_path)) < 3:
        deriving.play(event_log, 1 + len(segments.list_segments(tmp_path)))
    logs.wait_for_chores(event_log)
    summaries.settle(event_log)
    (row,) = [row for row in summaries.rows_of(tmp_path) if row.summary == "st_0000"]
    replace = rewriting.Rewriter.replace

    def late(self: rewriting.Rewriter, *arguments: Any) -> bool:
        prunes(event_log, tmp_path, row.at[0] + 1)
        return replace(self, *arguments)

    def progress(done: int, _of: int) -> None:
        if not done and moment == "before it is read":
            prunes(event_log, tmp_path, row.at[0] + 1)

    if moment != "before it is read":
        monkeypatch.setattr(rewriting.Rewriter, "replace", late)
    done = purging.purge(tmp_path, ["st_0000"], 77, progress)
    assert (done.streams, done.rows, done.segments) == ({"st_0000"}, 1, [])
    (left,) = [row for row in summaries.rows_of(tmp_path) if row.summary == "st_0000"]
    assert (left.purged, left.request_id, left.key) == (77, "", row.key)
    assert row.at[0] not in {each.number for each in segments.list_segments(tmp_path)}
    assert b'"req_0"' not in contents(tmp_path)
    event_log.close()


def test_a_stream_that_has_not_ended_is_left_alone_beside_its_server(tmp_path: Path) -> None:
    event_log = logs.open_log(tmp_path, segment_bytes=4000, content="full")
    deriving.play(event_log, 0, ends=False)
    for number in range(1, 9):
        deriving.play(event_log, number)
    logs.wait_for_chores(event_log)
    done = purge(tmp_path, "st_0000", "st_0001")
    assert (done.streams, done.busy) == ({"st_0001"}, {"st_0000"})
    event_log.close()


def test_an_old_form_beside_the_new_one_goes_with_the_next_purge(log: Path) -> None:
    coldlogs.compress_all(log)
    old = {path: path.read_bytes() for path in log.glob("*.gz")}
    purge(log, "st_0001")
    for path, data in old.items():
        path.write_bytes(data)  # as if it had been killed before it deleted them
    purge(log, "st_0002")
    plain = {path.name for path in log.glob("*.jsonl")}
    assert plain
    assert not plain & {path.stem for path in log.glob("*.gz")}


# However large a segment is.

MIB = 1 << 20


@pytest.mark.parametrize("form", ["plain", "compressed"])
def test_no_more_of_a_segment_is_in_memory_than_a_part(form: str, tmp_path: Path) -> None:
    """What Python holds is counted, so no other process can change it: a part of a segment, and
    of its compressed form, are a MiB each at the most."""
    log = tmp_path / "log"
    event_log = logs.open_log(log, segment_bytes=64 * MIB, **deriving.SUMMARIZED)
    text = "0123456789abcdef" * 4096
    for number in range(80):
        logs.play(event_log, f"st_{number:04}", text, text)
    summaries.settle(event_log)
    event_log.close()
    (segment,) = segments.list_segments(log)
    assert segment.size > 10 * MIB
    if form == "compressed":
        (path,) = coldlogs.compress_all(log)
        assert path.suffix == ".gz"
    tracemalloc.start()
    try:
        planned = purging.plan(log, {"st_0001"}, is_written=False)
        done = purge(log, "st_0001")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert done.records == planned.records == 5
    assert peak < 4 * MIB
    assert all_of(log)[0].problems == []
