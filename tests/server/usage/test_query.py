"""A query is read as its page says, and refused by the name of what is wrong."""

import pytest

from server.http.errors import ApiError
from server.usage import query
from server.usage.query import Group

S = 1_000_000


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("1770000000", 1_770_000_000 * S),
        ("2026-01-31", 1_769_817_600 * S),
        ("2026-01-31T00:00:00Z", 1_769_817_600 * S),
        ("2026-01-31T01:00:00%2B01:00", 1_769_817_600 * S),
        ("2026-01-31T01:00:00+01:00", 1_769_817_600 * S),
        ("2026-01-31T00:00:00.5Z", 1_769_817_600 * S + S // 2),
        ("1900-01-01", 0),
    ],
)
def test_times(text: str, start: int) -> None:
    assert query.read(f"start={text}", query.OF_SUMS).start == start


def test_groups_stand_in_one_order_and_once() -> None:
    read = query.read("group_by=model,key&group_by=day,%20key", query.OF_SUMS)
    assert read.groups == (Group.DAY, Group.KEY, Group.MODEL)


def test_filters_are_gathered() -> None:
    read = query.read("model=a&model=b%20c&key=&limit=5", query.OF_SUMS)
    assert read.only == {"model": {"a", "b c"}, "key": {""}}
    assert read.limit == 5


def test_a_place_is_read_as_it_is_written() -> None:
    read = query.read(f"after={query.cursor((17, 104233))}", query.OF_LINES)
    assert (read.after, read.limit) == ((17, 104233), None)


@pytest.mark.parametrize(
    "text",
    ["after=", "after=1", "after=1-", "after=a-1", "after=-1-1", "after=%EF%BC%91-1", "limit="],
)
def test_what_is_none_is_refused(text: str) -> None:
    with pytest.raises(ApiError) as refused:
        query.read(text, query.OF_LINES)
    assert refused.value.param == text.partition("=")[0]


def test_a_query_of_a_thousand_parameters_is_not_read() -> None:
    with pytest.raises(ApiError, match="over 64"):
        query.read("&".join(f"model={n}" for n in range(1000)), query.OF_SUMS)
