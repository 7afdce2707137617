"""Drives one stream: event -> machine -> log -> sink; its deadlines, its turns, its one ending.

`Pump.event` is the second of a token's four files. It is a plain call from the reader of the
worker's output; what it produces waits in the log and in the sink until the wake-up is over, and
then `Wakeups` writes the records of every stream with one write(2) before any of their bytes go
out.
"""

import asyncio
import enum
from collections.abc import Callable
from typing import Final, NamedTuple, Protocol

import msgspec
import structlog

from engine import log as eventlog
from engine import worker
from machines import errors, events, outputs, stream, streamstates

FINAL: Final = streamstates.TABLE.final
"""States that nothing leads out of."""

DEFECT: Final = events.TurnFailed("upstream_error", "internal_error", "Internal error.")
"""What a bug of ours is to the stream that it hit."""

SHARED: Final = -1
"""In place of a choice: of a turn that answers several."""

_TOKENS: Final = (
    events.TextDelta,
    events.ReasoningDelta,
    events.ToolCalled,
    events.ToolCallDelta,
)
"""What the model makes."""

_log = structlog.get_logger(component="pump")


class Deadlines(msgspec.Struct, frozen=True):
    """Limits of a stream in microseconds; 0 means none. Defaults as `docs/configuration.md`."""

    heartbeat: int = 15_000_000
    head_hold: int = 30_000_000
    first_chunk: int = 300_000_000
    idle: int = 300_000_000
    total: int = 0
    finish_grace: int = 1_000_000
    truncate: int = 0
    tool_grace: int = 0


class Summary(msgspec.Struct, frozen=True):
    """What a sink made of a stream: the part of the terminal record that only it knows."""

    status: int
    frames: int
    body_bytes: int
    body_hash: str


class Part(NamedTuple):
    """What one wake-up made of a stream's body.

    Attributes:
        status: HTTP status of the answer; 0 while there is none.
        last: whether the body ends with this part.
        ending: what tells the client so, where that must wait for more than the records.
    """

    status: int
    data: bytes
    last: bool
    ending: bytes = b""


class Sink(Protocol):
    """Where a stream's outputs become bytes."""

    def take(self, outputs: tuple[outputs.AnyOutput, ...], now: int) -> None:
        """Render outputs of a step that was recorded at `now`, and keep the bytes."""

    def take_texts(self, choice: int, texts: list[str]) -> None:
        """Render a `Content` for each of the texts and keep the bytes."""

    def collect(self) -> Part:
        """Hand over what was kept since the last call."""

    def send(self, part: Part) -> None:
        """Send a part whose records are on file."""

    def summary(self) -> Summary:
        """Of everything taken so far."""


class WakeupPhase(enum.Enum):
    """Whether a wake-up is on, and how it will end."""

    NONE = enum.auto()
    ENDS_LATER = enum.auto()
    IN_READ = enum.auto()


class Wakeups:
    """Joins what one wake-up of the event loop produced: first the records, then the bytes."""

    def __init__(self, loop: asyncio.AbstractEventLoop, log: eventlog.EventLog) -> None:
        self._loop = loop
        self._log = log
        self._sinks: dict[Sink, None] = {}
        self._pumps: list[Pump] = []
        self._phase = WakeupPhase.NONE

    def join(self, sink: Sink) -> None:
        """Have `sink` sent when the current wake-up is over."""
        self._begin()
        self._sinks[sink] = None

    def settle_later(self, pump: "Pump") -> None:
        """Have `pump` settle its texts when the current wake-up is over."""
        self._begin()
        self._pumps.append(pump)

    def read(self, take: Callable[[bytes], None], data: bytes) -> None:
        """Take what one read brought as a wake-up of its own: it spares the loop a round."""
        if self._phase is WakeupPhase.NONE:
            self._phase = WakeupPhase.IN_READ
        try:
            take(data)
        finally:
            if self._phase is WakeupPhase.IN_READ:
                self._end()

    def _begin(self) -> None:
        if self._phase is WakeupPhase.NONE:
            self._phase = WakeupPhase.ENDS_LATER
            self._loop.call_soon(self._end)

    def _end(self) -> None:
        pumps, self._pumps = self._pumps, []
        for pump in pumps:
            try:
                pump.settle()
            except Exception:  # what it had to say is lost, so it must not end as if it were whole
                _log.exception("settling_failed")
                pump.event(DEFECT)
        self._phase = WakeupPhase.NONE
        sinks, self._sinks = self._sinks, {}
        self._log.flush()
        # Collected now: what is rendered before the disk has answered belongs to a later group.
        parts = [(sink, sink.collect()) for sink in sinks]
        self._log.when_durable(lambda: self._send(parts))

    def _send(self, parts: list[tuple[Sink, Part]]) -> None:
        for sink, part in parts:
            try:
                sink.send(part)
            except Exception:  # one stream's defect must not take the others' bytes along
                _log.exception("sink_failed")


