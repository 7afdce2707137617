"""What `server.http.connection` does with clients that are slow, rude or broken."""

import asyncio
import json
import random
from collections.abc import Callable

import pytest
import structlog.testing
import uvloop

from server.http import errors, exchange as http
from tests.support.client.httpwire import chunked, get, post
from tests.support.client.inprocess import WAIT, echo, serving
from tests.support.machines import virtualtime


@pytest.mark.parametrize(
    ("request_bytes", "status", "code"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", 400, "bad_http"),
        (b"GET\r\n\r\n", 400, "bad_http"),
        (b"GET / HTTP/1.1\r\n\r\n", 400, "bad_http"),
        (b"GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n", 400, "bad_http"),
        (b"GET / HTTP/1.1\r\nhost: a\r\nbad header\r\n\r\n", 400, "bad_http"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "bad_http"),
        (get("localhost:1", method="CONNECT"), 400, "bad_http"),
        (get("/", "content-length: -1"), 400, "bad_http"),
        (get("/", "content-length: 1", "content-length: 2"), 400, "bad_http"),
        (get("/", "transfer-encoding: gzip"), 400, "bad_http"),
        (get("/", "content-length: 3", "transfer-encoding: chunked"), 400, "bad_http"),
        (get("/", "transfer-encoding: chunked") + b"zz\r\n", 400, "bad_http"),
        (get("/", "expect: a-miracle"), 417, "expectation_failed"),
        (get("/" + "x" * 70_000), 431, "headers_too_large"),
        (get("/", "x-a: " + "x" * 70_000), 431, "headers_too_large"),
        (get("/", *["a: b"] * 10_000), 431, "headers_too_large"),
        (get("/", *[f"x-header-{n}: value" for n in range(10_000)]), 431, "headers_too_large"),
        (get("/", *["a: b"] * 200), 431, "headers_too_large"),
    ],
)
def test_a_bad_request_is_refused_in_the_envelope_and_the_connection_closed(
    request_bytes: bytes, status: int, code: str
) -> None:
    async def run() -> None:
        async with serving(echo) as server:
            client = await server.connect()
            answer = await client.ask(request_bytes)
            assert (answer.status, answer.code) == (status, code)
            assert answer.headers["connection"] == "close"
            assert answer.headers["content-type"] == "application/json"
            assert answer.headers["x-request-id"].startswith("req_")
            assert await client.rest() == b""

    with structlog.testing.capture_logs() as logs:
        uvloop.run(run())
    assert logs == []


@pytest.mark.parametrize("blank", [b"\r\n", b"\n", b"\r\n\r\n", b"\r\n" * 5_000])
def test_k50_blank_lines_before_a_request_and_behind_a_body_are_none_of_it(blank: bytes) -> None:
    async def run() -> None:
        async with serving(echo) as server:
            client = await server.connect()
            for _ in range(2):
                assert (await client.ask(blank + post(b"abc"))).status == 200
            both = await client.ask(post(b"abc") + blank + get("/second"))
            assert both.status == 200
            assert (await client.response()).status == 200
            for piece in (blank, blank, get("/third")):
                await client.send(piece)
            assert (await client.response()).status == 200

    uvloop.run(run())


def test_a_head_of_many_headers_below_the_limit_is_served() -> None:
    async def run() -> None:
        async with serving(echo) as server:
            client = await server.connect()
            headers = ["a: " + "x" * 300] * 199
            assert (await client.ask(get("/", *headers))).status == 200

    uvloop.run(run())


@pytest.mark.parametrize("sent", [b"G", b"GET / HTTP/1.1\r\nhost: x\r\n"])
def test_a_slow_head_is_a_408(sent: bytes) -> None:
    async def run() -> None:
        async with serving(echo, http.Limits(head_timeout=0.05)) as server:
            client = await server.connect()
            answer = await client.ask(sent)
            assert (answer.status, answer.code) == (408, "request_timeout_client")
            assert await client.rest() == b""

    uvloop.run(run())


def test_a_head_dripping_in_is_a_408_all_the_same() -> None:
    async def run() -> None:
        async with serving(echo, http.Limits(head_timeout=0.1)) as server:
            client = await server.connect()
            answer = asyncio.create_task(client.response())
            for byte in get("/", *["x-slow: loris"] * 20):
                if answer.done():
                    break
                await client.send(bytes([byte]))
                await asyncio.sleep(0.005)
            assert (await answer).code == "request_timeout_client"

    uvloop.run(run())


@pytest.mark.parametrize(
    "begun",
    [
        get("/", "content-length: 10", method="POST") + b"half",
        chunked(b"half")[: -len(b"0\r\n\r\n")],
    ],
)
def test_a_slow_body_is_a_408(begun: bytes) -> None:
    async def run() -> None:
        async with serving(echo, http.Limits(body_timeout=0.05)) as server:
            client = await server.connect()
            answer = await client.ask(begun)
            assert (answer.status, answer.code) == (408, "request_timeout_client")
            assert await client.rest() == b""

    uvloop.run(run())


def test_a_body_that_makes_progress_is_waited_for() -> None:
    async def run() -> None:
        async with serving(echo, http.Limits(body_timeout=0.1)) as server:
            client = await server.connect()
            await client.send(get("/", "content-length: 8", method="POST"))
            for _ in range(8):
                await asyncio.sleep(0.03)
                await client.send(b"x")
            assert (await client.response()).body == b"POST|/||xxxxxxxx"

    virtualtime.run(run())


