"""A log is read while it is written: nothing of what its writer is at is ever called corrupt."""

import subprocess
import sys
from pathlib import Path

from engine import segments
from tests import logs

STREAMS = 60
"""That are seen before it is enough: of twenty lives of the log."""

WRITER = """
import itertools, sys
from pathlib import Path
from tests import logs

print("begun", flush=True)
for life in itertools.count():
    event_log = logs.open_log(
        Path(sys.argv[1]), segment_bytes=4096, max_bytes=40_000, fsync="none", content="full"
    )
    streams = [logs.begin(event_log, f"s{life}-{number}") for number in range(3)]
    for count in range(40):
        for stream in streams:
            stream.append(*logs.content(f"{count} {'x' * (count * 7 % 300)}"))
        event_log.flush()
    for stream in streams[: life % 4]:
        stream.close(logs.TERMINAL, "done")
    event_log.close()
"""
"""Begins the log again and again, over many segments, of which the oldest go."""


def test_a_reader_beside_the_writer_finds_nothing_corrupt(tmp_path: Path) -> None:
    with subprocess.Popen(
        (sys.executable, "-c", WRITER, tmp_path),
        env=logs.child_environment(),
        stdout=subprocess.PIPE,
        text=True,
    ) as writer:
        try:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "begun\n"
            seen: set[str] = set()
            while len(seen) < STREAMS:
                reading = segments.read(tmp_path)
                seen |= {record.stream for record in reading}
                assert reading.counts["corrupt"] == 0, reading.problems
        finally:
            writer.kill()
    reading = segments.read(tmp_path)
    for _ in reading:
        pass
    assert reading.counts["corrupt"] == 0
