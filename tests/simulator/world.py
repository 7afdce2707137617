"""A run: the real server on the virtual loop, a plan's steps happening to it, the rules checked.

What stands behind the server is a `backend.Backend`: `process.Codex`, or `upstream.Upstream`. A
world with another worker needs another backend, and nothing here changes.
"""

import asyncio
import contextlib
import itertools
import math
import random
import secrets
import traceback
import types
import uuid
from collections.abc import Callable, Iterator, MutableMapping
from pathlib import Path
from typing import Any, Final
from unittest import mock

import msgspec
import structlog.testing

from engine import looplag, regular, slices
from engine.log.summary import summarylog
from engine.log.write import chainfile, livesegment, writer as segmentwriter
from machines import events
from server import router, serve
from server.api import gates
from server.config import settings
from server.http import errors, exchange as http, listener
from server.keys import account, keyring
from tests.simulator import (
    backend,
    client,
    clock,
    defects,
    disk,
    net,
    plan,
    points,
    process,
    rules,
    upstream,
    victims,
)

SETTLE_S: Final = 1.0
"""How soon after the last client everything must be released."""

REUSE_TTL_MS: Final = 20_000
"""How long a thread waits for its conversation: less than the rest, in which all of them go."""

REST_S: Final = 45.0
"""After so long even turns that waited for results, and processes that were deaf, are over."""

RECOVER_S: Final = 120
"""How long processes may take to come back."""

LOG_RETRY_S: Final = 1.2
"""How soon a log is tried again that could not be written, and a margin."""

LAG_PERIOD_S: Final = 2.0
"""Between two looks at the loop's lag: there is none, and looks would be half of all timers."""

STOP_S: Final = 30.0
"""How long a stop may take: the drain, then the worker's grace."""

LIMITS: Final = http.Limits(
    head_timeout=2.0,
    body_timeout=2.0,
    idle_timeout=10.0,
    buffer_bytes=4_000,
    over_limit_stall=2.0,
    write_stall=5.0,
    gone_grace=0.5,
    linger=0.5,
)
"""Of connections: small, so that small answers meet them."""


BACKENDS: Final[dict[str, Callable[[plan.Plan], backend.Backend]]] = {
    "codex": process.Codex,
    "upstream": upstream.Upstream,
}
"""The worlds of `plan.WORLDS`."""


