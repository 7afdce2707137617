"""Reading a log: every change to it is found and located, and nothing else is complained of."""

import itertools
import os
import re
import tracemalloc
from pathlib import Path
from typing import Literal

import msgspec
import pytest

from engine.log import event_log as eventlog
from engine.log.format import sealed
from engine.log.read import segments
from machines import events, outputs
from tests.support.logs import logs


def write_streams(event_log: eventlog.EventLog) -> None:
    """Seven records of two streams, both over."""
    first, second = logs.begin(event_log, "s1"), logs.begin(event_log, "s2")
    first.append(*logs.content("Hallo, Wörld"))
    second.append(*logs.content('"quoted"\n\\'))
    event, _ = logs.content("held")
    first.append(event, outputs.Step("content", (), outputs.Decision(0)))
    first.close(logs.TERMINAL, "done")
    second.close(logs.TERMINAL, "done")
    event_log.flush()


@pytest.fixture
def segment(tmp_path: Path) -> Path:
    """The one segment of a writer that was killed, about 2 KB."""
    event_log = logs.open_log(tmp_path / "log", content="full")
    write_streams(event_log)
    left = logs.left_behind(tmp_path / "log")
    event_log.close()
    return left / "events-00000001.jsonl"


def lines_of(path: Path) -> list[bytes]:
    """Its lines; the first is the header."""
    return path.read_bytes().splitlines(keepends=True)


def problems_of(path: Path) -> list[sealed.Problem]:
    reading = segments.read(path)
    for _ in reading:
        pass
    return reading.problems


def test_an_intact_log_reads_back_as_it_was_written(segment: Path) -> None:
    lines = lines_of(segment)
    for path in (segment, segment.parent):
        reading = segments.read(path)
        records = list(reading)
        assert (reading.problems, reading.open, reading.incomplete) == ([], {}, set())
        assert [record.raw for record in records] == lines[1:]
        assert [(record.stream, record.seq) for record in records] == [
            ("s1", 0),
            ("s2", 0),
            ("s1", 1),
            ("s2", 1),
            ("s1", 2),
            ("s1", 3),
            ("s2", 2),
        ]
        assert [record.seg for record in records] == list(range(7))
        assert [record.line for record in records] == list(range(2, 9))
        assert [record.offset for record in records] == [
            len(b"".join(lines[:number])) for number in range(1, 8)
        ]
        assert records[2].load() == events.TextDelta("Hallo, Wörld")
        assert records[2].out == ("content",)
        assert records[4].decision == outputs.Decision(0)
        assert records[5].load() == logs.TERMINAL


def test_a_segment_begins_with_a_header(segment: Path) -> None:
    header = msgspec.json.decode(lines_of(segment)[0])
    assert (header["segment"], header["schema"]) == (1, events.SCHEMA_VERSION)
    assert re.fullmatch("[0-9a-f]{16}", header["writer"])
    assert header["created"] == 1_700_000_000_000_001
    assert list(header) == ["segment", "schema", "writer", "created", "crc"]


PIECES = (
    outputs.Piece("text", 3),
    outputs.Piece("started"),
    outputs.Piece("call", 40, "readNote"),
    outputs.Piece("aborted", 7, "nested"),
)


@pytest.mark.parametrize(
    "decision",
    [
        None,
        outputs.Decision(),
        outputs.Decision(3, "length"),
        outputs.Decision(50, "tool_calls", PIECES),
        outputs.Decision(0, None, ()),
        outputs.Decision(joined=(outputs.Joined(0, "readNote"), outputs.Joined(1))),
        outputs.Decision(repeats=(1, 3)),
        outputs.Decision(1, None, PIECES[:1], (outputs.Joined(2),), (0,)),
    ],
)
@pytest.mark.parametrize("content", ["full", "masked"])
def test_what_was_decided_reads_back_as_it_was(
    tmp_path: Path, content: Literal["full", "masked"], decision: outputs.Decision | None
) -> None:
    event_log = logs.open_log(tmp_path / "log", content=content)
    stream = logs.begin(event_log, "s")
    event, step = logs.content("x")
    stream.append(event, msgspec.structs.replace(step, decision=decision))
    stream.append(event, outputs.Step("tool_buffering", (), decision))
    event_log.close()
    _, first, second = segments.read(tmp_path / "log")
    assert (first.decision, second.decision) == (decision, decision)


