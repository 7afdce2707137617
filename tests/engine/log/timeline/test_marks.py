"""One mark a record, and one for a run of deltas."""

from pathlib import Path

from engine.log.timeline import timeline
from engine.log.timeline.marks import TEXT_CHARACTERS
from machines import events
from tests.support.logs import told

FINISHED = events.TurnFinished("stop")


def runs(found: timeline.Timeline) -> list[tuple[str, int, int, str]]:
    """Event, choice, records and text of each mark but the first and the last."""
    return [(each.event, each.choice, each.records, each.text) for each in found.marks[1:-1]]


def test_deltas_of_a_kind_are_a_run(tmp_path: Path) -> None:
    happened = [
        (1, events.ReasoningDelta("hm")),
        (1.01, events.ReasoningDelta("m")),
        *told.texts("Hel", "lo", since=1.02),
        (1.05, events.ItemStarted("agentMessage")),
        *told.texts("!", since=1.06),
        (1.1, FINISHED),
    ]
    assert runs(told.told(tmp_path, *happened)) == [
        ("reasoning_delta", 0, 2, "hmm"),
        ("text_delta", 0, 2, "Hello"),
        ("item_started", 0, 1, "agentMessage"),
        ("text_delta", 0, 1, "!"),
        ("turn_finished", 0, 1, "stop"),
    ]


def test_choices_that_take_turns_have_a_run_each(tmp_path: Path) -> None:
    happened = [(1 + n / 100, events.TextDelta("ab"[n % 2], n % 2)) for n in range(6)]
    found = told.told(tmp_path, *happened, (1.2, events.ClientGone("left")), n=2)
    assert runs(found)[:2] == [("text_delta", 0, 3, "aaa"), ("text_delta", 1, 3, "bbb")]


def test_a_run_goes_over_no_silence(tmp_path: Path) -> None:
    happened = [*told.texts("a", "b"), *told.texts("c", "d", since=9), (9.1, FINISHED)]
    found = told.told(tmp_path, *happened)
    assert [text for *_, text in runs(found)] == ["ab", "cd", "stop"]
    assert [(each.at_us, each.end_us) for each in found.marks[1:3]] == [
        (1_000_000, 1_020_000),
        (9_000_000, 9_020_000),
    ]


def test_a_long_text_is_cut_and_counted(tmp_path: Path) -> None:
    pieces = ["x" * 900] * 5
    (_, run, *_) = told.told(tmp_path, *told.texts(*pieces), (2, FINISHED)).marks
    assert (run.characters, len(run.text)) == (4_500, TEXT_CHARACTERS)


def test_each_is_in_the_lane_of_who_did_it(tmp_path: Path) -> None:
    happened = [
        (1, events.TextDelta("a")),
        (2, events.TimerFired("heartbeat")),
        (3, events.BufferPressure(9)),
        (4, events.ClientGone("left")),
    ]
    lanes = [mark.lane for mark in told.told(tmp_path, *happened).marks]
    assert lanes == ["client", "worker", "machine", "client", "client", "machine"]
