"""Logs of schema 2 are read for ever: a sample with chain, checkpoint and summaries."""

import shutil
from pathlib import Path

import msgspec
import pytest

from engine.log import replay
from engine.log.format import chain
from engine.log.read import segments
from engine.log.summary import rows
from server import renderers
from tests import test_docs_log_schema
from tests.support.logs import logs

SAMPLE = logs.SCHEMA_1.with_name("schema-2")
"""Three runs of a server on the scripted worker: masked, full and killed, full."""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(SAMPLE, tmp_path / "log"))


def test_the_sample_replays() -> None:
    reading = segments.read(SAMPLE)
    run = replay.Replay(renderers.reply)
    run.run(reading)
    assert reading.problems == []
    assert run.divergence is None, run.divergence
    assert run.tally == replay.Tally(streams=15, full=12, records=418, unfinished=1)


def test_every_line_is_as_the_schema_of_today_has_it() -> None:
    kinds = test_docs_log_schema.check(SAMPLE)
    assert kinds["record_opened"] == kinds["record_terminal"] == 16
    assert kinds["summary"] == 19
    assert kinds["chain_closed"] == 3


def test_a_server_goes_on_with_it(directory: Path) -> None:
    before = {path.name: path.read_bytes() for path in directory.glob("events-*")}
    event_log = logs.open_log(directory)
    logs.write_stream(event_log, "one")
    event_log.close()
    assert "one" in logs.streams_of(directory)
    for name, data in before.items():
        assert (directory / name).read_bytes() == data
    begun = chain.Chain(directory, (directory / chain.CHAIN).read_bytes()).begun
    assert begun == chain.Begun(1, 1)


def test_its_summaries_are_made_of_its_records() -> None:
    """A row of then is a row of today: members that came later have their usual value in it."""
    records = {record.stream: record for record in segments.read(SAMPLE)}
    found = 0
    for path in SAMPLE.glob("*.summary"):
        for line in path.read_bytes().splitlines(keepends=True)[1:-1]:
            row = rows.read(line)
            assert row is not None
            last = records[row.summary]
            assert row.at == (int(last.path.name[7:15]), last.offset)
            assert row.kind == msgspec.json.decode(last.raw).get("kind", rows.REJECTED)
            found += 1
    assert found == 19
