"""Every reader is shown every request that has ended, whatever another one raises."""

from pathlib import Path
from typing import Any

import pytest
import structlog

from engine.log import event_log as eventlog
from engine.log.settings import LogSettings
from server.access import sampling
from server.access.entry import Entry
from server.access.log import AccessLog
from server.access.strangers import WHOLE
from server.http.errors import ApiError
from tests.support.machines import virtualtime


class Reader:
    """Keeps what it is shown; one that is broken raises at once."""

    def __init__(self, broken: bool = False) -> None:
        self.shown: list[tuple[str, int]] = []
        self._broken = broken

    def request_ended(self, entry: Entry, count: int) -> None:
        if self._broken:
            raise RuntimeError("planted")
        self.shown.append((entry.request_id, count))

    def background_ended(self, entry: Entry) -> None:
        raise AssertionError("nothing is made in the background here")


def scene(readers: tuple[Reader, ...], refusals: int) -> list[dict[str, Any]]:
    """The lines of so many requests of one stranger that are refused."""

    async def play() -> None:
        log = eventlog.EventLog(LogSettings(Path("/nowhere"), "off"), lambda: 0)
        access = AccessLog(log, (), 0, readers)
        for number in range(refusals):
            access.refuse(ApiError("invalid_json", "no"), None, "192.0.2.1", f"r{number}")
        access.close()

    with structlog.testing.capture_logs() as lines:
        virtualtime.run(play())
    return [dict(line) for line in lines]


def test_a_reader_that_fails_stops_no_other() -> None:
    before, after = Reader(), Reader()
    lines = scene((before, Reader(broken=True), after), 1)
    assert before.shown == after.shown == [("r0", 1)]
    (defect,) = (line for line in lines if line["event"] == "defect")
    assert (defect["boundary"], defect["req_id"]) == ("projection", "r0")


def test_a_line_that_cannot_be_made_is_counted_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def raising(*_: object) -> int:
        raise RuntimeError("planted")

    monkeypatch.setattr(sampling.Sampler, "rate_of", raising)
    reader = Reader()
    lines = scene((reader,), 1)
    assert reader.shown == [("r0", 1)]
    (defect,) = lines
    assert (defect["boundary"], defect["req_id"]) == ("access", "r0")


def test_refusals_that_share_a_line_are_counted() -> None:
    reader = Reader()
    scene((reader,), WHOLE + 5)
    assert sum(count for _, count in reader.shown) == WHOLE + 5
