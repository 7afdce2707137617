"""Real child processes: started, watched, ended, and started again."""

import asyncio
import errno
import os
import resource
import signal
import time
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any, Self

import msgspec
import pytest
import structlog
import uvloop

from engine import containment, lateness
from engine.codex.child import pings, process
from machines import errors, supervisor, supervisoractions as actions
from tests.support.process import machinetime

WAIT_S = machinetime.HANG_S
"""Seconds after which something that should have come is given up."""

LIMITS = supervisor.Limits(
    handshake_ms=5_000, stop_grace_ms=300, backoff_initial_ms=30, backoff_max_ms=240
)

ECHO = "exec cat"
"""A child that says what it hears, and ends when its input does."""


class Tenant:
    """Lives on a process and keeps what it hears. Its handshake is as it is given.

    Attributes:
        hears: while it is set, pings are answered.
        begins: while it is set, probes are answered.
    """

    def __init__(self, handshake: Callable[["Tenant"], Awaitable[str]]) -> None:
        self.write: Callable[[bytes], None] = lambda _: None
        self.said = b""
        self.losses: list[str] = []
        self.connections = 0
        self.ready_count = 0
        self.unreadable = b"never"
        self.changed = asyncio.Event()
        self.hears = asyncio.Event()
        self.hears.set()
        self.begins = asyncio.Event()
        self._handshake = handshake

    def connected(self, write: Callable[[bytes], None]) -> None:
        self.write = write
        self.connections += 1

    async def handshake(self) -> str:
        return await self._handshake(self)

    def received(self, data: bytes) -> None:
        self.said += data
        self.changed.set()
        if self.unreadable in data:
            raise errors.TooLarge("too much of it")

    def ready(self) -> None:
        self.ready_count += 1
        self.changed.set()

    async def ping(self) -> None:
        await self.hears.wait()

    async def probe(self) -> None:
        await self.begins.wait()

    def lost(self, reason: str) -> None:
        self.losses.append(reason)
        self.changed.set()

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Wait for something that follows from what the tenant hears."""
        async with asyncio.timeout(WAIT_S):
            while not is_so():
                self.changed.clear()
                await self.changed.wait()


async def agreed(_: Tenant) -> str:
    """A handshake that needs nothing."""
    return "1.2.3"


class Child:
    """A supervised child: a shell script, or another program."""

    def __init__(
        self,
        script: str | tuple[str, ...],
        handshake: Callable[[Tenant], Awaitable[str]] = agreed,
        directory: str = "/",
        limits: supervisor.Limits = LIMITS,
        **environment: str,
    ) -> None:
        argv = ("sh", "-c", script) if isinstance(script, str) else script
        self.tenant = Tenant(handshake)
        self.changes: list[tuple[str, supervisor.AnyEvent]] = []
        command = process.Command(argv, {"PATH": os.environ["PATH"], **environment}, directory)
        self.process = process.Process("child-0", command, limits, self.tenant, self._changed)

    @property
    def states(self) -> list[str]:
        """Every state it has been in, in order."""
        return [state for state, _ in self.changes]

    async def __aenter__(self) -> Self:
        self.process.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        async with asyncio.timeout(WAIT_S):
            await self.process.stop()
        assert self.process.state == "stopped"
        assert self.process.pid is None

    async def ready(self, count: int = 1) -> None:
        """Wait until it has become ready so many times."""
        await self.tenant.until(lambda: self.tenant.ready_count >= count)

    async def been(self, state: str) -> None:
        """Wait until it has been in a state."""
        await self.tenant.until(lambda: state in self.states)

    def _changed(self, state: str, event: supervisor.AnyEvent) -> None:
        self.changes.append((state, event))
        self.tenant.changed.set()


def play(scene: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a scene; whatever reaches the loop's own handler fails it."""
    complaints: list[dict[str, Any]] = []

    async def watched() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, c: complaints.append(c))
        await scene()

    uvloop.run(watched())
    assert complaints == []


