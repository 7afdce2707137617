"""What a later version wrote, with right checksums, is said, skipped and counted.

At start, in `inspect` and in `replay`; nothing fails for it, and the rest is read.
"""

import argparse
import contextlib
import io
from collections.abc import Callable
from pathlib import Path

import pytest
import structlog.testing

from engine.log.format import sealed
from engine.log.read import segments
from server.cli import printing, readback
from tests.support.logs import logs

OF_RECORDS: dict[str, tuple[int, logs.Change]] = {
    "an event": (2, lambda record: record.update(event="text_inverted")),
    "a member": (2, lambda record: record.update(tone="warm")),
    "a member of the first record": (1, lambda record: record.update(region="eu")),
    "a member of an inner object": (
        1,
        lambda record: record.update(tools={"names": [], "fee": 1}),
    ),
    "a member of another type": (2, lambda record: record.update(text=["a", "b"])),
    "a time of another type": (2, lambda record: record.update(t="2031-01-01")),
    "outputs of another type": (2, lambda record: record.update(out={"content": 1})),
    "a decision of another type": (2, lambda record: record.update(released=1, pieces="none")),
    "a decision with more to it": (
        2,
        lambda record: record.update(released=1, pieces=[["text", 1, "", "more"]]),
    ),
    "a released of another type": (2, lambda record: record.update(released={"text": 1})),
    "a count of another type": (2, lambda record: record.update(seq="1")),
    "a record of another form": (2, lambda record: record.update(stream={"id": "new"})),
    "a terminal kind": (-1, lambda record: record.update(kind="evaporated")),
    "a terminal cause": (-1, lambda record: record.update(cause="bored")),
    "a schema of a stream": (1, lambda record: record.update(schema=3)),
}
"""Changes of a record of the stream `new`, by its line in the segment."""

OF_FILES: dict[str, tuple[str, logs.Change]] = {
    "a schema of a segment": ("events-00000002.jsonl", lambda header: header.update(schema=3)),
    "a header of another form": (
        "events-00000002.jsonl",
        lambda header: header.update(segment=[]),
    ),
    "a header with more to it": ("events-00000002.jsonl", lambda header: header.update(region="")),
    "a schema of the checkpoint": ("checkpoint", lambda point: point.update(checkpoint=3)),
    "a checkpoint of another form": ("checkpoint", lambda point: point.update(lines=[])),
    "a state of the checkpoint": ("checkpoint", lambda point: point.update(state="paused")),
    "an entry": ("chain", lambda entry: entry.update(entry="compressed")),
    "an entry of another form": ("chain", lambda entry: entry.update(bytes="many")),
    "an entry with more to it": ("chain", lambda entry: entry.update(region="eu")),
}
"""Changes of the last line of a file of a log, or of the header of a segment."""

SILENT = ("a header with more to it", "an entry with more to it")
"""What changes nothing that this version reads."""

IN_DELTAS = (
    *("a member", "a member of another type"),
    *("a decision of another type", "a decision with more to it"),
)
"""What a start and a list do not look into."""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A log of two processes, of which the second was killed. It has a stream each."""
    event_log = logs.open_log(tmp_path / "log", content="full")
    logs.play(event_log, "old", "Hi", "there")
    event_log.close()
    event_log = logs.open_log(tmp_path / "log", content="full")
    logs.play(event_log, "new", "Hi", "there")
    left = logs.left_behind(tmp_path / "log")
    event_log.close()
    return left


def run(
    command: Callable[[argparse.Namespace], int], path: Path, request: str | None = None
) -> tuple[int, str]:
    """Exit status and output of `inspect` or `replay`."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        status = command(argparse.Namespace(path=path, request=request))
    return status, out.getvalue()


def check_replay(directory: Path, streams: int, later: int) -> None:
    """Replay compares the streams that it knows, and counts the others."""
    status, said = run(readback.replay_command, directory)
    assert status == 0, said
    assert "written by a later version" in said
    assert f"{printing.counted(streams, 'stream')}, " in said
    assert (f"{later} written by a later version: not compared" in said) is (later > 0)


def check_inspect(directory: Path, request: str | None = None) -> None:
    """Inspect shows the streams that it knows, and names the others."""
    status, said = run(readback.inspect_command, directory, request)
    assert status == 0, said
    assert "written by a later version" in said
    shown = said if request is None else said.splitlines()[0]
    assert (" old\n" if request is None else "stream new") in shown


def check_start(directory: Path, says: bool) -> None:
    """A start goes on, and says what it met."""
    with structlog.testing.capture_logs() as said:
        event_log = logs.open_log(directory, content="full")
    logs.play(event_log, "next", "Hi")
    event_log.close()
    assert event_log.counts.failures == 0
    events = [line["event"] for line in said]
    assert ("event_log_later_version" in events) is says, said
    assert "event_log_corrupt" not in events
    reading = segments.read(directory)
    found = {record.stream for record in reading}
    assert {"old", "next"} <= found
    assert reading.counts["corrupt"] == 0, reading.problems


@pytest.mark.parametrize("name", OF_RECORDS)
def test_a_record_of_a_later_version(directory: Path, name: str) -> None:
    number, change = OF_RECORDS[name]
    logs.rewrite(directory / segments.segment_name(2), number, change)
    check_replay(directory, 1, 1)
    check_inspect(directory, "new" if name in IN_DELTAS else None)
    check_start(directory, name not in IN_DELTAS)
    check_replay(directory, 2, 1)


@pytest.mark.parametrize("name", OF_FILES)
def test_a_file_of_a_later_version(directory: Path, name: str) -> None:
    path, change = OF_FILES[name]
    logs.rewrite(directory / path, -1 if path == "chain" else 0, change)
    if path == "chain":
        mark = sealed.crc_of((directory / path).read_bytes())
        logs.rewrite(directory / "checkpoint", 0, lambda point: point.update(mark=mark))
    if name in SILENT:
        assert run(readback.replay_command, directory)[0] == 0
        check_start(directory, says=False)
        return
    later = int(path == segments.segment_name(2))
    check_replay(directory, 2 - later, later)
    check_inspect(directory)
    check_start(directory, says=True)


def test_a_stream_that_goes_on_after_what_nobody_knows_is_not_said_to_have_a_hole(
    directory: Path,
) -> None:
    path = directory / segments.segment_name(2)
    logs.rewrite(path, 2, lambda record: record.update(stream={"id": "new"}))
    reading = segments.read(directory)
    for _ in reading:
        pass
    assert reading.counts == {"torn": 0, "corrupt": 0, "later": 1}


def test_a_stream_that_a_later_version_left_open_is_closed(directory: Path) -> None:
    path = directory / segments.segment_name(2)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-1]))
    logs.rewrite(path, 2, lambda record: record.update(event="text_inverted"))
    event_log = logs.open_log(directory)
    event_log.close()
    reading = segments.read(directory)
    for _ in reading:
        pass
    assert reading.open == {}
    assert reading.counts["corrupt"] == 0


def test_of_a_request_that_cannot_be_compared_it_is_said(directory: Path) -> None:
    logs.rewrite(
        directory / segments.segment_name(2), 2, lambda record: record.update(tone="warm")
    )
    status, said = run(readback.replay_command, directory, "new")
    assert status == 1
    assert said.splitlines()[-1] == "1 written by a later version: not compared"
