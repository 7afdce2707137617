"""The token path in one process, from a worker's bytes to a socket's: for guards and profiles.

It is the real server on a real loopback socket with the log on a real file. Only the worker's
pipe is missing: `TokenPath.wake` hands over what a read of it would have brought.
"""

import asyncio
import contextlib
import json
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from bench import appframes, load
from engine import slices, worker, workerkinds
from engine.codex.protocol import channel
from engine.codex.turns import dispatcher, reader as codex, states
from engine.log import event_log as eventlog
from engine.stream import wakeups
from machines import lifecycle
from machines.turn import thread as threads
from server import assembly, context, router, serve
from server.config import load as configuration
from server.http import exchange as http, listener
from server.responses.kept import runs

TEXT: Final = " token"
"""The text of every chunk, which has the length of a usual token."""

RECEIVE_BYTES: Final = 1 << 20
"""More than a wake-up brings."""

BEGIN_S: Final = 10.0
"""How long a stream may take to begin."""

_REQUEST: Final = load.Plan(url="http://127.0.0.1/v1").request()


class Running:
    """A turn that never ends by itself."""

    def cancel(self) -> None:
        """There is nothing to stop."""

    def pause(self) -> None:
        """There is nothing to read."""

    def resume(self) -> None:
        """There is nothing to read."""

    def keep(self) -> None:
        """There is nothing to wait for."""


class PipelessWorker:
    """The Codex worker's reading half: its turns are told what is fed to `channel`."""

    kind = workerkinds.CODEX
    accepts: worker.AnyModel | worker.ListedModels = worker.ListedModels(appframes.MODELS[0])

    def __init__(self) -> None:
        self._routes = dispatcher.Dispatcher(_ignore)
        self.channel = channel.Channel(_ignore, self._routes, timeout=60)
        self.frames: list[appframes.TurnFrames] = []
        self.begun = asyncio.Event()

    async def start(self) -> None:
        """It is ready."""

    async def stop(self) -> None:
        """It holds nothing."""

    def health(self) -> worker.Health:
        """It is ready."""
        return worker.Health(True, "ready")

    def versions(self) -> dict[str, str]:
        """It has none."""
        return {}

    def models(self) -> tuple[str, ...]:
        """The stand-in's."""
        return appframes.MODELS

    def describe(self, model: str) -> worker.ModelCard:
        """Return nothing."""
        return worker.ModelCard()

    def check(self, turn: worker.Turn) -> slices.Steps[worker.Runner]:
        """It takes all."""
        yield
        return self

    def run(self, turn: worker.Turn, feed: worker.Feed) -> Running:
        """Begin a turn, whose frames are the next in `frames`."""
        self.listen(feed, turn.choice)
        self.begun.set()
        return Running()

    def listen(self, feed: worker.Feed, choice: int) -> None:
        """Have a feed told of a turn that begins now."""
        number = len(self.frames) + 1
        thread_id = f"00000000-0000-7000-8000-{number:012}"
        loop = asyncio.get_running_loop()
        its_states = states.States(_ignore, _ignore, _ignore, loop)
        its_states.take_thread_event(threads.Event.START_SENT)
        its_states.take_thread_event(threads.Event.STARTED)
        reader = codex.TurnReader(feed, choice, its_states)
        self._routes.turns[thread_id] = reader
        self.frames.append(appframes.TurnFrames(thread_id, number))


def _ignore(*_: object) -> None:
    pass


class TokenPath:
    """Streams in motion, each with a client that reads what it is sent.

    Attributes:
        channel: what reads of the worker's output are fed to.
        wakeups: what a read is joined to.
        line: a worker's line with one token, for a yardstick.
        chunk: the chunk that it becomes, decoded.
    """

    def __init__(
        self, runner: PipelessWorker, wakeups: wakeups.Wakeups, clients: list[socket.socket]
    ) -> None:
        self.channel = runner.channel
        self.wakeups = wakeups
        self._clients = clients
        self._lines = [frames.deltas((TEXT,))[0] for frames in runner.frames]
        self.line = self._lines[0]
        self.chunk: dict[str, object] = {}

    def burst(self, lines_a_stream: int) -> bytes:
        """Make the bytes of one read of the worker's pipe, for every stream in turn."""
        return b"".join(line * lines_a_stream for line in self._lines)

    async def wake(self, data: bytes) -> int:
        """Have the worker's bytes come, and give the CPU nanoseconds until theirs were sent."""
        began = time.process_time_ns()
        self.wakeups.read(self.channel.feed, data)
        await asyncio.sleep(0)  # the round of the event loop in which the transports send
        return time.process_time_ns() - began

    def received(self) -> int:
        """How many chunks have come to the clients since the last time."""
        chunks = 0
        for client in self._clients:
            with contextlib.suppress(BlockingIOError):
                data = client.recv(RECEIVE_BYTES)
                chunks += data.count(b"data: ")
                frame = data.partition(b"data: ")[2].partition(b"\n\n")[0]
                self.chunk = json.loads(frame)
        return chunks


@contextlib.asynccontextmanager
async def running(directory: Path, streams: int) -> AsyncIterator[TokenPath]:
    """A server in this process, with as many streams begun."""
    settings, _ = configuration.load({"PROXY_DATA_DIR": str(directory)})
    runner = PipelessWorker()
    event_log = eventlog.EventLog(assembly.log_settings(settings), serve.wall_clock())
    event_log.open()
    life = lifecycle.Lifecycle(0)
    life.step(lifecycle.Started())
    joined = wakeups.Wakeups(asyncio.get_running_loop(), event_log)
    shared = context.Context(
        settings,
        context.fleet(settings, {"codex": runner}),
        event_log,
        joined,
        life,
        assembly.hash_key(settings),
        time.time,
        runs.Runs(),
    )
    server = listener.HttpServer(router.Router(shared).handle, http.Limits())
    address = await server.start("127.0.0.1", 0)
    clients: list[socket.socket] = []
    try:
        while len(clients) < streams:
            clients.append(await _begin(address, runner))
        path = TokenPath(runner, joined, clients)
        await path.wake(path.burst(1))  # the roles, and what else comes once
        path.received()
        yield path
    finally:
        for client in clients:
            client.close()
        await server.close()
        event_log.close()


async def _begin(address: tuple[str, int], runner: PipelessWorker) -> socket.socket:
    """A client whose stream has begun."""
    loop = asyncio.get_running_loop()
    client = socket.create_connection(address)
    client.setblocking(False)
    runner.begun.clear()
    await loop.sock_sendall(client, _REQUEST)
    async with asyncio.timeout(BEGIN_S):
        await runner.begun.wait()
    return client
