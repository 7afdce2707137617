"""Whatever a worker or a provider writes is read, skipped, or refused by a named error."""

import asyncio
import json
from typing import get_args

import structlog.testing
from hypothesis import given, strategies as st

from engine.codex.protocol import appserver, channel, notifications
from engine.codex.turns import dispatcher, reader as codex
from machines import errors, events
from machines.wire import eventsource, jsonrpc
from tests.fuzz import inputs
from tests.simulator import clock
from tests.support.providers import turnscene

METHODS = st.sampled_from((*appserver.METHODS, *notifications.NOTIFICATIONS, "x"))
PARAMS = st.fixed_dictionaries(
    {"threadId": st.just("t")},
    optional={
        "turnId": inputs.JSON,
        "itemId": inputs.JSON,
        "delta": inputs.JSON,
        "item": st.fixed_dictionaries(
            {},
            optional={
                "type": inputs.JSON,
                "id": inputs.JSON,
                "text": inputs.JSON,
                "phase": inputs.JSON,
                "name": inputs.JSON,
            },
        ),
        "turn": st.fixed_dictionaries(
            {},
            optional={
                "id": inputs.JSON,
                "status": inputs.JSON,
                "items": inputs.JSON,
                "error": inputs.JSON,
            },
        ),
        "tokenUsage": inputs.JSON,
        "usage": inputs.JSON,
        "responseId": inputs.JSON,
    },
)
FRAMES = st.fixed_dictionaries(
    {},
    optional={
        "id": inputs.JSON | st.integers(0, 3),
        "method": METHODS | inputs.JSON,
        "params": PARAMS | inputs.JSON,
        "result": inputs.JSON,
        "error": inputs.JSON
        | st.fixed_dictionaries({"code": st.integers(), "message": st.text()}),
    },
)
RPC_LINES = (
    FRAMES.map(lambda frame: json.dumps(frame).encode())
    | PARAMS.map(
        lambda params: channel.TEXT_DELTA_LINE + b'"params":' + json.dumps(params).encode() + b"}"
    )
    | st.binary(max_size=60)
)


class Heard:
    """A feed that keeps what it is told."""

    def __init__(self) -> None:
        self.events: list[events.StreamInput] = []

    def event(self, event: events.StreamInput) -> None:
        self.events.append(event)


@inputs.MANY
@given(st.lists(RPC_LINES, max_size=6), inputs.CUTS, st.booleans())
def test_any_output_of_a_worker_is_read_or_skipped(
    lines: list[bytes], cuts: list[int], separate_items: bool
) -> None:
    async def scene() -> None:
        feed = Heard()
        routes = dispatcher.Dispatcher(lambda _: None)
        its_states = turnscene.states_of(asyncio.get_running_loop())
        routes.turns["t"] = codex.TurnReader(feed, 0, its_states, separate_items=separate_items)
        written: list[bytes] = []
        line = channel.Channel(written.append, routes, timeout=10)
        call = line.send("turn/interrupt", appserver.TurnInterruptParams("t", ""))
        for piece in inputs.cut(b"\n".join([*lines, b""]), cuts):
            line.feed(piece)
        line.close()
        await asyncio.wait({call.reply})
        assert all(isinstance(event, get_args(events.StreamInput)) for event in feed.events)

    loop = clock.VirtualLoop()
    try:
        with structlog.testing.capture_logs():
            loop.run_until_complete(scene())
    finally:
        loop.close()
    assert loop.complaints == []


@inputs.MANY
@given(RPC_LINES)
def test_a_line_is_a_message_or_undecodable(line: bytes) -> None:
    try:
        message = jsonrpc.decode(line)
    except errors.DecodeError:
        return
    assert isinstance(message, get_args(jsonrpc.Message))


STREAMED = st.lists(
    st.sampled_from(
        (
            b"data: {}",
            b"data:x",
            b"event: error",
            b":c",
            b"id: 1",
            b"data",
            b"\xef\xbb\xbf",
            b"",
            b"",
        )
    )
    | st.binary(max_size=8),
    max_size=12,
)


@inputs.MANY
@given(STREAMED, st.sampled_from((b"\n", b"\r", b"\r\n")), inputs.CUTS)
def test_a_stream_of_events_is_read_the_same_however_it_is_cut(
    lines: list[bytes], end: bytes, cuts: list[int]
) -> None:
    data = end.join(lines)
    whole, pieces = eventsource.EventSource(), eventsource.EventSource()
    found = [event for piece in inputs.cut(data, cuts) for event in pieces.feed(piece)]
    assert [*found, *pieces.end()] == [*whole.feed(data), *whole.end()]
