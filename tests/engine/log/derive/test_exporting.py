"""An export is a log by itself: whole, replayable, and whatever is done to it is seen."""

import itertools
import random
from pathlib import Path

import pytest

from engine.log.derive import exporting
from engine.log.find import stories
from engine.log.format import sealed
from engine.log.read import segmentread, segments
from engine.scripted import load_cues
from tests.engine.log.derive import logsforderiving as deriving
from tests.simulator import disk
from tests.support.logs import corpus, logs
from tests.tools import capture

CONTENTS: list[exporting.Content] = ["kept", "masked"]


def exported(log: Path, file: Path, *names: str, content: exporting.Content = "kept") -> Path:
    found = [stories.story(log, name) for name in names]
    file.write_bytes(b"".join(exporting.export(found, log, content, deriving.now_us())))
    return file


def without_place(record: segments.Record) -> bytes:
    """A record but for what is its place's."""
    return record.raw.partition(b',"t":')[2][: -sealed.SEAL_BYTES]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    deriving.write(tmp_path / "log")
    return tmp_path / "log"


def test_the_streams_are_in_it_as_their_log_has_them(log: Path, tmp_path: Path) -> None:
    file = exported(log, tmp_path / "some.jsonl", "st_0001", "req_4")
    was, now = logs.streams_of(log), logs.streams_of(file)
    assert now.keys() == {"st_0001", "st_0004"}
    for name, records in now.items():
        assert list(map(without_place, records)) == list(map(without_place, was[name]))
        assert [record.seq for record in records] == [record.seq for record in was[name]]
    placed = [record.seg for record in itertools.chain.from_iterable(now.values())]
    assert sorted(placed) == list(range(1, len(placed) + 1))


@pytest.mark.parametrize("content", CONTENTS)
def test_it_replays(log: Path, tmp_path: Path, content: exporting.Content) -> None:
    file = exported(log, tmp_path / "some.jsonl", "st_0000", "st_0005", content=content)
    assert deriving.replayed(file).streams == 2


@pytest.mark.parametrize("content", CONTENTS)
@pytest.mark.parametrize("name", corpus.NAMES)
def test_every_transcript_replays_when_it_was_exported(
    name: str, content: exporting.Content, tmp_path: Path
) -> None:
    source = capture.DIRECTORY / f"{name}.jsonl"
    file = exported(source, tmp_path / "one.jsonl", name, content=content)
    tally = deriving.replayed(file)
    assert tally.streams == 1
    assert tally.full == (content == "kept" and deriving.replayed(source).full)


def test_an_export_can_be_played_as_a_transcript(log: Path, tmp_path: Path) -> None:
    file = exported(log, tmp_path / "one.jsonl", "st_0002")
    assert "".join(cue.event.text for cue in load_cues(file)[0][:2]) == "Say Zanzibar42 2"  # type: ignore[union-attr] # deltas come first


def test_its_header_names_where_it_was_taken_from(log: Path, tmp_path: Path) -> None:
    file = exported(log, tmp_path / "one.jsonl", "st_0003")
    header = segmentread.peek_header(file)
    assert header is not None
    assert header.segment == 0
    assert header.export is not None
    chain = (log / "chain").read_text()
    assert header.export.sources
    for source in header.export.sources:
        told = f'"segment":{source.segment},"records":{source.records},"bytes":{source.bytes},'
        (line,) = [line for line in chain.splitlines() if told in line and '"closed"' in line]
        assert line.endswith(f'"crc":"{source.entry}"}}')
    again = exported(file, tmp_path / "again.jsonl", "st_0003", content="masked")
    second = segmentread.peek_header(again)
    assert second is not None
    assert second.export is not None
    assert second.export.sources == header.export.sources
    assert (header.export.content, second.export.content) == ("kept", "masked")


def damages(lines: list[bytes]) -> dict[str, list[bytes]]:
    """The file with each line deleted, doubled, or a bit of it flipped; swapped and cut ones."""
    rng = random.Random(7)
    found: dict[str, list[bytes]] = {}
    for at, line in enumerate(lines):
        found[f"{at} deleted"] = lines[:at] + lines[at + 1 :]
        found[f"{at} doubled"] = [*lines[: at + 1], *lines[at:]]
        byte = rng.randrange(len(line))
        flipped = line[:byte] + bytes([line[byte] ^ 1 << rng.randrange(8)]) + line[byte + 1 :]
        found[f"{at} flipped"] = [*lines[:at], flipped, *lines[at + 1 :]]
        found[f"cut at {at}"] = lines[:at]
        found[f"cut in {at}"] = [*lines[:at], line[: rng.randrange(1, len(line))]]
        if at:
            found[f"{at} swapped"] = [*lines[: at - 1], line, lines[at - 1], *lines[at + 1 :]]
    found["zeros behind"] = [*lines, bytes(300)]
    found["emptied but for its header"] = lines[:1]
    return found


@pytest.mark.parametrize("content", CONTENTS)
def test_whatever_is_done_to_its_lines_is_corrupt(content: exporting.Content) -> None:
    with disk.temporary_directory() as directory:
        deriving.write(directory / "log")
        file = exported(
            directory / "log", directory / "x.jsonl", "st_0001", "st_0002", content=content
        )
        lines = file.read_bytes().splitlines(keepends=True)
        for what, changed in damages(lines).items():
            file.write_bytes(b"".join(changed))
            reading = segments.read(file)
            for _ in reading:
                pass
            if what == "cut at 0":  # nothing is left
                continue
            wrong: sealed.ProblemKind = "torn" if what == "cut in 0" else "corrupt"
            assert reading.counts[wrong], what
            assert str(reading.problems[0]).startswith(f"{file}:"), what


def test_a_stream_with_a_hole_is_refused(log: Path) -> None:
    found = stories.story(log, "st_0001")
    holed = stories.Story(found.stream, found.records[:3] + found.records[4:])
    with pytest.raises(exporting.Unexportable, match="record 3 is missing"):
        exporting.export([holed], log, "kept", 0)
    with pytest.raises(exporting.Unexportable, match="no beginning"):
        exporting.export([stories.Story(found.stream, found.records[1:])], log, "kept", 0)


def test_it_is_no_segment_of_a_log(log: Path, tmp_path: Path) -> None:
    newest = segments.list_segments(log)[-1].number
    exported(log, tmp_path / "x.jsonl", "st_0001")
    (tmp_path / "x.jsonl").rename(log / segments.segment_name(newest + 1))
    reading = segments.read(log)
    for _ in reading:
        pass
    assert any("it is segment 0" in str(problem) for problem in reading.problems)
