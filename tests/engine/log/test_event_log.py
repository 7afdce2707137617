"""The event log: what is in a record, what is kept of a content, how much is kept in all."""

import time
import typing
import zlib
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings, strategies as st

from engine.log import event_log as log
from engine.log.read import segments
from engine.log.write import recovery
from machines import events, outputs
from tests.support.logs import logs

DAY_S = 86_400


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.fixture
def clock() -> logs.Clock:
    return logs.Clock()


EXPECTED = """\
{"stream":"c-1","seq":0,"seg":0,"t":1700000000000001,"event":"opened",\
"request_id":"req-1","completion_id":"chatcmpl-1","created":1700000000,\
"model":"gpt-5.5","target":"gpt-5.5","worker":"scripted","schema":2,"request":{"a":1},\
"state":"held","out":[]
{"stream":"c-1","seq":1,"seg":1,"t":1700000000000001,"event":"text_delta",\
"text":"a \\"b\\"\\n","choice":1,"state":"content","out":["content"]
{"stream":"c-1","seq":2,"seg":2,"t":1700000000000001,"event":"text_delta","text":"xyz",\
"state":"finish","out":["content","cancel_turn","finish"],"released":1,"cut":"stop"
{"stream":"c-1","seq":3,"seg":3,"t":1700000000000001,"event":"tokens_counted",\
"usage":{"prompt_tokens":1,"completion_tokens":2},"state":"done","out":["done"]
{"stream":"c-1","seq":4,"seg":4,"t":1700000000000001,"event":"terminal",\
"kind":"completed","emission_trigger":"turn_finished","status":200,"state":"done","out":[]"""
"""The lines of the test below, each without its checksum."""


def test_a_record_is_one_line_of_json_in_the_promised_order(directory: Path) -> None:
    event_log = log.EventLog(
        logs.settings(directory, content="full"), lambda: 1_700_000_000_000_001
    )
    event_log.open()
    stream = event_log.stream("c-1")
    stream.open(logs.opened(request=msgspec.Raw(b'{"a":1}')))
    delta = events.TextDelta('a "b"\n', 1)
    stream.append(delta, outputs.Step("content", (outputs.Content('a "b"\n', 1),)))
    said = (outputs.Content("x"), outputs.CancelTurn(), outputs.Finish("stop"))
    decision = outputs.Decision(1, "stop")
    stream.append(events.TextDelta("xyz"), outputs.Step("finish", said, decision))
    stream.append(
        events.TokensCounted(events.Usage(1, 2)), outputs.Step("done", (outputs.Done(),))
    )
    stream.close(logs.TERMINAL, "done")
    event_log.flush()
    bodies = []
    for line in logs.lines_of(directory):
        body, crc = line.rsplit(b',"crc":', 1)
        assert crc == b'"%08x"}\n' % zlib.crc32(body)
        bodies.append(body.decode())
    assert "\n".join(bodies) == EXPECTED


def test_no_event_has_a_field_by_a_name_of_the_records_own() -> None:
    own = {"stream", "seq", "seg", "t", "event", "state", "out", "crc"}
    own |= {*outputs.Decision.__struct_fields__}
    for kind in typing.get_args(segments.LoggedEvent):
        assert not own & set(kind.__struct_fields__)


def test_every_method_of_a_stream_gives_the_time_in_its_record(directory: Path) -> None:
    event_log = logs.open_log(directory)
    stream = event_log.stream("s")
    times = [
        stream.open(logs.opened()),
        stream.append(*logs.content("x")),
        stream.append(events.TimerFired("idle"), outputs.Step("content", ())),
        stream.close(logs.TERMINAL, "done"),
    ]
    event_log.flush()
    assert [record.t for record in logs.streams_of(directory)["s"]] == times
    assert len(set(times)) == 4


deltas = st.builds(
    lambda kind, text, choice: kind(text, choice),
    st.sampled_from([events.TextDelta, events.ReasoningDelta]),
    st.text(),
    st.integers(0, 3),
)
steps = st.builds(
    outputs.Step,
    st.sampled_from(["held", "content", "tool_buffering", "finish"]),
    st.sampled_from([outputs.Content("x", 1), outputs.Reasoning("y"), outputs.Keepalive()]).map(
        lambda output: (output,)
    ),
    st.none() | st.builds(outputs.Decision, st.integers(0), st.sampled_from([None, "stop"])),
)


@pytest.mark.parametrize("content", ["masked", "full"])
@settings(deadline=None)
@given(delta=deltas, step=steps)
def test_the_hot_path_records_what_the_general_one_does(
    content: Any, delta: events.TextDelta, step: outputs.Step
) -> None:
    event_log = log.EventLog(logs.settings(Path("unused"), content=content), lambda: 7)
    hot, general = event_log.stream("s"), event_log.stream("s")
    hot.append(delta, step)
    general._record(delta, step)
    first, second = event_log._backlog.records
    assert first == second


