"""A conversation is the same to a thread if it is the same to the letter, and asks the same."""

from typing import Any

import msgspec
import pytest

from engine import slices, worker
from engine.codex.request import history
from engine.worker import Call, ImagePart, Message, TextPart, Tool


def said(role: Any, text: str, **fields: Any) -> Message:
    return Message(role, (TextPart(text),), **fields)


ASKED = (said("system", "Be brief."), said("user", "hi"))
ANSWERED = (*ASKED, said("assistant", "Hello."))
LATER = (*ANSWERED, said("user", "and now?"))
ADD = Tool("add", "Adds.", msgspec.Raw(b'{"type":"object"}'))


def turn(*messages: Message, **fields: Any) -> worker.Turn:
    asked = {"stream_id": "s", "request_id": "r", "target": "m", "key_id": "alice", **fields}
    return worker.Turn(messages=messages, **asked)


def read(*messages: Message, **fields: Any) -> history.History:
    return slices.at_once(history.read(turn(*messages, **fields)))


def goes_on(earlier: history.History, answer: str, later: history.History) -> bool:
    """Whether a thread that has answered the one so is found for the other."""
    if later.goal is None:
        return False
    kept = history.key(earlier.identity, earlier.whole, answer)
    return kept == history.key(later.identity, later.goal.before, later.goal.answer)


def test_a_conversation_that_only_grows_is_found_with_what_is_new() -> None:
    later = read(*LATER)
    assert goes_on(read(*ASKED), "Hello.", later)
    assert later.goal is not None
    assert (later.goal.count, later.goal.carried) == (3, ())
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


def test_an_answer_may_be_repeated_in_several_messages() -> None:
    parts = (said("assistant", "Hel", phase="commentary"), said("assistant", "lo."))
    assert goes_on(read(*ASKED), "Hello.", read(*ASKED, *parts, LATER[3]))


def test_reasoning_that_only_the_provider_reads_is_told_apart() -> None:
    item = msgspec.Raw(b'{"type":"reasoning","summary":[],"encrypted_content":"rs_1:x"}')
    answer = Message("assistant", LATER[2].parts, reasoning=(item,))
    found = read(*ASKED, answer, LATER[3])
    assert found.goal is not None
    assert found.goal.carried == ("rs_1:x",)
    before = read(*ASKED, answer, LATER[3])
    assert before.whole != read(*LATER).whole  # what the next request has to repeat


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
