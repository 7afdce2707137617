"""The event log: what is in a record, and that nothing that was flushed is ever lost or doubled."""

import asyncio
import fcntl
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from engine import log, segments, segmentwriter
from machines import events
from tests import logs

DAY_S = 86_400


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.fixture
def clock() -> logs.Clock:
    return logs.Clock()


def lines_of(directory: Path) -> list[bytes]:
    """Every line of a log, as on disk."""
    return [
        line
        for segment in segments.list_segments(directory)
        for line in segment.path.read_bytes().splitlines(keepends=True)
    ]


def live_fd(directory: Path) -> int:
    """The descriptor of this process that the live segment is open on."""
    live = segments.list_segments(directory)[-1].path
    (fd,) = [
        int(each.name)
        for each in Path("/proc/self/fd").iterdir()
        if each.is_symlink() and os.path.realpath(each) == str(live)
    ]
    return fd


# What is in a record


def test_a_record_is_one_line_of_json_in_the_promised_order(directory: Path) -> None:
    event_log = log.EventLog(
        logs.settings(directory, content="full"), lambda: 1_700_000_000_000_001
    )
    event_log.open()
    stream = event_log.stream("c-1")
    stream.open(logs.opened(request=msgspec.Raw(b'{"a":\n1}')))
    delta = events.TextDelta('a "b"\n', 1)
    stream.append(delta, events.Step("content", (events.Content('a "b"\n', 1),)))
    outputs = (events.Content("x"), events.CancelTurn(), events.Finish("stop"))
    decision = events.Decision(1, "stop")
    stream.append(events.TextDelta("xyz"), events.Step("finish", outputs, decision))
    stream.append(events.TokensCounted(events.Usage(1, 2)), events.Step("done", (events.Done(),)))
    stream.close(logs.TERMINAL, "done")
    event_log.flush()
    bodies = []
    for line in lines_of(directory):
        body, crc = line.rsplit(b',"crc":', 1)
        assert crc == b'"%08x"}\n' % zlib.crc32(body)
        bodies.append(body.decode())
    t = 1_700_000_000_000_001
    assert bodies == [
        f'{{"stream":"c-1","seq":0,"seg":0,"t":{t},"event":"opened","request_id":"req-1",'
        '"completion_id":"chatcmpl-1","created":1700000000,"model":"gpt-5.5","target":"gpt-5.5",'
        '"worker":"scripted","request":{"a":1},"state":"held","out":[]',
        f'{{"stream":"c-1","seq":1,"seg":1,"t":{t},"event":"text_delta","text":"a \\"b\\"\\n",'
        '"choice":1,"state":"content","out":["content"]',
        f'{{"stream":"c-1","seq":2,"seg":2,"t":{t},"event":"text_delta","text":"xyz",'
        '"state":"finish","out":["content","cancel_turn","finish"],"released":1,"cut":"stop"',
        f'{{"stream":"c-1","seq":3,"seg":3,"t":{t},"event":"tokens_counted",'
        '"usage":{"prompt_tokens":1,"completion_tokens":2},"state":"done","out":["done"]',
        f'{{"stream":"c-1","seq":4,"seg":4,"t":{t},"event":"terminal","kind":"completed",'
        '"emission_trigger":"turn_finished","status":200,"state":"done","out":[]',
    ]


def test_no_event_has_a_field_by_a_name_of_the_records_own() -> None:
    own = set("stream seq seg t event state out released cut crc".split())
    for kind in segments.LoggedEvent.__args__:
        assert not own & set(kind.__struct_fields__)


def test_every_method_of_a_stream_gives_the_time_in_its_record(directory: Path) -> None:
    event_log = logs.open_log(directory)
    stream = event_log.stream("s")
    times = [
        stream.open(logs.opened()),
        stream.append(*logs.content("x")),
        stream.append(events.TimerFired("idle"), events.Step("content", ())),
        stream.close(logs.TERMINAL, "done"),
    ]
    event_log.flush()
    assert [record.t for record in logs.streams_of(directory)["s"]] == times
    assert len(set(times)) == 4


deltas = st.builds(
    lambda kind, text, choice: kind(text, choice),
    st.sampled_from([events.TextDelta, events.ReasoningDelta]),
    st.text(),
    st.integers(0, 3),
)
steps = st.builds(
    events.Step,
    st.sampled_from(["held", "content", "tool_buffering", "finish"]),
    st.sampled_from([events.Content("x", 1), events.Reasoning("y"), events.Keepalive()]).map(
        lambda output: (output,)
    ),
    st.none() | st.builds(events.Decision, st.integers(0), st.sampled_from([None, "stop"])),
)


