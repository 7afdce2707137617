"""Sums keep apart what was counted, estimated and unknown, and stay bounded."""

from typing import Any

import msgspec
import pytest

from engine import slices
from engine.log.summary import rows
from server.usage import sums
from server.usage.query import Group

DAY = sums.DAY_US


def row(**fields: Any) -> rows.Summary:
    usual = {"summary": "s", "at": (1, 1), "t": 1, "trigger": "x", "kind": "completed"}
    return rows.Summary(**{**usual, "endpoint": "chat.completions", **fields})


def shown(groups: tuple[Group, ...], limit: int, *added: rows.Summary) -> dict[str, Any]:
    grouped = sums.Grouped(groups)
    for each in added:
        grouped.add(each)
    found: dict[str, Any] = slices.at_once(grouped.shown(limit))
    return {**found, "data": [msgspec.json.decode(each) for each in found["data"]]}


REFUSED = row(kind="rejected", trigger="", endpoint="", route="/v1/models", code="x", count=7)


def test_what_nobody_knows_is_in_no_sum_of_tokens() -> None:
    counts = rows.Counts(10, 5, cached_tokens=3, reasoning_tokens=2, other_tokens=1)
    total = shown(
        (),
        9,
        row(usage=counts),
        row(usage=counts, usage_source="estimated"),
        row(),
        REFUSED,
    )["total"]
    assert total["usage"] == {"counted": 1, "estimated": 1, "unknown": 1, "refused": 7}
    assert (total["input_tokens"], total["output_tokens"], total["total_tokens"]) == (10, 5, 16)
    assert (total["cached_tokens"], total["reasoning_tokens"]) == (3, 2)
    assert total["cached_share"] == 0.3
    assert total["estimated"]["total_tokens"] == 16
    assert total["requests"] == 10


def test_a_failure_counts_once_and_who_leaves_is_none() -> None:
    total = shown(
        (),
        9,
        row(kind="upstream_error", code="a"),
        row(kind="client_gone", cause="left"),
        row(kind="truncated", code="worker_exited"),
        row(kind="upstream_error", code="a"),
        REFUSED,
    )["total"]
    assert total["failures"] == [
        {"kind": "rejected", "code": "x", "requests": 7},
        {"kind": "upstream_error", "code": "a", "requests": 2},
    ]


def test_groups_are_sorted_and_what_is_not_known_is_null() -> None:
    found = shown(
        (Group.DAY, Group.MODEL, Group.KEY, Group.ROUTE),
        9,
        row(t=DAY + 1, model="b", key="k"),
        row(t=DAY - 1, model="b"),
        row(t=DAY, model="a"),
        REFUSED,
    )
    names = [(each["day"], each["model"], each["key"]) for each in found["data"]]
    assert names == [
        ("1970-01-01", None, None),
        ("1970-01-01", "b", None),
        ("1970-01-02", "a", None),
        ("1970-01-02", "b", "k"),
    ]
    assert found["data"][0]["route"] == "/v1/models"
    assert found["data"][1]["route"] == "/v1/chat/completions"


def test_names_that_are_made_up_fill_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sums, "MOST_GROUPS", 20)
    monkeypatch.setattr(sums, "MOST_CODES", 5)
    many = [row(model=f"m-{n}", kind="upstream_error", code=f"c-{n}") for n in range(100)]
    found = shown((Group.MODEL,), 10, *many)
    assert (len(found["data"]), found["has_more"]) == (10, True)
    assert found["rest"]["requests"] == 90
    assert found["total"]["requests"] == 100
    failures = found["total"]["failures"]
    assert sum(each["requests"] for each in failures) == 100
    assert len(failures) <= 6
    assert failures[0]["code"] == "other"
