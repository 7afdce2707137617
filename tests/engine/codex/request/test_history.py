"""A conversation is the same to a thread if it is the same to the letter, and asks the same."""

from typing import Any

import msgspec
import pytest

from engine import slices, worker
from engine.codex.request import history
from engine.worker import Call, ImagePart, Message, TextPart, Tool


def said(role: Any, text: str, **fields: Any) -> Message:
    return Message(role, (TextPart(text),), **fields)


def thought(sealed: str, summary: str) -> msgspec.Raw:
    parts = [{"type": "summary_text", "text": summary}]
    item = {"type": "reasoning", "id": "rs_1", "summary": parts, "encrypted_content": sealed}
    return msgspec.Raw(msgspec.json.encode(item))


ASKED = (said("system", "Be brief."), said("user", "hi"))
ANSWERED = (*ASKED, said("assistant", "Hello."))
LATER = (*ANSWERED, said("user", "and now?"))
ADD = Tool("add", "Adds.", msgspec.Raw(b'{"type":"object"}'))


def turn(*messages: Message, **fields: Any) -> worker.Turn:
    asked = {"stream_id": "s", "request_id": "r", "target": "m", "key_id": "alice", **fields}
    return worker.Turn(messages=messages, **asked)


def read(*messages: Message, **fields: Any) -> history.History:
    return slices.at_once(history.read(turn(*messages, **fields)))


def goes_on(
    earlier: history.History, answer: str | history.Answer, later: history.History
) -> bool:
    """Whether a thread that has answered the one so is found for the other, and goes on."""
    if later.goal is None:
        return False
    told = answer if isinstance(answer, history.Answer) else history.Answer((answer,), (None,))
    kept = history.key(earlier.identity, earlier.whole, told)
    found = kept == history.key(later.identity, later.goal.before, later.goal.answer)
    return found and told.is_repeated_by(later.goal.answer)


def test_a_conversation_that_only_grows_is_found_with_what_is_new() -> None:
    later = read(*LATER)
    assert goes_on(read(*ASKED), "Hello.", later)
    assert later.goal is not None
    assert (later.goal.count, later.goal.answer.thoughts) == (3, ())
    after = read(*LATER, said("assistant", "Noon."), said("developer", "x"), said("user", "y"))
    assert goes_on(later, "Noon.", after)
    assert not goes_on(read(*ASKED), "Hello.", after)


@pytest.mark.parametrize(
    "edited",
    [
        (said("system", "Be brief!"), *LATER[1:]),
        (said("developer", "Be brief."), *LATER[1:]),
        (LATER[0], said("user", "hi "), *LATER[2:]),
        (LATER[0], said("user", "hi", name="Bob"), *LATER[2:]),
        (LATER[0], Message("user", (TextPart("h"), TextPart("i"))), *LATER[2:]),
        (LATER[0], Message("user", (*LATER[1].parts, ImagePart("data:x", "p"))), *LATER[2:]),
        (*LATER[:2], said("assistant", "Hello. "), LATER[3]),
        (*LATER[:2], said("assistant", ""), LATER[3]),
        (*LATER[:2], said("assistant", "Hel"), said("assistant", "lo."), LATER[3]),
        (*LATER[:2], said("assistant", "Hello.", phase="commentary"), LATER[3]),
        (*LATER[:2], said("assistant", "Hello.", name="Bob"), LATER[3]),
        (
            *LATER[:2],
            Message("assistant", LATER[2].parts, calls=(Call("c", "f", "{}"),)),
            LATER[3],
        ),
        (*LATER[:2], Message("assistant", (worker.RefusalPart("Hello."),)), LATER[3]),
        (*LATER[:2], LATER[3]),
        (*LATER[1:],),
        (*LATER[:1], *LATER),
        (*LATER[:3],),
        (*LATER[:3], Message("tool", (TextPart("4"),), call_id="c")),
    ],
    ids=lambda messages: " ".join(each.role[0] for each in messages),
)
def test_whatever_is_edited_is_another_conversation(edited: tuple[Message, ...]) -> None:
    assert not goes_on(read(*ASKED), "Hello.", read(*edited))


@pytest.mark.parametrize(
    "other",
    [
        {"key_id": "bob"},
        {"target": "n"},
        {"conversation": "mine"},
        {"tools": (ADD,)},
        {"reasoning_items": True},
    ],
    ids=lambda other: next(iter(other)),
)
def test_who_asks_for_something_else_has_another_thread(other: dict[str, Any]) -> None:
    assert not goes_on(read(*ASKED), "Hello.", read(*LATER, **other))
    assert goes_on(read(*ASKED, **other), "Hello.", read(*LATER, **other))


