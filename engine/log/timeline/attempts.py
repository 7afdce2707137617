"""The tries to have an answer: the first, those after a failure, those of other targets."""

from collections.abc import Iterable

import msgspec

from engine.log.timeline import steps, timeline
from machines import events


class _Attempt(msgspec.Struct):
    """A try that goes on."""

    number: int
    start_us: int
    how: timeline.How
    target: str
    worker: str
    process: str = ""
    thread: timeline.Thread = ""
    reason: str = ""
    code: str | None = None
    detail: str | None = None


def attempts(
    read: steps.Steps, opened: events.Opened | None, ending: timeline.Ending
) -> tuple[timeline.Attempt, ...]:
    """Return the attempts of each choice, in the order in which they began.

    Args:
        opened: None where it is gone, and nobody knows whom was asked first.
        ending: how the stream ended, by which its last attempts ended.
    """
    folded = _Attempts(opened)
    for step in read.all:
        folded.take(step)
    folded.end(ending)
    return tuple(sorted(folded.found, key=lambda each: (each.start_us, each.choice)))


def made(found: Iterable[timeline.Attempt]) -> list[timeline.Attempt]:
    """Return the attempts at which a target was asked."""
    return [each for each in found if each.how != "skipped"]


class _Attempts:
    def __init__(self, opened: events.Opened | None) -> None:
        self.found: list[timeline.Attempt] = []
        self._target = opened.target if opened is not None else ""
        self._worker = opened.worker if opened is not None else ""
        count = opened.n if opened is not None else 1
        self._now = {choice: self._begun(1, 0, "first") for choice in range(count)}
        self._due: dict[int, tuple[int, timeline.How]] = {}

    def take(self, step: steps.Step) -> None:
        """Take a record."""
        event, at = step.event, step.at_us
        for choice in (step.choice,) if step.choice is not None else ():
            self._begin_due(choice, at)
        match event:
            case events.RetryScheduled(_, _, code, choice, detail):
                number = self._close(choice, at, code, detail)
                self._due[choice] = (number + 1, "retry")
            case events.FallbackTaken(model, worker, code):
                self._target, self._worker = model, worker
                for choice in (*self._now, *self._due):
                    number = self._close(choice, at, code, None)
                    self._now[choice] = self._begun(number + 1, at, "fallback")
                self._due.clear()
            case events.FallbackSkipped(model, worker, code):
                self._skip(at, model, worker, code)
            case events.TurnFailed(code=code, choice=choice, detail=detail):
                self._close(choice, at, code, detail)
            case events.TurnResumed(choice=choice, process=process):
                attempt = self._attempt(choice, at)
                attempt.how, attempt.process = "resumed", process
            case events.ParkMissed(reason, choice):
                attempt = self._attempt(choice, at)
                attempt.how, attempt.reason = "missed", reason
            case (
                events.TurnStarted()
                | events.ThreadReused()
                | events.ThreadForked()
                | events.ReuseMissed()
            ):
                self._take_thread(event, at)

    def _take_thread(
        self,
        event: events.TurnStarted | events.ThreadReused | events.ThreadForked | events.ReuseMissed,
        at: int,
    ) -> None:
        """Take how an attempt gets its thread, and that its turn has begun there."""
        attempt = self._attempt(event.choice, at)
        match event:
            case events.TurnStarted(process=process):
                attempt.process, attempt.thread = process, attempt.thread or "new"
            case events.ThreadReused():
                attempt.thread = "reused"
            case events.ThreadForked():
                attempt.thread = "forked"
            case events.ReuseMissed(reason):
                attempt.thread, attempt.reason = "", reason

    def end(self, ending: timeline.Ending) -> None:
        """Take the end of the stream, which those that go on end with."""
        failed = ending.kind not in ("completed", "client_gone", "empty", "open")
        for choice in list(self._now):
            self._close(choice, ending.at_us, ending.code if failed else None, ending.detail)

    def _begun(self, number: int, at: int, how: timeline.How) -> _Attempt:
        return _Attempt(number, at, how, self._target, self._worker)

    def _attempt(self, choice: int, at: int) -> _Attempt:
        if choice not in self._now:
            self._now[choice] = self._begun(1, at, "first")
        return self._now[choice]

    def _begin_due(self, choice: int, at: int) -> None:
        due = self._due.pop(choice, None)
        if due is not None:
            self._now[choice] = self._begun(due[0], at, due[1])

    def _skip(self, at: int, model: str, worker: str, code: str) -> None:
        """Note a target that could not be asked."""
        skipped = _Attempt(0, at, "skipped", model, worker, code=code)
        for choice in self._now:
            self.found.append(_told(choice, skipped, at))

    def _close(self, choice: int, at: int, code: str | None, detail: str | None) -> int:
        """End the attempt of a choice that goes on, and return its number."""
        attempt = self._now.pop(choice, None)
        if attempt is None:
            return 0
        attempt.code, attempt.detail = code, detail if code is not None else None
        self.found.append(_told(choice, attempt, at))
        return attempt.number


def _told(choice: int, attempt: _Attempt, end_us: int) -> timeline.Attempt:
    return timeline.Attempt(
        choice=choice,
        number=attempt.number,
        start_us=attempt.start_us,
        end_us=end_us,
        how=attempt.how,
        target=attempt.target,
        worker=attempt.worker,
        process=attempt.process,
        thread=attempt.thread,
        reason=attempt.reason,
        code=attempt.code,
        detail=attempt.detail,
    )
