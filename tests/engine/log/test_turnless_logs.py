"""Logs from before the changes of turns and threads were recorded are replayed as they are."""

from pathlib import Path

import pytest

from engine import scripted
from engine.log import replay
from engine.log.read import segments
from server import renderers
from tests.support.logs import logs

STREAMS = logs.SCHEMA_1.with_name("streams-without-turns")
"""Transcripts as they were then."""


@pytest.mark.parametrize("path", sorted(STREAMS.iterdir()), ids=lambda path: path.stem)
def test_a_stream_of_that_time_replays_and_plays(path: Path) -> None:
    reading = segments.read(path)
    run = replay.Replay(renderers.reply)
    run.run(reading)
    assert (reading.problems, run.divergence) == ([], None)
    assert run.tally.full == 1
    assert any(cue for choice in scripted.load_cues(path) for cue in choice)
