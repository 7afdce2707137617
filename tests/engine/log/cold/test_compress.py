"""A segment is compressed as a whole or stays as it is, and the log reads the same."""

import gzip
import os
import random
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from engine.log import replay
from engine.log.cold import compress, files, members
from engine.log.format import chain
from engine.log.read import segments
from engine.log.summary import scan
from server import renderers
from tests.support.logs import coldlogs, damage, logs


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    coldlogs.small_members(monkeypatch)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return coldlogs.closed_log(tmp_path / "log")


def same(directory: Path) -> list[tuple[str, int, int, int, bytes]]:
    """Each record, with its place."""
    reading = segments.read(directory)
    found = [(each.stream, each.seq, each.line, each.offset, each.raw) for each in reading]
    assert reading.problems == []
    return found


def test_the_log_reads_the_same(log: Path) -> None:
    before = same(log)
    spans = {e.number: list(scan.find(e.path)) for e in files.list_segments(log)}
    paths = coldlogs.compress_all(log)
    assert len(paths) > 3
    assert all(path.name.endswith(".jsonl.gz") for path in paths)
    assert max(len(list(coldlogs.places(path.read_bytes()))) for path in paths) > 3
    assert same(log) == before
    assert {e.number: list(scan.find(e.path)) for e in files.list_segments(log)} == spans
    run = replay.Replay(renderers.reply)
    run.run(segments.read(log))
    assert (run.tally.streams, run.divergence) == (12, None)


def test_one_file_is_read_alone(log: Path) -> None:
    before = [record.raw for record in segments.read(log / files.segment_name(1))]
    coldlogs.compress_all(log)
    path = log / files.compressed_name(1)
    assert [record.raw for record in segments.read(path)] == before
    mine = path.rename(log / "mine.jsonl.gz")
    assert [record.raw for record in segments.read(mine)] == before


def test_zcat_and_gzip_read_it(log: Path) -> None:
    plain = (log / files.segment_name(1)).read_bytes()
    coldlogs.compress_all(log)
    path = log / files.compressed_name(1)
    assert gzip.decompress(path.read_bytes()) == plain
    subprocess.run((shutil.which("gzip") or "gzip", "-t", path), check=True)
    unpacked = subprocess.run(
        (shutil.which("zcat") or "zcat", path), check=True, capture_output=True
    )
    assert unpacked.stdout == plain


def test_its_time_and_its_rights_stay(log: Path) -> None:
    path = log / files.segment_name(1)
    os.utime(path, ns=(1_600_000_000_123_456_000, 1_600_000_000_123_456_000))
    (first, *_) = coldlogs.compress_all(log)
    assert first.stat().st_mtime_ns == 1_600_000_000_123_456_000
    assert first.stat().st_mode & 0o777 == 0o600


def left(directory: Path) -> list[str]:
    """The forms of the first segment that are there."""
    return sorted(path.name for path in directory.glob("events-00000001.jsonl*"))


def attempt(directory: Path, **more: Any) -> int:
    return compress.compress(directory, 1, coldlogs.figures_of(directory)[1], **more)


def test_one_that_holds_something_else_stays(log: Path) -> None:
    path = log / files.segment_name(1)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(compress.Unfit, match="something else than was written"):
        attempt(log)
    assert left(log) == ["events-00000001.jsonl"]


