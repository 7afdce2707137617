"""Faults of an HTTP upstream, as far as they are the worker's: each test is named for its row.

The deadlines (rows 7 and 8) and what the client sees (rows 4 to 6, 33) are the stream's own. Here
a turn meets them as an upstream that says nothing and is let go.
"""

import asyncio
import socket
import ssl
import subprocess
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
import uvloop

from engine import failures
from engine.upstream import client as upstreamclient, errors as upstreamerrors, worker as upstream
from machines.events import (
    RetryScheduled,
    RpcReplied,
    RpcSent,
    TextDelta,
    TokensCounted,
    TurnFailed,
    TurnFinished,
    UpstreamGarbled,
    Usage,
)
from machines.wire.eventsource import MAX_EVENT_BYTES
from tests.engine.upstream.test_worker import ANSWER, ended, play, running, turn, until_ready
from tests.engine.worker_contract import ENDS, Feed
from tests.support.machines import told
from tests.support.process import machinetime
from tests.support.providers import scripted, upstreams
from tests.support.providers.upstreams import (
    DONE,
    LAST,
    STREAM_HEAD,
    chunk,
    counted,
    framed,
    response,
    sse,
    usage,
)


class Outcome:
    """What a turn told, and what the upstream saw of it."""

    def __init__(self, feed: Feed, requests: list[upstreams.Request]) -> None:
        self.text = feed.text
        found = feed.of(TextDelta, TokensCounted, UpstreamGarbled, TurnFinished, TurnFailed)
        self.events = told.all_to_client(found)
        self.retries = [each for each in feed.events if isinstance(each, RetryScheduled)]
        self.attempts = feed.of(RpcSent, RpcReplied)
        self.requests = requests

    @property
    def failure(self) -> TurnFailed:
        """The one failure that the turn ended with."""
        (failed,) = (event for event in self.events if isinstance(event, TurnFailed))
        assert failed is self.events[-1]
        return failed


def outcome(script: upstreams.Script, **body: Any) -> Outcome:
    """Run one turn until its task is over: nothing here may need the grace to end."""
    found: list[Outcome] = []

    async def scene(source: upstreams.Upstream, runner: upstream.UpstreamWorker) -> None:
        feed = Feed()
        running = runner.run(turn(**body), feed)
        async with asyncio.timeout(10):
            await running.task
        found.append(Outcome(feed, source.requests))

    play(scene, script, finish_grace=30)
    return found[0]


TOLD = STREAM_HEAD + framed(sse(chunk("Hel"))) + framed(sse(chunk("lo")))
FINISHED = framed(sse(chunk(finish="stop")))


def test_row_1_a_finish_ends_the_answer_and_the_upstream_is_let_go() -> None:
    async def scene(source: upstreams.Upstream, runner: upstream.UpstreamWorker) -> None:
        feed = await ended(runner, turn())
        assert feed.of(*ENDS) == [TurnFinished("stop", followed=True)]
        assert not source.requests[0].left.is_set()
        begun = time.monotonic()
        await feed.until(TokensCounted)
        assert feed.events[-1] == TokensCounted(None)
        async with asyncio.timeout(machinetime.HANG_S):
            await source.requests[0].left.reached()
        assert time.monotonic() - begun > 0.1, "the grace is 0.2 s, less a tenth of it"

    play(scene, [[TOLD + FINISHED, "stall"]], finish_grace=0.2)


def test_row_1_counts_within_the_grace_are_told_at_once() -> None:
    gate = scripted.Gate()

    async def scene(_: upstreams.Upstream, runner: upstream.UpstreamWorker) -> None:
        feed = await ended(runner, turn())
        gate.open()
        await feed.until(TokensCounted)
        assert feed.events[-1] == TokensCounted(Usage(7, 2))

    play(scene, [[TOLD + FINISHED, gate, framed(sse(counted(7, 2))), "stall"]], finish_grace=30)


