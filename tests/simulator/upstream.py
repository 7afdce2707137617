"""An upstream in memory: a host that can be dialled, its connections, and the replies they play.

The client of the product is the real one. What it finds in place of the kernel is `Upstream`:
names that resolve, or not; connections that open, or not; and at their other end a `Connection`.
"""

import asyncio
import json
import random
import socket
import ssl
import types
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

import aiohappyeyeballs.impl
import aiohttp.connector

from engine.upstream import client as upstreamclient, environment
from machines.wire import eventsource
from tests.simulator import (
    clock,
    director,
    net,
    plan,
    replies,
    upstreamend,
    upstreamrules,
)

if TYPE_CHECKING:
    from tests.simulator import answers, client, world

KEY: Final = "sk-upstream"
"""The server's own key, which no client knows."""

Json = dict[str, Any]


class Dialled:
    """A socket that the product's client believes to have made."""

    def __init__(self, upstream: "Upstream") -> None:
        self._upstream = upstream
        upstream.sockets.add(self)

    def setblocking(self, _: bool) -> None:
        """It never blocks."""

    def close(self) -> None:
        """It is no more."""
        self._upstream.sockets.discard(self)


class Upstream:
    """The upstream worker's side of a run.

    Attributes:
        config, limits, replaced, lasting, wrong, exposed: as `backend.Backend` has them.
        played: for each ask, the requests that came for it.
        connections: those that neither side has closed.
        sockets: those that were made, and not yet connected.
    """

    def __init__(self, of: plan.Plan) -> None:
        self.seed = of.seed
        self.weather = of.weather
        self.wrong: list[str] = []
        self.exposed: dict[int, str] = {}
        self.blackouts: list[tuple[float, float]] = []
        self.played: dict[int, list[upstreamend.Entry]] = {}
        self.connections: dict[upstreamend.Connection, None] = {}
        self.sockets: set[Dialled] = set()
        self.config: Json = {
            "worker": "upstream",
            "upstream_url": f"http://{of.weather.host}:8000/v1",
            "upstream_api_key": KEY,
        }
        self.lasting: tuple[str, ...] = ("UpstreamWorker._watch_upstream",)
        self.limits: Json = {"over_limit_stall": 5.0}
        self._asks = plan.asks(of)
        self._listings = list(of.weather.listings)
        self._outage: plan.Outage | None = None
        self._outage_ends = 0.0
        self._asked = 0

    def install(self, loop: clock.VirtualLoop) -> None:
        """Be what the server's client finds."""
        self._loop = loop
        loop.network = self
        self.replaced: tuple[tuple[Any, str, Any], ...] = (
            (upstreamclient.Client, "models", self._counted(upstreamclient.Client.models)),
            (aiohappyeyeballs.impl, "socket", types.SimpleNamespace(socket=self._socket)),
            (aiohttp.connector, "monotonic", loop.time),
            (aiohttp.connector, "DefaultResolver", aiohttp.ThreadedResolver),
            (environment, "proxy_for", _nothing),
            (environment, "_mark_of", _nothing),
            (upstreamclient, "time", types.SimpleNamespace(time=lambda: loop.wall_us() / 1e6)),
            (ssl, "create_default_context", lambda: _CONTEXT),  # reading certificates takes long
            (eventsource.EventSource.__init__, "__defaults__", (replies.MAX_EVENT_BYTES,)),
        )

    def _counted(self, models: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        """While it is asked what it has there are connections and timers that are no turn's."""

        async def counted(its: Any) -> Any:
            self._asked += 1
            try:
                return await models(its)
            finally:
                self._asked -= 1

        return counted

    def _socket(self, **_: Any) -> Dialled:
        return Dialled(self)

    # The network.

    async def resolve(self, host: str, port: int) -> list[Any]:
        """As `loop.getaddrinfo`."""
        await asyncio.sleep(self.weather.latency / 4)
        if self._has_outage("name"):
            raise socket.gaierror(socket.EAI_NONAME, f"{host} is not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.0.0.7", port))]

    async def connect(self, address: Any) -> None:
        """As `loop.sock_connect`."""
        await asyncio.sleep(self.weather.latency / 2)
        if self._has_outage("refused"):
            raise ConnectionRefusedError(111, f"Connect call failed {address}")
        if self._has_outage("black_hole"):
            await self._loop.create_future()

    def open(self, dialled: Any, protocol: Any) -> net.Wire:
        """As `loop.create_connection` with a connected socket."""
        dialled.close()
        wire = net.Wire(self._loop, protocol, None)
        self.connections[upstreamend.Connection(self, wire)] = None
        return wire

    def _has_outage(self, kind: str) -> bool:
        ongoing = self._loop.time() < self._outage_ends
        return ongoing and self._outage is not None and self._outage.kind == kind

    async def awake(self) -> None:
        """Wait until the upstream does not stand still."""
        if self._has_outage("deaf"):
            await asyncio.sleep(self._outage_ends - self._loop.time())
            await self.awake()  # another outage may have begun

    # Requests.

    def next(self, body: Json) -> replies.Reply:
        """What the next request of an ask is answered."""
        ask = _number(body)
        known = self._asks[ask].answered
        return known[min(len(self.played.get(ask, ())), len(known) - 1)]

    def parted(self, connection: upstreamend.Connection) -> None:
        """Forget a connection that is no more."""
        self.connections.pop(connection, None)

    def generator(self, body: Json) -> random.Random:
        """What the answer to the latest request of an ask draws from."""
        ask = _number(body)
        answered = sum(entry.reply is not None for entry in self.played[ask])
        return random.Random(f"{self.seed}/{ask}/{answered}")

    def note(self, entry: upstreamend.Entry) -> None:
        """Keep a request."""
        self.played.setdefault(_number(entry.body), []).append(entry)

    def entries_on(self, wire: net.Wire) -> list[upstreamend.Entry]:
        """The requests that came on a connection."""
        return [each for all_of in self.played.values() for each in all_of if each.wire is wire]

    def listing_status(self) -> int | None:
        """The status of the next listing; None: there is no answer."""
        return self._listings.pop(0) if self._listings else 200

    # What the world asks.

    def take(self, step: plan.Step) -> None:
        """Have a step happen, if it is one of an upstream."""
        match step:
            case plan.Outage():
                now = self._loop.time()
                self._outage, self._outage_ends = step, now + step.lasts
                if step.kind != "deaf":
                    self.blackouts.append((now, self._outage_ends))
            case plan.HangUp():
                for connection in list(self.connections):
                    busy = step.busy and not connection.answers_innocent
                    if busy or connection.is_idle:
                        connection.hang_up(step.how)

    def innocent_over(self, number: int) -> None:
        """An innocent has what it asked for."""

    def begun_at(self, ask: int) -> float | None:
        """When the answer to a request began."""
        return next((each.begun for each in self.played.get(ask, ()) if each.reply), None)

    def request_of(self, line: bytes) -> str:
        """None: each answer has a connection of its own."""
        return ""

    def is_ready(self, worker: Any) -> bool:
        """Whether it was reached, and is not just being asked again."""
        stages = [each.stage for each in self.connections]
        asked = self._asked or "new" in stages or "listing" in stages
        return bool(worker.health().ready) and not asked

    def leaks(self, worker: Any) -> list[str]:
        """What is still held for turns, when there should be none."""
        found = []
        if worker._turns:
            found.append(f"turns: {worker._turns}")
        if self.sockets:
            found.append(f"{len(self.sockets)} sockets are open")
        if self.connections:
            found.append(f"{len(self.connections)} connections to the upstream are open")
        sessions = (worker._client._pooled, worker._client._fresh)
        used = [session.connector._acquired for session in sessions]
        return found + [f"connections in use: {each}" for each in used if each]

    def unstopped(self) -> list[str]:
        """Answers that go on and that nobody waits for."""
        busy = [each.entry for each in self.connections if each.entry is not None]
        return [f"the request of #{_number(entry.body)} was not let go" for entry in busy]

    def check_answer(
        self,
        of: "world.World",
        visitor: "client.Visitor",
        index: int,
        heard: "answers.Heard",
        answer: "answers.Answer",
    ) -> None:
        """An answer is true to what was said."""
        upstreamrules.Judge(of, self, visitor, index, heard, answer).check()


_CONTEXT: Final = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _number(body: Json) -> int:
    """The ask that a request is of."""
    return int(director.MARK.findall(json.dumps(body["messages"]))[-1][0])


def _nothing(_: str) -> None:
    """Of the machine's own environment nothing is found."""
