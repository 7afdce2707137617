"""Answers that go wrong on purpose, as a client or the command line of `turntape mock` asks.

`Injector` stands before the routes. Where a fault is asked for, the routes answer to a
`FaultyExchange`, which passes the answer on as the fault has it: the client gets that, while
worker, machine and log have done what they always do. No other server has an injector.
"""

import asyncio
import collections
import math
import re
from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple

import msgspec

from machines import events
from server.api import gates
from server.chat import sse
from server.http import errors, exchange as http

HEADER: Final = "x-turntape-fault"
"""The header of a request that asks for a fault."""

ANSWERED: Final = ("/v1/chat/completions", "/v1/responses", "/v1/completions")
"""Where a POST asks for an answer: only these have faults, health and the models do not."""

CODE: Final = "mock_fault"
"""The code of every error that was asked for."""

ERROR_STATUS: Final = 500
"""The status by which `error-after` ends an answer that is not a stream, and so has no frames."""

ERROR: Final = errors.envelope(CODE, "The mock was asked for an error.", status=ERROR_STATUS)

SCOPE: Final = re.compile(r"[^\s,=]{1,200}")
"""The form of the name by which counters of the same fault are told apart."""


class Option(NamedTuple):
    """One word of a declaration.

    Attributes:
        numbers: what it takes, whole numbers all of them; empty: it stands alone.
        meaning: one line for the command's help, where N is the number.
    """

    name: str
    numbers: range
    meaning: str


EVENTS: Final = range(1_000_001)
"""More than any answer has."""

OPTIONS: Final = {
    option.name: option
    for option in (
        Option("disconnect-after", EVENTS, "the connection is reset after N events"),
        Option("stall-after", EVENTS, "after N events nothing comes, and nothing is closed"),
        Option("error-after", EVENTS, "after N events an error frame, and the end"),
        Option("truncate-after", EVENTS, "the body ends after N events, as if it were whole"),
        Option("no-done", range(0), "the stream ends without its sentinel"),
        Option("slow", range(1, 600_001), "N ms before each event"),
        Option("split", range(1, 1_048_577), "the body in writes of N bytes, a chunk each"),
        Option("status", range(400, 600), "an error of status N in place of an answer"),
        Option("retry-after", range(86_401), "with its status, `retry-after: N`"),
        Option("times", range(1, 1_000_001), "only the first N requests, no others"),
    )
}
"""Every fault, and `times`; `docs/mock.md` lists them, and a test compares."""

ENDINGS: Final = ("disconnect-after", "stall-after", "error-after", "truncate-after")
"""Faults that end an answer: of these there is one at most."""

SILENT: Final = ("disconnect-after", "stall-after")
"""Faults that after no event at all leave the client without even a head."""

OF_STATUS: Final = ("retry-after", "times", "scope")
"""The options that may stand beside a status: with it there is no answer that anything else could
change."""


class FaultRefused(Exception):
    """Raised for a declaration that is none.

    Args:
        name: the word at fault.
        problem: what is wrong with it, and what is accepted.
    """

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(f"{name}: {problem}")
        self.name = name
        self.problem = problem


class Ending(NamedTuple):
    """How an answer ends early, and after how many events."""

    name: str
    after: int


class Fault(msgspec.Struct, frozen=True):
    """The fault of one answer; fields are named as their `OPTIONS`.

    Attributes:
        scope: `times` counts requests of one scope apart from those of another.
    """

    ending: Ending | None = None
    no_done: bool = False
    slow: int = 0
    split: int = 0
    status: int | None = None
    retry_after: int | None = None
    times: int | None = None
    scope: str = ""


def parse(text: str) -> Fault:
    """A fault as the header declares it: `disconnect-after=3, slow=20`.

    Raises:
        FaultRefused: for the first thing that is wrong.
    """
    words = (word.strip().partition("=") for word in text.split(","))
    return declare((name, value if equals else None) for name, equals, value in words)


def declare(words: Iterable[tuple[str, str | None]]) -> Fault:
    """A fault from words and what was said of each; None: nothing.

    Raises:
        FaultRefused: for the first thing that is wrong.
    """
    values: dict[str, Any] = {}
    for name, text in words:
        if name in values:
            raise FaultRefused(name, "is there twice")
        values[name] = _value(name, text)
    _check_together(values)
    ending = next((Ending(name, values.pop(name)) for name in ENDINGS if name in values), None)
    return Fault(ending, **{name.replace("-", "_"): value for name, value in values.items()})


