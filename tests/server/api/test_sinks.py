"""What of a stream is sent when: nothing before its turn, each byte once, the end with the end."""

import hashlib
import json
from collections.abc import Callable
from typing import Any

import pytest

from engine.stream import sink
from machines import outputs
from machines.events import (
    Usage,
)
from machines.outputs import (
    CancelTurn,
    Content,
    Done,
    Failure,
    Finish,
    Head,
    Keepalive,
    Rejected,
    Role,
    UsageTotals,
)
from server import renderers
from server.api import sinks
from server.http import exchange as http
from tests.support.machines.playbook import opened

KEY = b"k" * 32

SSE_HEADERS = [
    ("x-request-id", "req_1"),
    ("content-type", "text/event-stream; charset=utf-8"),
    ("cache-control", "no-cache, no-transform"),
    ("x-accel-buffering", "no"),
]


class Recorder(http.Exchange):
    """An exchange that only remembers what it was told."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def respond(self, status: int, headers: http.HeaderList, body: bytes) -> None:
        self.calls.append(("respond", status, headers, body))

    def start(self, status: int, headers: http.HeaderList) -> None:
        self.calls.append(("start", status, headers))

    def write(self, data: bytes) -> None:
        self.calls.append(("write", data))

    def finish(self, data: bytes = b"") -> None:
        self.calls.append(("finish", data))

    def take_calls(self) -> list[tuple[Any, ...]]:
        """What was called since the last time."""
        calls, self.calls = self.calls, []
        return calls


class Wire:
    """A sink with a recorder behind it."""

    def __init__(self, **options: Any) -> None:
        self.exchange = Recorder()
        first = opened(**options)
        self.sink = sinks.Sink(
            self.exchange, renderers.renderer(first), [("x-request-id", "req_1")], KEY
        )

    def wake(self, *outputs: outputs.AnyOutput, last: bool = False) -> list[tuple[Any, ...]]:
        """One wake-up: what the exchange was told in it."""
        self.sink.take(outputs, 0)
        if last:
            self.sink.end()
            self.summary = self.sink.summary()
        self.send(self.sink.collect())
        return self.exchange.take_calls()

    def send(self, part: sink.Part) -> None:
        """Send a part; nothing may go wrong."""
        if part.last:
            self.sink.finish(part, unexpected)
        else:
            self.sink.send(part)


def unexpected(error: Exception) -> None:
    raise error


def data(text: str) -> bytes:
    """The frame of a text."""
    head = b'"id":"chatcmpl-1","object":"chat.completion.chunk","created":1795293345,"model":"m"'
    choice = b'"index":0,"delta":{"content":"%b"},"logprobs":null,"finish_reason":null'
    return b'data: {%b,"choices":[{%b}]}\n\n' % (head, choice % text.encode())


def hash_of(body: bytes) -> str:
    return hashlib.blake2b(body, digest_size=16, key=KEY).hexdigest()


def test_nothing_is_sent_before_its_records_are_on_file() -> None:
    wire = Wire()
    wire.sink.take((Head(), Content("a")), 0)
    first = wire.sink.collect()
    wire.sink.take((Content("b"), Done()), 0)
    wire.sink.end()
    wire.sink.summary()
    second = wire.sink.collect()
    assert wire.exchange.calls == []
    wire.send(first)
    assert wire.exchange.take_calls() == [("start", 200, SSE_HEADERS), ("write", data("a"))]
    wire.send(second)
    assert wire.exchange.take_calls() == [("finish", data("b") + b"data: [DONE]\n\n")]


def test_what_was_collected_is_not_collected_again() -> None:
    wire = Wire()
    wire.sink.take((Head(), Content("a")), 0)
    size = len(data("a"))
    assert wire.sink.collect() == sink.Part(200, 0, data("a"), last=False)
    assert wire.sink.collect() == sink.Part(200, size, b"", last=False)
    wire.sink.take((Content("b"),), 0)
    wire.sink.end()
    wire.sink.summary()
    assert wire.sink.collect() == sink.Part(200, size, data("b"), last=True)


class KeptWire(Wire):
    """One whose answer must be kept before its end is told."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.kept: list[Callable[[], None]] = []
        rendered = renderers.renderer(opened(**options))
        headers = [("x-request-id", "req_1")]
        self.sink = sinks.Sink(self.exchange, rendered, headers, KEY, self.kept.append)

    def keep(self) -> list[tuple[Any, ...]]:
        """The answer is kept: what the exchange was told then."""
        (proceed,) = self.kept
        proceed()
        return self.exchange.take_calls()


def test_only_the_end_waits_for_what_must_come_before_it() -> None:
    wire = KeptWire()
    said = wire.wake(Head(), Content("a"), Done(), last=True)
    assert said == [("start", 200, SSE_HEADERS), ("write", data("a"))]
    assert wire.keep() == [("finish", b"data: [DONE]\n\n")]
    assert wire.summary.body_hash == hash_of(data("a") + b"data: [DONE]\n\n")


def test_a_whole_body_waits() -> None:
    wire = KeptWire(streaming=False)
    done = (Head(), Role(), Content("a"), Finish("stop"), UsageTotals(Usage(1, 1)), Done())
    assert wire.wake(*done, last=True) == []
    ((name, status, _, body),) = wire.keep()
    assert (name, status) == ("respond", 200)
    assert wire.summary.body_hash == hash_of(body)


def test_a_refusal_waits_too() -> None:
    wire = KeptWire()
    assert wire.wake(Rejected(Failure("worker_busy", "Busy.")), last=True) == []
    ((name, status, *_),) = wire.keep()
    assert (name, status) == ("respond", 429)


