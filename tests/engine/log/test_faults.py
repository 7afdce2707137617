"""The event log when its process is killed, and when its disk is full, read-only or gone.

Nothing that was flushed is lost, nothing half-written is ever read as whole, nobody waits.
"""

import asyncio
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import structlog

from engine.log import event_log as eventlog
from engine.log.read import segments
from engine.log.write import lock as writerlock, recovery
from machines import events, outputs
from tests.support.logs import logs
from tests.support.machines import virtualtime
from tests.support.process import machinetime

pytestmark = pytest.mark.slow


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.fixture
def clock() -> logs.Clock:
    return logs.Clock()


def write_and_be_killed(directory: Path, after: int) -> tuple[recovery.Recovery, str, int]:
    """Have a process write until it has flushed `after` times, and kill it.

    Returns:
        What its start found, the beginning of its streams' ids, the last that it flushed.
    """
    with subprocess.Popen(
        (sys.executable, "-m", "tests.support.logs.logs", directory),
        cwd=logs.ROOT,
        env=logs.child_environment(),
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None
        found = recovery.Recovery()
        flushed = 0
        for line in child.stdout:
            if line.startswith("recovery ") and line.endswith("\n"):
                found = msgspec.json.decode(line.split(" ", 1)[1], type=recovery.Recovery)
            if line.startswith("flushed ") and line.endswith("\n"):
                flushed = int(line.split()[1])
            if flushed == after:
                child.send_signal(signal.SIGKILL)
    assert child.returncode == -signal.SIGKILL
    return found, f"{child.pid}-", flushed


def test_a_killed_process_loses_nothing_that_it_flushed(directory: Path) -> None:
    flushed: dict[str, int] = {}
    for after in (300, 500, 700):
        before, streams, last = write_and_be_killed(directory, after)
        assert len(before.open_streams) == (3 if flushed else 0)
        flushed |= dict.fromkeys((f"{streams}{number}" for number in range(3)), last)
    for _ in range(3):
        logs.open_log(directory).close()
    found = logs.streams_of(directory)
    assert set(found) == set(flushed)
    for stream, records in found.items():
        last_event = records[-1].load()
        assert isinstance(last_event, events.Terminal)
        assert (last_event.kind, last_event.emission_trigger) == ("shutdown", "recovery")
        assert [record.event for record in records].count("terminal") == 1
        numbers = [int(text.split()[0]) for text in logs.texts(records)]
        assert numbers == list(range(len(numbers)))
        assert numbers[-1] >= flushed[stream]


def test_an_open_stream_is_closed_once_in_the_state_it_was_left_in(directory: Path) -> None:
    killed = logs.open_log(directory)
    logs.begin(killed, "silent")
    half = logs.begin(killed, "half")
    begun = outputs.Step("content", (outputs.Head(), outputs.Role(), outputs.Content("x")))
    half.append(events.TextDelta("x"), begun)
    killed.flush()
    left = logs.left_behind(directory)
    killed.close()
    for closed in (2, 0, 0):
        event_log = eventlog.EventLog(logs.settings(left), logs.Clock())
        assert len(event_log.open().open_streams) == closed
        event_log.close()
    found = logs.streams_of(left)
    assert [record.event for record in found["silent"]] == ["opened", "terminal"]
    assert [record.event for record in found["half"]] == ["opened", "text_delta", "terminal"]
    for stream, state, status, duration_us in (
        ("silent", "held", 0, 0),
        ("half", "content", 200, 1),
    ):
        assert found[stream][-1].state == state
        assert found[stream][-1].load() == events.Terminal(
            kind="shutdown", emission_trigger="recovery", status=status, duration_us=duration_us
        )


def test_a_start_that_is_killed_while_it_closes_streams_is_finished_by_the_next(
    directory: Path,
) -> None:
    killed = logs.open_log(directory)
    for number in range(5):
        logs.begin(killed, f"s{number}")
    killed.flush()
    left = logs.left_behind(directory)
    killed.close()
    checkpoint = (left / "checkpoint").read_bytes()
    closing = logs.open_log(left)
    half = logs.left_behind(left)
    closing.close()
    (half / "checkpoint").write_bytes(checkpoint)
    _, second = segments.list_segments(half)
    closings = second.path.read_bytes()
    assert closings.count(b"terminal") == 5
    for end in range(0, len(closings), 37):
        second.path.write_bytes(closings[:end])
        again = logs.left_behind(half)
        logs.open_log(again).close()
        found = logs.streams_of(again)
        assert len(found) == 5
        for records in found.values():
            assert [record.event for record in records] == ["opened", "terminal"]


def test_what_a_start_finds_wrong_is_said(directory: Path) -> None:
    killed = logs.open_log(directory)
    logs.begin(killed, "s")
    logs.write_stream(killed, "t")
    left = logs.left_behind(directory)
    killed.close()
    (live,) = segments.list_segments(left)
    live.path.write_bytes(live.path.read_bytes().replace(b"*****", b"!****", 1) + b'{"stream')
    with structlog.testing.capture_logs() as said:
        logs.open_log(left).close()
    assert [(line["event"], line["log_level"]) for line in said] == [
        ("event_log_torn_tail_cut", "warning"),
        ("event_log_corrupt", "error"),
        ("event_log_streams_closed", "warning"),
    ]
    assert said[0]["bytes"] == 8
    assert f"{live.path}:4 (byte " in said[1]["first"]


def test_a_start_reads_no_more_than_may_hold_open_streams(directory: Path) -> None:
    event_log = logs.open_log(directory, segment_bytes=1000)
    for number in range(10):
        logs.write_stream(event_log, f"before-{number}")
    long = logs.begin(event_log, "long")
    process = event_log.stream("process")  # of no request, so it has no first record of that kind
    ready = events.WorkerChanged("codex-0", "handshake_done", {"version": "1"})
    process.append(ready, outputs.Step("ready", ()))
    for number in range(10):
        logs.write_stream(event_log, f"after-{number}")
    event_log.close()
    found = segments.list_segments(directory)
    assert 1 < long.first_segment < len(found) - 1
    for segment in found[: long.first_segment - 1]:
        segment.path.write_bytes(b"nobody reads this\n")
    event_log = eventlog.EventLog(logs.settings(directory), logs.Clock())
    left = event_log.open()
    event_log.close()
    assert left.problems == ()
    assert [stream.stream for stream in left.open_streams] == ["long", "process"]
    for segment in segments.list_segments(directory):
        segment.path.write_bytes(b"nor this, after a clean end\n")
    event_log = eventlog.EventLog(logs.settings(directory), logs.Clock())
    assert event_log.open() == recovery.Recovery()
    event_log.close()


@pytest.mark.parametrize("on_error", ["continue", "refuse"])
def test_a_directory_that_cannot_be_made_is_a_failing_log(
    directory: Path, clock: logs.Clock, on_error: Any
) -> None:
    directory.write_text("in the way")
    event_log = eventlog.EventLog(logs.settings(directory, on_error=on_error), clock)
    with structlog.testing.capture_logs() as said:
        assert event_log.open() == recovery.Recovery()
        for number in range(10):
            logs.write_stream(event_log, f"s{number}")
            clock.advance(0.25)
            assert event_log.accepting is (on_error == "continue")
    assert [line["event"] for line in said] == ["event_log_failing"]
    assert event_log.counts.failures == 3
    directory.unlink()
    clock.advance(1)
    event_log.flush()
    assert event_log.accepting
    event_log.close()
    assert list(logs.streams_of(directory)) == [f"s{number}" for number in range(10)]


def block(directory: Path) -> None:
    directory.write_text("in the way")


def unblock(directory: Path) -> None:
    directory.unlink()


@pytest.mark.parametrize("on_error", ["continue", "refuse"])
def test_a_failing_log_is_tried_again_each_second_though_nothing_is_recorded(
    directory: Path, clock: logs.Clock, on_error: Any
) -> None:
    async def scenario() -> None:
        block(directory)
        event_log = logs.open_log(directory, clock, on_error=on_error)
        logs.write_stream(event_log, "s")
        await asyncio.sleep(5.5)
        assert event_log.counts.failures == 6
        assert event_log.accepting is (on_error == "continue")
        unblock(directory)
        await asyncio.sleep(1)
        assert event_log.accepting
        assert list(logs.streams_of(directory)) == ["s"]
        event_log.close()

    virtualtime.run(scenario())


def test_an_idle_log_notices_within_a_second_that_it_is_gone(
    directory: Path, clock: logs.Clock
) -> None:
    async def scenario() -> None:
        event_log = logs.open_log(directory, clock)
        logs.write_stream(event_log, "s")
        logs.wait_for_chores(event_log)
        delete(directory)
        with structlog.testing.capture_logs() as said:
            await asyncio.sleep(2.5)
        (failing,) = [line for line in said if line["event"] == "event_log_failing"]
        assert "the live segment is gone with 5 records" in failing["error"]
        assert event_log.counts.failures == 1
        assert segments.list_segments(directory)
        written = logs.begin(event_log, "t")
        event_log.flush()
        assert list(logs.streams_of(directory)) == ["t"]
        written.close(logs.TERMINAL, "done")
        event_log.close()

    virtualtime.run(scenario())


def test_an_idle_log_is_left_alone(directory: Path, clock: logs.Clock) -> None:
    async def scenario() -> None:
        event_log = logs.open_log(directory, clock)
        logs.write_stream(event_log, "s")
        loop = asyncio.get_running_loop()
        await asyncio.sleep(1.5)
        assert loop._scheduled == []  # type: ignore[attr-defined] # asyncio has no other name
        event_log.close()

    virtualtime.run(scenario())


def test_a_start_that_could_not_read_the_log_closes_its_streams_later(
    directory: Path, clock: logs.Clock
) -> None:
    killed = logs.open_log(directory)
    logs.begin(killed, "left")
    killed.flush()
    left = logs.left_behind(directory)
    killed.close()
    aside = left.rename(left.with_name("aside"))
    left.write_text("in the way")
    event_log = logs.open_log(left, clock)
    logs.write_stream(event_log, "s")
    left.unlink()
    aside.rename(left)
    clock.advance(2)
    event_log.flush()
    event_log.close()
    found = logs.streams_of(left)
    assert [record.event for record in found["left"]] == ["opened", "terminal"]
    assert len(found["s"]) == 5


def move(path: Path) -> Path:
    return path.rename(path.with_name("elsewhere"))


def delete(path: Path) -> None:
    shutil.rmtree(move(path))  # at once, for the log's helper thread may be writing there


@pytest.mark.parametrize("take_away", [move, delete])
def test_a_directory_that_goes_is_made_again(
    directory: Path, clock: logs.Clock, take_away: Callable[[Path], object]
) -> None:
    event_log = logs.open_log(directory, clock)
    stream = logs.begin(event_log, "s")
    event_log.flush()
    take_away(directory)
    clock.advance(2)
    stream.append(*logs.content("x"))
    event_log.flush()
    assert event_log.counts.failures == 1
    clock.advance(2)
    stream.close(logs.TERMINAL, "done")
    event_log.flush()
    with pytest.raises(writerlock.LogLocked):
        logs.open_log(directory)
    event_log.close()
    reading = segments.read(directory)
    assert [record.event for record in reading] == ["text_delta", "terminal"]
    assert reading.problems == []
    assert reading.incomplete == {"s"}


def test_past_the_backlog_streams_end_where_they_were_whole(
    directory: Path, clock: logs.Clock
) -> None:
    event_log = logs.open_log(directory, clock, content="full")
    cut, ended, idle = (logs.begin(event_log, name) for name in ("cut", "ended", "idle"))
    event_log.flush()
    logs.fill_up(directory)
    ended.close(logs.TERMINAL, "done")
    event_log.flush()
    with structlog.testing.capture_logs() as said:
        for _ in range(9):
            cut.append(*logs.content("x" * (1 << 20)))
            event_log.flush()
        logs.begin(event_log, "new").close(logs.TERMINAL, "done")
    assert [line["event"] for line in said] == ["event_log_records_lost"]
    lost = event_log.counts.records_lost
    assert lost == said[0]["count"] + 1 == 10
    clock.advance(2)
    cut.append(*logs.content("y"))
    cut.close(logs.TERMINAL, "done")
    idle.close(logs.TERMINAL, "done")
    event_log.flush()
    assert event_log.counts.records_lost == lost + 2
    event_log.close()
    assert {name: len(records) for name, records in logs.streams_of(directory).items()} == {
        "cut": 1,
        "ended": 1,
        "idle": 2,
        "new": 2,
    }
    event_log = eventlog.EventLog(logs.settings(directory), clock)
    recovered = event_log.open().open_streams
    event_log.close()
    assert {stream.stream for stream in recovered} == {"cut", "ended"}
    for records in logs.streams_of(directory).values():
        assert [record.event for record in records] == ["opened", "terminal"]


def test_what_waits_when_the_log_is_closed_is_lost_loudly(directory: Path) -> None:
    directory.write_text("in the way")
    event_log = logs.open_log(directory)
    logs.write_stream(event_log, "s")
    with structlog.testing.capture_logs() as said:
        event_log.close()
    assert [line["event"] for line in said] == ["event_log_records_lost"]
    assert event_log.counts.records_lost == 5
    logs.write_stream(event_log, "after the end")
    event_log.flush()
    event_log.close()


def test_the_loop_does_not_wait_for_what_is_read_again(
    directory: Path, clock: logs.Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_go_on = threading.Event()
    looked = recovery.recover

    def slow(*arguments: Any) -> recovery.Found:
        may_go_on.wait(machinetime.HANG_S)
        return looked(*arguments)

    async def scenario() -> None:
        event_log = logs.open_log(directory, clock, on_error="refuse")
        logs.write_stream(event_log, "before")
        logs.wait_for_chores(event_log)
        monkeypatch.setattr(recovery, "recover", slow)
        delete(directory)
        await asyncio.sleep(5)  # which would not be over
        assert event_log.counts.failures == 1
        assert not event_log.accepting
        may_go_on.set()
        logs.wait_for_chores(event_log)
        await asyncio.sleep(1.5)
        assert event_log.accepting
        logs.write_stream(event_log, "after")
        event_log.close()

    virtualtime.run(scenario())
    assert list(logs.streams_of(directory)) == ["after"]


def test_a_start_is_given_up_while_it_reads(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed = logs.open_log(directory)
    for number in range(20):
        logs.write_stream(killed, str(number))
    left = logs.left_behind(directory)
    killed.close()
    begun, may_go_on = threading.Event(), threading.Event()
    load = segments.Reading.load
    loaded: list[segments.Record] = []

    def slow(reading: segments.Reading, record: segments.Record) -> Any:
        loaded.append(record)
        begun.set()
        may_go_on.wait(machinetime.HANG_S)
        return load(reading, record)

    async def scenario() -> None:
        monkeypatch.setattr(segments.Reading, "load", slow)
        event_log = eventlog.EventLog(logs.settings(left), logs.Clock())
        start = asyncio.create_task(event_log.look())
        await asyncio.to_thread(begun.wait, machinetime.HANG_S)
        start.cancel()
        await asyncio.wait({start})
        threading.Timer(0.05, may_go_on.set).start()
        event_log.close()
        assert len(loaded) == 1

    asyncio.run(scenario())
    logs.open_log(left).close()
    assert len(logs.streams_of(left)) == 20
