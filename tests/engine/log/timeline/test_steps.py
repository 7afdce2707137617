"""The records that can be told, and those that are missing."""

from pathlib import Path

from engine.log.read import segments
from engine.log.timeline import steps
from machines import events
from tests.support.logs import logs, told


def test_a_step_has_its_time_and_its_choice(tmp_path: Path) -> None:
    directory = told.write(tmp_path, (1.5, events.TextDelta("a", 1)), n=2)
    (segment,) = segments.list_segments(directory)
    first, second = steps.read(told.story_of(segment.path, "st_1")).all
    assert (first.at_us, first.choice) == (0, None)
    assert (second.at_us, second.choice) == (1_500_000, 1)


def test_holes_are_found(tmp_path: Path) -> None:
    note = {"event": "server_stopping", "state": "held", "out": []}
    path = logs.write(tmp_path / "a.jsonl", *(note | {"seq": seq} for seq in (2, 3, 7, 8)))
    read = steps.read(told.story_of(path, "st_1"))
    assert (read.holes, len(read.all)) == (frozenset((2, 7)), 4)
