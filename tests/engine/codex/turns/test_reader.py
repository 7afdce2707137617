"""The notifications of a turn become the events of its stream, in order and under its choice."""

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from engine import failures, worker
from engine.codex.protocol import channel
from engine.codex.turns import dispatcher, reader as codex, states
from machines import errors, events
from machines.events import (
    ItemStarted,
    MessageCompleted,
    MessageStarted,
    ReasoningCompleted,
    ReasoningDelta,
    ReasoningPartStarted,
    TextDelta,
    TokensCounted,
    TurnFinished,
    Usage,
)
from machines.turn import machine
from machines.turn.turn import FAILED, OVER, SPEAKING, WHOLE
from tests.support.machines import virtualtime
from tests.support.providers import frames, turnscene

THREAD = "00000000-0000-7000-8000-000000000001"


class Turn:
    """One turn among the routes of a process, and everything it led to."""

    loop: asyncio.AbstractEventLoop

    def __init__(self, choice: int = 0, separate_items: bool = False) -> None:
        self.events: list[events.StreamInput] = []
        self.went: list[str] = []
        self.others: list[Any] = []
        self.routes = dispatcher.Dispatcher(self.others.append)
        its_states = states.States(self._record, lambda _: None, lambda _: None, self.loop)
        self.reader = codex.TurnReader(
            self, choice, turnscene.running(its_states), separate_items=separate_items
        )
        self.routes.turns[THREAD] = self.reader

    def event(self, event: events.StreamInput) -> None:
        self.events.append(event)

    @property
    def failures(self) -> list[failures.ProviderFailure]:
        return [self.reader.failure] if self.reader.failure is not None else []

    def _record(self, change: machine.Change) -> None:
        if change.machine == "turn":
            self.went.append(change.after)

    def hear(self, method: str, thread: str = THREAD, **params: Any) -> None:
        """Take a notification as it comes from the pipe."""
        whole = {"threadId": thread, "turnId": "tu", **params}
        self.routes.notification(method, msgspec.Raw(msgspec.json.encode(whole)))

    def start(self, item_id: str, type_: str = "agentMessage", **item: Any) -> None:
        self.hear("item/started", item={"type": type_, "id": item_id, "text": "", **item})

    def say(self, item_id: str, delta: str) -> None:
        self.hear("item/agentMessage/delta", itemId=item_id, delta=delta)

    def complete(self, item_id: str, text: str, **item: Any) -> None:
        whole = {"type": "agentMessage", "id": item_id, "text": text, **item}
        self.hear("item/completed", item=whole)

    def think(self, item_id: str, part: int, delta: str) -> None:
        self.hear(
            "item/reasoning/summaryTextDelta", itemId=item_id, summaryIndex=part, delta=delta
        )

    def count(self, output: int = 5, reasoning: int = 1) -> None:
        counts = {
            "inputTokens": 10,
            "cachedInputTokens": 3,
            "outputTokens": output,
            "reasoningOutputTokens": reasoning,
            "totalTokens": 10 + output,
        }
        nothing = dict.fromkeys(counts, 0)
        self.hear("thread/tokenUsage/updated", tokenUsage={"total": counts, "last": nothing})

    def end(self, status: str = "completed", **error: Any) -> None:
        turn: dict[str, Any] = {"id": "tu", "status": status, "items": [], "error": error or None}
        self.hear("turn/completed", turn=turn)

    def said(self) -> list[events.StreamInput]:
        """The events but the signs of life."""
        return [event for event in self.events if not isinstance(event, ItemStarted)]


@pytest.fixture(autouse=True, scope="module")
def loop() -> Iterator[None]:
    """A loop that keeps deadlines, and does not run."""
    with contextlib.closing(virtualtime.VirtualLoop()) as loop:
        Turn.loop = loop
        yield


COUNTED = TokensCounted(Usage(10, 5, 3, 1))


def test_a_turn_of_the_real_binary() -> None:
    turn = Turn()
    for frame in frames.load("turn"):
        if "params" in frame and "id" not in frame:
            params = msgspec.Raw(msgspec.json.encode(frame["params"]))
            turn.routes.notification(frame["method"], params)
    assert turn.events == [
        ItemStarted("reasoning"),
        ReasoningDelta("Look"),
        ReasoningDelta("ing."),
        ReasoningDelta("\n\nSeen."),
        ReasoningDelta("\n\nraw "),
        ReasoningDelta("thought"),
        ItemStarted("agentMessage"),
        ReasoningDelta("\n\nLet me "),
        ReasoningDelta("see."),
        ItemStarted("agentMessage"),
        TextDelta("4"),
        TextDelta("2"),
        COUNTED,
        TurnFinished("stop"),
    ]
    assert turn.failures == []
    assert turn.went[-2:] == [WHOLE, OVER]


