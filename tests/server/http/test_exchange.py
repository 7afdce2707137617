"""What a well-behaved client sees of `server.http.exchange` and `server.http.connection`."""

from collections.abc import Iterable

import pytest
import structlog.testing
import uvloop

from server.http import errors, exchange as http
from tests.support.client.httpwire import Response, chunked, get, post
from tests.support.client.inprocess import Held, echo, rounds, serving
from tests.support.machines import virtualtime
from tests.support.machines.feeding import feed_all_ways


def test_a_whole_response_byte_for_byte() -> None:
    async def run() -> bytes:
        async with serving(echo) as server:
            client = await server.connect()
            await client.send(post(b"hi", "connection: close", path="/v1/x?a=1&b=%20"))
            return await client.rest()

    assert uvloop.run(run()) == (
        b"HTTP/1.1 200 OK\r\n"
        b"content-type: text/plain\r\n"
        b"content-length: 23\r\n"
        b"date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
        b"server: turntape\r\n"
        b"Connection: close\r\n"
        b"\r\n"
        b"POST|/v1/x|a=1&b=%20|hi"
    )


def test_a_stream_byte_for_byte() -> None:
    async def stream(exchange: http.Exchange) -> None:
        exchange.start(200, [("content-type", "text/event-stream")])
        exchange.write(b"one")
        exchange.write(b"")
        exchange.write(b"sixteen letters.")
        exchange.finish(b"end")

    async def run() -> bytes:
        async with serving(stream) as server:
            client = await server.connect()
            await client.send(get("/", "connection: close"))
            return await client.rest()

    assert uvloop.run(run()) == (
        b"HTTP/1.1 200 OK\r\n"
        b"content-type: text/event-stream\r\n"
        b"date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
        b"server: turntape\r\n"
        b"Transfer-Encoding: chunked\r\n"
        b"Connection: close\r\n"
        b"\r\n"
        b"3\r\none\r\n"
        b"10\r\nsixteen letters.\r\n"
        b"3\r\nend\r\n0\r\n\r\n"
    )


@pytest.mark.parametrize(
    ("requests", "expected"),
    [
        (get("/a?q=1") + get("/b", "connection: close"), [b"GET|/a|q=1|", b"GET|/b||"]),
        (
            post(b"one") + post(b"", path="/two") + post(b"three", "connection: close"),
            [b"POST|/||one", b"POST|/two||", b"POST|/||three"],
        ),
        (
            chunked(b"a", b"bc", b"def") + get("/z", "connection: close"),
            [b"POST|/||abcdef", b"GET|/z||"],
        ),
    ],
    ids=["get", "content-length", "chunked"],
)
def test_requests_are_answered_in_order_however_they_are_cut(
    requests: bytes, expected: list[bytes]
) -> None:
    async def run(pieces: Iterable[bytes]) -> bytes:
        async with serving(echo) as server:
            client = await server.connect()
            for piece in pieces:
                await client.send(piece)
            return await client.rest()

    answers = feed_all_ways(lambda pieces: uvloop.run(run(pieces)), requests, rounds=10)
    bodies = [part.split(b"\r\n\r\n")[1] for part in answers.split(b"HTTP/1.1 ")[1:]]
    assert bodies == expected


def test_pipelined_answers_never_interleave() -> None:
    """The second handler does not start before the first response is complete."""

    async def run() -> None:
        held = Held()
        async with serving(held) as server:
            client = await server.connect()
            await client.send(get("/1") + get("/2"))
            first = await held.next()
            first.start(200, [])
            first.write(b"first")
            await rounds()
            assert held.exchanges.empty()
            first.finish(b" whole")
            assert (await client.response()).body == b"first whole"
            second = await held.next()
            assert second.request.path == "/2"
            second.respond(200, [], b"second")
            assert (await client.response()).body == b"second"

    uvloop.run(run())


def test_a_connection_is_kept_and_ends_when_idle() -> None:
    async def run() -> None:
        async with serving(echo, http.Limits(idle_timeout=0.05)) as server:
            client = await server.connect()
            for path in ("/1", "/2"):
                answer = await client.ask(get(path))
                assert "connection" not in answer.headers
            assert await client.rest() == b""

    virtualtime.run(run())


def test_head_has_the_headers_of_get_and_no_body() -> None:
    async def run() -> None:
        async with serving(echo) as server:
            client = await server.connect()
            head = await client.ask(get("/x", method="HEAD"), "HEAD")
            assert head.headers["content-length"] == str(len("HEAD|/x||"))
            assert (await client.ask(get("/y"))).body == b"GET|/y||"

    uvloop.run(run())


