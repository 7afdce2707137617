"""A story is what a pass over the whole log finds of its stream, wherever the index leads."""

from pathlib import Path
from typing import BinaryIO

import msgspec
import pytest

from engine.log import event_log as eventlog
from engine.log.find import catalog, names, resolver, stories
from engine.log.format import sealed
from engine.log.read import drafts, segments
from engine.log.summary import sidecars
from machines import events
from tests.support.logs import corpus, logs, summaries
from tests.tools import capture


def passed_over(path: Path, stream: str) -> list[segments.Record]:
    """The records of a stream, by a pass over the log that knows no index; without what that has
    read of deltas on its way."""
    found = (record for record in segments.read(path) if record.stream == stream)
    return [msgspec.structs.replace(record, delta=None) for record in found]


def begin(event_log: eventlog.EventLog, stream: str, number: int) -> eventlog.StreamLog:
    written = event_log.stream(stream)
    ids = {"request_id": f"req_{stream[3:]}", "completion_id": f"chatcmpl-{number:04}"}
    written.open(logs.opened(**ids))
    return written


def write_interleaved(event_log: eventlog.EventLog, count: int = 12) -> list[str]:
    """Streams that overlap, over several segments; the last two stay open."""
    streams = [begin(event_log, f"st_{number:02}a", number) for number in range(count)]
    for turn in range(30):
        for stream in streams:
            stream.append(*logs.content(f"{turn} {stream.id}"))
        event_log.flush()
    for stream in streams[:-2]:
        stream.close(logs.TERMINAL, "done")
        event_log.flush()
    return [stream.id for stream in streams]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A log of several segments that is written to: its process has been killed."""
    event_log = logs.open_log(tmp_path / "log", segment_bytes=6000, **summaries.KEPT)
    write_interleaved(event_log)
    summaries.reject(event_log, "refused")
    for number in range(15):
        summaries.write(event_log, f"st_later{number}")
    summaries.settle(event_log)
    left = logs.left_behind(tmp_path / "log")
    event_log.close()
    assert len(segments.list_segments(left)) > 3
    return left


NAMES = {
    "its own id": "st_03a",
    "its client's id": "req_03a",
    "the id of its answer": "chatcmpl-0003",
    "the beginning of its id": "st_03",
    "the beginning of its answer's": "chatcmpl-0003"[:-1] + "3",
}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_every_name_leads_to_all_records(directory: Path, name: str) -> None:
    told = stories.story(directory, name)
    assert told.stream == "st_03a"
    assert list(told.records) == passed_over(directory, "st_03a")
    assert len(told.records) == 32
    assert told.problems == ()


def test_a_stream_that_is_open_is_told_so_far(directory: Path) -> None:
    told = stories.story(directory, "req_11a")
    assert list(told.records) == passed_over(directory, "st_11a")
    assert told.records[-1].event == "text_delta"
    assert told.row is not None
    assert told.row.kind == "open"


def test_a_refusal_is_one_record(directory: Path) -> None:
    for name in ("rj_refused", "refused"):
        told = stories.story(directory, name)
        assert [record.event for record in told.records] == ["request_rejected"]


def test_a_life_of_a_process_is_found_whether_it_has_ended_or_not(tmp_path: Path) -> None:
    event_log = logs.open_log(tmp_path, segment_bytes=2000, **summaries.KEPT)
    lives = [event_log.stream(f"wk_{name}") for name in ("ended", "lives")]
    for number in range(20):
        for life in lives:
            changed = events.WorkerChanged("codex-0", "pinged", {"number": number})
            life.append(changed, logs.content("x")[1])
        summaries.write(event_log, f"st_{number}")
    lives[0].close(
        events.Terminal(kind="worker_lost", emission_trigger="exited", status=0), "failed"
    )
    event_log.flush()
    summaries.settle(event_log)
    for life in lives:
        told = stories.story(tmp_path, life.id)
        assert list(told.records) == passed_over(tmp_path, life.id)
        assert told.records[0].seq == 0
    event_log.close()


def without(directory: Path) -> None:
    for each in sidecars.list_sidecars(directory)[0]:
        each.path.unlink()


def of_another_schema(directory: Path) -> None:
    for each in sidecars.list_sidecars(directory)[0]:
        logs.rewrite(each.path, 0, lambda members: members.update(schema=1))


def with_rows_that_lead_astray(directory: Path) -> None:
    for each in sidecars.list_sidecars(directory)[0]:
        for number, line in enumerate(each.path.read_bytes().splitlines()):
            if line.startswith(b'{"summary":'):
                logs.rewrite(
                    each.path, number, lambda members: members.update(at=[members["at"][0], 7])
                )


def with_a_row_taken_out(directory: Path) -> None:
    for each in sidecars.list_sidecars(directory)[0]:
        lines = each.path.read_bytes().splitlines(keepends=True)
        each.path.write_bytes(b"".join(line for line in lines if b'"st_03a"' not in line))


def with_a_flipped_bit(directory: Path) -> None:
    for each in sidecars.list_sidecars(directory)[0]:
        data = each.path.read_bytes()
        each.path.write_bytes(data.replace(b'"st_03a"', b'"st_03b"'))


def grown(directory: Path) -> None:
    for each in sidecars.list_sidecars(directory)[0]:
        if each.is_sealed:
            data = each.path.read_bytes()
            each.path.write_bytes(data.replace(b'"bytes":', b'"bytes":1'))


SPOILED = (
    without,
    of_another_schema,
    with_rows_that_lead_astray,
    with_a_row_taken_out,
    with_a_flipped_bit,
    grown,
)


@pytest.mark.parametrize("spoil", SPOILED)
def test_a_sidecar_is_never_trusted_over_the_log(directory: Path, spoil: object) -> None:
    assert callable(spoil)
    wanted = [row.summary for row in catalog.Catalog(directory).ended_rows()]
    spoil(directory)
    for name in NAMES.values():
        told = stories.story(directory, name)
        assert list(told.records) == passed_over(directory, "st_03a")
    if spoil is not with_rows_that_lead_astray:
        assert [row.summary for row in catalog.Catalog(directory).ended_rows()] == wanted


@pytest.fixture
def closed(tmp_path: Path) -> Path:
    """A log that was closed: no segment need be searched for what is open."""
    event_log = logs.open_log(tmp_path / "closed", segment_bytes=6000, **summaries.KEPT)
    for number in range(20):
        summaries.write(event_log, f"st_{number:02}a", request_id=f"req_{number:02}a")
    event_log.close()
    assert catalog.Catalog(tmp_path / "closed").searched == []
    return tmp_path / "closed"


def test_a_sidecar_that_was_changed_hides_no_stream_of_a_closed_log(closed: Path) -> None:
    with_a_flipped_bit(closed)
    assert list(stories.story(closed, "req_03a").records) == passed_over(closed, "st_03a")
    with_a_row_taken_out(closed)
    assert list(stories.story(closed, "st_03a").records) == passed_over(closed, "st_03a")


def test_a_row_that_is_wrong_about_the_beginning_leads_to_all_records(closed: Path) -> None:
    for each in sidecars.list_sidecars(closed)[0]:
        for number, line in enumerate(each.path.read_bytes().splitlines()):
            if line.startswith(b'{"summary":'):
                logs.rewrite(each.path, number, lambda members: members.update(begun=[1, 5999]))
    told = stories.story(closed, "st_03a")
    assert list(told.records) == passed_over(closed, "st_03a")
    assert told.problems == ()


def test_what_a_segment_has_beyond_its_sidecar_is_found(closed: Path) -> None:
    first, *_ = segments.list_segments(closed)
    record = passed_over(closed, "st_00a")
    more = b"".join(each.raw for each in record).replace(b"st_00a", b"st_99z")
    lines = [sealed.seal(line.rpartition(b',"crc"')[0]) for line in more.splitlines()]
    first.path.write_bytes(first.path.read_bytes() + b"".join(lines))
    told = stories.story(closed, "st_99z")
    assert [each.event for each in told.records] == [each.event for each in record]
    assert "st_99z" in [row.summary for row in catalog.Catalog(closed).ended_rows()]


def test_a_line_that_was_changed_is_located_and_the_others_are_told(directory: Path) -> None:
    (*_, record, _) = passed_over(directory, "st_03a")
    data = bytearray(record.path.read_bytes())
    data[record.offset + 60] ^= 1
    record.path.write_bytes(data)
    told = stories.story(directory, "st_03a")
    assert len(told.records) == 31
    damaged, missing = told.problems
    assert (damaged.kind, damaged.line, damaged.offset) == ("corrupt", record.line, record.offset)
    assert "record 31 where 30 was due" in missing.reason


def test_a_record_of_a_later_version_ends_the_story(directory: Path) -> None:
    record = passed_over(directory, "st_03a")[10]
    logs.rewrite(record.path, record.line - 1, lambda members: members.update(event="sung"))
    told = stories.story(directory, "st_03a")
    assert len(told.records) == 10
    assert [(each.kind, each.reason) for each in told.problems] == [("later", "sung")]


def test_of_deleted_segments_the_row_is_left_and_the_records_are_said_to_be_gone(
    directory: Path,
) -> None:
    row = resolver.resolve(catalog.Catalog(directory), "st_00a")
    for segment in segments.list_segments(directory)[:-1]:
        segment.path.unlink()
    assert row.at[0] < segments.list_segments(directory)[0].number
    with pytest.raises(names.Gone) as gone:
        stories.story(directory, "st_00a")
    assert gone.value.row == row


@pytest.mark.parametrize("name", corpus.NAMES[:3])
def test_a_bare_file_of_records_is_a_log_too(name: str) -> None:
    path = capture.DIRECTORY / f"{name}.jsonl"
    (stream,) = {record.stream for record in segments.read(path)}
    for where in (path, capture.DIRECTORY):
        told = stories.story(where, stream)
        assert list(told.records) == passed_over(path, stream)


def test_the_middle_of_a_stream_in_a_file_alone_is_told(directory: Path, tmp_path: Path) -> None:
    middle = passed_over(directory, "st_03a")[5:9]
    path = tmp_path / "middle.jsonl"
    path.write_bytes(b"".join(record.raw for record in middle))
    assert [record.seq for record in stories.story(path, "st_03").records] == [5, 6, 7, 8]


def test_only_the_part_of_the_log_that_a_stream_is_in_is_read(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Segments are counted as they are opened: no clock decides."""
    record = passed_over(directory, "st_00a")[-1]
    row = resolver.resolve(catalog.Catalog(directory), "st_00a")
    assert row.begun is not None
    opened: list[Path] = []
    really = drafts.reader

    def reader(path: Path) -> BinaryIO:
        opened.append(path)
        return really(path)

    monkeypatch.setattr(drafts, "reader", reader)
    stories.read(catalog.Catalog(directory), row)
    numbers = {int(path.stem.partition("-")[2]) for path in opened}
    assert max(numbers) == int(record.path.stem.partition("-")[2])
    assert len(numbers) < len(segments.list_segments(directory))