def _value(name: str, text: str | None) -> int | bool | str:
    if name == "scope":
        if text is None or SCOPE.fullmatch(text) is None:
            raise FaultRefused(name, "takes up to 200 characters without spaces, commas and =")
        return text
    option = OPTIONS.get(name)
    if option is None:
        raise FaultRefused(name[:50], f"is no fault; there are {', '.join(OPTIONS)}")
    if not option.numbers:
        if text is not None:
            raise FaultRefused(name, "takes no value")
        return True
    shown = "nothing" if text is None else repr(text[:50])
    # Nine digits at most: `int` takes other scripts' digits too, and time for long numbers.
    if text is None or not re.fullmatch(r"[0-9]{1,9}", text) or int(text) not in option.numbers:
        limits = f"{option.numbers[0]} to {option.numbers[-1]}"
        raise FaultRefused(name, f"{shown} is not accepted; it takes a whole number, {limits}")
    return int(text)


def _check_together(values: dict[str, Any]) -> None:
    """Refuse words that say nothing beside each other."""
    endings = [name for name in ENDINGS if name in values]
    if len(endings) > 1:
        raise FaultRefused(endings[1], f"does not go with {endings[0]}")
    faults = [name for name in values if name not in OF_STATUS]
    if "status" in values and len(faults) > 1:
        faults.remove("status")
        raise FaultRefused(faults[0], "does not go with status")
    if "retry-after" in values and "status" not in values:
        raise FaultRefused("retry-after", "goes with status")
    if "times" in values and not faults:
        raise FaultRefused("times", "goes with a fault")
    if "scope" in values and "times" not in values:
        raise FaultRefused("scope", "goes with times")


class Injector:
    """Stands before a handler, and has its answers go wrong.

    Args:
        fault: of every request that asks for none of its own.
    """

    def __init__(self, handler: http.Handler, fault: Fault | None) -> None:
        self._handler = handler
        self._fault = fault
        self._counted: collections.Counter[Fault] = collections.Counter()

    async def handle(self, exchange: http.Exchange) -> None:
        """Answer one exchange.

        Raises:
            errors.ApiError: the request asks for a fault that there is not.
        """
        await self.answer(exchange, self._handler)

    async def answer(self, exchange: http.Exchange, handler: http.Handler) -> None:
        """Have another handler answer one exchange; with a status as its fault, nobody is asked.

        Raises:
            errors.ApiError: the request asks for a fault that there is not.
        """
        fault = self._due(exchange.request)
        if fault is None:
            await handler(exchange)
            return
        await exchange.request.body()
        if fault.status is not None:
            _refuse(exchange, fault.status, fault.retry_after)
            return
        faulty = FaultyExchange(exchange, fault)
        async with asyncio.TaskGroup() as group:
            sending = group.create_task(faulty.send())
            await handler(faulty)
            await exchange.finished()
            sending.cancel()

    def _due(self, request: http.Request) -> Fault | None:
        """The fault of this request, None if it has none."""
        if request.method != "POST" or request.path not in ANSWERED:
            return None
        asked = request.headers.get_all(HEADER)
        fault = _asked(", ".join(asked)) if asked else self._fault
        if fault is None or fault.times is None:
            return fault
        self._counted[fault] += 1
        return fault if self._counted[fault] <= fault.times else None


def _asked(text: str) -> Fault:
    try:
        return parse(text)
    except FaultRefused as refused:
        raise errors.ApiError("invalid_request", f"{HEADER}: {refused}", HEADER) from None


def _refuse(exchange: http.Exchange, status: int, retry_after: int | None) -> None:
    request_id = gates.request_id(exchange.request)
    headers = [("x-request-id", request_id), ("content-type", "application/json")]
    if retry_after is not None:
        headers.append(("retry-after", str(retry_after)))
    message = f"The mock was asked for status {status}."
    exchange.respond(status, headers, errors.envelope(CODE, message, status=status))


