"""Runs the turns of one stream on one target after another, until one of them says something.

Stands between the stream's pump and the workers: to the pump it is who runs the turns, to a
worker it is the feed. A target that fails before any output is left for the next one, unless the
request itself is at fault; after the first output everything passes as it comes.
"""

import asyncio
import collections
import enum
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from engine import containment, failures, redaction, slices, worker
from engine.routing import checking, limits
from machines import events

NOT_THE_REQUEST: Final = frozenset({401, 402, 404, 408, 429})
"""Statuses below 500 that another target may not answer with: they are about a login, an account,
a model that is not there, or a moment."""

THE_REQUEST: Final = frozenset(
    {
        "context_length_exceeded",
        "invalid_json",
        "invalid_request",
        "provider_rejected",
        "request_too_large",
        "unsupported_content",
        "unsupported_parameter",
    }
)
"""Codes that come without a status, and mean that the request is at fault."""

LATE: Final = events.TurnFailed(
    "timeout", "request_timeout", "The model did not begin to answer in time."
)
"""The failure of a target that was silent for longer than its patience."""

_OUTPUT: Final = (
    events.TextDelta,
    events.ReasoningDelta,
    events.ReasoningPartStarted,
    events.ReasoningCompleted,
    events.MessageStarted,
    events.MessageCompleted,
    events.RefusalDelta,
    events.ExtraMembers,
    events.ToolCalled,
    events.ToolCallDelta,
    events.TurnFinished,
)
"""Events that a client sees, or that end an answer."""


class TargetRequest(msgspec.Struct, frozen=True):
    """A request as it is made to one target.

    Attributes:
        bounds: what its worker cannot keep, and the stream's machine does not.
    """

    turns: tuple[worker.Turn, ...]
    bounds: limits.Limits = limits.NONE


class Candidate(msgspec.Struct, frozen=True):
    """A target that may stand in.

    Attributes:
        name: of the target, as the operator has it.
        prepare: reads the request for it; raises TurnRefused.
        patience: seconds that it may be silent, where others follow; 0: no limit; None: as long
            as the first.
    """

    name: str
    model: str
    runner: worker.Worker
    prepare: Callable[[], TargetRequest]
    patience: float | None = None


def may_pass(failed: events.TurnFailed) -> bool:
    """Return whether another target may do better with the same request."""
    if failed.status is not None:
        return failed.status >= 500 or failed.status in NOT_THE_REQUEST
    return failed.code not in THE_REQUEST


def refusal(
    refused: worker.TurnRefused, choice: int = 0, known: redaction.Redaction = redaction.NONE
) -> events.TurnFailed:
    """Turn a worker's refusal into a stream's failure; its text may name what a client wrote.

    Args:
        known: the server's own secrets. The client is told what is recorded, so that it replays.
    """
    message = known.hide(refused.message)
    return events.TurnFailed(
        "rejected", refused.code, message, choice, param=refused.param, members=refused.members
    )


class Fallback:
    """Runs the turns of one stream on one target after another.

    Args:
        first: runs the turns of the first target, as its check has it.
        others: who stands in, in this order.
        patience: seconds that the first target may be silent; 0 for no limit.
        on_taken: told of a target that is asked in place of another, before it is.
        refused: why `first` does not take the turns, as its check has said; None: it takes them.
    """

    def __init__(
        self,
        first: worker.Runner,
        others: Sequence[Candidate],
        patience: float,
        on_taken: Callable[[Candidate, events.FallbackTaken], None],
        refused: worker.TurnRefused | None = None,
    ) -> None:
        self._first = first
        self._refused = refused
        self._others = collections.deque(others)
        self._patience = patience
        self._on_taken = on_taken
        self._left: dict[int, Leaving] = {}
        self._trials: list[_Trial] = []

    def run(self, turn: worker.Turn, feed: worker.Feed) -> worker.RunningTurn:
        """Begin one turn of the first target, unless that has been left already."""
        if not self._trials:
            self._trials.append(_Trial(self, self._first, limits.NONE, feed, self._patience))
            if self._refused is not None:
                self._trials[0].event(refusal(self._refused, turn.choice, turn.known))
        self._trials[0].begin(turn)
        return ChoiceHandle(self, turn)

    def failed(self, trial: "_Trial", failed: events.TurnFailed) -> None:
        """Ask the next target that takes the request: one has failed before any output."""
        found = self._next(trial) if may_pass(failed) else None
        if found is None:
            if failed is not LATE:  # of what is late the stream's own limit is the end
                trial.commit(failed)
            return
        candidate, request, runner = found
        trial.drop()
        taken = events.FallbackTaken(candidate.model, candidate.runner.kind.name, failed.code)
        self._on_taken(candidate, taken)
        trial.feed.event(taken)
        own = self._patience if candidate.patience is None else candidate.patience
        patience = own if self._others else 0
        stand_in = _Trial(self, runner, request.bounds, trial.feed, patience)
        self._trials.append(stand_in)
        for turn in request.turns:
            stand_in.begin(turn)

    def chosen(self, choices: range) -> list[worker.RunningTurn]:
        """Return the turns in motion that begin with one of these choices."""
        return [running for turn, running in self._trials[-1].running if turn.choice in choices]

    def leave(self, choices: range, leaving: "Leaving") -> None:
        """End the pump's interest in some choices: a turn goes with the last of its own."""
        trial = self._trials[-1]
        trial.be_patient()
        self._left |= dict.fromkeys(choices, leaving)
        for turn, running in trial.running:
            left = [self._left.get(choice) for choice in _choices(turn)]
            if Leaving.KEPT in left and None not in left:
                running.keep()
            elif None not in left:
                running.cancel()

    def _next(self, trial: "_Trial") -> tuple[Candidate, TargetRequest, worker.Runner] | None:
        while self._others:
            candidate = self._others.popleft()
            try:
                request = candidate.prepare()
                runner = slices.at_once(checking.check(candidate.runner, request.turns))
            except worker.TurnRefused as refused:
                skipped = events.FallbackSkipped(
                    candidate.model, candidate.runner.kind.name, refused.code
                )
                trial.feed.event(skipped)
                continue
            return candidate, request, runner
        return None


