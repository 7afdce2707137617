"""The Codex worker: supervised app-server processes, and seats on them for turns."""

import asyncio
import collections
import contextlib
import functools
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
import structlog

from engine import containment, failures, redaction, slices, worker, workerkinds
from engine.codex.child import bundled as codexmodels, home as codexhome, process
from engine.codex.protocol import appserver, notifications
from engine.codex.protocol.channel import Channel, ChannelClosed, RpcError, RpcTimedOut
from engine.codex.request import preparation, tools
from engine.codex.turns import parking
from engine.codex.turns.dispatcher import Dispatcher
from engine.codex.turns.thread import Seat
from engine.codex.turns.turn import CodexTurn, TakeSeat, Unavailable
from engine.containment import Boundary
from machines import events, supervisor

QUEUE_LENGTH: Final = 16
"""Turns that may wait for a seat; the next is refused at once."""

QUEUE_WAIT_S: Final = 0.25
"""How long a turn waits for a seat: longer, and the client's own retry is the better queue."""

RERUN_WAIT_S: Final = 15.0
"""How long a turn whose process died waits for a fresh one."""

_log = structlog.get_logger(component="codex")


OnChange = Callable[[str, str, supervisor.AnyEvent], None]
"""Told of each transition of a process: its name, its new state, and why."""