class FaultyExchange(http.Exchange):
    """Takes an answer as any exchange does, and sends it with a fault.

    Every event is a chunk and a write of its own, whatever was one when it came.

    Args:
        exchange: what the client has of it.
    """

    def __init__(self, exchange: http.Exchange, fault: Fault) -> None:
        # Not the base's: of the response itself there is one, and it is the other's.
        self.request = exchange.request
        self.on_pressure = self.on_relief = None
        self._exchange = exchange
        self._fault = fault
        self.status, self.body_bytes = None, 0
        self._headers: http.HeaderList = []
        self._whole = False
        self._began = asyncio.Event()
        self._events: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._unsent = b""

    @property
    def stage(self) -> http.Stage:
        """How far the response has come."""
        return self._exchange.stage

    @property
    def on_gone(self) -> Callable[[events.GoneCause], None] | None:
        """The callback for a client that is lost, as the exchange has it."""
        return self._exchange.on_gone

    @on_gone.setter
    def on_gone(self, callback: Callable[[events.GoneCause], None] | None) -> None:
        self._exchange.on_gone = callback

    async def finished(self) -> None:
        """Wait for the response's end, whichever way it comes."""
        await self._exchange.finished()

    def respond(self, status: int, headers: http.HeaderList, body: bytes) -> None:
        """Take a whole response: to a fault it is one event."""
        self._whole = True
        self.body_bytes = len(body)
        self.start(status, headers)
        self._events.put_nowait(body)
        self._events.put_nowait(None)

    def start(self, status: int, headers: http.HeaderList) -> None:
        """Take the head of a stream."""
        self.status, self._headers = status, headers
        self._began.set()

    def write(self, data: bytes) -> None:
        """Take events of a stream, whole ones."""
        *events, _ = data.split(b"\n\n")
        for event in events:
            self._events.put_nowait(event + b"\n\n")

    def finish(self, data: bytes = b"") -> None:
        """Take the last of them."""
        self.write(data)
        self._events.put_nowait(None)

    def abort(self) -> None:
        """Cut the answer where it is, whatever fault was asked for."""
        self._exchange.abort()

    async def send(self) -> None:
        """Send the answer with its fault; returns where nothing more comes."""
        await self._began.wait()
        ending = self._fault.ending
        if ending is None:
            await self._send_events(math.inf)
        elif self._whole and ending.name == "error-after":
            self._exchange.respond(ERROR_STATUS, self._headers, ERROR)
        elif await self._send_until(ending):
            await self._break_off(ending.name)

    async def _send_until(self, ending: Ending) -> bool:
        """Send what comes before the ending; false if that was all of the answer."""
        if ending.after == 0 and ending.name in SILENT:
            return True
        return await self._send_events(0 if self._whole else ending.after)

    async def _send_events(self, limit: float) -> bool:
        """Send the head and so many events; whether there were so many, else it was all."""
        self._exchange.start(self.status or 0, self._headers)
        while limit and (event := await self._events.get()) is not None:
            if event == sse.DONE and self._fault.no_done:
                continue
            if not event.startswith(b":"):  # a comment is no event
                limit -= 1
                await asyncio.sleep(self._fault.slow / 1000)
            await self._write(event)
        if limit:
            await self._flush()
            self._exchange.finish()
        return not limit

    async def _break_off(self, name: str) -> None:
        if name == "error-after":
            await self._write(b"data: %b\n\n" % ERROR)
        await self._flush()
        if name in ("error-after", "truncate-after"):
            self._exchange.finish()
        elif name == "disconnect-after":
            await self._exchange.reset()

    async def _write(self, data: bytes) -> None:
        """Send what makes whole writes, and keep the rest for the next."""
        self._unsent += data
        size = self._fault.split or len(self._unsent)
        whole = len(self._unsent) - len(self._unsent) % size
        for begin in range(0, whole, size):
            await self._transmit(self._unsent[begin : begin + size])
        self._unsent = self._unsent[whole:]

    async def _flush(self) -> None:
        if self._unsent:
            await self._transmit(self._unsent)
            self._unsent = b""

    async def _transmit(self, data: bytes) -> None:
        self._exchange.write(data)
        # The transport joins what is written in one round of the loop.
        await asyncio.sleep(0)
