"""Streams are due an interval after they last were, and not all in the same moment."""

from bench import pacing


def test_without_an_interval_a_stream_is_always_due() -> None:
    schedule: pacing.Schedule[str] = pacing.Schedule()
    assert schedule.wait() is None
    schedule.add("a", 0.0)
    assert schedule.wait() == 0.0
    (due, stream), *rest = schedule.take()
    assert (stream, rest) == ("a", [])
    assert schedule.wait() is None
    schedule.again("a", due, 0.0)
    assert [name for _, name in schedule.take()] == ["a"]


def test_a_stream_is_due_by_its_own_clock_and_not_by_when_it_was_served() -> None:
    schedule: pacing.Schedule[str] = pacing.Schedule()
    schedule.add("late", 0.0)
    (due, _), *_ = schedule.take()
    schedule.again("late", due - 10, 5.0)  # it should have been served five seconds ago
    assert [(round(due - was), name) for was, name in schedule.take()] == [(5, "late")]


def test_streams_do_not_all_begin_in_the_same_moment() -> None:
    waits = []
    for count in (1, 2, 5, 13):
        schedule: pacing.Schedule[int] = pacing.Schedule()
        for number in range(count):
            schedule.add(number, 1000.0)
        assert schedule.take() == []
        waits.append(schedule.wait() or 0.0)
    assert waits == sorted(waits, reverse=True)
    assert len({round(wait) for wait in waits}) == len(waits)
