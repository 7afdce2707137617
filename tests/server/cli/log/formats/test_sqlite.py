"""A database is read by SQLite."""

import sqlite3
from contextlib import closing
from pathlib import Path

from server.cli.log.formats import sqlite
from tests.server.cli.log.formats import formatting


def test_its_tables_can_be_asked(tmp_path: Path) -> None:
    path = tmp_path / "log.sqlite"
    found = [formatting.recorded("text-short"), formatting.masked(tmp_path / "log")]
    path.write_bytes(formatting.written(sqlite.write, *found))
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        rows = database.execute("SELECT stream, content, kind FROM streams").fetchall()
        assert rows == [("text-short", "full", "completed"), ("st_m", "masked", "completed")]
        texts = database.execute(
            "SELECT group_concat(text, '') FROM records WHERE stream = 'st_m'"
        ).fetchone()
        assert texts == ("****** *****",)
        joined = database.execute(
            "SELECT s.model, json_extract(r.record, '$.event') FROM streams s"
            " JOIN records r USING (stream) WHERE r.seq = 0 ORDER BY s.opened_us"
        ).fetchall()
        assert [event for _, event in joined] == ["opened", "opened"]


def test_no_streams_make_empty_tables(tmp_path: Path) -> None:
    path = tmp_path / "log.sqlite"
    path.write_bytes(formatting.written(sqlite.write))
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT count(*) FROM records").fetchone() == (0,)