class Leaving(enum.Enum):
    """The ways in which the pump is done with a choice."""

    CANCELLED = enum.auto()
    KEPT = enum.auto()


class Phase(enum.Enum):
    """The progress of a target."""

    SILENT = enum.auto()
    SPEAKING = enum.auto()
    OVER = enum.auto()


class _Trial:
    """One target in motion: it is the feed of its turns."""

    def __init__(
        self,
        owner: Fallback,
        runner: worker.Runner,
        bounds: limits.Limits,
        feed: worker.Feed,
        patience: float,
    ) -> None:
        self.feed = feed
        self.running: list[tuple[worker.Turn, worker.RunningTurn]] = []
        self._owner = owner
        self._runner = runner
        self._phase = Phase.SILENT
        self._held: list[events.StreamInput] = []
        self._say = limits.limited(bounds, feed, self._cut)
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(patience, self._late) if patience else None

    def begin(self, turn: worker.Turn) -> None:
        """Begin a turn; everything may be over before it has begun, or while it does."""
        if self._phase is Phase.OVER:
            return
        try:
            self.running.append((turn, self._runner.run(turn, self)))
        except Exception:
            self.drop()  # the stream ends by this, and nobody else would stop the timer
            raise
        self._stop_if_over()

    def event(self, event: events.StreamInput) -> None:
        """Take one event of the target."""
        try:
            if self._phase is Phase.SPEAKING:
                self._say.event(event)
            elif self._phase is Phase.SILENT:
                self._first(event)
        except Exception as error:
            self._break_off(error)

    def commit(self, event: events.StreamInput) -> None:
        """Choose this target for good: its events go on to the stream."""
        self.be_patient()
        failed = isinstance(event, events.TurnFailed)
        self._phase = Phase.OVER if failed else Phase.SPEAKING
        for held in self._held:
            self._say.event(held)
        self._say.event(event)

    def drop(self) -> None:
        """Give the target up for another one: emit nothing more, and stop its work."""
        self.be_patient()
        self._phase = Phase.OVER
        self._stop_if_over()

    def be_patient(self) -> None:
        """Wait for the target without a limit."""
        if self._timer is not None:
            self._timer.cancel()

    def _first(self, event: events.StreamInput) -> None:
        """Take an event before any output: of an answer that may be given up, counts and what
        goes with output are held."""
        waits = isinstance(event, events.ExtraMembers) and event.waits
        if isinstance(event, _OUTPUT) and not waits:
            self.commit(event)
        elif isinstance(event, events.TurnFailed):
            self._owner.failed(self, event)
        elif isinstance(event, events.TokensCounted | events.ExtraMembers):
            self._held.append(event)
        else:
            self.feed.event(event)

    def _cut(self, choice: int) -> None:
        for turn, running in self.running:
            if turn.choice == choice:
                running.cancel()

    def _stop_if_over(self) -> None:
        if self._phase is Phase.OVER:
            for _, running in self.running:
                running.cancel()

    def _late(self) -> None:
        try:
            self._owner.failed(self, LATE)
        except Exception as error:
            self._break_off(error)

    def _break_off(self, error: Exception) -> None:
        """Tell the stream that events were lost here: it cannot end as if it were whole."""
        turn = self.running[0][0] if self.running else None
        ids = {"req_id": turn.request_id, "stream": turn.stream_id} if turn is not None else {}
        containment.report(containment.Boundary.FEED, error, **ids)
        self._phase = Phase.OVER
        self.feed.event(failures.DEFECT.event(0))


class ChoiceHandle:
    """The pump's handle of the turns: of the choices that it asked for with one."""

    def __init__(self, owner: Fallback, turn: worker.Turn) -> None:
        self._owner = owner
        self._choices = _choices(turn)

    def cancel(self) -> None:
        """Stop the work behind these choices."""
        self._owner.leave(self._choices, Leaving.CANCELLED)

    def pause(self) -> None:
        """Hold the work back: the client reads too slowly."""
        for running in self._owner.chosen(self._choices):
            running.pause()

    def resume(self) -> None:
        """Let the work go on: the client has caught up."""
        for running in self._owner.chosen(self._choices):
            running.resume()

    def keep(self) -> None:
        """Let the turns end by themselves: the whole answer has reached the client."""
        self._owner.leave(self._choices, Leaving.KEPT)


def _choices(turn: worker.Turn) -> range:
    return range(turn.choice, turn.choice + turn.choices)
