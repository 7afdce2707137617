"""Every order in which a stream, its turn, its thread, its client and their timers can happen.

Theory of operation. A `World` is one request on the Codex worker, and a second that may bring
results or go on. It holds the machines that run in the product, and of everything else (the
app-server, the client, the clock, texts) only what tells one state from another.
`World.happenings` names what can happen next; `explore` tries all of it from every state, breadth
first, until no state is new. Each state keeps the one it was first reached from, so that a rule
that is broken is told as the shortest story that breaks it.

What the engine does between the machines is written here a second time, as short as it can be. The
simulator plays the engine itself, whose every step must be one that the machines have.
"""

import collections
import copy
import enum
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from machines import events, outputs
from machines.stream import machine as stream, states
from machines.turn import thread as threads, turn as turns
from machines.turn.machine import TurnOnThread

TRIES = 3
"""Attempts of a request, as `engine.failures.BEFORE_OUTPUT_RETRIES` has it."""

DEMANDS = 2
"""How often a call is demanded, as `engine.codex.turns.attempt.CALL_DEMANDS` has it."""


class Mode(enum.Enum):
    """What the client asked for: words, words or calls, or calls alone."""

    WORDS = enum.auto()
    TOOLS = enum.auto()
    REQUIRED = enum.auto()


class Codex(enum.Enum):
    """What the app-server has of a thread."""

    NOTHING = enum.auto()
    STARTING = enum.auto()
    RUNNING = enum.auto()
    OVER = enum.auto()


class Broken(Exception):
    """Raised where a rule is broken."""


class Lane:
    """One attempt: its machines, and what the app-server has of them.

    Attributes:
        holds_place: whether it has a place on the process.
        asked: whether Codex waits for a result.
        interrupted: whether an interrupt is unanswered.
        text: whether the model has begun a message.
        failed: whether it came to a failure that its task has not seen yet; and whether that
            allows another attempt.
    """

    def __init__(self) -> None:
        self.machines = TurnOnThread()
        self.codex = Codex.NOTHING
        self.holds_place = True
        self.asked = False
        self.interrupted = False
        self.text = False
        self.demands = 0
        self.failed: tuple[str, bool] | None = None

    def key(self) -> tuple[Any, ...]:
        its = self.machines
        said = (self.asked, self.interrupted, self.text, self.demands, self.failed)
        return (its.turn, its.thread, its.heard, self.codex, self.holds_place, *said)