def test_a_stream_asked_for_with_head_has_no_body() -> None:
    async def stream(exchange: http.Exchange) -> None:
        exchange.start(200, [])
        exchange.write(b"dropped")
        exchange.finish(b"dropped too")

    async def run() -> None:
        async with serving(stream) as server:
            client = await server.connect()
            assert (await client.ask(get("/", method="HEAD"), "HEAD")).status == 200
            assert (await client.ask(get())).body == b"droppeddropped too"

    uvloop.run(run())


def test_a_status_without_a_body_has_no_content_length() -> None:
    async def nothing(exchange: http.Exchange) -> None:
        exchange.respond(204, [], b"")

    async def run() -> None:
        async with serving(nothing) as server:
            client = await server.connect()
            for _ in range(2):
                answer = await client.ask(get("/", method="OPTIONS"))
                assert (answer.status, "content-length" in answer.headers) == (204, False)

    uvloop.run(run())


def test_http_1_0_gets_an_unframed_stream_and_a_close() -> None:
    async def stream(exchange: http.Exchange) -> None:
        exchange.start(200, [])
        exchange.write(b"one")
        exchange.finish(b"two")

    async def run() -> Response:
        async with serving(stream) as server:
            client = await server.connect()
            return await client.ask(get("/", version="1.0"))

    answer = uvloop.run(run())
    assert answer.body == b"onetwo"
    assert answer.headers["connection"] == "close"
    assert "transfer-encoding" not in answer.headers


def test_a_body_is_asked_for_only_when_wanted() -> None:
    async def refuse_or_echo(exchange: http.Exchange) -> None:
        if exchange.request.path == "/refused":
            raise errors.ApiError("invalid_api_key", "no key")
        await echo(exchange)

    async def run() -> None:
        expecting = "expect: 100-continue"
        async with serving(refuse_or_echo) as server:
            client = await server.connect()
            await client.send(get("/", "content-length: 2", expecting, method="POST"))
            assert (await client.response()).status == 100
            assert (await client.ask(b"hi")).body == b"POST|/||hi"
            refused = get("/refused", "content-length: 2", expecting, method="POST")
            answer = await client.ask(refused)
            assert (answer.status, answer.headers["connection"]) == (401, "close")
            assert await client.rest() == b""

    uvloop.run(run())


def test_a_small_body_left_unread_does_not_cost_the_connection() -> None:
    async def ignore(exchange: http.Exchange) -> None:
        exchange.respond(200, [], exchange.request.path.encode())

    async def run() -> None:
        async with serving(ignore) as server:
            client = await server.connect()
            for request in (post(b"x" * 1000, path="/1"), chunked(b"y" * 1000, path="/2")):
                assert (await client.ask(request)).status == 200
            assert (await client.ask(get("/3"))).body == b"/3"

    uvloop.run(run())


def test_headers_are_found_in_lower_case() -> None:
    found: list[object] = []

    async def look(exchange: http.Exchange) -> None:
        headers = exchange.request.headers
        found.extend([headers.get("x-a"), headers.get_all("x-a"), headers.get("x-b")])
        found.extend([headers.get_all("x-b"), exchange.request.peer])
        exchange.respond(200, [], b"")

    async def run() -> None:
        async with serving(look) as server:
            await (await server.connect()).ask(get("/", "X-A: one", "x-a: caf\u00e9"))

    uvloop.run(run())
    assert found == ["one", ["one", "caf\u00c3\u00a9"], None, [], "127.0.0.1"]


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        ("/v1/models/org%2Fmodel:tag-1.5@q", "/v1/models/org%2Fmodel:tag-1.5@q", ""),
        ("/a?b?c=d", "/a", "b?c=d"),
        ("http://localhost:1/v1/x?y=z", "/v1/x", "y=z"),
        ("HTTP://localhost", "/", ""),
        ("*", "*", ""),
    ],
)
def test_the_parts_of_a_target(target: str, path: str, query: str) -> None:
    async def no_body() -> bytes:
        return b""

    request = http.Request("GET", target, http.Headers([]), "", no_body)
    assert (request.path, request.query) == (path, query)


def test_a_body_can_be_asked_for_twice() -> None:
    async def twice(exchange: http.Exchange) -> None:
        first = await exchange.request.body()
        exchange.respond(200, [], first + await exchange.request.body())

    async def run() -> Response:
        async with serving(twice) as server:
            return await (await server.connect()).ask(post(b"ab"))

    assert uvloop.run(run()).body == b"abab"


