"""One worker process: started, lost, started again, however often; never two, never none."""

import random

import pytest

from machines import errors, supervisor
from machines.supervisor import (
    BackoffElapsed,
    Emptied,
    Exited,
    HandshakeDone,
    HandshakeFailed,
    HandshakeTimedOut,
    HealthProven,
    PingAnswered,
    PingMissed,
    SilenceMeasured,
    Spawned,
    SpawnFailed,
    StartAsked,
    StopAsked,
    StopTimedOut,
    Suspected,
    WentDeaf,
)
from machines.supervisoractions import (
    AnnounceLost,
    AnnounceReady,
    AnyAction,
    AwaitExit,
    AwaitHealth,
    AwaitOutput,
    BeginHandshake,
    CancelDeadline,
    Kill,
    Probe,
    ScheduleRestart,
    Spawn,
)
from tests.machines.stream import oracle

LIMITS = supervisor.Limits()

TO_READY = (StartAsked(), Spawned(pid=7), HandshakeDone(version="0.163.0"))


def after(*events: supervisor.AnyEvent) -> supervisor.Supervisor:
    """A supervisor that has taken these events."""
    machine = supervisor.Supervisor(LIMITS)
    for event in events:
        machine.step(event)
    return machine


@pytest.mark.parametrize("seed", range(4))
def test_the_table_walks_like_the_declared_machine(seed: int) -> None:
    oracle.walk(supervisor.SupervisorMachine, supervisor.TABLE, seed, 6000)


@pytest.mark.parametrize("state", supervisor.TABLE.states)
def test_each_state_takes_and_refuses_what_the_declared_machine_does(state: str) -> None:
    """A walk by chance comes to `retiring` too rarely to try everything there."""
    for event in supervisor.TABLE.events:
        oracle.agree(supervisor.SupervisorMachine, supervisor.TABLE, state, event)


def test_a_start_that_goes_well() -> None:
    machine = supervisor.Supervisor(LIMITS)
    assert machine.state == "stopped"
    assert machine.step(StartAsked()) == (Spawn(),)
    assert machine.state == "spawning"
    assert machine.step(Spawned(pid=7)) == (BeginHandshake(timeout_ms=15_000),)
    assert machine.state == "handshake"
    assert machine.step(HandshakeDone(version="0.163.0")) == (
        CancelDeadline(),
        AnnounceReady(),
        AwaitHealth(after_ms=30_000),
    )
    assert machine.state == "ready"
    assert machine.step(HealthProven()) == ()
    assert machine.state == "ready"


@pytest.mark.parametrize(
    ("returncode", "reason"),
    [(0, "exited with code 0"), (1, "exited with code 1"), (-9, "killed by signal 9")],
)
def test_a_ready_process_that_dies_loses_its_streams_and_is_started_again(
    returncode: int, reason: str
) -> None:
    machine = after(*TO_READY)
    assert machine.step(Exited(returncode)) == (
        CancelDeadline(),
        AnnounceLost(reason),
        ScheduleRestart(delay_ms=500),
    )
    assert machine.state == "backoff"
    assert machine.step(BackoffElapsed()) == (Spawn(),)
    assert machine.state == "spawning"


def test_a_deaf_process_is_killed_and_started_again_only_after_its_exit() -> None:
    machine = after(*TO_READY)
    assert machine.step(WentDeaf("no answer in 10 s")) == (
        CancelDeadline(),
        AnnounceLost("went deaf: no answer in 10 s"),
        Kill("SIGKILL"),
    )
    assert machine.state == "killing"
    assert machine.step(WentDeaf("output closed")) == ()
    assert machine.step(Exited(-9)) == (ScheduleRestart(delay_ms=500),)
    assert machine.state == "backoff"


MISSED = PingMissed(after_ms=3_000)