class World:
    """One request, and the next that may go on with its thread."""

    def __init__(self, mode: Mode, usage: bool = True) -> None:
        self.mode = mode
        self.usage = usage
        self.alive = True
        self.requests = 1
        self.tries = 1
        self.lanes = [Lane()]
        self.parked = False
        self._open()

    def _open(self) -> None:
        opened = events.Opened(
            request_id="r",
            completion_id="c",
            created=0,
            model="m",
            target="m",
            worker="codex",
            include_usage=self.usage,
        )
        self.stream = stream.Stream(opened)
        self.said: tuple[str, ...] = ()
        self.last = ""
        self.muted = False
        self.terminals = 0

    def copy(self) -> "World":
        """Copy it as far as a happening may change it in place."""
        made = copy.copy(self)
        made.lanes = [copy.copy(lane) for lane in self.lanes]
        for lane in made.lanes:
            lane.machines = copy.copy(lane.machines)
        return made

    @property
    def lane(self) -> Lane:
        """The attempt at hand."""
        return self.lanes[-1]

    @property
    def quiet(self) -> bool:
        """Whether nothing is left to happen: the stream has ended and no thread is held."""
        at_rest = all(lane.machines.thread in threads.TABLE.final for lane in self.lanes)
        return self.stream.ended and at_rest

    def key(self) -> tuple[Any, ...]:
        """What tells this state from others."""
        lanes = tuple(lane.key() for lane in self.lanes)
        if self.stream.ended:  # and so nothing of it can matter any more
            return (self.alive, self.requests, self.parked, lanes)
        choice = self.stream.choices[0]
        counted, waiting = choice.counts is not None, choice.tools.has_waiting_calls
        told = (choice.state, counted, waiting, self.said)
        return (*told, self.alive, self.requests, self.tries, lanes)

    # --- What can happen ---

    def happenings(self) -> Iterator[tuple[str, Callable[["World"], None]]]:
        """What can happen next, by name."""
        if self.alive:
            yield "the process dies", World.die
        if not self.stream.ended:
            yield from self._of_the_client()
        for index, lane in enumerate(self.lanes):
            for name, act in self._of_a_lane(lane):
                yield f"{name}", _in_lane(index, act)
        if self.parked:
            yield "the thread expires", World.expire
            yield "another thread waits instead", World.evict
            if self.requests == 1 and self.stream.ended:
                yield "the client goes on", World.resume
                yield "the client goes on and there is no place", World.no_place

    def _of_the_client(self) -> Iterator[tuple[str, Callable[["World"], None]]]:
        yield "the client leaves", lambda its: its.feed(events.ClientGone("left"))
        yield "the server stops", lambda its: its.feed(events.ServerStopping())
        state = self.stream.choices[0].state
        timers: dict[events.TimerName, frozenset[str]] = {
            name: states.TIMEOUTS[name][0] for name in ("first_chunk", "idle")
        }
        timers["head_hold"] = frozenset({states.HELD})
        timers["finish_grace"] = frozenset({states.FINISH})
        for name, counted in timers.items():
            if state in counted:
                yield f"{name} passes", _passes(name)

    def _of_a_lane(self, lane: Lane) -> Iterator[tuple[str, Callable[["World", Lane], None]]]:
        its = lane.machines
        if lane.failed is not None and not self.muted:
            yield "the attempt ends", World.attempt_ended
        if lane is self.lane and its.thread == threads.NEW and not self.muted:
            yield "the thread is asked for", World.start
        if lane.codex is Codex.STARTING and self.alive:
            yield "the thread starts", World.started
            yield "the thread is refused", World.start_refused
        yield from self._of_the_way_out(lane)
        if its.thread == threads.ASKED:
            yield "patience ends", World.lose_patience
        if its.turn in turns.DEADLINES:
            yield "the end is overdue", World.overdue
        if its.turn == turns.OWING and not self.muted and lane.failed is None:
            yield "the call is demanded", World.demand
        if lane.codex is Codex.RUNNING and self.alive and not lane.interrupted:
            yield from self._of_codex(lane)
            if its.thread not in (*threads.TABLE.final, threads.WAITING):
                yield "a bug is met", World.bug

    def _of_the_way_out(self, lane: Lane) -> Iterator[tuple[str, Callable[["World", Lane], None]]]:
        if lane.interrupted and self.alive:
            yield "the interrupt is answered", World.interrupt_answered
            yield "the interrupt is refused", World.interrupt_refused
            yield "the interrupt is ignored", World.interrupt_ignored
        if lane.machines.thread in (threads.INTERRUPTING, threads.ORPHANED):
            yield "its release fails", World.release_failed

    def _of_codex(self, lane: Lane) -> Iterator[tuple[str, Callable[["World", Lane], None]]]:
        if lane.machines.thread == threads.WAITING:
            if not lane.asked:
                yield "a result is asked for", World.ask_result
            yield "a bug is met", World.bug
            return
        yield "an item starts", World.item_started
        yield "a message begins", World.message
        yield "a thought begins", World.thought
        if lane.text:
            yield "a message is whole", World.message_whole
        if lane.text and _may_conclude(lane) and self.mode is not Mode.REQUIRED:
            yield "the turn is completed, with nothing beside it", World.concluded
        if self.mode is Mode.WORDS:
            yield "the turn is completed", World.completed
        else:
            yield "a step is whole", World.step_whole
            yield "a step calls", World.step_called
            yield "a step calls what Codex answers", World.step_unanswerable
            if lane.machines.thread != threads.REFUSING or not lane.asked:
                yield "a result is asked for", World.ask_result
            yield "the turn is completed", World.completed
        yield "the turn is refused", World.refused
        yield "the turn is refused for now", World.refused_for_now
        yield "a request about it fails", World.request_failed

    # --- What follows, as the engine has it ---

    def feed(self, event: events.StreamInput) -> None:
        """Step the stream, hold what it says against the rules, and end it as the pump does."""
        if self.stream.ended:
            return
        self.stream = copy.deepcopy(self.stream, {id(self.stream.opened): self.stream.opened})
        for output in self.stream.step(event).outputs:
            self._hear(output)
        if self.stream.ended:
            self._stream_ended()

    def _hear(self, output: outputs.AnyOutput) -> None:
        word = type(output).__name__
        if self.last in ("Done", "Failure", "Rejected"):
            raise Broken(f"{word} behind the end")
        if word in ("Role", "Finish", "UsageTotals", "Done") and word in self.said:
            raise Broken(f"a second {word}")
        if word in ("Content", "ToolCall") and ("Finish" in self.said or "Role" not in self.said):
            raise Broken(f"{word} in the wrong place")
        if word == "Done" and "Finish" not in self.said:
            raise Broken("[DONE] without a finish")
        self.last = word
        if word not in self.said and word not in ("Content", "Reasoning", "Keepalive"):
            self.said = (*self.said, word)

    def _stream_ended(self) -> None:
        """Keep the turn or cancel it: what `Pump._end` does."""
        self.terminals += 1
        if self.terminals > 1:
            raise Broken("a second terminal record")
        completed = self.stream.kind == "completed"
        if completed != (self.last == "Done"):
            raise Broken(f"{self.stream.kind} was told as {self.said}")
        self.muted = True
        lane = self.lane
        if completed and lane.machines.thread == threads.IDLE:
            self.parked = True
        elif lane.machines.thread == threads.IDLE:
            self._thread(lane, threads.Event.NOT_KEPT)
        elif completed and lane.machines.thread == threads.WAITING:
            self.parked = True
            self._leave(lane)
        elif lane.machines.thread == threads.WAITING:
            self._thread(lane, threads.Event.GIVEN_UP)
        elif not lane.machines.ended or lane.machines.turn == turns.OWING:
            self._turn(lane, turns.Event.CANCEL)

    def _turn(self, lane: Lane, event: turns.Event, answerable: bool = True) -> None:
        for action in lane.machines.take_turn_event(event, answerable).actions:
            self._act(lane, action)

    def _thread(self, lane: Lane, event: threads.Event) -> None:
        for action in lane.machines.take_thread_event(event).actions:
            self._act(lane, action)

    def _act(self, lane: Lane, action: threads.Action) -> None:
        if action in (threads.Action.LEAVE, threads.Action.REST, threads.Action.ABANDON):
            self._leave(lane)
        elif action is threads.Action.INTERRUPT:
            lane.interrupted = True
        elif action is threads.Action.UNSUBSCRIBE and lane.codex is not Codex.RUNNING:
            lane.codex = Codex.NOTHING
        elif action is threads.Action.REFUSE_RESULTS:
            lane.asked = False

    def _leave(self, lane: Lane) -> None:
        lane.holds_place = False  # a second time is allowed: a thread that waits has left before

    def start(self, lane: Lane) -> None:
        self._thread(lane, threads.Event.START_SENT)
        if self.alive:
            lane.codex = Codex.STARTING
        else:
            self._lose(lane)

    def started(self, lane: Lane) -> None:
        wanted = lane.machines.thread == threads.STARTING
        lane.codex = Codex.RUNNING if wanted else Codex.OVER
        self._thread(lane, threads.Event.STARTED)

    def start_refused(self, lane: Lane) -> None:
        lane.codex = Codex.NOTHING
        self._thread(lane, threads.Event.START_REFUSED)
        if not lane.machines.ended:
            self._fail(lane, turns.Event.STOPPED, "refused", retryable=True)

    def interrupt_answered(self, lane: Lane) -> None:
        lane.interrupted, lane.codex = False, Codex.OVER
        self._thread(lane, threads.Event.INTERRUPTED)

    def interrupt_refused(self, lane: Lane) -> None:
        self._thread(lane, threads.Event.INTERRUPT_REFUSED)

    def interrupt_ignored(self, lane: Lane) -> None:
        lane.interrupted = False
        self._thread(lane, threads.Event.INTERRUPT_IGNORED)

    def release_failed(self, lane: Lane) -> None:
        lane.interrupted, lane.codex = False, Codex.OVER
        self._thread(lane, threads.Event.RELEASE_FAILED)

    def item_started(self, lane: Lane) -> None:
        if not lane.machines.ended:
            self._turn(lane, turns.Event.ITEM_STARTED)
        self.feed_from(lane, events.ItemStarted("agentMessage"))

    def message(self, lane: Lane) -> None:
        if lane.machines.ended:
            return
        lane.text = True
        if self.mode is Mode.REQUIRED:
            self._turn(lane, turns.Event.KEPT_BACK)
        else:
            self._turn(lane, turns.Event.SPOKE)
            self.feed_from(lane, events.TextDelta("x"))

    def thought(self, lane: Lane) -> None:
        if not lane.machines.ended:
            self._turn(lane, turns.Event.SPOKE)
            self.feed_from(lane, events.ReasoningDelta("x"))

    def message_whole(self, lane: Lane) -> None:
        if self.mode is Mode.WORDS and not lane.machines.ended:
            self._turn(lane, turns.Event.ITEM_WHOLE)

    def step_whole(self, lane: Lane) -> None:
        if not lane.machines.ended and lane.text and lane.machines.turn != turns.SILENT:
            lacking = self.mode is Mode.REQUIRED
            self._turn(lane, turns.Event.STEP_LACKING if lacking else turns.Event.STEP_WHOLE)

    def step_called(self, lane: Lane, answerable: bool = True) -> None:
        if lane.machines.ended:
            return
        self._turn(lane, turns.Event.STEP_CALLED, answerable)
        self.feed_from(lane, events.ToolCalled("c", "f", "{}"))
        self.feed_from(lane, events.TokensCounted(events.Usage(1, 1)))
        self.feed_from(lane, events.TurnFinished("tool_calls"))

    def step_unanswerable(self, lane: Lane) -> None:
        self.step_called(lane, answerable=False)

    def ask_result(self, lane: Lane) -> None:
        refusing = lane.machines.thread == threads.REFUSING
        lane.asked = not refusing
        if not lane.machines.ended:
            self._thread(lane, threads.Event.RESULT_ASKED)

    def lose_patience(self, lane: Lane) -> None:
        self._thread(lane, threads.Event.PATIENCE_LOST)

    def completed(self, lane: Lane) -> None:
        lane.codex = Codex.OVER
        if lane.machines.ended:
            return
        if self.mode is Mode.REQUIRED:
            self._turn(lane, turns.Event.CALL_MISSING)
            if lane.demands == DEMANDS:
                self._fail(lane, turns.Event.DEMANDS_SPENT, "uncalled", retryable=False)
            return
        self._turn(lane, turns.Event.COMPLETED)
        self._finish(lane)

    def concluded(self, lane: Lane) -> None:
        lane.codex = Codex.OVER
        self._turn(lane, turns.Event.CONCLUDED)
        self._finish(lane)

    def _finish(self, lane: Lane) -> None:
        if lane.machines.turn == turns.OVER:
            self.feed_from(lane, events.TokensCounted(None))
            self.feed_from(lane, events.TurnFinished("stop"))

    def demand(self, lane: Lane) -> None:
        lane.demands += 1
        lane.text = False
        self._turn(lane, turns.Event.DEMANDED)
        lane.codex = Codex.RUNNING

    def overdue(self, lane: Lane) -> None:
        lacking = lane.machines.turn == turns.LACKING
        if lacking:
            self._fail(lane, turns.Event.OVERDUE, "uncalled", retryable=False)
        else:
            self._turn(lane, turns.Event.OVERDUE)
            self._finish(lane)

    def refused(self, lane: Lane) -> None:
        lane.codex = Codex.OVER
        self._fail(lane, turns.Event.REFUSED, "refused", retryable=False)

    def refused_for_now(self, lane: Lane) -> None:
        lane.codex = Codex.OVER
        self._fail(lane, turns.Event.REFUSED, "refused", retryable=True)

    def request_failed(self, lane: Lane) -> None:
        self._fail(lane, turns.Event.STOPPED, "deaf", retryable=True)

    def bug(self, lane: Lane) -> None:
        if lane.machines.thread == threads.WAITING:
            self._thread(lane, threads.Event.GIVEN_UP)
        else:
            self._fail(lane, turns.Event.STOPPED, "defect", retryable=False)

    def _fail(self, lane: Lane, event: turns.Event, code: str, retryable: bool) -> None:
        spent = event is turns.Event.DEMANDS_SPENT
        if lane.machines.ended and not spent and lane.machines.turn != turns.OWING:
            return
        if lane.machines.turn == turns.OWING and event is turns.Event.REFUSED:
            return
        self._turn(lane, event)
        lane.failed = (code, retryable)

    def attempt_ended(self, lane: Lane) -> None:
        assert lane.failed is not None
        code, retryable = lane.failed
        lane.failed = None
        if self.requests == 2 and retryable and not lane.machines.heard:
            self._again()  # what was parked or idle is gone: the history is sent anew
        elif retryable and not lane.machines.heard and self.tries < TRIES and self.alive:
            self.tries += 1
            self._again()
        else:
            self.feed(events.TurnFailed("upstream_error", code, "m"))

    def _again(self) -> None:
        if "Role" in self.said:
            raise Broken("tried again after the client had heard something")
        if self.lane.machines.thread not in threads.UNWANTED:
            raise Broken("tried again while the thread may go on")
        # What becomes of the thread has nothing to do with the stream any more, and is found
        # where the stream ends in the same state of the thread.
        self.lanes = [Lane()]

    def die(self) -> None:
        self.alive = False
        for lane in self.lanes:
            lane.interrupted, lane.codex, lane.asked = False, Codex.NOTHING, False
            if lane.machines.thread not in (*threads.TABLE.final, threads.NEW):
                self._lose(lane)

    def _lose(self, lane: Lane) -> None:
        its = lane.machines
        if its.turn in turns.TABLE.final:
            self._thread(lane, threads.Event.PROCESS_LOST)
            return
        self._turn(lane, turns.Event.LOST)
        if its.turn == turns.FAILED:
            lane.failed = ("lost", True)
        self._finish(lane)

    def feed_from(self, lane: Lane, event: events.StreamInput) -> None:
        """Feed what a lane says, unless nobody listens to it."""
        if lane is self.lane and not self.muted:
            self.feed(event)

    def expire(self) -> None:
        self._let_go(threads.Event.EXPIRED)

    def evict(self) -> None:
        self._let_go(threads.Event.EVICTED)

    def no_place(self) -> None:
        self._let_go(threads.Event.GIVEN_UP)

    def _let_go(self, event: threads.Event) -> None:
        self.parked = False
        if self.lane.machines.thread == threads.WAITING:
            self._thread(self.lane, event)
        elif self.lane.machines.thread == threads.IDLE:
            given_up = event is threads.Event.GIVEN_UP
            self._thread(self.lane, threads.Event.NOT_KEPT if given_up else event)

    def resume(self) -> None:
        self.parked = False
        idle = self.lane.machines.thread == threads.IDLE
        if not idle and self.lane.machines.thread != threads.WAITING:
            return
        self.requests, self.tries = 2, 1
        self._open()
        self.lane.holds_place = True
        self.lane.asked = self.lane.text = False
        self.lane.codex = Codex.RUNNING
        self._thread(self.lane, threads.Event.REUSED if idle else threads.Event.RESUMED)

    # --- What must hold ---

    def check(self) -> None:
        """Hold the state against the rules.

        Raises:
            Broken: with the rule.
        """
        for lane in self.lanes:
            if _at_rest(lane) and lane.holds_place:
                raise Broken("a thread that is at rest holds a place")
        if self.stream.ended:
            for lane in self.lanes:
                held = lane.holds_place and not (lane.interrupted or lane.codex is Codex.STARTING)
                if held and lane.machines.thread != threads.NEW:
                    raise Broken("the stream has ended and a place is held for nothing")