@pytest.mark.parametrize("content", ["masked", "full"])
@given(delta=deltas, step=steps)
def test_the_hot_path_records_what_the_general_one_does(
    content: Any, delta: events.TextDelta, step: events.Step
) -> None:
    event_log = log.EventLog(logs.settings(Path("unused"), content=content), lambda: 7)
    hot, general = event_log.stream("s"), event_log.stream("s")
    hot.append(delta, step)
    general._record(delta, step)
    first, second = event_log._pending
    assert first == second


def test_a_masked_log_holds_no_word_and_a_full_one_every_word(tmp_path: Path) -> None:
    for content, held in (("masked", False), ("full", True)):
        directory = tmp_path / content
        event_log = logs.open_log(directory, content=content)
        stream = event_log.stream("s")
        request = msgspec.Raw('{"messages":[{"role":"user","content":"Geheim"}]}'.encode())
        stream.open(logs.opened(stop=("Geheim",), request=request))
        stream.append(*logs.content("Geheim"))
        stream.append(events.ReasoningDelta("Geheim"), events.Step("content", ()))
        failure = events.TurnFailed("upstream_error", "upstream_error", "Geheim")
        stream.append(failure, events.Step("failed", (events.Failure("x", "Geheim"),)))
        event_log.close()
        records = logs.streams_of(directory)["s"]
        assert ["Geheim".encode() in record.raw for record in records] == [held] * 4
        opened = records[0].load()
        assert isinstance(opened, events.Opened)
        assert opened.content == content
        assert logs.texts(records) == ["Geheim" if held else "******"]


def test_off_keeps_nothing_and_needs_no_directory(directory: Path, clock: logs.Clock) -> None:
    event_log = log.EventLog(logs.settings(directory, content="off"), clock)
    assert event_log.open() == segments.Recovery()
    stream = event_log.stream("s")
    times = [stream.open(logs.opened()), stream.append(*logs.content("x"))]
    times.append(stream.close(logs.TERMINAL, "done"))
    event_log.flush()
    assert event_log.accepting
    event_log.prune()
    event_log.close()
    assert times == sorted(times)
    assert not directory.exists()


def test_nothing_follows_a_terminal_record(directory: Path) -> None:
    event_log = logs.open_log(directory)
    stream = logs.begin(event_log, "s")
    stream.close(logs.TERMINAL, "done")
    stream.append(*logs.content("late"))
    stream.close(logs.TERMINAL, "done")
    event_log.close()
    records = logs.streams_of(directory)["s"]
    assert [record.event for record in records] == ["opened", "terminal"]


# Files


def test_files_and_directory_are_their_owners(directory: Path) -> None:
    event_log = logs.open_log(directory)
    logs.write_stream(event_log, "s")
    flags = fcntl.fcntl(live_fd(directory), fcntl.F_GETFL)
    closes = fcntl.fcntl(live_fd(directory), fcntl.F_GETFD)
    event_log.close()
    assert flags & os.O_APPEND
    assert closes & fcntl.FD_CLOEXEC
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    files = {path.name: stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()}
    assert files == {"events-00000001.jsonl": 0o600, "lock": 0o600, "checkpoint": 0o600}


def test_a_flush_is_one_write(directory: Path) -> None:
    event_log = logs.open_log(directory)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)  # keeps writes apart
    os.dup2(theirs.fileno(), live_fd(directory))
    first, second = logs.begin(event_log, "s1"), logs.begin(event_log, "s2")
    for _ in range(20):
        first.append(*logs.content("hello"))
        second.append(*logs.content("hello"))
    event_log.flush()
    event_log.flush()
    assert ours.recv(1 << 20).count(b"\n") == 42
    ours.setblocking(False)
    with pytest.raises(BlockingIOError):
        ours.recv(1)
    event_log.close()
    ours.close()
    theirs.close()


def test_nothing_is_on_file_before_the_flush(directory: Path) -> None:
    event_log = logs.open_log(directory)
    stream = logs.begin(event_log, "s")
    stream.append(*logs.content("x"))
    assert lines_of(directory) == []
    event_log.flush()
    assert len(lines_of(directory)) == 2
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
        "import sys; from pathlib import Path; from tests import logs\n"
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
    assert f"LogLocked: [Errno 11] process {os.getpid()} writes its event log here already" in last
    assert str(directory) in last
    event_log.close()
    logs.open_log(directory).close()
    assert list(logs.streams_of(directory)) == ["s"]


# Killed