def test_one_that_does_not_come_back_stays(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encode = members.encode

    def broken(segment: int, offset: int, content: bytes) -> bytes:
        return encode(segment, offset, content.replace(b"opened", b"opener"))

    monkeypatch.setattr(members, "encode", broken)
    with pytest.raises(compress.Unfit, match="does not come back"):
        attempt(log)
    assert left(log) == ["events-00000001.jsonl"]


@pytest.mark.parametrize("after", [1, 2, 5])
def test_it_is_given_up_between_two_members(log: Path, after: int) -> None:
    count = 0

    def between() -> None:
        nonlocal count
        count += 1
        if count == after:
            raise compress.Stopped

    with pytest.raises(compress.Stopped):
        attempt(log, between=between)
    assert left(log) == ["events-00000001.jsonl"]


def test_a_process_that_is_no_longer_the_writer_deletes_nothing(log: Path) -> None:
    with pytest.raises(compress.Unfit, match="another process"):
        attempt(log, may_delete=lambda: False)
    assert left(log) == ["events-00000001.jsonl"]
    answers = iter([True, False])
    attempt(log, may_delete=lambda: next(answers))
    assert left(log) == ["events-00000001.jsonl", "events-00000001.jsonl.gz"]
    assert len(same(log)) > 50


def test_a_segment_that_is_replaced_meanwhile_is_not_deleted(log: Path) -> None:
    path = log / files.segment_name(1)

    def between() -> None:
        shutil.copy(path, log / "copy")
        (log / "copy").replace(path)

    with pytest.raises(compress.Unfit):
        attempt(log, between=between)
    assert left(log) == ["events-00000001.jsonl"]


def test_what_somebody_reads_can_be_read_to_its_end(log: Path) -> None:
    before = same(log)
    reading = iter(segments.read(log))
    first = next(reading)
    coldlogs.compress_all(log)
    found = [(e.stream, e.seq, e.line, e.offset, e.raw) for e in (first, *reading)]
    assert found == before


def test_a_directory_that_cannot_be_written_keeps_the_segment(log: Path) -> None:
    in_the_way = log / f"{files.compressed_name(1)}{files.DRAFT}"
    in_the_way.mkdir()
    with pytest.raises(OSError, match="not a regular file"):
        attempt(log)
    assert files.segment_name(1) in left(log)
    assert len(same(log)) > 50


def test_what_a_killed_process_left_is_cleared(log: Path) -> None:
    plain = (log / files.segment_name(1)).read_bytes()
    coldlogs.compress_all(log)
    (log / files.segment_name(1)).write_bytes(plain)
    (log / f"{files.compressed_name(2)}{files.DRAFT}").write_bytes(b"half")
    (log / "notes.gz.new").touch()
    (log / "events-00000002.summary.new").touch()
    compress.clear(log)
    assert left(log) == ["events-00000001.jsonl"]
    assert (log / files.compressed_name(2)).exists()
    assert {path.name for path in log.glob("*.new")} == {
        "notes.gz.new",
        "events-00000002.summary.new",
    }
    assert len(same(log)) > 50


@pytest.mark.parametrize("name", sorted(damage.OF_BYTES))
def test_damage_is_corrupt_and_never_something_else(log: Path, name: str) -> None:
    """Whatever becomes of the bytes of a compressed segment."""
    whole = same(log)
    paths = coldlogs.compress_all(log)
    for seed in range(30):
        rng = random.Random(seed)
        path = rng.choice(paths)
        before = path.read_bytes()
        after = damage.OF_BYTES[name](rng, before)
        if after == before:
            continue
        path.write_bytes(after)
        reading = segments.read(log)
        found = [(e.stream, e.seq, e.line, e.offset, e.raw) for e in reading]
        if not reading.counts["corrupt"]:
            assert found == whole, seed  # a bit that means nothing
        run = replay.Replay(renderers.reply)
        run.run(segments.read(log))
        assert run.divergence is None, seed
        path.write_bytes(before)


def test_a_copy_of_another_segment_is_corrupt(log: Path) -> None:
    coldlogs.compress_all(log)
    shutil.copy(log / files.compressed_name(2), log / files.compressed_name(1))
    reading = segments.read(log)
    list(reading)
    problem = reading.problems[0]
    assert (problem.kind, problem.path) == ("corrupt", log / files.compressed_name(1))
    assert "of segment 2 is here" in problem.reason


def test_damage_is_located_and_the_streams_behind_it_are_compared(log: Path) -> None:
    whole = same(log)
    coldlogs.compress_all(log)
    path = log / files.compressed_name(1)
    data = bytearray(path.read_bytes())
    place, member = list(coldlogs.places(bytes(data)))[1]
    data[place + 100] ^= 4
    path.write_bytes(data)
    reading = segments.read(log)
    found = {record.raw for record in reading}
    first, *_ = reading.problems
    assert (first.kind, first.path) == ("corrupt", path)
    assert f"(byte {place} of the file)" in first.reason
    assert member.offset - 400 < first.offset <= member.offset
    lost = [offset for *_, offset, raw in whole if raw not in found]
    assert all(first.offset <= at < member.offset + member.content + 400 for at in lost)


def test_figures_are_of_the_content(log: Path) -> None:
    coldlogs.compress_all(log)
    reading = segments.read(log)
    list(reading)
    measured: dict[int, chain.Figures] = reading.measured
    assert measured == coldlogs.figures_of(log)
    assert logs.streams_of(log)