def test_a_process_that_misses_a_ping_takes_no_turns_until_it_answers() -> None:
    machine = after(*TO_READY)
    assert machine.step(MISSED) == (CancelDeadline(), AwaitOutput(after_ms=12_000))
    assert machine.state == "unresponsive"
    assert machine.step(PingAnswered()) == (
        CancelDeadline(),
        AnnounceReady(),
        AwaitHealth(after_ms=30_000),
    )
    assert machine.state == "ready"


def test_only_silence_kills_a_process_that_misses_its_pings() -> None:
    machine = after(*TO_READY, MISSED)
    assert machine.step(SilenceMeasured(silent_ms=400)) == (AwaitOutput(after_ms=14_600),)
    assert machine.step(SilenceMeasured(silent_ms=14_999)) == (AwaitOutput(after_ms=1),)
    assert machine.state == "unresponsive"
    assert machine.step(SilenceMeasured(silent_ms=15_000)) == (
        CancelDeadline(),
        AnnounceLost("went deaf: no output for 15.0 s"),
        Kill("SIGKILL"),
    )
    assert machine.state == "killing"


def test_a_process_that_left_a_request_unanswered_is_asked_for_another() -> None:
    machine = after(*TO_READY)
    assert machine.step(Suspected("thread/start unanswered")) == (
        CancelDeadline(),
        AwaitOutput(after_ms=15_000),
        Probe(),
    )
    assert machine.state == "suspect"
    assert machine.step(Suspected("turn/start unanswered")) == ()
    assert machine.step(PingAnswered()) == (CancelDeadline(), AnnounceReady())
    assert machine.state == "retiring"


@pytest.mark.parametrize("answers", [(), (PingAnswered(),), (PingAnswered(), MISSED)])
def test_a_process_under_suspicion_is_replaced_when_no_turn_runs_on_it(
    answers: tuple[supervisor.AnyEvent, ...],
) -> None:
    machine = after(*TO_READY, Suspected("thread/start unanswered"), *answers)
    asked = machine.step(Emptied())
    assert asked[-2:] == (
        AnnounceLost("retired: thread/start unanswered"),
        Kill("SIGKILL"),
    )
    assert machine.state == "killing"
    assert machine.step(Exited(-9)) == (ScheduleRestart(delay_ms=500),)


def test_a_process_that_says_nothing_is_killed_and_started_again() -> None:
    machine = after(StartAsked(), Spawned(pid=7))
    assert machine.step(HandshakeTimedOut()) == (
        AnnounceLost("handshake timed out"),
        Kill("SIGKILL"),
    )
    assert machine.step(Exited(-9)) == (ScheduleRestart(delay_ms=500),)
    assert machine.state == "backoff"


def test_what_cannot_be_started_fails_at_once_and_is_tried_again_at_the_longest_delay() -> None:
    machine = after(StartAsked())
    for _ in range(3):
        assert machine.step(SpawnFailed("no such file: codex")) == (
            AnnounceLost("could not be started: no such file: codex"),
            ScheduleRestart(delay_ms=5_000),
        )
        assert machine.state == "failed"
        assert machine.step(BackoffElapsed()) == (Spawn(),)


def test_what_cannot_be_worked_with_is_killed_and_tried_again_at_the_longest_delay() -> None:
    machine = after(StartAsked(), Spawned(pid=7))
    assert machine.step(HandshakeFailed("0.99.0 is older than 0.163.0")) == (
        CancelDeadline(),
        AnnounceLost("handshake failed: 0.99.0 is older than 0.163.0"),
        Kill("SIGKILL"),
    )
    assert machine.step(Exited(-9)) == (ScheduleRestart(delay_ms=5_000),)
    assert machine.state == "failed"
    assert machine.step(BackoffElapsed()) == (Spawn(),)


def crash(machine: supervisor.Supervisor) -> tuple[int, str]:
    """Die once and be spawned again: the delay, and the state it was spent in."""
    *_, last = machine.step(Exited(1))
    assert isinstance(last, ScheduleRestart)
    state = machine.state
    machine.step(BackoffElapsed())
    machine.step(Spawned(pid=8))
    return last.delay_ms, state


