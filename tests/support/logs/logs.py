"""Logs for tests: written by the event log or record by record, damaged, and read back.

Run as a program, `python -m tests.support.logs.logs DIRECTORY`, it writes streams until it is
killed and says what its start found, and after each flush the number of its last records.
"""

import collections
import fcntl
import itertools
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from engine.log import event_log as eventlog
from engine.log.format import chain, sealed
from engine.log.read import segments
from engine.log.settings import LogSettings
from machines import events, outputs
from machines.stream.machine import Stream
from tests.support.process import machinetime

ROOT = Path(__file__).parents[3]
"""The checkout."""

SCHEMA_1 = Path(__file__).parents[2] / "engine" / "logs" / "schema-1"
"""A log as version 1 of its records was written: full, masked, killed, closed by a start."""


Record = dict[str, Any]
"""A record without what `lines` adds; `stream` and `t` may be left out."""

STEP_US = 1000
"""Microseconds between two records that do not say when they were."""


class Clock:
    """Log time that passes a microsecond a look, and more when it is told to."""

    def __init__(self, start: int = 1_700_000_000_000_000) -> None:
        self.us = start

    def __call__(self) -> int:
        self.us += 1
        return self.us

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.us += round(seconds * 1_000_000)


def opened(**fields: Any) -> events.Opened:
    """A first record."""
    usual = {
        "request_id": "req-1",
        "completion_id": "chatcmpl-1",
        "created": 1_700_000_000,
        "model": "gpt-5.5",
        "target": "gpt-5.5",
        "worker": "scripted",
    }
    return events.Opened(**{**usual, **fields})


TERMINAL = events.Terminal(kind="completed", emission_trigger="turn_finished", status=200)
"""A last record."""


def content(text: str, choice: int = 0) -> tuple[events.TextDelta, outputs.Step]:
    """A delta of text, and what the machine makes of most of them."""
    return events.TextDelta(text, choice), outputs.Step(
        "content", (outputs.Content(text, choice),)
    )


def begin(event_log: eventlog.EventLog, stream_id: str) -> eventlog.StreamLog:
    """A stream with its first record, not flushed."""
    stream = event_log.stream(stream_id)
    stream.open(opened())
    return stream


def write_stream(event_log: eventlog.EventLog, stream_id: str, deltas: int = 3) -> None:
    """A whole stream of `deltas` + 2 records, flushed."""
    stream = begin(event_log, stream_id)
    for _ in range(deltas):
        stream.append(*content("hello"))
    stream.close(TERMINAL, "done")
    event_log.flush()


def play(event_log: eventlog.EventLog, stream_id: str, *texts: str, **fields: Any) -> None:
    """A whole stream with the steps that the machine takes, flushed."""
    first = opened(**fields)
    written, played = event_log.stream(stream_id), Stream(first)
    written.open(first)
    happened: list[events.StreamInput] = [*map(events.TextDelta, texts)]
    for event in (*happened, events.TurnFinished("stop")):
        if not played.ended:
            written.append(event, played.step(event))
    ended = events.Terminal(
        kind="completed",
        emission_trigger=played.emission_trigger,
        status=200,
        finish_reasons=("stop",),
    )
    written.close(ended, "done")
    event_log.flush()


def settings(directory: Path, **fields: Any) -> LogSettings:
    """Of a log that leaves syncing to the system, which tests do not wait for, and its segments as
    they are."""
    return LogSettings(directory, **{"fsync": "none", "compress_age_s": 0, **fields})


def open_log(directory: Path, clock: Clock | None = None, **fields: Any) -> eventlog.EventLog:
    """A log that is open."""
    event_log = eventlog.EventLog(settings(directory, **fields), clock or Clock())
    event_log.open()
    return event_log


def settle(event_log: eventlog.EventLog) -> None:
    """Wait for what the log leaves to its helper thread, which works in order."""
    settled = threading.Event()
    event_log._writer.later(settled.set)
    assert settled.wait(30)


