"""How far back a log goes, and how far it will, is reckoned from what it holds."""

from pathlib import Path

import pytest

from engine.log.cold import files
from engine.log.summary import holding
from tests.support.logs import coldlogs, logs

HOUR = 3600


def held(hours: float = 1, **fields: int) -> holding.Holding:
    """A log that goes back for so many hours."""
    at = 10**15
    usual = {"segments": 4, "bytes": 4_000_000, "content_bytes": 4_000_000, "streams": 100}
    return holding.Holding(at, at - round(hours * HOUR * 1e6), **{**usual, **fields})


def limits(**fields: int) -> holding.Limits:
    usual = {"max_bytes": 0, "max_age_s": 0, "max_streams": 0, "compress_age_s": 0}
    return holding.Limits(**{**usual, **fields})


def test_by_size_at_the_rate_of_what_it_holds() -> None:
    assert held().horizon(limits(max_bytes=32_000_000)) == holding.Horizon(8 * HOUR, "size")


def test_by_the_first_limit_that_is_met() -> None:
    every = {"max_bytes": 32_000_000, "max_age_s": 9 * HOUR, "max_streams": 300}
    assert held().horizon(limits(**every)) == holding.Horizon(3 * HOUR, "streams")
    every["max_streams"] = 10_000
    assert held().horizon(limits(**every)) == holding.Horizon(8 * HOUR, "size")
    every["max_age_s"] = HOUR
    assert held().horizon(limits(**every)) == holding.Horizon(HOUR, "age")


def test_without_a_limit_or_a_rate_nothing_is_said() -> None:
    assert held().horizon(limits()) is None
    assert held(hours=0).horizon(limits(max_bytes=100, max_streams=4)) is None
    assert held(content_bytes=0, streams=0).horizon(limits(max_bytes=1, max_streams=1)) is None


def test_what_is_compressed_by_then_takes_less_room() -> None:
    """A MB an hour, of which the newest hour stays plain and the others are a tenth."""
    compressed = {"compressed": 3, "compressed_bytes": 300_000}
    now = held(4, bytes=1_300_000, compressed_content_bytes=3_000_000, **compressed)
    found = now.horizon(limits(max_bytes=3_000_000, compress_age_s=HOUR))
    assert found is not None
    assert found.seconds == pytest.approx(21 * HOUR)
    assert found.by == "size"


def test_what_goes_before_it_is_compressed_takes_all_its_room() -> None:
    compressed = {"compressed": 3, "compressed_bytes": 300_000}
    now = held(4, compressed_content_bytes=3_000_000, **compressed)
    found = now.horizon(limits(max_bytes=500_000, compress_age_s=HOUR))
    assert found == holding.Horizon(HOUR / 2, "size")


def test_it_is_looked_up_in_a_directory(tmp_path: Path) -> None:
    log = coldlogs.closed_log(tmp_path / "log")
    plain = files.list_segments(log)
    content = sum(each.size for each in plain)
    coldlogs.compress_all(log)
    figures = coldlogs.figures_of(log)
    clock = logs.Clock()
    clock.advance(HOUR)
    found = holding.look(log, files.list_segments(log), figures, clock.us)
    assert found is not None
    assert (found.segments, found.compressed, found.content_bytes) == (
        len(plain),
        len(plain),
        content,
    )
    assert found.bytes == found.compressed_bytes < found.compressed_content_bytes == content
    assert found.span_s(clock.us) == pytest.approx(HOUR, abs=0.01)
    assert found.span_s(0) == 0  # a clock that was set back
    assert holding.look(log, [], figures, clock.us) is None
