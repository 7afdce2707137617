"""Event streams: the examples of the standard, any split, any size, any bytes."""

import itertools
import time
from collections.abc import Iterable

import pytest
from hypothesis import given, strategies as st

from machines import errors
from machines.wire.eventsource import Event, EventSource
from tests.support.machines import feeding


def events_of(pieces: Iterable[bytes]) -> list[tuple[str, bytes]]:
    """What comes out before the end of the stream."""
    source = EventSource()
    return [(found.event, found.data) for piece in pieces for found in source.feed(piece)]


def all_of(pieces: Iterable[bytes]) -> list[tuple[str, bytes]]:
    """What comes out, the end of the stream included."""
    source = EventSource()
    found = [found for piece in pieces for found in source.feed(piece)]
    return [(event.event, event.data) for event in found + source.end()]


def data_of(stream: bytes) -> list[bytes]:
    """The data of every event, however the stream is cut."""
    return [data for _, data in feeding.feed_all_ways(all_of, stream)]


def test_the_standards_stock_ticker() -> None:
    stream = b"data: YHOO\ndata: +2\ndata: 10\n\n"
    assert data_of(stream) == [b"YHOO\n+2\n10"]


def test_the_standards_four_blocks() -> None:
    stream = (
        b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event"
    )
    assert data_of(stream) == [b"first event", b"second event", b" third event"]


def test_the_standards_empty_data() -> None:
    assert data_of(b"data\n\ndata\ndata\n\n") == [b"", b"\n"]


def test_k82_the_field_that_some_servers_end_a_stream_with_is_an_error() -> None:
    for stream in (b'error: {"message":"x"}\n\n', b'data: 1\n\nerror:{"message":"x"}\n\n'):
        for found in feeding.feed_all_ways(all_of, stream)[-1:]:
            assert found == ("error", b'{"message":"x"}')


def test_the_standards_optional_space() -> None:
    assert data_of(b"data:test\n\ndata: test\n\n") == [b"test", b"test"]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_lines_end_in_three_ways(end: bytes) -> None:
    stream = end.join([b"data: \xe6\xbc\xa2", b"data: \xf0\x9f\x91\xa9", b"", b"data:x", b"", b""])
    assert data_of(stream) == ["漢\n👩".encode(), b"x"]


def test_line_ends_may_be_mixed() -> None:
    assert data_of(b"data: a\r\ndata: b\rdata: c\n\r\r\ndata: d\r\r") == [b"a\nb\nc", b"d"]


def test_a_carriage_return_ends_its_line_at_once() -> None:
    source = EventSource()
    assert source.feed(b"data: a\r\n\r") == [Event("message", b"a")]
    assert source.feed(b"") == []
    assert source.feed(b"\ndata: b\r\r") == [Event("message", b"b")]


def test_other_unicode_line_ends_are_text() -> None:
    text = "a\u2028b\x0bc\x85d".encode()
    assert data_of(b"data: " + text + b"\n\n") == [text]


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (b"\xef\xbb\xbfdata: a\n\n", [b"a"]),
        (b"\xef\xbb\xbf\xef\xbb\xbfdata: a\n\n", []),
        (b"data: \xef\xbb\xbfa\n\n", [b"\xef\xbb\xbfa"]),
        (b"\xef\xbbdata: a\n\n", []),
        (b"\xef\xbb", []),
    ],
)
def test_one_byte_order_mark_at_the_start_is_dropped(stream: bytes, expected: list[bytes]) -> None:
    assert data_of(stream) == expected


def test_comments_ids_retry_and_unknown_fields_leave_no_trace() -> None:
    stream = (
        b": keepalive\n\n:\n\nid: 7\n\nretry: 10\n\nevent: ping\n\n"
        b"foo: bar\ndatax: 1\n data: 2\n\n"
        b"id: 8\nretry: 3\n: within\ndata: a\nDATA: b\ndata\xc2\xa0: c\n\n"
    )
    assert data_of(stream) == [b"a"]


def test_a_type_is_that_of_its_event_alone() -> None:
    stream = (
        b"event: error\ndata: a\n\ndata: b\n\nevent:x\nevent: y \ndata: c\n\nevent\ndata: d\n\n"
    )
    assert feeding.feed_all_ways(events_of, stream) == [
        ("error", b"a"),
        ("message", b"b"),
        ("y ", b"c"),
        ("message", b"d"),
    ]
    assert events_of([b"event: \xff\ndata: a\n\n"]) == [("\ufffd", b"a")]


def test_a_type_without_data_does_not_reach_the_next_event() -> None:
    assert events_of([b"event: error\n\ndata: a\n\n"]) == [("message", b"a")]


