"""Runs the server: begins its parts in order, waits, and ends them in the reverse order."""

import asyncio
import contextlib
import gc
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

import structlog

from engine import containment, worker
from engine.log import event_log as eventlog
from engine.stream import pump, wakeups
from machines import events, lifecycle
from server import assembly, diagnostics, readiness, reloading
from server.config.settings import Config
from server.context import Context, fleet
from server.http import exchange as http
from server.http.listener import HttpServer
from server.keys import daily, keyring
from server.process import eventloop, exits, servicemanager, signals, teardown, watchdog
from server.responses.kept.runs import Runs
from server.router import ROUTES, Router

PRUNE_S = 3600.0
"""How often the limits of log and store are applied to a server that writes nothing."""

WATCH_S = 1.0
"""How often the files of the store are looked after while nobody asks for a response."""

CLOSE_S = 2.0
"""How long connections may take to send what they hold once every stream has ended."""

STEP_S = 5.0
"""How long a part may take to end that has no limit of its own; with one, how much longer."""

T = TypeVar("T")

STDOUT = 1
"""The descriptor, which `server.program` keeps open."""

_log = structlog.get_logger(component="server")

Announce = Callable[[str, int], None]
"""Told the address and port that were bound."""

Front = Callable[[http.Handler], http.Handler]
"""Puts something before the routes."""


MakeWorkers = Callable[
    [Config, Mapping[str, str], eventlog.EventLog, wakeups.Wakeups], dict[str, worker.Worker]
]
"""Makes the workers of a run, the default first."""


def announce(text: str) -> None:
    """Tell whoever started a server where it is, if they still read.

    Nothing is buffered: what cannot be written now would fail the end, which flushes.
    """
    with contextlib.suppress(OSError):
        os.write(STDOUT, f"{text}\n".encode())


def nothing(handler: http.Handler) -> http.Handler:
    """Put nothing before the routes."""
    return handler


def wall_clock() -> Callable[[], int]:
    """Microseconds since the epoch, from a clock that never steps back."""
    offset = time.time_ns() - time.monotonic_ns()
    return lambda: (offset + time.monotonic_ns()) // 1000


