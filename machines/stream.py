"""The machine of one stream: role, content, tool buffering, finish, usage, done.

Theory of operation. `Stream` holds one state a choice, which `machines.streamstates` declares,
and does what a table cannot say: it counts the choices, holds back text, and says what goes to
the client. `step(event)` is its only mutator.

One event may lead through several states: a worker's last word through finish, usage and done.
With several choices every role goes out before anything else, one failure ends them all, and
usage and the sentinel wait for the last finish.
"""

from collections.abc import Callable
from typing import Any, Final

from machines import choice as choices
from machines import errors, events, finish
from machines.choice import UNKNOWN, Choice
from machines.streamstates import IGNORED, TABLE, TIMEOUTS

_NEXT: Final = TABLE.transitions


class Stream:
    """One stream as a fold over its events.

    Args:
        opened: its first record.
    """

    def __init__(self, opened: events.Opened) -> None:
        self.opened = opened
        self.choices = tuple(Choice(index, opened, TABLE.initial) for index in range(opened.n))
        self.kind: events.TerminalKind | None = None
        self.emission_trigger = ""
        self.failure: events.Failure | None = None
        self.cause: events.GoneCause | None = None
        self._whole: events.TerminalKind = "completed"
        self._wants_usage = opened.include_usage or not opened.streaming

    @property
    def usage(self) -> events.Usage | None:
        """Counts of all choices, the prompt once; None while or where any is unknown."""
        return choices.total(self.choices)

    @property
    def position(self) -> str:
        """The state of the choice that is least far."""
        return self._slowest().state

    @property
    def ended(self) -> bool:
        """Whether the stream is over: nothing it is told will have an output."""
        return TABLE.is_final(self.choices[0].state)

    def passes(self, choice: int, text: str) -> bool:
        """Whether `step` would answer this delta with its text as it came, and change nothing."""
        its = self.choices[choice]
        return its.state == "content" and its.cutoff is None and text != ""

    def step(
        self, event: events.StreamInput, decided: events.Decision | None = None
    ) -> events.Step:
        """Take one event and say what follows from it.

        Args:
            decided: what the scanner decided when the event was first taken, for a replay whose
                text is masked; None lets the scanner decide.

        Raises:
            IllegalEvent: the state has no transition for it and does not ignore it.
        """
        step = _STEPS.get(type(event))
        return self._notice(event) if step is None else step(self, event, decided)

    def _text(self, event: events.TextDelta, decided: events.Decision | None) -> events.Step:
        choice = self.choices[event.choice]
        state = _NEXT.get((choice.state, "text"))
        if state is None:
            return self._ignored(choice, "text")
        if choice.cutoff is None and state == choice.state and event.text:
            return events.Step(state, (events.Content(event.text, event.choice),))
        decision, text = choice.release(event.text, decided)
        cut = decision.cut if decision is not None else None
        outputs: list[events.AnyOutput] = []
        if text or cut:
            outputs += self._begin()
            choice.state = state
        if text:
            outputs.append(events.Content(text, event.choice))
        if cut:
            choice.counts = UNKNOWN
            outputs.append(events.CancelTurn(event.choice))
            outputs += self._finish(choice, cut, "text_delta")
        return events.Step(choice.state, tuple(outputs), decision)

    def _reasoning(self, event: events.ReasoningDelta, _: events.Decision | None) -> events.Step:
        choice = self.choices[event.choice]
        state = _NEXT.get((choice.state, "text"))
        if state is None:
            return self._ignored(choice, "text")
        if not event.text:
            return events.Step(choice.state, ())
        outputs: list[events.AnyOutput] = []
        if state != choice.state:
            outputs += self._begin()
            choice.state = state
        outputs.append(events.Reasoning(event.text, event.choice))
        return events.Step(state, tuple(outputs))

    def _finished(
        self, event: events.TurnFinished, decided: events.Decision | None
    ) -> events.Step:
        choice = self.choices[event.choice]
        if (choice.state, "finished") not in _NEXT:
            return self._ignored(choice, "finished")
        outputs = self._begin()
        decision, text = choice.release_last(decided)
        if text:
            outputs.append(events.Content(text, event.choice))
        cut = decision.cut if decision is not None else None
        outputs += self._finish(choice, cut or event.reason, "turn_finished")
        return events.Step(choice.state, tuple(outputs), decision)

    def _counted(self, event: events.TokensCounted, _: events.Decision | None) -> events.Step:
        choice = self.choices[event.choice]
        if TABLE.is_final(choice.state):
            return self._ignored(choice, "counted")
        choice.count(event.usage)
        outputs = self._settle("tokens_counted")
        return events.Step(choice.state, tuple(outputs))

    def _turn_failed(self, event: events.TurnFailed, _: events.Decision | None) -> events.Step:
        choice = self.choices[event.choice]
        if choice.state == "finish":
            return self._give_up_counts((choice,), "turn_failed")
        if (choice.state, "fail") not in _NEXT:
            return self._ignored(choice, "fail")
        lost = event.kind == "worker_lost" and choice.state == "content"
        if lost and self.opened.length_on_worker_exit:
            return self._truncate(choice, "turn_failed")
        failure = events.Failure(
            event.code, event.message, event.status, event.param, event.retry_after
        )
        return self._fail(choice, event.kind, failure, "turn_failed")

    def _timer(self, event: events.TimerFired, _: events.Decision | None) -> events.Step:
        choice = self._slowest()
        if event.timer in TIMEOUTS:
            states, code, message = TIMEOUTS[event.timer]
            if choice.state in states:
                failure = events.Failure(code, message)
                return self._fail(choice, "timeout", failure, "timer_fired")
            return events.Step(choice.state, ())
        if event.timer == "heartbeat":
            return self._simple(choice, "keepalive", (events.Keepalive(),))
        if event.timer == "head_hold":
            return self._simple(choice, "head_due", (events.Head(),))
        if event.timer == "truncate":
            return self._truncate(choice, "timer_fired")
        if choice.state != "finish":  # another choice goes on, and so may the counting
            return events.Step(choice.state, ())
        return self._give_up_counts(self.choices, "timer_fired")

    def _gone(self, event: events.ClientGone, _: events.Decision | None) -> events.Step:
        first = self.choices[0]
        if (first.state, "abandon") not in _NEXT:
            return self._ignored(first, "abandon")
        self._end("client_gone", "client_gone")
        self.cause = event.cause
        for choice in self.choices:
            choice.state = _NEXT[choice.state, "abandon"]
        return events.Step(first.state, ())

    def _stopping(self, _event: events.ServerStopping, _: events.Decision | None) -> events.Step:
        choice = self._slowest()
        if choice.state == "finish":
            return self._give_up_counts(self.choices, "server_stopping")
        if (choice.state, "fail") not in _NEXT:
            return self._ignored(choice, "fail")
        failure = events.Failure("server_shutdown", "The server is stopping.")
        return self._fail(choice, "shutdown", failure, "server_stopping")

    def _notice(self, event: events.StreamInput) -> events.Step:
        choice = self.choices[getattr(event, "choice", 0)]
        return self._simple(choice, "notice", ())

    def _simple(
        self, choice: Choice, trigger: str, outputs: tuple[events.AnyOutput, ...]
    ) -> events.Step:
        before = choice.state
        state = _NEXT.get((before, trigger))
        if state is None:
            return self._ignored(choice, trigger)
        for each in self.choices:
            if each.state == before:
                each.state = state
        return events.Step(state, outputs)

    def _ignored(self, choice: Choice, trigger: str) -> events.Step:
        if trigger not in IGNORED.get(choice.state, ()):
            raise errors.IllegalEvent(TABLE.name, choice.state, trigger)
        return events.Step(choice.state, ())

    def _begin(self) -> list[events.AnyOutput]:
        """Head and roles, where they have not gone yet."""
        first = self.choices[0]
        outputs: list[events.AnyOutput] = []
        if first.state == "held":
            outputs.append(events.Head())
        if first.state in ("held", "role"):
            for choice in self.choices:
                choice.state = _NEXT[choice.state, "begin"]
                outputs.append(events.Role(choice.index))
        return outputs

    def _spill(self, choice: Choice) -> list[events.AnyOutput]:
        """Text that was held back is not lost with the end that nobody foresaw."""
        text = choice.spill()
        return [*self._begin(), events.Content(text, choice.index)] if text else []

    def _finish(self, choice: Choice, word: str, trigger: str) -> list[events.AnyOutput]:
        choice.state = _NEXT[choice.state, "finished"]
        choice.reason = finish.canonical(word)
        choice.word = word if word != choice.reason else None
        return [events.Finish(choice.reason, choice.index), *self._settle(trigger)]

    def _settle(self, trigger: str) -> list[events.AnyOutput]:
        """Usage and the sentinel, once every choice has finished and no count is waited for."""
        waiting = self._wants_usage and any(choice.counts is None for choice in self.choices)
        if waiting or any(choice.state != "finish" for choice in self.choices):
            return []
        outputs: list[events.AnyOutput] = []
        for choice in self.choices:
            if self._wants_usage:
                choice.state = _NEXT[choice.state, "counted"]
            choice.state = _NEXT[choice.state, "completed"]
        if self._wants_usage:
            outputs.append(events.UsageTotals(self.usage))
        self._end(self._whole, trigger)
        return [*outputs, events.Done()]

    def _give_up_counts(self, waiting: tuple[Choice, ...], trigger: str) -> events.Step:
        """Counts that will not come any more: the answer is whole without them."""
        for choice in waiting:
            choice.counts = choice.counts or UNKNOWN
        outputs = self._settle(trigger)
        return events.Step(waiting[0].state, tuple(outputs))

    def _truncate(self, choice: Choice, trigger: str) -> events.Step:
        """End every open choice as `length`, with the text there is."""
        outputs: list[events.AnyOutput] = []
        for each in self.choices:
            if (each.state, "finished") in _NEXT:
                self._whole = "truncated"
                each.counts = each.counts or UNKNOWN
                outputs += [*self._spill(each), *self._begin(), events.CancelTurn(each.index)]
                outputs += self._finish(each, "length", trigger)
        return events.Step(choice.state, tuple(outputs))

    def _fail(
        self,
        choice: Choice,
        kind: events.TerminalKind,
        failure: events.Failure,
        trigger: str,
    ) -> events.Step:
        """One failure ends every choice; while nothing has gone out, it is all that does."""
        outputs: list[events.AnyOutput] = []
        if self.choices[0].state != "held":
            outputs += [output for each in self.choices for output in self._spill(each)]
        self._end(kind, trigger)
        self.failure = failure
        for each in self.choices:
            each.state = _NEXT[each.state, "fail"]
        return events.Step(choice.state, (*outputs, failure))

    def _end(self, kind: events.TerminalKind, trigger: str) -> None:
        self.kind = kind
        self.emission_trigger = trigger

    def _slowest(self) -> Choice:
        return min(self.choices, key=lambda choice: TABLE.states.index(choice.state))


_STEPS: Final[dict[type, Callable[[Stream, Any, events.Decision | None], events.Step]]] = {
    events.TextDelta: Stream._text,
    events.ReasoningDelta: Stream._reasoning,
    events.TurnFinished: Stream._finished,
    events.TokensCounted: Stream._counted,
    events.TurnFailed: Stream._turn_failed,
    events.TimerFired: Stream._timer,
    events.ClientGone: Stream._gone,
    events.ServerStopping: Stream._stopping,
}
"""What is done for each event; any other is a notice."""