def test_a_turn_of_the_real_binary_whose_items_are_told_apart() -> None:
    turn = Turn(separate_items=True)
    for frame in frames.load("turn"):
        if "params" in frame and "id" not in frame:
            params = msgspec.Raw(msgspec.json.encode(frame["params"]))
            turn.routes.notification(frame["method"], params)
    assert turn.said() == [
        ReasoningDelta("Look"),
        ReasoningDelta("ing."),
        ReasoningPartStarted(),
        ReasoningDelta("Seen."),
        ReasoningPartStarted(),
        ReasoningDelta("raw ", kind="text"),
        ReasoningDelta("thought", kind="text"),
        ReasoningCompleted(""),
        MessageStarted("commentary"),
        ReasoningDelta("Let me ", kind="commentary"),
        ReasoningDelta("see.", kind="commentary"),
        MessageCompleted("commentary"),
        MessageStarted("final_answer"),
        TextDelta("4"),
        TextDelta("2"),
        MessageCompleted("final_answer"),
        COUNTED,
        TurnFinished("stop"),
    ]
    assert turn.went[-2:] == [WHOLE, OVER]


def test_messages_told_apart_are_not_joined_and_an_empty_one_is_one() -> None:
    turn = Turn(separate_items=True)
    turn.start("m1", phase="partial_answer")
    turn.say("m1", "Hel")
    turn.complete("m1", "Hello", phase="final_answer")
    turn.start("m2")
    turn.complete("m2", "")
    turn.complete("m3", "Bye", phase="commentary")
    turn.end()
    assert turn.said()[:-2] == [
        MessageStarted(),
        TextDelta("Hel"),
        TextDelta("lo"),
        MessageCompleted("final_answer"),
        MessageStarted(),
        MessageCompleted(),
        MessageStarted("commentary"),
        ReasoningDelta("Bye", kind="commentary"),
        MessageCompleted("commentary"),
    ]


def test_a_summary_without_deltas_is_told_when_its_item_is_whole() -> None:
    turn = Turn(separate_items=True)
    whole = {"type": "reasoning", "id": "r1", "summary": ["a", "b"]}
    turn.hear("item/completed", item=whole)
    turn.think("r2", 0, "c")
    turn.hear("item/completed", item=whole | {"id": "r2", "summary": ["c"]})
    assert turn.events == [
        ReasoningDelta("a"),
        ReasoningPartStarted(),
        ReasoningDelta("b"),
        ReasoningCompleted(""),
        ReasoningDelta("c"),
        ReasoningCompleted(""),
    ]


@pytest.mark.parametrize(
    ("name", "code"), [("failure", "worker_unauthorized"), ("interrupt", "upstream_error")]
)
def test_a_failed_turn_of_the_real_binary(name: str, code: str) -> None:
    turn = Turn()
    for frame in frames.load(name):
        if "params" in frame and "id" not in frame:
            params = msgspec.Raw(msgspec.json.encode(frame["params"]))
            turn.routes.notification(frame["method"], params)
    assert [failure.code for failure in turn.failures] == [code]
    assert not any(isinstance(event, TurnFinished) for event in turn.events)


def test_text_comes_as_it_is_said() -> None:
    turn = Turn(choice=2)
    turn.start("m1")
    turn.say("m1", "Hel")
    turn.say("m1", "lo")
    turn.complete("m1", "Hello")
    turn.count()
    turn.end()
    assert turn.events == [
        ItemStarted("agentMessage", 2),
        TextDelta("Hel", 2),
        TextDelta("lo", 2),
        TokensCounted(Usage(10, 5, 3, 1), 2),
        TurnFinished("stop", 2),
    ]
    assert turn.went == [SPEAKING, WHOLE, OVER]


def test_several_messages_are_joined_by_a_blank_line() -> None:
    turn = Turn()
    for item in ("m1", "m2", "m3"):
        turn.say(item, f"{item}.")
        turn.complete(item, f"{item}.")
    turn.end()
    assert "".join(event.text for event in turn.events if isinstance(event, TextDelta)) == (
        "m1.\n\nm2.\n\nm3."
    )


def test_an_empty_message_leaves_no_blank_line() -> None:
    turn = Turn()
    turn.complete("m1", "")
    turn.say("m2", "x")
    turn.complete("m2", "x")
    turn.complete("m3", "")
    turn.end()
    assert turn.said() == [TextDelta("x"), TokensCounted(None), TurnFinished("stop")]