def test_an_end_that_is_gone_is_said_and_no_stream_that_goes_on(tmp_path: Path) -> None:
    event_log = logs.open_log(tmp_path, segment_bytes=2000, **summaries.KEPT)
    logs.play(event_log, "st_1", *["0123456789"] * 30)
    summaries.settle(event_log)
    event_log.close()
    newest = segments.list_segments(tmp_path)[-1]
    assert b'"terminal"' in newest.path.read_bytes()
    newest.path.unlink()
    told = stories.story(tmp_path, "st_1")
    assert [each.reason for each in told.problems] == ["its last record is missing"]


def test_a_file_of_records_is_looked_through_for_damage_once(
    directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many of its streams are asked for: of each that costs a pass over the whole file."""
    path = tmp_path / "part.jsonl"
    data = segments.list_segments(directory)[-1].path.read_bytes()
    path.write_bytes(data.replace(b'"event":"opened"', b'"event":"0pened"', 1))
    passes = []

    def counted(file: Path) -> segments.Reading:
        passes.append(file)
        return read(file)

    read = segments.read
    monkeypatch.setattr(segments, "read", counted)
    found = catalog.Catalog(path)
    told = [stories.read(found, row) for row in found.ended_rows()]
    assert len(told) > 1
    assert all(each.problems for each in told)
    assert passes == [path]
