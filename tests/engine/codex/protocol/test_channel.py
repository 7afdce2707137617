"""Requests and replies of one connection, against a worker that is written here by hand."""

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any

import msgspec
import pytest
import structlog

from engine.codex.protocol import appserver, channel
from engine.codex.protocol.channel import IN_FLIGHT, ChannelClosed, RpcError, RpcTimedOut
from machines import errors
from tests.support.machines import virtualtime

TIMEOUT_S = 10.0

EMPTY = appserver.Empty()


class Worker:
    """The other end: what it was sent, and what it says."""

    def __init__(self) -> None:
        self.heard: list[dict[str, Any]] = []
        self.notified: list[tuple[str, bytes]] = []
        self.text_deltas: list[bytes] = []
        self.asked: list[tuple[Any, str]] = []
        self.lost: list[bytes] = []
        self.broken: list[tuple[bytes, Exception]] = []
        self.channel = channel.Channel(self._read, self, TIMEOUT_S)

    @property
    def ids(self) -> list[Any]:
        """The ids of what it was sent."""
        return [line["id"] for line in self.heard]

    def say(self, *lines: bytes | dict[str, Any]) -> None:
        """Write whole lines."""
        encoded = (
            line if isinstance(line, bytes) else msgspec.json.encode(line) for line in lines
        )
        self.channel.feed(b"".join(line + b"\n" for line in encoded))

    def reply(self, rpc_id: int, result: Any = None) -> None:
        """Answer a request."""
        self.say({"id": rpc_id, "result": {} if result is None else result})

    def interrupt(self, timeout: float | None = None) -> channel.Call:
        """A request whose result is of no matter."""
        params = appserver.TurnInterruptParams("th", "")
        return self.channel.send("turn/interrupt", params, timeout)

    def _read(self, line: bytes) -> None:
        assert line.endswith(b"\n")
        assert line.count(b"\n") == 1
        self.heard.append(msgspec.json.decode(line))

    @property
    def turns(self) -> set[str]:
        return {"th"}

    def unreadable(self, line: bytes) -> None:
        self.lost.append(line)

    def broke(self, line: bytes, error: Exception) -> None:
        self.broken.append((line, error))

    def too_large(self, thread: str) -> None:
        self.lost.append(thread.encode())

    def text_delta(self, line: bytes) -> None:
        self.text_deltas.append(line)

    def notification(self, method: str, raw: msgspec.Raw) -> None:
        self.notified.append((method, bytes(raw)))

    def request(self, rpc_id: int | str, method: str, raw: msgspec.Raw) -> bool:
        self.asked.append((rpc_id, method))
        return method == "item/tool/call"


def run(scene: Coroutine[Any, Any, None]) -> None:
    """Run a scene; whatever reaches the loop's own handler fails it."""
    complaints: list[dict[str, Any]] = []

    async def watched() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, c: complaints.append(c))
        await scene

    virtualtime.run(watched())
    assert complaints == []


def test_a_request_is_a_line_and_its_reply_is_typed() -> None:
    async def scene() -> None:
        worker = Worker()
        call = worker.channel.send("model/list", appserver.ModelListParams())
        params = {"cursor": None, "includeHidden": False}
        assert worker.heard == [{"method": "model/list", "id": 1, "params": params}]
        model = {
            "model": "m",
            "displayName": "M",
            "hidden": False,
            "supportedReasoningEfforts": [],
            "whatever": [1],
        }
        worker.reply(1, {"data": [model]})
        listed = appserver.ModelListResult((appserver.Model("m", "M", False, ()),))
        assert await call.reply == listed

    run(scene())


def test_replies_find_their_requests_in_any_order() -> None:
    async def scene() -> None:
        worker = Worker()
        calls = [
            worker.channel.send("thread/unsubscribe", appserver.ThreadUnsubscribeParams("th"))
            for _ in range(3)
        ]
        for rpc_id in (3, 1, 2):
            worker.reply(rpc_id, {"status": f"answer {rpc_id}"})
        statuses = [(await call.reply).status for call in calls]
        assert statuses == ["answer 1", "answer 2", "answer 3"]

    run(scene())


def test_a_refusal_is_an_error_with_its_code() -> None:
    async def scene() -> None:
        worker = Worker()
        call = worker.interrupt()
        worker.say({"id": 1, "error": {"code": -32001, "message": "busy", "data": {"a": 1}}})
        with pytest.raises(RpcError) as refused:
            await call.reply
        assert (refused.value.code, refused.value.message) == (-32001, "busy")

    run(scene())


def test_a_reply_of_another_shape_is_an_error() -> None:
    async def scene() -> None:
        worker = Worker()
        call = worker.channel.send("model/list", appserver.ModelListParams())
        worker.reply(1, {"data": 7})
        with pytest.raises(RpcError, match="model/list"):
            await call.reply

    run(scene())


