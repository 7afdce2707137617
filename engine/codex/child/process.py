"""Acts on the supervisor machine: one child process, spawned, ended, restarted."""

import asyncio
import contextlib
import functools
import logging
import os
import signal
from collections.abc import Callable
from typing import Final, Protocol, cast

import msgspec
import structlog

from engine import containment, lateness
from engine.codex.child import coalescer, pings, stderrlog
from engine.containment import Boundary
from machines import errors, supervisor, supervisoractions as actions

SPAWN_PIPES: Final = 4
"""Pipes that a spawn needs: for input, output and stderr, and for the child's own error."""

ADVICE: Final = {
    supervisor.UNRESPONSIVE: "it takes no requests until it answers, and is replaced after"
    " WORKER_HANG_TIMEOUT_MS without any output: look for a stopped process or a busy machine",
    supervisor.SUSPECT: "it takes no requests until it answers one of the kind, and is replaced"
    " when no turn runs on it",
}
"""Advice on the states that say that something is wrong."""

_codex_log = structlog.get_logger(component="codex")


class Command(msgspec.Struct, frozen=True):
    """How to start the process: program and arguments, whole environment, directory."""

    argv: tuple[str, ...]
    environment: dict[str, str]
    directory: str


class HandshakeRefused(Exception):
    """Raised by a handshake with a process that cannot be worked with."""


class Tenant(Protocol):
    """The user of a process: it is told of its life, and fed its output."""

    def connected(self, write: Callable[[bytes], None]) -> None:
        """The process runs and reads what is written."""

    async def handshake(self) -> str:
        """Find out who the process is, and return its version.

        Raises:
            HandshakeRefused: with the reason, for people.
        """

    def received(self, data: bytes) -> None:
        """Output of the process.

        Raises:
            MachineError: for output that cannot be read on.
        """

    def ready(self) -> None:
        """Turns may begin; again, where the process had missed a ping."""

    async def ping(self) -> None:
        """Ask the process for a sign of life, and return when it has answered."""

    async def probe(self) -> None:
        """Ask the process for what a turn begins with, and return when it has answered."""

    def lost(self, reason: str) -> None:
        """The process is gone, and every turn with it."""


