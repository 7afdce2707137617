"""What a record says in a few words."""

from typing import get_args

import pytest

from engine.log.read import segments
from engine.log.timeline import words
from machines import events

FAILED = events.TurnFailed("upstream_error", "x", "for the client", word="w", detail="d" * 500)


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (events.RetryScheduled(2, 1500, "x"), "attempt 2 failed with x, again in 1.5 s"),
        (events.ToolCalled("c", "look", '{"é":1}'), "look, 8 bytes of arguments"),
        (events.FallbackTaken("m", "upstream", "x"), "m on upstream, for x"),
        (
            events.WorkerChanged("codex-0", "exited", {"returncode": -9}),
            "codex-0 exited: returncode -9",
        ),
        (events.TurnChanged("spoke", "a", "b", late_of="st_1"), "a -spoke-> b, of st_1"),
        (events.TokensCounted(None), "none"),
        (events.TurnResumed("th", parked_us=1_500_000), "th, parked for 1.5 s"),
        (events.BufferPressure(7), "7 bytes wait"),
        (
            events.RequestRejected(
                request_id="r", code="not_found", status=404, method="GET", path="/x"
            ),
            "404 not_found: GET /x",
        ),
        (events.ServerStopping(), ""),
    ],
)
def test_the_words_of_an_event(event: segments.LoggedEvent, said: str) -> None:
    assert words.words(event) == said


def test_somebody_elses_words_are_cut() -> None:
    said = words.words(FAILED)
    assert said.startswith("x: w: ddd")
    assert said.endswith("…")
    assert len(said) < 200


def test_there_are_words_for_events_only() -> None:
    assert words._SAID.keys() <= set(get_args(segments.LoggedEvent))
