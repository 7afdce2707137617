"""A sidecar that lies, with right checksums, is found out by the records that it is of."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine.log.derive import purging
from engine.log.find import catalog, names, resolver, stories, witnesses
from engine.log.read import segments
from engine.log.summary import rows, scan
from tests.support.logs import coldlogs, logs, summaries

Members = dict[str, Any]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A closed log of several segments, with streams of two keys, a refusal and a long stream."""
    event_log = logs.open_log(tmp_path / "log", segment_bytes=4000, content="full", **KEPT)
    long = event_log.stream("st_long")
    long.open(logs.opened(request_id="req_long", key="ann"))
    for number in range(12):
        key = ("ann", "bob")[number % 2]
        summaries.write(event_log, f"st_{number:02}", request_id=f"req_{number:02}", key=key)
        long.append(*logs.content("more"))
    summaries.reject(event_log, "refused")
    long.close(logs.TERMINAL, "done")
    event_log.flush()
    event_log.close()
    assert len(segments.list_segments(tmp_path / "log")) > 3
    return tmp_path / "log"


KEPT = summaries.KEPT


def of(row: str, **lies: Any) -> Callable[[Members], Members]:
    return lambda members: {**members, **lies} if members["summary"] == row else members


def without_beginning(members: Members) -> Members:
    return {name: members[name] for name in members if name not in ("begun", "request_id", "key")}


LIES = {
    "how it ended": of("st_03", kind="upstream_error", code="boom"),
    "its status": of("st_03", status=599),
    "its key": of("st_03", key="ann"),
    "its client's id": of("st_03", request_id="req_stolen"),
    "its model": of("st_03", model="another"),
    "how long it took": of("st_03", duration_us=10_000_000),
    "when it ended": of("st_03", t=9_000_000_000_000_000),
    "its tokens": of("st_03", usage={"prompt_tokens": 1, "completion_tokens": 2}),
    "that it was erased": of("st_03", purged=77),
    "whose it is": of("st_03", summary="st_made_up"),
    "that it has not ended": of("st_03", kind="open"),
    "where it began": of("st_03", begun=[1, 7], key="ann"),
    "that its beginning has gone": of("st_03", begun=[0, 0], key="ann"),
    "that it has no beginning": lambda row: (
        without_beginning(row) if row["summary"] == "st_03" else row
    ),
    "of a refusal": of("rj_refused", key="ann"),
    "of one over many segments": of("st_long", key="bob"),
}


def shown(log: Path) -> list[rows.Summary]:
    """All rows, each held against its records."""
    return catalog.Catalog(log).ended_like(lambda _: True)


def placeless(held: list[rows.Summary]) -> list[rows.Summary]:
    """Rows without where they began."""
    return [msgspec.structs.replace(row, begun=None) for row in held]


@pytest.mark.parametrize("form", ["plain", "compressed"])
@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_a_row_that_lies_is_not_believed(
    log: Path, lie: Callable[[Members], Members], form: str
) -> None:
    wanted = shown(log)
    if form == "compressed":
        coldlogs.compress_all(log)
    assert shown(log) == wanted
    summaries.forge(log, lie)
    assert summaries.rows_of(log) != wanted
    assert shown(log) == wanted


def test_where_nothing_is_wrong_nothing_is_made_again(log: Path) -> None:
    found = catalog.Catalog(log)
    assert not found.hold(found.ended_rows())
    assert found.doubted == set()


@pytest.mark.parametrize("form", ["plain", "compressed"])
def test_a_beginning_that_has_moved_is_no_contradiction_and_a_lie_about_it_is(
    log: Path, form: str
) -> None:
    """A purge beside a server leaves the place that the server knew."""
    kept = {path: path.read_bytes() for path in log.glob("*.summary")}
    purging.purge(log, ["st_00"], 77, lambda _done, _of: None)
    if form == "compressed":
        coldlogs.compress_all(log)
    (row,) = [row for row in shown(log) if row.summary == "st_long"]
    for path, data in kept.items():
        path.write_bytes(data)
    (old,) = [each for each in summaries.rows_of(log) if each.summary == "st_long"]
    moved = msgspec.structs.replace(old, begun=(1, row.begun[1] + 300) if row.begun else None)
    files = catalog.Catalog(log).files
    assert witnesses.wrong([old, moved], files) == []
    lie = msgspec.structs.replace(moved, key="bob")
    assert witnesses.wrong([lie], files) == [lie]
    elsewhere = msgspec.structs.replace(old, begun=(2, 5))
    assert witnesses.wrong([elsewhere], files) == [elsewhere]


def test_a_row_of_what_was_erased_is_what_its_stub_says(log: Path) -> None:
    purging.purge(log, ["st_03"], 77, lambda _done, _of: None)
    (row,) = [row for row in shown(log) if row.summary == "st_03"]
    files = catalog.Catalog(log).files
    (place,) = [
        (number, offset)
        for number, segment in files.items()
        for stream, offset, _ in scan.firsts(segment.path)
        if stream == b"st_03"
    ]
    lie = msgspec.structs.replace(row, key="ann", begun=place)
    assert witnesses.wrong([lie], files) == [lie]


def test_a_sidecar_of_before_an_erasure_is_not_believed(log: Path) -> None:
    kept = {path: path.read_bytes() for path in log.glob("*.summary")}
    purging.purge(log, ["st_03"], 77, lambda _done, _of: None)
    right = shown(log)
    assert [row.purged for row in right if row.summary == "st_03"] == [77]
    for path, data in kept.items():
        path.write_bytes(data)
    assert placeless(shown(log)) == placeless(right)  # a beginning that has moved is no lie


def test_what_has_gone_with_its_segment_is_shown_as_its_row_says(log: Path) -> None:
    wanted = {row.summary: row for row in shown(log)}
    segments.list_segments(log)[0].path.unlink()
    assert {row.summary: row for row in shown(log)} == wanted
    long = wanted["st_long"]
    assert long.begun is not None
    assert long.begun[0] not in catalog.Catalog(log).files
    summaries.forge(log, of("st_long", kind="timeout"))
    assert {row.summary: row.kind for row in shown(log)}["st_long"] == long.kind


def test_what_goes_while_it_is_looked_at_is_not_wrong(log: Path) -> None:
    found = catalog.Catalog(log)
    held = [*found.ended_rows()]
    for segment in found.files.values():
        segment.path.unlink()
    assert witnesses.wrong(held, found.files) == []


def test_a_record_that_was_damaged_since_takes_no_row_away(log: Path) -> None:
    wanted = shown(log)
    row = next(row for row in wanted if row.summary == "st_03")
    path = log / segments.segment_name(row.at[0])
    data = bytearray(path.read_bytes())
    data[row.at[1] + 60] ^= 1
    path.write_bytes(data)
    assert shown(log) == wanted
    assert witnesses.wrong(wanted, catalog.Catalog(log).files) == []


def test_a_stream_that_a_sidecar_leaves_out_is_found_by_its_id(log: Path) -> None:
    summaries.forge(log, lambda row: None if row["summary"] == "st_03" else row)
    assert stories.story(log, "st_03").stream == "st_03"
    with pytest.raises(names.NotFound):
        stories.story(log, "st_99")


def test_a_name_that_a_row_has_stolen_leads_to_its_owner(log: Path) -> None:
    summaries.forge(log, of("st_03", request_id="req_04"))
    assert resolver.resolve(catalog.Catalog(log), "req_04").summary == "st_04"