def test_row_2_a_reset_after_some_events_is_a_failure_with_the_counts_so_far() -> None:
    told = framed(sse(chunk("!", usage=usage(7, 3))))
    for end in ("reset", "close"):  # the last chunk of a chunked body is missing
        result = outcome([[TOLD + told, end]])
        assert result.text == "Hello!"
        assert result.events[3] == TokensCounted(Usage(7, 3))
        assert (result.failure.kind, result.failure.code) == (
            "upstream_error",
            "upstream_disconnected",
        )
        assert len(result.requests) == 1


@pytest.mark.parametrize("told", [b"", sse(chunk("a"), chunk("b"))])
def test_k43_a_reset_is_one_also_where_the_body_ends_with_its_connection(told: bytes) -> None:
    to_the_close = upstreams.head(200, "connection: close") + told
    result = outcome([[to_the_close, 0.05, "reset"]])
    assert (result.text, result.failure.code) == ("ab" if told else "", "upstream_disconnected")
    assert len(result.requests) == 1


def test_row_2_a_body_shorter_than_its_length_is_broken_off() -> None:
    head = upstreams.head(200, "content-length: 1000")
    result = outcome([[head + sse(chunk("a")), "close"]])
    assert (result.text, result.failure.code) == ("a", "upstream_disconnected")


@pytest.mark.parametrize("end", ["reset", "close"])
@pytest.mark.parametrize("begun", [b"", b"HTTP/1.1 200 O", STREAM_HEAD])
def test_row_2_a_connection_that_breaks_before_any_event_is_not_tried_again(
    begun: bytes, end: scripted.Step
) -> None:
    result = outcome([[begun, end]])
    assert result.failure.code == "upstream_disconnected"
    assert result.failure.status is None
    assert (len(result.requests), result.retries) == (1, [])


@pytest.mark.parametrize("garbled", [b"zz\r\nhello", b"5\r\nhelloXX"])
@pytest.mark.parametrize("end", ["stall", "close"])
def test_row_2_a_body_whose_chunks_break_is_broken_off_at_once(
    garbled: bytes, end: scripted.Step
) -> None:
    """In a read of its own: the library closes the connection and tells its reader nothing."""
    result = outcome([[TOLD, 0.05, garbled, end]])
    assert (result.text, result.failure.code) == ("Hello", "upstream_disconnected")
    assert len(result.requests) == 1


def test_row_2_chunks_that_break_behind_a_finish_change_no_answer() -> None:
    result = outcome([[TOLD + FINISHED, 0.05, b"zz\r\nhello", "stall"]])
    assert result.text == "Hello"
    assert [each for each in result.events if isinstance(each, TurnFinished)]


def test_row_3_a_body_that_ends_without_a_finish_is_truncated() -> None:
    to_the_close = upstreams.head(200, "connection: close") + sse(chunk("Hello"))
    answers: list[upstreams.Answer] = [[TOLD, LAST], [to_the_close, "close"]]
    for answer in answers:
        result = outcome([answer])
        assert (result.text, result.failure.code) == ("Hello", "upstream_truncated")
        assert len(result.requests) == 1


def test_rows_7_and_8_an_upstream_that_says_nothing_is_waited_for_until_let_go() -> None:
    for begun in (b"", STREAM_HEAD, TOLD, TOLD + framed(b": keepalive\n\n")):

        async def scene(source: upstreams.Upstream, runner: upstream.UpstreamWorker) -> None:
            feed = Feed()
            running = runner.run(turn(), feed)
            await source.until(lambda: source.requests)
            running.cancel()
            async with asyncio.timeout(machinetime.HANG_S):
                await source.requests[0].left.reached()
            assert feed.of(*ENDS) == []

        play(scene, [[begun, "stall"]])


@pytest.mark.parametrize(
    "body", [b"", framed(b": hello\n\n"), framed(b"\n\n"), framed(DONE), framed(b"id: 1\n\n")]
)
def test_row_9_a_stream_without_an_event_is_empty(body: bytes) -> None:
    result = outcome([[STREAM_HEAD + body, LAST]])
    assert (result.failure.kind, result.failure.code) == ("empty", "empty_upstream")
    assert len(result.requests) == 1


