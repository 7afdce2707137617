"""The rows of a log that grows while they are looked at."""

from pathlib import Path

import pytest

from engine.log.find import names
from server.ui import index
from tests.support.logs import gallery


class Clock:
    """Seconds that pass when a test says so, and at each look."""

    def __init__(self) -> None:
        self.now = 0.0
        self.costs = 0.0

    def __call__(self) -> float:
        self.now += self.costs
        return self.now


def test_rows_come_newest_first_with_open_streams_and_refusals(tmp_path: Path) -> None:
    written = gallery.Gallery(tmp_path)
    written.add("st_1", gallery.STORIES["good"])
    written.refuse(1)
    written.add("st_2", gallery.STORIES["silent"])
    written.add("st_3", gallery.STORIES["good"][:8])
    found = [(row.summary, row.kind) for row in index.Index(tmp_path).newest_first()]
    written.close()
    assert sorted(found[:1]) == [("st_3", "open")]
    assert found[1:] == [("st_2", "timeout"), ("rj_0001", "rejected"), ("st_1", "completed")]


def test_a_log_that_has_grown_is_read_again(tmp_path: Path) -> None:
    written = gallery.Gallery(tmp_path)
    written.add("st_1", gallery.STORIES["good"])
    written.settle()
    looked = index.Index(tmp_path, Clock())
    before = looked.newest_first()
    assert looked.newest_first() is before
    written.add("st_2", gallery.STORIES["good"])
    assert [row.summary for row in looked.newest_first()] == ["st_2", "st_1"]
    written.close()


def test_a_reading_that_took_long_is_kept_for_long(tmp_path: Path) -> None:
    written = gallery.Gallery(tmp_path)
    written.add("st_1", gallery.STORIES["good"])
    clock = Clock()
    looked = index.Index(tmp_path, clock)
    clock.costs = 1.0  # a look at the clock takes a second, and so does the reading
    looked.newest_first()
    clock.costs = 0.0
    written.add("st_2", gallery.STORIES["good"])
    written.close()
    clock.now += index.KEPT_TIMES - 1
    assert len(looked.newest_first()) == 1
    clock.now += 1
    assert len(looked.newest_first()) == 2


def test_a_story_is_found_by_any_name(tmp_path: Path) -> None:
    gallery.mixed(tmp_path, 6)
    looked = index.Index(tmp_path, Clock())
    row = looked.newest_first()[0]
    for name in (row.summary, row.request_id, row.completion_id):
        assert name
        assert looked.story(name).stream == row.summary
    with pytest.raises(names.NotFound):
        looked.story("st_nobody")