def test_a_wake_up_without_a_head_sends_nothing() -> None:
    wire = Wire()
    assert wire.wake() == []
    assert wire.wake() == []


def test_a_stream_is_a_head_one_write_a_wake_up_and_an_end() -> None:
    wire = Wire()
    start, first = wire.wake(Head(), Role(), Content("a"), Content("b"))
    assert start == ("start", 200, SSE_HEADERS)
    assert first[0] == "write"
    assert first[1].startswith(b'data: {"id":')
    assert first[1].endswith(data("a") + data("b"))
    assert wire.wake(Content("c")) == [("write", data("c"))]
    assert wire.wake() == []
    assert wire.wake(CancelTurn()) == []
    ((name, end),) = wire.wake(Finish("stop"), Done(), last=True)
    assert name == "finish"
    assert end.endswith(b"data: [DONE]\n\n")
    assert wire.wake() == []


def test_the_head_may_go_alone() -> None:
    wire = Wire()
    assert wire.wake(Head()) == [("start", 200, SSE_HEADERS)]
    assert wire.wake(Keepalive()) == [("write", b": keepalive\n\n")]
    assert wire.wake(Content("x")) == [("write", data("x"))]


def test_a_stream_of_one_wake_up_is_a_head_and_one_last_write() -> None:
    wire = Wire()
    start, finish = wire.wake(Head(), Content("x"), Done(), last=True)
    assert start == ("start", 200, SSE_HEADERS)
    assert finish == ("finish", data("x") + b"data: [DONE]\n\n")
    assert wire.wake() == []


def test_a_failure_before_the_head_is_a_response_of_its_own() -> None:
    wire = Wire()
    rejected = Rejected(Failure("worker_exited", "Gone."))
    ((name, status, headers, body),) = wire.wake(rejected, last=True)
    assert (name, status) == ("respond", 503)
    assert headers == [
        ("x-request-id", "req_1"),
        ("content-type", "application/json"),
        ("retry-after", "1"),
    ]
    assert json.loads(body)["error"]["code"] == "worker_exited"
    assert wire.wake() == []
    assert wire.summary.status == 503
    assert wire.summary.body_bytes == len(body)
    assert wire.summary.body_hash == hash_of(body)


def test_a_failure_after_the_head_ends_the_stream_with_its_frame() -> None:
    wire = Wire()
    wire.wake(Head(), Content("x"))
    ((name, frame),) = wire.wake(Failure("worker_exited", "Gone."), last=True)
    assert name == "finish"
    assert frame.startswith(b'data: {"error":')
    assert b"[DONE]" not in frame
    assert wire.summary.status == 200


def test_a_body_is_sent_whole_with_its_length_known() -> None:
    wire = Wire(streaming=False)
    assert wire.wake(Head(), Role(), Content("a")) == []
    assert wire.wake(Content("b"), Finish("stop")) == []
    ((name, status, headers, body),) = wire.wake(UsageTotals(Usage(1, 2)), Done(), last=True)
    assert (name, status) == ("respond", 200)
    assert headers == [("x-request-id", "req_1"), ("content-type", "application/json")]
    assert json.loads(body)["choices"][0]["message"]["content"] == "ab"
    assert wire.wake() == []
    assert wire.summary.frames == 1
    assert wire.summary.body_hash == hash_of(body)


def test_a_client_that_left_before_the_head_gets_no_response() -> None:
    for streaming in (True, False):
        wire = Wire(streaming=streaming)
        assert wire.wake(last=True) == []
        assert (wire.summary.status, wire.summary.frames, wire.summary.body_bytes) == (0, 0, 0)
        assert wire.wake() == []


def test_a_client_that_left_mid_stream_is_told_no_more() -> None:
    wire = Wire()
    wire.wake(Head(), Content("x"))
    assert wire.wake(last=True) == [("finish", b"")], "nothing but the end, which nobody gets"
    assert wire.wake() == []


@pytest.mark.parametrize("wakeups", [1, 2, 4])
def test_the_summary_is_of_the_whole_body_however_it_was_sent(wakeups: int) -> None:
    outputs = (Head(), Role(), Content("漢"), Content("字"), Finish("stop"), Done())
    wire, body = Wire(), b""
    size = -(-len(outputs) // wakeups)
    for begin in range(0, len(outputs), size):
        last = begin + size >= len(outputs)
        for call in wire.wake(*outputs[begin : begin + size], last=last):
            body += call[1] if call[0] in ("write", "finish") else b""
    assert body.count(b"data: ") == wire.summary.frames == 5
    assert wire.summary.body_bytes == len(body)
    assert wire.summary.body_hash == hash_of(body)
    assert wire.summary.status == 200


def test_a_rerouted_model_is_named_in_the_head() -> None:
    wire = Wire()
    wire.sink.rerouted("gpt-5.2")
    assert (sinks.REROUTED, "gpt-5.2") in head_of(wire)


@pytest.mark.parametrize("name", ["", "two words", "a\r\nset-cookie: x", "\u540d", "x" * 129])
def test_a_name_that_no_header_can_hold_is_left_out(name: str) -> None:
    wire = Wire()
    wire.sink.rerouted(name)
    assert sinks.REROUTED not in dict(head_of(wire))


def head_of(wire: Wire) -> list[tuple[str, str]]:
    """The head of an answer that begins now."""
    start = next(call for call in wire.wake(Head(), Role()) if call[0] == "start")
    return list(start[2])
