"""A timeline as lines: silences to scale, and what becomes of a line that is too long."""

from pathlib import Path

from machines import events
from server.cli import printing
from server.cli.log import picture
from tests.support.logs import told

FINISHED = events.TurnFinished("stop")


def drawn(tmp_path: Path, *happened: told.Happened) -> list[str]:
    """The lines of a stream."""
    return [line.text for line in picture.lines(told.told(tmp_path, *happened))]


def test_the_setting_up_of_a_turn_is_one_line(tmp_path: Path) -> None:
    plumbing = [
        (0.1, events.RpcSent("thread/start", 1)),
        (0.1, events.RpcReplied(1)),
        (0.2, events.RpcSent("turn/start", 2)),
        (0.2, events.TurnStarted("th", "tu")),
    ]
    lines = drawn(tmp_path, *plumbing, *told.texts("Hel"), (1.1, FINISHED))
    assert "   0.100 s  worker   4 steps: thread/start, turn/start" in lines


def test_silences_are_to_scale(tmp_path: Path) -> None:
    happened = [*told.texts("a", since=0.01), *told.texts("b", since=6), *told.texts("c", since=9)]
    lines = drawn(tmp_path, *happened, (12, FINISHED))
    assert [line.count("·") for line in lines if "··" in line] == [12, 6, 6]


def test_a_call_is_named_with_its_size_and_fate(tmp_path: Path) -> None:
    called = events.ToolCalled("call_1", "look", '{"a":')
    lines = drawn(tmp_path, (1, called), (2, FINISHED))
    assert "call      look call_1: 5 bytes, is no JSON object, sent" in lines


def test_a_target_that_was_not_asked_has_no_number(tmp_path: Path) -> None:
    happened = [
        (1, events.FallbackSkipped("small", "upstream", "unsupported_parameter")),
        (1, events.FallbackTaken("large", "upstream", "worker_busy")),
    ]
    lines = drawn(tmp_path, *happened, *told.texts("Hel"), (2, FINISHED))
    attempts = [line.split(maxsplit=1)[1] for line in lines if line.startswith("attempt ")]
    assert [each.split(",")[0] for each in attempts] == [
        "1 on codex",
        "skipped on upstream",
        "2 fallback on upstream",
    ]


def test_an_attempt_is_told_with_its_thread(tmp_path: Path) -> None:
    happened = [
        (1, events.ReuseMissed("history_edited")),
        (1, events.ThreadForked("th")),
        (1, events.TurnStarted("th", "tu", process="wk_1")),
    ]
    lines = drawn(tmp_path, *happened, *told.texts("Hel"), (2, FINISHED))
    (attempt,) = [line for line in lines if line.startswith("attempt ")]
    assert "1 (history_edited) on codex wk_1, forked thread, 0.00-2.00 s" in attempt


def test_a_moment_is_spelled_in_utc_or_here() -> None:
    assert picture.moment(1_700_000_000_123_456, is_utc=True) == "2023-11-14 22:13:20.123Z"
    assert picture.moment(1_700_000_000_123_456, is_utc=False)[-5] in "+-"


SENTENCE = "A sentence that goes on in the next line where there is no room."
LONG = "x" * 100


def laid(line: picture.Line, width: int | None) -> list[str]:
    return [each.text for each in picture.laid([line], width)]


def test_a_line_is_cut_only_for_a_terminal() -> None:
    assert laid(picture.Line(LONG), 40) == ["x" * 39 + "…"]
    assert laid(picture.Line(LONG), None) == [LONG]
    assert laid(picture.Line(LONG, form="whole"), 40) == [LONG]


def test_a_sentence_is_folded_and_never_cut() -> None:
    for width in (10, 40, 200, None):
        lines = laid(picture.sentence_of(f"{SENTENCE} {SENTENCE}", indent="  "), width)
        assert max(map(len, lines)) <= min(width or 80, 80)
        assert all(line.startswith("  ") for line in lines)
        assert " ".join(" ".join(lines).split()) == f"{SENTENCE} {SENTENCE}"


def test_a_fold_counts_wide_characters_twice() -> None:
    lines = laid(picture.sentence_of("漢字" * 60), 40)
    assert max(map(printing.columns, lines)) <= 40


def test_of_a_body_that_failed_its_error_is_shown_and_not_the_answer(tmp_path: Path) -> None:
    failed = events.TurnFailed("upstream_error", "upstream_disconnected", "No.")
    end = {"status": 502, "frames": 1, "body_bytes": 122}
    found = told.told(tmp_path, *told.texts("Hello world"), (2, failed), streaming=False, end=end)
    text = " ".join(line.text.strip() for line in picture.laid(picture.lines(found), 80))
    assert "received  502, an error of 122 bytes instead of an answer, 11 characters that" in text
    assert "first after" not in text


def test_a_fact_that_is_longer_than_a_line_is_shown_whole(tmp_path: Path) -> None:
    failed = events.TurnFailed("upstream_error", "upstream_disconnected", "No.")
    end = {"frames": 1234, "body_bytes": 1_234_567}
    found = told.told(tmp_path, *told.texts("Hello" * 400), (2, failed), end=end)
    lines = [line.text for line in picture.laid(picture.lines(found), 80)]
    text = " ".join(line.strip() for line in lines)
    assert "1234 frames, an error the last, 1234567 bytes, first after 1.00 s" in text
    assert max(map(printing.columns, lines)) <= picture.COLUMNS
