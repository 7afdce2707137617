"""First and last records are found among all others, and nothing that only looks like one."""

from pathlib import Path

import pytest

from engine.log.read import segments
from engine.log.summary import scan
from tests.support.logs import logs

LOOKALIKE = '{"stream":"s","seq":0,"seg":0,"t":1,"event":"terminal"}'
NESTED = {"event": "terminal", "stream": "x", "t": 1}


def segment(path: Path, *extra: logs.Record) -> Path:
    return logs.write(
        path,
        {"stream": 'a"b', "event": "opened", "request": {"x": NESTED}, "text": LOOKALIKE},
        {"stream": "w", "event": "worker_changed", "detail": NESTED},
        {"stream": 'a"b', "event": "text_delta", "text": LOOKALIKE},
        {"stream": 'a"b', "event": "terminal", "kind": "completed"},
        {"stream": "rj", "event": "request_rejected", "code": "x"},
        *extra,
    )


def test_first_lines_are_found_and_nothing_that_only_looks_like_one(tmp_path: Path) -> None:
    path = segment(tmp_path / "events-00000001.jsonl")
    data = path.read_bytes()
    found = list(scan.firsts(path))
    assert [stream for stream, _, _ in found] == [rb"a\"b", b"w", b"rj"]
    assert all(data[offset:].startswith(line) for _, offset, line in found)
    assert all(line.endswith(b"}\n") for _, _, line in found)


WANTED = [scan.OPENED, scan.LAST[0], scan.LAST[1]]


@pytest.mark.parametrize("block", [1, 7, 100, 1 << 18])
def test_what_matters_is_found_where_it_is(
    tmp_path: Path, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan, "BLOCK_BYTES", block)
    path = segment(tmp_path / "events-00000001.jsonl")
    found = list(scan.find(path))
    assert [each.event for each in found] == WANTED
    data = path.read_bytes()
    assert all(data[each.offset :].startswith(each.line) for each in found)
    assert all(each.line.endswith(b"}\n") for each in found)


def test_a_line_that_is_damaged_or_has_no_end_is_passed_over(tmp_path: Path) -> None:
    path = segment(tmp_path / "x", {"stream": "b", "event": "terminal", "kind": "empty"})
    data = path.read_bytes()
    path.write_bytes(data[:-1])
    assert [each.event for each in scan.find(path)] == WANTED
    path.write_bytes(data.replace(b'"completed"', b'"completes"'))
    assert [each.event for each in scan.find(path)] == [WANTED[0], WANTED[2], WANTED[1]]


def test_the_event_of_a_record_is_seen_in_its_beginning() -> None:
    assert scan.event_of(b'17,"event":"terminal","kind":"x"') == scan.LAST[0]
    assert scan.event_of(b'1770000000123456,"event":"opened","request_id":""') == scan.OPENED
    assert scan.event_of(b'17,"event":"text_delta","text":"\\"event\\":\\"opened\\""') is None


def test_lines_that_start_so_are_found_in_their_part_of_the_segment(tmp_path: Path) -> None:
    lines = [b'{"stream":"st_%d","n":%d,"x":"%s"}\n' % (n % 3, n, b"y" * 999) for n in range(900)]
    forged = b'{"a":{"stream":"st_1","n":0}}\n'
    path = tmp_path / "segment"
    path.write_bytes(forged + b"".join(lines) + b'{"stream":"st_1","n":900')
    start = b'{"stream":"st_1",'
    found = [*scan.starting(path, start)]
    assert [line for _, line in found] == lines[1::3]
    data = path.read_bytes()
    assert all(data[at : at + len(line)] == line for at, line in found)
    begin, end = found[10][0], found[20][0]
    assert [*scan.starting(path, start, begin, end)] == found[10:20]
    assert [*scan.starting(path, start, begin, end + 1)] == found[10:21]


def test_a_search_begins_where_it_is_told_to(tmp_path: Path) -> None:
    event_log = logs.open_log(tmp_path)
    for number in range(5):
        logs.write_stream(event_log, f"st_{number}")
    event_log.close()
    (segment,) = segments.list_segments(tmp_path)
    every = [*scan.find(segment.path)]
    assert [*scan.find(segment.path, start=every[4].offset)] == every[4:]
