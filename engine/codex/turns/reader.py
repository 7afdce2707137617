"""Reads the app-server's notifications as events of the turn that they are about."""

from collections.abc import Container, Mapping
from types import MappingProxyType
from typing import Final

from engine import failures, redaction, runningtext, worker
from engine.codex.protocol import notifications
from engine.codex.request import history, reasoning
from engine.codex.turns import citations, counting, messages, modelstep, states, thinking, verdicts
from machines import events
from machines.turn import thread as threads, turn as turns
from machines.wire import jsonrpc

GARBLED_BYTES: Final = 1024
"""How much of a line that cannot be read goes on record."""


class TurnReader:
    """Translates the notifications of one turn.

    Args:
        steps: the states of the turn, which every notification may step.
        tools: of a turn that may call.
        reasoning_items: whether what only the provider reads of its reasoning is wanted.
        separate_items: whether each item is told by itself; see `worker.Turn`.
        ids: what lines about this turn are found by.
        known: the server's own secrets, which a provider may repeat.
        counts: of the turn; None where nobody else knows the thread's.
        past: ids of the thread's earlier turns, whose frames are no news.
        keeps: whether a later request may go on with the thread.
        cited: of a turn that may search the web.

    Attributes:
        failure: what ended the turn, where it has failed.
        ended_as: id of the turn, once Codex has ended it.
        counts, messages, thinking: what it took, and what was said in it.
    """

    def __init__(
        self,
        feed: worker.Feed,
        choice: int,
        steps: states.States,
        tools: modelstep.Tools | None = None,
        reasoning_items: bool = False,
        separate_items: bool = False,
        ids: Mapping[str, str] = MappingProxyType({}),
        known: redaction.Redaction = redaction.NONE,
        counts: counting.TurnCounts | None = None,
        past: Container[str] = (),
        keeps: bool = False,
        cited: citations.Citations | None = None,
    ) -> None:
        self._citations = cited
        self.ids = ids
        self._known = known
        self._reasoning_items = reasoning_items
        self._separate_items = separate_items
        self.failure: failures.ProviderFailure | None = None
        self.tools = tools
        self.past = past
        self.ended_as = ""
        self._is_plain = keeps
        self._requires_call = tools is not None and tools.required
        self._kept_back: list[events.StreamInput] = []
        self._feed = feed
        self._choice = choice
        self._states = steps
        self.thinking = thinking.Thinking(feed, choice, self._thought, separate_items)
        self._last_word: events.TurnFinished | None = None
        self.messages = messages.Messages(separate_items)
        self._answer_item = self._comment_item = ""
        self._answer = runningtext.RunningText()
        self.counts = counts or counting.TurnCounts(by_step=tools is not None)
        self._began = False

    def mute(self) -> None:
        """Feed nothing more: the turn was cancelled."""
        self._feed = self.thinking.feed = worker.SILENCE

    def text_delta(self, item_id: str, delta: str) -> None:
        """Take a piece of an agent message: the hot path."""
        if item_id != self._answer_item:
            if self.messages.is_commentary(item_id):
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
        self.messages.text_of(item_id).add(delta)
        if not self._separate_items:
            self.thinking.delta(item_id, delta)
            return
        self._begin_comment(item_id)
        if self.tools is not None:
            self.tools.collector.on_text(delta)
        self._feed.event(events.ReasoningDelta(delta, self._choice, "commentary"))

    def _begin_comment(self, item_id: str) -> None:
        if item_id != self._comment_item:
            self._comment_item = item_id
            self._step(turns.Event.SPOKE)
            phase = self.messages.phase(item_id)
            self._feed.event(events.MessageStarted(phase, self._choice))

    def _emit_text(self, tools: modelstep.Tools, delta: str) -> None:
        """Take a piece of the answer of a turn that may call tools."""
        tools.collector.on_text(delta)
        self._emit(events.TextDelta(delta, self._choice))

    def _emit(self, event: events.StreamInput) -> None:
        """Emit a part of the answer; it is kept back until the call comes that is required."""
        if self._requires_call:
            self._kept_back.append(event)
        else:
            self._feed.event(event)

    def raw_item(self, raw: notifications.RawItemCompleted) -> None:
        """Take the provider's own form of an item."""
        if self._ended:
            return
        if self.tools is not None:
            self.tools.collector.item(raw)
        if raw.turn_id.startswith(modelstep.ECHO):
            return
        self._began = True
        if self._reasoning_items and (item := modelstep.read_item(raw.item)).type == "reasoning":
            self._end_thought(reasoning.carried(item), reasoning.summary(item))
        if self._citations is not None and (cited := self._citations.of(raw.item)) is not None:
            self._emit(events.ExtraMembers("delta", cited, self._choice))

    def _end_thought(self, carried: str = "", summary: tuple[str, ...] = ()) -> None:
        """End a reasoning item. It is no news of a turn whose answer is whole."""
        if self._states.turn != turns.WHOLE:
            self._step(turns.Event.SPOKE)
        self.thinking.end(history.Thought(self.messages.whole, carried, summary))

    def result_requested(self, rpc_id: jsonrpc.Id, call_id: str) -> None:
        """Take a request for the result of a call, which may come before the step is complete."""
        assert self.tools is not None
        self.tools.on_asked(rpc_id, call_id)

    def response_completed(self, raw: notifications.RawResponseCompleted) -> None:
        """Take the end of a step of the model; if it has calls, the answer ends with it."""
        if self.tools is None or self._ended:
            return
        self.counts.step_counted(raw.usage)
        if self.counts.steps > counting.STEPS_MAX:
            self.fail(failures.RUNAWAY)
            return
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

    def reasoning_delta(
        self, part: str, delta: str, kind: events.ReasoningKind = "summary"
    ) -> None:
        """Take a piece of reasoning; `part` tells pieces of several texts apart."""
        self.thinking.delta(part, delta, kind)

    def _thought(self) -> None:
        """Take a sign that the model thinks."""
        self._began = True
        self._step(turns.Event.SPOKE)

    def rerouted(self, model: str, reason: str) -> None:
        """Take the provider's word that another model answers than it was asked for."""
        if not self._ended:
            named, why = (failures.word(text, self._known) or "" for text in (model, reason))
            self._feed.event(events.ModelRerouted(named, why, self._choice))

    def item_started(self, item: notifications.Item) -> None:
        """Take the start of an item: the model is alive, and not at its end."""
        if self.counts.steps >= counting.STEPS_MAX:
            self.fail(failures.RUNAWAY)
            return
        self._is_plain &= item.type in messages.PLAIN
        self._began = True
        if item.type == "agentMessage":
            self.messages.begin(item)
        self._step(turns.Event.ITEM_STARTED)
        self._feed.event(events.ItemStarted(item.type, self._choice))

    def item_completed(self, item: notifications.Item) -> None:
        """Take a complete item; emit what of its text no delta brought."""
        if item.type == "reasoning" and not self._ended:
            self.thinking.completed(item)
            if self._separate_items and not self._reasoning_items:
                self._end_thought()
        if item.type != "agentMessage":
            return
        self._began = True
        item_id = self.messages.end(item)
        # A provider that sends no text with an item's end has said all of it before.
        rest = self.messages.text_of(item_id).rest_of(item.text) if item.text else ""
        if rest is None:
            self.fail(failures.TEXT_MISMATCH)
            return
        if rest:
            self.text_delta(item_id, rest)
        if self._separate_items:
            self._message_completed(item_id)
        if self.messages.is_commentary(item_id):
            return
        # Codex tells nothing of a call until its arguments are whole, which may be minutes behind
        # the text before it: a step with tools is whole when its response is.
        if self.tools is None:
            is_last = self.messages.phase(item_id) == "final_answer"
            self._step(turns.Event.ANSWER_WHOLE if is_last else turns.Event.ITEM_WHOLE)

    def _message_completed(self, item_id: str) -> None:
        """End a message by itself; one without a text begins and ends."""
        if self._ended:
            return
        phase = self.messages.phase(item_id)
        ends = events.MessageCompleted(phase, self._choice)
        if item_id == self._answer_item:
            self._emit(ends)
        elif self.messages.is_commentary(item_id):
            self._begin_comment(item_id)
            self._feed.event(ends)
        else:
            self._begin_answer(item_id)
            self._emit(ends)

    def tokens_counted(self, total: notifications.TokenCounts) -> None:
        """Take the thread's counts so far."""
        self.counts.thread_counted(total)
        if self.counts.steps > counting.STEPS_MAX:
            self.fail(failures.RUNAWAY)

    def completed(self, its: notifications.Turn) -> None:
        """Take the end of the turn."""
        self.ended_as = its.id
        if self._states.thread == threads.WAITING:
            self._states.take_thread_event(threads.Event.GIVEN_UP)  # for results it cannot take
        if self._ended:
            return
        if its.status == "completed":
            self._complete()
            return
        error = its.error
        if error is None:
            failure = failures.INTERRUPTED
        else:
            status, message = error.http_status, error.message
            verdict = verdicts.classify(error.error_word, status, message, self._known)
            if isinstance(verdict, verdicts.Incomplete):
                self.counts.cut()  # what that step took is not told with it
                self._finish(verdict.reason)
                return
            failure = verdict
        self.fail(failure, turns.Event.REFUSED)

    def _complete(self) -> None:
        """End the turn as Codex has ended it, well; but not where it could read nothing of the
        answer."""
        said = self.counts.speaks
        if said and self.messages.any_mute:
            # Codex drops a refusal's text, and leaves a message that begins and never ends.
            self._finish("content_filter")
        elif self._answer_item or not said or self._began:
            self._finish("stop", self._good_end())
        else:
            self.fail(failures.NO_MESSAGE, turns.Event.REFUSED)

    def _good_end(self) -> turns.Event:
        """Return the event of an answer that is whole: whether its thread can take another turn,
        because it holds the answer as the client was told it, and nothing beside it."""
        concluded = (
            self._is_plain
            and not self._requires_call
            and self.counts.steps == 1
            and self._states.turn in (turns.SPEAKING, turns.WHOLE)
            and self._states.thread == threads.RUNNING
            and self.messages.told
            and not (self.tools is not None and self.tools.collector.calls())
        )
        return turns.Event.CONCLUDED if concluded else turns.Event.COMPLETED

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

    def _end(self, reason: str) -> None:
        self._feed.event(events.TokensCounted(self.counts.usage, self._choice))
        self._last_word = events.TurnFinished(reason, self._choice)
        self._feed.event(self._last_word)

    def _release(self) -> None:
        """Emit the text that was kept back until a call came."""
        for event in self._kept_back:
            self._feed.event(event)
        self._kept_back.clear()

    def _begin_answer(self, item_id: str) -> None:
        if self._answer_item and not self._separate_items:
            self._join()
        self._answer_item = item_id
        self._answer = self.messages.text_of(item_id)
        self._step(turns.Event.KEPT_BACK if self._requires_call else turns.Event.SPOKE)
        if self._separate_items:
            self._emit(events.MessageStarted(self.messages.phase(item_id), self._choice))

    def _join(self) -> None:
        """Emit what stands between two messages of one text."""
        if self.tools is None:
            self._feed.event(events.TextDelta(worker.PARAGRAPH, self._choice))
        else:
            self._emit_text(self.tools, worker.PARAGRAPH)

    @property
    def _ended(self) -> bool:
        return self._states.turn in turns.ENDED

    def _step(self, event: turns.Event) -> None:
        """Take what happened to the turn, unless nothing that comes of it counts any more."""
        if not self._ended:
            self._states.take_turn_event(event)
