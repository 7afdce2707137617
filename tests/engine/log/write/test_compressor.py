"""Old segments are compressed beside the log, which neither waits for it nor fails with it."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import structlog.testing

from engine.log.cold import compress, files
from engine.log.read import segments
from engine.log.write import compressor, lock as writerlock
from tests.support.logs import coldlogs, fulldisk, logs
from tests.support.process import machinetime


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return coldlogs.closed_log(tmp_path / "log")


class Bench:
    """A compressor, and what it says."""

    def __init__(self, log: Path, is_writer: Callable[[], bool] = lambda: True) -> None:
        self.counts = compressor.CompressionCounts()
        self.log = log
        self.looks = 0
        self.all = [compressor.Cold(*each) for each in coldlogs.figures_of(log).items()]
        self.compressor = compressor.Compressor(log, self.counts, is_writer)
        self._idle = threading.Semaphore(0)

    def look(self) -> None:
        self.looks += 1

    def run(self, wanted: list[compressor.Cold] | None = None) -> list[dict[str, Any]]:
        """What is said while it compresses these, or all."""
        with structlog.testing.capture_logs() as said:
            self.compressor.take(self.all if wanted is None else wanted, self.look)
            self.wait()
        return [dict(line) for line in said]

    def wait(self) -> None:
        """Wait until its thread has nothing to do."""
        done = threading.Event()
        self.compressor._thread.submit(done.set)
        assert done.wait(machinetime.HANG_S)

    @property
    def forms(self) -> list[str]:
        return [each.path.suffix for each in files.list_segments(self.log)]


def test_all_that_is_wanted_is_compressed_and_counted(log: Path) -> None:
    before = [record.raw for record in segments.read(log)]
    size = sum(each.size for each in files.list_segments(log))
    bench = Bench(log)
    said = bench.run()
    bench.compressor.close()
    assert set(bench.forms) == {".gz"}
    assert [record.raw for record in segments.read(log)] == before
    assert {line["event"] for line in said} == {"segment_compressed"}
    counts = bench.counts
    assert (counts.segments, counts.bytes_read, counts.failures) == (len(bench.all), size, 0)
    now = sum(each.size for each in files.list_segments(log))
    assert counts.bytes_written == now == sum(line["compressed_bytes"] for line in said)
    assert bench.looks == 2


def test_what_is_compressed_or_gone_is_passed_over(log: Path) -> None:
    bench = Bench(log)
    bench.run()
    files.remove(log, 1)
    assert bench.run() == []
    assert bench.counts.segments == len(bench.all)
    bench.compressor.close()


def test_leftovers_of_a_killed_process_go_first_though_nothing_is_wanted(log: Path) -> None:
    draft = log / f"{files.compressed_name(1)}{files.DRAFT}"
    draft.touch()
    stranger = Bench(log, lambda: False)
    stranger.run([])
    stranger.compressor.close()
    assert draft.exists()
    bench = Bench(log)
    bench.run([])
    bench.compressor.close()
    assert not draft.exists()


def test_a_damaged_segment_is_named_once_and_left_and_the_others_are_compressed(
    log: Path,
) -> None:
    path = log / files.segment_name(2)
    path.write_bytes(path.read_bytes().replace(b"Hel", b"hel", 1))
    bench = Bench(log)
    (said,) = [line for line in bench.run() if line["event"] == "segment_not_compressed"]
    assert (said["path"], said["log_level"]) == (str(path), "warning")
    assert "something else than was written" in said["error"]
    assert bench.run() == []
    assert bench.forms == [".gz", ".jsonl", *[".gz"] * (len(bench.all) - 2)]
    bench.compressor.close()


def test_a_defect_in_one_segment_is_reported_once_and_the_others_are_compressed(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = compress.compress

    def planted(directory: Path, number: int, *more: Any) -> int:
        if number == 1:
            raise ZeroDivisionError
        return usual(directory, number, *more)

    monkeypatch.setattr(compress, "compress", planted)
    bench = Bench(log)
    said = [bench.run(), bench.run()]
    bench.compressor.close()
    assert bench.forms == [".jsonl", *[".gz"] * (len(bench.forms) - 1)]
    (defect,) = [line for lines in said for line in lines if line["event"] == "defect"]
    assert (defect["task"], Path(defect["path"]).name) == ("compression", files.segment_name(1))
    assert bench.counts.failures == 1


def test_what_cannot_be_written_is_said_once_and_tried_again(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(log)
    with monkeypatch.context() as patched:

        def full(*_: object) -> int:
            raise OSError(28, "No space left on device")

        patched.setattr(compress, "_write_all", full)
        first, second = bench.run(), bench.run()
    assert [line["event"] for line in first] == ["segment_not_compressed"]
    assert second == []
    assert bench.counts.failures == 2 * len(bench.all)
    assert set(bench.forms) == {".jsonl"}
    assert list(log.glob("*.new")) == []
    bench.run()
    assert set(bench.forms) == {".gz"}
    bench.compressor.close()


def test_a_stop_waits_for_one_member_and_no_more(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    coldlogs.small_members(monkeypatch)
    monkeypatch.setattr(compressor, "SHARE", 1e-9)  # the first pause would last for hours
    bench = Bench(log)
    paused = threading.Event()
    wait = bench.compressor._closing.wait

    def waiting(seconds: float) -> bool:
        paused.set()
        return wait(min(seconds, 3600))

    monkeypatch.setattr(bench.compressor._closing, "wait", waiting)
    bench.compressor.take(bench.all, bench.look)
    assert paused.wait(machinetime.HANG_S)
    bench.compressor.close()  # which would hang
    assert set(bench.forms) == {".jsonl"}
    assert list(log.glob("*.new")) == []
    bench.compressor.take(bench.all, bench.look)  # too late, and no error


def test_it_pauses_for_three_times_as_long_as_it_works(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    pauses: list[float] = []
    monkeypatch.setattr(time, "thread_time", lambda: now[0])
    bench = Bench(log)

    def waiting(seconds: float) -> bool:
        pauses.append(seconds)
        return False

    monkeypatch.setattr(bench.compressor._closing, "wait", waiting)
    bench.compressor._worked_s = now[0]
    now[0] += 2
    bench.compressor._pace()
    assert pauses == [6.0]
    bench.compressor.close()


@pytest.mark.skipif(not hasattr(os, "getpriority"), reason="no priorities here")
def test_its_thread_has_the_least_priority(log: Path) -> None:
    bench = Bench(log)
    found = bench.compressor._thread.submit(
        lambda: os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    )
    assert found.result(machinetime.HANG_S) == compressor.LEAST_PRIORITY
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) < compressor.LEAST_PRIORITY
    bench.compressor.close()


def test_a_disk_that_is_full_or_read_only_costs_nothing_and_is_tried_again(
    tmp_path: Path,
) -> None:
    """Whether all were compressed, whether each failed, the drafts that are left, and whether the
    log is whole."""
    assert fulldisk.in_namespace("compressed", tmp_path) == {
        "full": [False, True, 0, True],
        "read_only": [False, True, 0, True],
        "neither": [True, False, 0, True],
    }


def test_a_second_server_is_refused_and_a_reader_is_not_disturbed_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process reads a log again and again while its segments are compressed."""
    log = coldlogs.closed_log(tmp_path / "log", streams=20, segment_bytes=3000)
    clock = logs.Clock(1_800_000_000_000_000)
    coldlogs.small_members(monkeypatch)
    command = (sys.executable, "-c", READS, str(log))
    with subprocess.Popen(
        command,
        cwd=logs.ROOT,
        env=logs.child_environment(),
        stdout=subprocess.PIPE,
        stdin=subprocess.PIPE,
        text=True,
    ) as reader:
        assert reader.stdin is not None
        assert reader.stdout is not None
        assert reader.stdout.readline() == "reading\n"
        event_log = logs.open_log(log, clock, max_age_s=0, compress_age_s=60)
        with pytest.raises(writerlock.LogLocked):
            logs.open_log(log, clock)
        logs.settle(event_log)
        event_log.upkeep._compressor._thread.submit(int).result(machinetime.HANG_S)
        assert event_log.counts.compression.segments > 5
        reader.stdin.close()
        assert reader.stdout.read() == "20 streams each time\n"
    event_log.close()
    assert len(logs.streams_of(log)) == 20


READS = """
import sys, threading
from pathlib import Path
from engine.log.cold import members
from engine.log.read import segments
from tests.support.logs import coldlogs, fulldisk, logs

members.CONTENT_BYTES = coldlogs.PART_BYTES
over = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), over.set())).start()
seen, problems, said = set(), [], False
while not (said and over.is_set()):
    reading = segments.read(Path(sys.argv[1]))
    seen.add(len({record.stream for record in reading}))
    problems += [str(each) for each in reading.problems]
    if not said:
        said = print("reading", flush=True) is None
print(*problems, *seen, "streams each time")
"""
"""A program that reads a log until its input ends, and says how many streams it found."""
