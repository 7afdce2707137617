"""What an event log does on a full and on a read-only disk: prints what it saw as JSON.

Run as a program, `python -m tests.fulldisk full|read-only DIRECTORY ON_ERROR`, in a namespace of
its own where it may mount a disk on DIRECTORY: `unshare --map-root-user --mount`.
"""

import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec

from engine import log
from tests import logs

SIZE = 128 << 10
"""Bytes of the disk."""

FILLER = 64 << 10
"""Of which so many are taken by somebody else at first."""


def _mount(options: str, directory: Path) -> None:
    subprocess.run(("mount", "-t", "tmpfs", "-o", options, "none", directory), check=True)


def full_disk(disk: Path, on_error: str) -> dict[str, Any]:
    """Streams on a disk that fills up, and has room again later."""
    _mount(f"size={SIZE}", disk)
    filler = disk / "filler"
    filler.write_bytes(b"x" * FILLER)
    clock = logs.Clock()
    event_log = logs.open_log(disk / "log", clock, on_error=on_error, content="full")
    stream = logs.begin(event_log, "s")
    written = 0
    while not event_log.counts.failures:
        stream.append(*logs.content(f"{written} {'x' * (written % 700)}"))
        event_log.flush()
        written += 1
    seen: dict[str, Any] = {"accepting_when_full": event_log.accepting}
    for _ in range(5):
        clock.advance(2)
        stream.append(*logs.content(f"{written}"))
        event_log.flush()
        written += 1
    seen["failures"] = event_log.counts.failures
    seen["whole_when_full"] = _whole(disk / "log")
    filler.unlink()
    clock.advance(2)
    event_log.flush()
    seen["accepting_again"] = event_log.accepting
    stream.close(logs.TERMINAL, "done")
    event_log.close()
    numbers = [text.split()[0] for text in logs.texts(logs.streams_of(disk / "log")["s"])]
    seen["all_there"] = numbers == [str(number) for number in range(written)]
    seen["segments"] = len(list((disk / "log").glob("events-*")))
    seen["lost"] = event_log.counts.records_lost
    return seen


def read_only_disk(disk: Path, on_error: str) -> dict[str, Any]:
    """Streams on a disk that cannot be written to, and can be later."""
    _mount(f"ro,size={SIZE}", disk)
    clock = logs.Clock()
    event_log = log.EventLog(logs.settings(disk / "log", on_error=on_error), clock)
    event_log.open()
    seen: dict[str, Any] = {"accepting_when_full": event_log.accepting}
    logs.write_stream(event_log, "s")
    clock.advance(2)
    logs.write_stream(event_log, "t")
    seen["failures"] = event_log.counts.failures
    subprocess.run(("mount", "-o", "remount,rw", disk), check=True)
    clock.advance(2)
    seen["accepting_again"] = event_log.accepting
    event_log.flush()
    event_log.close()
    seen["all_there"] = list(logs.streams_of(disk / "log")) == ["s", "t"]
    seen["lost"] = event_log.counts.records_lost
    return seen


def _whole(directory: Path) -> bool:
    """Whether there is nothing wrong with a log, not even a torn tail."""
    return bool(logs.streams_of(directory))


if __name__ == "__main__":
    trials = {"full": full_disk, "read-only": read_only_disk}
    print(msgspec.json.encode(trials[sys.argv[1]](Path(sys.argv[2]), sys.argv[3])).decode())