@pytest.mark.parametrize(("timeout", "seconds"), [(None, TIMEOUT_S), (2.0, 2.0)])
def test_a_request_without_a_reply_times_out(timeout: float | None, seconds: float) -> None:
    async def scene() -> None:
        worker = Worker()
        loop = asyncio.get_running_loop()
        began = loop.time()
        call = worker.interrupt(timeout)
        with pytest.raises(RpcTimedOut, match="turn/interrupt"):
            await call.reply
        assert loop.time() - began == pytest.approx(seconds, abs=0.01)
        with structlog.testing.capture_logs() as said:
            worker.reply(1)
        assert [line["event"] for line in said] == ["reply_to_nothing"]

    run(scene())


def test_only_so_many_are_unanswered_at_once_and_the_rest_wait_in_order() -> None:
    async def scene() -> None:
        worker = Worker()
        calls = [worker.interrupt() for _ in range(IN_FLIGHT + 3)]
        assert worker.ids == list(range(1, IN_FLIGHT + 1))
        worker.reply(7)
        worker.reply(1)
        assert worker.ids == list(range(1, IN_FLIGHT + 3))
        for rpc_id in worker.ids:
            if rpc_id not in (1, 7):
                worker.reply(rpc_id)
        worker.reply(IN_FLIGHT + 3)
        await asyncio.gather(*(call.reply for call in calls))
        assert worker.ids == list(range(1, IN_FLIGHT + 4))

    run(scene())


def test_a_request_that_timed_out_while_it_waited_is_not_sent() -> None:
    async def scene() -> None:
        worker = Worker()
        for _ in range(IN_FLIGHT):
            worker.interrupt()
        impatient, patient = worker.interrupt(1.0), worker.interrupt()
        with pytest.raises(RpcTimedOut):
            await impatient.reply
        worker.reply(1)
        assert worker.ids[IN_FLIGHT:] == [patient.rpc_id]

    run(scene())


def test_requests_that_timed_out_make_room() -> None:
    async def scene() -> None:
        worker = Worker()
        calls = [worker.interrupt(1.0) for _ in range(IN_FLIGHT)]
        waiting = worker.interrupt()
        for call in calls:
            with pytest.raises(RpcTimedOut):
                await call.reply
        assert worker.ids[-1] == waiting.rpc_id

    run(scene())


def test_params_that_no_line_holds_are_refused_and_take_no_place() -> None:
    async def scene() -> None:
        worker = Worker()
        schema = msgspec.Raw(b"[" * 200 + b"]" * 200)
        params = appserver.TurnStartParams(thread_id="th", output_schema=schema)
        for _ in range(IN_FLIGHT):
            with pytest.raises(errors.TooLarge):
                worker.channel.send("turn/start", params)
        assert worker.heard == []
        call = worker.interrupt()
        worker.reply(call.rpc_id)
        await call.reply

    run(scene())


def test_a_closed_channel_answers_everything_at_once() -> None:
    async def scene() -> None:
        worker = Worker()
        calls = [worker.interrupt() for _ in range(IN_FLIGHT + 1)]
        worker.channel.close()
        calls.append(worker.interrupt())
        for call in calls:
            with pytest.raises(ChannelClosed):
                await call.reply
        worker.channel.notify("initialized")
        with structlog.testing.capture_logs() as said:
            worker.say({"method": "error", "params": {}}, {"id": 1, "result": {}}, b"garbage")
        assert (len(worker.heard), worker.notified, said) == (IN_FLIGHT, [], [])

    run(scene())


def test_nobody_need_wait_for_a_reply() -> None:
    async def scene() -> None:
        worker = Worker()
        worker.interrupt()
        worker.interrupt(1.0)
        worker.interrupt().reply.cancel()
        worker.say({"id": 1, "error": {"code": 1, "message": "no"}})
        worker.reply(3)
        with contextlib.suppress(RpcTimedOut):
            await worker.interrupt(2.0).reply
        worker.interrupt()
        worker.channel.close()

    run(scene())


@pytest.mark.parametrize("rpc_id", [0, 7, "a"])
def test_what_the_worker_asks_is_refused_under_its_own_id(rpc_id: int | str) -> None:
    async def scene() -> None:
        worker = Worker()
        call = worker.interrupt()
        worker.say({"id": rpc_id, "method": "item/tool/requestUserInput", "params": {}})
        refusal = worker.heard[1]
        assert (refusal["id"], refusal["error"]["code"]) == (rpc_id, -32601)
        assert not call.reply.done()

    run(scene())


