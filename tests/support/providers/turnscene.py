"""A Codex turn against an app-server that is written by hand, in virtual time."""

import asyncio
import collections
import contextlib
import itertools
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import msgspec

from bench import appframes
from engine import worker
from engine.codex import loginlink, loginstate, sharedlogin
from engine.codex.protocol import appserver
from engine.codex.protocol.channel import Channel
from engine.codex.request import preparation, tools
from engine.codex.turns import (
    dispatcher,
    forksources,
    idlethreads,
    parking,
    states,
    turn as codexturn,
)
from engine.codex.turns.thread import Seat
from machines import events
from machines.events import StreamInput, TurnFailed, TurnFinished
from machines.turn import thread as threads
from tests.support.machines import virtualtime

MESSAGES = (
    worker.Message("system", (worker.TextPart("Be brief."),)),
    worker.Message("user", (worker.TextPart("hi"),)),
)

TURN = worker.Turn(
    stream_id="st_1",
    request_id="req_1",
    target="gpt-5.5",
    messages=MESSAGES,
    choice=2,
    effort="low",
    output_schema=msgspec.Raw(b'{"type":"object"}'),
)

COUNTS = {
    "inputTokens": 10,
    "cachedInputTokens": 0,
    "outputTokens": 2,
    "reasoningOutputTokens": 0,
    "totalTokens": 12,
}
"""Of each step of the model."""

OPENING = ["thread/start", "thread/inject_items", "turn/start"]
"""What every turn asks for, in order."""


