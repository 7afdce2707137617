"""Members of many chunks are one body's, as the SDK adds deltas up."""

import copy
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, strategies as st
from openai.lib.streaming._deltas import accumulate_delta

from server.chat import accumulate
from server.chat.accumulate import Joins
from tests.support.process import growth

SCALARS = st.one_of(st.booleans(), st.text(max_size=3))
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=6,
)
DELTAS = st.dictionaries(st.sampled_from("abc"), VALUES, max_size=3)


def joined(joins: Joins, *deltas: Any) -> Any:
    """The members of all of these."""
    members = accumulate.Members(joins)
    for each in deltas:
        members.add(msgspec.Raw(msgspec.json.encode(each)))
    return json.loads(bytes(members.object()))


def same_types(before: Any, after: Any) -> bool:
    """Whether two values can be joined at all: the SDK keeps the first where they cannot."""
    if isinstance(before, dict) and isinstance(after, dict):
        return all(same_types(before[name], after[name]) for name in before.keys() & after.keys())
    return type(before) is type(after) is str


@given(DELTAS, DELTAS)
def test_texts_and_objects_are_joined_as_the_sdk_joins_them(first: Any, second: Any) -> None:
    if not same_types(first, second):
        return
    expected = accumulate_delta(copy.deepcopy(first), second)
    assert joined(Joins.DELTA, first, second) == expected


@pytest.mark.parametrize(
    ("joins", "deltas", "expected"),
    [
        (Joins.DELTA, [{"a": "漢\n"}, {"a": '"'}], {"a": '漢\n"'}),
        (
            Joins.DELTA,
            [{"id": "x", "type": "t"}, {"id": "y", "type": "t"}],
            {"id": "y", "type": "t"},
        ),
        (Joins.DELTA, [{"at": 5, "on": True}, {"at": 7, "on": None}], {"at": 7, "on": True}),
        (Joins.DELTA, [{"a": [1, "b"]}, {"a": [{"c": 2}]}], {"a": [1, "b", {"c": 2}]}),
        (
            Joins.DELTA,
            [
                {"a": [{"index": 1, "text": "x"}]},
                {"a": [{"index": 0, "text": "y"}, {"index": 1, "text": "z"}]},
            ],
            {"a": [{"index": 1, "text": "xz"}, {"index": 0, "text": "y"}]},
        ),
        (Joins.DELTA, [{"a": "x"}, {"a": {"b": 1}}], {"a": {"b": 1}}),
        (Joins.CHOICE, [{"a": "x", "b": [1]}, {"a": "y", "b": [2]}], {"a": "y", "b": [1, 2]}),
        (
            Joins.CHUNK,
            [{"a": {"id": 1}, "b": [1]}, {"a": {"c": 2}, "b": [2]}],
            {"a": {"id": 1, "c": 2}, "b": [2]},
        ),
    ],
)
def test_what_is_joined_and_what_stands(joins: Joins, deltas: list[Any], expected: Any) -> None:
    assert joined(joins, *deltas) == expected


def test_further_members_override_nothing() -> None:
    own = {"index": 0, "function": {"name": "f", "arguments": "{}"}}
    more = {"index": 7, "function": {"name": "g", "parsed": 1}, "extra": [1]}
    found = accumulate.beside(own, msgspec.Raw(msgspec.json.encode(more)))
    assert json.loads(msgspec.json.encode(found)) == {
        "index": 0,
        "function": {"name": "f", "arguments": "{}", "parsed": 1},
        "extra": [1],
    }


@pytest.mark.parametrize(
    "delta",
    [{"a": "xy"}, {"a": [1]}, {"a": [{"index": 0, "text": "xy"}]}, {"a": {"b": {"c": "xy"}}}],
)
def test_time_is_linear_in_the_chunks(delta: Any) -> None:
    raw = msgspec.Raw(msgspec.json.encode(delta))

    def prepare(size: int) -> Any:
        def run() -> None:
            members = accumulate.Members(Joins.DELTA)
            for _ in range(size):
                members.add(raw)
            members.object()

        return run

    growth.check_linear(prepare, 2000)


def test_entries_are_joined_by_the_first_indexes_and_the_others_are_kept() -> None:
    many = [{"index": at, "a": "x"} for at in range(accumulate.NAMES // accumulate.OBJECT_NAMES)]
    found = joined(Joins.DELTA, {"l": many}, {"l": many})["l"]
    assert found[0] == {"index": 0, "a": "xx"}
    assert found[-1] == many[-1]
    assert len(many) < len(found) < 2 * len(many)


def test_entries_with_one_index_are_joined_wherever_they_stand() -> None:
    entries = [{"index": 0, "a": "x"}, {"index": 0, "a": "y"}]
    whole = [{"index": 0, "a": "xy"}]
    assert joined(Joins.DELTA, {"l": entries, "o": {"l": entries}}) == {
        "l": whole,
        "o": {"l": whole},
    }


def test_what_is_joined_is_bounded() -> None:
    most = accumulate.NAMES
    held = joined(Joins.DELTA, {"o": {"a": 1}}, *({"o": {f"k{at}": 1}} for at in range(most)))
    assert most - 100 < len(held["o"]) < most
    same = {"o": {f"k{at}": {"a": 1} for at in range(9000)}}
    more = {"o": {f"k{at}": {"b": 2} for at in range(9000)}}
    values = joined(Joins.CHUNK, same, more)["o"]
    assert values["k0"] == {"a": 1, "b": 2}
    assert values["k8999"] == {"b": 2}
