"""Responses are read strictly, whatever the pieces that they come in."""

import pytest

from tests.support.client import httpwire
from tests.support.client.httpwire import CUT, End, Response, ResponseReader

SIZED = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nx-a:  b \r\n\r\nhello"
CHUNKED = b"HTTP/1.1 201 Made\r\ntransfer-encoding: chunked\r\n\r\n" + httpwire.in_chunks(
    b"hel", b"lo"
)
TO_THE_CLOSE = b"HTTP/1.1 500 No\r\nconnection: close\r\n\r\nhello"
EMPTY = b"HTTP/1.1 204 Nothing\r\ncontent-length: 9\r\n\r\n"

RESPONSES = {
    "sized": (SIZED, Response(200, {"content-length": "5", "x-a": "b"}, b"hello", True)),
    "chunked": (CHUNKED, Response(201, {"transfer-encoding": "chunked"}, b"hello", True)),
    "to the close": (TO_THE_CLOSE, Response(500, {"connection": "close"}, b"hello", True)),
    "without a body": (EMPTY, Response(204, {"content-length": "9"}, b"", True)),
}


def read(data: bytes, piece: int, method: str = "GET") -> Response:
    """What a reader makes of bytes in pieces of a size, and of the connection's end."""
    reader = ResponseReader(bytearray(), method)
    for start in range(0, len(data), piece):
        reader.take(data[start : start + piece])
    reader.take(b"")
    return reader.response()


@pytest.mark.parametrize("piece", [1, 2, 1000])
@pytest.mark.parametrize("name", RESPONSES)
def test_a_response_is_the_same_in_any_pieces(name: str, piece: int) -> None:
    data, response = RESPONSES[name]
    assert read(data, piece) == response


@pytest.mark.parametrize("data", [SIZED, CHUNKED])
def test_one_that_is_cut_off_anywhere_is_not_whole(data: bytes) -> None:
    head = data.index(b"\r\n\r\n") + 4
    for end in range(len(data)):
        part = read(data[:end], 1000)
        assert not part.whole
        assert (part.status == CUT) == (end < head)
        assert b"hello".startswith(part.body)


def test_a_reset_ends_even_what_ends_with_the_connection() -> None:
    reader = ResponseReader(bytearray())
    reader.take(TO_THE_CLOSE)
    assert reader.end is End.OPEN
    reader.break_off()
    assert (reader.end, reader.response().whole) == (End.CUT, False)


def test_what_follows_a_response_is_kept_for_the_next_reader() -> None:
    received = bytearray()
    first = ResponseReader(received)
    first.take(SIZED + CHUNKED)
    assert (first.end, bytes(first.body)) == (End.WHOLE, b"hello")
    second = ResponseReader(received)
    assert (second.response().status, bytes(received)) == (201, b"")


def test_a_response_to_head_has_no_body() -> None:
    assert read(SIZED.partition(b"hello")[0], 1000, "HEAD").whole


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.0 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\na: 1\r\nA: 2\r\n\r\n",
        CHUNKED.replace(b"hel\r\n", b"hel!\r\n"),
        CHUNKED[:-2] + b"a: trailer\r\n\r\n",
    ],
)
def test_what_the_server_never_sends_is_refused(data: bytes) -> None:
    with pytest.raises(AssertionError):
        read(data, 1000)
