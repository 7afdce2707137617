"""The Codex worker: supervised app-server processes, and seats on them for turns."""

import asyncio
import collections
import functools
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import msgspec

from engine import containment, failures, rpcfigures, slices, worker, workerkinds
from engine.codex import modelcard, options as codexoptions, sharedlogin, tenant
from engine.codex.child import bundled as codexmodels, home as codexhome, process
from engine.codex.protocol import appserver
from engine.codex.request import preparation
from engine.codex.turns import forksources, idlethreads, parking
from engine.codex.turns.thread import Seat
from engine.codex.turns.turn import CodexTurn, RequestRunner, Unavailable
from engine.containment import Boundary
from machines import supervisor

QUEUE_LENGTH: Final = 16
"""Turns that may wait for a seat; the next is refused at once."""

QUEUE_WAIT_S: Final = 0.25
"""How long a turn waits for a seat: longer, and the client's own retry is the better queue."""

RERUN_WAIT_S: Final = 15.0
"""How long a turn whose process died waits for a fresh one."""

BEGINNING: Final = frozenset({supervisor.SPAWNING, supervisor.HANDSHAKE})
"""States of a process that the next one waits for."""

BEGINNING_POLL_S: Final = 0.02
"""How often it is looked whether it has left them, whoever else was told of that."""

OnChange = Callable[[str, str, supervisor.AnyEvent], None]
"""Told of each transition of a process: its name, its new state, and why."""


