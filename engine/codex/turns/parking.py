"""Turns that wait for the client's results, and the steps they can be continued from.

A step with calls leaves its turn waiting. When the next request brings the results, and its
history is what the turn has seen, the same turn goes on with nothing sent again. Where it cannot,
the history is sent anew on a fresh thread; the model's own items of the step, its reasoning among
them, are kept as long, so that the model is shown the same conversation.
"""

import asyncio
import collections
import functools
from typing import Final, NamedTuple

import msgspec
import structlog

from engine import containment, worker
from engine.codex.request import conversation, history
from engine.codex.turns import attempt, modelstep
from engine.containment import Boundary
from machines import parse
from machines.turn import thread as threads

STEPS_A_TURN: Final = 16
"""Steps kept for each turn that may be parked: a conversation that is sent anew has several."""

_log = structlog.get_logger(component="parking")


class Parked(msgspec.Struct, frozen=True, eq=False):
    """A turn that waits.

    Attributes:
        turn: what it was asked; with the step behind it, this is what it has seen.
        since: when it began to, in the loop's seconds.
    """

    attempt: attempt.Attempt
    turn: worker.Turn
    step: modelstep.ModelStep
    expiry: asyncio.TimerHandle
    since: float


class Resumption(NamedTuple):
    """A turn that goes on.

    Attributes:
        parked_us: how long it waited.
    """

    attempt: attempt.Attempt
    results: tuple[worker.Message, ...]
    parked_us: int


class KeptStep(msgspec.Struct, frozen=True, eq=False):
    """A step that may be shown to the model again."""

    key_id: str
    step: modelstep.ModelStep
    kept_until: float


class ParkingCounts(msgspec.Struct):
    """Counts of what became of turns, for metrics; a miss is one whose history was sent anew."""

    parked: int = 0
    resumed: int = 0
    missed: int = 0
    expired: int = 0
    evicted: int = 0


class Missed(Exception):
    """Raised for results that no parked turn takes.

    Args:
        reason: a word for the log.
    """


class Parking:
    """The parked turns of a worker.

    Args:
        most: turns parked at once; the oldest makes room.
        ttl: seconds a turn waits.

    Attributes:
        missed: why turns were missed, by reason.
    """

    def __init__(self, most: int, ttl: float) -> None:
        self.counts = ParkingCounts()
        self.missed: collections.Counter[str] = collections.Counter()
        self._most = most
        self._ttl = ttl
        self._loop = asyncio.get_running_loop()
        self._turns: dict[str, Parked] = {}
        self._steps: collections.OrderedDict[str, KeptStep] = collections.OrderedDict()

    def park(self, waiting: attempt.Attempt, turn: worker.Turn, step: modelstep.ModelStep) -> None:
        """Keep a turn whose calls have all reached the client."""
        self._keep_step(turn.key_id, step)
        if not self._most:
            waiting.let_go(threads.Event.EVICTED)
            return
        waiting.park()
        call_id = step.calls[0].call_id
        if call_id in self._turns:  # a provider that numbers its calls anew in each answer
            self._drop(call_id, threads.Event.EVICTED)
        elif len(self._turns) >= self._most:
            self.counts.evicted += 1
            self._drop(next(iter(self._turns)), threads.Event.EVICTED)
        expire = functools.partial(containment.each, Boundary.CALLBACK, self._expire)
        expiry = self._loop.call_later(self._ttl, expire, (call_id,))
        self._turns[call_id] = Parked(waiting, turn, step, expiry, self._loop.time())
        self.counts.parked += 1

    def take(self, turn: worker.Turn) -> Resumption | None:
        """The turn that waits for this one's results, seated; None where it brings none.

        Raises:
            Missed: none does, or it has seen another conversation.
        """
        results = _results(turn.messages)
        if not results:
            return None
        seen = turn.messages[: len(turn.messages) - len(results)]
        call_id = _first_call(_answers(seen))
        if call_id is None:
            return None
        try:
            parked = self._find(turn, call_id, results, seen)
        except Missed as missed:
            self.counts.missed += 1
            self.missed[str(missed)] += 1
            raise
        self.counts.resumed += 1
        parked_us = round((self._loop.time() - parked.since) * 1_000_000)
        return Resumption(parked.attempt, results, parked_us)

    def recall(self, key_id: str) -> conversation.Recall:
        """Finds the items of the steps that this key's answers came from."""

        def found(answers: tuple[worker.Message, ...]) -> tuple[msgspec.Raw, ...] | None:
            kept = self._steps.get(_first_call(answers) or "")
            if kept is None or kept.key_id != key_id or kept.kept_until < self._loop.time():
                return None
            return kept.step.items if _says(answers, kept.step) else None

        return found

    def close(self) -> None:
        """Let every turn go."""
        drop = functools.partial(self._drop, why=threads.Event.GIVEN_UP)
        containment.each(Boundary.SHUTDOWN, drop, list(self._turns))

    def _find(
        self,
        turn: worker.Turn,
        call_id: str,
        results: tuple[worker.Message, ...],
        seen: tuple[worker.Message, ...],
    ) -> Parked:
        parked = self._turns.get(call_id)
        if parked is None or parked.turn.key_id != turn.key_id:
            raise Missed("not_parked")
        if not parked.attempt.waiting:
            self._drop(call_id, threads.Event.GIVEN_UP)
            raise Missed("worker_lost")
        if sorted(map(str, map(conversation.answered, results))) != sorted(
            call.call_id for call in parked.step.calls
        ):
            raise Missed("partly_answered")
        if _asked(turn) != _asked(parked.turn):
            raise Missed("options_changed")
        asked = parked.turn.messages
        answers = seen[len(asked) :]
        if not _says(answers, parked.step) or not _same(seen[: len(asked)], asked):
            raise Missed("history_edited")
        self._forget(call_id)  # before it has a place, which nobody else would give back
        if not parked.attempt.reseat():
            parked.attempt.let_go(threads.Event.GIVEN_UP)
            raise Missed("worker_busy")
        return parked

    def _forget(self, call_id: str) -> Parked:
        parked = self._turns.pop(call_id)
        parked.expiry.cancel()
        return parked

    def _drop(self, call_id: str, why: threads.Event) -> None:
        self._forget(call_id).attempt.let_go(why)

    def _expire(self, call_id: str) -> None:
        self.counts.expired += 1
        self._drop(call_id, threads.Event.EXPIRED)
        _log.info("parked_turn_expired", call_id=call_id)

    def _keep_step(self, key_id: str, step: modelstep.ModelStep) -> None:
        now = self._loop.time()
        call_id = step.calls[0].call_id
        self._steps[call_id] = KeptStep(key_id, step, now + self._ttl)
        self._steps.move_to_end(call_id)
        while self._steps:
            oldest = next(iter(self._steps.values()))
            if len(self._steps) <= self._most * STEPS_A_TURN and oldest.kept_until >= now:
                break
            self._steps.popitem(last=False)