def test_every_flipped_bit_is_found_in_its_line(segment: Path) -> None:
    data = segment.read_bytes()
    line_of = list(
        itertools.chain.from_iterable(
            [number] * len(line) for number, line in enumerate(lines_of(segment), 1)
        )
    )
    fd = os.open(segment, os.O_RDWR)
    for offset, bit in itertools.product(range(len(data)), range(8)):
        os.pwrite(fd, bytes([data[offset] ^ 1 << bit]), offset)
        found = problems_of(segment)
        assert found, (offset, bit)
        assert found[0].line == line_of[offset], (offset, bit)
        # Without its newline the last line is one whose writer was stopped.
        kind = "torn" if offset == len(data) - 1 else "corrupt"
        assert found[0].kind == kind, (offset, bit)
        os.pwrite(fd, data[offset : offset + 1], offset)
    os.close(fd)
    assert problems_of(segment) == []


def test_a_deleted_line_is_found_behind_the_gap(segment: Path) -> None:
    lines = lines_of(segment)
    for gone in range(1, len(lines) - 1):
        segment.write_bytes(b"".join(lines[:gone] + lines[gone + 1 :]))
        found = problems_of(segment.parent)
        assert (found[0].kind, found[0].line) == ("corrupt", gone + 1)
        assert f"records {gone - 1} to {gone - 1} are missing" in found[0].reason
        assert found[0].offset == len(b"".join(lines[:gone]))


def test_a_stream_says_that_a_record_of_its_own_is_missing(segment: Path) -> None:
    lines = lines_of(segment)
    segment.write_bytes(b"".join(lines[:3] + lines[4:]))
    hurt = [problem.stream for problem in problems_of(segment) if problem.stream]
    assert hurt == ["s1"]


def test_a_damaged_line_hurts_its_own_stream_and_nothing_else(segment: Path) -> None:
    segment.write_bytes(segment.read_bytes().replace(b"Hallo", b"Hullo"))
    reading = segments.read(segment)
    assert [record.seg for record in reading] == [0, 1, 3, 4, 5, 6]
    assert [(problem.line, problem.stream) for problem in reading.problems] == [
        (4, None),
        (6, "s1"),
    ]


def test_without_its_last_line_a_log_has_an_open_stream(segment: Path) -> None:
    segment.write_bytes(b"".join(lines_of(segment)[:-1]))
    reading = segments.read(segment)
    assert len(list(reading)) == 6
    assert reading.problems == []
    assert list(reading.open) == ["s2"]


def test_a_doubled_line_is_found_wherever_it_comes_again(segment: Path) -> None:
    lines = lines_of(segment)
    for twice in range(1, len(lines)):
        for place in range(twice + 1, len(lines) + 1):
            segment.write_bytes(b"".join([*lines[:place], lines[twice], *lines[place:]]))
            reading = segments.read(segment)
            assert [record.seg for record in reading] == list(range(7))
            assert [problem.line for problem in reading.problems] == [place + 1]
            assert "comes twice" in reading.problems[0].reason


def test_two_lines_that_changed_places_are_found(segment: Path) -> None:
    lines = lines_of(segment)
    for first in range(len(lines) - 1):
        swapped = [*lines[:first], lines[first + 1], lines[first], *lines[first + 2 :]]
        segment.write_bytes(b"".join(swapped))
        # A record in the place of a header is seen where the header is known to be due.
        assert problems_of(segment.parent)[0].line == first + 1
        assert problems_of(segment)[0].line == first + 1 + (first == 0)


def test_a_cut_is_found_wherever_it_is(segment: Path) -> None:
    data = segment.read_bytes()
    ends = list(itertools.accumulate(map(len, lines_of(segment))))
    for start in range(len(data) - 1):
        segment.write_bytes(data[:start] + data[start + 1 :])
        found = problems_of(segment)
        assert found[0].kind == "corrupt"
        assert found[0].line == 1 + sum(end <= start for end in ends)


def test_a_header_that_is_gone_is_missed(segment: Path) -> None:
    segment.write_bytes(b"".join(lines_of(segment)[1:]))
    (problem,) = problems_of(segment.parent)
    assert (problem.kind, problem.line, problem.reason) == ("corrupt", 1, "it has no header")


def test_a_segment_knows_its_number(segment: Path) -> None:
    elsewhere = segment.rename(segment.with_name("events-00000007.jsonl"))
    (problem,) = problems_of(elsewhere)
    assert (problem.line, problem.offset) == (1, 0)
    assert problem.reason == "it is segment 1"
    # What is called something else is a file of records, such as somebody cut out.
    assert problems_of(elsewhere.rename(segment.with_name("mine.jsonl"))) == []


