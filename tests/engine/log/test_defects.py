"""Whatever is raised inside the log costs a stream's log at most, and no answer.

A record that cannot be made, or written, or would not be read back is lost, counted and said; the
records of every other stream are on file, and nothing leaves `flush`.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import structlog

from engine.log import backlog, event_log as eventlog
from engine.log.format import sealed
from engine.log.read import segments
from engine.log.write import recovery, writer as segmentwriter
from machines import events, outputs
from tests.support.logs import logs
from tests.support.machines import virtualtime
from tests.support.process import machinetime


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.fixture
def clock() -> logs.Clock:
    return logs.Clock()


def boom(*_: object, **__: object) -> Any:
    raise ValueError("planted")


def defects(said: list[Any]) -> list[str]:
    return [line["boundary"] for line in said if line["event"] == "defect"]


UNENCODABLE = "\ud800"
"""Half of a surrogate pair, which no UTF-8 has."""


def spoil_text(stream: eventlog.StreamLog) -> None:
    stream.append(*logs.content(UNENCODABLE))


def spoil_texts(stream: eventlog.StreamLog) -> None:
    stream.append_texts(0, ["fine", UNENCODABLE])


def spoil_choice(stream: eventlog.StreamLog) -> None:
    stream.append_texts([], ["fine"])  # type: ignore[arg-type] # what is around texts is looked up by it


def spoil_event(stream: eventlog.StreamLog) -> None:
    stream.append(events.RpcReplied(1, UNENCODABLE), outputs.Step("content", ()))


def spoil_outputs(stream: eventlog.StreamLog) -> None:
    stream.append(events.ItemStarted("x"), outputs.Step("content", (object(),)))  # type: ignore[arg-type] # on purpose


def spoil_end(stream: eventlog.StreamLog) -> None:
    stream.close(
        events.Terminal(kind="completed", emission_trigger=UNENCODABLE, status=200), "done"
    )


@pytest.mark.parametrize(
    "spoil",
    [spoil_text, spoil_texts, spoil_choice, spoil_event, spoil_outputs, spoil_end],
    ids=lambda f: f.__name__,
)
def test_a_record_that_cannot_be_made_costs_its_own_stream_s_log(
    directory: Path, spoil: Callable[[eventlog.StreamLog], None]
) -> None:
    event_log = logs.open_log(directory, content="full")
    hit, beside = logs.begin(event_log, "hit"), logs.begin(event_log, "beside")
    hit.append(*logs.content("before"))
    with structlog.testing.capture_logs() as said:
        spoil(hit)
        event_log.flush()
    assert defects(said) == ["record"]
    assert said[0]["stream"] == "hit"
    beside.append(*logs.content("after"))
    hit.append(*logs.content("lost"))
    hit.close(logs.TERMINAL, "done")
    beside.close(logs.TERMINAL, "done")
    event_log.close()
    found = logs.streams_of(directory)
    assert logs.texts(found["hit"]) == ["before"]
    assert logs.texts(found["beside"]) == ["after"]
    assert event_log.counts.records_lost >= 1
    assert [left.stream for left in recovery.recover(directory).recovery.open_streams] == ["hit"]


def test_a_stream_that_never_began_keeps_no_segment(directory: Path) -> None:
    clock = logs.Clock()
    broken = False

    def now() -> int:
        if broken:
            raise ValueError("no time")
        return clock()

    event_log = eventlog.EventLog(logs.settings(directory, segment_bytes=1000), now)
    event_log.open()
    hit = event_log.stream("hit")
    broken = True
    with pytest.raises(ValueError, match="no time"):
        hit.open(logs.opened())
    broken = False
    event_log.stream("forgotten")
    for number in range(5):
        logs.write_stream(event_log, f"beside-{number}")
    event_log.close()
    found = segments.examine(directory)[0].checkpoint
    assert found is not None
    assert found.first == segments.list_segments(directory)[-1].number + 1 > 3
    assert set(logs.streams_of(directory)) == {f"beside-{number}" for number in range(5)}


@pytest.mark.long(usual=("full",))
@pytest.mark.parametrize("content", ["full", "masked"])
def test_what_the_writer_may_write_the_reader_reads(
    directory: Path, monkeypatch: pytest.MonkeyPatch, content: Any
) -> None:
    monkeypatch.setattr(sealed, "LINE_LIMIT", 5000)
    event_log = logs.open_log(directory, content=content)
    beside = logs.begin(event_log, "beside")
    lengths = {}
    for size in range(4700, 5000):
        stream_id = f"s{size}"
        written = logs.begin(event_log, stream_id)
        written.append(*logs.content("x" * size))
        beside.append(*logs.content(str(size)))
        event_log.flush()
        written.close(logs.TERMINAL, "done")
        lengths[stream_id] = size
    event_log.close()
    found = logs.streams_of(directory)
    whole = [name for name in lengths if len(found[name]) == 3]
    assert max(len(line) for line in logs.lines_of(directory)) == 5000
    assert 0 < len(whole) < 300
    assert len(found["beside"]) == 301
    assert all(len(found[name]) == 1 for name in lengths if name not in whole)
    assert event_log.counts.records_lost == 2 * (300 - len(whole))


def test_a_record_that_is_too_large_is_said(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sealed, "LINE_LIMIT", 1000)
    event_log = logs.open_log(directory, content="full")
    hit = logs.begin(event_log, "hit")
    with structlog.testing.capture_logs() as said:
        hit.append(*logs.content("x" * 2000))
        event_log.flush()
    assert [line["event"] for line in said] == ["defect", "event_log_records_lost"]
    assert (said[0]["boundary"], said[0]["stream"]) == ("record", "hit")
    event_log.close()


def test_records_that_are_garbage_are_taken_out_of_their_group(
    directory: Path, clock: logs.Clock
) -> None:
    event_log = logs.open_log(directory, clock)
    first, hit = logs.begin(event_log, "first"), logs.begin(event_log, "hit")
    event_log._backlog.records.append((hit.prefix, 1, None))  # type: ignore[arg-type] # on purpose
    first.append(*logs.content("x"))
    event_log.flush()
    first.close(logs.TERMINAL, "done")
    event_log.close()
    found = logs.streams_of(directory)
    assert {name: len(records) for name, records in found.items()} == {"first": 3, "hit": 1}
    assert event_log.counts.records_lost == 1


@pytest.mark.parametrize("failing", [False, True])
@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (segmentwriter.SegmentWriter, "append"),
        (segmentwriter.SegmentWriter, "check"),
        (segmentwriter.SegmentWriter, "acquire"),
        (segmentwriter.SegmentWriter, "renew"),
        (segmentwriter.SegmentWriter, "rotate"),
        (eventlog.EventLog, "_write"),
        (eventlog.EventLog, "_close_recovered"),
        (backlog.Backlog, "limit"),
        (backlog.Backlog, "drop_unwritable"),
    ],
)
def test_a_log_that_raises_fails_and_comes_back(
    directory: Path,
    clock: logs.Clock,
    monkeypatch: pytest.MonkeyPatch,
    owner: type,
    name: str,
    failing: bool,
) -> None:
    event_log = eventlog.EventLog(logs.settings(directory, segment_bytes=1000), clock)
    if failing:
        directory.write_text("in the way")
    with structlog.testing.capture_logs(), monkeypatch.context() as planted:
        planted.setattr(owner, name, boom)
        if failing:
            event_log.open()
        else:
            with monkeypatch.context() as whole:
                whole.undo()
                planted.undo()
                event_log.open()
            planted.setattr(owner, name, boom)
        for number in range(3):
            logs.write_stream(event_log, f"s{number}")
            clock.advance(2)
    if failing:
        directory.unlink()
    for number in range(3, 6):
        clock.advance(2)
        logs.write_stream(event_log, f"s{number}")
    event_log.close()
    assert len(logs.streams_of(directory)) == 6
    assert event_log.counts.records_lost == 0


def test_a_start_that_raises_is_a_failing_log(
    directory: Path, clock: logs.Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    event_log = eventlog.EventLog(logs.settings(directory), clock)
    with structlog.testing.capture_logs() as said, monkeypatch.context() as planted:
        planted.setattr(recovery, "recover", boom)
        assert event_log.open() == recovery.Recovery()
    assert defects(said) == ["log"]
    logs.write_stream(event_log, "s")
    clock.advance(2)
    event_log.flush()
    event_log.close()
    assert list(logs.streams_of(directory)) == ["s"]


def test_one_callback_of_a_group_that_raises_keeps_none_of_the_others(directory: Path) -> None:
    event_log = logs.open_log(directory, fsync="always")
    called: list[int] = []
    logs.write_stream(event_log, "s")
    with structlog.testing.capture_logs() as said:
        for callback in (lambda: called.append(1), boom, lambda: called.append(2)):
            event_log._writer.when_synced(callback)
        logs.wait_for_chores(event_log)
    assert called == [1, 2]
    assert defects(said) == ["log"]
    event_log.close()


def test_a_sync_that_raises_keeps_no_answer_back(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        event_log = logs.open_log(directory, fsync="always")
        logs.write_stream(event_log, "s")
        done = asyncio.Event()
        with monkeypatch.context() as planted:
            planted.setattr(segmentwriter.SegmentWriter, "_force", boom)
            event_log.when_durable(done.set)
            logs.wait_for_chores(event_log)
        await done.wait()
        event_log.close()

    with structlog.testing.capture_logs() as said:
        asyncio.run(scenario())
    assert "log" in defects(said)


def test_a_sync_that_cannot_be_asked_for_keeps_nobody_waiting(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> list[str]:
        event_log = logs.open_log(directory, fsync="always")
        stream = logs.begin(event_log, "s")
        event_log.flush()
        called: list[str] = []
        with monkeypatch.context() as planted:
            planted.setattr(segmentwriter.SegmentWriter, "later", boom)
            with pytest.raises(ValueError):
                event_log.when_durable(lambda: called.append("refused"))
        stream.append(*logs.content("x"))
        event_log.flush()
        safe = asyncio.Event()
        event_log.when_durable(safe.set)
        async with asyncio.timeout(machinetime.HANG_S):
            await safe.wait()
        event_log.close()
        return called

    assert asyncio.run(scenario()) == []


def test_a_chore_that_raises_is_said_and_the_next_is_done(directory: Path) -> None:
    event_log = logs.open_log(directory)
    with structlog.testing.capture_logs() as said:
        event_log._writer.later(boom)
        logs.wait_for_chores(event_log)
    assert defects(said) == ["log"]
    logs.write_stream(event_log, "s")
    event_log.close()
    assert list(logs.streams_of(directory)) == ["s"]


def test_the_timer_of_a_log_outlives_what_is_raised_in_it(
    directory: Path, clock: logs.Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        event_log = logs.open_log(directory, clock)
        logs.write_stream(event_log, "s")
        with monkeypatch.context() as planted:
            planted.setattr(segmentwriter.SegmentWriter, "check", boom)
            await asyncio.sleep(1.5)
            assert event_log.counts.failures == 1
        await asyncio.sleep(1)
        assert event_log.accepting
        logs.write_stream(event_log, "t")
        event_log.close()

    with structlog.testing.capture_logs() as said:
        virtualtime.run(scenario())
    assert defects(said) == ["log"]
    assert list(logs.streams_of(directory)) == ["s", "t"]


HOUR_S = 3600


@pytest.mark.parametrize("jump", [HOUR_S, -HOUR_S, 24 * HOUR_S * 365, -24 * HOUR_S * 365])
def test_a_clock_that_jumps_changes_no_order_and_deletes_nothing(
    directory: Path, clock: logs.Clock, jump: int
) -> None:
    event_log = logs.open_log(directory, clock, segment_bytes=1000, max_age_s=0, content="full")
    stream = logs.begin(event_log, "long")
    for number in range(30):
        stream.append(*logs.content(str(number)))
        event_log.flush()
        if number == 15:
            clock.advance(jump)
    stream.close(logs.TERMINAL, "done")
    event_log.prune()
    event_log.close()
    assert event_log.counts.failures == 0
    assert logs.texts(logs.streams_of(directory)["long"]) == [str(each) for each in range(30)]


def block(directory: Path) -> None:
    directory.write_text("in the way")


def unblock(directory: Path) -> None:
    directory.unlink()


@pytest.mark.parametrize("jump", [HOUR_S, -HOUR_S])
def test_a_failing_log_is_tried_again_whatever_its_clock_does(
    directory: Path, clock: logs.Clock, jump: int
) -> None:
    async def scenario() -> None:
        block(directory)
        event_log = logs.open_log(directory, clock, on_error="refuse")
        logs.write_stream(event_log, "s")
        unblock(directory)
        clock.advance(jump)
        await asyncio.sleep(1.5)
        assert event_log.accepting
        event_log.close()

    virtualtime.run(scenario())
    assert list(logs.streams_of(directory)) == ["s"]
