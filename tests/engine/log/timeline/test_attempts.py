"""The tries to have an answer, and how each ended."""

from pathlib import Path

import pytest

from engine.log.timeline import timeline
from machines import events
from tests.support.logs import told

FINISHED = events.TurnFinished("stop")


def tries(found: timeline.Timeline) -> list[tuple[int, str, str, float, float, str | None]]:
    """Number, why, worker, start, end and code of each."""
    return [
        (
            each.number,
            each.how,
            each.worker,
            each.start_us / told.SECOND,
            each.end_us / told.SECOND,
            each.code,
        )
        for each in found.attempts
    ]


def test_a_retry_begins_with_what_is_done_for_it(tmp_path: Path) -> None:
    happened = [
        (1, events.RetryScheduled(1, 500, "worker_exited", detail="killed")),
        (2, events.RpcSent("thread/start", 1)),
        (3, events.TurnStarted("th", "tu", process="wk_2")),
        (4, FINISHED),
    ]
    found = told.told(tmp_path, *happened)
    assert tries(found) == [
        (1, "first", "codex", 0, 1, "worker_exited"),
        (2, "retry", "codex", 2, 4, None),
    ]
    assert [each.detail for each in found.attempts] == ["killed", None]
    assert [each.process for each in found.attempts] == ["", "wk_2"]


def test_targets_that_stood_in_or_could_not(tmp_path: Path) -> None:
    happened = [
        (1, events.FallbackSkipped("small", "upstream", "unsupported_parameter")),
        (1, events.FallbackTaken("large", "upstream", "worker_busy")),
        (4, events.TurnFailed("upstream_error", "upstream_error", "No.", detail="words")),
    ]
    found = told.told(tmp_path, *happened)
    assert tries(found) == [
        (1, "first", "codex", 0, 1, "worker_busy"),
        (0, "skipped", "upstream", 1, 1, "unsupported_parameter"),
        (2, "fallback", "upstream", 1, 4, "upstream_error"),
    ]
    assert [each.target for each in found.attempts] == ["gpt-5.5", "small", "large"]
    assert "2 attempts were made; failed by worker_busy, upstream_error." in found.evidence


def test_a_parked_turn_was_there_or_was_missed(tmp_path: Path) -> None:
    resumed = told.told(
        tmp_path / "a", (1, events.TurnResumed("th", process="wk_1")), (2, FINISHED)
    )
    missed = told.told(tmp_path / "b", (1, events.ParkMissed("expired")), (2, FINISHED))
    assert [(each.how, each.process) for each in resumed.attempts] == [("resumed", "wk_1")]
    assert [(each.how, each.reason) for each in missed.attempts] == [("missed", "expired")]


@pytest.mark.parametrize(
    ("told_of", "thread", "reason"),
    [
        ([], "new", ""),
        ([events.ThreadReused("th")], "reused", ""),
        ([events.ReuseMissed("expired")], "new", "expired"),
        (
            [events.ReuseMissed("history_edited"), events.ThreadForked("th")],
            "forked",
            "history_edited",
        ),
        (
            [events.ThreadReused("th"), events.ReuseMissed("upstream_error")],
            "new",
            "upstream_error",
        ),
    ],
)
def test_an_attempt_says_how_it_has_got_its_thread(
    tmp_path: Path, told_of: list[events.StreamInput], thread: str, reason: str
) -> None:
    happened = [(1, event) for event in (*told_of, events.TurnStarted("th", "tu"), FINISHED)]
    (attempt,) = told.told(tmp_path, *happened).attempts
    assert (attempt.how, attempt.thread, attempt.reason) == ("first", thread, reason)


def test_each_choice_has_its_own(tmp_path: Path) -> None:
    happened = [
        (1, events.RetryScheduled(1, 500, "upstream_error", 1)),
        (2, events.RpcSent("thread/start", 1, 1)),
        (3, events.ClientGone("left")),
    ]
    found = told.told(tmp_path, *happened, n=2)
    assert [(each.choice, each.number, each.code) for each in found.attempts] == [
        (0, 1, None),
        (1, 1, "upstream_error"),
        (1, 2, None),
    ]
