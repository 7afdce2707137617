"""Reading a log: every change to it is found and located, and nothing else is complained of."""

import itertools
import os
import tracemalloc
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec
import pytest

from engine import segments
from machines import events, outputs
from tests import logs


def write_segment(path: Path) -> list[bytes]:
    """A segment of about 2 KB, two streams in it, both over; its lines."""
    event_log = logs.open_log(path.parent, content="full")
    first, second = logs.begin(event_log, "s1"), logs.begin(event_log, "s2")
    first.append(*logs.content("Hallo, Wörld"))
    second.append(*logs.content('"quoted"\n\\'))
    event, _ = logs.content("held")
    first.append(event, outputs.Step("content", (), outputs.Decision(0)))
    first.close(logs.TERMINAL, "done")
    second.close(logs.TERMINAL, "done")
    event_log.close()
    return path.read_bytes().splitlines(keepends=True)


@pytest.fixture
def segment(tmp_path: Path) -> Path:
    """The one segment of a writer that was killed: there is no checkpoint behind it."""
    path = tmp_path / "log" / "events-00000001.jsonl"
    write_segment(path)
    (path.parent / segments.CHECKPOINT).unlink()
    return path


def problems_of(path: Path) -> list[segments.Problem]:
    reading = segments.read(path)
    for _ in reading:
        pass
    return reading.problems


def test_an_intact_log_reads_back_as_it_was_written(tmp_path: Path) -> None:
    lines = write_segment(tmp_path / "log" / "events-00000001.jsonl")
    reading = segments.read(tmp_path / "log")
    records = list(reading)
    assert (reading.problems, reading.open, reading.incomplete) == ([], {}, set())
    assert [record.raw for record in records] == lines
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
    assert [record.line for record in records] == list(range(1, 8))
    assert records[2].load() == events.TextDelta("Hallo, Wörld")
    assert records[2].out == ("content",)
    assert records[4].decision == outputs.Decision(0)
    assert records[5].load() == logs.TERMINAL


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
            [number] * len(line) for number, line in enumerate(data.splitlines(keepends=True), 1)
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
    lines = segment.read_bytes().splitlines(keepends=True)
    for gone in range(len(lines) - 1):
        segment.write_bytes(b"".join(lines[:gone] + lines[gone + 1 :]))
        found = problems_of(segment.parent)
        assert (found[0].kind, found[0].line) == ("corrupt", gone + 1)
        assert f"records {gone} to {gone} are missing" in found[0].reason
        assert found[0].offset == len(b"".join(lines[:gone]))


def test_a_stream_says_that_a_record_of_its_own_is_missing(segment: Path) -> None:
    lines = segment.read_bytes().splitlines(keepends=True)
    segment.write_bytes(b"".join(lines[:2] + lines[3:]))
    hurt = [problem.stream for problem in problems_of(segment) if problem.stream]
    assert hurt == ["s1"]


def test_a_damaged_line_hurts_its_own_stream_and_nothing_else(segment: Path) -> None:
    segment.write_bytes(segment.read_bytes().replace(b"Hallo", b"Hullo"))
    reading = segments.read(segment)
    assert [record.seg for record in reading] == [0, 1, 3, 4, 5, 6]
    assert [(problem.line, problem.stream) for problem in reading.problems] == [
        (3, None),
        (5, "s1"),
    ]


def test_without_its_last_line_a_log_has_an_open_stream(segment: Path) -> None:
    lines = segment.read_bytes().splitlines(keepends=True)
    segment.write_bytes(b"".join(lines[:-1]))
    reading = segments.read(segment)
    assert len(list(reading)) == 6
    assert reading.problems == []
    assert list(reading.open) == ["s2"]


def test_a_doubled_line_is_found_wherever_it_comes_again(segment: Path) -> None:
    lines = segment.read_bytes().splitlines(keepends=True)
    for twice in range(len(lines)):
        for place in range(twice + 1, len(lines) + 1):
            segment.write_bytes(b"".join([*lines[:place], lines[twice], *lines[place:]]))
            reading = segments.read(segment)
            assert [record.seg for record in reading] == list(range(7))
            assert [problem.line for problem in reading.problems] == [place + 1]
            assert "comes twice" in reading.problems[0].reason


