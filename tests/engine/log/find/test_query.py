"""A query means the same wherever it is written, and a word that cannot be read is named."""

import datetime
from typing import Any

import pytest

from engine.log.find import query
from engine.log.summary import rows

NOON = 1_764_504_000_000_000
"""2025-11-30T12:00:00Z, in microseconds."""

MOMENT = query.Moment(NOON, datetime.UTC)

ROW: dict[str, Any] = {
    "summary": "st_5e1f",
    "at": (1, 2),
    "t": NOON,
    "trigger": "x",
    "kind": "timeout",
    "code": "upstream_timeout",
    "status": 504,
    "request_id": "req_9",
    "completion_id": "chatcmpl-7",
    "endpoint": "chat.completions",
    "model": "codex-5",
    "target": "gpt-5.5",
    "worker": "codex",
    "process": "wk_71d0",
    "key": "CI",
    "duration_us": 3_000_000,
    "longest_gap_us": 1_500_000,
    "longest_gap_owner": "worker",
}


def row(**members: Any) -> rows.Summary:
    return rows.Summary(**{**ROW, **members})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "kind:timeout",
        "kind:completed,timeout",
        "is:failed",
        "code:upstream*",
        "status:504",
        "status:5xx",
        "model:codex-5",
        "model:gpt-5.5",
        "model:CODEX*",
        "key:ci",
        "worker:codex",
        "worker:wk_71",
        "slow:3s",
        "slow:2999ms",
        "gap:1.5s",
        "id:req_9",
        "id:chatcmpl",
        "owner:worker",
        "endpoint:chat.completions",
        "5e1f",
        '"upstream_timeout"',
        "-kind:completed",
        "-req_10",
        "since:11:59:58 until:12:01",
        "around:12:00",
        "since:2025-11-30",
        "since:2025-11-30T11:00 until:2025-11-30T13:00:00+00:00",
        "since:10m",
        "since:1764503990",
        "kind:timeout model:codex-5 slow:2s since:11:00",
    ],
)
def test_a_row_fulfils(text: str) -> None:
    assert query.parse(text, MOMENT).matches(row())


@pytest.mark.parametrize(
    "text",
    [
        "kind:completed",
        "-kind:timeout",
        "is:good",
        "is:open",
        "code:upstream",
        "status:502",
        "status:4xx",
        "model:codex",
        "worker:wk_72",
        "slow:3001ms",
        "gap:2s",
        "id:9",
        "nothing",
        "-5e1f",
        "since:12:00:01",
        "until:11:59:57",
        "around:11:00 within:10m",
        "kind:timeout model:nope",
    ],
)
def test_a_row_does_not_fulfil(text: str) -> None:
    assert not query.parse(text, MOMENT).matches(row())


@pytest.mark.parametrize(
    ("text", "word", "reason"),
    [
        ("kind:timeout slow:fast", "slow:fast", "a time such as 2s"),
        ("since:yesterdayish", "since:yesterdayish", "14:05"),
        ("since:25:00", "since:25:00", "14:05"),
        ("colour:red", "colour:red", "there are "),
        ("is:broken", "is:broken", "failed"),
        ("status:5x", "status:5x", "5xx"),
        ("kind:", "kind:", "no value"),
        ("-slow:2s", "-slow:2s", "negated"),
        ("slow:" + "9" * 400 + "s", "slow:" + "9" * 400 + "s", "2s"),
    ],
)
def test_a_word_that_cannot_be_read_is_named(text: str, word: str, reason: str) -> None:
    with pytest.raises(query.QueryError) as wrong:
        query.parse(text, MOMENT)
    assert wrong.value.word == word
    assert reason in wrong.value.reason


def test_a_time_of_day_is_the_last_one_that_the_log_has() -> None:
    read = query.parse("since:12:30", MOMENT)
    assert read.since_us == NOON - 23.5 * 3600 * query.SECOND
    assert query.parse("since:11:30", MOMENT).since_us == NOON - 1800 * query.SECOND


def test_a_time_of_day_is_of_the_zone_that_is_asked_in() -> None:
    zone = datetime.timezone(datetime.timedelta(hours=2))
    read = query.parse("since:13:30", query.Moment(NOON, zone))
    assert read.since_us == NOON - 1800 * query.SECOND


def test_a_stream_that_lasts_is_there_all_the_time() -> None:
    lasting = row(duration_us=3600 * query.SECOND)
    assert query.parse("around:11:30 within:1m", MOMENT).matches(lasting)
    assert not query.parse("around:10:30 within:1m", MOMENT).matches(lasting)


def test_flags_and_words_make_the_same_query() -> None:
    words = query.parse('kind:timeout slow:2s text:"two words"', MOMENT)
    flags = query.of_terms(
        [("kind", "timeout", ""), ("slow", "2s", ""), ("text", "two words", "")], MOMENT
    )
    assert words == flags
    assert words.texts == ("two words",)


def test_what_was_ended_by_anyone_has_failed() -> None:
    good = {"completed", "open", "process"}
    for kind in (*good, "client_gone", "truncated", "rejected", "timeout"):
        assert query.is_failed(row(kind=kind)) is (kind not in good)