def test_a_crash_loop_is_slowed_down_and_never_given_up() -> None:
    machine = after(StartAsked(), Spawned(pid=7))
    assert [crash(machine) for _ in range(7)] == [
        (500, "backoff"),
        (1_000, "backoff"),
        (2_000, "backoff"),
        (4_000, "backoff"),
        (5_000, "failed"),
        (5_000, "failed"),
        (5_000, "failed"),
    ]
    machine.step(HandshakeDone(version="0.163.0"))
    assert machine.state == "ready"


def test_health_begins_the_backoff_anew_and_a_mere_handshake_does_not() -> None:
    machine = after(StartAsked(), Spawned(pid=7))
    assert [crash(machine)[0] for _ in range(6)][-1] == 5_000
    machine.step(HandshakeDone(version="0.163.0"))
    assert crash(machine) == (5_000, "failed")
    machine.step(HandshakeDone(version="0.163.0"))
    machine.step(HealthProven())
    assert crash(machine) == (500, "backoff")


def test_so_does_a_new_start() -> None:
    machine = after(StartAsked(), SpawnFailed("no such file"), StopAsked(), *TO_READY)
    assert crash(machine) == (500, "backoff")


def test_an_initial_delay_over_the_longest_is_the_longest() -> None:
    limits = supervisor.Limits(backoff_initial_ms=9_000, backoff_max_ms=100)
    machine = supervisor.Supervisor(limits)
    for event in TO_READY:
        machine.step(event)
    assert [crash(machine)[0] for _ in range(2)] == [100, 100]


def test_a_stop_asks_then_insists() -> None:
    machine = after(*TO_READY)
    assert machine.step(StopAsked()) == (
        CancelDeadline(),
        AnnounceLost("asked to stop"),
        Kill("SIGTERM"),
        AwaitExit(grace_ms=5_000),
    )
    assert machine.step(StopAsked()) == ()
    assert machine.step(StopTimedOut()) == (Kill("SIGKILL"),)
    assert machine.state == "stopping"
    assert machine.step(Exited(-9)) == (CancelDeadline(),)
    assert machine.state == "stopped"
    assert machine.step(StopAsked()) == ()


def test_a_stop_during_the_spawn_waits_for_its_answer() -> None:
    machine = after(StartAsked())
    assert machine.step(StopAsked()) == (AnnounceLost("asked to stop"),)
    assert machine.step(Spawned(pid=7)) == (Kill("SIGTERM"), AwaitExit(grace_ms=5_000))
    assert machine.step(Exited(0)) == (CancelDeadline(),)
    assert machine.state == "stopped"


@pytest.mark.parametrize(
    "events",
    [
        (StartAsked(), Spawned(pid=7), Exited(1)),
        (StartAsked(), SpawnFailed("no such file")),
    ],
    ids=["backoff", "failed"],
)
def test_a_stop_while_waiting_to_restart_is_done_at_once(
    events: tuple[supervisor.AnyEvent, ...],
) -> None:
    machine = after(*events)
    assert machine.step(StopAsked()) == (CancelDeadline(),)
    assert machine.state == "stopped"
    with pytest.raises(errors.IllegalEvent):
        machine.step(BackoffElapsed())


def test_an_illegal_event_names_itself_and_changes_nothing() -> None:
    machine = after(StartAsked())
    with pytest.raises(errors.IllegalEvent) as refused:
        machine.step(HealthProven())
    assert str(refused.value) == (
        "supervisor: event 'health_proven' is illegal in state 'spawning'"
    )
    assert machine.state == "spawning"


DEADLINES: dict[type, supervisor.AnyEvent] = {
    BeginHandshake: HandshakeTimedOut(),
    AwaitHealth: HealthProven(),
    AwaitOutput: SilenceMeasured(15_000),
    AwaitExit: StopTimedOut(),
    ScheduleRestart: BackoffElapsed(),
}
"""The actions that begin a deadline, and the event that its passing is."""