def test_notifications_come_in_order_however_they_are_cut() -> None:
    async def scene() -> None:
        lines = (
            b'{"method":"a","params":{"text":"\xf0\x9f\x99\x82"}}\r\n{"method":"b"}\n\n'
            b'not JSON\n[]\n{"method":"c","params":1,"emittedAtMs":5}\n'
        )
        expected = [("a", '{"text":"🙂"}'.encode()), ("b", b"null"), ("c", b"1")]
        whole, halves, bytewise = Worker(), Worker(), Worker()
        whole.channel.feed(lines)
        for at in range(len(lines)):
            bytewise.channel.feed(lines[at : at + 1])
        for part in (lines[:30], lines[30:]):
            halves.channel.feed(part)
        assert whole.notified == halves.notified == bytewise.notified == expected
        assert whole.lost == halves.lost == bytewise.lost == [b"not JSON", b"[]"]

    run(scene())


class Planted(Exception):
    """A bug of ours."""


def broken(*_: Any) -> None:
    raise Planted


@pytest.mark.parametrize("ending", ["reply", "deadline", "close"])
def test_a_bug_met_in_a_reply_reaches_whoever_waits_for_it(
    ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene() -> None:
        worker = Worker()
        hit, other = worker.interrupt(), worker.interrupt()
        with monkeypatch.context() as planted:
            planted.setattr(worker.channel, "_resolve", broken)
            if ending == "reply":
                worker.reply(hit.rpc_id)
            elif ending == "deadline":
                await asyncio.sleep(TIMEOUT_S)
            else:
                worker.channel.close()
        with pytest.raises(Planted):
            await hit.reply
        if ending == "reply":
            worker.reply(other.rpc_id)
            assert await other.reply == EMPTY
        else:
            with pytest.raises(Planted):
                await other.reply

    virtualtime.run(scene())


def test_a_reply_that_cannot_be_counted_is_a_reply(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene() -> None:
        worker = Worker()
        monkeypatch.setattr(worker.channel, "_count", broken)
        hit, refused = worker.interrupt(), worker.interrupt()
        worker.reply(hit.rpc_id)
        worker.channel.close()
        assert await hit.reply == EMPTY
        with pytest.raises(ChannelClosed):
            await refused.reply

    with structlog.testing.capture_logs() as lines:
        run(scene())
    assert [line["event"] for line in lines] == ["defect"] * 2


def test_a_bug_met_in_a_reply_that_nobody_waits_for_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scene() -> None:
        worker = Worker()
        refused, late, closed, hit = [worker.interrupt().unawaited() for _ in range(4)]
        worker.say({"id": 1, "error": {"code": -1, "message": "no"}})
        await asyncio.sleep(TIMEOUT_S / 2)
        monkeypatch.setattr(worker.channel, "_resolve", broken)
        worker.reply(4)
        monkeypatch.undo()
        worker.channel._timed_out(worker.channel._pending[2])
        worker.channel.close()
        await asyncio.wait({refused, late, closed, hit})

    with structlog.testing.capture_logs() as lines:
        run(scene())
    assert [line["method"] for line in lines if line["event"] == "defect"] == ["turn/interrupt"]


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_bug_met_as_a_deadline_passes_reaches_whoever_waits_or_is_said(
    when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene() -> None:
        worker = Worker()
        calls = [worker.interrupt() for _ in range(channel.IN_FLIGHT + 1)]
        times_out = worker.channel._timed_out

        def breaks(call: channel.Call) -> None:
            if when == "after":
                times_out(call)
            raise Planted

        monkeypatch.setattr(worker.channel, "_timed_out", breaks)
        await asyncio.sleep(TIMEOUT_S)
        for call in calls:
            with pytest.raises(Planted if when == "before" else channel.RpcTimedOut):
                await call.reply
        monkeypatch.undo()
        again = worker.interrupt()  # there is room for it
        worker.reply(again.rpc_id)
        assert await again.reply == EMPTY
        if when == "before":
            assert worker.ids[IN_FLIGHT:] == [again.rpc_id]

    with structlog.testing.capture_logs() as lines:
        run(scene())
    said = [line["method"] for line in lines if line["event"] == "defect"]
    assert said == (["turn/interrupt"] * (channel.IN_FLIGHT + 1) if when == "after" else [])


def test_a_bug_met_in_a_line_costs_no_other_line(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene() -> None:
        worker = Worker()
        delta = channel.TEXT_DELTA_LINE
        monkeypatch.setattr(worker, "notification", broken)
        worker.say(delta + b"1", b'{"method":"turn/started","params":{}}', delta + b"2")
        assert worker.text_deltas == [delta + b"1", delta + b"2"]
        ((line, error),) = worker.broken
        assert line.startswith(b'{"method":"turn/started"')
        assert isinstance(error, Planted)
        assert worker.lost == []

    virtualtime.run(scene())
