"""What a start makes of what the last process left: cut, closed, noted, and never hidden."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog.testing

from engine.log.format import chain
from engine.log.read import segments
from engine.log.write import recovery
from machines import events, outputs
from tests.support.logs import logs


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """What a process left that was killed: one segment, `s1` over and `s2` open."""
    event_log = logs.open_log(tmp_path / "log", content="full")
    logs.write_stream(event_log, "s1")
    written = logs.begin(event_log, "s2")
    written.append(*logs.content("x"))
    event_log.flush()
    left = logs.left_behind(tmp_path / "log")
    event_log.close()
    return left


def newest(directory: Path) -> Path:
    return segments.list_segments(directory)[-1].path


def mark_synced(directory: Path, size: int) -> None:
    """Have the checkpoint say that so much of the newest segment is on the disk."""
    path = directory / chain.CHECKPOINT
    known = chain.parse_checkpoint(path, path.read_bytes())
    assert isinstance(known, chain.Checkpoint)
    number = segments.list_segments(directory)[-1].number
    changed = chain.Checkpoint(2, known.first, number, size, known.lines, known.mark)
    path.write_bytes(chain.checkpoint_line(changed))


def problems_of(directory: Path) -> list[tuple[str, str]]:
    reading = segments.read(directory)
    for _ in reading:
        pass
    return [(problem.kind, problem.path.name) for problem in reading.problems]


def cuts(data: bytes) -> Iterator[int]:
    """Where a last line may have been cut: anywhere but at its end."""
    return iter(range(data[:-1].rindex(b"\n") + 2, len(data)))


def test_a_torn_tail_is_cut_to_the_byte(directory: Path) -> None:
    segment = newest(directory)
    data = segment.read_bytes()
    whole = data[: data[:-1].rindex(b"\n") + 1]
    for end in cuts(data):
        segment.write_bytes(data[:end])
        assert problems_of(directory) == [("torn", segment.name)]
        found = recovery.recover(directory).recovery
        assert found.torn_bytes_cut == end - len(whole)
        assert segment.read_bytes() == whole
        assert [stream.stream for stream in found.open_streams] == ["s2"]


@pytest.mark.parametrize("size", [1, 65_535, 65_536, 65_537, 200_000])
def test_zeros_behind_the_end_are_torn_however_many(directory: Path, size: int) -> None:
    segment = newest(directory)
    whole = segment.read_bytes()
    with segment.open("ab") as file:
        file.write(b"\0" * size)
    assert problems_of(directory) == [("torn", segment.name)]
    assert recovery.recover(directory).recovery.torn_bytes_cut == size
    assert segment.read_bytes() == whole


def test_a_segment_without_a_whole_line_is_emptied(directory: Path) -> None:
    segment = newest(directory)
    segment.write_bytes(segment.read_bytes()[:50])
    assert recovery.recover(directory).recovery.torn_bytes_cut == 50
    assert segment.read_bytes() == b""
    logs.open_log(directory).close()
    assert problems_of(directory) == []


@pytest.mark.parametrize("damage", ["zeros", "a cut line", "a cut at a line's end"])
def test_what_was_on_the_disk_is_not_torn_but_corrupt(directory: Path, damage: str) -> None:
    segment = newest(directory)
    data = segment.read_bytes()
    lines = data.splitlines(keepends=True)
    kept = len(b"".join(lines[:-2]))
    left = {
        "zeros": data[: kept - 7] + bytes(len(data) - kept + 7),
        "a cut line": data[: kept - 7],
        "a cut at a line's end": data[: kept - len(lines[-3])],
    }[damage]
    segment.write_bytes(left)
    mark_synced(directory, kept)
    assert problems_of(directory) == [("corrupt", segment.name)]
    found = recovery.recover(directory)
    assert found.recovery.torn_bytes_cut == 0
    assert segment.read_bytes() == left
    assert found.damage is not None
    # What is behind the mark may be torn all the same.
    segment.write_bytes(data[: kept + 5])
    assert problems_of(directory) == [("torn", segment.name)]


def test_a_last_line_that_was_cut_away_below_the_mark_is_missed_for_ever(directory: Path) -> None:
    """A start closes the segment as it is; without a note nobody would see that it was longer."""
    segment = newest(directory)
    data = segment.read_bytes()
    mark_synced(directory, len(data))
    segment.write_bytes(b"".join(data.splitlines(keepends=True)[:-1]))
    with structlog.testing.capture_logs() as said:
        logs.open_log(directory).close()
    assert "event_log_corrupt" in [line["event"] for line in said]
    assert problems_of(directory) == [("corrupt", "chain")]
    with structlog.testing.capture_logs() as said:  # said once, and then only by readers
        logs.open_log(directory).close()
    assert [line["event"] for line in said] == []
    assert problems_of(directory) == [("corrupt", "chain")]


def test_a_note_goes_with_what_it_is_about(directory: Path) -> None:
    newest(directory).write_bytes(newest(directory).read_bytes().replace(b"hello", b"hullo", 1))
    logs.open_log(directory).close()
    assert ("corrupt", "chain") in problems_of(directory)
    clock = logs.Clock()
    event_log = logs.open_log(directory, clock, max_age_s=3600)
    logs.write_stream(event_log, "s3")
    clock.advance(7200)
    event_log.prune()
    logs.write_stream(event_log, "s4")
    clock.advance(7200)
    event_log.prune()
    event_log.close()
    assert problems_of(directory) == []


def test_what_is_known_of_open_streams(tmp_path: Path) -> None:
    event_log = logs.open_log(tmp_path / "log")
    logs.write_stream(event_log, "over")
    logs.begin(event_log, "begun")
    answered = logs.begin(event_log, "answered")
    head = (outputs.Head(), outputs.Role(), outputs.Content("x"))
    answered.append(events.TextDelta("x"), outputs.Step("content", head))
    event_log.flush()
    left = logs.left_behind(tmp_path / "log")
    event_log.close()
    begun, half = recovery.recover(left).recovery.open_streams
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


def test_of_nothing_nothing_is_found(tmp_path: Path) -> None:
    assert recovery.recover(tmp_path).recovery == recovery.Recovery()


def test_segments_that_the_chain_does_not_know_yet_are_closed(tmp_path: Path) -> None:
    """A helper thread that is behind is killed with its process."""
    event_log = logs.open_log(tmp_path / "log", segment_bytes=1000, content="full")
    path = tmp_path / "log" / chain.CHAIN
    before = path.read_bytes()
    point = (tmp_path / "log" / chain.CHECKPOINT).read_bytes()
    for number in range(6):
        logs.write_stream(event_log, f"s{number}")
    left = logs.left_behind(tmp_path / "log")
    event_log.close()
    (left / chain.CHAIN).write_bytes(before)
    (left / chain.CHECKPOINT).write_bytes(point)
    found = recovery.recover(left)
    present = segments.list_segments(left)
    assert [each.segment for each in found.closings] == [each.number for each in present]
    assert len(present) > 3
    assert found.damage is None
    assert problems_of(left) == []
    # Of all but the newest the headers that follow know how long they were.
    second = present[1].path
    whole = second.read_bytes()
    second.write_bytes(whole + whole.splitlines(keepends=True)[-1][:20])
    assert problems_of(left) == [("torn", second.name)]
    assert recovery.recover(left).recovery.torn_bytes_cut == 20
    assert second.read_bytes() == whole
    second.write_bytes(b"".join(whole.splitlines(keepends=True)[:-1]))
    assert ("corrupt", second.name) in problems_of(left)
    logs.open_log(left).close()
    assert ("corrupt", chain.CHAIN) in problems_of(left)


@pytest.mark.parametrize("clean", [True, False])
def test_a_chain_that_is_damaged_is_kept_aside(tmp_path: Path, clean: bool) -> None:
    event_log = logs.open_log(tmp_path / "log")
    logs.write_stream(event_log, "s1")
    left = logs.left_behind(tmp_path / "log")
    event_log.close()
    directory = tmp_path / "log" if clean else left
    path = directory / chain.CHAIN
    damaged = path.read_bytes().replace(b'"begun"', b'"bugun"')
    path.write_bytes(damaged)
    logs.open_log(directory).close()
    assert (directory / "chain.damaged").read_bytes() == damaged
    assert problems_of(directory) == [("corrupt", "chain")]
    kept = chain.Chain(path, path.read_bytes())
    assert isinstance(kept.damaged[0][0], chain.Damaged)


def test_a_segment_of_another_log_is_found_by_what_it_says_of_the_one_before(
    tmp_path: Path,
) -> None:
    left = []
    for name in ("one", "other"):
        event_log = logs.open_log(tmp_path / name, segment_bytes=1000)
        for stream_id in ("s1", "s2"):
            logs.write_stream(event_log, stream_id)
        logs.wait_for_chores(event_log)
        left.append(logs.left_behind(tmp_path / name))
        event_log.close()
    one, other = left
    assert problems_of(one) == problems_of(other) == []
    (one / newest(one).name).write_bytes(newest(other).read_bytes())
    assert problems_of(one) == [("corrupt", newest(one).name)]


def test_a_segment_that_is_newer_than_the_rest_of_a_closed_log_is_found(tmp_path: Path) -> None:
    """Somebody put a copy of the log back, and not all of it."""
    directory = tmp_path / "log"
    for name in ("s1", "s2"):
        event_log = logs.open_log(directory)
        logs.write_stream(event_log, name)
        event_log.close()
        if name == "s1":
            copy = logs.left_behind(directory)
    shutil.copy(newest(directory), copy)
    assert problems_of(directory) == []
    assert problems_of(copy) == [("corrupt", newest(directory).name)]