Record = Callable[[str, events.LateChange], None]
"""Keeps what happened to a thread of a process, by the process's name."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """An operator's decisions about the worker.

    Attributes:
        binary: `CODEX_BIN`, None to look for it.
        request_timeout: seconds a reply may take.
        handshake_timeout: seconds the reply to `initialize` may take.
        park_most: turns that may wait for a client's results at once.
        park_ttl: seconds they wait.
        known: the server's own secrets, which a process may repeat.
    """

    setup: codexhome.Setup
    binary: str | None
    api_key: str | None
    processes: int
    turns_per_process: int
    request_timeout: float
    handshake_timeout: float
    limits: supervisor.Limits
    sandbox: str
    approval_policy: str
    client_version: str
    park_most: int
    park_ttl: float
    known: redaction.Redaction = redaction.NONE

    def thread(
        self, turn: worker.Turn, toolset: tools.Toolset | None
    ) -> appserver.ThreadStartParams:
        """A new thread for a turn with these functions."""
        return appserver.ThreadStartParams(
            model=turn.target,
            dynamic_tools=toolset.dynamic_tools if toolset is not None else (),
            experimental_raw_events=toolset is not None or turn.reasoning_items,
            cwd=str(self.setup.cwd),
            sandbox=self.sandbox,
            approval_policy=self.approval_policy,
        )


class AppServer:
    """One app-server process, and the turns on it: tenant of an `engine.codex.child` process."""

    def __init__(
        self,
        name: str,
        options: Options,
        on_free: Callable[[], None],
        read: worker.Read,
        record: Record,
    ) -> None:
        self.name = name
        self.models: tuple[str, ...] = ()
        self.version = ""
        self.logged_in = False
        self.taken = 0
        self.process: process.Process | None = None
        self.channel: Channel | None = None
        self._options = options
        self._on_free = on_free
        self._read = read
        self._record = functools.partial(record, name)
        self._routes = Dispatcher(self._not_of_a_turn)
        self._account_updated = asyncio.Event()

    def connected(self, write: Callable[[bytes], None]) -> None:
        """A process runs: everything begins anew."""
        self._routes = Dispatcher(self._not_of_a_turn)
        self._account_updated.clear()
        self.taken = 0
        self.channel = Channel(
            write,
            self._routes,
            self._options.request_timeout,
        )

    async def handshake(self) -> str:
        """Introduce ourselves, check the version, log in, learn the models."""
        assert self.channel is not None
        try:
            return await self._introduce(self.channel)
        except (RpcError, RpcTimedOut, ChannelClosed, ValueError) as error:
            raise process.HandshakeRefused(
                failures.safe(str(error), self._options.known)
            ) from error

    def received(self, data: bytes) -> None:
        """Output of the process: where a token enters."""
        assert self.channel is not None
        self._read(self.channel.feed, data)

    def ready(self) -> None:
        """Turns may begin."""
        self._on_free()

    def lost(self, reason: str) -> None:
        """Every turn of this process is over; safe to repeat."""
        _log.warning("worker_lost", worker=self.name, reason=reason, turns=len(self._routes.turns))
        with contextlib.ExitStack() as parts:  # one that fails stops no other
            if self.channel is not None:
                parts.callback(self.channel.close)
            parts.callback(self._routes.lost)
            if self.channel is not None:
                parts.callback(self.channel.finish_lines)

    def free_seats(self) -> int:
        """Turns that could begin now."""
        if self.process is None or self.process.state != supervisor.READY:
            return 0
        return self._options.turns_per_process - self.taken

    def seat(self) -> Seat:
        """Take one of the free seats."""
        assert self.channel is not None
        assert self.process is not None
        self.taken += 1
        channel = self.channel

        places = [channel]

        def leave() -> None:
            # Else it has been left, or the process has been replaced, and its count with it.
            if places and places.pop() is self.channel:
                self.taken -= 1
                containment.each(Boundary.CALLBACK, AppServer._freed, (self,))

        def again() -> Seat | None:
            return self.seat() if self.channel is channel and self.free_seats() > 0 else None

        deaf = self.process.went_deaf
        thread = self._options.thread
        return Seat(channel, self._routes, thread, leave, again, deaf, self._record)

    def _freed(self) -> None:
        self._on_free()

    async def _introduce(self, channel: Channel) -> str:
        params = appserver.introduction(self._options.client_version)
        timeout = self._options.handshake_timeout
        result = await channel.send("initialize", params, timeout).reply
        version = appserver.version_of(result.user_agent)
        self.version = ".".join(map(str, version))
        if version < appserver.MINIMUM_VERSION:
            oldest = ".".join(map(str, appserver.MINIMUM_VERSION))
            raise process.HandshakeRefused(f"codex {self.version} is older than {oldest}")
        if version > tuple(map(int, appserver.SCHEMA_PIN.split("."))):
            _log.warning(
                "codex_newer_than_tested", version=self.version, tested=appserver.SCHEMA_PIN
            )
        channel.notify("initialized")
        await self._log_in(channel)
        listed = await channel.send("model/list", appserver.ModelListParams()).reply
        self.models = tuple(model.model for model in listed.data)
        if not self.models:
            raise process.HandshakeRefused("codex lists no models")
        return self.version

    async def _log_in(self, channel: Channel) -> None:
        if self._options.api_key is not None:
            await channel.send(
                "account/login/start", appserver.ApiKeyLogin(self._options.api_key)
            ).reply
            # A thread that is started before this notification has come is refused.
            await self._account_updated.wait()
        account = await channel.send("account/read", appserver.AccountReadParams()).reply
        self.logged_in = account.account is not None or not account.requires_openai_auth

    def _not_of_a_turn(self, params: Any) -> None:
        match params:
            case notifications.AccountUpdated():
                self._account_updated.set()
            case notifications.ConfigWarning(summary, details):
                _log.warning("codex_config_warning", summary=summary, details=details)


class CodexWorker:
    """Answers turns with Codex.

    Args:
        environ: what the processes' own environment is made from.
    """

    kind = workerkinds.CODEX

    def __init__(
        self,
        options: Options,
        environ: Mapping[str, str],
        on_change: OnChange,
        read: worker.Read,
        record: Record,
    ) -> None:
        self._read = read
        self._record = record
        self._on_change = on_change
        self._options = options
        self.accepts: worker.AnyModel | worker.ListedModels = worker.ListedModels(
            options.setup.model
        )
        self._environ = environ
        self._binary = codexhome.find_binary(options.binary)
        self._home: int | None = None
        self.parking = parking.Parking(options.park_most, options.park_ttl)
        self._servers: list[AppServer] = []
        self._queue: collections.deque[asyncio.Future[Seat]] = collections.deque()

    async def start(self) -> None:
        """Begin to start the processes."""
        setup = self._options.setup
        self._home = codexhome.take(setup)
        codexhome.prepare(setup)
        codexhome.wipe_databases(setup)
        command = process.Command(
            codexhome.command(self._binary, setup),
            codexhome.environment(setup, self._environ),
            str(setup.cwd),
        )
        for index in range(self._options.processes):
            server = AppServer(
                f"codex-{index}", self._options, self._seat_freed, self._read, self._record
            )
            server.process = process.Process(
                server.name,
                command,
                self._options.limits,
                server,
                functools.partial(self._changed, server.name),
            )
            self._servers.append(server)
            server.process.start()

    async def stop(self) -> None:
        """End every process within its grace, and the turns that wait for results before."""
        self.parking.close()
        running = [server.process for server in self._servers if server.process is not None]
        await asyncio.gather(*(each.stop() for each in running))
        if self._home is not None:
            os.close(self._home)
            self._home = None

    def health(self) -> worker.Health:
        """Ready as soon as one process is."""
        states = [server.process.state for server in self._servers if server.process is not None]
        if supervisor.READY in states:
            counts = msgspec.structs.asdict(self.parking.counts)
            nonzero = {name: count for name, count in counts.items() if count}
            return worker.Health(True, "ready", counts=nonzero)
        state = states[0] if states else supervisor.STOPPED
        return worker.Health(False, state, "worker_not_ready", failures.NOT_READY.retry_after)

    def versions(self) -> dict[str, str]:
        """The binary's version, once it has said it."""
        return {"codex": next((s.version for s in self._servers if s.version), "unknown")}

    def models(self) -> tuple[str, ...]:
        """Return the models that the processes listed; before that, those that they are going to
        be told."""
        for server in self._servers:
            if server.models:
                return server.models
        return (
            *(model.slug for model in codexmodels.KNOWN if model.listed),
            *self._options.setup.extra_models,
        )

    def check(self, turn: worker.Turn) -> slices.Steps[worker.Runner]:
        """Refuse content Codex cannot take, and turns it has no login for."""
        yield from preparation.check(turn)
        ready = [server for server in self._servers if server.free_seats()]
        if ready and not any(server.logged_in for server in ready):
            raise worker.TurnRefused("worker_unauthorized", self._login_advice())
        return self._runner(turn)

    def run(self, turn: worker.Turn, feed: worker.Feed) -> CodexTurn:
        """Begin a turn that is the only one of its request."""
        return self._runner(turn).run(turn, feed)

    def _runner(self, turn: worker.Turn) -> "RequestRunner":
        prepared = preparation.Preparation(turn, self.parking.recall(turn.key_id))
        return RequestRunner(prepared, self._take_seat, self.parking)

    async def _take_seat(self, attempt: int) -> Seat:
        """The least loaded process's seat, or the next that becomes free in time."""
        server = max(self._servers, key=AppServer.free_seats)
        if server.free_seats() > 0 and not self._queue:
            return server.seat()
        if attempt == 1 and not self.health().ready:
            raise Unavailable(failures.NOT_READY)
        # Another attempt has had its place: a crash must not turn most of its turns away.
        if attempt == 1 and len(self._queue) >= QUEUE_LENGTH:
            raise Unavailable(failures.BUSY)
        waiter: asyncio.Future[Seat] = asyncio.get_running_loop().create_future()
        self._queue.append(waiter)
        try:
            async with asyncio.timeout(QUEUE_WAIT_S if attempt == 1 else RERUN_WAIT_S):
                return await waiter
        except (TimeoutError, asyncio.CancelledError) as error:
            if waiter.done() and not waiter.cancelled():
                waiter.result().leave()  # it came in the same moment, too late
            if isinstance(error, asyncio.CancelledError):
                raise
            raise Unavailable(
                failures.BUSY if self.health().ready else failures.NOT_READY
            ) from None
        finally:
            if waiter in self._queue:
                self._queue.remove(waiter)

    def _seat_freed(self) -> None:
        while self._queue:
            server = max(self._servers, key=AppServer.free_seats)
            if server.free_seats() <= 0:
                return
            waiter = self._queue.popleft()
            if not waiter.done():
                waiter.set_result(server.seat())

    def _changed(self, name: str, state: str, event: supervisor.AnyEvent) -> None:
        """Whether or not the event log can take a transition, the diagnostics are told of it."""
        told = (self._on_change, say)
        containment.each(
            Boundary.PROCESS, lambda tell: tell(name, state, event), told, worker=name
        )

    def _login_advice(self) -> str:
        advice = (
            "The server's Codex has no login. Run `turntape login`, or set PROXY_CODEX_API_KEY."
        )
        theirs = Path.home() / ".codex"
        if (theirs / "auth.json").exists() and self._options.setup.home != theirs:
            advice += " A login was found in ~/.codex: set CODEX_HOME to use it."
        return advice


class RequestRunner(msgspec.Struct, frozen=True):
    """Runs the turns of one request, all from one conversion of it."""

    prepared: preparation.Preparation
    take_seat: TakeSeat
    lot: parking.Parking

    def run(self, turn: worker.Turn, feed: worker.Feed) -> CodexTurn:
        """Begin a turn."""
        return CodexTurn(turn, feed, self.prepared, self.take_seat, self.lot)


def say(name: str, state: str, event: supervisor.AnyEvent) -> None:
    """One line for each transition of a process."""
    detail = msgspec.to_builtins(event)
    detail["trigger"] = detail.pop("event")
    _log.info("worker_state", worker=name, worker_state=state, **detail)
