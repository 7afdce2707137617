"""The life of a worker process: its states and its end."""

import itertools
from pathlib import Path

import pytest

from engine.log import event_log as eventlog, journal
from engine.log.find import stories
from engine.log.settings import LogSettings
from engine.log.timeline import fold, timeline
from machines import supervisor
from tests.support.logs import logs

BEGUN: tuple[tuple[str, supervisor.AnyEvent], ...] = (
    ("spawning", supervisor.StartAsked()),
    ("handshake", supervisor.Spawned(41)),
    ("ready", supervisor.HandshakeDone("0.163.0")),
)


def life(directory: Path, *changes: tuple[str, supervisor.AnyEvent]) -> timeline.Timeline:
    """The timeline of a life that was recorded as the server does it."""
    ticks = itertools.count(1_000_000, 1_000_000)
    event_log = eventlog.EventLog(LogSettings(directory), lambda: next(ticks))
    event_log.open()
    kept = journal.WorkerJournal(event_log)
    for state, event in (*BEGUN, *changes):
        kept.changed("codex-0", state, event)
    event_log.flush()
    event_log.close()
    records = logs.streams_of(directory)
    (stream,) = [each for each in records if each.startswith("wk_")]
    return fold.fold(stories.Story(stream, tuple(records[stream])))


@pytest.mark.parametrize(
    ("change", "kind", "party", "words"),
    [
        (("backoff", supervisor.Exited(-9)), "worker_lost", "worker", "killed by signal 9"),
        (("failed", supervisor.Exited(3)), "worker_lost", "worker", "ended with returncode 3"),
        (("stopped", supervisor.Exited(0)), "shutdown", "nobody", "was asked to stop"),
    ],
)
def test_how_it_ended(
    tmp_path: Path, change: tuple[str, supervisor.AnyEvent], kind: str, party: str, words: str
) -> None:
    found = life(tmp_path, change)
    assert (found.ending.kind, found.ending.party) == (kind, party)
    assert words in found.verdict
    assert found.request.worker == "codex-0"


def test_one_that_runs_has_its_states(tmp_path: Path) -> None:
    found = life(tmp_path)
    assert found.ending.kind == "open"
    assert "it is running" in found.verdict
    assert [phase.state for phase in found.phases] == ["spawning", "handshake", "ready"]
    assert found.phases[0].end_us == found.phases[1].start_us > 0
