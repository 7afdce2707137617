"""Tells the service manager how the process is: `sd_notify(3)` of systemd, which others speak too.

The manager names a datagram socket in `NOTIFY_SOCKET`; a message is lines of `NAME=value`. Where
there is none, nothing is opened and nothing runs. A manager that does not listen, or not fast
enough, holds up nobody: what it was not told is told with the next beat.

The beats come from the event loop, so that they end where the loop is held: with `WATCHDOG_USEC`
the manager then starts the process anew. Half of that time is between two of them, as
`sd_watchdog_enabled(3)` advises. (`server.process.watchdog` is for a stop alone.)
"""

import asyncio
import contextlib
import enum
import math
import os
import socket
from collections.abc import Callable, Iterator, Mapping
from typing import Final

import structlog

from engine import containment

BEAT_S: Final = 1.0
"""At most so long after a change of the status it is told."""

EXTENSION_S: Final = 10.0
"""Added to the manager's patience by each beat of a stop. The stop has a limit of its own, after
which the process ends itself; a start has none, so its time is the manager's to limit."""

LEAST_HALF_S: Final = 0.01
"""Least time between two pings, whatever is asked for: more of them would take the event loop."""

MOST_DIGITS: Final = 20
"""Digits of `WATCHDOG_USEC`, which `sd_watchdog_enabled(3)` reads as 64 bits."""

_log = structlog.get_logger(component="server")


class Phase(enum.Enum):
    """The parts of a life that the manager is told of once; the value is the message."""

    STARTING = ""
    READY = "READY=1"
    STOPPING = "STOPPING=1"


class ServiceManager:
    """Whoever started this process, if they want to be told.

    Args:
        environ: of the process.
        status: says in one line how the server is, for people.
    """

    def __init__(self, environ: Mapping[str, str], status: Callable[[], str]) -> None:
        self._status = status
        self._address = _address(environ.get("NOTIFY_SOCKET", ""))
        self._socket: socket.socket | None = None
        self._half_s = _half_of_watchdog(environ)
        self._ping_at = 0.0
        self._phase = Phase.STARTING
        self._is_owed = False
        self._told = ""
        self._is_reached = True

    @contextlib.contextmanager
    def attended(self) -> Iterator[None]:
        """Beat for as long as the block runs; nothing at all where nobody wants to be told."""
        if not self._address:
            yield
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as self._socket:
            self._socket.setblocking(False)
            loop = asyncio.get_running_loop()
            beats = loop.create_task(containment.keep_running("service_manager", self._run))
            try:
                yield
            finally:
                beats.cancel()
        self._socket = None

    def enter(self, phase: Phase) -> None:
        """Tell at once that another part of the life has begun."""
        self._phase = phase
        self._is_owed = True
        self._beat()

    async def _run(self) -> None:
        pause = BEAT_S
        if self._half_s is not None:  # so that a whole number of beats makes the half
            pause = self._half_s / math.ceil(self._half_s / BEAT_S)
        while True:
            self._beat()
            await asyncio.sleep(pause)

    def _beat(self) -> None:
        now = asyncio.get_running_loop().time()
        status = self._known_status()
        lines = [self._phase.value] if self._is_owed and self._phase.value else []
        if status != self._told:
            lines.append(f"STATUS={status}")
        if self._phase is Phase.STOPPING:
            lines.append(f"EXTEND_TIMEOUT_USEC={round(EXTENSION_S * 1e6)}")
        is_ping = self._half_s is not None and now >= self._ping_at
        if is_ping:
            lines.append("WATCHDOG=1")
        if lines and self._send("\n".join(lines)):
            self._is_owed, self._told = False, status
            if self._half_s is not None and is_ping:
                # A beat that is early by a clock's grain must not wait for the next one.
                self._ping_at = now + self._half_s - 0.01

    def _known_status(self) -> str:
        """The status; the last one that was told where a bug has it raise. A start and a stop tell
        on their way, and the manager would kill a server whose pings end for a line of text."""
        try:
            return self._status()
        except Exception as error:
            containment.report(containment.Boundary.TASK, error, task="service_manager")
            return self._told

    def _send(self, message: str) -> bool:
        """Send a datagram, whole or not at all, and never wait for it."""
        if self._socket is None:
            return False
        try:
            self._socket.sendto(message.encode(), socket.MSG_NOSIGNAL, self._address)
        except OSError as error:  # nobody listens, or its queue is full
            if self._is_reached:
                self._is_reached = False
                _log.warning("service_manager_unreachable", error=error.strerror or str(error))
            return False
        self._is_reached = True
        return True


def _address(name: str) -> str:
    """Return the socket's address; empty where there is none. `@` begins an abstract one."""
    if name.startswith("/"):
        return name
    return f"\0{name[1:]}" if len(name) > 1 and name.startswith("@") else ""


def _half_of_watchdog(environ: Mapping[str, str]) -> float | None:
    """Return the seconds between two pings; None where none are asked of this process."""
    usec, pid = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
    is_number = usec.isdecimal() and len(usec) <= MOST_DIGITS
    if not is_number or not int(usec) or pid not in ("", str(os.getpid())):
        return None
    return max(int(usec) / 2e6, LEAST_HALF_S)
