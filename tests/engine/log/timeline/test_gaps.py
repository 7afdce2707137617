"""The silences of a stream: which there are, and whose each was."""

from pathlib import Path

import pytest

from engine.log.timeline import gaps, steps, timeline
from machines import events
from machines.turn import thread as threads
from tests.support.logs import told

FINISHED = events.TurnFinished("stop")
BEGUN = events.ThreadChanged(threads.Event.START_SENT, threads.NEW, threads.STARTING)


def silences(found: timeline.Timeline) -> list[tuple[str, float, float]]:
    """Owner, start and end of each, in seconds."""
    return [
        (gap.owner, round(gap.start_us / told.SECOND, 2), round(gap.end_us / told.SECOND, 2))
        for gap in found.gaps
    ]


def test_a_silence_is_longer_than_the_pace_of_the_tokens(tmp_path: Path) -> None:
    slow = told.texts(*"abcdef", since=0.1, pace=0.4)
    found = told.told(tmp_path, *slow, (6.1, FINISHED))
    assert silences(found) == [("worker", 2.1, 6.1)]


def test_the_longest_is_told_however_short_it_is(tmp_path: Path) -> None:
    found = told.told(tmp_path, *told.texts("a", "b", since=0.01), (0.04, FINISHED))
    assert silences(found) == [("worker", 0.01, 0.03)]


def test_each_has_the_owner_that_the_live_figures_have(tmp_path: Path) -> None:
    happened = [
        (9, BEGUN),
        (10, events.RetryScheduled(1, 500, "worker_exited")),
        (15, events.RpcSent("thread/start", 1)),
        (22, events.TextDelta("a")),
        (22.1, FINISHED),
    ]
    assert silences(told.told(tmp_path, *happened)) == [
        ("queued", 0, 9),
        ("worker", 15, 22),
        ("server", 10, 15),
        ("worker", 9, 10),
    ]


def test_a_heartbeat_ends_no_silence(tmp_path: Path) -> None:
    happened = [
        (1, events.TextDelta("a")),
        (16, events.TimerFired("heartbeat")),
        (20, events.TextDelta("b")),
        (20.1, FINISHED),
    ]
    assert silences(told.told(tmp_path, *happened))[0] == ("worker", 1, 20)


def test_behind_pressure_the_client_was_waited_for(tmp_path: Path) -> None:
    happened = [
        (1, events.TextDelta("a")),
        (1.1, events.BufferPressure(300_000)),
        (8, events.TextDelta("b")),
        (12, FINISHED),
    ]
    assert silences(told.told(tmp_path, *happened))[:2] == [("client", 1.1, 8), ("worker", 8, 12)]


@pytest.mark.parametrize("owner", ["server", "client"])
def test_what_the_server_measured_of_the_longest_stands(tmp_path: Path, owner: str) -> None:
    end = {"longest_gap_us": 5 * told.SECOND, "longest_gap_owner": owner}
    happened = [(1, events.TextDelta("a")), (6, events.TextDelta("b")), (8, FINISHED)]
    found = silences(told.told(tmp_path, *happened, end=end))
    assert found == [(owner, 1, 6), ("worker", 6, 8), ("worker", 0, 1)]


def test_a_turn_was_parked_before_the_request(tmp_path: Path) -> None:
    resumed = events.TurnResumed("th", parked_us=42 * told.SECOND)
    found = told.told(tmp_path, (0.1, resumed), (0.2, events.TextDelta("a")), (0.3, FINISHED))
    assert silences(found)[0] == ("parked", -42, 0)


def test_the_silence_that_an_end_came_behind() -> None:
    gap = timeline.Gap(told.SECOND, 9 * told.SECOND, "worker", 3)
    parked = timeline.Gap(-told.SECOND, 10 * told.SECOND, "parked", -1)
    read = steps.Steps((), frozenset(), later=False)
    assert gaps.final((parked, gap), read, 9 * told.SECOND + 10_000) == gap
    assert gaps.final((parked, gap), read, 11 * told.SECOND) is None
    assert gaps.final((), read, told.SECOND) is None


def test_a_silence_that_a_word_broke_is_not_what_a_client_left_in(tmp_path: Path) -> None:
    happened = (*told.texts("a"), *told.texts("b", since=11), (11.001, events.ClientGone("left")))
    found = told.told(tmp_path, *happened)
    assert "in a silence" not in found.verdict
    assert found.evidence[0].startswith("From 1.00 s on it was silent for 10.0 s")


def test_a_client_that_never_caught_up_was_the_one_that_was_waited_for(tmp_path: Path) -> None:
    happened = [*told.texts("a"), (1.1, events.BufferPressure(300_000))]
    end = {"longest_gap_us": 30 * told.SECOND, "longest_gap_owner": "worker"}
    found = told.told(tmp_path, *happened, (31.1, events.ClientGone("write_stall")), end=end)
    assert silences(found)[0] == ("client", 1.1, 31.1)
    assert "the client did not read" in found.evidence[0]