@pytest.mark.parametrize(
    "tail", [b"data: b", b"data: b\n", b"data: b\r\n", b"data: b\r", b"data:b"]
)
def test_the_end_of_the_stream_stands_for_the_blank_line(tail: bytes) -> None:
    assert feeding.feed_all_ways(events_of, b"data: a\n\n" + tail) == [("message", b"a")]
    assert data_of(b"data: a\n\n" + tail) == [b"a", b"b"]


def test_an_end_after_a_blank_line_says_nothing() -> None:
    source = EventSource()
    assert source.end() == []
    assert len(source.feed(b"data: a\n\n: bye\n")) == 1
    assert source.end() == []


LIMIT = 100


def outcome(pieces: Iterable[bytes]) -> tuple[list[bytes], str]:
    """The data that came out of a small source, and why it stopped."""
    source = EventSource(max_bytes=LIMIT)
    found: list[bytes] = []
    try:
        for piece in pieces:
            found += [event.data for event in source.feed(piece)]
        found += [event.data for event in source.end()]
    except errors.TooLarge as refused:
        return found, str(refused)
    return found, ""


REFUSED = "an event is longer than 100 bytes"


@pytest.mark.parametrize("prefix", [b"data: ", b"data:"])
def test_an_event_at_the_limit_passes_and_one_byte_more_does_not(prefix: bytes) -> None:
    ok = b"data: ok\n\n"
    whole = b"x" * LIMIT
    assert feeding.feed_all_ways(outcome, ok + prefix + whole + b"\n\n") == ([b"ok", whole], "")
    long = ok + prefix + whole + b"x\n\n" + ok
    assert feeding.feed_all_ways(outcome, long) == ([b"ok"], REFUSED)


def test_the_lines_of_an_event_count_together() -> None:
    ok = b"data: " + b"x" * 49 + b"\ndata: " + b"y" * 50 + b"\n\n"
    assert feeding.feed_all_ways(outcome, ok)[1] == ""
    long = b"data: " + b"x" * 50 + b"\ndata: " + b"y" * 50 + b"\n\n"
    assert feeding.feed_all_ways(outcome, long) == ([], REFUSED)
    assert feeding.feed_all_ways(outcome, b"data\n" * 102 + b"\n") == ([], REFUSED)


def test_a_line_of_no_event_is_limited_too() -> None:
    assert feeding.feed_all_ways(outcome, b": " + b"x" * 200) == ([], REFUSED)
    assert feeding.feed_all_ways(outcome, (b": " + b"x" * 90 + b"\n") * 9) == ([], "")


def test_a_refused_stream_stays_refused() -> None:
    source = EventSource(max_bytes=LIMIT)
    with pytest.raises(errors.TooLarge):
        source.feed(b"x" * 200)
    with pytest.raises(errors.TooLarge):
        source.feed(b"\n\ndata: a\n\n")
    with pytest.raises(errors.TooLarge):
        source.end()


@pytest.mark.parametrize(("size", "read"), [(2**20, 1), (2**20, 4096), (8 * 2**20, 4096)])
def test_a_long_event_takes_linear_time_in_small_reads(size: int, read: int) -> None:
    stream = b"data: " + b"x" * size + b"\n\n"
    source = EventSource()
    begun = time.process_time()
    found = [
        len(event.data)
        for start in range(0, len(stream), read)
        for event in source.feed(stream[start : start + read])
    ]
    assert time.process_time() - begun < 4, "joining read by read takes many times as long"
    assert found == [size]


PIECES = st.lists(
    st.sampled_from(
        [b"data", b":", b" ", b"\n", b"\r", b"\r\n", b"event", b"id", b"\xef\xbb\xbf", b"x", b"{}"]
    )
    | st.binary(max_size=3),
    max_size=40,
)


@given(PIECES, st.lists(st.integers(0, 200), max_size=8))
def test_any_bytes_give_the_same_events_for_any_split(
    pieces: list[bytes], cuts: list[int]
) -> None:
    stream = b"".join(pieces)
    edges = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    split = [stream[start:end] for start, end in itertools.pairwise(edges)]
    expected = outcome([stream])
    assert outcome(split) == expected
    assert outcome([stream[at : at + 1] for at in range(len(stream))]) == expected


LINE = st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), max_size=20)


@given(st.lists(LINE, min_size=1))
def test_what_is_written_by_the_standard_is_read_back(lines: list[str]) -> None:
    stream = "".join(f"data: {line}\n" for line in lines) + "\n"
    (event,) = EventSource().feed(stream.encode())
    assert event.data.decode() == "\n".join(lines)
