"""Reads the app-server's notifications as events of the turn they belong to.

`Routes.text_delta` is where a token enters: the first of its four files. Frames are told apart
by `threadId`: a turn has a thread of its own, and its notifications may come before the reply to
the request that began it.
"""

import enum
from collections.abc import Callable, Container
from typing import Any, Final

import msgspec

from engine import (
    appserver,
    failures,
    modelstep,
    notifications,
    reasoning,
    toolanswers,
    worker,
)
from machines import events, jsonrpc

PARAGRAPH: Final = "\n\n"
"""What joins several messages of one turn, and several parts of its reasoning."""

COMMENTARY: Final = "commentary"
"""The phase of agent messages that belong to the thinking, not to the answer."""


SILENT_STEPS_MAX: Final = 8
"""Steps without a word. A model that calls functions which it was not given is told so by Codex,
and asked again, as often as it calls."""


class Progress(enum.Enum):
    """How far a turn has come, as its client would see it."""

    SILENT = enum.auto()
    SPEAKING = enum.auto()
    WHOLE = enum.auto()
    OVER = enum.auto()


class Tools(msgspec.Struct, frozen=True):
    """What a reader needs to know of a turn that may call.

    Attributes:
        required: whether an answer without a call is none: then its text is held back.
        answers: of the calls of its thread.
        past: ids of the thread's turns that are over.
        earlier: counts of steps that came to nothing.
        on_step: called with a step that has calls, before the client hears of it.
        on_asked: called when a result is asked for while the step is not whole.
    """

    collector: modelstep.StepCollector
    required: bool
    answers: toolanswers.ToolAnswers
    past: set[str]
    earlier: events.Usage | None
    on_step: Callable[[modelstep.ModelStep], None]
    on_asked: Callable[[], None]