def test_an_api_error_of_the_handler_is_answered() -> None:
    async def refuse(exchange: http.Exchange) -> None:
        raise errors.ApiError("rate_limit_exceeded", "slow down", retry_after=7)

    async def run() -> None:
        async with serving(refuse) as server:
            client = await server.connect()
            for _ in range(2):
                answer = await client.ask(post(b"body"))
                assert (answer.status, answer.code) == (429, "rate_limit_exceeded")
                assert answer.headers["retry-after"] == "7"
                assert answer.headers["x-request-id"].startswith("req_")

    uvloop.run(run())


def test_a_defect_is_a_500_without_internals_and_logged_once() -> None:
    async def broken(exchange: http.Exchange) -> None:
        raise ValueError("secret path /srv/x")

    async def run() -> Response:
        async with serving(broken) as server:
            return await (await server.connect()).ask(get("/p?key=hidden"))

    with structlog.testing.capture_logs() as logs:
        answer = uvloop.run(run())
    assert (answer.status, answer.code) == (500, "internal_error")
    assert b"secret" not in answer.body
    said = [(line["event"], line["boundary"], line["path"]) for line in logs]
    assert said == [("defect", "request", "/p")]
    assert logs[0]["req_id"] == answer.headers["x-request-id"]
    assert "secret" in str(logs[0]["exc_info"])


@pytest.mark.parametrize("version", ["1.1", "1.0"])
def test_a_defect_within_a_stream_is_seen_as_a_failure(version: str) -> None:
    """The text so far arrives; the end does not look like one, with or without chunks."""

    async def broken(exchange: http.Exchange) -> None:
        exchange.start(200, [])
        exchange.write(b"so far")
        raise ValueError("half way")

    async def run() -> None:
        async with serving(broken) as server:
            client = await server.connect()
            await client.send(get("/", version=version))
            got = await client.until(b"so far")
            assert b" 200 " in got
            rest = b"\r\n" if version == "1.1" else b""
            assert await client.rest() == rest
            assert client.is_reset == (version == "1.0")

    with structlog.testing.capture_logs() as logs:
        uvloop.run(run())
    assert len(logs) == 1


def test_a_handler_that_forgets_its_response_is_a_defect() -> None:
    async def forgetful(exchange: http.Exchange) -> None:
        if exchange.request.path == "/begun":
            exchange.start(200, [])

    async def run() -> None:
        async with serving(forgetful) as server:
            client = await server.connect()
            assert (await client.ask(get("/"))).status == 500
            assert not (await client.ask(get("/begun"))).whole

    with structlog.testing.capture_logs() as logs:
        uvloop.run(run())
    assert len(logs) == 2


def test_a_response_cannot_be_begun_twice_or_written_before_its_head() -> None:
    raised: list[str] = []

    async def wrong(exchange: http.Exchange) -> None:
        for early in (exchange.write, exchange.finish):
            with pytest.raises(RuntimeError) as before:
                early(b"x")
            raised.append(str(before.value))
        exchange.respond(200, [], b"once")
        with pytest.raises(RuntimeError) as after:
            exchange.respond(200, [], b"twice")
        raised.append(str(after.value))
        exchange.write(b"late")
        exchange.finish(b"late")
        exchange.abort()

    async def run() -> None:
        async with serving(wrong) as server:
            client = await server.connect()
            for _ in range(2):
                assert (await client.ask(get())).body == b"once"

    uvloop.run(run())
    assert raised[:2] == ["write() before start()", "finish() before start()"]
    assert raised[2].startswith("a second response")


def test_a_header_that_would_split_the_response_is_a_defect() -> None:
    async def splitting(exchange: http.Exchange) -> None:
        exchange.respond(200, [("x-a", "b\r\nset-cookie: c")], b"")

    async def run() -> Response:
        async with serving(splitting) as server:
            return await (await server.connect()).ask(get())

    with structlog.testing.capture_logs():
        answer = uvloop.run(run())
    assert answer.status == 500
    assert "set-cookie" not in answer.headers


def test_the_date_moves_with_the_clock() -> None:
    now = [0.0]
    date = http.DateHeader(lambda: now[0])
    assert date.text() == "Thu, 01 Jan 1970 00:00:00 GMT"
    now[0] = 1.5
    assert date.text() == "Thu, 01 Jan 1970 00:00:01 GMT"