def test_two_lines_that_changed_places_are_found(segment: Path) -> None:
    lines = segment.read_bytes().splitlines(keepends=True)
    for first in range(len(lines) - 1):
        swapped = [*lines[:first], lines[first + 1], lines[first], *lines[first + 2 :]]
        segment.write_bytes(b"".join(swapped))
        assert problems_of(segment)[0].line == first + 1


def test_a_cut_is_found_wherever_it_is(segment: Path) -> None:
    data = segment.read_bytes()
    ends = list(itertools.accumulate(len(line) for line in data.splitlines(keepends=True)))
    for start in range(len(data) - 1):
        segment.write_bytes(data[:start] + data[start + 1 :])
        found = problems_of(segment)
        assert found[0].kind == "corrupt"
        assert found[0].line == 1 + sum(end <= start for end in ends)


def test_only_the_last_line_of_the_last_segment_can_be_torn(tmp_path: Path) -> None:
    directory = tmp_path / "log"
    write_segment(directory / "events-00000001.jsonl")
    write_segment(directory / "events-00000002.jsonl")
    first, last = sorted(directory.glob("events-*"))
    for path, kind in ((first, "corrupt"), (last, "torn")):
        whole = path.read_bytes()
        path.write_bytes(whole[:-1])
        assert [(problem.kind, problem.path, problem.line) for problem in problems_of(directory)][
            :1
        ] == [(kind, path, 7)]
        path.write_bytes(whole)


def test_a_missing_segment_is_found(tmp_path: Path) -> None:
    directory = tmp_path / "log"
    for _ in range(3):
        event_log = logs.open_log(directory)
        logs.write_stream(event_log, os.urandom(4).hex())
        event_log.close()
    (directory / "events-00000002.jsonl").unlink()
    (problem,) = problems_of(directory)
    assert problem.path.name == "events-00000003.jsonl"
    assert problem.reason == "segment events-00000002.jsonl is missing before it"


def test_what_retention_took_makes_streams_incomplete_and_nothing_corrupt(tmp_path: Path) -> None:
    directory = tmp_path / "log"
    event_log = logs.open_log(directory, segment_bytes=1000)
    long = logs.begin(event_log, "long")
    logs.write_stream(event_log, "short", deltas=10)
    for _ in range(10):
        long.append(*logs.content("hello"))
        event_log.flush()
    long.close(logs.TERMINAL, "done")
    event_log.close()
    assert problems_of(directory) == []
    (directory / "events-00000001.jsonl").unlink()
    reading = segments.read(directory)
    assert {record.stream for record in reading} == {"short", "long"}
    assert reading.problems == []
    assert reading.incomplete == {"short", "long"}
    assert reading.open == {}


def test_a_beginning_that_nothing_took_is_corrupt(segment: Path) -> None:
    lines = segment.read_bytes().splitlines(keepends=True)
    segment.write_bytes(b"".join(lines[1:]))
    found = problems_of(segment.parent)
    assert [problem.line for problem in found] == [1, 2]
    assert found[1].stream == "s1"


def reseal(line: bytes) -> bytes:
    """A line as somebody would write it who knows how checksums are made."""
    body = line[: line.rindex(b',"crc"')]
    return body + b',"crc":"%08x"}\n' % zlib.crc32(body)


@pytest.mark.parametrize("body", [b"[]", b'{"a":1', b'{"stream":"s1","seq":"x"', b"\xff", b""])
def test_a_sealed_line_that_is_no_record_is_corrupt(segment: Path, body: bytes) -> None:
    with segment.open("ab") as file:
        file.write(reseal(body + b',"crc"'))
    assert [problem.line for problem in problems_of(segment)] == [8]


def test_an_unknown_event_is_an_intact_record_that_cannot_be_loaded(segment: Path) -> None:
    lines = segment.read_bytes().splitlines(keepends=True)
    lines[2] = reseal(lines[2].replace(b'"text_delta"', b'"from_the_future"'))
    segment.write_bytes(b"".join(lines))
    reading = segments.read(segment)
    record = list(reading)[2]
    assert (reading.problems, record.event) == ([], "from_the_future")
    with pytest.raises(msgspec.ValidationError):
        record.load()