@pytest.mark.parametrize(
    "other",
    [
        (Tool("add", "Adds!", ADD.parameters),),
        (Tool("sum", "Adds.", ADD.parameters),),
        (Tool("add", "Adds.", msgspec.Raw(b'{"type": "object"}')),),
        (Tool("add", "Adds.", None),),
        (ADD, ADD),
        (),
    ],
)
def test_functions_are_the_same_to_the_letter(other: tuple[Tool, ...]) -> None:
    assert not goes_on(read(*ASKED, tools=(ADD,)), "Hello.", read(*LATER, tools=other))


@pytest.mark.parametrize(
    ("texts", "phases", "goes"),
    [
        (("Hel", "lo."), ("commentary", "final_answer"), True),
        (("Hel", "lo."), (None, "final_answer"), True),
        (("Hel", "lo."), (None, None), True),
        (("Hel", "", "lo."), (None, None, None), True),
        (("Hel", "lo."), ("final_answer", "final_answer"), False),
        (("Hell", "o."), (None, None), False),
        (("Hello.",), ("final_answer",), False),
        (("Hel",), ("commentary",), False),
        (("lo.", "Hel"), (None, None), False),
    ],
)
def test_an_answer_of_several_messages_is_repeated_message_by_message(
    texts: tuple[str, ...], phases: tuple[str | None, ...], goes: bool
) -> None:
    told = history.Answer(("Hel", "lo."), ("commentary", "final_answer"))
    answers = [
        said("assistant", text, phase=phase) for text, phase in zip(texts, phases, strict=True)
    ]
    assert goes_on(read(*ASKED), told, read(*ASKED, *answers, LATER[3])) is goes


def test_reasoning_that_only_the_provider_reads_is_told_apart() -> None:
    answer = Message("assistant", LATER[2].parts, reasoning=(thought("rs_1:x", "Hm."),))
    found = read(*ASKED, answer, LATER[3])
    assert found.goal is not None
    assert found.goal.answer.thoughts == (history.Thought(0, "rs_1:x", ("Hm.",)),)
    assert found.whole != read(*LATER).whole  # what the next request has to repeat


@pytest.mark.parametrize(
    ("repeated", "goes"),
    [
        (((0, "a", "One."), (1, "b", "Two.")), True),
        ((), True),
        (((0, "a", "One!"), (1, "b", "Two.")), False),
        (((0, "a", "One."), (1, "c", "Two.")), False),
        (((0, "b", "Two."), (1, "a", "One.")), False),
        (((0, "a", "One."), (0, "b", "Two.")), False),
        (((0, "a", "One."),), False),
    ],
)
def test_reasoning_may_be_left_out_and_not_be_changed(
    repeated: tuple[tuple[int, str, str], ...], goes: bool
) -> None:
    one, two = history.Thought(0, "a", ("One.",)), history.Thought(1, "b", ("Two.",))
    told = history.Answer(("Hel", "lo."), (None, None), (one, two))
    answers = []
    for index, text in enumerate(told.texts):
        its = tuple(thought(sealed, words) for after, sealed, words in repeated if after == index)
        answers.append(said("assistant", text, reasoning=its))
    assert goes_on(read(*ASKED), told, read(*ASKED, *answers, LATER[3])) is goes


@pytest.mark.parametrize("conversation", ["", "mine"])
def test_how_a_conversation_opens_is_known_later(conversation: str) -> None:
    one, other = read(*ASKED, conversation=conversation), read(*LATER, conversation=conversation)
    assert one.opening == other.opening
    assert one.opening != read(*ASKED, conversation="other").opening
    edited = read(said("system", "Be long."), LATER[1], conversation=conversation)
    assert (one.opening == edited.opening) is bool(conversation)


def test_a_large_text_is_digested_in_slices() -> None:
    steps = history.read(turn(said("user", "x" * (3 * history.PIECE))))
    assert sum(1 for _ in steps) > 3


def test_what_stands_beside_another_field_is_not_a_part_of_it() -> None:
    one = read(Message("user", (TextPart("a"), TextPart("b"))))
    other = read(Message("user", (TextPart("ab"), TextPart(""))))
    assert one.whole != other.whole
