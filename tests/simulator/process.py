"""Child processes in memory, and the app-servers in them: what the Codex worker stands on."""

import asyncio
import math
import random
import signal
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from engine.codex.child import bundled as codexmodels, home as codexhome
from machines import supervisor
from tests.simulator import appserver, clock, codexrules, director, net, plan

if TYPE_CHECKING:
    from tests.simulator import answers, client, world

START_S: Final = 0.02
"""How long a process takes to start."""


class Pipe:
    """Either end that the server holds of a process's standard streams."""

    def __init__(self, child: "Child") -> None:
        self._child = child

    def write(self, data: bytes) -> None:
        """To the process's input."""
        self._child.hear(data)

    def pause_reading(self) -> None:
        """Leave the output where it is."""
        self._child.paused = True

    def resume_reading(self) -> None:
        """Read on."""
        self._child.paused = False
        self._child.flush()


class Child:
    """One process, as `loop.subprocess_exec` gives it to the server.

    Args:
        is_sheltered: whether it must not end by itself now.
    """

    def __init__(
        self,
        number: int,
        protocol: Any,
        weather: plan.Weather,
        directed_by: director.Director,
        is_sheltered: Callable[["Child"], bool],
    ) -> None:
        self.paused = False
        self.alive = True
        self.server = appserver.AppServer(
            f"p{number}", directed_by, weather, self._write, self.leave
        )
        self._is_sheltered = is_sheltered
        self._tick = weather.tick
        self._pid = 1000 + number
        self._protocol = protocol
        self._cuts = weather.cuts
        self._loop = asyncio.get_running_loop()
        self._rng = random.Random(number)
        self._returncode: int | None = None
        self._out = bytearray()
        self._flushing = False
        self._rest = b""

    def get_pid(self) -> int:
        """Its id."""
        return self._pid

    def get_returncode(self) -> int | None:
        """How it ended; None while it runs."""
        return self._returncode

    def get_pipe_transport(self, _: int) -> Pipe:
        """Its input or its output."""
        return Pipe(self)

    def send_signal(self, number: int) -> None:
        """It does as it is told, a little later."""
        if not self.alive:
            raise ProcessLookupError
        self._loop.call_later(0.005, self.exit, -number if number == signal.SIGKILL else 0)

    def kill(self) -> None:
        """It ends, a little later."""
        self.send_signal(signal.SIGKILL)

    def close(self) -> None:
        """Nobody holds its pipes any more."""

    def hear(self, data: bytes) -> None:
        """Bytes of its input."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            if self.alive:
                self.server.hear(line)

    def leave(self, returncode: int, last: bytes = b"") -> None:
        """It ends by itself, unless that is spared those that are innocent."""
        if not self._is_sheltered(self):
            self.server.say(last)
            self.exit(returncode)

    def exit(self, returncode: int) -> None:
        """It ends; what it has written still comes, before the word that it is gone or after."""
        if not self.alive:
            return
        self.alive = False
        self.server.end()
        self._returncode = returncode
        if self._rng.random() < 0.7:
            self._deliver(len(self._out))
        self._loop.call_soon(self._protocol.process_exited)

    def _write(self, data: bytes) -> None:
        self._out += data
        self.flush()

    def flush(self) -> None:
        """Have what was written come to the server, if nothing is on its way yet."""
        if self._out and not self._flushing and not self.paused:
            self._flushing = True
            if self._tick:
                self._loop.call_at(net.next_tick(self._loop.time(), self._tick), self._flush)
            else:
                self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        if self.paused or not self._out:
            return
        self._deliver(self._rng.randint(1, len(self._out)) if self._cuts else len(self._out))
        if self._out and not self.paused:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def _deliver(self, count: int) -> None:
        data = bytes(self._out[:count])
        del self._out[:count]
        if data:
            self._protocol.pipe_data_received(1, data)


class Codex:
    """The Codex worker's side of a run: every process that it starts.

    Attributes:
        config, limits, replaced, lasting, wrong, exposed: as `backend.Backend` has them.
        children: all there ever were, by their number.
        failing_starts: how many of the next starts fail.
    """

    def __init__(self, of: plan.Plan) -> None:
        self.director = director.Director(of)
        self.wrong = self.director.wrong
        self.limits: dict[str, Any] = {}
        self.lasting: tuple[str, ...] = (*("Process._ping", "AppServer.ping", "_release_waiter"),)
        self.children: list[Child] = []
        self.failing_starts = 0
        self.config: dict[str, Any] = {"codex_bin": sys.executable, "codex_api_key": "sk-sim"}
        self.replaced: tuple[tuple[Any, str, Any], ...] = (
            (codexmodels, "is_tested", lambda _: True),  # nor is it asked for its models
            (codexhome, "catalog", lambda _: {}),  # it takes long to write, and nobody reads it
            (supervisor.Supervisor, "step", self._watched(supervisor.Supervisor.step)),
        )
        self.exposed = self.director.exposed
        self._dark: list[tuple[float, float]] = []
        self._weather = of.weather
        self._states: dict[supervisor.Supervisor, str] = {}
        self._dark_since: float | None = None
        self._expected = {number for number, _ in of.innocents}

    def install(self, loop: clock.VirtualLoop) -> None:
        """Have the server's child processes be these."""
        loop.spawn = self.spawn
        self._loop = loop

    def innocent_over(self, number: int) -> None:
        """An innocent has what it asked for."""
        self._expected.discard(number)

    def begun_at(self, ask: int) -> float | None:
        """When the answer to a request began."""
        return self.director.begun.get(ask)

    def _watched(self, step: Callable[..., Any]) -> Callable[..., Any]:
        """What the product says of its processes may be what a bug has hit: so look at them."""

        def stepped(its: supervisor.Supervisor, event: supervisor.AnyEvent) -> Any:
            actions = step(its, event)
            self._changed(its)
            return actions

        return stepped

    def _changed(self, its: supervisor.Supervisor) -> None:
        """A process is in another state: while none is ready, nobody can be served."""
        self._states[its] = its.state
        now = self._loop.time()
        if self._ready():
            if self._dark_since is not None:
                self._dark.append((self._dark_since, now))
            self._dark_since = None
        elif self._dark_since is None:
            self._dark_since = now

    @property
    def blackouts(self) -> list[tuple[float, float]]:
        """Spans in which no process was ready."""
        since = self._dark_since
        return [*self._dark, *([] if since is None else [(since, math.inf)])]

    def _ready(self) -> int:
        return sum(state == "ready" for state in self._states.values())

    def _is_sheltered(self, child: Child) -> bool:
        """Whether innocents need this process: they are on it, or will be."""
        if not (self._weather.sheltered and self._expected):
            return False
        return child.server.holds_innocents() or self._ready() < 2

    def is_ready(self, worker: Any) -> bool:
        """Whether every process is, and has answered its last ping."""
        servers = worker._servers
        are_ready = all(server.process.state == "ready" for server in servers)
        return are_ready and not any(server.channel._pending for server in servers)

    async def spawn(self, protocol_factory: Any) -> tuple[Any, Any]:
        """Start a process, as `loop.subprocess_exec` does."""
        await asyncio.sleep(START_S)
        if self.failing_starts:
            self.failing_starts -= 1
            raise FileNotFoundError(2, "simulated")
        protocol = protocol_factory()
        child = Child(
            len(self.children), protocol, self._weather, self.director, self._is_sheltered
        )
        self.children.append(child)
        return child, protocol

    def alive(self) -> list[Child]:
        """Those that run."""
        return [child for child in self.children if child.alive]

    def take(self, step: plan.Step) -> None:
        """Have a step happen, if it is one of worker processes."""
        alive = self.alive()
        match step:
            case plan.Death():
                self.failing_starts += step.failed_starts
                for child in alive[step.process : step.process + 1]:
                    child.leave(step.returncode)
            case plan.Deafness():
                # Its next turns may be innocent ones: nobody knows yet that it is deaf.
                spared = self._weather.sheltered and self._expected
                for child in alive[step.process : step.process + 1]:
                    if not spared:
                        child.server.freeze(step.lasts)
            case plan.RpcFault():
                waiting = self.director.faults.setdefault(step.method, [])
                waiting += [step.kind] * step.count
            case plan.Babble():
                for child in alive[step.process : step.process + 1]:
                    child.server.say(b"".join(line + b"\n" for line in step.lines))

    def check_answer(
        self,
        of: "world.World",
        visitor: "client.Visitor",
        index: int,
        heard: "answers.Heard",
        answer: "answers.Answer",
    ) -> None:
        """An answer is true to a script."""
        codexrules.check(of, self.director, visitor, index, heard, answer)

    def request_of(self, line: bytes) -> str:
        """The request that a line is about; empty for none."""
        for child in self.children:
            for thread_id, thread in child.server.threads.items():
                if b'"%b"' % thread_id.encode() in line:
                    return f"sim-{thread.step}"
        return ""

    def leaks(self, worker: Any) -> list[str]:
        """What is still held for turns, when there should be none."""
        found = []
        for server in worker._servers:
            if server.taken:
                found.append(f"{server.name} has {server.taken} seats taken")
            if server._routes.turns:
                found.append(f"{server.name} still listens to {list(server._routes.turns)}")
        if worker.parking._turns:
            found.append(f"parked: {list(worker.parking._turns)}")
        if worker.idle.count:
            found.append(f"{worker.idle.count} threads wait for their conversation")
        return found

    def unstopped(self) -> list[str]:
        """Turns that go on and that nobody waits for."""
        threads = [thread for child in self.alive() for thread in child.server.running()]
        return [
            f"the turn of step {thread.step} on {thread.id} was not stopped" for thread in threads
        ]
