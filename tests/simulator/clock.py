"""An event loop without sockets, threads or waiting: its time jumps to the next timer.

Connections come by `VirtualLoop.port` and go by `VirtualLoop.network`, child processes are made by
`VirtualLoop.spawn`: the server asks the loop for all of them, as it always does, and gets those of
the simulation.
"""

import asyncio
import collections
import functools
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol, TypeVar, TypeVarTuple

from tests.simulator import net

START: Final = 1_700_000_000
"""Seconds since the epoch when a simulation begins."""

ROUND_S: Final = 1e-6
"""What one round of the loop takes: so that no two rounds are at the same time."""

CHORE_S: Final = 0.0005
"""What a chore takes that is done in another thread."""

ROUNDS_MOST: Final = 400_000
"""Rounds of a run: above, something turns in circles."""

Spawn = Callable[..., Awaitable[tuple[Any, Any]]]
"""Starts a child process as `loop.subprocess_exec` does."""


Arguments = TypeVarTuple("Arguments")
Result = TypeVar("Result")


class Network(Protocol):
    """What the server can connect to."""

    async def resolve(self, host: str, port: int) -> list[Any]:
        """As `loop.getaddrinfo`."""

    async def connect(self, address: Any) -> None:
        """As `loop.sock_connect`."""

    def open(self, dialled: Any, protocol: Any) -> net.Wire:
        """The transport of a socket that is connected."""


class Stuck(BaseException):
    """Raised out of a run in which nothing can happen any more, or which goes round in circles."""


class _Timeline:
    """Stands where a loop has its selector: instead of waiting it moves the time on."""

    def __init__(self) -> None:
        self.now = 0.0
        self.rounds = 0

    def select(self, timeout: float | None) -> list[Any]:
        self.rounds += 1
        if timeout is None:
            raise Stuck("nothing will ever happen again")
        if self.rounds > ROUNDS_MOST:
            raise Stuck("the loop goes round in circles")
        self.now += timeout + ROUND_S
        return []

    def close(self) -> None:
        """There is nothing to close."""


class VirtualLoop(asyncio.BaseEventLoop):
    """The loop of one run.

    Attributes:
        port: what the server listens on.
        spawn: starts its child processes.
        network: what it can connect to.
        complaints: what reached the loop's exception handler.
    """

    def __init__(self) -> None:
        super().__init__()
        self.port = net.Port(self)
        self.spawn: Spawn | None = None
        self.network: Network | None = None
        self.complaints: list[str] = []
        self._selector = self._timeline = _Timeline()
        self._clock_resolution = 1e-9
        self._chores: collections.deque[Callable[[], object]] = collections.deque()
        self.set_exception_handler(self._complain)

    def time(self) -> float:
        return self._timeline.now

    def wall_us(self) -> int:
        """Microseconds since the epoch."""
        return START * 1_000_000 + round(self._timeline.now * 1_000_000)

    def unstick(self) -> None:
        """Go on after `Stuck`, to tidy up."""
        self._timeline.rounds = 0

    def timers(self) -> list[asyncio.TimerHandle]:
        """Those that are set and not cancelled."""
        scheduled: list[asyncio.TimerHandle] = vars(self)["_scheduled"]
        return [timer for timer in scheduled if not timer.cancelled()]

    async def create_server(self, protocol_factory: Any, *_: Any, **__: Any) -> Any:
        self.port.listen(protocol_factory)
        return self.port

    async def subprocess_exec(self, protocol_factory: Any, *args: Any, **__: Any) -> Any:
        assert self.spawn is not None
        return await self.spawn(protocol_factory)

    async def getaddrinfo(self, host: Any, port: Any, **_: Any) -> Any:
        assert self.network is not None
        return await self.network.resolve(host, port)

    async def sock_connect(self, _: Any, address: Any) -> None:
        assert self.network is not None
        await self.network.connect(address)

    async def create_connection(self, protocol_factory: Any, *_: Any, **options: Any) -> Any:
        assert self.network is not None
        protocol = protocol_factory()
        return self.network.open(options["sock"], protocol), protocol

    def run_in_executor(
        self, executor: Any, func: Callable[[*Arguments], Result], *args: *Arguments
    ) -> asyncio.Future[Result]:
        """There is one thread for all of them, which takes its time for each chore."""
        done: asyncio.Future[Result] = self.create_future()
        self._chores.append(functools.partial(_do, done, func, *args))
        if len(self._chores) == 1:
            self.call_later(CHORE_S, self._work)
        return done

    def _work(self) -> None:
        self._chores[0]()
        self._chores.popleft()
        if self._chores:
            self.call_later(CHORE_S, self._work)

    def _complain(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.complaints.append(f"{context.get('message')}: {context.get('exception')!r}")

    def _process_events(self, _: list[Any]) -> None:
        """There are none: everything is a timer or a callback."""

    def _write_to_self(self) -> None:
        """Nobody sleeps who would have to be woken."""


def _do(
    done: "asyncio.Future[Result]", func: Callable[[*Arguments], Result], *args: *Arguments
) -> None:
    try:
        result = func(*args)
    except Exception as error:
        if not done.cancelled():
            done.set_exception(error)
    else:
        if not done.cancelled():
            done.set_result(result)


def real_seconds() -> float:
    """Of this machine, for those who measure simulations."""
    return time.monotonic()
