"""The life of the process that ran a stream, and the streams that one ran."""

import itertools
from pathlib import Path

import msgspec

from engine.log import event_log as eventlog, journal
from engine.log.find import stories
from engine.log.settings import LogSettings
from engine.log.timeline import fold
from machines import events, outputs, supervisor
from server.cli.log import processes
from tests.support.logs import logs


def test_the_life_of_its_process_is_found(tmp_path: Path) -> None:
    ticks = itertools.count(1_000_000, 10)
    event_log = eventlog.EventLog(LogSettings(tmp_path), lambda: next(ticks))
    event_log.open()
    kept = journal.WorkerJournal(event_log)
    kept.changed("codex-0", "spawning", supervisor.StartAsked())
    life = kept.id_of("codex-0")
    stream = logs.begin(event_log, "st_1")
    stream.append(events.TurnStarted("th", "tu", process=life), outputs.Step("held", ()))
    stream.close(msgspec.structs.replace(logs.TERMINAL, process=life), "done")
    event_log.flush()
    event_log.close()
    story = stories.story(tmp_path, "st_1")
    found = processes.life(tmp_path, story)
    assert found is not None
    assert found.stream == life
    (ran,) = processes.ran(tmp_path, fold.fold(found))
    assert (ran.stream, ran.kind) == ("st_1", "completed")
    assert processes.ran(tmp_path, fold.fold(story)) == ()
    assert processes.life(tmp_path, stories.Story("st_2", ())) is None
