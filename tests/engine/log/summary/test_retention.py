"""The oldest sidecars go, by age and by size, and none whose segment is still there."""

import os
from pathlib import Path

import pytest

from engine.log.summary import retention, rows, sidecars
from engine.log.summary.settings import SummaryCounts, SummarySettings

DAY_US = 86_400_000_000


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Sidecars 1 to 5, a day between two; 3 was never sealed."""
    for number in range(1, 6):
        sidecar = sidecars.Sidecar(tmp_path, number)
        t = number * DAY_US
        sidecar.append([rows.Summary(summary="st", at=(number, 0), t=t, trigger="x")])
        if number == 3:
            sidecar.release()
            left = tmp_path / f"{sidecars.name_of(3)}{sidecars.OPEN}"
            left.rename(tmp_path / sidecars.name_of(3))
            os.utime(tmp_path / sidecars.name_of(3), ns=(0, t * 1000))
        else:
            sidecar.seal(1, syncs=False)
    return tmp_path


def gone(directory: Path, segments: set[int], days: float, **limits: int) -> list[int]:
    counts = SummaryCounts()
    now = round(days * DAY_US)
    retention.prune(directory, segments, now, SummarySettings(**limits), counts)
    left = [each.number for each in sidecars.list_sidecars(directory)[0]]
    assert counts.pruned == 5 - len(left)
    assert (counts.bytes_pruned > 0) == (len(left) < 5)
    return sorted({1, 2, 3, 4, 5} - set(left))


def test_by_age(directory: Path) -> None:
    assert gone(directory, set(), 5.5, max_age_s=2 * 86_400, max_bytes=0) == [1, 2, 3]


def test_by_size(directory: Path) -> None:
    size = sidecars.list_sidecars(directory)[0][0].size
    assert gone(directory, set(), 0, max_age_s=0, max_bytes=2 * size + 10) == [1, 2, 3]


def test_without_limits_none(directory: Path) -> None:
    assert gone(directory, set(), 1000, max_age_s=0, max_bytes=0) == []


def test_up_to_the_first_whose_segment_is_there(directory: Path) -> None:
    assert gone(directory, {3, 5}, 1000, max_age_s=1, max_bytes=1) == [1, 2]
