"""Logs of schema 1 are read for ever: a sample of one, and streams that were transcripts."""

import shutil
from pathlib import Path

import pytest

from engine import scripted
from engine.log import replay
from engine.log.format import chain
from engine.log.read import segments
from engine.log.write import recovery
from server import renderers
from tests.support.logs import logs

STREAMS = logs.SCHEMA_1.with_name("schema-1-streams")
"""Transcripts as they were before steps named all their states."""


def replayed(path: Path) -> replay.Replay:
    reading = segments.read(path)
    run = replay.Replay(renderers.reply)
    run.run(reading)
    assert reading.problems == []
    assert run.divergence is None, run.divergence
    return run


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A copy of the sample."""
    return Path(shutil.copytree(logs.SCHEMA_1, tmp_path / "log"))


def test_the_sample_replays() -> None:
    assert replayed(logs.SCHEMA_1).tally == replay.Tally(
        streams=30, full=15, records=559, unfinished=1
    )


@pytest.mark.parametrize("path", sorted(STREAMS.iterdir()), ids=lambda path: path.stem)
def test_a_stream_of_it_replays_and_plays(path: Path) -> None:
    assert replayed(path).tally.full == 1
    assert any(cue for choice in scripted.load_cues(path) for cue in choice)


def test_a_server_goes_on_with_it_and_the_chain_begins_there(directory: Path) -> None:
    before = {path.name: path.read_bytes() for path in directory.glob("events-*")}
    for name in ("one", "two"):
        event_log = logs.open_log(directory)
        logs.write_stream(event_log, name)
        event_log.close()
    found = logs.streams_of(directory)
    assert {"one", "two"} < set(found)
    assert len(found) == 32 + 2
    begun = chain.Chain(directory, (directory / chain.CHAIN).read_bytes()).begun
    assert begun == chain.Begun(5, 1)
    for name, data in before.items():
        assert (directory / name).read_bytes() == data


def test_its_checkpoint_is_heeded(directory: Path) -> None:
    last = directory / "events-00000004.jsonl"
    lines = last.read_bytes().splitlines(keepends=True)
    last.write_bytes(b"".join(lines[:-1]))
    # It was closed: by its checkpoint no stream can be open.
    assert recovery.recover(directory).recovery == recovery.Recovery()
    for text in ("", "many", "4\n"):
        (directory / chain.CHECKPOINT).write_text(text)
        (left,) = recovery.recover(directory).recovery.open_streams
        assert left.stream.startswith("wk_")


@pytest.mark.parametrize("name", ["events-00000002.jsonl", "events-00000004.jsonl"])
def test_a_line_that_is_gone_from_it_is_found(directory: Path, name: str) -> None:
    path = directory / name
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:3] + lines[4:]))
    reading = segments.read(directory)
    assert sum(1 for _ in reading) > 500
    assert (reading.problems[0].path, reading.problems[0].line) == (path, 4)


def test_a_segment_that_is_gone_from_it_is_found(directory: Path) -> None:
    (directory / "events-00000002.jsonl").unlink()
    reading = segments.read(directory)
    assert sum(1 for _ in reading) > 0
    assert reading.problems[0].path.name == "events-00000002.jsonl"


def test_what_it_cannot_show_is_its_end(directory: Path) -> None:
    """Why there is a chain: nobody can tell that this log is not whole."""
    path = directory / "events-00000002.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    ended = [number for number, line in enumerate(lines) if b'"event":"terminal"' in line]
    path.write_bytes(b"".join(lines[: ended[-2] + 1]))
    reading = segments.read(directory)
    assert sum(1 for _ in reading) < 565
    assert reading.problems == []
