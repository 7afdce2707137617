"""Whatever bytes a client sends, it gets responses or the end of its connection."""

import asyncio

import structlog.testing
from hypothesis import given, strategies as st

from server.http import exchange as http, listener
from tests.fuzz import inputs
from tests.simulator import answers, clock

HEADERS = (
    b"host: localhost",
    b"host: localhost",
    b"content-length: 5",
    b"content-length: 99999999999",
    b"content-length: -1",
    b"content-length: 5, 5",
    b"transfer-encoding: chunked",
    b"transfer-encoding: gzip, chunked",
    b"expect: 100-continue",
    b"connection: close",
    b"connection: keep-alive, upgrade",
    b"upgrade: h2c",
    b"x-" + b"a" * 300 + b": " + b"b" * 9_000,
    b" folded: yes",
    b"no colon",
    b"x: \xff\x00",
    b"x:\ty",
)
LINES = (
    b"GET / HTTP/1.1",
    b"POST /v1 HTTP/1.1",
    b"HEAD http://a/b?c HTTP/1.1",
    b"POST / HTTP/1.0",
    b"OPTIONS * HTTP/1.1",
    b"CONNECT a:1 HTTP/1.1",
    b"GET / HTTP/2.0",
    b"GET /%ff%00\xc3 HTTP/1.1",
    b"GET  / HTTP/1.1",
    b"",
)
BODIES = (b"", b"hello", b"5\r\nhello\r\n0\r\n\r\n", b"5\r\nhel", b"zz\r\n", b"0\r\nx: y\r\n\r\n")

REQUESTS = st.builds(
    lambda line, headers, end, body: line + b"\r\n" + b"\r\n".join(headers) + end + body,
    st.sampled_from(LINES),
    st.lists(st.sampled_from(HEADERS), max_size=5),
    st.sampled_from((b"\r\n\r\n", b"\r\n\r\n", b"\r\n\r\n", b"\n\n", b"\r\n", b"")),
    st.sampled_from(BODIES) | st.binary(max_size=40),
)


async def echo(exchange: http.Exchange) -> None:
    """Answer with what came, after a moment."""
    body = await exchange.request.body()
    await asyncio.sleep(0.01)
    exchange.respond(200, [("content-type", "text/plain")], body)


async def connected(loop: clock.VirtualLoop, pieces: list[bytes], ends: bool) -> bytes:
    """What a server answers to these pieces, on one connection that is closed at last."""
    server = listener.HttpServer(echo, http.Limits(body_bytes=1_000, buffer_bytes=500))
    await server.start("", 0)
    wire = loop.port.connect(None)
    assert wire is not None
    for piece in filter(None, pieces):
        wire.send(piece)
        await asyncio.sleep(0.001)
    if ends:
        wire.half_close()
    await asyncio.sleep(200)  # after every limit there is
    assert server.connections == 0
    await server.close()
    return bytes(wire.received)


@inputs.MANY
@given(
    st.lists(REQUESTS, min_size=1, max_size=3).map(b"".join) | st.binary(),
    inputs.CUTS,
    st.booleans(),
)
def test_any_bytes_get_whole_responses_or_the_end_of_the_connection(
    data: bytes, cuts: list[int], ends: bool
) -> None:
    loop = clock.VirtualLoop()
    try:
        with structlog.testing.capture_logs() as lines:
            received = loop.run_until_complete(connected(loop, inputs.cut(data, cuts), ends))
    finally:
        loop.close()
    assert loop.complaints == []
    assert lines == []
    assert loop.timers() == []
    if b"HEAD" not in data:  # whose answers have no body, whatever their length says
        for answer in answers.read(received, ended=True):
            assert 200 <= answer.status < 600
            assert answer.whole