class Server:
    """An app-server, one turn a thread: it keeps what it was sent, and answers by itself.

    Attributes:
        answers: replies to what it asked.
        deaf: methods that are left unanswered, whose requests are kept in `unanswered`.
        refusals: methods that are refused, each with a code.
        tested: whether it is of the tested version.
    """

    def __init__(self, deaf: tuple[str, ...] = (), refusals: dict[str, int] | None = None) -> None:
        self.heard: list[dict[str, Any]] = []
        self.answers: list[dict[str, Any]] = []
        self.unanswered: list[dict[str, Any]] = []
        self.tested = True
        self.seats = 0
        self.left = 0
        self.suspicions: list[str] = []
        self.late: list[events.LateChange] = []
        self.shared = sharedlogin.SharedLogin(None, loginlink.Offer())
        self.login = loginstate.LoginState(asyncio.get_running_loop().time)
        self.routes = dispatcher.Dispatcher(lambda _: None)
        self.channel = Channel(self._read, self.routes, timeout=10.0)
        self._deaf = deaf
        self._refusals = dict(refusals or {})
        self._refused_once = ""
        self._numbers = itertools.count(1)
        self._grown = asyncio.Event()
        self._frames: dict[str, appframes.TurnFrames] = {}
        self._turns: collections.Counter[str] = collections.Counter()
        self._totals: collections.Counter[str] = collections.Counter()

    @property
    def methods(self) -> list[str]:
        """What it was asked for, in order."""
        return [line["method"] for line in self.heard]

    def seat(self) -> Seat:
        """A place on it."""
        self.seats += 1

        def leave() -> None:
            self.left += 1

        def thread(turn: worker.Turn, _: tools.Toolset | None) -> appserver.ThreadStartParams:
            return appserver.ThreadStartParams(model=turn.target, cwd="/empty")

        deaf = self.suspicions.append
        late = self.late.append
        rest = (deaf, late, self.login, self.shared, "", self.tested)
        return Seat(self.channel, self.routes, thread, leave, self.seat, *rest)

    async def until_heard(self, count: int) -> None:
        """Wait for so many requests."""
        while len(self.heard) < count:
            self._grown.clear()
            await self._grown.wait()
        await asyncio.sleep(0)  # the answer, too, is on its way

    async def until(self, method: str) -> dict[str, Any]:
        """Wait for a request; its params."""
        while method not in self.methods:
            self._grown.clear()
            await self._grown.wait()
        await asyncio.sleep(0)  # the answer, too, is on its way
        return dict(next(line["params"] for line in self.heard if line["method"] == method))

    def say(self, part: Callable[[appframes.TurnFrames], bytes]) -> None:
        """Write frames of the first turn."""
        self.channel.feed(part(self._frames["thread 1"]))

    def say_step(self, *calls: tuple[str, str, str], text: str = "", thread: int = 1) -> None:
        """A whole step of the model: its text, then calls by id, name and arguments."""
        ids = self._ids(thread)
        items: list[dict[str, Any]] = [{"type": "reasoning", "summary": []}]
        items += [
            {"type": "function_call", "call_id": call_id, "name": name, "arguments": arguments}
            for call_id, name, arguments in calls
        ]
        lines = [
            appframes.notification("rawResponseItem/completed", {**ids, "item": item})
            for item in items
        ]
        if text:
            delta = {**ids, "itemId": "msg", "delta": text}
            lines.insert(0, appframes.notification("item/agentMessage/delta", delta))
        whole = {**ids, "responseId": "resp", "usage": COUNTS}
        lines.append(appframes.notification("rawResponse/completed", whole))
        self.channel.feed(b"".join(lines))

    def say_whole(self, text: str, thread: int = 1, steps: int = 1, kind: str = "") -> None:
        """A whole turn: one message, the thread's counts after each of its steps, and its end.

        Args:
            kind: of an item beside the message.
        """
        ids = self._ids(thread)
        item = {"type": "agentMessage", "id": f"msg {ids['turnId']}", "text": text}
        lines = [
            appframes.notification("item/started", {**ids, "item": item | {"text": ""}}),
            appframes.notification("item/completed", {**ids, "item": item}),
        ]
        if kind:
            beside = {**ids, "item": {"type": kind, "id": "beside"}}
            lines.insert(0, appframes.notification("item/started", beside))
        for _ in range(steps):
            self._totals[ids["threadId"]] += 1
            factor = self._totals[ids["threadId"]]
            total = {name: count * factor for name, count in COUNTS.items()}
            usage = {"tokenUsage": {"total": total, "last": COUNTS}}
            lines.append(appframes.notification("thread/tokenUsage/updated", {**ids, **usage}))
        self.channel.feed(b"".join(lines))
        self.end_turn(thread)

    def ask_result(self, rpc_id: int, call_id: str, thread: int = 1) -> None:
        """Ask for the result of a call."""
        params = {**self._ids(thread), "callId": call_id, "tool": "add", "arguments": {}}
        request = {"id": rpc_id, "method": "item/tool/call", "params": params}
        self.channel.feed(msgspec.json.encode(request) + b"\n")

    def count(self, thread: int = 1) -> None:
        """Count a step of the model."""
        params = {**self._ids(thread), "tokenUsage": {"total": COUNTS, "last": COUNTS}}
        self.channel.feed(appframes.notification("thread/tokenUsage/updated", params))

    def end_turn(self, thread: int = 1, number: int | None = None) -> None:
        """The thread's turn is over, and went well: its last one, or that of a number."""
        ids = self._ids(thread, number)
        turn: dict[str, Any] = {"id": ids["turnId"], "status": "completed", "items": []}
        params = {"threadId": ids["threadId"], "turn": turn | {"error": None}}
        self.channel.feed(appframes.notification("turn/completed", params))

    def say_text(self, *texts: str) -> None:
        """Write the deltas of an answer, its item begun."""
        self.say(lambda turn: turn.started() + b"".join(turn.deltas(texts)))

    def answer(self, line: dict[str, Any]) -> None:
        """Answer a request."""
        self.channel.feed(appframes.reply(line["id"], self._result(line)))

    def takes_again(self, method: str) -> None:
        """Refuse a method no longer."""
        del self._refusals[method]

    def refuses_once(self, method: str) -> None:
        """Refuse the next request for a method."""
        self._refused_once = method

    def die(self) -> None:
        """Be gone, as `codexworker.AppServer.lost` has it."""
        self.routes.lost()
        self.channel.close()

    def _ids(self, thread: int, number: int | None = None) -> dict[str, str]:
        """What names a turn of a thread."""
        thread_id = f"thread {thread}"
        return {"threadId": thread_id, "turnId": f"turn {number or self._turns[thread_id]}"}

    def _read(self, raw: bytes) -> None:
        line = msgspec.json.decode(raw)
        if "method" not in line:
            self.answers.append(line)
            return
        self.heard.append(line)
        self._grown.set()
        method = line["method"]
        if method in self._deaf:
            self.unanswered.append(line)
        elif method == self._refused_once:
            self._refused_once = ""
            self._later(appframes.refusal(line["id"], appframes.INVALID_REQUEST, "gone"))
        elif method in self._refusals:
            refusal = appframes.refusal(line["id"], self._refusals[method], "no")
            self._later(refusal)
        else:
            self._later(appframes.reply(line["id"], self._result(line)))

    def _later(self, data: bytes) -> None:
        asyncio.get_running_loop().call_soon(self.channel.feed, data)

    def _result(self, line: dict[str, Any]) -> Any:
        match line["method"]:
            case "thread/start" | "thread/fork":
                thread_id = f"thread {next(self._numbers)}"
                self._frames[thread_id] = appframes.TurnFrames(thread_id, 1)
                return appframes.thread(thread_id, "gpt-5.5", "/empty")
            case "turn/start":
                thread_id = line["params"]["threadId"]
                self._turns[thread_id] += 1
                return self._frames[thread_id].begun()
            case "thread/unsubscribe":
                return {"status": "unsubscribed"}
        return {}


