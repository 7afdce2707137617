"""Drives one stream: event -> machine -> log -> sink; its deadlines, its turns, its one ending.

`Pump.event` is where a token is taken, and `Pump.flush_texts` where it is flushed. Both are plain
calls, the one from the reader of the worker's output and the other from `engine.stream.wakeups`,
which writes the records of every stream before any of their bytes go out.

Nothing that is called from outside raises. A bug of ours, wherever it is met on the way of an
event, ends the stream that it hit: by the machine's own answer to `DEFECT` where that still
works, and else by cutting the answer. Either way there is one terminal record, of kind `defect`.
"""

import asyncio
import collections
import enum
import operator
from collections.abc import Callable, Iterable
from typing import Final

import msgspec
import structlog

from engine import containment, pieces, worker
from engine.containment import Boundary
from engine.log import event_log as eventlog
from engine.stream.deadlines import Deadlines, due
from engine.stream.estimate import AnswerSize
from engine.stream.sink import LostBytes, Severed, Sink
from engine.stream.terminal import terminal, without_figures
from engine.stream.times import CONTENTS, TOKENS, Times
from engine.stream.wakeups import Source, Wakeups
from machines import events, outputs
from machines.stream import choices, machine as stream, states

FINAL: Final = states.TABLE.final
"""States that nothing leads out of."""

_RETIMED: Final = (states.TOOL_BUFFERING, states.FINISH)
"""States in which any event may move the next deadline to an earlier time."""

DEFECT: Final = events.TurnFailed("defect", outputs.DEFECT.code, outputs.DEFECT.message)
"""The event that a bug of ours becomes in the stream that it hit."""

CANCEL, PAUSE, RESUME = map(operator.methodcaller, ("cancel", "pause", "resume"))
"""Calls to a turn; see `worker.RunningTurn`."""

SHARED: Final = -1
"""The key of a turn that answers several choices, in place of its choice."""

_log = structlog.get_logger(component="pump")


def _keep(turn: worker.RunningTurn) -> None:
    """Have a turn keep what a later request can go on with; cancel it where that fails."""
    try:
        turn.keep()
    except Exception:
        turn.cancel()
        raise


