"""One read holds lines of many turns: what one of them cannot take costs no other anything."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
import structlog

from engine import failures
from engine.codex.protocol import channel
from engine.codex.turns import dispatcher, reader as codex
from machines import events
from machines.events import TextDelta, TurnFinished, UpstreamGarbled
from machines.wire import jsonrpc
from tests.support.machines import virtualtime
from tests.support.providers import turnscene

TEXTS = ("one ", "two ", "three ", "four")


@pytest.fixture(autouse=True, scope="module")
def loop() -> Iterator[None]:
    """A loop that keeps deadlines, and does not run."""
    with contextlib.closing(virtualtime.VirtualLoop()) as loop:
        Turn.loop = loop
        yield


class Turn:
    """A turn on a process that others share: what it led to."""

    loop: asyncio.AbstractEventLoop

    def __init__(self, turns: dispatcher.Dispatcher, thread: str) -> None:
        self.thread = thread
        self.events: list[events.StreamInput] = []
        its_states = turnscene.states_of(self.loop)
        self.reader = codex.TurnReader(self, 0, its_states, ids={"stream": f"st_{thread}"})
        turns.turns[thread] = self.reader

    def event(self, event: events.StreamInput) -> None:
        self.events.append(event)

    @property
    def failures(self) -> list[failures.ProviderFailure]:
        return [self.reader.failure] if self.reader.failure is not None else []

    @property
    def text(self) -> str:
        return "".join(each.text for each in self.events if isinstance(each, TextDelta))

    @property
    def finished(self) -> bool:
        return any(isinstance(each, TurnFinished) for each in self.events)


class Process:
    """Three turns on one process, and its channel."""

    def __init__(self) -> None:
        self.turns = dispatcher.Dispatcher(lambda _: None)
        self.channel = channel.Channel(lambda _: None, self.turns, 10.0)
        self.a, self.b, self.c = (Turn(self.turns, name) for name in "abc")

    def read(self, *lines: bytes) -> None:
        self.channel.feed(b"".join(line + b"\n" for line in lines))


def notification(method: str, thread: str, **params: Any) -> bytes:
    whole = {"threadId": thread, "turnId": "tu", **params}
    return msgspec.json.encode({"method": method, "params": whole})


def delta(thread: str, text: str) -> bytes:
    return notification("item/agentMessage/delta", thread, itemId="m", delta=text)


def ending(thread: str) -> tuple[bytes, bytes]:
    item = {"type": "agentMessage", "id": "m", "text": "".join(TEXTS)}
    turn = {"id": "tu", "status": "completed", "items": []}
    return (
        notification("item/completed", thread, item=item),
        notification("turn/completed", thread, turn=turn),
    )


def interleaved(poison: Callable[[str], bytes]) -> list[bytes]:
    """Three answers in one read, and a poisonous line in the middle of the second."""
    lines = []
    for number, text in enumerate(TEXTS):
        lines += [delta("a", text), delta("b", text), delta("c", text)]
        if number == 1:
            lines.append(poison("b"))
    return [*lines, *ending("a"), *ending("b"), *ending("c")]


def raising(*_: Any) -> None:
    raise RuntimeError("planted")


POISON: dict[str, Callable[[str], bytes]] = {
    "not what its method says": lambda thread: notification("item/started", thread, item=7),
    "deep": lambda thread: delta(thread, "x").replace(b'"x"', b"[" * 9000 + b"]" * 9000),
    "cut": lambda thread: delta(thread, "x" * 50)[:-20],
    "not UTF-8": lambda thread: delta(thread, "x").replace(b'"x"', b'"\xff"'),
}


@pytest.mark.parametrize("poison", POISON.values(), ids=POISON)
def test_a_line_that_cannot_be_read_ends_its_own_turn_alone(
    poison: Callable[[str], bytes],
) -> None:
    async def scene() -> None:
        process = Process()
        process.read(*interleaved(poison))
        for innocent in (process.a, process.c):
            assert (innocent.text, innocent.finished) == ("".join(TEXTS), True)
            assert innocent.failures == []
        hit = process.b
        assert hit.text == TEXTS[0] + TEXTS[1]
        assert hit.failures == [failures.UNREADABLE]
        assert not hit.finished
        (garbled,) = (each for each in hit.events if isinstance(each, UpstreamGarbled))
        assert poison("b").startswith(garbled.data.encode()[:30])

    virtualtime.run(scene())


@pytest.mark.parametrize("method", ["text_delta", "item_started", "item_completed", "completed"])
def test_a_bug_met_in_one_turn_ends_that_turn_alone(method: str) -> None:
    async def scene() -> None:
        process = Process()
        setattr(process.b.reader, method, raising)
        item = {"type": "reasoning", "id": "r"}
        with structlog.testing.capture_logs() as lines:
            process.read(*interleaved(lambda t: notification("item/started", t, item=item)))
        for innocent in (process.a, process.c):
            assert (innocent.text, innocent.finished) == ("".join(TEXTS), True)
            assert innocent.failures == []
        assert process.b.failures[0] == failures.DEFECT
        assert not process.b.finished
        assert {line["stream"] for line in lines if line["event"] == "defect"} == {"st_b"}

    virtualtime.run(scene())


def test_a_bug_met_while_the_process_dies_leaves_no_turn_waiting() -> None:
    async def scene() -> None:
        process = Process()
        process.read(delta("a", "x"), delta("b", "x"), delta("c", "x"))
        setattr(process.b.reader, "lost", raising)  # noqa: B010 -- a method of one object
        with structlog.testing.capture_logs():
            process.turns.lost()
        assert process.a.failures == process.c.failures == [failures.LOST]
        assert process.b.failures == [failures.DEFECT]
        assert process.turns.turns == {}

    virtualtime.run(scene())


def test_what_no_turn_is_named_by_is_skipped() -> None:
    async def scene() -> None:
        process = Process()
        garbage = (b"{", b"[]", b"\x00", b'{"method":7}', b"[" * 9000)
        process.read(delta("a", "x"), *garbage, delta("a", "y"))
        assert process.a.text == "xy"
        assert process.a.failures == []

    virtualtime.run(scene())


def test_a_bug_met_in_a_line_ends_the_turn_that_it_is_about_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scene() -> None:
        process = Process()
        decode = jsonrpc.decode

        def instead(line: bytes) -> jsonrpc.Message:
            if b'"r"' in line:
                raising()
            return decode(line)

        monkeypatch.setattr(jsonrpc, "decode", instead)
        item = {"type": "reasoning", "id": "r"}
        with structlog.testing.capture_logs() as lines:
            process.read(*interleaved(lambda t: notification("item/started", t, item=item)))
            process.read(notification("item/started", "nobody", item=item))
        for innocent in (process.a, process.c):
            assert (innocent.text, innocent.finished) == ("".join(TEXTS), True)
        assert process.b.failures == [failures.DEFECT]
        hit, nobody = (line for line in lines if line["event"] == "defect")
        assert hit["stream"] == "st_b"
        assert nobody["boundary"] == "worker_line"

    virtualtime.run(scene())


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("model/rerouted", b'{"threadId":"a","turnId":"t","toModel":{}}'),
        ("model/rerouted", b'{"threadId":"a"}'),
        ("account/rateLimits/updated", b'{"rateLimits":[]}'),
    ],
)
def test_news_beside_the_answer_of_another_shape_cost_no_turn(method: str, params: bytes) -> None:
    others: list[Any] = []
    turns = dispatcher.Dispatcher(others.append)
    turn = Turn(turns, "a")
    with structlog.testing.capture_logs() as lines:
        turns.notification(method, msgspec.Raw(params))
    assert (turn.events, turn.failures, others) == ([], [], [])
    assert [each["event"] for each in lines] == ["notification_unreadable"]