def test_a_killed_process_loses_nothing_that_it_flushed(directory: Path) -> None:
    flushed: dict[str, int] = {}
    for run in range(3):
        child = subprocess.Popen(
            (sys.executable, "-m", "tests.logs", directory),
            cwd=logs.ROOT,
            env=logs.child_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert child.stdout is not None
        lines = (line for line in child.stdout if line[0] in "{0123456789")
        recovery = msgspec.json.decode(next(lines), type=segments.Recovery)
        assert len(recovery.open_streams) == (3 if run else 0)
        for line in lines:
            if int(line) > 400 * (run + 1):
                child.send_signal(signal.SIGKILL)
                break
        rest = [int(line) for line in child.stdout if line.endswith("\n")]
        child.wait()
        flushed[str(child.pid)] = max([400 * (run + 1) + 1, *rest])
    logs.open_log(directory).close()
    event_log = logs.open_log(directory)
    event_log.close()
    found = logs.streams_of(directory)
    assert len(found) == 9
    for stream, records in found.items():
        last = records[-1].load()
        assert isinstance(last, events.Terminal)
        assert (last.kind, last.emission_trigger) == ("shutdown", "recovery")
        assert [record.event for record in records].count("terminal") == 1
        numbers = [int(text.split()[0]) for text in logs.texts(records)]
        assert numbers == list(range(len(numbers)))
        assert numbers[-1] >= flushed[stream.split("-")[0]]


def test_an_open_stream_is_closed_once_in_the_state_it_was_left_in(directory: Path) -> None:
    killed = logs.open_log(directory)
    silent, half = logs.begin(killed, "silent"), logs.begin(killed, "half")
    begun = events.Step("content", (events.Head(), events.Role(), events.Content("x")))
    half.append(events.TextDelta("x"), begun)
    killed.flush()
    abandon(directory)
    for closed in (2, 0, 0):
        event_log = log.EventLog(logs.settings(directory), logs.Clock(1_800_000_000_000_000))
        assert len(event_log.open().open_streams) == closed
        abandon(directory)
    found = logs.streams_of(directory)
    assert [record.event for record in found["silent"]] == ["opened", "terminal"]
    assert [record.event for record in found["half"]] == ["opened", "text_delta", "terminal"]
    assert [records[-1].state for records in found.values()] == ["held", "content"]
    for records, status, duration_us in ((found["silent"], 0, 0), (found["half"], 200, 1)):
        assert records[-1].load() == events.Terminal(
            kind="shutdown", emission_trigger="recovery", status=status, duration_us=duration_us
        )
    assert silent.prefix


def abandon(directory: Path) -> None:
    """Let a new writer in, as if this process had been killed."""
    (directory / "lock").unlink()


def test_a_start_that_is_killed_while_it_closes_streams_is_finished_by_the_next(
    directory: Path,
) -> None:
    killed = logs.open_log(directory)
    for number in range(5):
        logs.begin(killed, f"s{number}")
    killed.flush()
    abandon(directory)
    logs.open_log(directory)
    (first, second) = segments.list_segments(directory)
    closings = second.path.read_bytes()
    abandon(directory)
    kept = first.path.read_bytes()
    for end in range(0, len(closings), 37):
        for path in directory.iterdir():
            path.unlink()
        first.path.write_bytes(kept)
        second.path.write_bytes(closings[:end])
        logs.open_log(directory)
        abandon(directory)
        found = logs.streams_of(directory)
        assert len(found) == 5
        for records in found.values():
            assert [record.event for record in records] == ["opened", "terminal"]


def test_what_a_start_finds_wrong_is_said(directory: Path) -> None:
    killed = logs.open_log(directory)
    logs.begin(killed, "s")
    logs.write_stream(killed, "t")
    (live,) = segments.list_segments(directory)
    live.path.write_bytes(live.path.read_bytes().replace(b"*****", b"!****", 1) + b'{"stream')
    abandon(directory)
    with structlog.testing.capture_logs() as said:
        logs.open_log(directory)
    assert [(line["event"], line["log_level"]) for line in said] == [
        ("event_log_torn_tail_cut", "warning"),
        ("event_log_corrupt", "error"),
        ("event_log_streams_closed", "warning"),
    ]
    assert said[0]["bytes"] == 8
    assert f"{live.path}:3 (byte " in said[1]["first"]


def test_a_start_reads_no_more_than_may_hold_open_streams(directory: Path) -> None:
    event_log = logs.open_log(directory, segment_bytes=1000)
    for number in range(10):
        logs.write_stream(event_log, f"before-{number}")
    long = logs.begin(event_log, "long")
    event_log.flush()
    begun_in = segments.list_segments(directory)[-1].number
    for number in range(10):
        logs.write_stream(event_log, f"after-{number}")
    event_log.close()
    for segment in segments.list_segments(directory):
        if segment.number < begun_in:
            segment.path.write_bytes(b"nobody reads this\n")
    event_log = log.EventLog(logs.settings(directory), logs.Clock())
    recovery = event_log.open()
    event_log.close()
    assert recovery.problems == ()
    assert [stream.stream for stream in recovery.open_streams] == ["long"]
    assert long.first_segment == begun_in
    for segment in segments.list_segments(directory):
        segment.path.write_bytes(b"nor this, after a clean end\n")
    event_log = log.EventLog(logs.settings(directory), logs.Clock())
    assert event_log.open() == segments.Recovery()
    event_log.close()


# Failing


def in_namespace(*arguments: str | Path) -> dict[str, Any]:
    """Run `tests.fulldisk` where it may mount a disk of its own."""
    unshare = shutil.which("unshare")
    command = (unshare, "--map-root-user", "--mount", "--")
    if not unshare or subprocess.run((*command, "true"), check=False, stderr=-3).returncode:
        pytest.skip("no mount namespaces here")
    child = subprocess.run(
        (*command, sys.executable, "-m", "tests.fulldisk", *arguments),
        cwd=logs.ROOT,
        env=logs.child_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    seen: dict[str, Any] = json.loads(child.stdout.splitlines()[-1])
    return seen


@pytest.mark.parametrize("on_error", ["continue", "refuse"])
def test_a_full_disk_stops_nothing_and_loses_nothing_that_waits(
    tmp_path: Path, on_error: str
) -> None:
    assert in_namespace("full", tmp_path, on_error) == {
        "accepting_when_full": on_error == "continue",
        "failures": 6,
        "whole_when_full": True,
        "accepting_again": True,
        "all_there": True,
        "segments": 2,
        "lost": 0,
    }


@pytest.mark.parametrize("on_error", ["continue", "refuse"])
def test_a_read_only_disk_stops_nothing_and_is_used_when_it_can_be(
    tmp_path: Path, on_error: str
) -> None:
    assert in_namespace("read-only", tmp_path, on_error) == {
        "accepting_when_full": on_error == "continue",
        "failures": 2,
        "accepting_again": True,
        "all_there": True,
        "lost": 0,
    }


FILE_LIMIT = """
import resource, sys
from pathlib import Path
from tests import logs

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


def test_a_write_that_cannot_be_undone_ends_its_segment(
    directory: Path, clock: logs.Clock
) -> None:
    event_log = logs.open_log(directory, clock)
    logs.write_stream(event_log, "before")
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, live_fd(directory))
    os.close(full)
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
    assert list(logs.streams_of(directory)) == ["before", "during", "still", "after"]
    assert [segment.number for segment in segments.list_segments(directory)] == [1, 2]


@pytest.mark.parametrize("on_error", ["continue", "refuse"])
def test_a_directory_that_cannot_be_made_is_a_failing_log(
    directory: Path, clock: logs.Clock, on_error: Any
) -> None:
    directory.write_text("in the way")
    event_log = log.EventLog(logs.settings(directory, on_error=on_error), clock)
    with structlog.testing.capture_logs() as said:
        assert event_log.open() == segments.Recovery()
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


def test_a_refusing_log_tries_again_though_nothing_is_recorded(
    directory: Path, clock: logs.Clock
) -> None:
    directory.write_text("in the way")
    event_log = logs.open_log(directory, clock, on_error="refuse")
    assert not event_log.accepting
    directory.unlink()
    assert not event_log.accepting
    clock.advance(1)
    assert event_log.accepting
    event_log.close()


def test_a_start_that_could_not_read_the_log_closes_its_streams_later(
    directory: Path, clock: logs.Clock
) -> None:
    killed = logs.open_log(directory)
    logs.begin(killed, "left")
    killed.flush()
    abandon(directory)
    aside = directory.rename(directory.with_name("aside"))
    directory.write_text("in the way")
    event_log = logs.open_log(directory, clock)
    logs.write_stream(event_log, "s")
    directory.unlink()
    aside.rename(directory)
    clock.advance(2)
    event_log.flush()
    event_log.close()
    found = logs.streams_of(directory)
    assert [record.event for record in found["left"]] == ["opened", "terminal"]
    assert len(found["s"]) == 5


@pytest.mark.parametrize("take_away", [shutil.rmtree, lambda path: path.rename(f"{path}.away")])
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
    with pytest.raises(segmentwriter.LogLocked):
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
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, live_fd(directory))
    os.close(full)
    ended.close(logs.TERMINAL, "done")
    event_log.flush()
    with structlog.testing.capture_logs() as said:
        for _ in range(9):
            cut.append(*logs.content("x" * (1 << 20)))
            event_log.flush()
        logs.begin(event_log, "new")
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
        "new": 1,
    }
    event_log = log.EventLog(logs.settings(directory), clock)
    recovered = event_log.open().open_streams
    event_log.close()
    assert {stream.stream for stream in recovered} == {"cut", "ended", "new"}
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


# Synced


class Syncs:
    """Counts the fsyncs of threads that begin while it watches."""

    def __init__(self) -> None:
        self.count = 0
        self.happened = threading.Event()

    def __call__(self, _frame: Any, kind: str, called: Any) -> None:
        if kind == "c_return" and called is os.fsync:
            self.count += 1
            self.happened.set()


@pytest.fixture
def syncs() -> Iterator[Syncs]:
    watch = Syncs()
    threading.setprofile(watch)
    yield watch
    threading.setprofile(None)


def test_always_calls_back_in_the_loop_when_the_group_is_on_the_disk(
    directory: Path, syncs: Syncs
) -> None:
    async def scenario() -> list[tuple[int, threading.Thread]]:
        event_log = logs.open_log(directory, fsync="always")
        called: list[tuple[int, threading.Thread]] = []
        done = asyncio.Event()
        stream = logs.begin(event_log, "s")
        for _ in range(3):
            before = syncs.count
            stream.append(*logs.content("x"))
            event_log.flush()
            done.clear()
            event_log.when_durable(done.set)
            assert not done.is_set()
            await done.wait()
            called.append((syncs.count - before, threading.current_thread()))
        event_log.close()
        return called

    called = asyncio.run(scenario())
    assert all(count >= 1 for count, _ in called)
    assert {thread for _, thread in called} == {threading.main_thread()}


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
            event_log.when_durable(lambda number=number: called.append(number))
        event_log.when_durable(last.set)
        await last.wait()
        event_log.close()
        return called

    assert asyncio.run(scenario()) == list(range(200))
    assert syncs.count < 200


def test_interval_syncs_soon_and_unasked(directory: Path, syncs: Syncs) -> None:
    event_log = logs.open_log(directory, fsync="interval")
    called: list[str] = []
    assert syncs.happened.wait(5), "the name of the new segment"
    syncs.happened.clear()
    began = time.monotonic()
    logs.write_stream(event_log, "s")
    event_log.when_durable(lambda: called.append("at once"))
    assert called == ["at once"]
    assert syncs.happened.wait(5)
    assert time.monotonic() - began >= 0.9
    logs.write_stream(event_log, "t")
    before = syncs.count
    began = time.monotonic()
    event_log.close()
    assert syncs.count > before
    assert time.monotonic() - began < 0.9


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
        out, into = os.pipe()
        os.dup2(into, live_fd(directory))  # a pipe takes writes, and no fsync
        for name in ("lost", "at once", "after"):
            logs.write_stream(event_log, name)
            done = asyncio.Event()
            event_log.when_durable(done.set)
            await asyncio.wait_for(done.wait(), 5)
            clock.advance(2)
        assert event_log.counts.failures == 1
        event_log.close()
        os.close(out)
        os.close(into)

    with structlog.testing.capture_logs() as said:
        asyncio.run(scenario())
    assert [line["event"] for line in said] == ["event_log_failing", "event_log_recovered"]
    assert list(logs.streams_of(directory)) == ["at once", "after"]


# Bounded


def test_all_segments_together_stay_below_the_limit(directory: Path) -> None:
    event_log = logs.open_log(directory, segment_bytes=10_000, max_bytes=50_000)
    for number in range(200):
        logs.write_stream(event_log, f"s{number}", deltas=8)
    event_log.close()
    found = segments.list_segments(directory)
    assert 30_000 < sum(segment.size for segment in found) <= 50_000
    assert event_log.counts.segments_pruned == found[0].number - 1
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
    assert [segment.size for segment in segments.list_segments(directory)] == [0]


def test_no_limits_delete_nothing(directory: Path, clock: logs.Clock) -> None:
    event_log = logs.open_log(directory, clock, segment_bytes=1000, max_bytes=0, max_age_s=0)
    for number in range(20):
        logs.write_stream(event_log, f"s{number}")
        clock.advance(100 * DAY_S)
    event_log.prune()
    event_log.close()
    assert len(logs.streams_of(directory)) == 20
