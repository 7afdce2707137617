"""What waits for the log is lost by whole ends of streams, and only past the limit."""

from pathlib import Path

import pytest
import structlog

from engine.log import backlog, streamlog
from engine.log.settings import LogCounts
from tests.support.logs import logs


@pytest.fixture
def counts() -> LogCounts:
    return LogCounts()


@pytest.fixture
def waiting(counts: LogCounts) -> backlog.Backlog:
    return backlog.Backlog(logs.settings(Path("unused"), content="full"), logs.Clock(), counts)


def begin(waiting: backlog.Backlog, stream_id: str, first_segment: int = 1) -> streamlog.StreamLog:
    stream = waiting.stream(stream_id, first_segment)
    stream.open(logs.opened())
    return stream


def names(waiting: backlog.Backlog) -> list[str]:
    """The streams of the records that wait, in their order."""
    return [prefix.split(b'"')[3].decode() for prefix, _, _ in waiting.records]


def test_a_stream_is_open_from_its_first_record_to_its_last(waiting: backlog.Backlog) -> None:
    waiting.stream("silent", 1)
    early, late = begin(waiting, "early", 3), begin(waiting, "late", 5)
    assert waiting.stream_ids() == {"early", "late"}
    assert waiting.first_segment(9) == 3
    early.close(logs.TERMINAL, "done")
    assert waiting.first_segment(9) == 5
    late.close(logs.TERMINAL, "done")
    assert waiting.stream_ids() == set()
    assert waiting.first_segment(9) == 9
    assert names(waiting) == ["early", "late", "early", "late"]


def test_past_the_limit_all_that_waits_is_lost_and_the_rest_of_its_streams(
    waiting: backlog.Backlog, counts: LogCounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backlog, "BACKLOG_BYTES", 3000)
    cut = begin(waiting, "cut")
    whole = begin(waiting, "whole")
    waiting.records.clear()  # as if they had been written
    cut.append(*logs.content("x" * 2000))
    waiting.limit()
    waiting.limit()  # what was weighed is not weighed again
    assert names(waiting) == ["cut"]
    cut.append(*logs.content("x" * 2000))
    with structlog.testing.capture_logs() as said:
        waiting.limit()
    assert said == [
        {
            "component": "event_log",
            "event": "event_log_records_lost",
            "log_level": "error",
            "count": 2,
        }
    ]
    cut.append(*logs.content("more"))
    whole.append(*logs.content("more"))
    assert names(waiting) == ["whole"]
    assert waiting.stream_ids() == {"whole"}
    assert counts.records_lost == 3


def test_what_was_taken_out_weighs_no_more(
    waiting: backlog.Backlog, counts: LogCounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backlog, "BACKLOG_BYTES", 3000)
    stream = begin(waiting, "s")
    for texts in (["x" * 2500], ["x" * 500] * 3):
        waiting.records.clear()
        waiting.weigh_anew()
        for text in texts:
            stream.append(*logs.content(text))
        waiting.limit()
    assert len(waiting.records) == 3
    assert counts.records_lost == 0


def test_what_cannot_be_written_costs_the_rest_of_its_stream(
    waiting: backlog.Backlog, counts: LogCounts
) -> None:
    hit, other = begin(waiting, "hit"), begin(waiting, "other")
    assert not waiting.drop_unwritable(ValueError("none of them is"))
    waiting.records.append((hit.prefix, 1, None))  # type: ignore[arg-type] # on purpose
    hit.append(*logs.content("x"))
    other.append(*logs.content("x"))
    with structlog.testing.capture_logs() as said:
        assert waiting.drop_unwritable(ValueError("planted"))
    assert [(line["event"], line.get("stream")) for line in said] == [
        ("defect", "hit"),
        ("event_log_records_lost", None),
    ]
    assert names(waiting) == ["hit", "other", "other"]
    assert waiting.stream_ids() == {"other"}
    assert counts.records_lost == 2


def test_who_gives_up_loses_what_waits_and_what_comes(
    waiting: backlog.Backlog, counts: LogCounts
) -> None:
    streams = begin(waiting, "waits"), begin(waiting, "idle")
    waiting.records.clear()
    streams[0].append(*logs.content("x"))
    waiting.give_up()
    for stream in streams:
        stream.append(*logs.content("y"))
    assert waiting.records == []
    assert waiting.stream_ids() == set()
    assert counts.records_lost == 3