def test_commentary_is_thinking_with_and_without_deltas() -> None:
    turn = Turn()
    turn.start("m1", phase="commentary")
    turn.say("m1", "Let me ")
    turn.say("m1", "see.")
    turn.complete("m1", "Let me see.", phase="commentary")
    turn.start("m2", phase="commentary")
    turn.complete("m2", "Aha.", phase="commentary")
    turn.start("m3", phase="final_answer")
    turn.say("m3", "42")
    turn.complete("m3", "42", phase="final_answer")
    turn.end()
    assert turn.said() == [
        ReasoningDelta("Let me "),
        ReasoningDelta("see."),
        ReasoningDelta("\n\nAha."),
        TextDelta("42"),
        TokensCounted(None),
        TurnFinished("stop"),
    ]


def test_parts_of_the_thinking_are_joined_by_a_blank_line() -> None:
    turn = Turn()
    turn.think("r1", 0, "a")
    turn.think("r1", 0, "b")
    turn.think("r1", 1, "c")
    turn.hear("item/reasoning/textDelta", itemId="r2", contentIndex=0, delta="d")
    assert turn.events == [
        ReasoningDelta("a"),
        ReasoningDelta("b"),
        ReasoningDelta("\n\nc"),
        ReasoningDelta("\n\nd"),
    ]


def test_text_that_no_delta_said_is_said_when_its_message_is_whole() -> None:
    turn = Turn()
    turn.complete("m1", "Hello")
    turn.say("m2", "Good ")
    turn.complete("m2", "Good bye")
    assert turn.events == [
        TextDelta("Hello"),
        TextDelta("\n\n"),
        TextDelta("Good "),
        TextDelta("bye"),
    ]
    assert turn.went[-1] == WHOLE


def test_what_is_neither_message_nor_reasoning_is_a_sign_of_life() -> None:
    turn = Turn()
    turn.start("t1", "dynamicToolCall")
    turn.hear("item/completed", item={"type": "reasoning", "id": "r1", "summary": ["x"]})
    turn.hear("item/reasoning/summaryPartAdded", itemId="r1", summaryIndex=0)
    turn.hear("turn/started", turn={"id": "tu", "status": "inProgress", "items": []})
    assert turn.events == [ItemStarted("dynamicToolCall")]
    assert turn.went == []


def test_the_counts_are_the_threads_total_and_the_last_ones_count() -> None:
    turn = Turn()
    turn.count(output=1)
    turn.say("m1", "x")
    turn.count(output=5)
    turn.end()
    assert turn.said() == [TextDelta("x"), COUNTED, TurnFinished("stop")]


@pytest.mark.parametrize(
    ("output", "reasoning", "reason"),
    [(9, 2, "content_filter"), (2, 2, "stop"), (0, 0, "stop")],
)
def test_a_message_of_tokens_that_never_ends_is_a_refusal(
    output: int, reasoning: int, reason: str
) -> None:
    turn = Turn()
    turn.start("m1")
    turn.count(output, reasoning)
    turn.end()
    assert turn.events[-1] == TurnFinished(reason)


def test_an_empty_message_is_an_answer() -> None:
    turn = Turn()
    turn.start("m1")
    turn.complete("m1", "")
    turn.count(9, 2)
    turn.end()
    assert turn.events[-1] == TurnFinished("stop")


def test_an_answer_of_which_no_item_can_be_read_is_a_failure() -> None:
    turn = Turn()
    turn.count(9, 2)
    turn.end()
    assert turn.failures == [failures.NO_MESSAGE]


def test_a_message_that_ends_under_another_id_is_the_one_that_is_open() -> None:
    turn = Turn()
    turn.start("a")
    turn.say("a", "hel")
    turn.say("a", "lo")
    turn.complete("d", "hello")
    turn.start("e")
    turn.say("e", "x")
    turn.complete("f", "xyz")
    turn.end()
    texts = [each.text for each in turn.events if isinstance(each, TextDelta)]
    assert texts == ["hel", "lo", worker.PARAGRAPH, "x", "yz"]


def test_an_answer_with_words_is_no_refusal() -> None:
    turn = Turn()
    turn.say("m1", "x")
    turn.count(output=500)
    turn.end()
    assert turn.events[-1] == TurnFinished("stop")


def test_an_incomplete_answer_finishes_with_the_providers_word() -> None:
    turn = Turn()
    turn.say("m1", "x")
    turn.count()
    turn.end("failed", message="Incomplete response returned, reason: max_output_tokens")
    assert turn.said() == [TextDelta("x"), COUNTED, TurnFinished("max_output_tokens")]
    assert turn.failures == []


