"""The states of a stream's choices, from when to when."""

from pathlib import Path

from engine.log.timeline import timeline
from machines import events
from tests.support.logs import told


def spans(found: timeline.Timeline, choice: int = 0) -> list[tuple[str, float, float]]:
    """The phases of a choice, in seconds."""
    return [
        (phase.state, phase.start_us / told.SECOND, phase.end_us / told.SECOND)
        for phase in found.phases
        if phase.choice == choice
    ]


def test_each_state_has_its_time(tmp_path: Path) -> None:
    happened = [
        (2, events.TimerFired("head_hold")),
        (3, events.TextDelta("a")),
        (5, events.TurnFinished("stop")),
        (6, events.TokensCounted(events.Usage(1, 2))),
    ]
    assert spans(told.told(tmp_path, *happened, include_usage=True)) == [
        ("held", 0, 2),
        ("role", 2, 3),
        ("content", 3, 5),
        ("finish", 5, 6),
        ("usage", 6, 6),
        ("done", 6, 6),
    ]


def test_choices_begin_and_fail_together_and_finish_apart(tmp_path: Path) -> None:
    happened = [
        (1, events.TextDelta("a", 1)),
        (2, events.TurnFinished("stop", 1)),
        (4, events.ClientGone("left")),
    ]
    found = told.told(tmp_path, *happened, n=2)
    assert spans(found, 0) == [("held", 0, 1), ("content", 1, 4), ("abandoned", 4, 4)]
    assert spans(found, 1) == [
        ("held", 0, 1),
        ("content", 1, 2),
        ("finish", 2, 4),
        ("abandoned", 4, 4),
    ]
