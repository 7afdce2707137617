"""Whatever is in an event or in a segment, it is masked, and read or located."""

import contextlib
import json
import random
import tempfile
from pathlib import Path
from typing import Any, get_args

import msgspec
import structlog.testing
from hypothesis import given, settings, strategies as st

from engine.log import event_log as eventlog, replay
from engine.log.content import mask
from engine.log.format import sealed
from engine.log.read import segments
from machines import events
from server import renderers
from tests.fuzz import inputs
from tests.support.logs import logs

RAW = inputs.JSON.map(lambda value: msgspec.Raw(json.dumps({"a": value}).encode()))
"""Further members of an answer, which an event has as they came."""

st.register_type_strategy(msgspec.Raw, RAW)


@inputs.MANY
@given(
    st.one_of(
        *(
            st.from_type(kind)
            for kind in get_args(segments.LoggedEvent)
            if kind is not events.Opened
        )
    )
)
def test_any_event_can_be_masked_and_stays_one(event: Any) -> None:
    masked: Any = mask.mask_event(event)
    assert type(masked) is type(event)
    assert mask.mask_event(masked) == masked
    if isinstance(event, events.TextDelta | events.ReasoningDelta):
        assert len(masked.text) == len(event.text)
        assert not any(character.isalnum() for character in masked.text)


def some_log(directory: Path) -> bytes:
    """The only segment of a small log."""
    event_log = logs.open_log(directory, content="full")
    for number in range(2):
        logs.write_stream(event_log, f"s{number}")
    event_log.close()
    return b"".join(logs.lines_of(directory))


SEALED = inputs.JSON.map(lambda value: sealed.seal(json.dumps(value).encode()[:-1]))


@settings(max_examples=100)
@given(st.integers(0, 1 << 30), st.lists(SEALED | st.binary(max_size=30), max_size=4))
def test_any_bytes_in_a_segment_are_records_or_located_problems(
    seed: int, strange: list[bytes]
) -> None:
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        data = bytearray(some_log(directory / "whole"))
        for _ in range(rng.randint(0, 3)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        lines = bytes(data).splitlines(keepends=True)
        for line in strange:
            lines.insert(rng.randint(0, len(lines)), line)
        damaged = directory / "damaged"
        damaged.mkdir()
        (damaged / segments.segment_name(1)).write_bytes(b"".join(lines))
        reading = segments.read(damaged)
        records = list(reading)
        assert len(records) + sum(reading.counts.values()) >= min(1, len(lines))
        for problem in reading.problems:
            assert 0 <= problem.offset < sum(map(len, lines))
            assert 1 <= problem.line <= b"".join(lines).count(b"\n") + 1
        if strange or bytes(data) != b"".join(logs.lines_of(directory / "whole")):
            replaying(damaged)
        recovers(damaged)


def replaying(directory: Path) -> None:
    """Replay what can be; records of no known event are refused by name."""
    with contextlib.suppress(msgspec.ValidationError):
        replay.Replay(renderers.reply).run(segments.read(directory))


def recovers(directory: Path) -> None:
    """A start on what is there closes every stream that is open, once."""
    with structlog.testing.capture_logs():
        event_log = eventlog.EventLog(logs.settings(directory), logs.Clock())
        left = event_log.open().open_streams
        event_log.close()
    ends = [record.stream for record in segments.read(directory) if record.event == "terminal"]
    assert all(each.stream in ends for each in left)
