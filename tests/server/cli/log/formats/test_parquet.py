"""A Parquet file is read by DuckDB, which is not what wrote it."""

import sys
from pathlib import Path

import duckdb
import pytest

from server.cli.log.formats import parquet
from server.config import load as configuration
from tests.server.cli.log.formats import formatting


def test_it_can_be_asked(tmp_path: Path) -> None:
    path = tmp_path / "log.parquet"
    story = formatting.masked(tmp_path / "log")
    path.write_bytes(formatting.written(parquet.write, formatting.recorded("text-short"), story))
    with duckdb.connect() as database:
        streams = database.execute(
            "SELECT stream, content, kind, count(*), max(seq) FROM read_parquet(?)"
            " GROUP BY ALL ORDER BY stream",
            [str(path)],
        ).fetchall()
        texts = database.execute(
            "SELECT string_agg(text, '' ORDER BY seq) FROM read_parquet(?) WHERE stream = 'st_m'",
            [str(path)],
        ).fetchone()
    count = len(story.records)
    assert streams[0] == ("st_m", "masked", "completed", count, count - 1)
    assert streams[1][:3] == ("text-short", "full", "completed")
    assert texts == ("****** *****",)


def test_no_streams_make_an_empty_table(tmp_path: Path) -> None:
    path = tmp_path / "log.parquet"
    path.write_bytes(formatting.written(parquet.write))
    with duckdb.connect() as database:
        found = database.execute("SELECT count(*) FROM read_parquet(?)", [str(path)]).fetchone()
    assert found == (0,)


def test_without_the_extra_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(configuration.ConfigError, match=r"turntape\[parquet\]"):
        formatting.written(parquet.write)