class CodexWorker:
    """Answers turns with Codex.

    Args:
        environ: what the processes' own environment is made from.
    """

    kind = workerkinds.CODEX

    def __init__(
        self,
        options: codexoptions.Options,
        environ: Mapping[str, str],
        on_change: OnChange,
        read: worker.Read,
        record: tenant.Record,
        life: tenant.Life = tenant.no_life,
    ) -> None:
        self._read = read
        self._record = record
        self._life = life
        self._on_change = on_change
        self._options = options
        self.accepts: worker.AnyModel | worker.ListedModels = worker.ListedModels(
            options.setup.model
        )
        self._environ = environ
        self._binary = codexhome.find_binary(options.binary)
        self._home: int | None = None
        self.parking = parking.Parking(options.park_most, options.park_ttl)
        self.idle = idlethreads.IdleThreads(options.reuse_most, options.reuse_ttl)
        self.forks = forksources.ForkSources(options.setup.sources_dir if options.forks else None)
        self._rpc = rpcfigures.RpcFigures()
        self._servers: list[tenant.AppServer] = []
        self._shared = sharedlogin.SharedLogin(
            _login_home(options.setup), options.login_link, options.known
        )
        self._tasks: list[asyncio.Task[None]] = []
        self._queue: collections.deque[asyncio.Future[Seat]] = collections.deque()

    async def start(self) -> None:
        """Begin to start the processes."""
        self._home = codexhome.take(self._options.setup)
        environment = codexhome.environment(self._options.setup, self._environ)
        directory = self._options.setup.own_home
        known = await codexmodels.models_of(self._binary, directory, environment)
        setup = msgspec.structs.replace(self._options.setup, known=known)
        self._options = msgspec.structs.replace(self._options, setup=setup)
        await self._shared.begin()
        codexhome.prepare(setup)
        codexhome.wipe(setup)
        command = process.Command(
            codexhome.command(self._binary, setup),
            environment,
            str(setup.cwd),
        )
        for index in range(self._options.processes):
            server = tenant.AppServer(
                f"codex-{index}",
                self._options,
                self._seat_freed,
                self._read,
                self._record,
                self._rpc,
                self._shared,
                self._life,
            )
            server.process = process.Process(
                server.name,
                command,
                self._options.limits,
                server,
                functools.partial(self._changed, server.name),
            )
            self._servers.append(server)
        for name, work in (
            ("start_workers", self._start_all),
            ("watch_login", functools.partial(self._shared.care, self._servers)),
            ("follow_quota", functools.partial(self._shared.follow_quota, self._servers)),
        ):
            task = asyncio.get_running_loop().create_task(containment.keep_running(name, work))
            self._tasks.append(task)

    async def stop(self) -> None:
        """End every process within its grace, and before that the turns that wait for results and
        the threads that are idle."""
        self.parking.close()
        self.idle.close()
        for task in self._tasks:
            task.cancel()
        running = [server.process for server in self._servers if server.process is not None]
        await asyncio.gather(*(each.stop() for each in running))
        if self._home is not None:
            os.close(self._home)
            self._home = None

    def health(self) -> worker.Health:
        """Ready as soon as one process is."""
        health = self._readiness()
        return msgspec.structs.replace(
            health,
            counts=_counted(self.parking.counts),
            waiting=len(self._queue),
            processes=tuple(server.health() for server in self._servers),
            newest_tested=appserver.SCHEMA_PIN,
            missed=dict(self.parking.missed),
            reuse=_counted(self.idle.counts) | _counted(self.forks.counts),
            reuse_missed=dict(self.idle.missed),
            idle_threads=self.idle.count,
            rpc=self._rpc,
            account=self._shared.health(),
        )

    def _readiness(self) -> worker.Health:
        if ready := self._ready():
            if any(server.login.is_good for server in ready):
                return worker.Health(True, "ready")
            return worker.Health(False, "logged_out", "worker_unauthorized")
        states = [each.process.state for each in self._servers if each.process is not None]
        state = states[0] if states else supervisor.STOPPED
        return worker.Health(False, state, "worker_not_ready", failures.NOT_READY.retry_after)

    def _ready(self) -> list[tenant.AppServer]:
        """The processes that take turns."""
        its = ((each, each.process) for each in self._servers)
        return [each for each, made in its if made and made.state in supervisor.TAKING]

    def versions(self) -> dict[str, str]:
        """The binary's version, once it has said it."""
        return {"codex": next((s.version for s in self._servers if s.version), "unknown")}

    def models(self) -> tuple[str, ...]:
        """Return the models that the processes listed; before that, those that they are going to
        be told."""
        for server in self._servers:
            if server.models:
                return server.models
        setup = self._options.setup
        return (*(model.slug for model in setup.known if model.listed), *setup.extra_models)

    def describe(self, model: str) -> worker.ModelCard:
        """Return what the binary says of a model, and what is honoured of a request for it."""
        return modelcard.card(codexmodels.find(model, self._options.setup.known))

    def check(self, turn: worker.Turn) -> slices.Steps[worker.Runner]:
        """Refuse content Codex cannot take, and turns it has no login for."""
        yield from preparation.check(turn)
        ready = [server for server in self._servers if server.free_seats()]
        if ready and not any(server.login.is_there for server in ready):
            raise self._logged_out()
        return self._runner(turn)

    def _logged_out(self) -> worker.TurnRefused:
        """Say that there is no login, and where to log in."""
        code, advice = "worker_unauthorized", codexhome.login_advice(self._options.setup)
        self._shared.link.want()
        message, members = self._shared.link.told(code, advice)
        return worker.TurnRefused(code, message, members=members)

    def run(self, turn: worker.Turn, feed: worker.Feed) -> CodexTurn:
        """Begin a turn that is the only one of its request."""
        return self._runner(turn).run(turn, feed)

    def _runner(self, turn: worker.Turn) -> RequestRunner:
        recall = self.parking.recall(turn.key_id)
        prepared = preparation.Preparation(turn, recall, self.idle.keeps)
        return RequestRunner(prepared, self._take_seat, self.parking, self.idle, self.forks)

    async def _take_seat(self, attempt: int) -> Seat:
        """The least loaded process's seat, or the next that becomes free in time."""
        server = max(self._servers, key=tenant.AppServer.free_seats)
        if server.free_seats() > 0 and not self._queue:
            return server.seat()
        if attempt == 1 and not self._ready():
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
            raise Unavailable(failures.BUSY if self._ready() else failures.NOT_READY) from None
        finally:
            if waiter in self._queue:
                self._queue.remove(waiter)

    def _seat_freed(self) -> None:
        while self._queue:
            server = max(self._servers, key=tenant.AppServer.free_seats)
            if server.free_seats() <= 0:
                return
            waiter = self._queue.popleft()
            if not waiter.done():
                waiter.set_result(server.seat())

    async def _start_all(self) -> None:
        """Start the processes one after the other. They share databases, and those that make the
        same one at the same time die of it (0.163, 0.171)."""
        for server in self._servers:
            assert server.process is not None
            if server.process.state == supervisor.STOPPED:
                server.process.start()
            while server.process.state in BEGINNING:  # noqa: ASYNC110 - who tells of it may fail
                await asyncio.sleep(BEGINNING_POLL_S)

    def _changed(self, name: str, state: str, event: supervisor.AnyEvent) -> None:
        """Whether or not the event log can take a transition, the diagnostics are told of it."""
        told = (self._on_change, process.say)
        containment.each(
            Boundary.PROCESS, lambda tell: tell(name, state, event), told, worker=name
        )


def _counted(counts: msgspec.Struct) -> dict[str, int]:
    """Return the counts that are not 0, by name."""
    return {name: count for name, count in msgspec.structs.asdict(counts).items() if count}


def _login_home(setup: codexhome.Setup) -> Path | None:
    """The home whose login counts; None where a key or the provider's own is used."""
    return None if setup.has_key or setup.base_url is not None else setup.home
