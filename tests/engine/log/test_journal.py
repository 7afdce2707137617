"""A worker process's life is in the event log, from its spawn to its end."""

import itertools
import json
from pathlib import Path
from typing import Any

from engine.log import event_log as eventlog, journal
from engine.log.settings import LogSettings
from machines import events, supervisor
from tests.support.logs import logs


def lives(directory: Path) -> list[list[dict[str, Any]]]:
    """The records of each life, in order."""
    lines = map(json.loads, logs.lines_of(directory))
    by_stream = sorted(lines, key=lambda record: (record["stream"], record["seq"]))
    groups = itertools.groupby(by_stream, key=lambda record: record["stream"])
    found = [list(group) for _, group in groups]
    return sorted(found, key=lambda life: life[0]["t"])


def play(directory: Path, *changes: tuple[str, supervisor.AnyEvent]) -> None:
    ticks = itertools.count(1_000_000, 10)
    event_log = eventlog.EventLog(LogSettings(directory), lambda: next(ticks))
    event_log.open()
    kept = journal.WorkerJournal(event_log)
    for state, event in changes:
        kept.changed("codex-0", state, event)
    event_log.close()


def test_a_killed_process_and_its_successor_have_a_life_each(tmp_path: Path) -> None:
    play(
        tmp_path,
        ("spawning", supervisor.StartAsked()),
        ("handshake", supervisor.Spawned(41)),
        ("ready", supervisor.HandshakeDone("0.163.0")),
        ("backoff", supervisor.Exited(-9)),
        ("spawning", supervisor.BackoffElapsed()),
        ("stopping", supervisor.StopAsked()),
        ("stopped", supervisor.Exited(0)),
    )
    killed, stopped = lives(tmp_path)
    assert [(record["event"], record["state"]) for record in killed] == [
        ("worker_changed", "spawning"),
        ("worker_changed", "handshake"),
        ("worker_changed", "ready"),
        ("worker_changed", "backoff"),
        ("terminal", "backoff"),
    ]
    assert killed[1]["worker"] == "codex-0"
    assert (killed[1]["trigger"], killed[1]["detail"]) == ("spawned", {"pid": 41})
    assert (killed[3]["trigger"], killed[3]["detail"]) == ("exited", {"returncode": -9})
    assert killed[4]["kind"] == "worker_lost"
    assert (stopped[-1]["kind"], stopped[-1]["emission_trigger"]) == ("shutdown", "exited")
    assert [record["seq"] for record in stopped] == [0, 1, 2, 3]


def test_each_record_is_on_file_before_the_next(tmp_path: Path) -> None:
    event_log = eventlog.EventLog(LogSettings(tmp_path), lambda: 1)
    event_log.open()
    kept = journal.WorkerJournal(event_log)
    kept.changed("codex-0", "spawning", supervisor.StartAsked())
    assert len(lives(tmp_path)[0]) == 1
    event_log.close()


def test_what_comes_late_on_a_thread_is_in_the_life_of_its_process(tmp_path: Path) -> None:
    event_log = eventlog.EventLog(LogSettings(tmp_path), lambda: 1)
    event_log.open()
    kept = journal.WorkerJournal(event_log)
    late = events.ThreadChanged("expired", "waiting", "interrupting", 0, "st_1", "t")
    kept.late("codex-0", late)  # before its life, and so nowhere
    kept.changed("codex-0", "spawning", supervisor.StartAsked())
    kept.late("codex-0", late)
    ((_, told),) = lives(tmp_path)
    event_log.close()
    assert (told["event"], told["state"]) == ("thread_changed", "spawning")
    assert (told["late_of"], told["thread_id"]) == ("st_1", "t")


def test_a_process_that_never_was_has_no_life(tmp_path: Path) -> None:
    play(tmp_path, ("stopped", supervisor.StopAsked()))
    assert lives(tmp_path) == []


def test_a_life_has_an_id_while_it_lasts(tmp_path: Path) -> None:
    event_log = eventlog.EventLog(LogSettings(tmp_path), itertools.count(1_000_000, 10).__next__)
    event_log.open()
    kept = journal.WorkerJournal(event_log)
    assert kept.id_of("codex-0") == ""
    kept.changed("codex-0", "spawning", supervisor.StartAsked())
    known = kept.id_of("codex-0")
    kept.changed("codex-0", "backoff", supervisor.Exited(-9))
    assert kept.id_of("codex-0") == ""
    event_log.close()
    assert [life[0]["stream"] for life in lives(tmp_path)] == [known]