class TurnReader:
    """Translates the notifications of one turn.

    Args:
        on_progress: called when the turn has come further.
        on_failure: called with the one failure that ended the turn.
        tools: of a turn that may call.
        reasoning_items: whether the ends of reasoning items are wanted.

    Attributes:
        uncalled: whether the turn ended without the call it was asked for.
        past: ids of the thread's earlier turns, whose frames are no news.
    """

    def __init__(
        self,
        feed: worker.Feed,
        choice: int,
        on_progress: Callable[[Progress], None],
        on_failure: Callable[[failures.ProviderFailure], None],
        tools: Tools | None = None,
        reasoning_items: bool = False,
    ) -> None:
        self._reasoning_items = reasoning_items
        self.progress = Progress.SILENT
        self.uncalled = False
        self.tools = tools
        self.past: Container[str] = tools.past if tools is not None else ()
        self._held: list[str] | None = [] if tools is not None and tools.required else None
        self._feed = feed
        self._choice = choice
        self._on_progress = on_progress
        self._on_failure = on_failure
        self._commentary: set[str] = set()
        self._answer_item = ""
        self._thought_item = ""
        self._answer_length = 0
        self._steps = 0
        self._counts: notifications.TokenCounts | None = None

    def mute(self) -> None:
        """Say nothing more: the turn was cancelled."""
        self._feed = worker.SILENCE

    def text_delta(self, item_id: str, delta: str) -> None:
        """A piece of an agent message: the hot path."""
        if item_id != self._answer_item:
            if item_id in self._commentary:
                self.thought(item_id, delta)
                return
            self._begin_answer(item_id)
        self._answer_length += len(delta)
        if self.tools is None:
            self._feed.event(events.TextDelta(delta, self._choice))
        else:
            self._say(self.tools, delta)

    def _say(self, tools: Tools, delta: str) -> None:
        """A piece of the answer of a turn that may call."""
        tools.collector.said(delta)
        if self._held is None:
            self._feed.event(events.TextDelta(delta, self._choice))
        else:
            self._held.append(delta)

    def raw_item(self, raw: notifications.RawItemCompleted) -> None:
        """The provider's own form of an item."""
        if self.progress is Progress.OVER:
            return
        if self.tools is not None:
            self.tools.collector.item(raw)
        if self._reasoning_items and not raw.turn_id.startswith(modelstep.ECHO):
            self._reasoned(modelstep.read_item(raw.item))

    def _reasoned(self, item: notifications.ResponseItem) -> None:
        """The provider's own form of a reasoning item is the end of it."""
        if item.type != "reasoning":
            return
        self._thought_item = ""
        if self.progress is Progress.SILENT:
            self._advance(Progress.SPEAKING)
        self._feed.event(events.ReasoningCompleted(reasoning.carried(item), self._choice))

    def asked(self, rpc_id: jsonrpc.Id, call_id: str) -> None:
        """Codex wants the result of a call, maybe before the step is whole."""
        assert self.tools is not None
        self.tools.answers.asked(rpc_id, call_id)
        if self.progress is not Progress.OVER:
            self.tools.on_asked()

    def response_completed(self, raw: notifications.RawResponseCompleted) -> None:
        """A step of the model is whole: with calls in it, the answer is."""
        if self.tools is None or self.progress is Progress.OVER:
            return
        self._counts = raw.usage
        step = self.tools.collector.whole(raw.turn_id)
        if step.calls:
            self.tools.on_step(step)
            self._advance(Progress.OVER)
            self._release()
            for call in step.calls:
                self._feed.event(
                    events.ToolCalled(call.call_id, call.name, call.arguments, self._choice)
                )
            self._end("tool_calls")
        elif self.progress is Progress.SPEAKING and self._answer_item:
            self._advance(Progress.WHOLE)

    def thought(self, part: str, delta: str) -> None:
        """A piece of reasoning or commentary; `part` tells pieces of different texts apart."""
        if part != self._thought_item:
            if self._thought_item:
                delta = PARAGRAPH + delta
            self._thought_item = part
            self._advance(Progress.SPEAKING)
        self._feed.event(events.ReasoningDelta(delta, self._choice))

    def item_started(self, item: notifications.Item) -> None:
        """The model began something: it is alive, and not at its end."""
        if item.type == "agentMessage" and item.phase == COMMENTARY:
            self._commentary.add(item.id)
        if self.progress is Progress.WHOLE:
            self._advance(Progress.SPEAKING)
        self._feed.event(events.ItemStarted(item.type, self._choice))

    def item_completed(self, item: notifications.Item) -> None:
        """An item is whole; its text is said now where no deltas said it."""
        if item.type != "agentMessage":
            return
        if item.id in self._commentary or item.phase == COMMENTARY:
            if item.text and item.id not in (self._thought_item, self._answer_item):
                self.thought(item.id, item.text)
            return
        said = self._answer_length if item.id == self._answer_item else 0
        if len(item.text) > said:
            self.text_delta(item.id, item.text[said:])
        self._advance(Progress.WHOLE)

    def counted(self, counts: notifications.TokenCounts) -> None:
        """The thread's counts so far; they are true only if the turn ends well."""
        if self.tools is not None:
            return  # each step has been counted, and the thread's are too many
        self._counts = counts
        self._steps += 1
        if self._steps > SILENT_STEPS_MAX and self.progress is Progress.SILENT:
            self._on_failure(failures.RUNAWAY)

    def completed(self, turn: notifications.Turn) -> None:
        """The worker's last word on the turn."""
        if self.tools is not None:
            self.tools.past.add(turn.id)
        if self.progress is Progress.OVER:
            return
        if turn.status == "completed":
            self.finish("content_filter" if self._refused() else "stop")
            return
        error = turn.error
        if error is None:
            failure = failures.INTERRUPTED
        else:
            verdict = failures.classify(error.error_word, error.http_status, error.message)
            if isinstance(verdict, failures.Incomplete):
                self.finish(verdict.reason)
                return
            failure = verdict
        self._fail(failure)

    def lost(self) -> None:
        """The process has gone: what was whole is an answer all the same."""
        if self.progress is Progress.WHOLE:
            self.finish("stop")
        elif self.progress is not Progress.OVER:
            self._fail(failures.LOST)

    def _fail(self, failure: failures.ProviderFailure) -> None:
        self._drop_calls()
        self.mute()  # whatever else comes of this turn is too late
        self._on_failure(failure)

    def _drop_calls(self) -> None:
        """Tell of the calls of a step that never became whole: the client will not see them."""
        for call in self.tools.collector.calls() if self.tools is not None else ():
            self._feed.event(events.ToolCallDropped(call.call_id, call.name, self._choice))

    def finish(self, reason: str) -> None:
        """The answer is whole: what is known of its counts goes first."""
        self.uncalled = self._held is not None and reason == "stop"
        self._advance(Progress.OVER)
        if not self.uncalled:
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
        self._feed.event(events.TurnFinished(reason, self._choice))

    def _release(self) -> None:
        """Say the text that was held until a call came."""
        for text in self._held or ():
            self._feed.event(events.TextDelta(text, self._choice))
        self._held = None

    def _begin_answer(self, item_id: str) -> None:
        if self._answer_item and self.tools is None:
            self._feed.event(events.TextDelta(PARAGRAPH, self._choice))
        elif self._answer_item and self.tools is not None:
            self._say(self.tools, PARAGRAPH)
        self._answer_item = item_id
        self._answer_length = 0
        self._advance(Progress.SPEAKING)

    def _refused(self) -> bool:
        """Codex drops a refusal's text: what is left is an answer of tokens without a word."""
        counts = self._counts
        if self._answer_item or counts is None:
            return False
        return counts.output_tokens > counts.reasoning_output_tokens

    def _advance(self, progress: Progress) -> None:
        self.progress = progress
        self._on_progress(progress)


