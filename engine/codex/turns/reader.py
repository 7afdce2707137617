"""Reads the app-server's notifications as events of the turn that they are about."""

from collections.abc import Callable, Container, Mapping
from types import MappingProxyType
from typing import Final

import msgspec

from engine import failures, redaction, runningtext, worker
from engine.codex.protocol import notifications
from engine.codex.request import reasoning
from engine.codex.turns import modelstep, states
from machines import events
from machines.turn import thread as threads, turn as turns
from machines.wire import jsonrpc

PARAGRAPH: Final = "\n\n"
"""The blank line that joins several messages of one turn, and several parts of its reasoning."""

COMMENTARY: Final = "commentary"
"""The phase of agent messages that belong to the thinking, not to the answer."""

GARBLED_BYTES: Final = 1024
"""How much of a line that cannot be read goes on record."""

SILENT_STEPS_MAX: Final = 8
"""Steps without a word. A model that calls functions which it was not given is told so by Codex,
and asked again, as often as it calls."""


class Tools(msgspec.Struct, frozen=True):
    """The part of a reader that only a turn with functions needs.

    Attributes:
        required: whether an answer without a call is none: then its text is held back.
        past: ids of the thread's turns that are over.
        earlier: counts of steps that came to nothing.
        on_step: called with a step that has calls, before the client hears of it.
        on_asked: called with Codex's request for the result of a call, and with the call's id.
    """

    collector: modelstep.StepCollector
    required: bool
    past: set[str]
    earlier: events.Usage | None
    on_step: Callable[[modelstep.ModelStep], None]
    on_asked: Callable[[jsonrpc.Id, str], None]