class Life(enum.Enum):
    """Whether a stream still holds anything, and how its client learns of the end.

    RUNNING: it does. ENDED: the machine's last output tells the client. BROKEN: there is no such
    output that could be relied upon, and the answer is cut.
    """

    RUNNING = enum.auto()
    ENDED = enum.auto()
    BROKEN = enum.auto()


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
        self._state = states.HELD
        self._life = Life.RUNNING
        now = log.open(opened)
        self._at = Times(now, now, now)
        self.size = AnswerSize(opened.n)  # of what has gone to the client
        self._texts: list[str] = []
        self._texts_choice = 0
        self._warned: set[str] = set()
        self._waiting: collections.deque[events.StreamInput] = collections.deque()
        try:
            self._wakeups.join(self._sink, self)
            self._arm()
        except Exception as error:
            # Not now: who makes this pump does not know it yet, and takes note of its end.
            self._loop.call_soon(self.broke, Boundary.STREAM, error)

    def run(self, runner: worker.Runner, turn: worker.Turn) -> None:
        """Have a worker begin the turn of one choice."""
        try:
            running = runner.run(turn, self)
        except Exception as error:
            self.broke(Boundary.STREAM, error)
            return
        if self._life is not Life.RUNNING:  # it failed before it began
            self._release((running,), CANCEL)
        else:
            self._turns[turn.choice if turn.choices == 1 else SHARED] = running

    def event(self, event: events.StreamInput) -> None:
        """Take one event: the hot path of a token.

        Texts that the machine passes as they are wait for the end of the wake-up, or for the
        next event that is not one of them.
        """
        try:
            if type(event) is events.TextDelta and self.stream.passes(event.choice, event.text):
                if event.choice != self._texts_choice or not self._texts:
                    if self._texts:
                        self.flush_texts()
                    self._texts_choice = event.choice
                    self._wakeups.join_with_texts(self._sink, self)
                self._texts.append(event.text)
                return
            self.flush_texts()
            if isinstance(event, pieces.TEXTS) and len(event.text) > pieces.PIECE:
                self._take_in_pieces(event)
            else:
                self._step(event)
        except Exception as error:
            self.broke(Boundary.STREAM, error)

    def flush_texts(self) -> None:
        """Record and render the texts that wait, at once for all of them; may raise."""
        if not self._texts:
            return
        texts, self._texts = self._texts, []
        now = self._log.append_texts(self._texts_choice, texts)
        self._at.saw_event(now)
        self._at.output = now
        if self._at.content is None:
            self._at.content = now
        self.size.said[self._texts_choice] += len("".join(texts).encode())
        self._sink.take_texts(self._texts_choice, texts)

    def broke(self, boundary: Boundary, error: Exception) -> None:
        """End the stream for a bug of ours, and let its client know."""
        containment.report(boundary, error, **self._ids)
        if self._life is not Life.RUNNING:
            self._cut()  # its end is on record; its client must not see a whole answer
            return
        self._texts.clear()
        try:
            # A machine that has ended already answers no more: its last word was lost.
            if self.stream.kind is None:
                self._sink.broke()
                self._step(DEFECT)
        except Exception as again:
            containment.report(boundary, again, **self._ids)
        if self._life is Life.RUNNING:
            self._state = states.FAILED
            self._end(self._log.now(), Life.BROKEN)

    def pressed(self, buffered: int) -> None:
        """Pause the turns of a client that reads too slowly; `buffered` bytes wait for it."""
        self.event(events.BufferPressure(buffered))
        self._at.pressed = self._at.event
        self._release(self._turns.values(), PAUSE)

    def relieved(self) -> None:
        """Resume the turns: the client has caught up."""
        self._at.relieved(self._log.now())
        self._release(self._turns.values(), RESUME)
        try:
            if self._life is Life.RUNNING:
                self._arm()
        except Exception as error:
            self.broke(Boundary.STREAM_TIMER, error)

    def tick(self, timer: events.TimerName) -> None:
        """Take a deadline that has passed. Unlike a worker's event it is no sign of life."""
        try:
            self.event(events.TimerFired(timer))
        except Exception as error:
            self.broke(Boundary.STREAM_TIMER, error)

    @property
    def _ids(self) -> dict[str, str]:
        """The fields by which its lines in the diagnostics are found."""
        return {"req_id": self.stream.opened.request_id, "stream": self._log.id}

    def _take_in_pieces(self, event: events.StreamInput) -> None:
        """Take a piece in each round of the loop; events that come meanwhile wait behind it."""
        self._waiting.extend(pieces.of(event))
        # Which method takes the next event is a state: no token pays for a check of it.
        self.event = self._wait_behind  # type: ignore[method-assign]  # see above
        self._loop.call_soon(self._next_piece)

    def _wait_behind(self, event: events.StreamInput) -> None:
        if isinstance(event, pieces.AT_ONCE):
            Pump.event(self, event)
        else:
            self._waiting.extend(pieces.of(event))

    def _next_piece(self) -> None:
        if self._life is not Life.RUNNING:
            self._waiting.clear()
        if self._waiting:
            Pump.event(self, self._waiting.popleft())
            self._loop.call_soon(self._next_piece)
        else:
            del self.event

    def _step(self, event: events.StreamInput) -> None:
        if self._state in FINAL:
            return
        step = self.stream.step(event)
        now = self._log.append(event, step)
        self._at.saw(event, now)
        if type(event) is events.ModelRerouted:
            self._sink.rerouted(event.model)
        if step.outputs:
            self._at.output = now
            if self._at.content is None and isinstance(event, CONTENTS):
                self._at.content = now
            self.size.add(step.outputs)
            self._sink.take(step.outputs, now)
        self._wakeups.join(self._sink, self)
        moved = step.state != self._state or len(step.outputs) > 1
        if moved or step.state in _RETIMED:
            self._moved(event, step, now)

    def _moved(self, event: events.StreamInput, step: outputs.Step, now: int) -> None:
        """Do what a change of state asks for, a handful of times a stream."""
        self._state = step.state
        if self._at.token is None and isinstance(event, TOKENS):
            self._at.token = now
        if isinstance(event, events.TurnFailed):
            self._tell_failure(event)
        for output in step.outputs:
            self._act(output, now)
        if step.state in FINAL:
            self._end(now)
            return
        if self.stream.position == states.FINISH and self._at.finished is None:
            self._at.finished = now
        self._arm()
        if outputs.Finish in map(type, step.outputs):
            self._estimate()

    def _estimate(self) -> None:
        """Estimate the tokens of choices that were cut. One turn for all of them that goes on may
        still have counts for all."""
        if SHARED in self._turns and choices.await_counts(self.stream.choices):
            return
        for choice in choices.without_counts(self.stream.choices):
            usage = self.size.usage(self.stream.opened, choice)
            self._step(events.TokensEstimated(usage, choice))

    def _tell_failure(self, event: events.TurnFailed) -> None:
        """Tell the operator why: in the other side's words, as far as the log may keep them."""
        kept = self._log.kept(event)
        assert isinstance(kept, events.TurnFailed)
        words = {"code": kept.code, "word": kept.word, "detail": kept.detail}
        said = {name: word for name, word in words.items() if word is not None}
        _log.warning("turn_failed", kind=kept.kind, **said, **self._ids)

    def _act(self, output: outputs.AnyOutput, now: int) -> None:
        """Do what an output asks of the pump itself."""
        match output:
            case outputs.CancelTurn(choice):
                # A turn for several choices goes on for the others, and ends with the stream.
                turn = self._turns.pop(choice, None)
                if turn is not None:
                    self._release((turn,), CANCEL)
            case outputs.ToolCall() | outputs.ToolArguments():
                self._at.called = now
            case outputs.ToolBufferAborted(reason) if reason not in self._warned:
                self._warned.add(reason)  # the terminal record says how often
                _log.warning("tool_buffer_aborted", reason=reason, **self._ids)

    def _release(
        self,
        turns: Iterable[worker.RunningTurn],
        action: Callable[[worker.RunningTurn], None],
    ) -> None:
        """Call turns; one that fails does not keep the others from it."""
        containment.each(Boundary.TURN, action, list(turns), **self._ids)

    def _end(self, now: int, life: Life = Life.ENDED) -> None:
        """Release what the stream holds: the one place, on every path."""
        self._life = life
        if life is Life.ENDED:
            self._life = self._close_sink()
        if self._timer is not None:
            self._timer.cancel()
        # A client that was not told of every call can never bring every result.
        completed = self._life is Life.ENDED and self.stream.kind == "completed"
        turns, self._turns = self._turns, {}
        keeps = completed and not choices.are_withheld(self.stream.choices)
        self._release(turns.values(), _keep if keeps else CANCEL)
        last = (self._terminal(now),)
        containment.each(Boundary.STREAM_END, self._close_log, last, **self._ids)
        containment.each(Boundary.STREAM_END, self._on_end, last, **self._ids)
        ended: Source = self._sink
        if self._life is Life.BROKEN:
            self._wakeups.leave(self._sink)  # where it may wait with a whole answer
            ended = Severed(self._sink)
        self._wakeups.join(ended, self)

    def _close_sink(self) -> Life:
        """Make the next part the last. Where bytes of an earlier one never went out the stream is
        broken, since no end makes that body whole."""
        try:
            unsent = 0 if self._wakeups.deferred else self._sink.unsent()
            if unsent:
                raise LostBytes(f"{unsent} bytes were rendered and not sent")
            self._sink.end()
        except Exception as error:
            containment.report(Boundary.STREAM_END, error, **self._ids)
            return Life.BROKEN
        return Life.ENDED

    def _close_log(self, last: events.Terminal) -> None:
        self._log.close(last, self._state)

    def _cut(self) -> None:
        try:
            self._sink.cut()
        except Exception as error:
            containment.report(Boundary.STREAM_END, error, **self._ids)

    def _terminal(self, now: int) -> events.Terminal:
        """Make the last record, with what is certain where its figures cannot be had."""
        try:
            self._at.ended(now, self._wakeups.lag, self._loop.time())
            made = terminal(self.stream, self._sink.summary(), self._at, now)
        except Exception as error:
            containment.report(Boundary.STREAM_END, error, **self._ids)
            made = without_figures(self.stream, now - self._at.opened)
        if self._life is Life.ENDED:
            return made
        return msgspec.structs.replace(
            made, kind=DEFECT.kind, emission_trigger="defect", code=DEFECT.code
        )

    def _arm(self) -> None:
        """Sleep until the next deadline; tokens move deadlines, but never the timer."""
        if self._timer is not None:
            self._timer.cancel()
        passing = due(self._deadlines, self.stream, self._at)
        if passing:
            delay = max(0, min(passing.values()) - self._log.now())
            self._timer = self._loop.call_later(delay / 1_000_000, self._wake)

    def _wake(self) -> None:
        try:
            self._take_due()
        except Exception as error:
            self.broke(Boundary.STREAM_TIMER, error)

    def _take_due(self) -> None:
        self.flush_texts()
        now = self._log.now()
        passing = due(self._deadlines, self.stream, self._at)
        for timer, when in sorted(passing.items(), key=lambda item: item[1]):
            if when <= now and self._life is Life.RUNNING:
                self.tick(timer)
        if self._life is Life.RUNNING:
            self._arm()
