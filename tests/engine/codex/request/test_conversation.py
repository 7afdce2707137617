"""A conversation reaches Codex whole: in order, nothing dropped, or refused by name."""

import json
import re
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from engine import slices, worker
from engine.codex.request import conversation
from engine.worker import Call, ImagePart, Message, OtherPart, RefusalPart, TextPart, TurnRefused
from tests.support.process import growth


def items(messages: tuple[Message, ...], **arguments: Any) -> list[Any]:
    """The conversation as Codex is sent it, once it was checked."""
    slices.at_once(conversation.check(messages))
    found = slices.at_once(conversation.items(messages, **arguments))
    return [msgspec.json.decode(item) for item in found]


def text(*texts: str) -> tuple[TextPart, ...]:
    return tuple(TextPart(each) for each in texts)


def message(role: str, *texts: str) -> conversation.Item:
    parts = [{"type": "input_text", "text": each} for each in texts]
    return {"type": "message", "role": role, "content": parts}


def answer(said: str) -> conversation.Item:
    parts = [{"type": "output_text", "text": said}]
    return {"type": "message", "role": "assistant", "content": parts}


def test_every_role_keeps_its_place() -> None:
    assert items(
        (
            Message("system", text("Be brief.")),
            Message("developer", text("Be kind.")),
            Message("user", text("Hi")),
            Message("assistant", text("Hello")),
            Message("user", text("Bye")),
        )
    ) == [
        message("developer", "Be brief."),
        message("developer", "Be kind."),
        message("user", "Hi"),
        answer("Hello"),
        message("user", "Bye"),
    ]


def test_parts_stay_parts_and_an_answer_is_one_text() -> None:
    assert items((Message("user", text("a", "b")), Message("assistant", text("c", "d")))) == [
        message("user", "a", "b"),
        answer("cd"),
    ]


def test_a_message_without_text_is_still_a_message() -> None:
    assert items((Message("user"),)) == [message("user", "")]
    assert items(()) == []


def test_an_empty_answer_says_nothing() -> None:
    assert items((Message("assistant"), Message("user", text("x")))) == [message("user", "x")]


def test_speakers_are_told_apart() -> None:
    assert items((Message("user", text("Hi"), name="ann"),)) == [message("user", "ann: ", "Hi")]


def test_a_refusal_is_text_of_the_answer() -> None:
    assert items((Message("assistant", (RefusalPart("I can't."),)),)) == [answer("I can't.")]


def test_an_image_in_the_request_is_passed_on() -> None:
    url = "data:image/png;base64,AA=="
    (item,) = items((Message("user", (TextPart("see"), ImagePart(url, "x"))),))
    assert item["content"] == [
        {"type": "input_text", "text": "see"},
        {"type": "input_image", "image_url": url},
    ]


def test_calls_and_their_results_follow_the_words_of_their_answer() -> None:
    calls = (Call("c1", "add", '{"a": 1.50}'), Call("c2", "now", ""))
    assert items(
        (
            Message("assistant", text("Wait."), calls=calls),
            Message("tool", text("12:", "00"), call_id="c2"),
            Message("tool", text("3"), name="add", call_id="c1"),
        )
    ) == [
        answer("Wait."),
        {"type": "function_call", "call_id": "c1", "name": "add", "arguments": '{"a": 1.50}'},
        {"type": "function_call", "call_id": "c2", "name": "now", "arguments": ""},
        {"type": "function_call_output", "call_id": "c2", "output": "12:00"},
        {"type": "function_call_output", "call_id": "c1", "output": "3"},
    ]


def test_a_result_with_an_image_is_a_list_of_parts() -> None:
    call = Message("assistant", calls=(Call("c1", "shot", "{}"),))
    *_, result = items((call, Message("tool", (TextPart("see"), IMAGE), call_id="c1")))
    assert result["output"] == [
        {"type": "input_text", "text": "see"},
        {"type": "input_image", "image_url": "data:image/png;base64,AA==", "detail": "high"},
    ]


def test_what_the_model_thought_stands_before_its_words() -> None:
    thought = msgspec.Raw(b'{"type":"reasoning","summary":[],"encrypted_content":"e"}')
    step = Message("assistant", text("Wait."), calls=(Call("c1", "add", "{}"),))
    step = msgspec.structs.replace(step, reasoning=(thought, thought))
    first, second, words, call = items((step,))
    plain = msgspec.json.decode(thought)
    assert (first, second, words) == (plain, plain, answer("Wait."))
    assert call["type"] == "function_call"
    assert items((step,), recall=lambda _: (thought,)) == [plain]


