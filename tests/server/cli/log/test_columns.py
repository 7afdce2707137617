"""A row is a line of so many columns."""

import datetime
from typing import Any

import pytest

from engine.log.summary import rows
from server.cli.log import columns


@pytest.mark.parametrize(
    ("microseconds", "shown"),
    [
        (None, "-"),
        (0, "0ms"),
        (999_400, "999ms"),
        (999_600, "1.0s"),
        (59_940_000, "59.9s"),
        (125_000_000, "2m05s"),
        (3_720_000_000, "62m00s"),
        (36_000_000_000, "10h00m"),
        (10**12, "11d"),
    ],
)
def test_a_duration_has_six_characters_at_the_most(microseconds: int | None, shown: str) -> None:
    assert columns.duration(microseconds) == shown
    assert len(shown) <= 6


def row(**members: Any) -> rows.Summary:
    return rows.Summary(**{"summary": "st_1", "at": (1, 2), "t": 0, "trigger": "x", **members})


@pytest.mark.parametrize(
    ("members", "detail"),
    [
        ({"code": "upstream_timeout"}, "upstream_timeout"),
        ({"code": "not_found", "count": 9}, "not_found x9"),
        ({"cause": "left"}, "left"),
        ({"finish_reasons": ("stop", "tool_calls", None)}, "tool_calls"),
        ({}, ""),
    ],
)
def test_beside_the_kind_stands_what_explains_it(members: dict[str, Any], detail: str) -> None:
    assert columns.detail_of(row(**members)) == detail


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_line_has_the_columns_that_there_are_and_names_are_cut(width: int) -> None:
    shown = [row(model="m" * 90, code="c" * 90, kind="upstream_error", ttft_us=1)]
    lines = columns.Columns({"st_1": "st_1"}, datetime.UTC, max(width, 72)).lines(shown)
    texts = ["".join(piece.text for piece in line).rstrip() for line in lines]
    assert max(map(len, texts)) <= max(width, 72)
    assert "…" in texts[-1]


def test_the_day_stands_by_itself_when_it_changes() -> None:
    shown = [row(t=0), row(t=1), row(t=86_400_000_000)]
    lines = [*columns.Columns({}, datetime.UTC, 80).lines(shown)]
    days = [line[0].text for line in lines if line[0].text.startswith("--")]
    assert days == ["-- 1970-01-01 UTC", "-- 1970-01-02 UTC"]
