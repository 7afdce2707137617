"""What the page is told of a log."""

from pathlib import Path

import pytest

from engine.log.find import query
from engine.log.timeline import timeline
from server.ui import view
from tests.support.logs import gallery, summaries


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> view.View:
    directory = tmp_path_factory.mktemp("log")
    gallery.mixed(directory, 40)
    return view.View(directory)


def test_pages_together_are_all_rows_once(log: view.View) -> None:
    whole = [row.summary for row in log.rows("", "", 1000).rows]
    found: list[str] = []
    before: str | None = ""
    while before is not None:
        page = log.rows("", before, 7)
        found += [row.summary for row in page.rows]
        before = page.before
    assert found == whole
    assert len(set(found)) == len(found) >= 40


def test_a_filter_narrows_the_rows(log: view.View) -> None:
    failed = log.rows("is:failed", "", 1000)
    assert 0 < len(failed.rows) < failed.newest
    assert {row.kind for row in failed.rows}.isdisjoint({"completed"})
    with pytest.raises(query.QueryError):
        log.rows("nonsense:1", "", 10)


def test_a_text_is_looked_for_in_the_streams(log: view.View) -> None:
    called = log.rows("text:Bergen", "", 1000).rows
    assert called
    assert {row.finish_reasons for row in called} == {("tool_calls",)}
    assert log.rows("text:Bergen is:failed", "", 1000).rows == []


def test_a_stream_is_told_in_full(log: view.View) -> None:
    row = next(row for row in log.rows("code:idle_timeout", "", 10).rows)
    assert log.timeline(row.summary).ending.code == "idle_timeout"
    assert b'"event":"opened"' in bytes(log.records(row.summary)[0])
    assert log.seen(row.summary).proof == "same"


def test_a_summary_that_lies_is_not_shown(tmp_path: Path) -> None:
    gallery.mixed(tmp_path, 12, **summaries.KEPT)
    wanted = view.View(tmp_path).rows("", "", 1000).rows
    summaries.forge(tmp_path, lambda row: {**row, "kind": "empty", "key": "eve", "status": 599})
    assert view.View(tmp_path).rows("", "", 1000).rows == wanted
    assert view.View(tmp_path).rows("kind:empty", "", 1000).rows == [
        row for row in wanted if row.kind == "empty"
    ]
    looked = view.View(tmp_path)
    assert looked.timeline(wanted[0].summary) == view.View(tmp_path).timeline(wanted[0].summary)


def test_sparks_show_where_a_silence_was(log: view.View) -> None:
    row = next(row for row in log.rows("code:idle_timeout", "", 10).rows)
    sparks = log.sparks([row.summary, "st_gone"])
    assert list(sparks) == [row.summary]
    spark = sparks[row.summary]
    assert len(spark) == view.SPARKS
    assert spark[-1] == max(spark) > 29_000_000
    assert spark[0] < spark[-1]


def test_a_silence_before_the_stream_has_no_column() -> None:
    told = timeline.Timeline(
        request=timeline.Request(stream="st_1"),
        ending=timeline.Ending(kind="completed", at_us=3200),
        received=timeline.Received(status=200, whole=True),
        verdict="",
        gaps=(timeline.Gap(-500, 0, "parked", -1), timeline.Gap(0, 100, "worker", 0)),
    )
    assert view.spark(told) == [100, *([0] * (view.SPARKS - 1))]