class Scene:
    """A turn on servers, and what it said.

    Args:
        prepared: what the turn shares with others of its request; None: it is the only one.
        idle: the threads that are kept; None: none is.
        forks: the sources of conversations; None: there are none.
    """

    def __init__(
        self,
        *servers: Server,
        turn: worker.Turn = TURN,
        lot: parking.Parking | None = None,
        prepared: preparation.Preparation | None = None,
        idle: idlethreads.IdleThreads | None = None,
        forks: forksources.ForkSources | None = None,
    ) -> None:
        self.events: list[StreamInput] = []
        self.changes: list[events.LateChange] = []
        self.attempts: list[int] = []
        self._servers = itertools.chain(servers, itertools.repeat(servers[-1]))
        self._ended = asyncio.Event()
        self._grown = asyncio.Event()
        lot = lot or parking.Parking(64, 300)
        idle = idle or idlethreads.IdleThreads(0, 0)
        recall = lot.recall(turn.key_id)
        prepared = prepared or preparation.Preparation(turn, recall, idle.keeps)
        forks = forks or forksources.ForkSources(None)
        self.turn = codexturn.CodexTurn(turn, self, prepared, self._take_seat, lot, idle, forks)

    def event(self, event: StreamInput) -> None:
        if isinstance(event, events.LateChange):
            self.changes.append(event)
            return
        self.events.append(event)
        self._grown.set()
        if isinstance(event, TurnFinished | TurnFailed):
            self._ended.set()

    def of(self, *kinds: type[events.StreamEvent]) -> list[Any]:
        """Its events of some kinds."""
        return [event for event in self.events if isinstance(event, kinds)]

    async def after(self, kind: type[events.StreamEvent]) -> None:
        """Wait for an event of this kind, and for what it leads to."""
        while not self.of(kind):
            self._grown.clear()
            await self._grown.wait()
        await asyncio.sleep(0.001)

    async def end(self) -> StreamInput:
        """Its last event, once it has come and everything was tidied up."""
        await self._ended.wait()
        await asyncio.sleep(0.01)
        return self.events[-1]

    async def _take_seat(self, attempt: int) -> Seat:
        self.attempts.append(attempt)
        return next(self._servers).seat()


def states_of(loop: asyncio.AbstractEventLoop) -> states.States:
    """The states of a turn that runs, and that nobody records."""

    def ignored(_: object) -> None:
        pass

    return running(states.States(ignored, ignored, ignored, loop))


def running(its: states.States) -> states.States:
    """The same states, their thread started."""
    its.take_thread_event(threads.Event.START_SENT)
    its.take_thread_event(threads.Event.STARTED)
    return its


def run(scene: Coroutine[Any, Any, None]) -> None:
    """Run a scene; whatever reaches the loop's own handler fails it."""
    complaints: list[dict[str, Any]] = []

    async def watched() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, c: complaints.append(c))
        async with asyncio.timeout(600):
            await scene

    virtualtime.run(watched())
    assert complaints == []


@contextlib.contextmanager
def takes(least: float, most: float) -> Iterator[None]:
    """A block that takes so many seconds of virtual time."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    yield
    assert least <= loop.time() - began <= most
