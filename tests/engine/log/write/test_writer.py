"""The log's files: whose they are, when they are written, when they are on the disk."""

import asyncio
import fcntl
import functools
import os
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from engine.log.read import segments
from engine.log.summary.settings import SummarySettings
from tests.support.logs import logs
from tests.support.process import machinetime


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.fixture
def clock() -> logs.Clock:
    return logs.Clock()


def test_files_and_directory_are_their_owners(directory: Path) -> None:
    event_log = logs.open_log(directory)
    logs.write_stream(event_log, "s")
    flags = fcntl.fcntl(logs.live_fd(directory), fcntl.F_GETFL)
    closes = fcntl.fcntl(logs.live_fd(directory), fcntl.F_GETFD)
    event_log.close()
    assert flags & os.O_APPEND
    assert closes & fcntl.FD_CLOEXEC
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    files = {path.name: stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()}
    names = ("events-00000001.jsonl", "lock", "checkpoint", "chain")
    assert files == dict.fromkeys(names, 0o600)


def test_what_a_watcher_raises_writes_no_record_twice(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    event_log = logs.open_log(directory, summaries=SummarySettings())
    with monkeypatch.context() as patched:
        patched.setattr(event_log.summaries, "written", None)  # a bug
        logs.write_stream(event_log, "a")
    logs.write_stream(event_log, "b")
    event_log.close()
    found = logs.streams_of(directory)
    for stream in ("a", "b"):
        numbers = [record.seq for record in found[stream]]
        assert numbers == [*range(len(numbers))]


def test_a_flush_is_one_write(directory: Path) -> None:
    event_log = logs.open_log(directory)
    logs.write_stream(event_log, "s0")
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)  # keeps writes apart
    ours.setblocking(False)
    os.dup2(theirs.fileno(), logs.live_fd(directory))
    first, second = logs.begin(event_log, "s1"), logs.begin(event_log, "s2")
    for _ in range(20):
        first.append(*logs.content("hello"))
        second.append(*logs.content("hello"))
    event_log.flush()
    event_log.flush()
    assert ours.recv(1 << 20).count(b"\n") == 42
    with pytest.raises(BlockingIOError):
        ours.recv(1)
    event_log.close()
    ours.close()
    theirs.close()


def test_nothing_is_on_file_before_the_flush(directory: Path) -> None:
    event_log = logs.open_log(directory)
    stream = logs.begin(event_log, "s")
    stream.append(*logs.content("x"))
    assert logs.lines_of(directory) == []
    event_log.flush()
    assert len(logs.lines_of(directory)) == 2
    event_log.close()


def test_segments_are_as_long_as_they_may_be_and_each_counts_from_zero(directory: Path) -> None:
    event_log = logs.open_log(directory, segment_bytes=1000, content="full")
    stream = logs.begin(event_log, "s")
    for number in range(100):
        stream.append(*logs.content(str(number)))
        if number % 30 == 0:
            event_log.flush()
    stream.append(*logs.content("x" * 3000))
    stream.close(logs.TERMINAL, "done")
    event_log.close()
    found = segments.list_segments(directory)
    assert [segment.number for segment in found] == list(range(1, len(found) + 1))
    assert all(800 < segment.size <= 1000 for segment in found[:-3])
    assert sorted(segment.size > 3000 for segment in found[-3:]) == [False, False, True]
    assert logs.texts(logs.streams_of(directory)["s"])[:-1] == [str(each) for each in range(100)]


def test_a_start_goes_on_in_a_new_segment(directory: Path) -> None:
    for name in ("a", "b", "c"):
        event_log = logs.open_log(directory)
        logs.write_stream(event_log, name)
        event_log.close()
    assert len(segments.list_segments(directory)) == 3
    assert list(logs.streams_of(directory)) == ["a", "b", "c"]


