"""Responses that are made without their client, and that anyone with their key may follow.

A run stands where a client's exchange would: what its stream renders is kept, in order, and
whoever follows is sent all of it from the event that they have not seen. The store holds the
response as `in_progress` before its client hears of it, and as it ended before a follower does.
"""

import asyncio
import enum
import re
from collections.abc import Callable
from typing import Any, Final

import msgspec

from engine import containment
from engine.stream import pump
from machines import events, outputs
from server.api import sinks
from server.chat import sse
from server.context import Context
from server.http.exchange import OPEN_STAGES, Exchange, HeaderList
from server.responses.render.stream import ResponseEvents

FOLLOWABLE_S: Final = 600.0
"""Seconds after its end for which a run can still be followed."""

FOLLOWABLE_BYTES: Final = 64 << 20
"""Most bytes that are held of runs that are over; above it the first to end are forgotten."""

AT_ONCE: Final = 64 << 10
"""Bytes that a follower is sent before it is asked whether it keeps up."""

_FRAME: Final = re.compile(
    rb'(?m:^)event: [^\n]++\ndata: \{"type":"[^"\n]++","sequence_number":(\d++)[^\n]*+\n\n'
)


class Ending(enum.Enum):
    """How those who follow a run learn that it is over."""

    WHOLE = enum.auto()
    CUT = enum.auto()


class Refusal(msgspec.Struct, frozen=True):
    """An answer that was given in place of a stream."""

    status: int
    headers: HeaderList
    body: bytes


class Run:
    """One response that is made in the background: a `server.api.sinks.Outlet`.

    Args:
        keep: keeps the response as it ended; called with how to go on.

    Attributes:
        begun: set once it is known whether the stream has begun.
        refusal: of one that has not.
        over: set once all of it has been said and kept.
    """

    def __init__(self, key_id: str, renderer: ResponseEvents, keep: sinks.BeforeLast) -> None:
        self.key_id = key_id
        self.refusal: Refusal | None = None
        self.begun = asyncio.Event()
        self.over = asyncio.Event()
        self._renderer = renderer
        self._keep = keep
        self._stream: pump.Pump | None = None
        self._said: list[bytes] = []
        self._last_words = b""
        self._ending = Ending.WHOLE
        self._followers: set[asyncio.Event] = set()

    @property
    def size(self) -> int:
        """Bytes of the events so far."""
        return sum(map(len, self._said))

    @property
    def response(self) -> dict[str, Any] | None:
        """The response object as it ended; None until then."""
        return self._renderer.answer.response if self.over.is_set() else None

    def begin(self, stream: pump.Pump) -> None:
        """Have the stream emit its head at once: nobody waits for a status any more."""
        self._stream = stream
        stream.tick("head_hold")

    def cancel(self) -> None:
        """Stop the work; a run that is over stays as it is."""
        assert self._stream is not None
        self._stream.event(events.ClientGone("cancelled"))

    def before_last(self, proceed: Callable[[], None]) -> None:
        """Keep the response, then call `proceed`: one that stopped without an end was
        cancelled."""
        if self._renderer.answer.response is None and self._renderer.frames:
            self._last_words = self._renderer.cancelled()
        self._keep(proceed)

    def respond(self, status: int, headers: HeaderList, body: bytes) -> None:
        """Keep an answer that was given in place of a stream."""
        self.refusal = Refusal(status, headers, body)
        self.begun.set()
        self._end()

    def start(self, status: int, headers: HeaderList) -> None:
        """Begin the stream; each follower gets a head of its own."""
        self.begun.set()

    def write(self, data: bytes) -> None:
        """Keep a piece of the body for those who follow."""
        self._said.append(data)
        self._tell()

    def finish(self, data: bytes = b"") -> None:
        """Keep the last piece of the body."""
        self._said.append(data + self._last_words)
        self._end()

    def abort(self) -> None:
        """End the run without a whole answer: the response has failed, and whoever follows it is
        cut."""
        self._ending = Ending.CUT
        try:
            if self._renderer.answer.response is None:
                self._renderer.answer.take(outputs.DEFECT, 0)
            self._keep(self._end)
        except Exception as error:
            containment.report(containment.Boundary.STREAM_END, error)
            self._end()

    async def follow(self, exchange: Exchange, headers: HeaderList, after: int) -> None:
        """Send the events so far and those to come, from the one that follows number `after`.

        A follower that reads slowly is sent no more than it has room for.
        """
        news, room = asyncio.Event(), asyncio.Event()
        room.set()

        def leave(_: events.GoneCause) -> None:
            news.set()
            room.set()

        exchange.on_gone = leave
        exchange.on_pressure = lambda _: room.clear()
        exchange.on_relief = room.set
        self._followers.add(news)
        exchange.start(200, [*headers, *sse.HEADERS])
        seen = 0
        try:
            while exchange.stage in OPEN_STAGES:
                news.clear()
                is_over = self.over.is_set()
                said, seen = self._said[seen:], len(self._said)
                for piece in said:
                    await _give(exchange, _after(piece, after), room)
                if is_over and self._ending is Ending.CUT:
                    exchange.abort()
                elif is_over:
                    exchange.finish()
                else:
                    await news.wait()
        finally:
            exchange.on_gone = exchange.on_pressure = exchange.on_relief = None
            self._followers.discard(news)

    def _end(self) -> None:
        self.over.set()
        self._tell()

    def _tell(self) -> None:
        for follower in self._followers:
            follower.set()


