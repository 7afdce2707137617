"""Streams are chosen by their key and by when they ended, with what was kept of them."""

from pathlib import Path

import pytest

from engine.log.derive import choosing, purging
from machines import events
from tests.engine.log.derive import logsforderiving as deriving
from tests.support.logs import logs, summaries


@pytest.fixture
def log(tmp_path: Path) -> Path:
    deriving.write(tmp_path / "log", **deriving.SUMMARIZED)
    return tmp_path / "log"


def test_by_key(log: Path) -> None:
    assert choosing.of_key(log, "alpha").streams == {"st_0000", "st_0002", "st_0004"}
    assert choosing.of_key(log, "").streams == set()


def test_by_the_time_of_their_end(log: Path) -> None:
    ended = {row.summary: row.t for row in summaries.rows_of(log)}
    assert choosing.before(log, ended["st_0002"]).streams == {"st_0000", "st_0001"}
    purging.purge(log, ["st_0000"], 1, lambda _done, _of: None)
    assert "st_0000" not in choosing.of_key(log, "alpha").streams
    # Its end is known from what its last stub keeps, so that what was begun can be ended.
    assert choosing.before(log, ended["st_0002"]).streams == {"st_0000", "st_0001"}


def test_what_a_stopped_purge_left_of_a_key_is_found_by_it_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three were open at once, so that in the first segment the later beginnings have moved."""
    log = tmp_path / "together"
    streams = {*deriving.write_together(log, ["alpha"] * 3)}
    was = {row.summary: row for row in summaries.rows_of(log)}
    assert {row.begun and row.begun[0] for row in was.values()} == {1}
    assert 1 not in {row.at[0] for row in was.values()}
    with monkeypatch.context() as patched:
        deriving.stop_before(patched, 1)
        with pytest.raises(OSError, match="No space"):
            purging.purge(log, streams, 77, lambda _done, _of: None)
    again = choosing.of_key(log, "alpha").streams
    assert again == streams
    assert purging.plan(log, again, is_written=False).streams == streams
    purging.purge(log, again, 78, lambda _done, _of: None)
    assert not any(deriving.WORD.encode() in path.read_bytes() for path in log.glob("*.jsonl"))
    for row in summaries.rows_of(log):
        assert (row.purged, row.key) == (78, "alpha")
        assert (row.model, row.endpoint) == (was[row.summary].model, was[row.summary].endpoint)
    assert choosing.of_key(log, "alpha").streams == set()


def test_refusals_and_responses_that_were_kept(tmp_path: Path) -> None:
    event_log = logs.open_log(tmp_path / "log")
    stream = event_log.stream("st_kept")
    stream.open(
        logs.opened(completion_id="resp_1", endpoint=events.RESPONSES, stored=True, key="alpha")
    )
    stream.close(logs.TERMINAL, "done")
    refused = events.RequestRejected(request_id="r", code="c", status=429, key="alpha")
    event_log.stream("rj_1").close(refused, "refused")
    event_log.flush()
    event_log.close()
    chosen = choosing.of_key(tmp_path / "log", "alpha")
    assert chosen.streams == {"st_kept", "rj_1"}
    assert chosen.responses == {"st_kept": ("resp_1", "alpha")}
    assert choosing.before(tmp_path / "log", 1 << 60) == chosen
    assert choosing.of_stories([deriving.story(tmp_path / "log", "st_kept")]).responses
