"""The composition root: builds the server, runs it, and ends it in order."""

import asyncio
import contextlib
import gc
import os
import secrets
import signal
import time
from collections.abc import Callable, Mapping

import msgspec
import structlog
import uvloop

from engine import (
    codexhome,
    codexworker,
    digest,
    disabled,
    journal,
    log,
    pump,
    responsestore,
    routing,
    scripted,
    sqlitestore,
    worker,
)
from machines import events, lifecycle, supervisor
from server import http
from server.config import ConfigError
from server.context import Context, fleet
from server.listener import HttpServer
from server.routes import Router
from server.settings import Config
from server.version import VERSION

PRUNE_S = 3600.0
"""How often the limits of log and store are applied to a server that writes nothing."""

STORE_FILE = "responses.sqlite"
"""The response store, in `PROXY_DATA_DIR`."""

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


def make_worker(
    name: routing.WorkerName,
    config: Config,
    environ: Mapping[str, str],
    event_log: log.EventLog,
    wakeups: pump.Wakeups,
) -> worker.Worker:
    """A worker as the configuration has it.

    Raises:
        BinaryNotFound, TranscriptError, ConfigError: it cannot work at all.
    """
    if name == "scripted":
        return scripted.ScriptedWorker(
            config.transcripts_dir, config.scripted_speed, config.scripted_transcript
        )
    if name == "upstream":
        return upstream_worker(config, wakeups)
    if not config.use_app_server:
        return disabled.DisabledWorker()
    return codexworker.CodexWorker(
        codex_options(config),
        environ,
        journal.WorkerJournal(event_log).changed,
        wakeups.read,
    )


def upstream_worker(config: Config, wakeups: pump.Wakeups) -> worker.Worker:
    """The worker that passes requests on.

    Raises:
        ConfigError: its extra is not installed.
    """
    try:
        # Its HTTP client takes as long to load as everything else together.
        from engine import upstream, upstreamclient
    except ModuleNotFoundError:
        problem = "'upstream' needs the extra of that name: pip install 'turntape[upstream]'"
        raise ConfigError("PROXY_WORKER", problem) from None
    assert config.upstream_url is not None
    headers = (header.partition(":") for header in config.upstream_headers)
    options = upstreamclient.Options(
        url=config.upstream_url,
        api_key=config.upstream_api_key,
        headers=tuple((name.strip(), value.strip()) for name, _, value in headers),
        finish_grace=config.finish_grace_ms / 1000,
    )
    return upstream.UpstreamWorker(options, wakeups.read)


def codex_options(config: Config) -> codexworker.Options:
    """The Codex worker's part of the configuration."""
    return codexworker.Options(
        setup=codexhome.Setup(
            data_dir=config.data_dir,
            operator_home=config.codex_home,
            base_url=config.codex_base_url,
            has_key=config.codex_api_key is not None,
            model=config.codex_model,
            extra_models=config.codex_models,
            workdir=config.codex_workdir,
        ),
        binary=config.codex_bin,
        api_key=config.codex_api_key,
        processes=config.worker_count,
        turns_per_process=config.worker_max_concurrency,
        request_timeout=config.worker_request_timeout_ms / 1000,
        handshake_timeout=config.worker_handshake_timeout_ms / 1000,
        limits=supervisor.Limits(
            handshake_ms=config.worker_startup_timeout_ms,
            stop_grace_ms=config.worker_shutdown_grace_ms,
            backoff_initial_ms=config.worker_backoff_initial_ms,
            backoff_max_ms=config.worker_backoff_max_ms,
        ),
        sandbox=config.sandbox_mode,
        approval_policy=config.approval_policy,
        client_version=VERSION,
        park_most=config.park_max,
        park_ttl=config.park_ttl_ms / 1000,
    )


def log_settings(config: Config) -> log.LogSettings:
    """The event log's part of the configuration."""
    return log.LogSettings(
        directory=config.log_dir,
        content=config.event_log,
        fsync=config.log_fsync,
        segment_bytes=config.log_segment_bytes,
        max_bytes=config.log_max_bytes,
        max_age_s=config.log_max_age_s,
        on_error=config.log_on_error,
    )


def http_limits(config: Config) -> http.Limits:
    """What a connection may cost.

    An upstream is not read while its client is slow, so nothing piles up behind one that stalls;
    a worker process must always be read.
    """
    limits = http.Limits(body_bytes=config.max_body_bytes)
    if config.workers() == ("upstream",):
        return msgspec.structs.replace(limits, over_limit_stall=limits.write_stall)
    return limits


def hash_key(config: Config) -> bytes:
    """The key of the log's body hashes; of no use beyond this run where there is no log.

    A log that cannot be written is a matter of its `on_error` policy, not of its key.
    """
    if config.event_log != "off":
        with contextlib.suppress(OSError):
            return digest.load_key(config.log_dir)
    return secrets.token_bytes(digest.HASH_BYTES)


def response_store(config: Config) -> responsestore.ResponseStore | None:
    """The store of responses; None where none is kept."""
    if config.store == "off" or not config.enable_responses:
        return None
    limits = responsestore.Limits(
        ttl_s=config.store_ttl_s,
        max_bytes=config.store_max_bytes,
        conversation_bytes=config.max_body_bytes,
    )
    return sqlitestore.SqliteStore(config.data_dir / STORE_FILE, limits, time.time)


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
        self._log = log.EventLog(log_settings(config), wall_clock())
        wakeups = pump.Wakeups(loop, self._log)
        self._fleet = fleet(
            config,
            {
                name: make_worker(name, config, environ, self._log, wakeups)
                for name in config.workers()
            },
        )
        self._store = response_store(config)
        self._life = lifecycle.Lifecycle(config.drain_timeout_ms)
        config.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._log.open()
        self._context = Context(
            config,
            self._fleet,
            self._log,
            wakeups,
            self._life,
            hash_key(config),
            time.time,
            self._store,
        )
        self._http = HttpServer(front(Router(self._context).handle), http_limits(config))

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