REFUSAL = {
    "error": {
        "message": "Rate limit reached for org-1",
        "type": "requests",
        "param": None,
        "code": "rate_limit_exceeded",
    }
}


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("retry-after: 7", 7.0),
        ("Retry-After: 0", 0.0),
        ("retry-after: Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
        ("retry-after: soon", None),
        ("retry-after: Mon, 01 Jan 2024 00:00:00 +99999999999999999999", None),
        ("x-other: 1", None),
    ],
)
def test_row_10_a_429_keeps_its_retry_after(header: str, seconds: float | None) -> None:
    result = outcome([response(429, REFUSAL, header)])
    assert result.failure == TurnFailed(
        "upstream_error",
        "rate_limit_exceeded",
        "Rate limit reached for org-1",
        status=429,
        retry_after=seconds,
        members=msgspec.Raw(b'{"type":"requests"}'),
    )
    assert len(result.requests) == 1


def test_row_10_a_retry_after_may_be_a_date() -> None:
    at = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 30))
    result = outcome([response(429, REFUSAL, f"retry-after: {at}")])
    assert result.failure.retry_after == pytest.approx(29, abs=2)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
@pytest.mark.parametrize("kind", ["application/json", "text/html", "text/event-stream"])
def test_row_11_a_4xx_is_kept_whatever_its_body_is_labelled(status: int, kind: str) -> None:
    error = {"error": {"message": "No.", "type": "t", "param": "n", "code": "c"}}
    result = outcome([response(status, error, kind=kind)])
    further = msgspec.Raw(b"{}" if status in (401, 403) else b'{"type":"t"}')
    failed = TurnFailed("upstream_error", "c", "No.", status=status, param="n", members=further)
    assert result.events == [failed]
    assert len(result.requests) == 1


def test_row_11_a_4xx_whose_body_breaks_off_is_still_that_4xx() -> None:
    result = outcome([[upstreams.head(404, "content-length: 99") + b'{"error"', "reset"]])
    assert result.failure.status == 404