class _TextDeltaLine(msgspec.Struct, gc=False):
    params: notifications.ItemDelta


_READS: Final[dict[str, Callable[[TurnReader, Any], None]]] = {
    "item/reasoning/summaryTextDelta": lambda turn, its: turn.thought(
        f"{its.item_id}/summary/{its.summary_index}", its.delta
    ),
    "item/reasoning/textDelta": lambda turn, its: turn.thought(
        f"{its.item_id}/text/{its.content_index}", its.delta
    ),
    "item/agentMessage/delta": lambda turn, its: turn.text_delta(its.item_id, its.delta),
    "item/started": lambda turn, its: turn.item_started(its.item),
    "item/completed": lambda turn, its: turn.item_completed(its.item),
    "rawResponseItem/completed": lambda turn, its: turn.raw_item(its),
    "rawResponse/completed": lambda turn, its: turn.response_completed(its),
    "thread/tokenUsage/updated": lambda turn, its: turn.counted(its.token_usage.total),
    "turn/completed": lambda turn, its: turn.completed(its.turn),
}
"""What a turn does with each notification; the others are no news to it."""


def _turn_id(params: Any) -> str:
    """Which turn a notification is about."""
    ends = isinstance(params, notifications.TurnNotification)
    turn_id: str = params.turn.id if ends else params.turn_id
    return turn_id


_tool_call: Final = msgspec.json.Decoder(appserver.ToolCallParams)


class Routes:
    """Finds the turn a notification belongs to."""

    def __init__(self, on_other: Callable[[Any], None]) -> None:
        self.turns: dict[str, TurnReader] = {}
        self._on_other = on_other
        self._decoders = {
            method: msgspec.json.Decoder(params)
            for method, params in notifications.NOTIFICATIONS.items()
        }
        self._text_delta = msgspec.json.Decoder(_TextDeltaLine)

    def text_delta(self, line: bytes) -> None:
        """Take the whole line of a token: where the hot path enters.

        Raises:
            DecodeError: it is not such a line.
        """
        delta = jsonrpc.decode_body(line, self._text_delta).params
        turn = self.turns.get(delta.thread_id)
        if turn is not None and delta.turn_id not in turn.past:
            turn.text_delta(delta.item_id, delta.delta)

    def notification(self, method: str, raw: msgspec.Raw) -> None:
        """Take one notification.

        Raises:
            DecodeError: its params are not of its method.
        """
        decoder = self._decoders.get(method)
        if decoder is not None:
            self._dispatch(method, jsonrpc.decode_body(raw, decoder))

    def _dispatch(self, method: str, params: Any) -> None:
        turn = self.turns.get(getattr(params, "thread_id", None) or "")
        if turn is None:
            self._on_other(params)
            return
        read = _READS.get(method)
        if read is not None and _turn_id(params) not in turn.past:
            read(turn, params)

    def request(self, rpc_id: jsonrpc.Id, method: str, raw: msgspec.Raw) -> bool:
        """Take one request of the worker's; False where it shall be refused.

        Raises:
            DecodeError: its params are not of its method.
        """
        if method not in appserver.SERVER_REQUESTS:
            return False
        params = jsonrpc.decode_body(raw, _tool_call)
        turn = self.turns.get(params.thread_id)
        if turn is None or turn.tools is None:
            return False
        turn.asked(rpc_id, params.call_id)
        return True