def lines(*records: Record) -> bytes:
    """Sealed records of one segment, numbered as a writer would."""
    seqs: collections.Counter[str] = collections.Counter()
    found = []
    for seg, record in enumerate(records):
        stream = record.get("stream", "st_1")
        head = {"stream": stream, "seq": seqs[stream], "seg": seg, "t": seg * STEP_US}
        seqs[stream] += 1
        found.append(sealed.seal(msgspec.json.encode(head | record)[:-1]))
    return b"".join(found)


def write(path: Path, *records: Record) -> Path:
    """A file with these records and no others."""
    path.write_bytes(lines(*records))
    return path


def streams_of(directory: Path) -> dict[str, list[segments.Record]]:
    """The records of a log that has nothing wrong with it, by stream."""
    reading = segments.read(directory)
    found: dict[str, list[segments.Record]] = {}
    for record in reading:
        found.setdefault(record.stream, []).append(record)
    assert reading.problems == []
    return found


def texts(records: list[segments.Record]) -> list[str]:
    """The texts among records."""
    found = (record.load() for record in records)
    return [event.text for event in found if isinstance(event, events.TextDelta)]


def lines_of(directory: Path) -> list[bytes]:
    """Every record of a log, as on disk."""
    return [
        line
        for segment in segments.list_segments(directory)
        for line in segment.path.read_bytes().splitlines(keepends=True)
        if sealed.is_kind(line, "stream")
    ]


def live_fd(directory: Path) -> int:
    """The descriptor of this process that the live segment is written on.

    The log's helper thread may have it open too, to read it.
    """
    live = segments.list_segments(directory)[-1].path
    found = Path("/proc/self/fd").iterdir()
    ours = [int(each.name) for each in found if os.path.realpath(each) == str(live)]
    (fd,) = filter(writes, ours)
    return fd


def writes(fd: int) -> bool:
    """Whether a descriptor of this process is open, and for writing."""
    try:
        return fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE != os.O_RDONLY
    except OSError:  # it was another thread's, and is closed
        return False


def fill_up(directory: Path) -> None:
    """Put a device in the live segment's place that is always full, and cannot be shortened."""
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, live_fd(directory))
    os.close(full)


def wait_for_chores(event_log: eventlog.EventLog) -> None:
    """Wait until the log's helper thread has done all that it was asked."""
    done = threading.Event()
    event_log._writer.later(done.set)
    assert done.wait(machinetime.HANG_S)


def left_behind(directory: Path) -> Path:
    """What a process leaves that is killed now: a copy of its files."""
    copy = directory.with_name(f"{directory.name}-left")
    shutil.rmtree(copy, ignore_errors=True)
    copy.mkdir(parents=True)
    # In the order in which a reader looks: what comes later may be newer, for a thread writes on.
    first = [directory / name for name in (chain.CHECKPOINT, chain.CHAIN)]
    for path in (*first, *(each for each in directory.iterdir() if each not in first)):
        shutil.copy(path, copy)
    return copy


Change = Callable[[dict[str, Any]], object]
"""Changes the members of a line."""


def rewrite(path: Path, number: int, change: Change) -> None:
    """Have a line of a file be as a later version would have written it."""
    lines = path.read_bytes().splitlines(keepends=True)
    members = msgspec.json.decode(lines[number])
    del members["crc"]
    change(members)
    lines[number] = sealed.seal(msgspec.json.encode(members)[:-1])
    path.write_bytes(b"".join(lines))


def child_environment() -> dict[str, str]:
    """Of a program in this checkout."""
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def _write_until_killed(directory: Path) -> None:
    event_log = eventlog.EventLog(
        settings(directory, content="full"), lambda: time.time_ns() // 1000
    )
    print("recovery", msgspec.json.encode(event_log.open()).decode(), flush=True)
    streams = [begin(event_log, f"{os.getpid()}-{number}") for number in range(3)]
    for count in itertools.count():
        for stream in streams:
            stream.append(*content(f"{count} {'x' * (count % 500)}"))
        event_log.flush()
        print("flushed", count, flush=True)


if __name__ == "__main__":
    _write_until_killed(Path(sys.argv[1]))
