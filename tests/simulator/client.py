"""Clients: how they ask, read, wait and leave."""

import asyncio
import json
from collections.abc import Callable
from typing import Any, Final

import msgspec

from tests.simulator import answers, clock, net, plan, responseanswers

WAIT_S: Final = 60.0
"""Longer than anything a server may take to answer: the sum of the deadlines of the weather."""

SCHEMA: Final = {"type": "object", "properties": {"x": {"type": "string"}}}


class Request(msgspec.Struct, eq=False):
    """A request as it was made.

    Attributes:
        number: of the ask.
        messages: of its conversation.
        sent: whether all of it went out.
        sent_at: when, or when the connection was made.
    """

    number: int
    ask: plan.Ask
    messages: list[dict[str, Any]]
    sent: bool = False
    sent_at: float = 0.0

    @property
    def request_id(self) -> str:
        """What its answer and its log are known by."""
        return f"sim-{self.number}"

    def bytes(self) -> bytes:
        """The request on the wire."""
        body = json.dumps(self.body(), ensure_ascii=False).encode()
        path = "/v1/responses" if self.ask.api == "responses" else "/v1/chat/completions"
        head = [
            f"POST {path} HTTP/1.1",
            "host: localhost",
            "content-type: application/json",
            f"authorization: Bearer {self.ask.key}",
            f"x-request-id: {self.request_id}",
            f"content-length: {len(body)}",
        ]
        if not self.ask.keepalive:
            head.append("x-no-keepalive: 1")
        return "\r\n".join([*head, "", ""]).encode() + body

    def body(self) -> dict[str, Any]:
        """What is asked."""
        return self._response_body() if self.ask.api == "responses" else self.chat_body()

    def chat_body(self) -> dict[str, Any]:
        """The same as a chat completion is asked for."""
        ask = self.ask
        body: dict[str, Any] = {"model": ask.model, "messages": self.messages, "n": ask.n}
        body["stream"] = ask.stream
        if ask.effort is not None:
            body["reasoning_effort"] = ask.effort
        if ask.include_usage:
            body["stream_options"] = {"include_usage": True}
        if ask.stop:
            body["stop"] = list(ask.stop)
        if ask.max_tokens is not None:
            body["max_tokens"] = ask.max_tokens
        functions = [{"name": name, "parameters": SCHEMA} for name in plan.FUNCTIONS[: ask.tools]]
        if functions and ask.legacy:
            body["functions"] = functions
        elif functions:
            body["tools"] = [{"type": "function", "function": each} for each in functions]
            body["parallel_tool_calls"] = ask.parallel
            body["tool_choice"] = "required" if ask.required else "auto"
        return body

    def _response_body(self) -> dict[str, Any]:
        ask = self.ask
        body: dict[str, Any] = {"model": ask.model, "input": self.messages, "store": ask.keeps}
        body["stream"] = ask.stream
        if ask.max_tokens is not None:
            body["max_output_tokens"] = ask.max_tokens
        if ask.tools:
            body["tools"] = [
                {"type": "function", "name": name, "parameters": SCHEMA}
                for name in plan.FUNCTIONS[: ask.tools]
            ]
            body["parallel_tool_calls"] = ask.parallel
        return body