def _may_conclude(lane: Lane) -> bool:
    speaks = lane.machines.turn in (turns.SPEAKING, turns.WHOLE)
    return speaks and lane.machines.thread == threads.RUNNING


def _at_rest(lane: Lane) -> bool:
    return lane.machines.thread in threads.TABLE.final


def _in_lane(index: int, act: Callable[[World, Lane], None]) -> Callable[[World], None]:
    return lambda world: act(world, world.lanes[index])


def _passes(timer: Any) -> Callable[[World], None]:
    return lambda world: world.feed(events.TimerFired(timer))


class Reached(NamedTuple):
    """A state, and how it was first reached."""

    before: tuple[Any, ...] | None
    by: str
    quiet: bool


class Space:
    """All states of one mode.

    Attributes:
        states: by key.
        steps: how many steps lead from any to any.
    """

    def __init__(self, mode: Mode, usage: bool) -> None:
        self.states: dict[tuple[Any, ...], Reached] = {}
        self.steps = 0
        self._into: dict[tuple[Any, ...], set[tuple[Any, ...]]] = collections.defaultdict(set)
        self._explore(World(mode, usage))

    def story(self, key: tuple[Any, ...]) -> list[str]:
        """What happened until a state was first reached."""
        told: list[str] = []
        reached = self.states[key]
        while reached.before is not None:
            told.append(reached.by)
            reached = self.states[reached.before]
        return told[::-1]

    def dead_ends(self) -> list[tuple[Any, ...]]:
        """States that lead to no quiet one, those nearest to the beginning first."""
        live = [key for key, reached in self.states.items() if reached.quiet]
        found = set(live)
        while live:
            for before in self._into[live.pop()] - found:
                found.add(before)
                live.append(before)
        return [key for key in self.states if key not in found]

    def _explore(self, first: World) -> None:
        self.states[first.key()] = Reached(None, "", first.quiet)
        waiting = collections.deque([first])
        while waiting:
            world = waiting.popleft()
            key = world.key()
            for name, act in world.happenings():
                after = world.copy()
                try:
                    act(after)
                    after.check()
                except Exception as broken:
                    story = [*self.story(key), name]
                    raise Broken(f"{broken}:\n  " + "\n  ".join(story)) from broken
                reached = after.key()
                self.steps += 1
                self._into[reached].add(key)
                if reached not in self.states:
                    self.states[reached] = Reached(key, name, after.quiet)
                    waiting.append(after)
