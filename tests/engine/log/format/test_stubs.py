"""A stub keeps a record's place and nothing else of it."""

import msgspec
import pytest

from engine.log.format import sealed, stubs
from machines import parse


def test_it_says_where_it_is_and_when_it_was_erased() -> None:
    line = stubs.line("st_1", 3, 17, 77)
    assert sealed.is_sealed(line)
    assert sealed.is_kind(line, "stream")
    assert line.startswith(b'{"stream":"st_1","seq":3,"seg":17,"purged":77,"crc":"')
    place = stubs.place(line)
    assert (place.stream, place.seq, place.seg, place.event) == ("st_1", 3, 17, stubs.PURGED)
    assert bytes(stubs.read(line).ended) == b"null"


def test_that_of_a_last_record_keeps_figures() -> None:
    stub = stubs.read(stubs.line("st_1", 3, 17, 77, {"kind": "completed"}))
    assert msgspec.json.decode(stub.ended) == {"kind": "completed"}


def test_a_record_is_none() -> None:
    line = b'{"stream":"st_1","seq":3,"seg":17,"t":5,"event":"opened","state":"held","out":[]}'
    assert stubs.place(line).event == ""
    with pytest.raises(parse.ParseError):
        stubs.read(line)
