"""Row 39 of the fault matrix: the event log's disk is full, read-only, or gone.

The disk of a running server is full when `RLIMIT_FSIZE` says so: every write to a file fails, and
those to sockets and pipes do not.
"""

import resource
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench import standin
from engine.log.read import segments
from tests.faults import codexstage, expected, scene, watched
from tests.faults.codexstage import StandIn
from tests.support.logs import serverlog
from tests.support.process import machinetime

FAILING = ("event_log_failing",)

LIVE = segments.segment_name(1)
"""The file that the log is written to at first."""

NO_ROOM = (0, resource.RLIM_INFINITY)

ROOM = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)

READ_ONLY = "/sys"
"""A directory in which nobody can make a file."""

SCENARIO = standin.Scenario(turn=standin.Turn(deltas=8, interval=0.02))

TOKENS = (
    expected.role() + expected.content(*["token "] * 8) + expected.finish("stop") + expected.DONE
)
"""The stream of every turn here."""


def set_room(on: StandIn, room: tuple[int, int]) -> None:
    """Say how large a file of the server's may become."""
    resource.prlimit(on.stage.server.process.pid, resource.RLIMIT_FSIZE, room)


def recover(on: StandIn) -> None:
    """Give the disk room again, and wait until the log is written."""
    set_room(on, ROOM)

    def has_recovered() -> bool:
        on.stage.ask(scene.PLAIN)
        return bool(on.said("event_log_recovered"))

    machinetime.until(has_recovered, 3 * scene.SECOND)


def what_is_there(on: StandIn) -> list[segments.Record]:
    """The records on file, nothing of which is half a record."""
    reading = segments.read(on.stage.server.log_dir)
    records = list(reading)
    assert reading.problems == []
    return records


@pytest.fixture(params=["continue", "refuse"])
def policy(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def on(policy: str) -> Iterator[StandIn]:
    with codexstage.stand_in(SCENARIO, said=FAILING, PROXY_LOG_ON_ERROR=policy) as up:
        yield up


@pytest.mark.long(usual=("continue",))
def test_row_39_a_full_disk_stops_no_stream_and_loses_no_record(on: StandIn, policy: str) -> None:
    with on.stage.asked(scene.PLAIN, stream=True) as live:
        live.until(b"token ")
        half_a_record = on.stage.server.log_dir.joinpath(LIVE).stat().st_size + 50
        set_room(on, (half_a_record, resource.RLIM_INFINITY))
        machinetime.until(lambda: bool(on.said(*FAILING)))
        set_room(on, NO_ROOM)  # before it is tried again, a second later, in a new segment
        during = live.answer()
    assert during.body == TOKENS
    terminals = [record for record in what_is_there(on) if record.event == "terminal"]
    assert len(terminals) == 1  # of the plain stream that the server was asked for at its start

    with machinetime.within(scene.SECOND):
        beside = on.stage.ask(scene.PLAIN, stream=True)
    ready = on.stage.server.get("/readyz")[0]
    if policy == "continue":
        assert (beside.body, ready) == (TOKENS, 200)
    else:
        assert (beside.status, beside.error["code"], ready) == (503, "worker_not_ready", 503)
        assert beside.headers["retry-after"] == "1"
        assert beside.error["message"] == "The event log cannot be written."

    recover(on)
    answers = [during, beside] if policy == "continue" else [during]
    on.stage.survived("completed", None, *answers)
    what_is_there(on)


@pytest.mark.long(usual=("continue",))
def test_row_39_a_directory_that_vanishes_is_made_anew(on: StandIn, policy: str) -> None:
    with on.stage.asked(scene.PLAIN, stream=True) as live:
        live.until(b"token ")
        shutil.rmtree(on.stage.server.log_dir)
        assert live.answer().body == TOKENS
    recover(on)
    on.stage.released()
    after = on.stage.ask(scene.PLAIN, stream=True)
    assert after.body == TOKENS
    # The hash's key was in the directory; each stream's first record has it, too.
    last = serverlog.terminal(on.stage.server, after.request_id)
    assert (last.kind, last.code) == ("completed", None)
    # What is left of a stream whose beginning has gone is never taken for a stream.
    assert on.stage.story(live) == []
    assert what_is_there(on)


@pytest.mark.parametrize(("policy", "status"), [("continue", 200), ("refuse", 503)])
def test_row_39_a_read_only_directory_is_a_matter_of_policy(
    tmp_path: Path, policy: str, status: int
) -> None:
    settings = {
        "CODEX_BIN": str(standin.install(tmp_path, SCENARIO)),
        "PROXY_LOG_DIR": READ_ONLY,
        "PROXY_LOG_ON_ERROR": policy,
    }
    server = watched.ObservedServe(tmp_path / "data", (), settings)
    try:
        machinetime.until(
            lambda: any(line.get("worker_state") == "ready" for line in server.lines)
        )
        assert server.get("/readyz")[0] == status
        with scene.Asked(server, scene.PLAIN, stream=True) as asked:
            answer = asked.answer()
        assert answer.status == status
        if status == 200:
            assert answer.body == TOKENS
        else:
            assert answer.error["code"] == "worker_not_ready"
        assert server.stop() == 0
        ours = [line for line in server.lines if line.get("component") != "access"]
        complaints = [line["event"] for line in ours if line.get("severity") == "error"]
        assert complaints[0] == "event_log_failing"
        assert set(complaints) <= {
            *("event_log_failing", "event_log_records_lost", "summaries_failing"),
        }
    finally:
        server.stop(signal.SIGKILL)