class Pump:
    """One stream in motion.

    Args:
        opened: the stream's first record.
        log: where its records go.
        sink: where its outputs go.
        on_end: called once with the terminal record, after everything was released.
    """

    def __init__(
        self,
        opened: events.Opened,
        log: eventlog.StreamLog,
        sink: Sink,
        wakeups: Wakeups,
        deadlines: Deadlines,
        on_end: Callable[[events.Terminal], None],
    ) -> None:
        self.stream = stream.Stream(opened)
        self._log = log
        self._sink = sink
        self._wakeups = wakeups
        self._deadlines = deadlines
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._turns: dict[int, worker.RunningTurn] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._state = "held"
        self._opened_at = log.open(opened)
        self._last_event = self._opened_at
        self._last_output = self._opened_at
        self._finished_at = 0
        self._called_at = 0
        self._pressed_at = 0
        self._first_token_at = 0
        self._longest_gap = 0
        self._texts: list[str] = []
        self._texts_choice = 0
        self._wakeups.join(sink)
        self._arm()

    def run(self, runner: worker.Runner, turn: worker.Turn) -> None:
        """Have a worker begin the turn of one choice."""
        running = runner.run(turn, self)
        if self._state in FINAL:  # it failed before it began
            running.cancel()
        else:
            self._turns[turn.choice if turn.choices == 1 else SHARED] = running

    def event(self, event: events.StreamInput) -> None:
        """Take one event: the hot path of a token.

        Texts that the machine passes as they are wait for the end of the wake-up, or for the
        next event that is not one of them.
        """
        if type(event) is events.TextDelta and self.stream.passes(event.choice, event.text):
            if event.choice != self._texts_choice or not self._texts:
                self.settle()
                self._texts_choice = event.choice
                self._wakeups.settle_later(self)
            self._texts.append(event.text)
            return
        if self._texts:
            self.settle()
        self._step(event)

    def settle(self) -> None:
        """Record and render the texts that wait, at once for all of them."""
        if not self._texts:
            return
        texts, self._texts = self._texts, []
        now = self._log.append_texts(self._texts_choice, texts)
        self._heard(now)
        self._last_output = now
        self._sink.take_texts(self._texts_choice, texts)
        self._wakeups.join(self._sink)

    def _heard(self, now: int) -> None:
        if now - self._last_event > self._longest_gap:
            self._longest_gap = now - self._last_event
        self._last_event = now

    def _step(self, event: events.StreamInput) -> None:
        if self._state in FINAL:
            return
        try:
            step = self.stream.step(event)
        except errors.IllegalEvent as error:
            _log.error("illegal_event", machine=error.machine, state=error.state, got=error.event)
            event = DEFECT
            step = self.stream.step(event)
        now = self._log.append(event, step)
        self._heard(now)
        if step.outputs:
            self._last_output = now
            self._sink.take(step.outputs, now)
        self._wakeups.join(self._sink)
        moved = step.state != self._state or len(step.outputs) > 1
        if moved or step.state in ("tool_buffering", "finish"):
            self._moved(event, step, now)

    def pressed(self, buffered: int) -> None:
        """The client reads too slowly: `buffered` bytes wait for it."""
        self.event(events.BufferPressure(buffered))
        self._pressed_at = self._last_event
        for turn in self._turns.values():
            turn.pause()

    def relieved(self) -> None:
        """The client has caught up: the worker's silence begins now, for until now it was held."""
        self._pressed_at = 0
        self._last_event = self._log.now()
        if self._state not in FINAL:
            self._arm()
        for turn in self._turns.values():
            turn.resume()

    def tick(self, timer: events.TimerName) -> None:
        """Take a deadline that has passed: unlike a worker's event, it is no sign of life."""
        self.settle()
        last_event, longest_gap = self._last_event, self._longest_gap
        self.event(events.TimerFired(timer))
        self._last_event, self._longest_gap = last_event, longest_gap

    def _moved(self, event: events.StreamInput, step: outputs.Step, now: int) -> None:
        """What changes with the state, a handful of times a stream."""
        self._state = step.state
        if self._first_token_at == 0 and isinstance(event, _TOKENS):
            self._first_token_at = now
        for output in step.outputs:
            self._act(output, now)
        if step.state in FINAL:
            self._end(now)
            return
        if self.stream.position == "finish":
            self._finished_at = self._finished_at or now
        self._arm()

    def _act(self, output: outputs.AnyOutput, now: int) -> None:
        """What an output means to the pump itself."""
        match output:
            case outputs.CancelTurn(choice):
                # A turn for several choices goes on for the others, and ends with the stream.
                turn = self._turns.pop(choice, None)
                if turn is not None:
                    turn.cancel()
            case outputs.ToolCall() | outputs.ToolArguments():
                self._called_at = now
            case outputs.ToolBufferAborted(reason):
                request_id = self.stream.opened.request_id
                _log.warning("tool_buffer_aborted", reason=reason, req_id=request_id)

    def _end(self, now: int) -> None:
        """The one place that releases what a stream holds, on every path."""
        if self._timer is not None:
            self._timer.cancel()
        # A client that was not told of every call can never bring every result.
        whole = self.stream.kind == "completed" and not self.stream.withheld
        while self._turns:
            turn = self._turns.popitem()[1]
            if whole:
                turn.keep()
            else:
                turn.cancel()
        terminal = self._terminal(now)
        self._log.close(terminal, self._state)
        self._on_end(terminal)

    def _terminal(self, now: int) -> events.Terminal:
        summary = self._sink.summary()
        machine = self.stream
        assert machine.kind is not None
        return events.Terminal(
            kind=machine.kind,
            emission_trigger=machine.emission_trigger,
            status=summary.status,
            finish_reasons=tuple(choice.reason for choice in machine.choices),
            finish_words=tuple(choice.word for choice in machine.choices),
            code=machine.failure.code if machine.failure is not None else None,
            cause=machine.cause,
            usage=machine.usage,
            frames=summary.frames,
            body_bytes=summary.body_bytes,
            body_hash=summary.body_hash,
            ttft_us=self._first_token_at - self._opened_at if self._first_token_at else None,
            duration_us=now - self._opened_at,
            longest_gap_us=self._longest_gap,
            **machine.tool_totals(),
        )

    def _due(self) -> dict[events.TimerName, int]:
        """When each deadline that counts in this state passes, in log time."""
        limits = self._deadlines
        due: dict[events.TimerName, int] = {}
        streaming = self.stream.opened.streaming
        position = self.stream.position
        if limits.total and position != "finish":
            due["total"] = self._opened_at + limits.total
        if position in ("held", "role") and limits.first_chunk:
            due["first_chunk"] = self._opened_at + limits.first_chunk
        if position == "held" and streaming and limits.heartbeat and limits.head_hold:
            due["head_hold"] = self._opened_at + limits.head_hold
        if position in ("content", "tool_buffering") and limits.idle and not self._pressed_at:
            due["idle"] = self._last_event + limits.idle
        if position in ("content", "tool_buffering") and limits.tool_grace and self.stream.bursts:
            due["tool_grace"] = self._called_at + limits.tool_grace
        if position == "finish":
            due["finish_grace"] = self._finished_at + limits.finish_grace
        if position != "held" and streaming and limits.heartbeat:
            due["heartbeat"] = self._last_output + limits.heartbeat
        if not streaming and limits.truncate and position != "finish":
            due["truncate"] = self._opened_at + limits.truncate
        return due

    def _arm(self) -> None:
        """Sleep until the next deadline; tokens move deadlines, but never the timer."""
        if self._timer is not None:
            self._timer.cancel()
        due = self._due()
        if due:
            delay = max(0, min(due.values()) - self._log.now())
            self._timer = self._loop.call_later(delay / 1_000_000, self._wake)

    def _wake(self) -> None:
        self.settle()
        now = self._log.now()
        for timer, when in sorted(self._due().items(), key=lambda item: item[1]):
            if when <= now and self._state not in FINAL:
                self.tick(timer)
        if self._state not in FINAL:
            self._arm()