class Server:
    """One server, which runs once. Nothing is opened before `run`.

    Args:
        announce: called with address and port, once it listens there.
        front: puts something before the routes.
        reread: reads the configuration again, on SIGHUP; None: there is nothing to be read.
        make_workers: makes what answers.

    Raises:
        BinaryNotFound, TranscriptError: the worker cannot work at all.
        ExtraMissing: a part needs packages that are not installed.
        ConfigError: a rule of the models file leads nowhere.
    """

    def __init__(
        self,
        config: Config,
        environ: Mapping[str, str],
        announce: Announce,
        front: Front = nothing,
        reread: reloading.Read | None = None,
        make_workers: MakeWorkers = assembly.make_workers,
    ) -> None:
        loop = asyncio.get_running_loop()
        self._parts = teardown.Teardown()
        self._config = config
        self._announce = announce
        self._stopped = asyncio.Event()
        self._starting: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._log = eventlog.EventLog(assembly.log_settings(config), wall_clock())
        self._wakeups = wakeups.Wakeups(loop, self._log)
        workers = make_workers(config, environ, self._log, self._wakeups)
        self._fleet = fleet(config, workers)
        self._store = assembly.response_store(config)
        self._life = lifecycle.Lifecycle(config.drain_timeout_ms, config.drain_delay_ms)
        self._context = Context(
            config,
            self._fleet,
            self._log,
            self._wakeups,
            self._life,
            b"",  # the key is beside the log, which is not open yet
            time.time,
            Runs(),
            self._store,
            assembly.request_metrics(
                config, (route.path for route in ROUTES), lambda: self._context.fleet.listed()
            ),
            assembly.make_tracing(config, environ),
        )
        self._readiness = readiness.Watch(self._context)
        self._manager = servicemanager.ServiceManager(
            environ, lambda: readiness.status(self._context)
        )
        self._key_tokens = daily.DailyTokens(config.data_dir / daily.FILE, self._context.accounts)
        self._router = Router(self._context)
        limits = assembly.http_limits(config)
        self._http = HttpServer(front(self._router.handle), limits, refuse=self._router.refuse)
        self._reloading = reread and reloading.Reloading(
            reread, lambda: self._context.config, self._reconfigure, self._context.reloads
        )
        self._context.connections = lambda: self._http.connections
        self._context.websockets = lambda: self._http.websockets

    @property
    def undone(self) -> list[str]:
        """Once it has run: the parts that did not end as they should."""
        return self._parts.undone

    def stop_limit(self) -> float:
        """Seconds that a stop may take: the delay, the drain, and every part that has begun."""
        waits_ms = self._config.drain_delay_ms + self._config.drain_timeout_ms
        return waits_ms / 1000 + self._parts.seconds + STEP_S

    async def run(self) -> None:
        """Serve until asked to stop; asked before it has started, start no further.

        Raises:
            LogLocked, HomeTaken, StoreError: another process uses the files, or they are broken.
            OSError: a file or the address cannot be had.
        """
        with self._manager.attended():
            await self._run()
        _log.info("stopped")

    async def _run(self) -> None:
        async with self._parts:
            if not self._stopped.is_set():
                self._starting = asyncio.get_running_loop().create_task(self._start())
                try:
                    await asyncio.wait({self._starting})
                finally:
                    self._starting.cancel()
                if not self._starting.cancelled():
                    self._starting.result()
            await self._stopped.wait()

    async def _start(self) -> None:
        """Begin every part, and note before each how it is ended."""
        add = self._parts.add
        self._make_directories()
        if (tracing := self._context.tracing) is not None:
            add("tracing", tracing.close_s + STEP_S, tracing.close)
            tracing.start()
        add("event_log", STEP_S, self._close_log)
        await self._log.look()
        self._log.open()
        self._context.hash_key = assembly.hash_key(self._config)
        if self._store is not None:
            add("response_store", STEP_S, self._store.close)
            await self._store.open()
            if self._config.api_key is not None:
                # Of versions before key names: what it made is its name's from now on.
                hashed = keyring.hashed_id(self._config.api_key)
                await self._store.adopt(hashed, keyring.id_of(keyring.SETTING))
            await self._store.interrupted()
        add("key_tokens", STEP_S, self._key_tokens.save)
        self._key_tokens.restore(self._log.now() / 1_000_000)
        add("admin", STEP_S, self._close_admin)
        self._context.maintenance.start(self._config.maintenance_mode)
        # Taken before workers are started in vain; connections are refused for so long.
        add("address", STEP_S, self._http.close)
        host, port = await self._listen(self._http.bind(self._config.host, self._config.port))
        grace = self._config.worker_shutdown_grace_ms / 1000
        add("workers", grace + STEP_S, self._fleet.stop)
        await self._fleet.start()
        add("connections", STEP_S, self._http.close)
        add("background_responses", STEP_S, lambda: self._context.runs.drain(CLOSE_S))
        add("answers", CLOSE_S + STEP_S, lambda: self._http.drain(CLOSE_S))
        await self._listen(self._http.serve())
        add("tasks", STEP_S, self._cancel_tasks)
        self._begin("watch_loop", self._context.lag.watch)
        self._begin("prune_log", self._prune_log)
        self._begin("prune_store", self._prune_store)
        self._begin("watch_store", self._watch_store)
        self._begin("watch_readiness", self._readiness.run)
        self._begin("keep_key_tokens", self._key_tokens.keep)
        add("streams", STEP_S, self._end_streams)
        self._act(self._life.step(lifecycle.Started()))
        kept = {"data_dir": str(self._config.data_dir), "log_dir": str(self._config.log_dir)}
        workers = list(self._fleet.workers)
        _log.info("listening", host=host, port=port, workers=workers, **kept)
        # What is here now stays: a collection need not look through it again and again.
        gc.collect()
        gc.freeze()
        self._announce(host, port)
        self._manager.enter(servicemanager.Phase.READY)

    def _make_directories(self) -> None:
        """Fail early where one cannot be made: what is then on the disk is a matter of policy."""
        logs = self._config.event_log != "off"
        for directory in (self._config.data_dir, *([self._config.log_dir] if logs else [])):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    async def _listen(self, step: Awaitable[T]) -> T:
        """Do a step of listening; its errors name the address, each in the same form."""
        try:
            return await step
        except OSError as error:
            number = error.errno or 0
            reason = os.strerror(number) if number > 0 else error.strerror
            address = f"{self._config.host}:{self._config.port}"
            raise OSError(number, f"cannot listen: {reason}", address) from None

    def _begin(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        """Have something be done in the background, begun again whenever it fails."""
        task = asyncio.get_running_loop().create_task(containment.keep_running(name, work))
        self._tasks.add(task)

    async def _prune_log(self) -> None:
        """What an idle server keeps must not outlive its age limit."""
        while True:
            await asyncio.sleep(PRUNE_S)
            self._log.prune()

    async def _prune_store(self) -> None:
        while self._store is not None:
            await self._store.prune()
            await asyncio.sleep(PRUNE_S)

    async def _watch_store(self) -> None:
        """Notice what becomes of the store's files while nobody asks for a response."""
        while self._store is not None:
            await self._store.check()
            await asyncio.sleep(WATCH_S)

    def reload(self) -> None:
        """Read the configuration again, and put in force what needs no restart."""
        if self._reloading is None:
            _log.info("hangup_ignored")
        else:
            self._reloading.ask()

    async def _reconfigure(self, config: Config) -> None:
        """Put another configuration in force for all that comes from now on.

        Raises:
            ConfigError: a rule of the models file leads nowhere; nothing has changed.
        """
        fresh = await self._context.under(config)
        diagnostics.learn(config.secrets())
        self._log.learn(config.secrets())
        fresh.take_over()
        self._context, self._config = fresh, config
        self._router.use(fresh)

    def stop(self) -> None:
        """Leave and drain; asked again, do not wait any longer."""
        if self._life.state != lifecycle.STOPPED:
            _log.info("stop_asked", streams=len(self._context.streams))
            self._manager.enter(servicemanager.Phase.STOPPING)
            self._act(self._life.step(lifecycle.StopAsked()))

    def _act(self, actions: tuple[lifecycle.AnyAction, ...]) -> None:
        containment.each(containment.Boundary.SHUTDOWN, self._do, actions)

    def _do(self, action: lifecycle.AnyAction) -> None:
        match action:
            case lifecycle.AwaitDelay(delay_ms):
                leave = self._leave(delay_ms / 1000)
                self._tasks.add(asyncio.get_running_loop().create_task(leave))
            case lifecycle.BeginDrain(timeout_ms):
                drain = self._drain(timeout_ms / 1000)
                self._tasks.add(asyncio.get_running_loop().create_task(drain))
            case lifecycle.EndStreams():
                streams = list(self._context.streams.values())
                containment.each(containment.Boundary.SHUTDOWN, _end_stream, streams)
            case lifecycle.Shutdown():
                self._stopped.set()
                if self._starting is not None:
                    self._starting.cancel()
            case lifecycle.AnnounceReady() | lifecycle.AnnounceNotReady():
                _log.info("lifecycle", state=self._life.state)
                self._readiness.look()

    async def _leave(self, seconds: float) -> None:
        """Serve on while load balancers find out that the server is not ready any more."""
        await asyncio.sleep(seconds)
        if self._life.state == lifecycle.LEAVING:
            self._act(self._life.step(lifecycle.DelayOver()))

    async def _drain(self, seconds: float) -> None:
        """Wait for the streams, and go on with the stop in any case."""
        left = 1
        try:
            left = await self._wait_for_streams(seconds)
        except Exception as error:
            containment.report(containment.Boundary.SHUTDOWN, error, step="drain")
        if self._life.state == lifecycle.DRAINING:
            ended = lifecycle.DrainTimedOut() if left else lifecycle.StreamsDrained()
            self._act(self._life.step(ended))

    async def _wait_for_streams(self, seconds: float) -> int:
        """How many answers were not over in time."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        left = await self._http.drain(seconds)
        return left + await self._context.runs.drain(max(0, deadline - loop.time()))

    async def _end_streams(self) -> None:
        """What a stop does first, where it was not a stop that ended the wait."""
        while self._life.state != lifecycle.STOPPED:
            self._act(self._life.step(lifecycle.StopAsked()))

    async def _cancel_tasks(self) -> None:
        if self._reloading is not None:
            self._reloading.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)

    async def _close_admin(self) -> None:
        self._context.log_content.close()
        await self._context.maintenance.close()

    async def _close_log(self) -> None:
        self._context.access.close()
        self._log.close()


def _end_stream(stream: pump.Pump) -> None:
    stream.event(events.ServerStopping())


async def serve(
    config: Config,
    caught: signals.Caught,
    announce: Announce,
    front: Front = nothing,
    reread: reloading.Read | None = None,
    make_workers: MakeWorkers = assembly.make_workers,
) -> int:
    """Run a server until a signal asks it to stop; its exit status."""
    server = Server(config, os.environ, announce, front, reread, make_workers)
    dog = watchdog.Watchdog(server.stop_limit, diagnostics.flush)
    eventloop.forward(caught, lambda _: server.stop(), server.reload, dog.stop_begins)
    try:
        await server.run()
    finally:
        dog.release()
    return exits.FAILED if server.undone else exits.CLEAN


def run(
    config: Config,
    caught: signals.Caught,
    announce: Announce,
    front: Front = nothing,
    reread: reloading.Read | None = None,
) -> int:
    """Run a server in this process, on a loop of its own; its exit status."""
    return eventloop.run(serve(config, caught, announce, front, reread))
