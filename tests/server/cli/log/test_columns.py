"""A row is a line of so many columns."""

import datetime
from typing import Any

import pytest

from engine.log.summary import rows
from server.cli import printing
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


def listed(shown: list[rows.Summary], width: int | None) -> list[str]:
    """The lines of a list."""
    lines = columns.Columns({"st_1": "st_1"}, datetime.UTC, width).lines(shown)
    return ["".join(piece.text for piece in line).rstrip() for line in lines]


LONG = {"kind": "upstream_error", "code": "c" * 90, "ttft_us": 1}


@pytest.mark.parametrize("model", ["m" * 90, "\x1b[31m" * 20, "漢字" * 40, "e\u0301" * 60])
@pytest.mark.parametrize("width", [40, 60, 72, 80, 120])
def test_a_line_has_the_columns_that_there_are_and_names_are_cut(width: int, model: str) -> None:
    head, _, line = listed([row(model=model, **LONG)], width)
    assert max(map(printing.columns, (head, line))) <= width
    assert line.endswith(" st_1")
    assert "…" in line


@pytest.mark.parametrize(
    ("width", "heads"),
    [
        (None, "ended kind code model ttft took id"),
        (80, "ended kind code model ttft took id"),
        (60, "ended kind code model took id"),
        (45, "ended kind code id"),
        (30, "ended kind id"),
    ],
)
def test_a_narrow_terminal_has_fewer_columns(width: int | None, heads: str) -> None:
    head, _, line = listed([row(model="m" * 12, **LONG)], width)
    assert head.split() == heads.split()
    assert line.split()[1] == "upstream_error"


def test_a_program_gets_every_name_whole_and_the_columns_below_each_other() -> None:
    shown = [row(model="m" * 90, **LONG), row(model="\x1b", kind="evaporated_altogether")]
    head, _, first, second = listed(shown, None)
    assert f" {'c' * 90} {'m' * 90} " in first
    assert " \\x1b " in second
    assert len({line.index("st_1") for line in (first, second)} | {head.index(" id") + 1}) == 1


def test_the_day_stands_by_itself_when_it_changes() -> None:
    shown = [row(t=0), row(t=1), row(t=86_400_000_000)]
    lines = [*columns.Columns({}, datetime.UTC, 80).lines(shown)]
    days = [line[0].text for line in lines if line[0].text.startswith("--")]
    assert days == ["-- 1970-01-01 UTC", "-- 1970-01-02 UTC"]
