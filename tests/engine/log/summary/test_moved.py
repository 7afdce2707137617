"""A sidecar whose rows point to where a beginning is not any more is known."""

from pathlib import Path

import pytest

from engine.log.derive import purging
from engine.log.read import segments
from engine.log.summary import moved, sidecars
from tests.engine.log.derive import logsforderiving as deriving
from tests.support.logs import coldlogs


def purge(log: Path, *streams: str) -> None:
    purging.purge(log, streams, 77, lambda *_: None)


def those_moved(log: Path) -> list[int]:
    return [
        each.number for each in sidecars.list_sidecars(log)[0] if moved.has_moved(log, each.number)
    ]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A log whose streams all begin in the first segment, and end in the last ones."""
    deriving.write_together(tmp_path / "log", ["alpha", "beta", "beta"])
    return tmp_path / "log"


@pytest.mark.parametrize("form", ["plain", "compressed"])
def test_beginnings_that_have_moved_are_known(log: Path, form: str) -> None:
    kept = {path: path.read_bytes() for path in log.glob("*.summary")}
    assert those_moved(log) == []
    purge(log, "st_t000")
    assert those_moved(log) == []
    for path, data in kept.items():
        path.write_bytes(data)
    if form == "compressed":
        coldlogs.compress_all(log)
    # The row of what was erased is in the way: that is for the purge that erases it.
    ending = max(each.number for each in sidecars.list_sidecars(log)[0])
    path = log / sidecars.name_of(ending)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(line for line in lines if b'"st_t000"' not in line))
    assert ending in those_moved(log)


def test_a_row_that_alone_knows_what_was_asked_is_kept(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        deriving.stop_before(patched, 1)
        with pytest.raises(OSError, match="No space"):
            purge(log, "st_t001")
    assert those_moved(log) == []  # though that of st_t002 has moved
    purge(log, "st_t001")
    assert those_moved(log) == []


def test_a_beginning_that_has_gone_is_believed(log: Path) -> None:
    segments.list_segments(log)[0].path.unlink()
    assert those_moved(log) == []
