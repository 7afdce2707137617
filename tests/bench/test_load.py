"""The load generator counts what came, when it came, and how it ended."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterable

import msgspec
import pytest

from bench import load
from tests.support.machines import feeding
from tests.support.process import serving

HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
"""Of an answer that is a stream."""

HELLO = b'data: {"choices":[{"delta":{"content":"hello"}}]}\n\n'
"""A chunk with content."""

ROLE = b'data: {"choices":[{"delta":{"role":"assistant","content":""}}]}\n\n'
"""The chunk that comes before any content."""

DONE = b"data: [DONE]\n\n"
"""The end of an answer that is whole."""

FAILED = b'data: {"error":{"message":"no"}}\n\n'
"""The end of one that is not."""


def chunked(*pieces: bytes) -> bytes:
    """A whole body of these pieces, each an HTTP chunk."""
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in (*pieces, b""))


def outcome_of(answer: bytes, requests: int = 1, endpoint: str = "chat") -> load.Report:
    """The report of one stream against a server that answers like this and then hangs up."""

    async def answer_it(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()
        await writer.wait_closed()

    async def ask() -> load.Report:
        async with await asyncio.start_server(answer_it, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            url = f"http://127.0.0.1:{port}/v1"
            plan = load.Plan(url=url, streams=1, requests=requests, endpoint=endpoint)
            return await load.run(plan)

    return asyncio.run(ask())


def unchunked(pieces: Iterable[bytes]) -> tuple[bytes, bool]:
    """A body without its coding, and whether it ended."""
    body = load.ChunkedBody()
    data = b"".join([body.feed(piece) for piece in pieces])
    return data, body.ended


def test_a_chunked_body_is_read_however_it_is_cut() -> None:
    coded = chunked(b"a", b"bc" * 20, b"\r\n0\r\n")
    assert feeding.feed_all_ways(unchunked, coded) == (b"a" + b"bc" * 20 + b"\r\n0\r\n", True)


def test_a_chunked_body_that_goes_on_has_not_ended() -> None:
    assert unchunked([chunked(b"abc")[:-1]]) == (b"abc", False)


def test_a_body_that_is_not_chunked_is_refused() -> None:
    with pytest.raises(load.NotChunked, match="data"):
        unchunked([b"data: 1\r\n"])


def test_only_content_counts_as_a_chunk() -> None:
    report = outcome_of(HEAD + chunked(ROLE, HELLO, HELLO + HELLO[:9], HELLO[9:] + DONE))
    assert (report.outcomes, report.chunks) == ({"done": 1}, 3)
    assert len(set(report.ttft_ms.values())) == 1
    assert report.latency_ms == {}


def test_json_with_spaces_counts_too() -> None:
    spaced = HELLO.replace(b'":', b'": ')
    assert outcome_of(HEAD + chunked(spaced, DONE)).chunks == 1


def test_a_stamped_chunk_has_a_latency() -> None:
    sent = time.time_ns() // 1000 - 5_000_000
    stamped = HELLO.replace(b"hello", b"%d " % sent)
    latency = outcome_of(HEAD + chunked(stamped, DONE)).latency_ms
    assert 5_000 <= latency["p50"] < 60_000


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (HEAD + chunked(HELLO, FAILED), "error"),
        (HEAD + chunked(HELLO, FAILED.replace(b'":', b'": ')), "error"),
        (HEAD + chunked(HELLO), "cut"),
        (HEAD + chunked(HELLO)[:-5], "cut"),
        (HEAD[:9], "cut"),
        (b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 2\r\n\r\n{}", "503"),
    ],
)
def test_what_is_not_whole_is_told_by_name(answer: bytes, outcome: str) -> None:
    assert outcome_of(answer).outcomes == {outcome: 1}


def test_events_of_responses_are_told_apart() -> None:
    delta = (
        b"event: response.output_text.delta\n"
        b'data: {"type":"response.output_text.delta","sequence_number":4,"delta":"%b"}\n\n'
    )
    begun = b'event: response.created\ndata: {"type":"response.created","response":{}}\n\n'
    sent = time.time_ns() // 1000 - 5_000_000
    answer = chunked(begun, delta % b"", delta % b"hello", delta % (b"%d " % sent), DONE)
    report = outcome_of(HEAD + answer, endpoint="responses")
    assert (report.outcomes, report.chunks) == ({"done": 1}, 2)
    assert report.latency_ms["p50"] >= 5_000


@pytest.mark.parametrize("together", [False, True])
def test_a_response_that_failed_is_not_whole_although_it_is_over(together: bool) -> None:
    failed = b'event: response.failed\ndata: {"type":"response.failed","response":{}}\n\n'
    pieces = (failed + DONE,) if together else (failed, DONE)
    report = outcome_of(HEAD + chunked(*pieces), endpoint="responses")
    assert report.outcomes == {"error": 1}


def test_a_failed_request_is_followed_by_the_next_on_a_new_connection() -> None:
    assert outcome_of(HEAD + chunked(HELLO), requests=3).outcomes == {"cut": 3}


def test_percentiles_are_of_what_was_measured() -> None:
    assert load.percentiles([]) == {}
    thousand = [1000 * number for number in range(1, 101)]
    found = load.percentiles(list(reversed(thousand)))
    assert found == {"p50": 50, "p90": 90, "p99": 99, "p100": 100}


def test_cpu_time_is_the_processes_own() -> None:
    own = (os.getpid(),)
    before, began = load.cpu_seconds(own), time.process_time()
    while time.process_time() - began < 0.1:
        pass
    spent = load.cpu_seconds(own) - before
    assert 0.05 < spent < 0.5
    with pytest.raises(FileNotFoundError):
        load.cpu_seconds((2**22 + 1,))


@pytest.mark.long(usual=("chat",))
@pytest.mark.parametrize("endpoint", load.APIS)
def test_the_command_reports_on_a_server(endpoint: str) -> None:
    with serving.running("--worker", "scripted") as server:
        ran = subprocess.run(
            (
                *(sys.executable, "-m", "bench.load", "--url", server.url),
                *("--model", "text-short", "--streams", "3", "--requests", "2"),
                *("--pid", str(server.process.pid), "--endpoint", endpoint),
            ),
            cwd=serving.ROOT,
            capture_output=True,
            text=True,
        )
    assert ran.returncode == 0, ran.stderr
    report = msgspec.json.decode(ran.stdout, type=load.Report)
    assert report.outcomes == {"done": 6}
    assert report.chunks >= 6
    assert report.cpu_us is not None


def test_the_command_fails_where_an_answer_does() -> None:
    with serving.running("--worker", "scripted") as server:
        command = (sys.executable, "-m", "bench.load", "--url", server.url, "--streams", "1")
        ran = subprocess.run(
            (*command, "--model", "no-such"), cwd=serving.ROOT, capture_output=True, text=True
        )
    assert ran.returncode == 1
    assert msgspec.json.decode(ran.stdout)["outcomes"] == {"404": 1}