@pytest.mark.parametrize("make", [post, chunked])
@pytest.mark.parametrize("size", [1_001, 3_000_000])
def test_a_client_that_has_sent_a_whole_body_too_large_reads_the_413(
    make: Callable[[bytes], bytes], size: int
) -> None:
    async def run() -> None:
        async with serving(echo, http.Limits(body_bytes=1_000)) as server:
            client = await server.connect()
            answer = await client.ask(make(b"x" * size))
            assert (answer.status, answer.code) == (413, "request_too_large")
            assert answer.headers["connection"] == "close"
            assert await client.rest() == b""

    uvloop.run(run())


def test_a_body_of_exactly_the_limit_is_taken() -> None:
    async def run() -> None:
        async with serving(echo, http.Limits(body_bytes=1_000)) as server:
            client = await server.connect()
            for request in (post(b"x" * 1_000), chunked(b"x" * 500, b"x" * 500)):
                assert (await client.ask(request)).body == b"POST|/||" + b"x" * 1_000

    uvloop.run(run())


def test_a_declared_body_too_large_is_refused_before_it_is_sent() -> None:
    async def run() -> None:
        async with serving(echo, http.Limits(body_bytes=1_000)) as server:
            client = await server.connect()
            expecting = ("content-length: 1001", "expect: 100-continue")
            answer = await client.ask(get("/", *expecting, method="POST"))
            assert answer.status == 413

    uvloop.run(run())


def test_a_long_body_left_unread_does_not_eat_the_answer() -> None:
    async def refuse(exchange: http.Exchange) -> None:
        raise errors.ApiError("invalid_api_key", "no key")

    async def run() -> None:
        async with serving(refuse) as server:
            for request in (post(b"x" * 5_000_000), chunked(b"x" * 5_000_000)):
                client = await server.connect()
                assert (await client.ask(request)).status == 401
                assert await client.rest() == b""

    uvloop.run(run())


@pytest.mark.parametrize("linger", [0.1, 60.0], ids=["by time", "by bytes"])
def test_a_client_that_sends_for_ever_is_let_go(linger: float) -> None:
    async def refuse(exchange: http.Exchange) -> None:
        raise errors.ApiError("invalid_api_key", "no key")

    async def run() -> None:
        async with serving(refuse, http.Limits(linger=linger)) as server:
            client = await server.connect()
            await client.send(get("/", "content-length: 99999999999", method="POST"))
            with pytest.raises(ConnectionError):
                async with asyncio.timeout(WAIT):
                    while True:
                        await client.send(b"x" * 100_000)

    uvloop.run(run())


def _is_refusal_or_close(answers: bytes) -> bool:
    """Whether these bytes are 4xx envelopes or answers of `echo`, whole and in order."""
    while answers:
        head, separator, rest = answers.partition(b"\r\n\r\n")
        status = head.split(b" ", 2)[1]
        if status == b"100":
            answers = rest
            continue
        lengths = [
            int(line.split(b":")[1])
            for line in head.split(b"\r\n")
            if line.lower().startswith(b"content-length:")
        ]
        body, answers = rest[: lengths[0]], rest[lengths[0] :]
        assert separator and len(body) == lengths[0]
        if status.startswith(b"4"):
            assert set(json.loads(body)["error"]) == {"message", "type", "param", "code"}
        elif status != b"200":
            return False
    return True


VALID = [
    get("/a?b"),
    post(b"body"),
    chunked(b"some", b"chunks"),
    get("/", "expect: 100-continue", "content-length: 0", method="POST"),
    get("/", "upgrade: websocket", "connection: upgrade"),
    get("/", version="1.0"),
]
"""What the fuzzer damages: it starts from requests, so that it gets past the request line."""


def _damage(rng: random.Random) -> bytes:
    data = bytearray(b"".join(rng.choices(VALID, k=rng.randint(1, 3))))
    for _ in range(rng.choice([0, 1, 1, 2, 5, 50])):
        at = rng.randrange(len(data) + 1)
        match rng.randrange(4):
            case 0:
                data[at : at + 1] = rng.randbytes(1)
            case 1:
                data[at:at] = rng.choice([b"\r\n", b"\n", b"\0", b" ", b":", b"0\r\n\r\n"])
            case 2:
                del data[at : at + rng.randint(1, 10)]
            case _:
                data[at:at] = rng.randbytes(rng.randint(1, 40))
    return bytes(data) if rng.random() < 0.9 else rng.randbytes(rng.randint(1, 300))


def test_any_bytes_are_refused_or_answered_and_never_a_defect() -> None:
    """Invariant: whatever comes in, 4xx envelopes and whole answers go out, then a close."""

    async def run() -> None:
        rng = random.Random(9112)
        async with serving(echo, http.Limits(head_timeout=0.5, body_timeout=0.5)) as server:
            for _ in range(500):
                data = _damage(rng)
                client = await server.connect()
                await client.send(data[: len(data) // 2])
                await client.send(data[len(data) // 2 :])
                client.half_close()
                answers = await client.rest()
                assert _is_refusal_or_close(answers), data
                await client.close()

    with structlog.testing.capture_logs() as logs:
        uvloop.run(run())
    assert logs == []


def test_a_client_refused_and_gone_is_nobody_s_defect() -> None:
    async def run() -> None:
        async with serving(echo) as server:
            for data in (b"nonsense\r\n\r\n", b"GET / HTTP", get("/", "content-length: 5")):
                client = await server.connect()
                await client.send(data)
                await client.reset()
            assert await server.http.drain(WAIT) == 0
            with pytest.raises(OSError, match="refused"):
                await server.connect()

    with structlog.testing.capture_logs() as logs:
        uvloop.run(run())
    assert logs == []