def test_codex_is_told_of_functions_by_their_aliases() -> None:
    call = Message("assistant", calls=(Call("c1", "shell_command", "{}"),))
    (item,) = items((call,), alias=lambda name: f"x_{name}")
    assert item["name"] == "x_shell_command"


def test_what_the_model_made_is_shown_to_it_as_it_was() -> None:
    call = Message("assistant", calls=(Call("c1", "add", "{}"),))
    kept = (msgspec.Raw(b'{"type":"reasoning"}'), msgspec.Raw(b'{"type":"function_call"}'))
    result = Message("tool", text("3"), call_id="c1")
    found = items((call, result), recall=lambda run: kept if run == (call,) else None)
    assert [each["type"] for each in found[:2]] == ["reasoning", "function_call"]
    assert found[2]["type"] == "function_call_output"


def test_a_step_that_was_told_as_several_messages_is_shown_as_it_was() -> None:
    wait = Message("assistant", text("Wait."), phase="commentary")
    call = Message("assistant", calls=(Call("c1", "add", "{}"),))
    kept = (msgspec.Raw(b'{"type":"reasoning"}'), msgspec.Raw(b'{"type":"function_call"}'))
    found = items((wait, call), recall=lambda run: kept if run == (wait, call) else None)
    assert [each["type"] for each in found] == ["reasoning", "function_call"]
    alone = items((wait, call), recall=lambda run: kept if run == (call,) else None)
    assert [each["type"] for each in alone] == ["message", "reasoning", "function_call"]


def test_a_step_whose_id_is_taken_is_sent_under_another_though_it_is_kept() -> None:
    """Some providers number their calls anew in every answer."""
    call = Message("assistant", calls=(Call("call_1", "f", "{}"),))
    result = Message("tool", text("1"), call_id="call_1")
    again = Message("assistant", text("Once more."), calls=(Call("call_1", "f", "{}"),))
    own = msgspec.Raw(b'{"type":"function_call","call_id":"call_1","name":"f","arguments":"{}"}')
    found = items(
        (call, result, again, result), recall=lambda run: (own,) if run == (again,) else None
    )
    ids = [item["call_id"] for item in found if "call_id" in item]
    assert ids == ["call_1", "call_1", "call_1_2", "call_1_2"]


@pytest.mark.parametrize("phase", ["commentary", "final_answer", "musing", None])
def test_a_message_has_the_phase_that_codex_knows(phase: str | None) -> None:
    (said,) = items((Message("assistant", text("Wait."), phase=phase),))
    known = {} if phase in ("musing", None) else {"phase": phase}
    assert said == answer("Wait.") | known


def test_a_legacy_function_answers_by_its_name() -> None:
    assert items(
        (
            Message("assistant", calls=(Call("add", "add", "{}"),)),
            Message("function", text("3"), name="add"),
        )
    ) == [
        {"type": "function_call", "call_id": "add", "name": "add", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "add", "output": "3"},
    ]


def test_calls_that_are_known_by_one_id_are_told_apart() -> None:
    call = Message("assistant", calls=(Call("add", "add", "{}"),))
    said = [Message("function", text(word), name="add") for word in "ab"]
    found = items((call, said[0], call, said[1]))
    assert [item["call_id"] for item in found] == ["add", "add", "add_2", "add_2"]


def test_k26_ids_that_begin_alike_and_come_twice_take_linear_time() -> None:
    """8,192 of them held every stream for 5 s: each was searched for from the first number on."""

    def prepare(count: int) -> Callable[[], object]:
        ids = [f"{'x' * conversation.STEM_CHARACTERS}{number:06}" for number in range(count)]
        calls = tuple(Call(call_id, "add", "{}") for call_id in ids * 2)
        said = (Message("assistant", calls=calls),)
        assert len({item["call_id"] for item in items(said)}) == 2 * count
        return lambda: items(said)

    growth.check_linear(prepare, 500)


