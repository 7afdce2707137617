"""What is too old or too much goes, oldest first, and never what is being written."""

import os
import time
from pathlib import Path

import pytest
import structlog
from hypothesis import given, settings, strategies as st

from engine.log.format import chain
from engine.log.read import segments
from engine.log.write import chainfile, recovery, retention
from tests.support.logs import logs

NOW_US = 1_700_000_000_000_000
DAY_S = 86_400


def segment(number: int, size: int = 100, age_s: float = 0) -> segments.SegmentInfo:
    modified_us = NOW_US - round(age_s * 1_000_000)
    return segments.SegmentInfo(number, Path(segments.segment_name(number)), size, modified_us)


def numbers(found: list[segments.SegmentInfo]) -> list[int]:
    return [each.number for each in found]


def test_what_is_within_both_limits_stays() -> None:
    found = [segment(1, age_s=DAY_S), segment(2), segment(3)]
    assert retention.expired(found, NOW_US, 300, DAY_S) == []


def test_the_oldest_go_until_the_rest_fits() -> None:
    found = [segment(1), segment(2), segment(3), segment(4)]
    assert numbers(retention.expired(found, NOW_US, 299, 0)) == [1, 2]


def test_what_is_too_old_goes() -> None:
    found = [segment(5, age_s=9 * DAY_S), segment(6, age_s=8 * DAY_S), segment(7, age_s=6 * DAY_S)]
    assert numbers(retention.expired([*found, segment(8)], NOW_US, 0, 7 * DAY_S)) == [5, 6]


def test_a_segment_younger_than_its_successor_keeps_both() -> None:
    found = [segment(1, age_s=0), segment(2, age_s=9 * DAY_S), segment(3)]
    assert retention.expired(found, NOW_US, 0, 7 * DAY_S) == []


def test_the_live_segment_stays_whatever_it_is() -> None:
    assert retention.expired([segment(1, 10**9, 99 * DAY_S)], NOW_US, 1, 1) == []
    assert retention.expired([], NOW_US, 1, 1) == []


def test_no_limits_keep_everything() -> None:
    found = [segment(1, 10**12, 10_000 * DAY_S), segment(2)]
    assert retention.expired(found, NOW_US, 0, 0) == []


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 50), st.integers(0, 20))),
    st.integers(0, 200),
    st.integers(0, 20),
)
def test_what_goes_is_the_least_that_does_it(
    sizes: list[tuple[int, int]], max_bytes: int, max_age_s: int
) -> None:
    found = [segment(number, size, age) for number, (size, age) in enumerate(sizes, 1)]
    going = retention.expired(found, NOW_US, max_bytes, max_age_s)
    assert found[: len(going)] == going
    rest = found[len(going) :]
    assert bool(rest) is bool(found)
    total = sum(each.size for each in rest)
    if len(rest) > 1:
        assert not max_bytes or total <= max_bytes
        assert not max_age_s or rest[0].modified_us >= NOW_US - max_age_s * 1_000_000
    if going:
        last = going[-1]
        too_old = max_age_s and last.modified_us < NOW_US - max_age_s * 1_000_000
        assert too_old or (max_bytes and total + last.size > max_bytes)


def chain_of(directory: Path) -> chainfile.ChainFile:
    """The chain of a directory, to be written on."""
    return chainfile.ChainFile(directory, recovery.recover(directory), 9, syncs=False)


def make_segments(directory: Path, *numbers: int) -> None:
    for number in numbers:
        (directory / segments.segment_name(number)).write_bytes(b"x" * 99 + b"\n")


def pruned(directory: Path) -> int:
    """Up to where the chain says that segments are gone."""
    return chain.Chain(directory, (directory / chain.CHAIN).read_bytes()).pruned


def test_pruning_deletes_and_says_so(tmp_path: Path) -> None:
    make_segments(tmp_path, 1, 2, 3)
    eight_days_ago = time.time() - 8 * DAY_S
    os.utime(tmp_path / segments.segment_name(1), (eight_days_ago, eight_days_ago))
    (tmp_path / "notes.txt").write_text("somebody else's")
    kept = chain_of(tmp_path)
    with structlog.testing.capture_logs() as said:
        gone = retention.prune(tmp_path, kept, time.time_ns() // 1000, 0, 7 * DAY_S)
    assert numbers(gone) == [1]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "chain",
        "checkpoint",
        "events-00000002.jsonl",
        "events-00000003.jsonl",
        "notes.txt",
    ]
    assert pruned(tmp_path) == 1
    assert [(line["event"], line["count"], line["bytes"]) for line in said] == [
        ("segments_deleted", 1, 100)
    ]


def test_a_segment_that_cannot_be_deleted_ends_it_loudly_and_is_tried_again(
    tmp_path: Path,
) -> None:
    make_segments(tmp_path, 1, 3, 4)
    kept = chain_of(tmp_path)
    in_the_way = tmp_path / segments.segment_name(2)
    in_the_way.mkdir()
    with structlog.testing.capture_logs() as said:
        gone = retention.prune(tmp_path, kept, time.time_ns() // 1000, 1, 0)
    assert numbers(gone) == [1]
    assert [line["event"] for line in said] == ["segment_not_deleted", "segments_deleted"]
    assert pruned(tmp_path) == 3
    in_the_way.rmdir()
    make_segments(tmp_path, 2)
    assert numbers(retention.prune(tmp_path, kept, time.time_ns() // 1000, 0, 0)) == [2, 3]
    assert numbers(segments.list_segments(tmp_path)) == [4]


def test_what_the_chain_cannot_say_stays(tmp_path: Path) -> None:
    make_segments(tmp_path, 1, 2)
    kept = chain_of(tmp_path)
    kept.release()  # so that it cannot be written
    with pytest.raises(OSError, match="Bad file descriptor"):
        retention.prune(tmp_path, kept, time.time_ns() // 1000, 1, 0)
    assert numbers(segments.list_segments(tmp_path)) == [1, 2]


def test_a_segment_is_as_old_as_the_log_says_whatever_the_system_s_clock_does(
    tmp_path: Path,
) -> None:
    clock = logs.Clock()
    event_log = logs.open_log(tmp_path, clock, max_age_s=8 * DAY_S, segment_bytes=1000)
    for number in range(4):
        logs.write_stream(event_log, f"s{number}")
        clock.advance(2 * DAY_S)
    event_log.close()
    closed = segments.list_segments(tmp_path)
    for hours in (-1, 1, -24 * 365 * 30):  # what the kernel stamped files with
        stamp = clock.us / 1e6 + hours * 3600
        for each in closed:
            os.utime(each.path, (stamp, stamp))
        event_log = logs.open_log(tmp_path, clock, max_age_s=8 * DAY_S)
        event_log.prune()
        event_log.close()
        assert {record.stream for record in segments.read(tmp_path)} >= {"s1", "s2", "s3"}
    clock.advance(30 * DAY_S)
    event_log = logs.open_log(tmp_path, clock, max_age_s=8 * DAY_S)
    event_log.prune()
    event_log.close()
    assert list(segments.read(tmp_path)) == []
