"""The upstream's end of a connection: what it was asked, and what it has answered."""

import asyncio
import json
import random
from collections.abc import Iterable
from typing import Any, Final, Literal, Protocol

import msgspec

from tests.simulator import net, plan, replies, upstreamframes

COMMENT_S: Final = 1.0
"""How often an upstream says that it is there, and nothing else."""

Json = dict[str, Any]


class Entry(msgspec.Struct, eq=False):
    """One request as the upstream saw it, and what it has answered.

    Attributes:
        reply: None for a request that met a connection on its way to be closed.
        reused: whether it came on a connection that had served another.
        told: what each choice has said so far.
        finished: the choices that have ended; all of them once the sentinel has come.
        counts: counts told so far, with the time.
        begun: when it came.
        life: when the last event came that says anything.
        whole_at: when the answer was whole.
        over: how the connection was lost, if the upstream broke it.
        events: how many events were sent, comments not counted.
    """

    headers: dict[str, str]
    body: Json
    reply: replies.Reply | None
    reused: bool
    wire: net.Wire
    offset: int
    told: list[list[replies.Atom]] = []
    finished: set[int] = set()
    counts: list[tuple[float, tuple[int, int]]] = []
    begun: float = 0.0
    life: float = 0.0
    whole_at: float | None = None
    over: str = ""
    events: int = 0
    until: int | None = None

    @property
    def delivered(self) -> int:
        """Bytes of the answer that have come to the server."""
        until = self.wire.delivered if self.until is None else self.until
        return until - self.offset

    @property
    def headed(self) -> bool:
        """Whether a whole head has come."""
        cut = isinstance(self.reply, replies.Rubbish) and b"\r\n\r\n" not in self.reply.data
        return self.delivered > 0 and not cut

    def tell(self, event: upstreamframes.Event, now: float) -> None:
        """Note that an event is on its way."""
        self.events += 1
        for choice, atom in event.atoms:
            self.told[choice].append(atom)
        if event.counts is not None:
            self.counts.append((now, event.counts))
        if self.whole_at is not None:
            return
        self.finished.update(event.finished)
        if event.data == upstreamframes.SENTINEL and any(self.told):
            self.finished.update(range(len(self.told)))
        if event.atoms or event.finished:
            self.life = now
        if len(self.finished) == len(self.told):
            self.whole_at = now


class Host(Protocol):
    """What a connection is of."""

    weather: plan.Weather

    async def awake(self) -> None:
        """Wait until the upstream does not stand still."""

    def next(self, body: Json) -> replies.Reply:
        """What the next request of an ask is answered."""

    def generator(self, body: Json) -> random.Random:
        """What the answer to the latest request of an ask draws from."""

    def note(self, entry: Entry) -> None:
        """Keep a request."""

    def entries_on(self, wire: net.Wire) -> Iterable[Entry]:
        """The requests that came on a connection."""

    def listing_status(self) -> int | None:
        """The status of the next listing; None: there is no answer."""

    def parted(self, connection: "Connection") -> None:
        """Forget a connection that is no more."""


