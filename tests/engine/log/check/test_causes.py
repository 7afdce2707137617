"""Divergences are grouped by their cause, in whatever order they come."""

import itertools

from engine.log import replay
from engine.log.check import causes

CAUSE = replay.Cause("text_delta", "content", "content [content]", "done [finish]")
OTHER = replay.Cause("terminal", "done", "kind completed", "kind truncated")


def found(stream: str, t: int, cause: replay.Cause = CAUSE) -> replay.Divergence:
    return replay.Divergence(stream, f"req_{stream}", "log:1", (), cause, t)


def test_a_group_has_its_number_its_times_and_its_first_stream() -> None:
    groups = causes.Groups()
    for each in (found("b", 5), found("a", 3), found("c", 9)):
        groups.take(each)
    (group,) = groups.sorted()
    assert (group.count, group.first_us, group.last_us) == (3, 3, 9)
    assert group.example.stream == "a"
    assert groups.count == 3


def test_the_largest_group_is_first_and_of_equal_ones_the_earliest() -> None:
    many = [found("a", 9), found("b", 8), found("c", 1, OTHER), found("d", 2, OTHER)]
    third = replay.Cause("opened", "held", "", "")
    groups = causes.Groups()
    for each in (*many, found("e", 0, third)):
        groups.take(each)
    assert [each.cause for each in groups.sorted()] == [OTHER, CAUSE, third]


def test_the_order_in_which_they_come_changes_nothing() -> None:
    all_of_them = [found("b", 5), found("a", 5), found("c", 9, OTHER), found("d", 2)]
    results = []
    for order in itertools.permutations(all_of_them):
        left, right = causes.Groups(), causes.Groups()
        for number, each in enumerate(order):
            (left if number % 2 else right).take(each)
        left.join(right.sorted())
        results.append(left.sorted())
    assert all(each == results[0] for each in results)