def _results(messages: tuple[worker.Message, ...]) -> tuple[worker.Message, ...]:
    """The tool messages a conversation ends with."""
    return history.ending(messages, "tool", "function")


def _asked(turn: worker.Turn) -> tuple[object, ...]:
    """What a turn was asked besides its messages."""
    declared = tuple(
        (tool.name, tool.description, bytes(tool.parameters or b"")) for tool in turn.tools
    )
    schema = bytes(turn.output_schema or b"")
    told = turn.effort, turn.reasoning_summary, turn.verbosity, turn.service_tier, turn.web_search
    return turn.target, *told, schema, declared, turn.call_required, turn.parallel_calls


def _answers(messages: tuple[worker.Message, ...]) -> tuple[worker.Message, ...]:
    """The assistant messages a conversation ends with: a step may have been told as several."""
    return history.ending(messages, "assistant")


def _first_call(answers: tuple[worker.Message, ...]) -> str | None:
    """The id of the first call of a step; None where it has none."""
    return next((message.calls[0].call_id for message in answers if message.calls), None)


def _says(answers: tuple[worker.Message, ...], step: modelstep.ModelStep) -> bool:
    """Whether assistant messages are what the client was told of a step."""
    if any(message.role != "assistant" for message in answers):
        return False
    calls = tuple(call for message in answers for call in message.calls)
    text = "".join(_text(message) for message in answers)
    return text.strip() == step.text.strip() and _same_calls(calls, step.calls)


def _same(one: tuple[worker.Message, ...], other: tuple[worker.Message, ...]) -> bool:
    """Whether two histories are the same to the model: clients trim and rewrite what is not."""
    return len(one) == len(other) and all(
        _essence(a) == _essence(b) and _same_calls(a.calls, b.calls)
        for a, b in zip(one, other, strict=True)
    )


def _essence(message: worker.Message) -> tuple[object, ...]:
    """What must be the same of a message besides its calls."""
    others = [part for part in message.parts if not isinstance(part, worker.TextPart)]
    contents = [part.url if isinstance(part, worker.ImagePart) else part for part in others]
    return message.role, message.name, message.call_id, _text(message).strip(), contents


def _same_calls(one: tuple[worker.Call, ...], other: tuple[worker.Call, ...]) -> bool:
    return len(one) == len(other) and all(
        (a.call_id, a.name) == (b.call_id, b.name)
        and (a.arguments == b.arguments or _json(a.arguments) == _json(b.arguments))
        for a, b in zip(one, other, strict=True)
    )


def _text(message: worker.Message) -> str:
    return "".join(part.text for part in message.parts if isinstance(part, worker.TextPart))


def _json(text: str) -> object:
    try:
        return parse.value(text or "{}")
    except parse.ParseError:
        return text
