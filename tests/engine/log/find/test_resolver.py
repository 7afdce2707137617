"""One name leads to one stream, or it is said why it does not."""

from pathlib import Path

import msgspec
import pytest

from engine.log.find import catalog, names, resolver
from engine.log.summary import rows
from tests.support.logs import logs, summaries


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Two streams of one request, one of another, and a refusal."""
    event_log = logs.open_log(tmp_path, **summaries.KEPT)
    for number, request in enumerate(("req_twice", "req_twice", "req_once")):
        ids = {"request_id": request, "completion_id": f"chatcmpl-{number}"}
        summaries.write(event_log, f"st_aa{number}", **ids)
    summaries.reject(event_log, "req_refused")
    event_log.close()
    return tmp_path


def test_two_streams_of_one_request_are_told_apart_newest_first(directory: Path) -> None:
    with pytest.raises(names.Ambiguous) as several:
        resolver.resolve(catalog.Catalog(directory), "req_twice")
    assert [row.summary for row in several.value.found] == ["st_aa1", "st_aa0"]
    assert resolver.resolve(catalog.Catalog(directory), "chatcmpl-1").summary == "st_aa1"


def test_a_beginning_is_enough_where_nothing_else_begins_so(directory: Path) -> None:
    assert resolver.resolve(catalog.Catalog(directory), "req_o").summary == "st_aa2"
    assert resolver.resolve(catalog.Catalog(directory), "rj_").summary == "rj_req_refused"
    with pytest.raises(names.Ambiguous):
        resolver.resolve(catalog.Catalog(directory), "st_")


def test_a_whole_id_is_meant_before_the_beginning_of_others(tmp_path: Path) -> None:
    event_log = logs.open_log(tmp_path, **summaries.KEPT)
    for number, request in enumerate(("mine", "mine-too")):
        summaries.write(event_log, f"st_{number}", request_id=request)
    event_log.close()
    assert resolver.resolve(catalog.Catalog(tmp_path), "mine").summary == "st_0"


def test_a_second_row_at_a_place_is_not_believed_once_the_first_was_held(tmp_path: Path) -> None:
    """A list holds its rows by their place, and a lookup behind it must not find another there."""
    event_log = logs.open_log(tmp_path, **summaries.KEPT)
    for number in range(3):
        summaries.write(event_log, f"st_{number}", request_id=f"req_{number}", key="ann")
    event_log.close()
    (path,) = tmp_path.glob("*.summary")
    lines = path.read_bytes().splitlines(keepends=True)
    row = rows.read(lines[1])
    assert row is not None
    lie = msgspec.structs.replace(row, request_id="req_victim", key="bob")
    path.write_bytes(b"".join([*lines[:2], rows.written(lie), *lines[2:]]))
    found = catalog.Catalog(tmp_path)
    listed = [*found.ended_rows()]
    assert not found.hold(listed)
    assert resolver.having(found, "req_victim") == []
    assert resolver.having(found, "req_0") == [row]


def test_what_is_not_found_comes_with_what_the_log_has(directory: Path) -> None:
    found = catalog.Catalog(directory)
    with pytest.raises(names.NotFound) as missing:
        resolver.resolve(found, "req_twicx")
    assert missing.value.near == ("req_twice",)
    times = [row.t for row in found.ended_rows()]
    assert missing.value.covered.last_us == max(times)
    with pytest.raises(names.NotFound):
        resolver.resolve(found, "")


def test_of_an_empty_log_nothing_is_covered(tmp_path: Path) -> None:
    with pytest.raises(names.NotFound) as missing:
        resolver.resolve(catalog.Catalog(tmp_path), "st_1")
    assert missing.value.covered == names.Covered()


def test_an_id_is_a_client_s_and_may_hold_anything(tmp_path: Path) -> None:
    hostile = '\x1b[31m"},{\\u0041 \n'
    event_log = logs.open_log(tmp_path, **summaries.KEPT)
    summaries.write(event_log, "st_1", request_id=hostile)
    summaries.write(event_log, "st_2", request_id=hostile[:6] + "x")
    event_log.close()
    assert resolver.resolve(catalog.Catalog(tmp_path), hostile).summary == "st_1"


def test_an_id_that_was_made_here_counts_before_one_that_a_client_chose(tmp_path: Path) -> None:
    event_log = logs.open_log(tmp_path, **summaries.KEPT)
    summaries.write(event_log, "st_abc123")
    summaries.write(event_log, "st_other", request_id="st_abc123")
    summaries.write(event_log, "st_third", request_id="st_abc")
    event_log.close()
    known = catalog.Catalog(tmp_path)
    for name in ("st_abc123", "st_abc", "st_abc1"):
        assert resolver.resolve(known, name).summary == "st_abc123"