class World:
    """One run of a plan.

    Attributes:
        wrong: the rules that were broken, in words.
        ends: the last records of streams, by request.
        logs_all: whether the log has one for each.
        over: whether it came to its end.
    """

    def __init__(self, of: plan.Plan, directory: Path) -> None:
        self.plan = of
        self.wrong: list[str] = []
        self.directory = directory
        self.loop = clock.VirtualLoop()
        self.disk = disk.Disk()
        self.backend = BACKENDS[of.world](of)
        self.visitors: dict[int, client.Visitor] = {}
        self.snapshot: dict[int, int] | None = None
        self.ends: dict[str, events.Terminal] = {}
        self.logs_all = False
        self.over = False
        self.backend.install(self.loop)
        self.planter = defects.Planter(of.defect, self.backend, self.loop)
        self._writes = 0

    def run(self) -> None:
        """Play the plan to its end and check what is left behind."""
        random.seed(self.plan.seed)
        try:
            with structlog.testing.capture_logs() as lines:
                with self._simulated():
                    self.loop.run_until_complete(self._play())
                self.over = True
                self._check_lines(lines)
                rules.check(self)
        except clock.Stuck as stuck:
            self.wrong.append(str(stuck))
        except Exception as error:
            self.wrong.append("".join(traceback.format_exception(error)[-2:]))
        finally:
            self.wrong += self.loop.complaints
            self._close_loop()

    def _close_loop(self) -> None:
        self.loop.unstick()
        with contextlib.suppress(clock.Stuck):
            for task in asyncio.all_tasks(self.loop):
                task.cancel()
            self.loop.run_until_complete(asyncio.sleep(1))
        self.loop.close()

    @contextlib.contextmanager
    def _simulated(self) -> Iterator[None]:
        """What the server takes from its surroundings, given by the simulation."""
        rng = random.Random(self.plan.seed)
        helper = disk.Helper(self.loop, self.plan.weather.chore_delay)
        no_collections = types.SimpleNamespace(collect=lambda: 0, freeze=lambda: None)
        with contextlib.ExitStack() as stack:
            for owner, name, value in (
                (serve, "wall_clock", lambda: self.loop.wall_us),
                (slices, "now", self._slices()),
                (looplag, "PERIOD_S", LAG_PERIOD_S),
                (serve, "gc", no_collections),  # it would take longer than all the rest
                (secrets, "token_hex", lambda size: rng.randbytes(size).hex()),
                (uuid, "uuid4", lambda: uuid.UUID(bytes=rng.randbytes(16))),
                *((module, "os", self.disk) for module in (livesegment, regular, chainfile)),
                (segmentwriter, "ThreadPoolExecutor", lambda *_: helper),
                (summarylog, "ThreadPoolExecutor", lambda *_: disk.Helper(self.loop, 0.0)),
                (segmentwriter, "threading", disk.Threads),
                *self.backend.replaced,
                (gates, "authenticate", _authenticate),
            ):
                stack.enter_context(mock.patch.object(owner, name, value))
            stack.enter_context(self.planter.planted())
            yield

    def _slices(self) -> Callable[[], float]:
        """A clock by which long work is interrupted after some steps, however fast they are."""
        return itertools.count(0.0, slices.SLICE_S / self.plan.weather.slice_steps).__next__

    def _server(self) -> serve.Server:
        config = settings.Config(
            data_dir=self.directory,
            log_dir=self.directory / "log",
            reuse_ttl_ms=REUSE_TTL_MS,
            **self.plan.weather.config,
            **self.backend.config,
        )
        server = serve.Server(config, {}, lambda *_: None)
        self.server: Any = server
        # The server's own connections are as patient as real networks are.
        handler = router.Router(self.server._context).handle
        limits = msgspec.structs.replace(LIMITS, **self.backend.limits)
        self.server._http = listener.HttpServer(handler, limits, lambda: self.loop.wall_us() / 1e6)
        return server

    async def _play(self) -> None:
        server = self._server()
        running = self.loop.create_task(server.run())
        tasks = [
            self.loop.create_task(self._happen(number, step))
            for number, step in self.plan.everything
        ]
        for task in tasks:
            await task
        if self.plan.of(plan.Drain):
            await self._stopped(running)
            return
        if not self.plan.steps:
            # What is left behind is looked at where the neighbours are.
            server.stop()
            await self._stopped(running)
            return
        await asyncio.sleep(SETTLE_S)
        self._check_released()
        await asyncio.sleep(REST_S)
        await self._until_ready()
        self._check_rest()
        server.stop()
        await self._stopped(running)

    @property
    def _is_down(self) -> bool:
        """Whether a bug that lasts may keep the worker from ever being ready again."""
        defect = self.plan.defect
        return defect is not None and defect.lasting and defect.points[0] in points.DOWN

    @property
    def _retried(self) -> tuple[str, ...]:
        """Timers and tasks of what is tried again for as long as a bug lasts."""
        defect = self.plan.defect
        hit = defect is not None and defect.lasting and defect.points[0].startswith(points.RETRIED)
        return ("Process.",) if hit else ()

    async def _until_ready(self) -> None:
        """Whatever happened to the worker's processes, they come back, unless they cannot."""
        for _ in range(RECOVER_S):
            if self.backend.is_ready(self.server._fleet.default):
                return
            await asyncio.sleep(1.0)
        if not self._is_down:
            state = self.server._fleet.default.health().state
            self.wrong.append(f"the worker is {state} for ever")

    async def _stopped(self, running: asyncio.Task[None]) -> None:
        done, _ = await asyncio.wait({running}, timeout=STOP_S)
        if not done:
            self.wrong.append("the server does not stop")
            return
        running.result()
        await asyncio.sleep(0.1)
        left = {task for task in asyncio.all_tasks() if task is not asyncio.current_task()}
        self.wrong += [f"a task is left: {task.get_coro()}" for task in left]
        self._check_timers(self._retried)
        self._check_context()

    # Steps.

    async def _happen(self, number: int, step: plan.Step) -> None:
        await asyncio.sleep(step.at)
        self.backend.take(step)
        match step:
            case plan.Visit():
                await self._visit(number, step)
            case plan.Noise():
                await self._noise(step)
            case plan.DiskTrouble():
                self.disk.fault = step.fault
                await asyncio.sleep(step.lasts)
                self.disk.fault = None
            case plan.Drain():
                self.server.stop()
                if step.again is not None:
                    await asyncio.sleep(step.again)
                    self.server.stop()

    async def _visit(self, number: int, step: plan.Visit) -> None:
        visitor = self.visitors[number] = client.Visitor(
            self.loop, number, step, full=self.plan.world == "codex"
        )
        follows = step.asks[0].follows
        told = None if follows is None else self.visitors.get(follows)
        visitor.on_wire = self._watch
        await visitor.visit(told)
        if number >= plan.INNOCENT:
            self.backend.innocent_over(number)

    def exposure(self, number: int) -> str | None:
        """What may have become of an innocent by something that hit all alike; None if nothing."""
        visitor = self.visitors[number]
        life = (visitor.step.at, visitor.left_at)
        for start, end in (*self.backend.blackouts, *self._own_blackouts()):
            if start <= life[1] and life[0] <= end:
                return f"nobody could be served from {start:.3f} to {end:.3f}"
        return self.backend.exposed.get(number)

    def _own_blackouts(self) -> Iterator[tuple[float, float]]:
        """Spans in which the server takes nobody: it stops, or its log cannot be written."""
        refuses = self.plan.weather.config["log_on_error"] == "refuse"
        for _, step in self.plan.steps:
            if isinstance(step, plan.Drain):
                yield step.at, math.inf
            elif isinstance(step, plan.DiskTrouble) and refuses:
                yield step.at, step.at + step.lasts + LOG_RETRY_S

    async def _noise(self, step: plan.Noise) -> None:
        wire = self.loop.port.connect(None)
        if wire is not None:
            wire.send(step.data)
            await asyncio.sleep(step.after)
            wire.leave()
            try:
                rules.check_noise(bytes(wire.received))
            except rules.Broken as broken:
                self.wrong.append(f"{step.data!r}: {broken}")

    def _watch(self, wire: net.Wire) -> None:
        wire.on_write = self._written

    def _written(self) -> None:
        """Something was written to a client: in some runs a kill comes just then."""
        self._writes += 1
        if self._writes == self.plan.weather.crash_at and not self.disk.faults:
            disk.snapshot(self.directory / "log", self.directory / "left")
            self.snapshot = {
                number: len(visitor.wire.received)
                for number, visitor in self.visitors.items()
                if visitor.wire is not None
            }

    # Rules that hold while it runs.

    def _check_context(self) -> None:
        context = self.server._context
        if context.permits.taken:
            self.wrong.append(f"{context.permits.taken} permits are taken")
        if context.streams:
            self.wrong.append(f"streams are open: {list(context.streams)}")

    def _check_released(self) -> None:
        """A second after the last client."""
        self._check_context()
        if self.server._http.connections:
            self.wrong.append(f"{self.server._http.connections} connections are open")
        if not self.plan.of(plan.RpcFault, plan.Deafness):
            self.wrong += self.backend.unstopped()

    def _check_timers(self, known: tuple[str, ...]) -> None:
        for timer in self.loop.timers():
            if not any(each in repr(timer) for each in known):
                self.wrong.append(f"a timer is left: {timer}")

    @property
    def _lasting(self) -> tuple[str, ...]:
        return _LASTING + self.backend.lasting

    def _check_rest(self) -> None:
        """When nothing has been asked for long."""
        if self._is_down and "upstream.watch" in self.plan.planted:
            return  # it is asked again every second, and may be just now
        self.wrong += self.backend.leaks(self.server._fleet.default)
        self.wrong += self.backend.unstopped()
        shaking_hands = ("Channel._overdue",) if self._is_down else ()
        lasting = (*self._lasting, *self._retried, *shaking_hands)
        self._check_timers(lasting)
        for task in asyncio.all_tasks():
            if not any(known in repr(task.get_coro()) for known in lasting):
                self.wrong.append(f"a task is left: {task.get_coro()}")

    def _check_lines(self, lines: list[MutableMapping[str, Any]]) -> None:
        """Nothing is said at the level of an error but what the plan has caused."""
        expected = {"request_ended", "stream_ended"}  # which say what the rules hold of each
        if self.plan.of(plan.DiskTrouble):
            expected |= {"event_log_failing", "event_log_records_lost", "event_log_not_closed"}
        try:
            victims.check_lines(self, lines)
        except rules.Broken as broken:
            self.wrong.append(f"diagnostics: {broken}")
        if self.planter.firings:
            expected |= {"defect", *victims.ELSEWHERE, "event_log_records_lost"}
        for line in lines:
            if line["log_level"] in ("error", "critical") and line["event"] not in expected:
                self.wrong.append(f"an error in the diagnostics: {line}")


_LASTING: Final = (
    *("Process._step", "Helper._work", "VirtualLoop._work", "Timeout._on_timeout", "Server."),
    *("World._play", "keep_running", "sleep", "_set_result_unless_cancelled", "EventLog._wake"),
    "AccessLog._wake",  # the window of an address: a minute, and no longer than the server
)
"""Timers and tasks that there are in every world; who sleeps is a task, and noticed as one."""


def _authenticate(_: Any, request: http.Request) -> keyring.Grant:
    """The simulated server has a key for each client, by the key's own name."""
    scheme, _, key = (request.headers.get("authorization") or "").partition(" ")
    if scheme == "Bearer" and key in plan.KEYS:
        return keyring.Grant(key, account.Account())
    raise errors.ApiError("invalid_api_key", "Incorrect API key provided.")