class Connection:
    """The upstream's end of one connection.

    Attributes:
        entry: the request that is being answered.
    """

    def __init__(self, upstream: Host, wire: net.Wire) -> None:
        self.entry: Entry | None = None
        self.stage: Literal["new", "listing", "answering", "idle"] = "new"
        self._upstream = upstream
        self._wire = wire
        self._loop = asyncio.get_running_loop()
        self._latest: Entry | None = None
        self._served = 0
        self.task = self._loop.create_task(self._serve())
        self.task.add_done_callback(_raise)
        wire.on_over = self._over

    @property
    def is_idle(self) -> bool:
        """Whether nothing is answered on it, and all that was has been read."""
        return self.entry is None and not self._wire.undelivered

    @property
    def answers_innocent(self) -> bool:
        """Whether an innocent is answered on it, or waits to be."""
        latest = self._latest
        busy = latest is not None and not self.is_idle
        return busy and latest is not None and latest.body["model"] in plan.MODELS

    def hang_up(self, how: str) -> None:
        """Break it off, whatever goes on."""
        if self._latest is not None and not self.is_idle:
            self._latest.over = "hung_up"
        self.task.cancel()
        if how == "reset":
            self._wire.reset()
        else:
            self._wire.leave()

    def _over(self) -> None:
        self._upstream.parted(self)
        self.task.cancel()

    async def _serve(self) -> None:
        while await self._until_asked():
            request = self._request()
            assert request is not None
            self.stage = "listing" if request[0].startswith("GET") else "answering"
            if not await self._answer(*request):
                break
            self.entry = None
            self.stage = "idle"
        self._wire.leave()

    async def _until_asked(self) -> bool:
        """Wait for the next request; whether the connection was still open when it came."""
        weather = self._upstream.weather
        limit = weather.idle_close if self._served else None
        try:
            async with asyncio.timeout(limit):
                await self._wait()
        except TimeoutError:
            if weather.idle_end == "at_once":
                await asyncio.sleep(weather.latency)  # until the word of it has come
            else:
                await self._wait()
            crossed = self._request()
            if crossed is not None:
                self._begin(None, *crossed[1:]).over = "hung_up"
            return False
        return True

    async def _wait(self) -> None:
        while self._request() is None:
            self._wire.news.clear()
            await self._wire.news.wait()

    def _request(self) -> tuple[str, dict[str, str], Json] | None:
        """The request line, headers and body of what has come, if all of it has."""
        head, separator, rest = bytes(self._wire.received).partition(b"\r\n\r\n")
        if not separator:
            return None
        line, *lines = head.decode().split("\r\n")
        headers = dict(each.lower().split(": ", 1) for each in lines)
        length = int(headers.get("content-length", 0))
        if len(rest) < length:
            return None
        return line, headers, json.loads(rest[:length] or b"{}")

    def _begin(self, reply: replies.Reply | None, headers: dict[str, str], body: Json) -> Entry:
        """Note a request, and that it was taken."""
        self._wire.received.clear()
        offset = self._wire.delivered
        for earlier in self._upstream.entries_on(self._wire):
            earlier.until = earlier.until or offset
        entry = Entry(headers, body, reply, self._served > 0, self._wire, offset)
        self._latest = entry
        entry.told = [[] for _ in range(body.get("n", 1))]
        entry.begun = entry.life = self._loop.time()
        self._served += 1
        self._upstream.note(entry)
        return entry

    async def _answer(self, _: str, headers: dict[str, str], body: Json) -> bool:
        """Answer a request; whether the connection is kept."""
        if self.stage == "listing":
            self._wire.received.clear()
            return await self._list()
        reply = self._upstream.next(body)
        entry = self.entry = self._begin(reply, headers, body)
        rng = self._upstream.generator(body)
        await asyncio.sleep(rng.uniform(0, self._upstream.weather.latency))
        match reply:
            case replies.Stream():
                return await self._stream(entry, reply, rng)
            case replies.Completion():
                return await self._complete(entry, reply)
            case replies.Refusal():
                return await self._refuse(reply)
            case replies.Rubbish():
                await self._send(reply.data, reply.delay)
                if "upstream_disconnected" in reply.codes:
                    entry.over = "hung_up"
                return await self._then(reply.then)

    async def _send(self, data: bytes, delay: float) -> None:
        """Send some bytes, a while from now, if the upstream is awake by then."""
        if delay:
            tick, now = self._upstream.weather.tick, self._loop.time()
            await asyncio.sleep(net.next_tick(now + delay, tick) - now if tick else delay)
        if not self.answers_innocent:
            await self._upstream.awake()
        if not data:
            return
        if not self._upstream.weather.cuts:
            self._wire.send(data)
            return
        rng = random.Random(len(data))
        pauses = False
        for piece in upstreamframes.pieces(data, rng):
            if pauses:
                await asyncio.sleep(0)
            self._wire.send(piece)
            pauses = rng.random() < 0.5

    async def _then(self, what: str) -> bool:
        """What becomes of the connection; whether it is kept."""
        match what:
            case "keep":
                return True
            case "reset":
                await asyncio.sleep(0.01)  # what was sent is there by then
                self._wire.reset()
            case "stall":
                await self._loop.create_future()
        return False

    async def _list(self) -> bool:
        status = self._upstream.listing_status()
        data = b'{"object":"list","data":[{"id":"up-1"},{"id":"up-2"}]}'
        if status is None:
            return await self._then("stall")
        head = f"HTTP/1.1 {status} Said\r\ncontent-length: {len(data)}\r\n\r\n"
        await self._send(head.encode() + data, 0.05)
        return True

    async def _refuse(self, reply: replies.Refusal) -> bool:
        head, body = upstreamframes.refusal(reply)
        await self._send(head, reply.delay)
        if reply.breaks is not None:
            await self._send(body[: len(body) // 2], 0)
            return await self._then(reply.breaks)
        await self._send(body, 0)
        return True

    async def _complete(self, entry: Entry, reply: replies.Completion) -> bool:
        body = upstreamframes.completion(reply)
        sent = body if reply.broken is None else body[: len(body) // 2]
        short = reply.broken in ("short", "reset")
        length = len(body) if short else len(sent)
        await self._send(upstreamframes.head_of(reply, "length", length), reply.delay)
        await self._send(sent, 0)
        if reply.broken is None:
            event = upstreamframes.Event(b"", finished=list(range(len(entry.told))))
            event.counts = reply.counts
            entry.tell(event, self._loop.time())
        return await self._then(
            "reset" if reply.broken == "reset" else "close" if short else "keep"
        )

    async def _stream(self, entry: Entry, reply: replies.Stream, rng: random.Random) -> bool:
        events, rest = upstreamframes.parts(reply, rng)
        data = upstreamframes.body(reply, events, rest, rng)
        length = sum(map(len, data)) + (1_000 if reply.ending in upstreamframes.ENDLESS else 0)
        delays = list(reply.delays)
        await self._send(upstreamframes.head_of(reply, reply.framing, length), delays[0])
        for number, each in enumerate(data):
            await self._send(b"", delays[(number + 1) % len(delays)])
            if number < len(events):
                entry.tell(events[number], self._loop.time())
            await self._send(upstreamframes.framed(each, reply.framing, rng), 0)
        return await self._end_stream(reply)

    async def _end_stream(self, reply: replies.Stream) -> bool:
        match reply.ending:
            case "reset" | "reset_after":
                return await self._then("reset")
            case "short":
                return False
            case "silent" | "hang":
                while "comments" in reply.habits:
                    comment = upstreamframes.framed(b": hm\n\n", reply.framing, random.Random(0))
                    await self._send(comment, COMMENT_S)
                return await self._then("stall")
        if reply.framing == "chunked":
            await self._send(b"0\r\n\r\n", 0)
        return reply.framing != "close" and "closes" not in reply.habits


def _raise(task: "asyncio.Task[None]") -> None:
    """Have what is wrong with the simulation itself be seen."""
    if not task.cancelled():
        task.result()
