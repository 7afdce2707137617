"""The records of one stream: each at its time, the same by every way, none behind the last."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from engine.log import event_log as eventlog
from machines import events, outputs
from tests.support.logs import logs


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "log"


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
    event_log = eventlog.EventLog(logs.settings(Path("unused"), content=content), lambda: 7)
    hot, general = event_log.stream("s"), event_log.stream("s")
    hot.append(delta, step)
    general._record(delta, step)
    first, second = event_log._backlog.records
    assert first == second


def test_nothing_follows_a_terminal_record(directory: Path) -> None:
    event_log = logs.open_log(directory)
    stream = logs.begin(event_log, "s")
    stream.close(logs.TERMINAL, "done")
    stream.append(*logs.content("late"))
    stream.close(logs.TERMINAL, "done")
    event_log.close()
    records = logs.streams_of(directory)["s"]
    assert [record.event for record in records] == ["opened", "terminal"]


@pytest.mark.parametrize("content", ["masked", "full", "off"])
@given(texts=st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), min_size=1))
def test_texts_at_once_are_the_records_of_each(
    tmp_path_factory: pytest.TempPathFactory, content: Any, texts: list[str]
) -> None:
    found = []
    for at_once in (False, True):
        directory = tmp_path_factory.mktemp("log")
        event_log = eventlog.EventLog(logs.settings(directory, content=content), lambda: 7)
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
