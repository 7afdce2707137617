"""The composition root: builds the server, runs it, and ends it in order."""

import asyncio
import contextlib
import gc
import os
import signal
import time
from collections.abc import Callable, Mapping

import structlog
import uvloop

from engine import log, wakeups
from machines import events, lifecycle
from server import assembly, http
from server.context import Context, fleet
from server.listener import HttpServer
from server.routes import Router
from server.settings import Config

PRUNE_S = 3600.0
"""How often the limits of log and store are applied to a server that writes nothing."""

CLOSE_S = 2.0
"""How long connections may take to send what they hold once every stream has ended."""

_log = structlog.get_logger(component="server")

Announce = Callable[[str, int], None]
"""Told the address and port that were bound."""

Front = Callable[[http.Handler], http.Handler]
"""Puts something before the routes."""


def nothing(handler: http.Handler) -> http.Handler:
    """Put nothing before the routes."""
    return handler


def wall_clock() -> Callable[[], int]:
    """Microseconds since the epoch, from a clock that never steps back."""
    offset = time.time_ns() - time.monotonic_ns()
    return lambda: (offset + time.monotonic_ns()) // 1000


class Server:
    """One running server.

    Args:
        announce: told where it listens, once it does.
        front: puts something before the routes.

    Raises:
        LogLocked: the log is another process's.
        BinaryNotFound, TranscriptError: the worker cannot work at all.
    """

    def __init__(
        self,
        config: Config,
        environ: Mapping[str, str],
        announce: Announce,
        front: Front = nothing,
    ) -> None:
        loop = asyncio.get_running_loop()
        self._config = config
        self._announce = announce
        self._stopped = asyncio.Event()
        self._drain: asyncio.Task[None] | None = None
        self._log = log.EventLog(assembly.log_settings(config), wall_clock())
        self._wakeups = wakeups.Wakeups(loop, self._log)
        self._fleet = fleet(
            config,
            {
                name: assembly.make_worker(name, config, environ, self._log, self._wakeups)
                for name in config.workers()
            },
        )
        self._store = assembly.response_store(config)
        self._life = lifecycle.Lifecycle(config.drain_timeout_ms)
        config.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._log.open()
        self._context = Context(
            config,
            self._fleet,
            self._log,
            self._wakeups,
            self._life,
            assembly.hash_key(config),
            time.time,
            self._store,
        )
        self._http = HttpServer(front(Router(self._context).handle), assembly.http_limits(config))

    async def run(self) -> None:
        """Serve until asked to stop.

        Raises:
            OSError: the address cannot be bound.
        """
        try:
            if self._store is not None:
                await self._store.open()
                await self._store.interrupted()
            await self._fleet.start()
            host, port = await self._http.start(self._config.host, self._config.port)
            self._act(self._life.step(lifecycle.Started()))
            _log.info("listening", host=host, port=port, workers=list(self._fleet.workers))
            # What is here now stays: a collection need not look through it again and again.
            gc.collect()
            gc.freeze()
            self._announce(host, port)
            await self._wait()
        finally:
            await self._http.drain(CLOSE_S)
            await self._context.runs.drain(CLOSE_S)
            await self._http.close()
            await self._fleet.stop()
            if self._store is not None:
                await self._store.close()
            self._log.close()
            _log.info("stopped")

    async def _wait(self) -> None:
        """Until the end; meanwhile what an idle server keeps must not outlive its age limit."""
        pruning = asyncio.get_running_loop().create_task(self._prune())
        await self._stopped.wait()
        pruning.cancel()

    async def _prune(self) -> None:
        while True:
            if self._store is not None:
                await self._store.prune()
            await asyncio.sleep(PRUNE_S)
            self._log.prune()

    def stop(self) -> None:
        """Drain; asked again, do not wait any longer."""
        if self._life.state != "stopped":
            _log.info("stop_asked", streams=len(self._context.streams))
            self._act(self._life.step(lifecycle.StopAsked()))

    def _act(self, actions: tuple[lifecycle.AnyAction, ...]) -> None:
        for action in actions:
            match action:
                case lifecycle.BeginDrain(timeout_ms):
                    self._http.stop_accepting()
                    drain = self._wait_for_streams(timeout_ms / 1000)
                    self._drain = asyncio.get_running_loop().create_task(drain)
                case lifecycle.EndStreams():
                    for stream in list(self._context.streams.values()):
                        stream.event(events.ServerStopping())
                case lifecycle.Shutdown():
                    self._stopped.set()
                case lifecycle.AnnounceReady() | lifecycle.AnnounceNotReady():
                    _log.info("lifecycle", state=self._life.state)

    async def _wait_for_streams(self, seconds: float) -> None:
        deadline = asyncio.get_running_loop().time() + seconds
        left = await self._http.drain(seconds)
        seconds = max(0, deadline - asyncio.get_running_loop().time())
        left += await self._context.runs.drain(seconds)
        if self._life.state == "draining":
            ended = lifecycle.DrainTimedOut() if left else lifecycle.StreamsDrained()
            self._act(self._life.step(ended))


async def serve(config: Config, announce: Announce, front: Front = nothing) -> None:
    """Run a server until SIGTERM or SIGINT."""
    server = Server(config, os.environ, announce, front)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, server.stop)
    try:
        await server.run()
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            with contextlib.suppress(ValueError):
                loop.remove_signal_handler(number)


def run(config: Config, announce: Announce, front: Front = nothing) -> None:
    """Run a server in this process, on a loop of its own."""
    uvloop.run(serve(config, announce, front))