class Visitor:
    """One connection of a client, and what came of it.

    Attributes:
        requests: what was asked, in order.
        left: whether it went before it had its answers.
        refused: whether there was no connection to be had.
        answers: what it got.
        times: when each of them was whole.
        left_at: when it left.
        broken: why its bytes were none that a client should get.
        full: whether answers have all choices that were asked for.
    """

    def __init__(self, loop: clock.VirtualLoop, number: int, step: plan.Visit, full: bool) -> None:
        self.number = number
        self.step = step
        self.requests: list[Request] = []
        self.left = False
        self.refused = False
        self.answers: list[answers.Answer] = []
        self.times: list[float] = []
        self.left_at = 0.0
        self.broken: str | None = None
        self.waited_in_vain = False
        self.wire: net.Wire | None = None
        self.on_wire: Callable[[net.Wire], None] | None = None
        self.full = full
        self._loop = loop

    def follow(self, ask: plan.Ask, told: "Visitor | None") -> list[dict[str, Any]] | None:
        """The conversation with what an earlier answer leads to; None if to nothing."""
        if told is None or not told.answers or not told.requests:
            return None
        if ask.goes_on != "no":
            return self._further(ask, told)
        earlier = told.requests[0]
        choices = told.heard(0).choices
        calls = choices[0].calls if choices else []
        if not calls or choices[0].finish not in ("tool_calls", "function_call"):
            return None
        said = _assistant(choices[0], ask.legacy)
        result = f"result #{10 * self.number}@{ask.key}"
        brought = [_result(call_id, name, result, ask.legacy) for call_id, name, _ in calls]
        if ask.results == "some":
            brought = brought[-1:]
        before = list(earlier.messages)
        if ask.results == "edited":
            before.insert(0, {"role": "system", "content": "Be brief."})
        return [*before, said, *brought]

    def _further(self, ask: plan.Ask, told: "Visitor") -> list[dict[str, Any]] | None:
        """The conversation with a further question; None behind an answer that is not whole."""
        heard = told.heard(0)
        if not heard.done or not heard.choices[0].content or heard.choices[0].calls:
            return None
        *before, asked = told.requests[0].messages
        if ask.goes_on == "edited":
            asked = {**asked, "content": f"{asked['content']}, edited"}
        said = {"role": "assistant", "content": heard.choices[0].content}
        question = {"role": "user", "content": f"question #{10 * self.number}@{ask.key}"}
        return [*before, asked, said, question]

    def heard(self, index: int) -> answers.Heard:
        """What one of the answers says."""
        answer, ask = self.answers[index], self.requests[index].ask
        if ask.api == "responses":
            if answer.streams:
                return responseanswers.stream(answer.body, answer.whole)
            return responseanswers.body(answer) if answer.whole else answers.Heard([])
        if answer.streams:
            usage = ask.stream and ask.include_usage
            frames = answers.Frames(ask.n, usage, ask.legacy, self.full)
            return frames.read(answer.body, answer.whole)
        if not answer.whole:
            return answers.Heard([])
        return answers.heard_body(answer, ask.n, self.full)

    async def visit(self, told: "Visitor | None") -> None:
        """Ask, wait for the answers, leave."""
        reading = self.step.reading
        self.wire = self._loop.port.connect(reading.room)
        if self.wire is None:
            self.refused = True
            self.left_at = self._loop.time()
            return
        if self.on_wire is not None:
            self.on_wire(self.wire)
        drinking = self._loop.create_task(self._drink(self.wire, reading))
        talking = self._loop.create_task(self._talk(self.wire, told))
        limit = self.step.after if self.step.leaves is not None else WAIT_S
        _, pending = await asyncio.wait({talking}, timeout=limit)
        drinking.cancel()
        talking.cancel()
        await asyncio.wait({drinking, talking})
        await self._leave(self.wire, in_vain=bool(pending))
        self.left_at = self._loop.time()
        self._read()
        if not talking.cancelled():
            talking.result()

    async def _leave(self, wire: net.Wire, in_vain: bool) -> None:
        slow = self.step.reading.every > 0
        self.waited_in_vain = in_vain and self.step.leaves is None and not slow
        self.left = in_vain and self.step.leaves is not None
        match self.step.leaves if self.left else "close":
            case "reset":
                wire.reset()
            case "half_close":
                wire.half_close()
                await asyncio.sleep(0.2)
                wire.leave()
            case _:
                wire.leave()

    async def _drink(self, wire: net.Wire, reading: plan.Reading) -> None:
        while reading.every:
            await asyncio.sleep(reading.every)
            wire.take(reading.more)

    async def _talk(self, wire: net.Wire, told: "Visitor | None") -> None:
        try:
            await self._ask_all(wire, told)
        except answers.Broken as broken:
            self.broken = str(broken)

    async def _ask_all(self, wire: net.Wire, told: "Visitor | None") -> None:
        for index, ask in enumerate(self.step.asks):
            number = 10 * self.number + index
            messages = [{"role": "user", "content": f"question #{number}@{ask.key}"}]
            if ask.follows is not None:
                followed = self.follow(ask, told)
                if followed is None:
                    return
                messages = followed
            last = index == len(self.step.asks) - 1
            if not await self._send(wire, Request(number, ask, messages), last):
                return
            if not self.step.pipelined:
                await self._until(wire, index + 1)
        await self._until(wire, len(self.requests))

    async def _send(self, wire: net.Wire, request: Request, last: bool) -> bool:
        """Send a request, in pieces; whether another may follow."""
        self.requests.append(request)
        data = request.bytes()
        end = len(data) - (self.step.unsent if last else 0)
        start = 0
        for cut in (*request.ask.cuts, len(data)):
            until = min(cut, end)
            if until > start:
                wire.send(data[start:until])
                start = until
                if until < end:
                    await asyncio.sleep(request.ask.pause)
        request.sent = start == len(data)
        request.sent_at = self._loop.time()
        return not wire.over

    async def _until(self, wire: net.Wire, count: int) -> None:
        """Wait for so many answers, or for the connection's end."""
        while not wire.over:
            wire.news.clear()
            whole = _whole(wire.received)
            self.times += [self._loop.time()] * (whole - len(self.times))
            if whole >= count:
                return
            await wire.news.wait()

    def _read(self) -> None:
        assert self.wire is not None
        try:
            ended = not self.left and self.step.reading.room is None
            self.answers = answers.read(bytes(self.wire.received), ended)
            for index in range(min(len(self.answers), len(self.requests))):
                self.heard(index)
        except answers.Broken as broken:
            self.broken = str(broken)


def _whole(data: bytearray) -> int:
    """How many whole responses there are."""
    if not data.endswith((b"0\r\n\r\n", b"}")):  # neither a stream nor a body ends like this
        return 0
    return sum(answer.whole for answer in answers.read(bytes(data), ended=False))


def _assistant(choice: answers.Choice, legacy: bool) -> dict[str, Any]:
    said: dict[str, Any] = {"role": "assistant", "content": choice.content or None}
    functions = [
        (call_id, {"name": name, "arguments": arguments})
        for call_id, name, arguments in choice.calls
    ]
    if legacy:
        return said | {"function_call": functions[0][1]}
    calls = [{"id": call_id, "type": "function", "function": each} for call_id, each in functions]
    return said | {"tool_calls": calls}


def _result(call_id: str, name: str, text: str, legacy: bool) -> dict[str, Any]:
    if legacy:
        return {"role": "function", "name": name, "content": text}
    return {"role": "tool", "tool_call_id": call_id, "content": text}