def test_garbage_is_counted_and_only_its_beginning_described(tmp_path: Path) -> None:
    path = tmp_path / "events-00000001.jsonl"
    path.write_bytes(b"garbage\n" * 5000)
    reading = segments.read(path)
    assert list(reading) == []
    assert reading.problem_count == 5000
    assert len(reading.problems) == 1000
    assert str(reading.problems[4]) == f"{path}:5 (byte 32): corrupt: its checksum does not fit"


def test_an_endless_line_does_not_fill_the_memory(segment: Path) -> None:
    lines = segment.read_bytes().splitlines(keepends=True)
    with segment.open("wb") as file:
        file.write(lines[0])
        file.truncate(file.tell() + 2 * segments.LINE_LIMIT)
        file.seek(0, os.SEEK_END)
        file.write(b"\n" + lines[1])
    reading = segments.read(segment)
    tracemalloc.start()
    assert [record.seg for record in reading] == [0, 1]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3.5 * segments.LINE_LIMIT
    assert reading.problems[0].line == 2


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


def cuts(data: bytes) -> Iterator[int]:
    """Where a last line may have been cut: anywhere but at its end."""
    return iter(range(data[:-1].rindex(b"\n") + 2, len(data)))


def test_recovery_cuts_a_torn_tail_to_the_byte(segment: Path) -> None:
    data = segment.read_bytes()
    whole = data[: data[:-1].rindex(b"\n") + 1]
    for end in cuts(data):
        segment.write_bytes(data[:end])
        recovery = segments.recover(segment.parent)
        assert recovery.torn_bytes_cut == end - len(whole)
        assert segment.read_bytes() == whole
        assert [stream.stream for stream in recovery.open_streams] == ["s2"]


@pytest.mark.parametrize("size", [1, 65_535, 65_536, 65_537, 200_000])
def test_recovery_cuts_a_tail_of_any_length(segment: Path, size: int) -> None:
    whole = segment.read_bytes()
    with segment.open("ab") as file:
        file.write(b"\0" * size)
    assert segments.recover(segment.parent).torn_bytes_cut == size
    assert segment.read_bytes() == whole


def test_recovery_empties_a_segment_without_a_whole_line(segment: Path) -> None:
    segment.write_bytes(segment.read_bytes()[:100])
    assert segments.recover(segment.parent).torn_bytes_cut == 100
    assert segment.read_bytes() == b""


def test_recovery_tells_what_it_knows_of_open_streams(tmp_path: Path) -> None:
    event_log = logs.open_log(tmp_path)
    logs.write_stream(event_log, "over")
    logs.begin(event_log, "begun")
    answered = logs.begin(event_log, "answered")
    head = (outputs.Head(), outputs.Role(), outputs.Content("x"))
    answered.append(events.TextDelta("x"), outputs.Step("content", head))
    event_log.flush()
    begun, half = segments.recover(tmp_path).open_streams
    event_log.close()
    assert (begun.stream, begun.next_seq, begun.state, begun.answered) == (
        "begun",
        1,
        "held",
        False,
    )
    assert (half.stream, half.next_seq, half.state, half.answered) == (
        "answered",
        2,
        "content",
        True,
    )
    assert half.opened_us < half.last_us


def test_recovery_of_nothing_finds_nothing(tmp_path: Path) -> None:
    assert segments.recover(tmp_path) == segments.Recovery()


@pytest.mark.parametrize(
    ("checkpoint", "finds"),
    [(None, True), ("", True), ("many", True), ("1", True), ("2", False), ("3", True)],
)
def test_recovery_begins_at_a_checkpoint_that_makes_sense(
    segment: Path, checkpoint: str | None, finds: bool
) -> None:
    # The log has segment 1, with an open stream; a checkpoint may be at most just past its end.
    lines = segment.read_bytes().splitlines(keepends=True)
    segment.write_bytes(b"".join(lines[:-1]))
    if checkpoint is not None:
        (segment.parent / segments.CHECKPOINT).write_text(checkpoint)
    assert bool(segments.recover(segment.parent).open_streams) is finds
