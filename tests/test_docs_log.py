"""What docs/events.md says of a log's form is enough to check one: a reader that follows it.

It is written from that page alone, with JSON and CRC-32; the log's own code is not asked.
"""

import json
import random
import re
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from engine.log.cold import files
from tests.simulator import disk
from tests.support.logs import coldlogs, damage, logs, summaries

MUTATIONS: Final = 5

NAME: Final = re.compile(r"events-(\d{8,})\.jsonl")

KINDS: Final = damage.damages()

Line = dict[str, Any]


class Wrong(Exception):
    """Raised where something is not as the page says that it is."""


def demand(what: object, reason: str) -> None:
    if not what:
        raise Wrong(reason)


def sealed(line: bytes, first: str) -> Line:
    """A line whose checksum fits."""
    body, mark, rest = line.rpartition(b',"crc":"')
    demand(mark and rest == b'%08x"}' % zlib.crc32(body), "checksum")
    found = json.loads(line)
    demand(isinstance(found, dict) and next(iter(found)) == first, "another kind of line")
    return dict(found)


def lines_of(data: bytes) -> tuple[list[bytes], bytes]:
    *whole, tail = data.split(b"\n")
    return whole, tail


def chain_of(data: bytes, point: Line) -> list[Line]:
    lines, tail = lines_of(data)
    found, marks = [], ["00000000"]
    for number, line in enumerate(lines):
        entry = sealed(line, "entry")
        demand(number == 0 or entry["after"] == marks[-1], "a line of the chain")
        demand((entry["entry"] == "begun") == (number == 0), "begun")
        found.append(entry)
        marks.append(entry["crc"])
    known = point["mark"] in (*marks[point["lines"] : point["lines"] + 1], found[0]["after"])
    demand(known, "end of the chain")
    demand(point["state"] == "open" or (len(found) == point["lines"] and not tail), "more lines")
    return found


def read(directory: Path) -> set[str]:
    """Names of the streams that are in a log, all of it whole.

    Raises:
        Wrong: or anything else, where it is not.
    """
    data = (directory / "checkpoint").read_bytes()
    (line,), tail = lines_of(data)
    demand(len(data) == 256 and not tail, "checkpoint")
    point = sealed(line, "checkpoint")
    chain = chain_of((directory / "chain").read_bytes(), point)
    pruned = max((each["segment"] for each in chain if each["entry"] == "pruned"), default=0)
    demand(not any(e["entry"] == "damaged" and e["segment"] > pruned for e in chain), "damaged")
    named = filter(None, map(NAME.fullmatch, (path.name for path in directory.iterdir())))
    numbers = sorted(number for each in named if (number := int(each[1])) > pruned)
    first = max(pruned + 1, chain[0]["oldest"])
    last = max(numbers[-1:] + [point["segment"]] + [each["segment"] for each in chain])
    demand(numbers == list(range(first, last + 1)), "segments")
    return records(directory, numbers, chain, point)


def records(directory: Path, numbers: list[int], chain: list[Line], point: Line) -> set[str]:
    closed = {each["segment"]: each for each in chain if each["entry"] in ("closed", "rewritten")}
    due: dict[str, int] = {}
    for number in numbers:
        data = (directory / f"events-{number:08}.jsonl").read_bytes()
        if number not in closed:
            demand(point["state"] == "open" and number > max(closed, default=0), "not closed")
        if number not in closed and number == numbers[-1]:
            data = data[: data.rfind(b"\n") + 1]
            demand(number != point["segment"] or len(data) >= point["synced"], "shorter")
        lines, tail = lines_of(data)
        demand(not tail, "torn")
        header = sealed(lines[0], "segment")
        demand(header["segment"] == number, "another segment")
        for seg, line in enumerate(lines[1:]):
            record = sealed(line, "stream")
            name, seq = record["stream"], record["seq"]
            later = name not in due and numbers[0] > 1
            demand(record["seg"] == seg and (later or seq == due.get(name, 0)), "a record")
            due[name] = seq + 1
        if number in closed:
            figures = (len(lines) - 1, len(data), f"{zlib.crc32(data):08x}")
            demand(
                figures == tuple(closed[number][each] for each in ("records", "bytes", "crc32")),
                "what the segment holds",
            )
    return set(due)


