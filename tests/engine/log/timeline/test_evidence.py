"""What speaks for the cause of an ending."""

from pathlib import Path

import pytest

from engine.log.timeline import evidence
from machines import events
from tests.support.logs import told

FINISHED = events.TurnFinished("stop")
COUNTED = events.TokensCounted(events.Usage(8, 35))


@pytest.mark.parametrize(
    ("microseconds", "spelled"),
    [(0, "0.000 s"), (310_000, "0.310 s"), (5_200_000, "5.20 s"), (61_000_000, "61.0 s")],
)
def test_a_time_is_spelled_with_the_digits_that_matter(microseconds: int, spelled: str) -> None:
    assert evidence.seconds(microseconds) == spelled


def test_the_silence_that_a_limit_ended(tmp_path: Path) -> None:
    found = told.told(tmp_path, *told.texts("Hel"), (6, events.TimerFired("idle")))
    (said,) = found.evidence
    assert said == "Before its end it was silent for 5.00 s: nothing came from the model's side."


def test_what_a_client_waited_for_when_it_left(tmp_path: Path) -> None:
    found = told.told(tmp_path, *told.texts("Hel"), (31, events.ClientGone("left")))
    assert found.evidence[0].startswith("Before its end it was silent for 30.0 s")


@pytest.mark.parametrize(("content", "words"), [("full", "out of memory"), ("masked", "masked")])
def test_the_other_sides_own_words(tmp_path: Path, content: str, words: str) -> None:
    failed = events.TurnFailed("upstream_error", "upstream_error", "No.", detail="out of memory")
    found = told.told(tmp_path, (1, failed), content=content)
    assert words in found.evidence[-1]


def test_a_slow_answer_that_is_whole_says_where_the_time_went(tmp_path: Path) -> None:
    found = told.told(tmp_path, (9, events.RpcSent("thread/start", 1)), (9.1, FINISHED))
    assert found.evidence == (
        "From 0.000 s on it was silent for 9.00 s: the turn waited for a free place on a worker.",
    )


@pytest.mark.parametrize(
    ("reason", "words"), [("length", "limit of tokens"), ("safety", "filter")]
)
def test_an_answer_that_the_model_cut_is_not_said_to_be_well(
    tmp_path: Path, reason: str, words: str
) -> None:
    happened = [*told.texts("Hel"), (1.1, events.TurnFinished(reason)), (1.2, COUNTED)]
    found = told.told(tmp_path, *happened)
    assert words in found.verdict
    assert "nothing went wrong" not in found.verdict
    assert found.next_step != "Nothing to do."


def test_how_long_a_provider_asks_to_be_left_alone(tmp_path: Path) -> None:
    failed = events.TurnFailed(
        "upstream_error", "rate_limit_exceeded", "No.", status=429, retry_after=20.0
    )
    said = told.told(tmp_path / "theirs", (1, failed)).evidence
    assert "It asks to be left alone for 20 s." in said
    busy = events.TurnFailed("rejected", "worker_busy", "No.", retry_after=1.0)
    said = told.told(tmp_path / "ours", (1, busy), content="masked").evidence
    assert not [each for each in said if "left alone" in each or "masked" in each]


def test_that_the_same_request_would_fail_again(tmp_path: Path) -> None:
    failed = events.TurnFailed("upstream_error", "upstream_error", "No.", should_retry=False)
    said = told.told(tmp_path, (1, failed)).evidence
    assert "Its answer says that the same request would fail again." in said


def test_a_stand_in_is_named(tmp_path: Path) -> None:
    happened = [(1, events.FallbackTaken("large", "upstream", "worker_busy")), (2, FINISHED)]
    said = told.told(tmp_path, *happened).evidence
    assert "2 attempts were made; failed by worker_busy." in said
    assert "The last target asked was large on upstream." in said


@pytest.mark.parametrize(
    ("returncode", "words"), [(-9, "killed by signal 9"), (3, "returncode 3")]
)
def test_how_a_process_ended(returncode: int, words: str) -> None:
    assert words in evidence.ended(returncode)


def test_the_field_that_is_at_fault_is_named_in_a_masked_log_too(tmp_path: Path) -> None:
    failed = events.TurnFailed(
        "upstream_error", "invalid_request", "No.", status=400, param="messages[2].role"
    )
    for content in ("full", "masked"):
        found = told.told(tmp_path / content, (1, failed), content=content)
        assert "It is about `messages[2].role`." in found.evidence
