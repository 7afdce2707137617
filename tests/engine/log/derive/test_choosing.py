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