def test_what_retention_took_makes_streams_incomplete_and_nothing_corrupt(tmp_path: Path) -> None:
    event_log = logs.open_log(tmp_path, segment_bytes=1000, max_bytes=3000)
    long = logs.begin(event_log, "long")
    for number in range(20):
        logs.write_stream(event_log, f"short-{number}")
        long.append(*logs.content("hello"))
    long.close(logs.TERMINAL, "done")
    event_log.close()
    assert segments.list_segments(tmp_path)[0].number > 1
    reading = segments.read(tmp_path)
    found = {record.stream for record in reading}
    assert "short-0" not in found
    assert reading.problems == []
    assert "long" in reading.incomplete
    assert reading.open == {}


def test_a_beginning_that_nothing_took_is_corrupt(segment: Path) -> None:
    lines = lines_of(segment)
    segment.write_bytes(b"".join(lines[:1] + lines[2:]))
    found = problems_of(segment.parent)
    assert [problem.line for problem in found] == [2, 3]
    assert found[1].stream == "s1"


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b'{"a":1',
        b'{"stream":"s1","seq":',
        b'{"stream":"' + b"\xff",
        b'{"entry":"closed","segment":1',
        b'{"segment":1,"schema":2,"writer":"","created":1',
        b'{"stream":"s1","request":' + b"[" * 200 + b"]" * 200,
        b"",
    ],
)
def test_a_sealed_line_that_is_no_record_is_corrupt(segment: Path, body: bytes) -> None:
    with segment.open("ab") as file:
        file.write(sealed.seal(body))
    (problem,) = problems_of(segment)
    assert (problem.kind, problem.line) == ("corrupt", 9)


def test_garbage_is_counted_and_only_its_beginning_described(tmp_path: Path) -> None:
    path = tmp_path / "events-00000001.jsonl"
    path.write_bytes(b"garbage\n" * 5000)
    reading = segments.read(path)
    assert list(reading) == []
    assert reading.counts == {"torn": 0, "corrupt": 5000, "later": 0}
    assert len(reading.problems) == 1000
    assert str(reading.problems[4]) == f"{path}:5 (byte 32): corrupt: its checksum does not fit"


def test_an_endless_line_does_not_fill_the_memory(segment: Path) -> None:
    lines = lines_of(segment)
    with segment.open("wb") as file:
        file.write(lines[0] + lines[1])
        file.truncate(file.tell() + 2 * sealed.LINE_LIMIT)
        file.seek(0, os.SEEK_END)
        file.write(b"\n" + lines[2])
    reading = segments.read(segment)
    tracemalloc.start()
    assert [record.seg for record in reading] == [0, 1]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3.5 * sealed.LINE_LIMIT
    assert reading.problems[0].line == 3


def test_reading_a_long_log_takes_no_more_memory_than_a_short_one(tmp_path: Path) -> None:
    event_log = logs.open_log(tmp_path, segment_bytes=1 << 20)
    for number in range(300):
        logs.write_stream(event_log, f"s{number}", deltas=40)
    event_log.close()
    reading = segments.read(tmp_path)
    tracemalloc.start()
    count = sum(1 for _ in reading)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 300 * 42
    assert peak < 300_000


def test_nothing_at_a_path_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        segments.read(tmp_path / "nothing")


DAY_S = 86_400


def write_four_days(directory: Path) -> logs.Clock:
    """Write a log of four streams a day apart, in a segment or two each; gives its clock."""
    clock = logs.Clock()
    event_log = logs.open_log(directory, clock, segment_bytes=1000, max_age_s=8 * DAY_S)
    for number in range(4):
        logs.write_stream(event_log, f"s{number}", deltas=10)
        clock.advance(DAY_S)
    event_log.close()
    return clock


def test_what_retention_deletes_while_a_log_is_read_is_not_missed(tmp_path: Path) -> None:
    clock = write_four_days(tmp_path)
    reading = segments.read(tmp_path)
    records = iter(reading)
    assert next(records).stream == "s0"
    clock.advance(6 * DAY_S)
    event_log = logs.open_log(tmp_path, clock, max_age_s=8 * DAY_S)
    event_log.prune()
    event_log.close()
    left = {record.stream for record in records}
    assert "s1" not in left
    assert "s3" in left
    assert reading.problems == []


def test_a_segment_that_somebody_deletes_while_a_log_is_read_is_lost(tmp_path: Path) -> None:
    write_four_days(tmp_path)
    reading = segments.read(tmp_path)
    records = iter(reading)
    assert next(records).stream == "s0"
    going = segments.list_segments(tmp_path)[1]
    going.path.unlink()
    assert "s3" in {record.stream for record in records}
    complaint = reading.problems[0]
    assert (complaint.kind, complaint.path, complaint.reason) == (
        "corrupt",
        going.path,
        "it is gone",
    )