class Process(asyncio.SubprocessProtocol):
    """One supervised process.

    Args:
        name: for the log, such as `codex-0`.
        on_change: told state and reason after each transition.
    """

    def __init__(
        self,
        name: str,
        command: Command,
        limits: supervisor.Limits,
        tenant: Tenant,
        on_change: Callable[[str, supervisor.AnyEvent], None],
    ) -> None:
        self._name = name
        self._command = command
        self._tenant = tenant
        self._on_change = on_change
        self._machine = supervisor.Supervisor(limits)
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.SubprocessTransport | None = None
        self._coalescer: coalescer.ReadCoalescer | None = None
        self._deadline: lateness.Deadline | None = None
        self._again: list[asyncio.TimerHandle] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._handshake: asyncio.Task[None] | None = None
        self._pings: asyncio.Task[None] | None = None
        self._heard = 0.0
        self._starts = 0
        self._stopped = asyncio.Event()
        self._stderr = stderrlog.StderrLog(name)

    @property
    def state(self) -> str:
        """The supervisor's state."""
        return self._machine.state

    @property
    def restarts(self) -> int:
        """How often it was tried to start after the first time."""
        return max(0, self._starts - 1)

    @property
    def pid(self) -> int | None:
        """The running process's id."""
        return self._transport.get_pid() if self._transport is not None else None

    def start(self) -> None:
        """Have the process run from now on."""
        self._step(supervisor.StartAsked())

    async def stop(self) -> None:
        """End the process, within its grace."""
        self._stopped.clear()
        self._step(supervisor.StopAsked())
        if self._machine.state != supervisor.STOPPED:
            await self._stopped.wait()

    def suspect(self, message: str) -> None:
        """The process left a request unanswered: it is to be replaced."""
        if self._machine.state in supervisor.WORKING:
            self._step(supervisor.Suspected(message))

    def outdated(self, message: str) -> None:
        """The process has missed a change: it is to be replaced when no turn runs on it."""
        if self._machine.state == supervisor.READY:
            self._step(supervisor.Outdated(message))

    def emptied(self) -> None:
        """No turn runs on the process."""
        if self._machine.state in (supervisor.SUSPECT, supervisor.RETIRING):
            self._step(supervisor.Emptied())

    def went_deaf(self, message: str) -> None:
        """The output of the process cannot be read on: replace it."""
        if self._machine.state in supervisor.WORKING:
            self._step(supervisor.WentDeaf(message))

    def pipe_data_received(self, fd: int, data: bytes | str) -> None:
        """Bytes from the child: its output to the tenant, its stderr to the log."""
        assert isinstance(data, bytes)
        if fd == 2:
            containment.each(Boundary.PROCESS, self._stderr.feed, (data,), worker=self._name)
            return
        self._heard = self._loop.time()
        if self._coalescer is not None:
            self._coalescer.on_read(data)
        try:
            self._tenant.received(data)
        except errors.MachineError as error:
            self.went_deaf(str(error))
        except Exception as error:  # what was lost with it, nobody knows
            containment.report(Boundary.PROCESS, error, worker=self._name)
            self.went_deaf("its output was lost")

    def process_exited(self) -> None:
        """The operating system's word that the child is gone."""
        if self._transport is None:
            return  # it was given up when it was started
        returncode = self._transport.get_returncode()
        self._transport.close()
        self._transport = None
        self._step(supervisor.Exited(returncode if returncode is not None else -1))

    def _step(self, event: supervisor.AnyEvent) -> None:
        """Take one event, and do everything that follows: a part that fails stops no other.

        It is tried again until the next event: a deadline that was not set never passes, and
        the process would stand where it is for ever.
        """
        for again in self._again:
            again.cancel()
        self._again.clear()
        try:
            asked = self._machine.step(event)
        except errors.IllegalEvent as error:
            containment.report(Boundary.PROCESS, error, worker=self._name)
            return
        state = self._machine.state
        containment.each(Boundary.PROCESS, lambda change: self._on_change(state, change), (event,))
        for action in asked:
            self._try(action)
        if self._machine.state == supervisor.STOPPED:
            self._stopped.set()

    def _try(self, action: actions.AnyAction) -> None:
        try:
            self._act(action)
        except Exception as error:
            containment.report(Boundary.PROCESS, error, worker=self._name, action=repr(action))
            pause = containment.RESTART_PAUSE_S
            self._again.append(self._loop.call_later(pause, self._try, action))

    def _act(self, action: actions.AnyAction) -> None:
        match action:
            case actions.Spawn():
                self._starts += 1
                self._run(self._spawn())
            case actions.Kill(name):
                self._kill(signal.Signals[name])
            case actions.AnnounceReady():
                if self._pings is None:
                    self._pings = self._run(self._ping())
                self._tenant.ready()
            case actions.Probe():
                if self._pings is not None:
                    self._pings.cancel()
                self._pings = self._run(self._probe())
            case actions.AnnounceLost(reason):
                for task in (self._handshake, self._pings):
                    if task is not None:
                        task.cancel()  # it would wait on, and speak for the next process
                self._pings = None
                self._tenant.lost(reason)
            case _:
                self._act_in_time(action)

    def _act_in_time(self, action: actions.AnyAction) -> None:
        match action:
            case actions.BeginHandshake(timeout_ms):
                self._after(timeout_ms, supervisor.HandshakeTimedOut())
                self._handshake = self._run(self._shake_hands())
            case actions.AwaitHealth(after_ms):
                self._after(after_ms, supervisor.HealthProven())
            case actions.AwaitOutput(after_ms):
                self._set_deadline(after_ms, self._measure_silence)
            case actions.AwaitExit(grace_ms):
                self._after(grace_ms, supervisor.StopTimedOut())
            case actions.ScheduleRestart(delay_ms):
                self._after(delay_ms, supervisor.BackoffElapsed())
            case actions.CancelDeadline():
                if self._deadline is not None:
                    self._deadline.cancel()

    def _run(self, work: "asyncio._CoroutineLike[None]") -> asyncio.Task[None]:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _after(self, delay_ms: int, event: supervisor.AnyEvent) -> None:
        self._set_deadline(delay_ms, functools.partial(self._step, event))

    def _set_deadline(self, delay_ms: int, act: Callable[[], None]) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = lateness.Deadline(self._loop, delay_ms / 1000, act)

    def _measure_silence(self) -> None:
        silent_ms = round((self._loop.time() - self._heard) * 1000)
        self._step(supervisor.SilenceMeasured(silent_ms))

    async def _probe(self) -> None:
        await containment.keep_running("probe_worker", self._tenant.probe)
        self._step(supervisor.PingAnswered())
        await self._ping()

    async def _ping(self) -> None:
        missed = supervisor.PingMissed(round(pings.LIMIT_S * 1000))
        answered = supervisor.PingAnswered()
        each = pings.Pings(
            self._tenant.ping,
            functools.partial(self._step, missed),
            functools.partial(self._step, answered),
        )
        await containment.keep_running("ping_worker", each.run)

    def _kill(self, number: signal.Signals) -> None:
        if self._transport is not None:
            with contextlib.suppress(ProcessLookupError):  # it was faster; its exit comes next
                self._transport.send_signal(number)

    async def _spawn(self) -> None:
        command = self._command
        try:
            transport, _ = await self._loop.subprocess_exec(
                lambda: self,
                *command.argv,
                env=command.environment,
                cwd=command.directory,
                # A terminal's Ctrl-C is for the server, which drains; its children wait for it.
                start_new_session=True,
            )
            pid = self._connect(transport)
        except OSError as error:
            self._step(supervisor.SpawnFailed(reason_of(error)))
        except Exception as error:  # without an end of its attempt the supervisor would wait on
            containment.report(Boundary.PROCESS, error, worker=self._name)
            self._give_up()
            self._step(supervisor.SpawnFailed("it could not be connected to"))
        else:
            self._step(supervisor.Spawned(pid))

    def _connect(self, transport: asyncio.SubprocessTransport) -> int:
        """Have the tenant speak with a process that runs; its id."""
        self._transport = transport
        # uvloop's pipe transports do not say that they are what they are.
        stdin = cast(asyncio.WriteTransport, transport.get_pipe_transport(0))
        stdout = cast(asyncio.ReadTransport, transport.get_pipe_transport(1))
        self._coalescer = coalescer.ReadCoalescer(self._loop, stdout)
        self._heard = self._loop.time()
        self._tenant.connected(stdin.write)
        return transport.get_pid()

    def _give_up(self) -> None:
        """End a process that nobody could be connected to."""
        transport, self._transport = self._transport, None
        if transport is not None:
            with contextlib.suppress(ProcessLookupError):
                transport.kill()
            transport.close()

    async def _shake_hands(self) -> None:
        try:
            version = await self._tenant.handshake()
        except HandshakeRefused as refused:
            event: supervisor.AnyEvent = supervisor.HandshakeFailed(str(refused))
        except Exception as error:
            containment.report(Boundary.PROCESS, error, worker=self._name)
            event = supervisor.HandshakeFailed("it was met with an error of the server")
        else:
            event = supervisor.HandshakeDone(version)
        if self._machine.state == supervisor.HANDSHAKE:
            self._step(event)


def say(name: str, state: str, event: supervisor.AnyEvent) -> None:
    """One line for each transition of a process."""
    detail = msgspec.to_builtins(event)
    detail["trigger"] = detail.pop("event")
    if state in ADVICE:
        detail["advice"] = ADVICE[state]
    level = logging.WARNING if state in ADVICE else logging.INFO
    _codex_log.log(level, "worker_state", worker=name, worker_state=state, **detail)


def reason_of(error: OSError) -> str:
    """Why a process could not be spawned.

    uvloop has an error of number -1 where a pipe or the fork failed. So it is tried whether there
    are descriptors for a process's pipes; where there are, the number alone is known.
    """
    number = error.errno or 0
    if number > 0:
        return os.strerror(number)
    pipes: list[int] = []
    try:
        for _ in range(SPAWN_PIPES):
            pipes += os.pipe()
    except OSError as cause:
        return os.strerror(cause.errno or 0)
    finally:
        for descriptor in pipes:
            os.close(descriptor)
    return f"the event loop gave no reason ({number})"
