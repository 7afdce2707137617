"""Streams and records become rows."""

from pathlib import Path

import msgspec

from server.cli.log.formats import tables
from tests.server.cli.log.formats import formatting


def test_a_stream_is_a_row() -> None:
    (row,) = tables.streams([formatting.recorded("rate-limit")])
    assert row.stream == "rate-limit"
    assert (row.kind, row.code) == ("upstream_error", "rate_limit_exceeded")
    assert row.verdict


def test_a_record_is_a_row_with_its_line(tmp_path: Path) -> None:
    story = formatting.masked(tmp_path)
    rows = list(tables.records([story]))
    assert [row.seq for row in rows] == list(range(len(rows)))
    assert [row.text for row in rows if row.event == "text_delta"] == ["****** ", "*****"]
    assert rows[0].text is None
    assert all(msgspec.json.decode(row.record)["seq"] == row.seq for row in rows)
    assert rows[1].out == "head role content"


def test_a_column_is_a_number_or_a_text() -> None:
    kinds = dict(tables.columns(tables.StreamRow))
    assert kinds["opened_us"] is int
    assert kinds["first_us"] is int
    assert kinds["code"] is str
    assert len(kinds) == len(tables.values(next(tables.streams([formatting.recorded("empty")]))))