class TurnReader:
    """Translates the notifications of one turn.

    Args:
        steps: the states of the turn, which every notification may step.
        tools: of a turn that may call.
        reasoning_items: whether the ends of reasoning items are wanted.
        ids: what lines about this turn are found by.
        known: the server's own secrets, which a provider may repeat.

    Attributes:
        failure: what ended the turn, where it has failed.
        past: ids of the thread's earlier turns, whose frames are no news.
    """

    def __init__(
        self,
        feed: worker.Feed,
        choice: int,
        steps: states.States,
        tools: Tools | None = None,
        reasoning_items: bool = False,
        ids: Mapping[str, str] = MappingProxyType({}),
        known: redaction.Redaction = redaction.NONE,
    ) -> None:
        self.ids = ids
        self._known = known
        self._reasoning_items = reasoning_items
        self.failure: failures.ProviderFailure | None = None
        self.tools = tools
        self.past: Container[str] = tools.past if tools is not None else ()
        self._requires_call = tools is not None and tools.required
        self._kept_back: list[str] = []
        self._feed = feed
        self._choice = choice
        self._states = steps
        self._last_word: events.TurnFinished | None = None
        self._commentary: set[str] = set()
        self._answer_item = ""
        self._thought_item = ""
        self._texts: dict[str, runningtext.RunningText] = {}
        self._answer = runningtext.RunningText()
        self._steps = 0
        self._counts: notifications.TokenCounts | None = None

    def mute(self) -> None:
        """Feed nothing more: the turn was cancelled."""
        self._feed = worker.SILENCE

    def text_delta(self, item_id: str, delta: str) -> None:
        """Take a piece of an agent message: the hot path."""
        if item_id != self._answer_item:
            if item_id in self._commentary:
                self._comment(item_id, delta)
                return
            self._begin_answer(item_id)
        pieces = self._answer.pieces
        pieces.append(delta)
        if len(pieces) >= runningtext.FOLDED:
            self._answer.fold()
        if self.tools is None:
            self._feed.event(events.TextDelta(delta, self._choice))
        else:
            self._emit_text(self.tools, delta)

    def _comment(self, item_id: str, delta: str) -> None:
        """Take a piece of a message that belongs to the thinking."""
        self._text_of(item_id).add(delta)
        self.reasoning_delta(item_id, delta)

    def _emit_text(self, tools: Tools, delta: str) -> None:
        """Take a piece of the answer of a turn that may call tools."""
        tools.collector.on_text(delta)
        if self._requires_call:
            self._kept_back.append(delta)
        else:
            self._feed.event(events.TextDelta(delta, self._choice))

    def raw_item(self, raw: notifications.RawItemCompleted) -> None:
        """Take the provider's own form of an item."""
        if self._ended:
            return
        if self.tools is not None:
            self.tools.collector.item(raw)
        if self._reasoning_items and not raw.turn_id.startswith(modelstep.ECHO):
            self._reasoned(modelstep.read_item(raw.item))

    def _reasoned(self, item: notifications.ResponseItem) -> None:
        """End a reasoning item: the provider's own form of it comes when it is complete."""
        if item.type != "reasoning":
            return
        self._thought_item = ""
        if self._states.turn != turns.WHOLE:
            self._step(turns.Event.SPOKE)
        self._feed.event(events.ReasoningCompleted(reasoning.carried(item), self._choice))

    def result_requested(self, rpc_id: jsonrpc.Id, call_id: str) -> None:
        """Take a request for the result of a call, which may come before the step is complete."""
        assert self.tools is not None
        self.tools.on_asked(rpc_id, call_id)

    def response_completed(self, raw: notifications.RawResponseCompleted) -> None:
        """Take the end of a step of the model; if it has calls, the answer ends with it."""
        if self.tools is None or self._ended:
            return
        self._counts = raw.usage
        step = self.tools.collector.whole(raw.turn_id)
        if step.calls:
            self.tools.on_step(step)
            self._release()
            for call in step.calls:
                self._feed.event(
                    events.ToolCalled(call.call_id, call.name, call.arguments, self._choice)
                )
            self._end("tool_calls")
        elif self._states.turn == turns.SPEAKING and self._answer_item:
            lacking = self._requires_call
            self._step(turns.Event.STEP_LACKING if lacking else turns.Event.STEP_WHOLE)

    def reasoning_delta(self, part: str, delta: str) -> None:
        """Take a piece of reasoning or commentary; `part` tells pieces of several texts apart."""
        if part != self._thought_item:
            if self._thought_item:
                delta = PARAGRAPH + delta
            self._thought_item = part
            self._step(turns.Event.SPOKE)
        self._feed.event(events.ReasoningDelta(delta, self._choice))

    def item_started(self, item: notifications.Item) -> None:
        """Take the start of an item: the model is alive, and not at its end."""
        if item.type == "agentMessage" and item.phase == COMMENTARY:
            self._commentary.add(item.id)
        self._step(turns.Event.ITEM_STARTED)
        self._feed.event(events.ItemStarted(item.type, self._choice))

    def item_completed(self, item: notifications.Item) -> None:
        """Take a complete item; emit what of its text no delta brought."""
        if item.type != "agentMessage":
            return
        # A provider that sends no text with an item's end has said all of it before.
        rest = self._text_of(item.id).rest_of(item.text) if item.text else ""
        if rest is None:
            self.fail(failures.TEXT_MISMATCH)
            return
        if item.id in self._commentary or item.phase == COMMENTARY:
            if rest:
                self._comment(item.id, rest)
            return
        if rest:
            self.text_delta(item.id, rest)
        # Codex tells nothing of a call until its arguments are whole, which may be minutes behind
        # the text before it: a step with tools is whole when its response is.
        if self.tools is None:
            self._step(turns.Event.ITEM_WHOLE)

    def _text_of(self, item_id: str) -> runningtext.RunningText:
        """What went out of a message so far."""
        return self._texts.setdefault(item_id, runningtext.RunningText())

    def tokens_counted(self, counts: notifications.TokenCounts) -> None:
        """Keep the thread's counts so far; they are true only if the turn ends well."""
        if self.tools is not None:
            return  # each step has been counted, and the thread's are too many
        self._counts = counts
        self._steps += 1
        if self._steps > SILENT_STEPS_MAX and self._states.turn == turns.SILENT:
            self.fail(failures.RUNAWAY)

    def completed(self, its: notifications.Turn) -> None:
        """Take the end of the turn."""
        if self.tools is not None:
            self.tools.past.add(its.id)
        if self._states.thread == threads.WAITING:
            self._states.take_thread_event(threads.Event.GIVEN_UP)  # for results it cannot take
        if self._ended:
            return
        if its.status == "completed":
            self._finish("content_filter" if self._refused() else "stop")
            return
        error = its.error
        if error is None:
            failure = failures.INTERRUPTED
        else:
            status, message = error.http_status, error.message
            verdict = failures.classify(error.error_word, status, message, self._known)
            if isinstance(verdict, failures.Incomplete):
                self._finish(verdict.reason)
                return
            failure = verdict
        self.fail(failure, turns.Event.REFUSED)

    def lost(self) -> None:
        """End the turn: the process has gone. An answer that was complete stays one."""
        if self._states.turn == turns.WHOLE:
            self._finish("stop", turns.Event.LOST)
        elif self._states.turn not in turns.TABLE.final:
            self.fail(failures.LOST, turns.Event.LOST)
        elif self._states.thread not in threads.TABLE.final:
            self._states.take_thread_event(threads.Event.PROCESS_LOST)

    def overdue(self) -> None:
        """End a turn whose answer is whole, and that says no more."""
        if self._requires_call:
            self.fail(failures.UNCALLED, turns.Event.OVERDUE)
        else:
            self._finish("stop", turns.Event.OVERDUE)

    def break_off(self) -> None:
        """Fail the turn for a bug of ours: what this reader knows cannot be relied upon."""
        if self._states.turn in turns.ANSWERED and self._last_word is None:
            self._feed.event(failures.DEFECT.event(self._choice))  # its end would never be told
        self.mute()
        if self._states.turn not in turns.TABLE.final:
            self.failure = failures.DEFECT
            self._states.take_turn_event(turns.Event.STOPPED)
        elif self._states.thread == threads.WAITING:
            self._states.take_thread_event(threads.Event.GIVEN_UP)

    def unreadable(self, line: bytes) -> None:
        """Fail the turn: a line of it was lost, and with it a part of the answer."""
        if not self._ended:
            text = self._known.start_of_bytes(line, GARBLED_BYTES)
            self._feed.event(events.UpstreamGarbled(text, self._choice))
            self.fail(failures.UNREADABLE)

    def fail(
        self, failure: failures.ProviderFailure, event: turns.Event = turns.Event.STOPPED
    ) -> None:
        """Fail the turn; nothing that still comes of it counts.

        Args:
            event: whose word it is. Of a turn that is `STOPPED` Codex does not know that it is
                over.
        """
        if self._states.turn in turns.TABLE.final:
            return
        self.failure = failure
        self._drop_calls()
        self.mute()  # whatever else comes of this turn is too late
        if self._states.turn not in turns.TABLE.final:  # its stream may have ended meanwhile
            self._states.take_turn_event(event)

    def _drop_calls(self) -> None:
        """Record the calls of a step that was never completed: the client will not see them."""
        for call in self.tools.collector.calls() if self.tools is not None else ():
            self._feed.event(events.ToolCallDropped(call.call_id, call.name, self._choice))

    def _finish(self, reason: str, event: turns.Event = turns.Event.COMPLETED) -> None:
        """End the answer, its counts first as far as they are known."""
        if self._requires_call and reason == "stop":
            self._states.take_turn_event(turns.Event.CALL_MISSING)
            return
        self._states.take_turn_event(event)
        self._drop_calls()
        self._release()
        self._end(reason)

    @property
    def usage(self) -> events.Usage | None:
        """Counts of this turn, and of those before it that came to nothing."""
        counted = modelstep.usage(self._counts)
        return modelstep.added(self.tools.earlier, counted) if self.tools else counted

    def _end(self, reason: str) -> None:
        self._feed.event(events.TokensCounted(self.usage, self._choice))
        self._last_word = events.TurnFinished(reason, self._choice)
        self._feed.event(self._last_word)

    def _release(self) -> None:
        """Emit the text that was kept back until a call came."""
        for text in self._kept_back:
            self._feed.event(events.TextDelta(text, self._choice))
        self._kept_back.clear()

    def _begin_answer(self, item_id: str) -> None:
        if self._answer_item and self.tools is None:
            self._feed.event(events.TextDelta(PARAGRAPH, self._choice))
        elif self._answer_item and self.tools is not None:
            self._emit_text(self.tools, PARAGRAPH)
        self._answer_item = item_id
        self._answer = self._text_of(item_id)
        self._step(turns.Event.KEPT_BACK if self._requires_call else turns.Event.SPOKE)

    def _refused(self) -> bool:
        """Whether the model refused. Codex drops a refusal's text, and leaves an answer that has
        output tokens but no text."""
        counts = self._counts
        if self._answer_item or counts is None:
            return False
        return counts.output_tokens > counts.reasoning_output_tokens

    @property
    def _ended(self) -> bool:
        return self._states.turn in turns.ENDED

    def _step(self, event: turns.Event) -> None:
        """Take what happened to the turn, unless nothing that comes of it counts any more."""
        if not self._ended:
            self._states.take_turn_event(event)
