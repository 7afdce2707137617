"""A name that leads nowhere, or to several streams, is said with what helps on."""

from pathlib import Path

import pytest

from engine.log.find import names, stories
from engine.log.summary import rows
from server.cli.log import lookups
from tests.server.cli.log import asked
from tests.support.logs import logs


def said(path: Path, name: str) -> list[str]:
    with pytest.raises(LookupError) as error:
        stories.story(path, name)
    return lookups.lines(error.value)


def test_not_found_says_what_the_log_covers_and_what_is_near(tmp_path: Path) -> None:
    asked.write(tmp_path, {"request_id": "req_abcdef"}, {})
    what, covers, near = said(tmp_path, "req_abcdex")
    assert what == "nothing is called req_abcdex"
    assert covers.startswith("The log covers 2025-11-30 ")
    assert near == "Close to it: req_abcdef."


def test_no_name_at_all_is_shown_as_one(tmp_path: Path) -> None:
    asked.write(tmp_path, {})
    assert said(tmp_path, "")[0] == "nothing is called ''"


def test_several_are_listed_with_their_times(tmp_path: Path) -> None:
    asked.write(tmp_path, *({"request_id": "req_same"} for _ in range(12)))
    head, *lines, more = said(tmp_path, "req_same")
    assert head == "req_same is 12 streams; name one by its own id:"
    assert "st_0011  2025-11-30 " in lines[0]
    assert len(lines) == lookups.SHOWN_MOST
    assert more == "  and 2 more"


def test_records_that_are_gone_are_said_to_be() -> None:
    row = rows.Summary(summary="st_1", at=(1, 2), t=asked.START, kind="timeout", code="x")
    line, why = lookups.lines(names.Gone("st_1", names.Covered(), row))
    assert line.endswith("timeout (x), were deleted with their segment")
    assert "PROXY_LOG_MAX_AGE_S" in why


def test_an_empty_log_covers_nothing() -> None:
    assert lookups.covered(names.Covered()) == "The log holds no streams."


def test_a_log_without_streams_is_said_to_be_empty_once(tmp_path: Path) -> None:
    assert lookups.nothing_in(tmp_path, names.Covered()) == [f"{tmp_path}: there is no log in it"]
    logs.open_log(tmp_path).close()
    assert lookups.nothing_in(tmp_path, names.Covered()) == [
        f"{tmp_path}: the log holds no streams"
    ]
    file = tmp_path / "none.jsonl"
    file.touch()
    assert lookups.nothing_in(file, names.Covered()) == [f"{file}: no stream is in this file"]
    what, covers = lookups.nothing_in(tmp_path, names.Covered(0, 1))
    assert what.endswith(": no stream is like that")
    assert covers.startswith("The log covers 1970-01-01 ")


def test_a_log_of_which_no_line_can_be_read_is_not_said_to_be_empty(tmp_path: Path) -> None:
    asked.write(tmp_path, {})
    for each in tmp_path.glob("*.sum*"):
        each.unlink()
    (segment,) = tmp_path.glob("*.jsonl")
    segment.write_bytes(segment.read_bytes().replace(b'"', b"x"))
    for path in (tmp_path, segment):
        (said,) = lookups.nothing_in(path, names.Covered())
        assert (
            said == f"{path}: no stream can be read in it; `turntape check` says what is damaged"
        )
