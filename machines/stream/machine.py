"""The machine of one stream: role, content, tool buffering, finish, usage, done.

Theory of operation. `Stream` holds one state a choice, which `machines.stream.states` declares,
and does what a table cannot say: it counts the choices, holds back text, and emits what goes to
the client. `step(event)` is its only mutator.

One event may lead through several states: a worker's last word through finish, usage and done.
With several choices every role goes out before anything else, one failure ends them all, and
usage and the sentinel wait for the last finish.
"""

from collections.abc import Callable
from typing import Any, Final, get_args

from machines import errors, events, outputs
from machines.events import StreamInput, TerminalKind
from machines.stream import choices, finish, states
from machines.stream.choice import LONGEST_TEXT, Choice, merged
from machines.stream.cutoff import BROKEN
from machines.stream.states import IGNORED, TABLE, TIMEOUTS
from machines.tools.buffer import OutputList
from machines.vocabulary import OF_ALL

_NEXT: Final = TABLE.transitions

WHOLE: Final = frozenset({"stop", "tool_calls", "function_call"})
"""Finish reasons after which the calls of a step are complete and may go to the client."""


class Stream:
    """Folds the events of one stream into the outputs for its client.

    Args:
        opened: its first record.
    """

    def __init__(self, opened: events.Opened) -> None:
        self.opened = opened
        self.choices = tuple(Choice(index, opened, TABLE.initial) for index in range(opened.n))
        self.kind: TerminalKind | None = None
        self.emission_trigger = ""
        self.failure: outputs.Failure | None = None
        self.cause: events.GoneCause | None = None
        self._whole: TerminalKind = "completed"
        self._completing: StreamInput | None = None
        self._wants_usage = opened.include_usage or not opened.streaming

    @property
    def totals(self) -> outputs.UsageTotals:
        """The counts of all choices, a prompt once; None while or where any is unknown."""
        return choices.total(self.choices, len(self.opened.prompt_sizes))

    @property
    def position(self) -> str:
        """The state of the choice that is furthest from its end."""
        return choices.slowest(self.choices).state

    @property
    def ended(self) -> bool:
        """Whether the stream is over: no event will have an output any more."""
        return TABLE.is_final(self.choices[0].state)

    @property
    def bursts(self) -> bool:
        """Whether `tool_grace` would end a choice now: it has calls, and none is on its way."""
        return any(choice.is_between_calls for choice in self.choices)

    def tool_totals(self) -> dict[str, Any]:
        """Return the tool members of the terminal record, of all choices."""
        return choices.tool_totals(self.choices)

    def passes(self, choice: int, text: str) -> bool:
        """Return whether `step` would answer this delta with its text as it came, and change
        nothing."""
        its = self.choices[choice]
        fits = 0 < len(text) <= LONGEST_TEXT
        return its.state == states.CONTENT and fits and (its.plain or its.passes(text))

    def step(self, event: StreamInput, decided: outputs.Decision | None = None) -> outputs.Step:
        """Take one event and return the outputs that follow from it.

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
        state = _NEXT.get((choice.state, states.TEXT))
        if state is None:
            return self._ignored(choice, states.TEXT)
        if choice.plain and state == choice.state and event.text:
            return outputs.Step(state, (outputs.Content(event.text, event.choice),))
        decision, released = choice.release(event.text, decided)
        emitted = choices.emit(self.choices, choice, released)
        if decision is not None and decision.cut:
            emitted += self._cut(choice, decision.cut, event)
        return choices.step(self.choices, choice, emitted, decision)

    def _called(self, event: events.ToolCalled, _: outputs.Decision | None) -> outputs.Step:
        choice = self.choices[event.choice]
        if (choice.state, states.CALL) not in _NEXT:
            return self._ignored(choice, states.CALL)
        emitted = choices.begin(self.choices)
        choice.move(states.CALL)
        choice.tools.called(event)
        if choice.tools.exceeds:
            emitted += self._cut(choice, "call_limit", event)
        return choices.step(self.choices, choice, emitted)

    def _call_delta(
        self, event: events.ToolCallDelta, decided: outputs.Decision | None
    ) -> outputs.Step:
        choice = self.choices[event.choice]
        if (choice.state, states.CALL) not in _NEXT:
            return self._ignored(choice, states.CALL)
        emitted = choices.begin(self.choices)
        emitted += choices.emit(self.choices, choice, choice.tools.spill(""))
        choice.move(states.CALL)
        found, decision = choice.tools.fragment(event, decided)
        emitted += choices.emit(self.choices, choice, found)
        if decision.cut:
            emitted += self._cut(choice, decision.cut, event)
        return choices.step(self.choices, choice, emitted, decision)

    def _aside(self, event: events.Aside, _: outputs.Decision | None) -> outputs.Step:
        choice = self.choices[event.choice]
        state = _NEXT.get((choice.state, states.TEXT))
        if state is None:
            return self._ignored(choice, states.TEXT)
        output = outputs.aside(event)
        if output is None:
            return outputs.Step(choice.state, ())
        emitted: OutputList = []
        if state != choice.state:
            emitted += choices.begin(self.choices)
            choice.move(states.TEXT)
        if isinstance(event, events.MESSAGE_BOUNDARIES):  # held text is of the message before
            emitted += choices.emit(self.choices, choice, choice.tools.spill(""))
        return choices.step(self.choices, choice, [*emitted, output])

    def _members(self, event: events.ExtraMembers, _: outputs.Decision | None) -> outputs.Step:
        choice = self.choices[event.choice]
        output = outputs.Members(event.place, event.members, event.choice, event.followed)
        trigger = states.NOTICE if event.place in OF_ALL else states.TEXT
        if (choice.state, trigger) not in _NEXT:
            return self._ignored(choice, trigger)
        emitted = [] if event.waits else choices.begin(self.choices)
        return choices.step(self.choices, choice, [*emitted, output])

    def _missing(self, event: events.ChoiceMissing, _: outputs.Decision | None) -> outputs.Step:
        choice = self.choices[event.choice]
        if (choice.state, states.FINISHED) not in _NEXT:
            return self._ignored(choice, states.FINISHED)
        emitted = choices.begin(self.choices)
        choice.move(states.FINISHED)
        return choices.step(self.choices, choice, emitted + self._complete_if_ready(event))

    def _finished(
        self, event: events.TurnFinished, decided: outputs.Decision | None
    ) -> outputs.Step:
        choice = self.choices[event.choice]
        if (choice.state, states.FINISHED) not in _NEXT:
            return self._ignored(choice, states.FINISHED)
        choice.followed = event.followed
        if event.cut_short:
            choice.miss_counts(self.opened)
        emitted = choices.begin(self.choices)
        decision, released = choice.release_last(decided)
        emitted += choices.emit(self.choices, choice, released)
        cut = decision.cut if decision is not None else None
        word = cut or event.reason
        if finish.canonical(word) in WHOLE:
            calls, of_calls = choice.tools.finish_calls(decided)
            emitted += choices.emit(self.choices, choice, calls)
            decision = merged(decision, of_calls)
        emitted += self._finish(choice, word, event)
        return choices.step(self.choices, choice, emitted, decision)

    def _counted(
        self, event: events.TokensCounted | events.TokensEstimated, _: outputs.Decision | None
    ) -> outputs.Step:
        choice = self.choices[event.choice]
        if TABLE.is_final(choice.state):
            return self._ignored(choice, states.COUNTED)
        if isinstance(event, events.TokensEstimated):
            choice.estimate(event.usage)
        else:
            choice.count(event.usage)
        emitted = self._complete_if_ready(event)
        return choices.step(self.choices, choice, emitted)

    def _turn_failed(self, event: events.TurnFailed, _: outputs.Decision | None) -> outputs.Step:
        choice = self.choices[event.choice]
        if choice.state == states.FINISH and event.kind != "defect" and not choice.followed:
            return self._give_up_counts((choice,), event)
        if (choice.state, states.FAIL) not in _NEXT:
            return self._ignored(choice, states.FAIL)
        open_answer = choice.state in (states.CONTENT, states.TOOL_BUFFERING)
        lost = event.kind == "worker_lost" and open_answer
        calls = any(each.tools.has_waiting_calls for each in self.choices)
        if lost and not calls and self.opened.length_on_worker_exit:
            return self._truncate(choice, event)
        if event.kind == "empty" and self._may_be_empty():
            return self._leave_empty(choice, event)
        return self._fail(choice, event.kind, outputs.failure_of(event), event)

    def _may_be_empty(self) -> bool:
        """Return whether an empty upstream may end as 200 without frames
        (`PROXY_EMPTY_UPSTREAM`)."""
        begun = self.choices[0].state not in (states.HELD, states.ROLE)
        return self.opened.streaming and not self.opened.empty_is_failure and not begun

    def _leave_empty(self, choice: Choice, event: StreamInput) -> outputs.Step:
        """End the stream with its head alone: no frame, and so no sentinel either."""
        head = (outputs.Head(),) if choice.state == states.HELD else ()
        self._end("empty", event)
        for each in self.choices:
            each.move(states.FAIL)
        return choices.step(self.choices, choice, head)

    def _timer(self, event: events.TimerFired, _: outputs.Decision | None) -> outputs.Step:
        choice = choices.slowest(self.choices)
        if event.timer in TIMEOUTS:
            counted_in, code, message = TIMEOUTS[event.timer]
            if choice.state in counted_in:
                failure = outputs.Failure(code, message)
                return self._fail(choice, "timeout", failure, event)
            return outputs.Step(choice.state, ())
        if event.timer == "heartbeat":
            return self._simple(choice, states.KEEPALIVE, (outputs.Keepalive(),))
        if event.timer == "head_hold":
            return self._simple(choice, states.HEAD_DUE, (outputs.Head(),))
        if event.timer == "truncate":
            return self._truncate(choice, event)
        if event.timer == "tool_grace":
            return self._stop_after_tools(choice, event)
        if choice.state != states.FINISH:  # another choice goes on, and so may the counting
            return outputs.Step(choice.state, ())
        return self._give_up_counts(self.choices, event)

    def _client_gone(self, event: events.ClientGone, _: outputs.Decision | None) -> outputs.Step:
        first = self.choices[0]
        if (first.state, states.ABANDON) not in _NEXT:
            return self._ignored(first, states.ABANDON)
        self._end("client_gone", event)
        self.cause = event.cause
        for choice in self.choices:
            choice.move(states.ABANDON)
        return choices.step(self.choices, first, ())

    def _stopping(self, event: events.ServerStopping, _: outputs.Decision | None) -> outputs.Step:
        choice = choices.slowest(self.choices)
        if choice.state == states.FINISH:
            return self._give_up_counts(self.choices, event)
        if (choice.state, states.FAIL) not in _NEXT:
            return self._ignored(choice, states.FAIL)
        failure = outputs.Failure("server_shutdown", "The server is stopping.")
        return self._fail(choice, "shutdown", failure, event)

    def _notice(self, event: StreamInput) -> outputs.Step:
        choice = self.choices[getattr(event, "choice", 0)]
        if isinstance(event, events.ToolCallDropped):
            choice.tools.dropped += 1
        # It leads every state to itself, and so no choice has to be moved: a short answer has
        # more notices than tokens.
        if (choice.state, states.NOTICE) not in _NEXT:
            return self._ignored(choice, states.NOTICE)
        return outputs.Step(choice.state, ())

    def _simple(
        self, choice: Choice, trigger: str, emitted: tuple[outputs.AnyOutput, ...]
    ) -> outputs.Step:
        before = choice.state
        if (before, trigger) not in _NEXT:
            return self._ignored(choice, trigger)
        for each in self.choices:
            if each.state == before:
                each.move(trigger)
        return choices.step(self.choices, choice, emitted)

    def _ignored(self, choice: Choice, trigger: str) -> outputs.Step:
        if trigger not in IGNORED.get(choice.state, ()):
            raise errors.IllegalEvent(TABLE.name, choice.state, trigger)
        return outputs.Step(choice.state, ())

    def _cut(self, choice: Choice, word: str, event: StreamInput) -> OutputList:
        """Emit the end of a choice before its worker ends it, and cancel its turn."""
        if word in BROKEN:
            return list(self._fail(choice, "upstream_error", BROKEN[word], event).outputs)
        choice.miss_counts(self.opened)
        emitted = choices.begin(self.choices)
        emitted += choices.emit(self.choices, choice, choice.tools.spill(""))
        if word == "tool_calls":
            emitted += choice.tools.close()
        emitted.append(outputs.CancelTurn(choice.index))
        return emitted + self._finish(choice, word, event)

    def _stop_after_tools(self, choice: Choice, event: events.TimerFired) -> outputs.Step:
        """End each choice that has calls: no further call came within the grace period."""
        emitted: OutputList = []
        for each in self.choices:
            if each.is_between_calls:
                emitted += self._cut(each, "tool_calls", event)
        return choices.step(self.choices, choice, emitted)

    def _finish(self, choice: Choice, word: str, event: StreamInput) -> OutputList:
        choice.tools.give_up()
        counts = choice.tools.counts()
        choice.move(states.FINISHED)
        choice.reason = finish.shown(word, choice.tools.calls > 0, self.opened.tools.legacy)
        choice.word = word if word != choice.reason else None
        no_text = event.no_text if isinstance(event, events.TurnFinished) else "unsaid"
        finished = outputs.Finish(choice.reason, choice.index, no_text)
        return [*counts, finished, *self._complete_if_ready(event)]

    def _complete_if_ready(self, event: StreamInput) -> OutputList:
        """Emit usage and sentinel once every choice has finished and no counts are awaited."""
        if not isinstance(event, events.TokensEstimated):  # it follows on what ends the answer
            self._completing = event
        waiting = any(choice.waits(self._wants_usage) for choice in self.choices)
        if waiting or any(choice.state != states.FINISH for choice in self.choices):
            return []
        emitted: OutputList = []
        for choice in self.choices:
            if self._wants_usage:
                choice.move(states.COUNTED)
            choice.move(states.COMPLETED)
        if self._wants_usage:
            emitted.append(self.totals)
        self._end(self._whole, self._completing or event)
        return [*emitted, outputs.Done()]

    def _give_up_counts(self, waiting: tuple[Choice, ...], event: StreamInput) -> outputs.Step:
        """Complete the answer without the counts that will not come any more."""
        for choice in waiting:
            choice.give_up_counts()
        emitted = self._complete_if_ready(event)
        return choices.step(self.choices, waiting[0], emitted)

    def _truncate(self, choice: Choice, event: StreamInput) -> outputs.Step:
        """End every open choice as `length`, with the text that has come so far."""
        emitted: OutputList = []
        for each in self.choices:
            if (each.state, states.FINISHED) in _NEXT:
                self._whole = "truncated"
                each.miss_counts(self.opened)
                emitted += choices.emit(self.choices, each, each.spill())
                emitted += self._cut(each, "length", event)
        return choices.step(self.choices, choice, emitted)

    def _fail(
        self, choice: Choice, kind: TerminalKind, failure: outputs.Failure, event: StreamInput
    ) -> outputs.Step:
        """End every choice by one failure; before the head, it is the only output."""
        emitted: OutputList = []
        held = self.choices[0].state == states.HELD
        if not held:
            for each in self.choices:
                emitted += choices.emit(self.choices, each, each.spill())
        self._end(kind, event)
        self.failure = failure
        for each in self.choices:
            each.move(states.FAIL)
        rejected = held or not self.opened.streaming
        last = outputs.Rejected(failure) if rejected else failure
        return choices.step(self.choices, choice, (*emitted, last))

    def _end(self, kind: TerminalKind, event: StreamInput) -> None:
        for choice in self.choices:
            choice.tools.give_up()
        self.kind = kind
        self.emission_trigger = str(event.__struct_config__.tag)


_STEPS: Final[dict[type, Callable[[Stream, Any, outputs.Decision | None], outputs.Step]]] = {
    events.TextDelta: Stream._text,
    events.ReasoningDelta: Stream._aside,
    **dict.fromkeys(get_args(events.ItemBoundary), Stream._aside),
    events.RefusalDelta: Stream._aside,
    events.ExtraMembers: Stream._members,
    events.ToolCalled: Stream._called,
    events.ToolCallDelta: Stream._call_delta,
    events.TurnFinished: Stream._finished,
    events.ChoiceMissing: Stream._missing,
    events.TokensCounted: Stream._counted,
    events.TokensEstimated: Stream._counted,
    events.TurnFailed: Stream._turn_failed,
    events.TimerFired: Stream._timer,
    events.ClientGone: Stream._client_gone,
    events.ServerStopping: Stream._stopping,
}
"""The method for each event; any other event is a notice."""
