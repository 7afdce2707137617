"""The server with a window: `python -m tests.faults.observed serve …`, for tests that count.

It is the program as it is, and some things more. On SIGUSR1 it says on stderr which tasks its
loop has. Constants that no setting reaches are taken from the environment, so that a test need not
wait for half a minute. Where the environment says so it has bugs (`tests.faults.planting`), a wall
clock that jumps at `JUMP`, and on SIGUSR2 says how long it held its loop
(`tests.support.process.heldloop`).
"""

import asyncio
import functools
import itertools
import json
import os
import signal
import time
from collections.abc import Callable
from types import FrameType
from typing import Any, Final

import msgspec

from engine import containment
from engine.upstream import client as upstreamclient
from machines.wire import jsonrpc
from server import assembly, program
from server.process import signals
from tests.faults import library, planting
from tests.support.process import heldloop, planted

TASKS: Final = "tasks"
"""The event of a line that lists tasks, the defects so far by boundary, and the wall clock."""

HTTP_LIMITS: Final = "FAULTS_HTTP_LIMITS"
"""The variable for members of `server.http.exchange.Limits`, a JSON object."""

CONNECT_TIMEOUT: Final = "FAULTS_CONNECT_TIMEOUT_S"
"""The variable for how long the connection to an upstream may take."""

LINE_BYTES: Final = "FAULTS_LINE_BYTES"
"""The variable for how long a line of a worker's process may be."""

CONSTANTS: Final = "FAULTS_CONSTANTS"
"""The variable for constants, a JSON object: `{"engine.codex.turns.states.STEP_GRACE_S": 0.5}`."""

PLANTED: Final = "FAULTS_PLANTED"
"""The variable for bugs, a JSON object of functions and their calls that raise, from 1. Set at all
it plants those too that requests ask for."""

SIGNALS: Final = "FAULTS_SIGNALS"
"""The variable for moments at which it sends itself a signal, a JSON object: at the first call of
a function, by its full name, the number of the signal."""

JUMPS: Final = "FAULTS_CLOCK_JUMPS"
"""The variable for the seconds by which the wall clock jumps at each `JUMP`, a JSON array."""

JUMP: Final = signal.SIGRTMIN
"""The signal for the next jump."""

LIBRARY: Final = "FAULTS_LIBRARY"
"""The variable that, set to anything, has the HTTP library raise what requests ask for
(`tests.faults.library`)."""

MEASURED: Final = "FAULTS_MEASURED"
"""The variable that, set to anything, has the loop be measured; it is asyncio's own then."""


def main() -> None:
    """Run the program."""
    signals.install()  # as the program does it first
    signal.signal(signal.SIGUSR1, _say_tasks)
    _let_clock_jump(json.loads(os.environ.get(JUMPS, "[]")))
    _change()
    program.run()


def _let_clock_jump(jumps: list[float]) -> None:
    usual, usual_ns, ahead = time.time, time.time_ns, 0.0
    by = itertools.chain(jumps)

    def jump(*_: object) -> None:
        nonlocal ahead
        ahead += next(by)

    if jumps:
        signal.signal(JUMP, jump)
        _replace(time, "time", lambda: usual() + ahead)
        _replace(time, "time_ns", lambda: usual_ns() + int(ahead * 1e9))


def _change() -> None:
    """Put what the environment says in the place of the server's own."""
    for name, value in json.loads(os.environ.get(CONSTANTS, "{}")).items():
        planted.plant(name, [value])
    for name, number in json.loads(os.environ.get(SIGNALS, "{}")).items():
        planted.plant(name, number)
    limits = json.loads(os.environ.get(HTTP_LIMITS, "{}"))
    _replace(assembly, "http_limits", functools.partial(_limits, assembly.http_limits, limits))
    timeout = float(os.environ.get(CONNECT_TIMEOUT, 5))
    options = functools.partial(upstreamclient.Options, connect_timeout=timeout)
    _replace(upstreamclient, "Options", options)
    most = int(os.environ.get(LINE_BYTES, jsonrpc.MAX_LINE_BYTES))
    _replace(jsonrpc, "LineSplitter", functools.partial(jsonrpc.LineSplitter, max_bytes=most))
    if PLANTED in os.environ:
        planting.install()
        for function, calls in json.loads(os.environ[PLANTED]).items():
            planting.raise_at(function, calls)
    if LIBRARY in os.environ:
        library.install()
    if MEASURED in os.environ:
        heldloop.install(signal.SIGUSR2)


def _limits(usual: Callable[[Any], Any], members: dict[str, float], config: Any) -> Any:
    return msgspec.structs.replace(usual(config), **members)


def _replace(module: Any, name: str, value: object) -> None:
    setattr(module, name, value)


def _say_tasks(_number: int, _frame: FrameType | None) -> None:
    """Straight to the descriptor: a handler may have interrupted a write to the stream."""
    coroutines = [task.get_coro() for task in asyncio.all_tasks()]
    names = [getattr(each, "__qualname__", str(each)) for each in coroutines]
    line = {
        "event": TASKS,
        "severity": "info",
        "names": names,
        "defects": containment.counts,
        "time": time.time(),
    }
    os.write(2, json.dumps(line).encode() + b"\n")


if __name__ == "__main__":
    main()
