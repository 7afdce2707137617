"""What is another in a bad stream, in the order of a stream's life."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine.log.timeline import compare, timeline
from machines import events
from tests.support.logs import told

FINISHED = events.TurnFinished("stop")
GOOD: tuple[told.Happened, ...] = (*told.texts("Hello", " world", since=0.3), (0.5, FINISHED))


def aspects(bad: timeline.Timeline, good: timeline.Timeline) -> dict[str, tuple[str, str]]:
    """Each aspect that differs, and how it was."""
    return {each.aspect: (each.bad, each.good) for each in compare.compare(bad, good)}


def test_two_good_ones_differ_in_nothing_that_matters(tmp_path: Path) -> None:
    good = told.told(tmp_path / "a", *GOOD)
    other = (*told.texts("Other", " words", "!", since=0.34), (0.56, FINISHED))
    assert aspects(good, told.told(tmp_path / "b", *other)) == {}


def test_a_late_first_word_is_the_first_difference(tmp_path: Path) -> None:
    good = told.told(tmp_path / "a", *GOOD)
    late = told.told(tmp_path / "b", *told.texts("Hello", since=7), (7.1, FINISHED))
    found = compare.compare(late, good)
    assert [each.aspect for each in found] == ["first piece (TTFT)", "longest silence, worker"]
    assert (found[0].bad, found[0].good, found[0].at_us) == ("7.00 s", "0.300 s", 300_000)


def test_a_failure_differs_in_states_and_end(tmp_path: Path) -> None:
    good = told.told(tmp_path / "a", *GOOD)
    failed = events.TurnFailed("upstream_error", "upstream_disconnected", "No.")
    bad = told.told(tmp_path / "b", *GOOD[:-1], (0.5, failed))
    found = aspects(bad, good)
    assert "attempts" not in found
    assert found["states"] == ("held > content > failed", "held > content > finish > done")
    assert found["ending"] == ("upstream_error upstream_disconnected", "completed")
    at = {each.aspect: each.at_us for each in compare.compare(bad, good)}
    assert at["states"] == at["ending"] == 500_000


def test_what_was_quicker_in_the_bad_one_is_no_difference(tmp_path: Path) -> None:
    slow = (*told.texts("Hello", since=2), *told.texts("world", since=9), (9.1, FINISHED))
    good = told.told(tmp_path / "a", *slow)
    bad = told.told(tmp_path / "b", (0.02, events.ClientGone("left")))
    found = aspects(bad, good)
    assert found["first piece (TTFT)"] == ("never", "2.00 s")
    assert not [each for each in found if each.startswith(("longest silence", "time in"))]


def test_attempts_are_compared_where_there_were_others(tmp_path: Path) -> None:
    good = told.told(tmp_path / "a", *GOOD)
    again = (0.1, events.RetryScheduled(1, 100, "upstream_error"))
    bad = told.told(tmp_path / "b", again, *GOOD)
    assert aspects(bad, good)["attempts"] == (
        "first on codex: upstream_error, retry on codex: answered",
        "first on codex: answered",
    )


def test_a_silence_explains_the_time_of_its_state(tmp_path: Path) -> None:
    good = told.told(tmp_path / "a", *GOOD)
    stuck = (*told.texts("Hello", since=0.3), *told.texts("world", since=9), (9.1, FINISHED))
    slow = (*told.texts(*"Hello world", since=0.3, pace=0.2), (2.5, FINISHED))
    assert list(aspects(told.told(tmp_path / "b", *stuck), good)) == ["longest silence, worker"]
    assert "time in content" in aspects(told.told(tmp_path / "c", *slow), good)


@pytest.mark.parametrize(
    ("fields", "aspect"),
    [
        ({"model": "other"}, "model"),
        ({"effort": "high"}, "effort"),
        ({"versions": {"turntape": "9"}}, "version of turntape"),
        ({"request": msgspec.Raw(b'{"temperature":2,"messages":[]}')}, "option temperature"),
    ],
)
def test_what_was_asked_otherwise(tmp_path: Path, fields: dict[str, Any], aspect: str) -> None:
    usual = {"request": msgspec.Raw(b'{"messages":[1]}')}
    good = told.told(tmp_path / "a", *GOOD, **usual)
    bad = told.told(tmp_path / "b", *GOOD, **usual | fields)
    assert list(aspects(bad, good)) == [aspect]


def test_calls_are_compared_by_name_and_fate(tmp_path: Path) -> None:
    good = told.told(tmp_path / "a", (0.3, events.ToolCalled("c", "look", "{}")), (0.5, FINISHED))
    bad = told.told(tmp_path / "b", (0.3, events.ToolCalled("c", "look", "{")), (0.5, FINISHED))
    assert aspects(bad, good) == {"calls": ("look (sent, no JSON object)", "look (sent)")}