def test_a_failed_turn_has_no_finish_and_no_counts() -> None:
    turn = Turn()
    turn.say("m1", "x")
    turn.count()
    turn.end(
        "failed",
        message="exceeded retry limit, last status: 429 Too Many Requests",
        codexErrorInfo={"responseTooManyFailedAttempts": {"httpStatusCode": 429}},
    )
    assert turn.said() == [TextDelta("x")]
    assert [each.code for each in turn.failures] == ["rate_limit_exceeded"]


def test_a_turn_that_nobody_here_interrupted_failed() -> None:
    turn = Turn()
    turn.end("interrupted")
    assert turn.failures == [failures.INTERRUPTED]
    assert turn.events == []


def test_an_answer_that_is_whole_outlives_its_process() -> None:
    turn = Turn()
    turn.say("m1", "x")
    turn.complete("m1", "x")
    turn.count()
    turn.reader.lost()
    assert turn.said() == [TextDelta("x"), COUNTED, TurnFinished("stop")]
    assert turn.failures == []
    turn.reader.lost()
    turn.end()
    assert turn.said()[-2:] == [COUNTED, TurnFinished("stop")]
    assert turn.went.count(OVER) == 1


@pytest.mark.parametrize("whole_once", [True, False])
def test_an_answer_that_goes_on_is_lost_with_its_process(whole_once: bool) -> None:
    turn = Turn()
    turn.say("m1", "x")
    if whole_once:
        turn.complete("m1", "x")
        turn.start("r1", "reasoning")
        assert turn.went == [SPEAKING, WHOLE, SPEAKING]
    turn.reader.lost()
    assert turn.failures == [failures.LOST]
    assert turn.said() == [TextDelta("x")]


def test_a_silent_turn_is_lost_with_its_process() -> None:
    turn = Turn()
    turn.reader.lost()
    assert turn.failures == [failures.LOST]
    assert turn.went == [FAILED]


@pytest.mark.parametrize("text", ["token", "", 'a"b\\n\n', "漢字", "\u2028\U0001f469\u200d"])
def test_a_tokens_line_is_read_in_one_pass_as_in_two(text: str) -> None:
    params = {"threadId": THREAD, "turnId": "tu", "itemId": "m1", "delta": text, "more": [1]}
    frame = {"method": "item/agentMessage/delta", "params": params, "emittedAtMs": 1}
    line = msgspec.json.encode(frame)
    assert line.startswith(channel.TEXT_DELTA_LINE)
    once, twice = Turn(), Turn()
    once.routes.text_delta(line)
    twice.say("m1", text)
    assert once.events == twice.events == [events.TextDelta(text)]


def test_a_tokens_line_of_another_form_is_no_tokens_line() -> None:
    with pytest.raises(errors.DecodeError):
        Turn().routes.text_delta(channel.TEXT_DELTA_LINE + b'"params":{"delta":1}}')


def test_what_belongs_to_no_turn_disturbs_none() -> None:
    turn = Turn()
    turn.hear("item/agentMessage/delta", thread="other", itemId="m1", delta="x")
    turn.hear("turn/completed", "other", turn={"id": "t", "status": "completed", "items": []})
    turn.hear("no/such/notification")
    turn.routes.notification("account/updated", msgspec.Raw(b'{"authMode":"apikey"}'))
    turn.routes.notification("configWarning", msgspec.Raw(b'{"summary":"hm"}'))
    assert turn.events == []
    assert turn.went == []
    assert [type(other).__name__ for other in turn.others] == [
        "ItemDelta",
        "TurnNotification",
        "AccountUpdated",
        "ConfigWarning",
    ]


def test_two_turns_of_a_process_are_kept_apart() -> None:
    first, second = Turn(0), Turn(1)
    first.routes.turns["other"] = second.reader
    first.say("m1", "a")
    first.hear("item/agentMessage/delta", thread="other", itemId="m1", delta="b")
    first.say("m1", "c")
    assert first.events == [TextDelta("a", 0), TextDelta("c", 0)]
    assert second.events == [TextDelta("b", 1)]


def test_a_rerouted_model_is_named_under_its_choice() -> None:
    turn = Turn(choice=1)
    ids = {"threadId": THREAD, "turnId": "turn"}
    params = {**ids, "fromModel": "gpt-5.5", "toModel": "gpt-5.2", "reason": "highRisk"}
    turn.routes.notification("model/rerouted", msgspec.Raw(msgspec.json.encode(params)))
    assert turn.events == [events.ModelRerouted("gpt-5.2", "highRisk", 1)]