class World:
    """What a supervisor acts on: at most one process, one answer and one deadline at a time."""

    def __init__(self, rng: random.Random) -> None:
        self.machine = supervisor.Supervisor(LIMITS)
        self.rng = rng
        self.spawning = False
        self.alive = False
        self.handshaking = False
        self.ready = False
        self.turns = False
        self.deadline: supervisor.AnyEvent | None = None

    def possible(self) -> list[supervisor.AnyEvent]:
        """What could happen next, but for someone's wish."""
        found: list[supervisor.AnyEvent] = []
        if self.spawning:
            found += [Spawned(pid=7), SpawnFailed("no memory")]
        if self.alive:
            found.append(Exited(self.rng.choice([0, 1, -9, -15])))
        if self.handshaking:
            found += [HandshakeDone(version="0.163.0"), HandshakeFailed("too old")]
        if self.turns:
            found.append(WentDeaf("unreadable"))
            found.append(Suspected("unanswered"))
            found.append(PingMissed(3_000) if self.ready else PingAnswered())
        if self.machine.state in ("suspect", "retiring"):
            found.append(Emptied())
        if isinstance(self.deadline, SilenceMeasured):
            found.append(SilenceMeasured(1))
        if self.deadline is not None:
            found.append(self.deadline)
        return found

    def step(self, event: supervisor.AnyEvent) -> None:
        """Let it happen, and do what the supervisor says."""
        if event is self.deadline or isinstance(event, SilenceMeasured):
            self.deadline = None
        match event:
            case PingMissed() | Suspected():
                self.ready = False
            case Spawned():
                self.spawning, self.alive = False, True
            case SpawnFailed():
                self.spawning = False
            case Exited():
                self.alive = self.handshaking = False
            case HandshakeDone() | HandshakeFailed() | HandshakeTimedOut():
                self.handshaking = False
        for action in self.machine.step(event):
            self.do(action)
        assert self.ready == (self.machine.state in ("ready", "retiring"))

    def do(self, action: AnyAction) -> None:
        """Carry an action out, or complain that it cannot be."""
        if type(action) in DEADLINES:
            assert self.deadline is None, "a second deadline"
            self.deadline = DEADLINES[type(action)]
        match action:
            case Spawn():
                assert not self.spawning
                assert not self.alive, "a second process"
                self.spawning = True
            case BeginHandshake():
                self.handshaking = True
            case AnnounceReady():
                assert self.alive
                self.ready = self.turns = True
            case AnnounceLost():
                self.ready = self.turns = False
            case Kill():
                assert self.alive, "a signal to nobody"
            case ScheduleRestart(delay_ms):
                assert not self.alive
                assert (self.machine.state == "failed") == (delay_ms == LIMITS.backoff_max_ms)
                assert LIMITS.backoff_initial_ms <= delay_ms <= LIMITS.backoff_max_ms
            case CancelDeadline():
                self.deadline = None
                self.handshaking = False


@pytest.mark.parametrize("seed", range(50))
def test_whatever_happens_there_is_one_process_or_a_way_to_one(seed: int) -> None:
    rng = random.Random(seed)
    world = World(rng)
    for _ in range(400):
        wishes = [StartAsked()] if world.machine.state == "stopped" else world.possible()
        assert wishes, f"stuck in {world.machine.state}"
        world.step(StopAsked() if rng.random() < 0.05 else rng.choice(wishes))
        assert world.ready == (world.machine.state in ("ready", "retiring"))


@pytest.mark.parametrize("seed", range(50))
def test_a_stop_ends_in_stopped_with_nothing_left(seed: int) -> None:
    rng = random.Random(seed)
    world = World(rng)
    world.step(StartAsked())
    for _ in range(rng.randint(0, 30)):
        world.step(rng.choice(world.possible()))
    world.step(StopAsked())
    for _ in range(4):
        if world.machine.state == "stopped":
            break
        world.step(world.possible()[-1] if world.deadline else world.possible()[0])
    assert world.machine.state == "stopped"
    assert not world.possible()
