"""Sidecars are made again where they are not right, and only there."""

from pathlib import Path

import pytest

from engine.log.derive import purging, rowfiles
from engine.log.read import segments
from engine.log.summary import sidecars
from tests.engine.log.derive import logsforderiving as deriving
from tests.support.logs import summaries


@pytest.fixture
def log(tmp_path: Path) -> Path:
    deriving.write(tmp_path / "log", **deriving.SUMMARIZED)
    return tmp_path / "log"


def remade(log: Path, *erased: str) -> list[int]:
    return rowfiles.remake(log, segments.list_segments(log), erased)


def test_those_that_are_right_stay(log: Path) -> None:
    assert remade(log) == []
    assert remade(log, "st_9999") == []


def test_one_that_tells_of_an_erased_stream_or_of_another_place_is_made_again(log: Path) -> None:
    kept = {path: path.read_bytes() for path in log.glob("*.summary")}
    purging.purge(log, ["st_0001"], 1, lambda _done, _of: None)
    right = summaries.rows_of(log)
    for path, data in kept.items():  # as a kill leaves them that came too early
        path.write_bytes(data)
    assert remade(log, "st_0001")
    assert summaries.rows_of(log) == right
    assert remade(log, "st_0001") == []


def test_a_log_without_summaries_gets_none(log: Path) -> None:
    for path in log.glob("*.summary"):
        path.unlink()
    assert remade(log, "st_0001") == []
    assert sidecars.list_sidecars(log)[0] == []