def read_summaries(directory: Path) -> set[str]:
    """Names of the streams that the summaries beside a whole log's segments are about."""
    found: set[str] = set()
    for path in directory.glob("events-*.jsonl"):
        number = int(path.name[7:-6])
        data = path.with_suffix(".summary").read_bytes()
        lines, tail = lines_of(data)
        head, end = sealed(lines[0], "sidecar"), sealed(lines[-1], "sealed")
        demand(not tail and head["sidecar"] == end["sealed"] == number, "another segment's")
        before = data[: len(data) - len(lines[-1]) - 1]
        demand(end["crc32"] == f"{zlib.crc32(before):08x}", "a line of the summary")
        demand(end["bytes"] == path.stat().st_size, "the segment is as long")
        rows = [sealed(line, "summary") for line in lines[1:-1]]
        times = [row["t"] for row in rows]
        demand(end["rows"] == len(rows), "rows")
        demand(not rows or (end["first"], end["last"]) == (min(times), max(times)), "times")
        for row in rows:
            segment, offset = row["at"]
            record = json.loads(path.read_bytes()[offset:].partition(b"\n")[0])
            demand(segment == number and record["stream"] == row["summary"], "its last record")
            demand(record["t"] == row["t"], "its time")
            found.add(row["summary"])
    return found


def write(directory: Path, **settings: Any) -> None:
    """A log of several segments, by two processes."""
    for run in range(2):
        event_log = logs.open_log(directory, segment_bytes=2000, **settings)
        for number in range(6):
            logs.write_stream(event_log, f"st_{run}{number}")
        logs.wait_for_chores(event_log)
        event_log.close()


def test_a_reader_that_follows_the_page_reads_every_log(tmp_path: Path) -> None:
    write(tmp_path / "whole")
    names = {f"st_{run}{number}" for run in range(2) for number in range(6)}
    assert read(tmp_path / "whole") == names
    write(tmp_path / "pruned", max_bytes=5000)
    assert (tmp_path / "pruned" / "chain").read_bytes().count(b'"pruned"') > 0
    assert "st_15" in read(tmp_path / "pruned") < names
    event_log = logs.open_log(tmp_path / "whole", segment_bytes=2000)
    logs.begin(event_log, "open")
    event_log.flush()
    left = logs.left_behind(tmp_path / "whole")
    event_log.close()
    assert read(left) == names | {"open"}


def test_it_reads_the_summaries_and_finds_what_is_changed_in_them(tmp_path: Path) -> None:
    write(tmp_path, **summaries.KEPT)
    assert read_summaries(tmp_path) == read(tmp_path)
    rng = random.Random(1)
    for path in sorted(tmp_path.glob("*.summary")):
        whole = path.read_bytes()
        for _ in range(20):
            at = rng.randrange(len(whole))
            path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
            with pytest.raises(Exception):  # noqa: B017 - whatever stops a reader
                read_summaries(tmp_path)
        lines = whole.splitlines(keepends=True)
        path.write_bytes(b"".join([lines[0], *lines[2:]]))
        with pytest.raises(Wrong):
            read_summaries(tmp_path)
        path.write_bytes(whole)
    assert read_summaries(tmp_path) == read(tmp_path)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_it_finds_what_is_damaged(kind: str) -> None:
    change: Callable[[random.Random, damage.Files], None] = KINDS[kind]
    with disk.temporary_directory() as directory:
        write(directory)
        before = damage.read_files(directory)
        for seed in range(MUTATIONS):
            files = dict(before)
            rng = random.Random(seed)
            while files == before:
                change(rng, files)
            damage.write_files(directory, files, before)
            with pytest.raises(Exception):  # noqa: B017 - whatever stops a reader
                read(directory)
            damage.write_files(directory, before, files)


def content_of(data: bytes, number: int) -> bytes:
    """The content of a compressed segment, as the page says that its members are."""
    found, place, over = b"", 0, False
    while place < len(data):
        demand(not over, "more follows")
        fixed = bytes.fromhex("1f8b08040000000000ff1c0054541800")
        demand(data[place : place + 16] == fixed, "a member")
        segment, offset, size, length = struct.unpack_from("<QQII", data, place + 16)
        demand((segment, offset) == (number, len(found)), "another member")
        demand(size <= 1_049_650 and length <= 1_048_576, "its lengths")
        inflate = zlib.decompressobj(-15)
        part = inflate.decompress(data[place + 40 : place + size - 8], length + 1)
        demand(inflate.eof and len(part) == length and not inflate.unused_data, "its content")
        ends = struct.unpack("<II", data[place + size - 8 : place + size])
        demand(ends == (zlib.crc32(part), length), "its checksum")
        over = length == 0
        found += part
        place += size
    demand(over, "its end")
    return found


def test_a_compressed_segment_is_as_the_page_says(tmp_path: Path) -> None:
    event_log = logs.open_log(tmp_path, segment_bytes=3 << 20, content="full")
    for count in range(8):
        logs.play(event_log, f"st_{count}", *["0123456789" * 200] * 300)
    event_log.close()
    plain = {each.number: each.path.read_bytes() for each in files.list_segments(tmp_path)}
    for path in coldlogs.compress_all(tmp_path):
        name = re.fullmatch(r"events-(\d{8})\.jsonl\.gz", path.name)
        assert name is not None
        number = int(name[1])
        assert content_of(path.read_bytes(), number) == plain[number]
    assert max(map(len, plain.values())) > 2 << 20