def test_a_second_writer_is_told_who_the_first_is(directory: Path) -> None:
    event_log = logs.open_log(directory)
    logs.write_stream(event_log, "s")
    program = (
        "import sys; from pathlib import Path; from tests.support.logs import logs\n"
        "logs.open_log(Path(sys.argv[1]))"
    )
    second = subprocess.run(
        (sys.executable, "-c", program, directory),
        env=logs.child_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    last = second.stderr.splitlines()[-1]
    assert f"{directory}: process {os.getpid()} writes its event log here already; stop" in last
    event_log.close()
    logs.open_log(directory).close()
    assert list(logs.streams_of(directory)) == ["s"]


class Syncs:
    """Watches the fsyncs of threads that begin while it is there, and can hold them up.

    Attributes:
        count: how many are over.
        begun: set when one begins.
        may_go_on: while it is clear they wait.
    """

    def __init__(self) -> None:
        self.count = 0
        self.begun = threading.Event()
        self._counted = threading.Condition()
        self.may_go_on = threading.Event()
        self.may_go_on.set()

    def __call__(self, _frame: Any, kind: str, called: Any) -> None:
        if kind == "c_call" and called is os.fsync:
            self.begun.set()
            self.may_go_on.wait(machinetime.HANG_S)
        if kind == "c_return" and called is os.fsync:
            with self._counted:
                self.count += 1
                self._counted.notify_all()

    def wait_for(self, count: int) -> None:
        """Until so many are over."""
        with self._counted:
            assert self._counted.wait_for(lambda: self.count >= count, machinetime.HANG_S)


@pytest.fixture
def syncs() -> Iterator[Syncs]:
    watch = Syncs()
    threading.setprofile(watch)
    yield watch
    threading.setprofile(None)


def test_always_calls_back_in_the_loop_when_the_group_is_on_the_disk(
    directory: Path, syncs: Syncs
) -> None:
    async def scenario() -> None:
        event_log = logs.open_log(directory, fsync="always")
        stream = logs.begin(event_log, "s")
        callers: asyncio.Queue[threading.Thread] = asyncio.Queue()
        for _ in range(3):
            stream.append(*logs.content("x"))
            event_log.flush()
            syncs.begun.clear()
            syncs.may_go_on.clear()
            event_log.when_durable(lambda: callers.put_nowait(threading.current_thread()))
            await asyncio.to_thread(syncs.begun.wait, 5)
            await asyncio.sleep(0)
            assert callers.empty()
            syncs.may_go_on.set()
            assert (
                await asyncio.wait_for(callers.get(), machinetime.HANG_S)
                is threading.main_thread()
            )
        event_log.close()

    asyncio.run(scenario())


def test_what_nobody_waited_for_is_synced_when_its_segment_is_left(
    directory: Path, syncs: Syncs
) -> None:
    event_log = logs.open_log(directory, fsync="always")
    syncs.wait_for(3)
    logs.write_stream(event_log, "s")
    event_log.close()
    assert syncs.count == 6, "checkpoint, chain and names; the segment twice, the chain"


def test_groups_that_wait_together_are_synced_together_and_called_in_order(
    directory: Path, syncs: Syncs
) -> None:
    async def scenario() -> list[int]:
        event_log = logs.open_log(directory, fsync="always", segment_bytes=2000)
        called: list[int] = []
        last = asyncio.Event()
        stream = logs.begin(event_log, "s")
        for number in range(200):
            stream.append(*logs.content("x"))
            event_log.flush()
            event_log.when_durable(functools.partial(called.append, number))
        event_log.when_durable(last.set)
        await last.wait()
        event_log.close()
        return called

    assert asyncio.run(scenario()) == list(range(200))
    assert syncs.count < 200


def test_interval_syncs_soon_and_unasked(directory: Path, syncs: Syncs) -> None:
    event_log = logs.open_log(directory, fsync="interval")
    called: list[str] = []
    syncs.wait_for(3)  # the checkpoint, the chain, the name of the new segment
    syncs.begun.clear()
    began = time.monotonic()
    logs.write_stream(event_log, "s")
    event_log.when_durable(lambda: called.append("at once"))
    assert called == ["at once"]
    assert syncs.begun.wait(machinetime.HANG_S)
    assert time.monotonic() - began >= 0.9
    logs.write_stream(event_log, "t")
    before = syncs.count
    with machinetime.within(0.9):
        event_log.close()
    assert syncs.count > before


def test_none_never_syncs(directory: Path, syncs: Syncs) -> None:
    event_log = logs.open_log(directory, fsync="none", segment_bytes=1000)
    for number in range(10):
        logs.write_stream(event_log, f"s{number}")
    event_log.close()
    assert syncs.count == 0


def test_a_failed_sync_is_a_failure_of_the_log_and_nobody_waits_for_it(
    directory: Path, clock: logs.Clock
) -> None:
    async def scenario() -> None:
        event_log = logs.open_log(directory, clock, fsync="always", content="full")
        logs.write_stream(event_log, "before")
        out, into = os.pipe()
        os.dup2(into, logs.live_fd(directory))  # a pipe takes writes, and no fsync
        for name in ("lost", "at once", "after"):
            logs.write_stream(event_log, name)
            done = asyncio.Event()
            event_log.when_durable(done.set)
            await asyncio.wait_for(done.wait(), machinetime.HANG_S)
            clock.advance(2)
        assert event_log.counts.failures == 1
        event_log.close()
        os.close(out)
        os.close(into)

    with structlog.testing.capture_logs() as said:
        asyncio.run(scenario())
    assert [line["event"] for line in said] == ["event_log_failing", "event_log_recovered"]
    reading = segments.read(directory)
    assert list({record.stream: None for record in reading}) == ["before", "at once", "after"]
    (lost,) = reading.problems
    assert (lost.kind, lost.path.name) == ("corrupt", segments.segment_name(1))
    assert "it ends here" in lost.reason
