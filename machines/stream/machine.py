"""The machine of one stream: role, content, tool buffering, finish, usage, done.

Theory of operation. `Stream` holds one state a choice, which `machines.stream.states` declares,
and does what a table cannot say: it counts the choices, holds back text, and says what goes to
the client. `step(event)` is its only mutator.

One event may lead through several states: a worker's last word through finish, usage and done.
With several choices every role goes out before anything else, one failure ends them all, and
usage and the sentinel wait for the last finish.
"""

from collections.abc import Callable
from typing import Any, Final

from machines import errors, events, outputs
from machines.stream import choice as choices, finish, states
from machines.stream.choice import UNKNOWN, Choice
from machines.stream.states import IGNORED, OUTPUT_TRIGGERS, TABLE, TIMEOUTS
from machines.tools.buffer import BROKEN, Said

_NEXT: Final = TABLE.transitions

WHOLE: Final = frozenset({"stop", "tool_calls", "function_call"})
"""Reasons of a step that is whole: only then are its calls."""


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
        self.failure: outputs.Failure | None = None
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

    @property
    def bursts(self) -> bool:
        """Whether `tool_grace` would end a choice now: it has calls, and none is on its way."""
        return any(self._rests(choice) for choice in self.choices)

    @property
    def withheld(self) -> bool:
        """Whether a call was made that the client will not see."""
        return any(choice.tools.withheld or choice.tools.dropped for choice in self.choices)

    def tool_totals(self) -> dict[str, Any]:
        """The tool members of the terminal record, of all choices."""
        return choices.tool_totals(self.choices)

    def passes(self, choice: int, text: str) -> bool:
        """Whether `step` would answer this delta with its text as it came, and change nothing."""
        its = self.choices[choice]
        fits = 0 < len(text) <= choices.LONGEST_TEXT
        return its.state == states.CONTENT and fits and (its.plain or its.passes(text))

    def step(
        self, event: events.StreamInput, decided: outputs.Decision | None = None
    ) -> outputs.Step:
        """Take one event and say what follows from it.

        Args:
            decided: what scanners decided when the event was first taken, for a replay whose
                text is masked; None lets them decide.

        Raises:
            IllegalEvent: the state has no transition for it and does not ignore it.
        """
        step = _STEPS.get(type(event))
        return self._notice(event) if step is None else step(self, event, decided)

    def _text(self, event: events.TextDelta, decided: outputs.Decision | None) -> outputs.Step:
        choice = self.choices[event.choice]
        state = _NEXT.get((choice.state, "text"))
        if state is None:
            return self._ignored(choice, "text")
        if choice.plain and state == choice.state and event.text:
            return outputs.Step(state, (outputs.Content(event.text, event.choice),))
        decision, released = choice.release(event.text, decided)
        said = self._say(choice, released)
        if decision is not None and decision.cut:
            said += self._cut(choice, decision.cut, "text_delta")
        return choices.step(self.choices, choice, said, decision)

    def _called(self, event: events.ToolCalled, _: outputs.Decision | None) -> outputs.Step:
        choice = self.choices[event.choice]
        if (choice.state, "call") not in _NEXT:
            return self._ignored(choice, "call")
        said = self._begin()
        choice.move("call")
        choice.tools.called(event)
        if choice.tools.exceeds:
            said += self._cut(choice, "call_limit", "tool_called")
        return choices.step(self.choices, choice, said)

    def _call_delta(
        self, event: events.ToolCallDelta, decided: outputs.Decision | None
    ) -> outputs.Step:
        choice = self.choices[event.choice]
        if (choice.state, "call") not in _NEXT:
            return self._ignored(choice, "call")
        said = [*self._begin(), *self._say(choice, choice.tools.spill(""))]
        choice.move("call")
        found, decision = choice.tools.fragment(event, decided)
        said += self._say(choice, found)
        if decision.cut:
            said += self._cut(choice, decision.cut, "tool_call_delta")
        return choices.step(self.choices, choice, said, decision)

    def _aside(self, event: events.Aside, _: outputs.Decision | None) -> outputs.Step:
        choice = self.choices[event.choice]
        state = _NEXT.get((choice.state, "text"))
        if state is None:
            return self._ignored(choice, "text")
        output = outputs.aside(event)
        if output is None:
            return outputs.Step(choice.state, ())
        said: Said = []
        if state != choice.state:
            said += self._begin()
            choice.move("text")
        return choices.step(self.choices, choice, [*said, output])

    def _finished(
        self, event: events.TurnFinished, decided: outputs.Decision | None
    ) -> outputs.Step:
        choice = self.choices[event.choice]
        if (choice.state, "finished") not in _NEXT:
            return self._ignored(choice, "finished")
        choice.followed = event.followed
        said = self._begin()
        decision, released = choice.release_last(decided)
        said += self._say(choice, released)
        cut = decision.cut if decision is not None else None
        word = cut or event.reason
        if finish.canonical(word) in WHOLE:
            calls, settled = choice.tools.settle(decided)
            said += self._say(choice, calls)
            decision = choices.merged(decision, settled)
        said += self._finish(choice, word, "turn_finished")
        return choices.step(self.choices, choice, said, decision)

    def _counted(self, event: events.TokensCounted, _: outputs.Decision | None) -> outputs.Step:
        choice = self.choices[event.choice]
        if TABLE.is_final(choice.state):
            return self._ignored(choice, "counted")
        choice.count(event.usage)
        said = self._settle("tokens_counted")
        return choices.step(self.choices, choice, said)

    def _turn_failed(self, event: events.TurnFailed, _: outputs.Decision | None) -> outputs.Step:
        choice = self.choices[event.choice]
        if choice.state == states.FINISH and event.kind != "defect" and not choice.followed:
            return self._give_up_counts((choice,), "turn_failed")
        if (choice.state, "fail") not in _NEXT:
            return self._ignored(choice, "fail")
        open_answer = choice.state in (states.CONTENT, states.TOOL_BUFFERING)
        lost = event.kind == "worker_lost" and open_answer
        calls = any(each.tools.waits for each in self.choices)
        if lost and not calls and self.opened.length_on_worker_exit:
            return self._truncate(choice, "turn_failed")
        if event.kind == "empty" and self._may_be_empty():
            return self._leave_empty(choice)
        return self._fail(choice, event.kind, outputs.failure_of(event), "turn_failed")

    def _may_be_empty(self) -> bool:
        """Whether nothing at all is an answer: to a stream that has not begun it is."""
        begun = self.choices[0].state not in (states.HELD, states.ROLE)
        return self.opened.streaming and not self.opened.empty_is_failure and not begun

    def _leave_empty(self, choice: Choice) -> outputs.Step:
        """A stream without an event in it, and so without its sentinel."""
        head = (outputs.Head(),) if choice.state == states.HELD else ()
        self._end("empty", "turn_failed")
        for each in self.choices:
            each.move("fail")
        return choices.step(self.choices, choice, head)

    def _timer(self, event: events.TimerFired, _: outputs.Decision | None) -> outputs.Step:
        choice = self._slowest()
        if event.timer in TIMEOUTS:
            counted_in, code, message = TIMEOUTS[event.timer]
            if choice.state in counted_in:
                failure = outputs.Failure(code, message)
                return self._fail(choice, "timeout", failure, "timer_fired")
            return outputs.Step(choice.state, ())
        if event.timer == "heartbeat":
            return self._simple(choice, "keepalive", (outputs.Keepalive(),))
        if event.timer == "head_hold":
            return self._simple(choice, "head_due", (outputs.Head(),))
        if event.timer == "truncate":
            return self._truncate(choice, "timer_fired")
        if event.timer == "tool_grace":
            return self._stop_after_tools(choice)
        if choice.state != states.FINISH:  # another choice goes on, and so may the counting
            return outputs.Step(choice.state, ())
        return self._give_up_counts(self.choices, "timer_fired")

    def _gone(self, event: events.ClientGone, _: outputs.Decision | None) -> outputs.Step:
        first = self.choices[0]
        if (first.state, "abandon") not in _NEXT:
            return self._ignored(first, "abandon")
        self._end("client_gone", "client_gone")
        self.cause = event.cause
        for choice in self.choices:
            choice.move("abandon")
        return choices.step(self.choices, first, ())

    def _stopping(self, _event: events.ServerStopping, _: outputs.Decision | None) -> outputs.Step:
        choice = self._slowest()
        if choice.state == states.FINISH:
            return self._give_up_counts(self.choices, "server_stopping")
        if (choice.state, "fail") not in _NEXT:
            return self._ignored(choice, "fail")
        failure = outputs.Failure("server_shutdown", "The server is stopping.")
        return self._fail(choice, "shutdown", failure, "server_stopping")

    def _notice(self, event: events.StreamInput) -> outputs.Step:
        choice = self.choices[getattr(event, "choice", 0)]
        if isinstance(event, events.ToolCallDropped):
            choice.tools.dropped += 1
        return self._simple(choice, "notice", ())

    def _simple(
        self, choice: Choice, trigger: str, said: tuple[outputs.AnyOutput, ...]
    ) -> outputs.Step:
        before = choice.state
        if (before, trigger) not in _NEXT:
            return self._ignored(choice, trigger)
        for each in self.choices:
            if each.state == before:
                each.move(trigger)
        return choices.step(self.choices, choice, said)

    def _ignored(self, choice: Choice, trigger: str) -> outputs.Step:
        if trigger not in IGNORED.get(choice.state, ()):
            raise errors.IllegalEvent(TABLE.name, choice.state, trigger)
        return outputs.Step(choice.state, ())

    def _begin(self) -> Said:
        """Head and roles, where they have not gone yet."""
        first = self.choices[0]
        said: Said = []
        if first.state == states.HELD:
            said.append(outputs.Head())
        if first.state in (states.HELD, states.ROLE):
            for choice in self.choices:
                choice.move("begin")
                said.append(outputs.Role(choice.index))
        return said

    def _say(self, choice: Choice, said: Said) -> Said:
        """What the scanners let go on: the state is that of the last of it."""
        if not said:
            return []
        begun = self._begin()
        for output in said:
            trigger = OUTPUT_TRIGGERS.get(type(output))
            if trigger is not None:
                choice.move(trigger)
        return begun + said

    def _cut(self, choice: Choice, word: str, trigger: str) -> Said:
        """End a choice before its worker does."""
        if word in BROKEN:
            return list(self._fail(choice, "upstream_error", BROKEN[word], trigger).outputs)
        choice.counts = choice.counts or UNKNOWN
        said = [*self._begin(), *self._say(choice, choice.tools.spill(""))]
        if word == "tool_calls":
            said += choice.tools.close()
        said.append(outputs.CancelTurn(choice.index))
        return said + self._finish(choice, word, trigger)

    def _stop_after_tools(self, choice: Choice) -> outputs.Step:
        """No further call came within the grace: what has calls ends with them."""
        said: Said = []
        for each in self.choices:
            if self._rests(each):
                said += self._cut(each, "tool_calls", "timer_fired")
        return choices.step(self.choices, choice, said)

    def _rests(self, choice: Choice) -> bool:
        return choice.tools.rests and (choice.state, "finished") in _NEXT

    def _finish(self, choice: Choice, word: str, trigger: str) -> Said:
        choice.tools.give_up()
        counts = choice.tools.counts()
        choice.move("finished")
        choice.reason = self._reason(word, choice.tools.calls > 0)
        choice.word = word if word != choice.reason else None
        finished = outputs.Finish(choice.reason, choice.index)
        return [*counts, finished, *self._settle(trigger)]

    def _reason(self, word: str, calls: bool) -> finish.FinishReason:
        reason = finish.canonical(word, calls)
        if reason == "tool_calls" and self.opened.tools.legacy:
            return "function_call"
        return reason

    def _settle(self, trigger: str) -> Said:
        """Usage and the sentinel, once every choice has finished and no count is waited for."""
        waiting = any(choice.waits(self._wants_usage) for choice in self.choices)
        if waiting or any(choice.state != states.FINISH for choice in self.choices):
            return []
        said: Said = []
        for choice in self.choices:
            if self._wants_usage:
                choice.move("counted")
            choice.move("completed")
        if self._wants_usage:
            said.append(outputs.UsageTotals(self.usage))
        self._end(self._whole, trigger)
        return [*said, outputs.Done()]

    def _give_up_counts(self, waiting: tuple[Choice, ...], trigger: str) -> outputs.Step:
        """Counts that will not come any more: the answer is whole without them."""
        for choice in waiting:
            choice.counts = choice.counts or UNKNOWN
        said = self._settle(trigger)
        return choices.step(self.choices, waiting[0], said)

    def _truncate(self, choice: Choice, trigger: str) -> outputs.Step:
        """End every open choice as `length`, with the text there is."""
        said: Said = []
        for each in self.choices:
            if (each.state, "finished") in _NEXT:
                self._whole = "truncated"
                each.counts = each.counts or UNKNOWN
                said += self._say(each, each.spill())
                said += self._cut(each, "length", trigger)
        return choices.step(self.choices, choice, said)

    def _fail(
        self,
        choice: Choice,
        kind: events.TerminalKind,
        failure: outputs.Failure,
        trigger: str,
    ) -> outputs.Step:
        """One failure ends every choice; while nothing has gone out, it is all that does."""
        said: Said = []
        held = self.choices[0].state == states.HELD
        if not held:
            for each in self.choices:
                said += self._say(each, each.spill())
        self._end(kind, trigger)
        self.failure = failure
        for each in self.choices:
            each.move("fail")
        rejected = held or not self.opened.streaming
        last = outputs.Rejected(failure) if rejected else failure
        return choices.step(self.choices, choice, (*said, last))

    def _end(self, kind: events.TerminalKind, trigger: str) -> None:
        for choice in self.choices:
            choice.tools.give_up()
        self.kind = kind
        self.emission_trigger = trigger

    def _slowest(self) -> Choice:
        return min(self.choices, key=lambda choice: TABLE.states.index(choice.state))


_STEPS: Final[dict[type, Callable[[Stream, Any, outputs.Decision | None], outputs.Step]]] = {
    events.TextDelta: Stream._text,
    events.ReasoningDelta: Stream._aside,
    events.ReasoningCompleted: Stream._aside,
    events.RefusalDelta: Stream._aside,
    events.ToolCalled: Stream._called,
    events.ToolCallDelta: Stream._call_delta,
    events.TurnFinished: Stream._finished,
    events.TokensCounted: Stream._counted,
    events.TurnFailed: Stream._turn_failed,
    events.TimerFired: Stream._timer,
    events.ClientGone: Stream._gone,
    events.ServerStopping: Stream._stopping,
}
"""What is done for each event; any other is a notice."""