def test_row_11_a_4xx_without_an_end_is_still_that_4xx(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upstreamclient, "ERROR_BODY_S", 0.05)
    result = outcome([[upstreams.head(404, "content-length: 99") + b'{"error"', "stall"]])
    assert result.failure.status == 404
    assert result.requests[0].left.is_set()


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Further attempts come soon."""
    monkeypatch.setattr(failures, "RETRY_BASE_S", 0.04)


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize("status", [500, 502, 503])
def test_row_12_a_5xx_is_tried_twice_more_and_then_redacted(status: int) -> None:
    error = {"error": {"message": "db-3.internal is down", "code": "c"}}
    begun = time.monotonic()
    result = outcome([response(status, error)])
    first, second = result.retries
    assert (first.attempt, first.code) == (1, "upstream_error")
    assert (second.attempt, second.code) == (2, "upstream_error")
    assert 20 <= first.delay_ms <= 40 <= second.delay_ms <= 80
    assert time.monotonic() - begun >= (first.delay_ms + second.delay_ms) / 1000
    assert result.attempts == [
        *(RpcSent("chat/completions", 1), RpcReplied(1, str(status))),
        *(RpcSent("chat/completions", 2), RpcReplied(2, str(status))),
        *(RpcSent("chat/completions", 3), RpcReplied(3, str(status))),
    ]
    assert result.events == [TurnFailed("upstream_error", "upstream_error", failures.REDACTED)]
    assert len(result.requests) == 3


@pytest.mark.usefixtures("soon")
def test_row_12_an_answer_after_a_5xx_is_the_answer() -> None:
    result = outcome([response(503, b""), ANSWER])
    assert result.text == "hi"
    assert not any(isinstance(event, TurnFailed) for event in result.events)
    assert len(result.requests) == 2


@pytest.mark.usefixtures("soon")
def test_row_12_the_upstreams_own_delay_is_kept_if_it_is_short() -> None:
    result = outcome([response(503, b"", "retry-after: 1"), ANSWER])
    assert result.text == "hi"
    assert [retry.delay_ms for retry in result.retries] == [1000]


def test_row_12_a_long_delay_is_for_the_client_to_wait() -> None:
    result = outcome([response(503, b"", "retry-after: 60"), ANSWER])
    assert (result.failure.code, result.failure.retry_after) == ("upstream_error", 60.0)
    assert len(result.requests) == 1


def test_row_12_a_cancelled_turn_is_not_tried_again() -> None:
    async def scene(source: upstreams.Upstream, runner: upstream.UpstreamWorker) -> None:
        feed = Feed()
        running = runner.run(turn(), feed)
        await feed.until(RetryScheduled)
        running.cancel()
        await asyncio.wait([running.task])
        assert len(source.requests) == 1
        assert feed.of(*ENDS) == []

    play(scene, [response(500, b"")])


@pytest.mark.parametrize("status", [504, 501])
def test_row_12_other_statuses_are_not_tried_again(status: int) -> None:
    result = outcome([response(status, b"")])
    expected = TurnFailed("upstream_error", "upstream_error", failures.REDACTED)
    assert (result.events, len(result.requests)) == ([expected], 1)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_said_to_be_one_and_not_followed(status: int) -> None:
    result = outcome([response(status, b"", "location: /elsewhere")])
    assert (result.events, len(result.requests)) == ([failures.REDIRECTED.event(0)], 1)


def failure_of(url: str, **options: Any) -> TurnFailed:
    """The failure of a turn on an upstream that cannot be reached."""

    async def main() -> TurnFailed:
        async with running(url, **options) as runner:
            feed = await ended(runner, turn())
            failed = feed.events[-1]
            assert isinstance(failed, TurnFailed)
            assert len(feed.of(RpcSent)) == 1
            return failed

    failed = uvloop.run(main())
    assert not any(word in failed.message for word in ("127.0.0.1", "invalid", "Errno", ":"))
    return failed


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def test_row_13_a_refused_connection_is_a_502() -> None:
    failed = failure_of(f"http://127.0.0.1:{closed_port()}/v1")
    assert (failed.code, failed.status) == ("upstream_unreachable", None)


@pytest.mark.parametrize("host", ["nobody.invalid", f"{'x' * 64}.invalid"])
def test_row_13_a_name_that_does_not_exist_is_a_502(host: str) -> None:
    failed = failure_of(f"http://{host}/v1")
    assert (failed.code, failed.status) == ("upstream_unreachable", None)


def test_row_13_a_black_hole_is_a_504_within_the_connect_limit() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        address = listener.getsockname()
        fillers = [socket.socket() for _ in range(8)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(address)
        begun = time.monotonic()
        failed = failure_of(f"http://127.0.0.1:{address[1]}/v1", connect_timeout=0.3)
        assert time.monotonic() - begun > 0.25
        for filler in fillers:
            filler.close()
    assert (failed.code, failed.status) == ("upstream_unreachable", 504)


def test_row_13_no_tls_where_it_is_expected_is_a_502() -> None:
    async def refuse(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async def main() -> TurnFailed:
        plain = await asyncio.start_server(refuse, "127.0.0.1", 0)
        url = f"https://127.0.0.1:{plain.sockets[0].getsockname()[1]}/v1"
        async with plain, running(url) as runner:
            failed = (await ended(runner, turn())).events[-1]
            assert isinstance(failed, TurnFailed)
            return failed

    failed = uvloop.run(main())
    assert (failed.code, failed.status) == ("upstream_unreachable", None)


def test_row_13_a_certificate_is_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    options = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost"
    named = f"-addext subjectAltName=DNS:localhost -keyout {key} -out {certificate}"
    command = f"openssl req -x509 {options} {named}"
    subprocess.run(command.split(), check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    async def main() -> tuple[str, str]:
        source = upstreams.Upstream([ANSWER], upstreams.LISTED)
        await source.open(context=context)
        url = f"https://localhost:{source.port}/v1"
        async with running(url) as runner:
            distrusted = (await ended(runner, turn())).events[-1]
        assert isinstance(distrusted, TurnFailed)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        async with running(url) as runner:
            trusted = await ended(runner, turn())
        await source.close()
        return distrusted.code, trusted.text

    assert uvloop.run(main()) == ("upstream_unreachable", "hi")


def test_row_14_an_error_as_the_first_event_has_its_status_and_nothing_before_it() -> None:
    error = {"error": {"message": "Too many.", "type": "rate_limit_error", "code": None}}
    result = outcome([[STREAM_HEAD + framed(sse(error)), "stall"]])
    assert result.events == [
        TurnFailed(
            "upstream_error",
            "rate_limit_exceeded",
            "Too many.",
            status=429,
            members=msgspec.Raw(b'{"type":"rate_limit_error"}'),
        )
    ]
    assert len(result.requests) == 1


@pytest.mark.parametrize("kind", [b"", b"event: error\n"])
def test_row_15_an_error_after_content_is_told_once_and_ends_the_turn(kind: bytes) -> None:
    error = sse({"error": {"message": "Out of memory.", "code": "oom"}})
    late = framed(sse(chunk("late", finish="stop")) + DONE)
    result = outcome([[TOLD + framed(kind + error) + late, "stall"]])
    assert result.text == "Hello"
    assert result.failure == TurnFailed("upstream_error", "oom", "Out of memory.")
    assert result.requests[0].left.is_set()


def test_row_16_an_event_that_is_not_json_ends_the_turn() -> None:
    result = outcome([[TOLD + framed(sse('{"choices":[{') + sse(chunk("late"))), "stall"]])
    assert (result.text, result.failure.code) == ("Hello", "upstream_decode_error")
    assert result.events[-2] == UpstreamGarbled('{"choices":[{')
    assert result.requests[0].left.is_set()


def test_row_24_an_end_within_arguments_is_no_whole_call() -> None:
    call = {"index": 0, "id": "c1", "function": {"name": "f", "arguments": '{"a": '}}
    begun = chunk(choices=[{"index": 0, "delta": {"tool_calls": [call]}}])
    for end in ([LAST], ["reset"]):
        result = outcome([[STREAM_HEAD + framed(sse(begun)), *end]])
        assert not any(isinstance(event, TurnFinished) for event in result.events)
        assert result.failure.code in ("upstream_truncated", "upstream_disconnected")


def test_row_28_a_sentinel_ends_an_answer_without_a_finish() -> None:
    late = framed(sse(chunk("late")) + b"garbage\n\ndata: {\n\n")
    result = outcome([[TOLD + framed(DONE) + late, LAST]])
    assert result.text == "Hello"
    assert result.events[2:] == [TokensCounted(None), TurnFinished("[DONE]")]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_row_30_every_byte_a_write_of_its_own(end: str) -> None:
    text = "漢字 👩‍👩‍👧‍👦 é"
    body = sse(chunk(text), chunk(finish="stop"), counted(7, 2)).decode().replace("\n", end)
    data = body.encode()
    result = outcome(
        [[STREAM_HEAD, *(framed(data[at : at + 1]) for at in range(len(data))), LAST]]
    )
    assert result.events == [
        TextDelta(text),
        TurnFinished("stop", followed=True),
        TokensCounted(Usage(7, 2)),
    ]


def test_row_31_a_stream_full_of_what_the_standard_allows() -> None:
    body = (
        b"\xef\xbb\xbf: hi\n\nretry: 1\nid: 7\nevent: x\ndata:"
        + sse(chunk("a"))[6:]
        + b"data:\n\n: keepalive\n\n"
        + sse(chunk("b", finish="stop")).rstrip()
    )
    result = outcome([upstreams.raw_stream(body)])
    assert (result.text, result.events[-1]) == ("ab", TokensCounted(None))


def test_row_32_an_event_over_the_limit_ends_the_turn() -> None:
    large = [framed(b"x" * 2**20)] * (MAX_EVENT_BYTES // 2**20 + 2)
    result = outcome([[TOLD, framed(b"data: "), *large, "stall"]])
    assert (result.text, result.failure.code) == ("Hello", "upstream_event_too_large")


def test_row_32_a_large_event_within_the_limit_is_told() -> None:
    large = sse(chunk("x" * (8 * 2**20), finish="stop"))
    result = outcome([upstreams.raw_stream(large + DONE)])
    assert len(result.text) == 8 * 2**20
    assert TurnFinished("stop", followed=True) in result.events


COMPLETION = {
    "object": "chat.completion",
    "choices": [{"index": 0, "message": {"content": "hi"}, "finish_reason": "stop"}],
    "usage": usage(7, 2),
}


@pytest.mark.parametrize("kind", ["application/json", "text/event-stream"])
def test_row_34_a_completion_becomes_a_whole_stream(kind: str) -> None:
    result = outcome([response(200, COMPLETION, kind=kind)])
    assert result.events == [
        TextDelta("hi"),
        TokensCounted(Usage(7, 2)),
        TurnFinished("stop"),
    ]


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"<!doctype html><title>Sign in</title>", "text/html"),
        (b"", "application/json"),
        (b"{}", "application/json"),
        (b'{"choices": [', "application/json"),
        (b"Ollama is running", "text/plain"),
    ],
)
def test_row_34_what_is_no_answer_is_a_502(body: bytes, kind: str) -> None:
    result = outcome([response(200, body, kind=kind)])
    assert (result.failure.kind, result.failure.code) == ("upstream_error", "upstream_error")
    assert "html" not in result.failure.message


def test_row_34_what_is_no_http_is_a_502() -> None:
    result = outcome([[b"SSH-2.0-OpenSSH_9.6\r\n\r\n", "close"]])
    assert result.failure.code in ("upstream_error", "upstream_disconnected")


@pytest.mark.parametrize("end", ["reset", "close"])
def test_row_35_a_connection_that_went_stale_is_replaced_once(end: scripted.Step) -> None:
    """The upstream ends the connection as the next request comes in."""
    served: dict[int, int] = {}

    def script(request: upstreams.Request) -> upstreams.Answer:
        served[request.connection] = served.get(request.connection, 0) + 1
        return ANSWER if served[request.connection] == 1 else [end]

    async def scene(source: upstreams.Upstream, runner: upstream.UpstreamWorker) -> None:
        await until_ready(runner)
        for _ in range(2):
            feed = Feed()
            running = runner.run(turn(), feed)
            await running.task
            assert feed.text == "hi"
            assert len(feed.of(RpcSent)) == 1
        assert [request.connection for request in source.requests] == [0, 0, 1]

    play(scene, script)


def test_row_35_the_fresh_connection_is_none_of_the_pool() -> None:
    gate = scripted.Gate()
    served: dict[int, int] = {}

    def script(request: upstreams.Request) -> upstreams.Answer:
        served[request.connection] = served.get(request.connection, 0) + 1
        return [gate, *ANSWER] if served[request.connection] == 1 else ["reset"]

    async def scene(source: upstreams.Upstream, runner: upstream.UpstreamWorker) -> None:
        first, second = (runner.run(turn(), Feed()) for _ in range(2))
        await source.until(lambda: len(source.requests) == 2)
        gate.open()
        await asyncio.wait([first.task, second.task])
        assert (await ended(runner, turn())).text == "hi"
        assert source.requests[3].connection == 2

    play(scene, script)


def test_row_35_once_means_once() -> None:
    served: dict[int, int] = {}

    def script(request: upstreams.Request) -> upstreams.Answer:
        served[request.connection] = served.get(request.connection, 0) + 1
        first = request.connection == served[request.connection] - 1 == 0
        return ANSWER if first else ["reset"]

    async def scene(source: upstreams.Upstream, runner: upstream.UpstreamWorker) -> None:
        await until_ready(runner)
        await runner.run(turn(), Feed()).task
        feed = await ended(runner, turn())
        failed = feed.events[-1]
        assert isinstance(failed, TurnFailed)
        assert failed.code == upstreamerrors.DISCONNECTED.code
        assert [request.connection for request in source.requests] == [0, 0, 1]

    play(scene, script)


def test_row_35_an_answer_that_had_begun_is_not_asked_for_again() -> None:
    served: dict[int, int] = {}

    def script(request: upstreams.Request) -> upstreams.Answer:
        served[request.connection] = served.get(request.connection, 0) + 1
        return ANSWER if served[request.connection] == 1 else [STREAM_HEAD, "reset"]

    async def scene(source: upstreams.Upstream, runner: upstream.UpstreamWorker) -> None:
        await until_ready(runner)
        await runner.run(turn(), Feed()).task
        feed = await ended(runner, turn())
        assert isinstance(feed.events[-1], TurnFailed)
        assert len(source.requests) == 2

    play(scene, script)