async def _give(exchange: Exchange, data: bytes, room: asyncio.Event) -> None:
    """Send a follower a piece, as it has room for it."""
    for start in range(0, len(data), AT_ONCE):
        exchange.write(data[start : start + AT_ONCE])
        if exchange.buffered:
            await asyncio.sleep(0)  # which lets it be told that there is no more room
            await room.wait()


def _after(piece: bytes, number: int) -> bytes:
    """Return the part of a piece that comes after an event; all of it, if that comes before it."""
    start = 0
    for frame in _FRAME.finditer(piece):
        if int(frame[1]) > number:
            break
        start = frame.end()
    return piece[start:]


def of(context: Context) -> "Runs":
    """Return the runs of a server."""
    assert isinstance(context.runs, Runs)
    return context.runs


class Runs:
    """The background runs of a server, and for a while those that are over."""

    def __init__(self) -> None:
        self._runs: dict[str, Run] = {}
        self._over: dict[str, int] = {}
        self._watches: set[asyncio.Task[None]] = set()

    def add(self, response_id: str, run: Run) -> None:
        """Add a run; it is forgotten when it cannot be followed any more."""
        self._runs[response_id] = run
        watch = asyncio.get_running_loop().create_task(self._watch(response_id, run))
        self._watches.add(watch)
        watch.add_done_callback(self._watches.discard)

    def find(self, response_id: str, key_id: str) -> Run | None:
        """Return a run, if it is of this key."""
        run = self._runs.get(response_id)
        return run if run is not None and run.key_id == key_id else None

    def forget(self, response_id: str) -> None:
        """Remove a run, if it is not forgotten yet."""
        self._runs.pop(response_id, None)
        self._over.pop(response_id, None)

    async def drain(self, seconds: float) -> int:
        """Wait until every run is over, and return how many were not in time."""
        if self._watches:
            await asyncio.wait(self._watches, timeout=seconds)
        return len(self._watches)

    async def _watch(self, response_id: str, run: Run) -> None:
        await run.over.wait()
        if run.refusal is not None:
            self.forget(response_id)
            return
        self._over[response_id] = run.size
        asyncio.get_running_loop().call_later(FOLLOWABLE_S, self.forget, response_id)
        while sum(self._over.values()) > FOLLOWABLE_BYTES:
            self.forget(next(iter(self._over)))