def test_a_process_is_spoken_to_and_heard(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Child(
            'echo "$GREETING in $PWD"; exec cat', directory=str(tmp_path), GREETING="hi"
        ) as child:
            await child.ready()
            child.tenant.write(b"ping\n")
            expected = f"hi in {tmp_path}\nping\n".encode()
            await child.tenant.until(lambda: child.tenant.said == expected)
            assert child.process.state == "ready"
            assert child.process.pid is not None
            # Ctrl-C on the server's terminal is not for it.
            assert os.getsid(child.process.pid) != os.getsid(0)
            assert child.states == ["spawning", "handshake", "ready"]
            assert child.changes[2][1] == supervisor.HandshakeDone("1.2.3")

    play(scene)


@pytest.mark.parametrize(
    ("last_words", "reason"),
    [
        ("exit 3", "exited with code 3"),
        ("kill -9 $$", "killed by signal 9"),
    ],
)
def test_a_process_that_ends_is_lost_and_replaced(last_words: str, reason: str) -> None:
    async def scene() -> None:
        async with Child(f"read line; {last_words}") as child:
            await child.ready()
            first = child.process.pid
            child.tenant.write(b"go\n")
            await child.ready(2)
            assert child.tenant.losses == [reason]
            assert child.process.pid != first
            assert child.tenant.connections == 2

    play(scene)


def test_what_a_process_said_last_is_heard_before_it_is_lost() -> None:
    async def scene() -> None:
        # As much as a pipe holds: no reader is needed for it to exit.
        async with Child("read line; head -c 65536 /dev/zero; exit 0") as child:
            heard: list[int] = []
            lost = child.tenant.lost

            def note(reason: str) -> None:
                heard.append(len(child.tenant.said))
                lost(reason)

            child.tenant.lost = note  # type: ignore[method-assign]  # listens in
            await child.ready()
            child.tenant.write(b"go\n")
            await child.been("backoff")
            assert heard == [65536]

    play(scene)


def test_a_process_whose_output_cannot_be_read_on_is_replaced() -> None:
    async def scene() -> None:
        async with Child(ECHO) as child:
            child.tenant.unreadable = b"nonsense"
            await child.ready()
            child.tenant.write(b"nonsense\n")
            await child.ready(2)
            assert child.tenant.losses == ["went deaf: too much of it"]

    play(scene)


def test_a_process_that_is_said_to_be_deaf_is_killed_once() -> None:
    async def scene() -> None:
        async with Child("trap '' TERM; cat") as child:
            await child.ready()
            child.process.went_deaf("no answer")
            child.process.went_deaf("no answer")
            await child.ready(2)
            assert child.tenant.losses == ["went deaf: no answer"]

    play(scene)


@pytest.fixture
def pinged_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that does not answer is known within moments."""
    monkeypatch.setattr(pings, "INTERVAL_S", 0.01)
    monkeypatch.setattr(pings, "LIMIT_S", 0.05)
    monkeypatch.setattr(lateness, "READ_S", 0.01)


@pytest.mark.usefixtures("pinged_often")
def test_a_process_that_misses_a_ping_is_not_ready_until_it_answers() -> None:
    async def scene() -> None:
        async with Child(ECHO) as child:
            await child.ready()
            child.tenant.hears.clear()
            await child.been("unresponsive")
            child.tenant.hears.set()
            await child.ready(2)
            assert child.states[3:] == ["unresponsive", "ready"]
            assert child.tenant.losses == []

    play(scene)


@pytest.mark.usefixtures("pinged_often")
def test_a_process_that_misses_its_pings_is_replaced_for_silence_only() -> None:
    limits = msgspec.structs.replace(LIMITS, hang_ms=2_000)
    speaks = "while ! read -t 0.01 line; do echo busy; done; exec cat"

    async def scene() -> None:
        async with Child(("bash", "-c", speaks), limits=limits) as child:
            await child.ready()
            child.tenant.hears.clear()
            # As long as it says anything, it is left alone.
            await child.tenant.until(lambda: any(_is_heard(each) for _, each in child.changes))
            assert child.tenant.losses == []
            child.tenant.write(b"enough\n")
            await child.tenant.until(lambda: bool(child.tenant.losses))
            child.tenant.hears.set()
            await child.ready(2)
            assert child.tenant.losses[0].startswith("went deaf: no output for 2.")

    play(scene)


def _is_heard(event: supervisor.AnyEvent) -> bool:
    return isinstance(event, supervisor.SilenceMeasured)


@pytest.mark.usefixtures("pinged_often")
def test_a_process_under_suspicion_is_replaced_when_no_turn_runs_on_it() -> None:
    async def scene() -> None:
        async with Child(ECHO) as child:
            await child.ready()
            child.process.emptied()  # nothing is held against it
            child.process.suspect("thread/start unanswered")
            assert child.process.state == "suspect"
            child.tenant.begins.set()
            await child.ready(2)
            assert child.process.state == "retiring"
            child.process.emptied()
            await child.ready(3)
            assert child.tenant.losses == ["retired: thread/start unanswered"]
            assert child.states[3:6] == ["suspect", "retiring", "killing"]

    play(scene)


def test_a_refused_handshake_is_tried_again_after_the_longest_delay() -> None:
    answers = iter(["too old", "1.2.3"])

    async def handshake(_: Tenant) -> str:
        answer = next(answers)
        if answer == "too old":
            raise process.HandshakeRefused(answer)
        return answer

    async def scene() -> None:
        async with Child(ECHO, handshake) as child:
            began = time.monotonic()
            await child.ready()
            assert time.monotonic() - began > LIMITS.backoff_max_ms / 1000
            assert child.tenant.losses == ["handshake failed: too old"]
            assert child.tenant.ready_count == 1

    play(scene)


def test_a_handshake_does_not_outlive_its_process() -> None:
    ended: list[str] = []
    fate = iter(["hangs"])

    async def handshake(tenant: Tenant) -> str:
        if next(fate, "agrees") == "hangs":
            tenant.write(b"go\n")
            try:
                await asyncio.Event().wait()
            finally:
                ended.append("hanging one")
        return "1.2.3"

    async def scene() -> None:
        async with Child("read line; exit 1", handshake) as child:
            await child.ready()
            assert ended == ["hanging one"]
            assert child.tenant.losses == ["exited with code 1"]

    play(scene)


def test_a_program_that_is_not_there_is_said_and_looked_for_again() -> None:
    async def scene() -> None:
        async with Child(("/no/such/program",)) as child:
            await child.tenant.until(lambda: child.states.count("failed") == 2)
            assert child.tenant.losses == ["could not be started: No such file or directory"] * 2

    play(scene)


def test_a_crash_loop_goes_on_more_and_more_slowly() -> None:
    async def scene() -> None:
        async with Child("exit 1") as child:
            await child.tenant.until(lambda: child.states.count("failed") == 3)
            assert child.states.count("backoff") == 3
            assert child.process.restarts == child.states.count("spawning") - 1
            assert set(child.tenant.losses) == {"exited with code 1"}

    began = time.monotonic()
    play(scene)
    assert time.monotonic() - began > (30 + 60 + 120 + 240 + 240) / 1000


@pytest.mark.parametrize(
    ("script", "returncode", "grace_ms"),
    [
        # Who obeys is not waited for any longer: this grace is more than a test may take.
        (f"echo up; {ECHO}", -signal.SIGTERM, 3_600_000),
        ("trap 'exit 7' TERM; echo up; while :; do read line; done", 7, 3_600_000),
        ("trap '' TERM; echo up; while :; do sleep 1; done", -signal.SIGKILL, 300),
    ],
)
def test_a_process_is_asked_to_stop_and_then_made_to(
    script: str, returncode: int, grace_ms: int
) -> None:
    limits = msgspec.structs.replace(LIMITS, stop_grace_ms=grace_ms)

    async def scene() -> None:
        async with Child(script, limits=limits) as child:
            await child.ready()
            await child.tenant.until(lambda: child.tenant.said == b"up\n")
            began = time.monotonic()
            async with asyncio.timeout(WAIT_S):
                await child.process.stop()
            if returncode == -signal.SIGKILL:
                # The loop's clock counts whole milliseconds: a timer may fire one early.
                assert time.monotonic() - began >= (grace_ms - 1) / 1000
            assert child.changes[-1][1] == supervisor.Exited(returncode)
            assert child.tenant.losses == ["asked to stop"]

    play(scene)


@pytest.mark.parametrize("state", ["spawning", "handshake", "backoff", "failed"])
def test_it_can_be_stopped_at_any_time(state: str) -> None:
    async def handshake(tenant: Tenant) -> str:
        if state == "handshake":
            await asyncio.Event().wait()
        return "1.2.3"

    async def scene() -> None:
        scripts: dict[str, str | tuple[str, ...]] = {
            "backoff": "exit 1",
            "failed": ("/no/such/program",),
        }
        async with Child(scripts.get(state, ECHO), handshake) as child:
            await child.been(state)
            await child.process.stop()

    play(scene)


def test_a_childs_own_stderr_arrives() -> None:
    async def scene() -> None:
        async with Child("echo careful >&2; exec cat") as child:
            await child.ready()
            child.tenant.write(b"ping\n")
            await child.tenant.until(lambda: child.tenant.said == b"ping\n")

    with structlog.testing.capture_logs() as said:
        play(scene)
    assert [line["text"] for line in said if line["event"] == "worker_stderr"] == ["careful"]


# --- Bugs of ours, which must leave no process standing still ---


class Broken(Tenant):
    """Fails at what it is told to fail at, the first time."""

    def __init__(self, at: str) -> None:
        super().__init__(agreed)
        self._at = at
        self.failed = 0

    def _fail(self, at: str) -> None:
        if at == self._at and not self.failed:
            self.failed += 1
            raise RuntimeError("planted")

    def connected(self, write: Callable[[bytes], None]) -> None:
        self._fail("connected")
        super().connected(write)

    async def handshake(self) -> str:
        self._fail("handshake")
        return "1.2.3"

    def ready(self) -> None:
        super().ready()
        self._fail("ready")

    def received(self, data: bytes) -> None:
        self._fail("received")
        super().received(data)

    def lost(self, reason: str) -> None:
        super().lost(reason)
        self._fail("lost")


@pytest.mark.parametrize("at", ["connected", "handshake", "received", "lost"])
def test_a_bug_met_by_a_tenant_costs_one_process_at_most(at: str) -> None:
    async def scene() -> None:
        child = Child("read line; echo $line; exec cat")
        tenant = child.tenant = child.process._tenant = Broken(at)
        with structlog.testing.capture_logs() as lines:
            async with child:
                await child.ready()
                if at in ("received", "lost"):
                    tenant.write(b"hi\n")
                if at == "lost":
                    os.kill(child.process.pid or 0, signal.SIGKILL)
                if at in ("received", "lost"):
                    await child.ready(2)
                assert child.process.state == "ready"
        assert tenant.failed == 1
        assert [line["worker"] for line in lines if line["event"] == "defect"] == ["child-0"]

    play(scene)


def test_a_bug_met_by_whoever_is_told_of_changes_stops_nothing() -> None:
    async def scene() -> None:
        child = Child(ECHO)

        def broken(state: str, event: supervisor.AnyEvent) -> None:
            child._changed(state, event)
            raise RuntimeError("planted")

        child.process._on_change = broken
        with structlog.testing.capture_logs():
            async with child:
                await child.ready()
        assert child.states == ["spawning", "handshake", "ready", "stopping", "stopped"]

    play(scene)


@pytest.mark.parametrize("action", [actions.BeginHandshake, actions.ScheduleRestart])
def test_an_action_that_fails_is_tried_again(
    action: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene() -> None:
        child = Child("read line; echo $line; exec cat")
        act = child.process._act
        failed: list[actions.AnyAction] = []

        def broken(asked: actions.AnyAction) -> None:
            if isinstance(asked, action) and not failed:
                failed.append(asked)
                raise RuntimeError("planted")
            act(asked)

        monkeypatch.setattr(child.process, "_act", broken)
        monkeypatch.setattr(containment, "RESTART_PAUSE_S", 0.05)
        with structlog.testing.capture_logs() as lines:
            async with child:
                await child.ready()
                os.kill(child.process.pid or 0, signal.SIGKILL)
                await child.ready(2)
        assert [type(each) for each in failed] == [action]
        assert [line["worker"] for line in lines if line["event"] == "defect"] == ["child-0"]

    play(scene)


def test_what_cannot_be_an_argument_of_a_program_is_a_failed_start() -> None:
    async def scene() -> None:
        async with Child(("sh", "-c", "nul \0 byte")) as child:
            await child.been("failed")

    with structlog.testing.capture_logs():
        play(scene)


def test_an_error_without_a_number_says_what_is_known() -> None:
    unknown = OSError(-1, "Unknown error -1")
    assert process.reason_of(unknown) == "the event loop gave no reason (-1)"
    assert process.reason_of(OSError(errno.ENOENT, "")) == os.strerror(errno.ENOENT)


def test_an_error_without_a_number_where_no_descriptor_is_free() -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = os.dup(0)
    os.close(used)
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + 1, limits[1]))
    try:
        reason = process.reason_of(OSError(-1, "Unknown error -1"))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert reason == os.strerror(errno.EMFILE)
