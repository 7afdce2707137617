"""Ranges of a log are checked by themselves, and put together where they fit."""

from pathlib import Path

import pytest

from engine.log.check import causes, ranges
from engine.log.read import segments
from server.renderers import reply
from tests.engine.log.check import checking
from tests.support.logs import logs


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checking.write(tmp_path_factory.mktemp("log"))


def test_ranges_cover_the_segments_without_a_gap(log: Path) -> None:
    numbers = [each.number for each in segments.list_segments(log)]
    for parts in range(2, len(numbers) + 2):
        found = ranges.divide(log, parts)
        covered = [n for each in found for n in range(each.first, each.last + 1)]
        assert covered == numbers
        assert 1 < len(found) <= parts
        assert [each.pruned for each in found] == [False] + [True] * (len(found) - 1)


def test_what_is_no_log_of_several_segments_is_not_divided(tmp_path: Path, log: Path) -> None:
    assert ranges.divide(log, 1) == []
    assert ranges.divide(log / "events-00000001.jsonl", 4) == []
    logs.write(tmp_path / "log.jsonl", {"event": "opened", "state": "held", "out": []})
    assert ranges.divide(tmp_path, 4) == []


def test_streams_across_an_end_are_handed_over(log: Path) -> None:
    first, second = ranges.divide(log, 2)
    left = ranges.check(log, first, reply, checking.nobody)
    right = ranges.check(log, second, reply, checking.nobody)
    across = left.open.keys() & right.begun_before.keys()
    assert len(across) >= 6
    assert {stream: left.open[stream] for stream in across} == right.begun_before
    assert not left.begun & right.begun
    assert {each.stream for each in left.handed_over} == left.open.keys() - {"wk_1"}


def test_ranges_that_do_not_fit_are_not_joined(log: Path) -> None:
    first, second, third = ranges.divide(log, 3)
    left = ranges.check(log, first, reply, checking.nobody)
    right = ranges.check(log, third, reply, checking.nobody)
    seams = ranges.Seams(reply, causes.Groups(), pruned=False)
    seams.take(left)
    with pytest.raises(ranges.Unsound):
        seams.take(right)
    again = ranges.Seams(reply, causes.Groups(), pruned=False)
    again.take(left)
    middle = ranges.check(log, second, reply, checking.nobody)
    middle.begun.add(next(iter(left.open)))
    with pytest.raises(ranges.Unsound):
        again.take(middle)


def test_it_is_told_how_far_a_reading_is(log: Path) -> None:
    told: list[int] = []
    for _ in ranges.watched(segments.read(log), told.append):
        pass
    assert sum(told) == ranges.size(log)