def test_a_masked_log_holds_no_word_and_a_full_one_every_word(tmp_path: Path) -> None:
    for content, held in (("masked", False), ("full", True)):
        directory = tmp_path / content
        event_log = logs.open_log(directory, content=content)
        stream = event_log.stream("s")
        stream.open(logs.opened(stop=("Geheim",)))
        stream.append(*logs.content("Geheim"))
        stream.append(events.ReasoningDelta("Geheim"), outputs.Step("content", ()))
        failure = events.TurnFailed("upstream_error", "upstream_error", "Geheim")
        stream.append(failure, outputs.Step("failed", (outputs.Failure("x", "Geheim"),)))
        event_log.close()
        records = logs.streams_of(directory)["s"]
        assert [b"Geheim" in record.raw for record in records] == [held] * 4
        opened = records[0].load()
        assert isinstance(opened, events.Opened)
        assert opened.content == content
        assert logs.texts(records) == ["Geheim" if held else "******"]


def test_off_keeps_nothing_and_needs_no_directory(directory: Path, clock: logs.Clock) -> None:
    event_log = log.EventLog(logs.settings(directory, content="off"), clock)
    assert event_log.open() == recovery.Recovery()
    stream = event_log.stream("s")
    times = [stream.open(logs.opened()), stream.append(*logs.content("x"))]
    times.append(stream.close(logs.TERMINAL, "done"))
    event_log.flush()
    assert event_log.accepting
    event_log.prune()
    event_log.close()
    assert times == sorted(times)
    assert not directory.exists()


def test_nothing_follows_a_terminal_record(directory: Path) -> None:
    event_log = logs.open_log(directory)
    stream = logs.begin(event_log, "s")
    stream.close(logs.TERMINAL, "done")
    stream.append(*logs.content("late"))
    stream.close(logs.TERMINAL, "done")
    event_log.close()
    records = logs.streams_of(directory)["s"]
    assert [record.event for record in records] == ["opened", "terminal"]


def test_all_segments_together_stay_below_the_limit(directory: Path) -> None:
    event_log = logs.open_log(directory, segment_bytes=10_000, max_bytes=50_000)
    for number in range(200):
        logs.write_stream(event_log, f"s{number}", deltas=8)
    event_log.close()
    full = segments.list_segments(directory)
    assert sum(segment.size for segment in full) <= 50_000
    logs.open_log(directory, segment_bytes=10_000, max_bytes=50_000).close()
    found = segments.list_segments(directory)
    assert 20_000 < sum(segment.size for segment in found) <= 50_000 - 10_000
    assert event_log.counts.segments_pruned == full[0].number - 1
    assert event_log.counts.bytes_pruned > 100_000
    reading = segments.read(directory)
    assert max(int(record.stream[1:]) for record in reading) == 199
    assert reading.problems == []


def test_a_segment_too_old_is_left_and_later_deleted(directory: Path) -> None:
    clock = logs.Clock(time.time_ns() // 1000)
    event_log = logs.open_log(directory, clock, max_age_s=8 * DAY_S)
    logs.write_stream(event_log, "old")
    clock.advance(0.9 * DAY_S)
    logs.write_stream(event_log, "older than a moment")
    assert len(segments.list_segments(directory)) == 1
    clock.advance(0.2 * DAY_S)
    logs.write_stream(event_log, "a day later")
    assert len(segments.list_segments(directory)) == 2
    clock.advance(8 * DAY_S)
    event_log.prune()
    event_log.close()
    assert event_log.counts.segments_pruned == 2
    assert logs.lines_of(directory) == []


def test_no_limits_delete_nothing(directory: Path, clock: logs.Clock) -> None:
    event_log = logs.open_log(directory, clock, segment_bytes=1000, max_bytes=0, max_age_s=0)
    for number in range(20):
        logs.write_stream(event_log, f"s{number}")
        clock.advance(100 * DAY_S)
    event_log.prune()
    event_log.close()
    assert len(logs.streams_of(directory)) == 20


@pytest.mark.parametrize("content", ["masked", "full", "off"])
@given(texts=st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), min_size=1))
def test_texts_at_once_are_the_records_of_each(
    tmp_path_factory: pytest.TempPathFactory, content: Any, texts: list[str]
) -> None:
    found = []
    for at_once in (False, True):
        directory = tmp_path_factory.mktemp("log")
        event_log = log.EventLog(logs.settings(directory, content=content), lambda: 7)
        event_log.open()
        stream = event_log.stream("c-1")
        stream.open(logs.opened())
        if at_once:
            stream.append_texts(1, texts)
        for text in () if at_once else texts:
            output = outputs.Content(text, 1)
            stream.append(events.TextDelta(text, 1), outputs.Step("content", (output,)))
        stream.close(logs.TERMINAL, "done")
        event_log.close()
        found.append(logs.lines_of(directory) if content != "off" else [*directory.iterdir()])
    assert found[0] == found[1]
    assert bool(found[0]) is (content != "off")