def test_k26_an_id_that_the_api_does_not_take_is_short_and_the_same_every_time() -> None:
    long, odd, other = "c" * 105, "fc:1/ä", "c" * 106
    messages = tuple(
        message
        for call_id in (long, odd, other, "call_ok-1")
        for message in (
            Message("assistant", calls=(Call(call_id, "add", "{}"),)),
            Message("tool", (TextPart(call_id),), call_id=call_id),
        )
    )
    found = items(messages)
    ids = [item["call_id"] for item in found]
    assert ids[0::2] == ids[1::2]
    assert len(set(ids)) == 4
    assert all(re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", each) for each in ids)
    assert ids[-1] == "call_ok-1"
    assert [item["call_id"] for item in items(messages[:2])] == ids[:2]


def test_k26_a_call_of_the_providers_own_keeps_its_id_and_so_does_its_result() -> None:
    long = "c" * 105
    messages = (
        Message("assistant", calls=(Call(long, "add", "{}"),)),
        Message("tool", (TextPart("3"),), call_id=long),
    )
    own = {"type": "function_call", "call_id": long, "name": "add", "arguments": "{}"}
    raw = msgspec.Raw(json.dumps(own).encode())
    found = conversation.items(messages, recall=lambda _: (raw,))
    assert [json.loads(bytes(item))["call_id"] for item in slices.at_once(found)] == [long, long]


@pytest.mark.parametrize(
    "result",
    [
        Message("tool", text("3"), call_id="other"),
        Message("tool", text("3")),
        Message("tool", text("3"), call_id=""),
        Message("function", text("3"), name="other"),
    ],
)
def test_a_result_without_its_call_is_refused_where_it_stands(result: Message) -> None:
    call = Message("assistant", calls=(Call("c1", "add", "{}"),))
    with pytest.raises(TurnRefused) as refused:
        items((Message("user", text("x")), call, result))
    assert (refused.value.code, refused.value.param) == ("invalid_request", "messages[2]")


def test_a_result_before_its_call_is_refused() -> None:
    result = Message("tool", text("3"), call_id="c1")
    call = Message("assistant", calls=(Call("c1", "add", "{}"),))
    with pytest.raises(TurnRefused) as refused:
        items((result, call))
    assert refused.value.param == "messages[0]"


IMAGE = ImagePart("data:image/png;base64,AA==", "messages[0].content[1]")


@pytest.mark.parametrize(
    ("role", "part", "named"),
    [
        ("user", ImagePart("https://host/x.png", "messages[0].content[1]"), "data URLs"),
        ("user", OtherPart("input_audio", "messages[0].content[1]"), "'input_audio'"),
        ("system", OtherPart("file", "messages[0].content[1]"), "'file'"),
        ("assistant", IMAGE, "image"),
        ("tool", OtherPart("file", "messages[0].content[1]"), "'file'"),
    ],
)
def test_a_part_that_codex_cannot_take_is_refused_by_name(
    role: worker.Role, part: worker.Part, named: str
) -> None:
    refusing = Message(role, (TextPart("x"), part), call_id="c1")
    call = Message("assistant", calls=(Call("c1", "add", "{}"),))
    with pytest.raises(TurnRefused, match=named) as refused:
        items((call, refusing))
    assert refused.value.code == "unsupported_content"
    assert refused.value.param == "messages[0].content[1]"


def test_items_are_sent_in_pieces_that_can_be_sent_in_one_go() -> None:
    raws = tuple(msgspec.Raw(b"%d" % (10**length)) for length in (3, 3, 9, 4, 0))
    batches = [[bytes(each) for each in batch] for batch in conversation.batches(raws, 10)]
    assert batches == [[b"1000", b"1000"], [b"1000000000"], [b"10000", b"1"]]
    assert list(conversation.batches((), 10)) == [()]


def test_a_long_conversation_can_be_interrupted_at_every_message_part_and_call() -> None:
    parts = Message("user", text(*"ab" * 1000))
    calls = Message("assistant", calls=tuple(Call(f"c{n}", "add", "{}") for n in range(2000)))
    results = tuple(Message("tool", text("3"), call_id=f"c{n}") for n in range(2000))
    assert sum(1 for _ in conversation.items((parts, calls, *results))) > 8000


def test_an_item_that_was_not_made_here_has_few_levels() -> None:
    around = b'{"type":"reasoning","a":%b}'
    most = conversation.ITEM_LEVELS - 1
    fits, deeper = (msgspec.Raw(around % (b"[" * n + b"]" * n)) for n in (most, most + 1))
    assert len(items((Message("assistant", reasoning=(fits,)),))) == 1
    with pytest.raises(TurnRefused):
        items((Message("assistant", reasoning=(deeper,)),))
    call = Message("assistant", calls=(Call("c1", "add", "{}"),))
    with pytest.raises(TurnRefused):
        slices.at_once(conversation.items((call,), recall=lambda _: (deeper,)))
