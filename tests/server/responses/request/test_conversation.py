"""A conversation of items is kept whole, and told to a worker in its order."""

import gc
import json
import re
from typing import Any

import msgspec
import pydantic
import pytest
from hypothesis import given, strategies as st
from openai.types.responses import response_item

from engine import slices, worker
from server.config import load as configuration
from server.http import errors
from server.responses.request import body as responsesbodies, conversation
from tests.server.responses import clients
from tests.support.requests import chatrequests, largeresponses, responserequests

USER = {"role": "user", "content": "hi"}
CALL = {"type": "function_call", "call_id": "c1", "name": "add", "arguments": '{"a": 1.50}'}
RESULT = {"type": "function_call_output", "call_id": "c1", "output": "3"}
THOUGHT = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "secret"}


def said(text: str, **fields: Any) -> dict[str, Any]:
    """What the model said, as an answer has it."""
    part = {"type": "output_text", "text": text, "annotations": []}
    return {"type": "message", "role": "assistant", "content": [part]} | fields


def request_of(*items: Any, **fields: Any) -> responsesbodies.ResponsesRequest:
    body = {"model": "m", "input": list(items)} | fields
    return responserequests.parse(json.dumps(body).encode())[0]


def kept(*items: Any) -> list[Any]:
    """The items as they are kept."""
    return [msgspec.json.decode(item) for item in responserequests.kept(request_of(*items))]


def told(*items: Any, **fields: Any) -> tuple[worker.Message, ...]:
    """The messages a worker is given."""
    return responserequests.messages(request_of(*items, **fields))


def raw(value: Any) -> msgspec.Raw:
    return msgspec.Raw(json.dumps(value).encode())


def text(*texts: str) -> tuple[worker.Part, ...]:
    return tuple(worker.TextPart(each) for each in texts)


# What is kept.


def test_an_item_is_kept_in_full_with_an_id_of_its_kind() -> None:
    found = kept(
        USER,
        said("Hello"),
        CALL,
        RESULT,
        {"type": "custom_tool_call", "call_id": "c2", "name": "g", "input": "x"},
        {"type": "custom_tool_call_output", "call_id": "c2", "output": "y"},
        {"type": "reasoning", "summary": None},
        {"type": "compaction", "encrypted_content": "e"},
        {"type": "web_search_call", "status": "completed", "action": {"type": "search"}},
    )
    prefixes = ["msg", "msg", "fc", "fco", "ctc", "ctco", "rs", "cmp", "item"]
    for item, prefix in zip(found, prefixes, strict=True):
        assert re.fullmatch(f"{prefix}_[0-9a-f]{{24}}", item.pop("id"))
        assert item.pop("status") == "completed"
    assert found == [
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]},
        said("Hello"),
        CALL,
        RESULT,
        {"type": "custom_tool_call", "call_id": "c2", "name": "g", "input": "x"},
        {"type": "custom_tool_call_output", "call_id": "c2", "output": "y"},
        {"type": "reasoning", "summary": []},
        {"type": "compaction", "encrypted_content": "e"},
        {"type": "web_search_call", "action": {"type": "search"}},
    ]


def test_what_a_client_says_of_an_item_stays() -> None:
    items = [
        said("Hello", id="msg_a", status="incomplete", phase="commentary"),
        CALL | {"id": "fc_a", "status": "completed", "namespace": "n"},
        RESULT | {"id": "fco_a", "status": "completed"},
        THOUGHT | {"status": "completed", "content": [{"type": "reasoning_text", "text": "t"}]},
        {"type": "web_search_call", "id": "ws_a", "status": "failed"},
        {"type": "item_reference", "id": "msg_b"},
    ]
    assert kept(*items) == items


def test_a_text_alone_is_a_message() -> None:
    request, _ = responserequests.parse(b'{"model":"m","input":"hi"}')
    (item,) = responserequests.kept(request)
    assert msgspec.json.decode(item)["content"] == [{"type": "input_text", "text": "hi"}]


def test_texts_are_of_who_said_them_and_images_have_their_detail() -> None:
    texts = [{"type": kind, "text": kind} for kind in ("text", "input_text", "output_text")]
    image = {"type": "input_image", "image_url": "data:,"}
    user, answer, _, result = kept(
        {"role": "user", "content": [*texts, image]},
        {"role": "assistant", "content": texts},
        CALL,
        RESULT | {"output": [*texts, image | {"detail": "low"}]},
    )
    words = ["text", "input_text", "output_text"]
    given = [{"type": "input_text", "text": word} for word in words]
    assert user["content"] == [*given, image | {"detail": "auto"}]
    assert answer["content"] == [
        {"type": "output_text", "text": word, "annotations": []} for word in words
    ]
    assert result["output"] == [*given, image | {"detail": "low"}]


@pytest.mark.parametrize("name", clients.REQUESTS)
def test_every_kept_item_is_one_the_sdk_lists(name: str) -> None:
    listed = pydantic.TypeAdapter[Any](response_item.ResponseItem)
    for item in kept(*request_items(name)):
        if item["type"] != "item_reference":
            listed.validate_python(item, strict=True)


def request_items(name: str) -> list[Any]:
    given = clients.REQUESTS[name]["input"]
    return given if isinstance(given, list) else [{"role": "user", "content": given}]


# References.


def test_references_are_looked_up_once() -> None:
    request = request_of(
        {"type": "item_reference", "id": "msg_1"},
        USER,
        {"id": "msg_1"},
        {"type": "reasoning", "id": "rs_1", "summary": []},
        {"type": "reasoning", "id": "rs_2", "summary": [], "encrypted_content": "e"},
    )
    assert slices.at_once(conversation.references(request.items)) == ("msg_1", "rs_1")


def test_a_reference_becomes_the_item() -> None:
    request = request_of(USER, {"id": "msg_1"}, {"id": "msg_1"})
    answer = raw(said("Hello", id="msg_1"))
    assert responserequests.kept(request, {"msg_1": answer})[1:] == (answer, answer)
    texts = [message.parts for message in responserequests.messages(request, {"msg_1": answer})]
    assert texts == [text("hi"), text("Hello"), text("Hello")]


def test_a_thought_is_completed_where_it_is_kept() -> None:
    request = request_of({"type": "reasoning", "id": "rs_1"})
    assert json.loads(bytes(responserequests.kept(request)[0]))["summary"] == []
    assert responserequests.kept(request, {"rs_1": raw(THOUGHT)}) == (raw(THOUGHT),)


def test_an_unknown_reference_is_not_found() -> None:
    with pytest.raises(errors.ApiError) as refused:
        responserequests.kept(request_of(USER, {"id": "msg_1"}), {"msg_2": raw(USER)})
    error = refused.value
    assert (error.status, error.param) == (404, "input[1]")
    assert error.message == "Item with id 'msg_1' not found."
    assert msgspec.json.decode(error.body())["error"]["type"] == "invalid_request_error"


# What a worker is told.


def test_every_role_keeps_its_place() -> None:
    roles: tuple[worker.Role, ...] = ("system", "developer", "user", "assistant", "user")
    found = told(*({"role": role, "content": role} for role in roles), instructions="Be brief.")
    assert found == (
        worker.Message("developer", text("Be brief.")),
        *(worker.Message(role, text(role)) for role in roles),
    )


def test_instructions_may_be_items() -> None:
    found = told(USER, instructions=[{"role": "system", "content": "a"}, said("b")])
    assert [(message.role, message.parts) for message in found] == [
        ("system", text("a")),
        ("assistant", text("b")),
        ("user", text("hi")),
    ]


def test_a_step_of_the_model_is_one_message() -> None:
    thought = raw(THOUGHT | {"summary": [{"type": "summary_text", "text": "s"}]})
    given = msgspec.json.decode(thought) | {"status": "completed"}
    given |= {"content": [{"type": "reasoning_text", "text": "t"}]}
    (step,) = told(given, said("Wait."), CALL, CALL | {"call_id": "c2"})
    assert step.role == "assistant"
    assert [msgspec.json.decode(each) for each in step.reasoning] == [msgspec.json.decode(thought)]
    assert step.parts == text("Wait.")
    assert step.calls == (
        worker.Call("c1", "add", '{"a": 1.50}'),
        worker.Call("c2", "add", '{"a": 1.50}'),
    )


@pytest.mark.parametrize(
    ("items", "outline"),
    [
        ([said("a"), said("b")], ["text", "text"]),
        ([said("a"), THOUGHT, said("b")], ["text", "thought text"]),
        ([CALL, said("a")], ["call", "text"]),
        ([THOUGHT, CALL, THOUGHT, CALL | {"call_id": "c2"}], ["thought call", "thought call"]),
        ([THOUGHT, THOUGHT, CALL, CALL | {"call_id": "c2"}], ["thought thought call call"]),
        ([CALL, RESULT, CALL | {"call_id": "c2"}], ["call", "tool", "call"]),
        ([THOUGHT, USER, said("a")], ["thought", "user", "text"]),
        ([said("a"), said(""), CALL], ["text call"]),
        ([said("")], []),
        ([CALL, {"type": "reasoning", "summary": []}, CALL | {"call_id": "c2"}], ["call call"]),
        ([said("a"), {"type": "web_search_call"}, CALL], ["text call"]),
        ([{"type": "compaction", "encrypted_content": "e"}, USER], ["thought", "user"]),
    ],
)
def test_a_message_ends_where_its_order_would_be_broken(
    items: list[Any], outline: list[str]
) -> None:
    assert [outline_of(message) for message in told(*items)] == outline


def outline_of(message: worker.Message) -> str:
    if message.role != "assistant":
        return message.role
    kinds = (("thought", message.reasoning), ("text", message.parts), ("call", message.calls))
    return " ".join(kind for kind, found in kinds for _ in found)


def test_only_what_is_encrypted_is_shown_to_the_model_again() -> None:
    assert told({"type": "reasoning", "summary": [], "encrypted_content": ""}, USER) == told(USER)


def test_results_answer_their_calls_whatever_they_are() -> None:
    image = {"type": "input_image", "image_url": "data:,"}
    found = told(
        CALL,
        {"type": "custom_tool_call", "call_id": "c2", "name": "g", "input": 'say "x"'},
        {"type": "custom_tool_call_output", "call_id": "c2", "output": "y"},
        RESULT | {"output": [{"type": "input_text", "text": "see"}, image]},
    )
    assert found[0].calls[1] == worker.Call("c2", "g", '{"input":"say \\"x\\""}')
    assert found[1:] == (
        worker.Message("tool", text("y"), call_id="c2"),
        worker.Message(
            "tool",
            (worker.TextPart("see"), worker.ImagePart("data:,", "input[3].output[1]", "auto")),
            call_id="c1",
        ),
    )


def test_what_a_tool_says_unasked_is_told_with_its_name() -> None:
    (alarm,) = told({"type": "function_call_output", "output": "!", "name": "alarm"})
    assert alarm == worker.Message("developer", text("!"), "alarm")


@pytest.mark.parametrize("items", [[RESULT], [RESULT, CALL], [CALL, RESULT | {"call_id": "x"}]])
def test_a_result_without_its_call_is_refused_where_it_stands(items: list[Any]) -> None:
    with pytest.raises(errors.ApiError) as refused:
        told(*items)
    index = len(items) - 1 if items[-1] is not CALL else 0
    call_id = items[index]["call_id"]
    assert (refused.value.status, refused.value.param) == (400, f"input[{index}]")
    assert refused.value.message == (
        f"No tool call found for function call output with call_id {call_id}."
    )


def test_parts_name_the_field_they_came_from() -> None:
    image = {"role": "user", "content": [{"type": "input_image", "image_url": "data:,"}]}
    request = request_of(USER, image)
    found = responserequests.messages(request, earlier=responserequests.kept(request)[1:])
    (first,), _, (second,) = (message.parts for message in found)
    assert isinstance(first, worker.ImagePart)
    assert isinstance(second, worker.ImagePart)
    assert first.param == "previous_response_id.content[0]"
    assert second.param == "input[1].content[0]"


def test_parts_that_not_every_worker_takes_say_what_they_are() -> None:
    audio = {"type": "input_audio", "input_audio": {"data": "", "format": "wav"}}
    file = {"type": "input_file", "filename": "a.pdf", "file_data": "data:,"}
    (message,) = told(
        {
            "role": "user",
            "content": [
                audio,
                file,
                {"type": "input_file", "file_url": "https://host/a.pdf"},
                {"type": "input_image", "file_id": "file_1"},
                {"type": "refusal", "refusal": "no"},
            ],
        }
    )
    *others, refusal = message.parts
    assert refusal == worker.TextPart("no")
    shown = [
        (part.kind, part.param, part.part and msgspec.json.decode(part.part))
        for part in others
        if isinstance(part, worker.OtherPart)
    ]
    given = {"filename": "a.pdf", "file_data": "data:,"}
    assert shown == [
        ("input_audio", "input[0].content[0]", audio),
        ("input_file", "input[0].content[1]", {"type": "file", "file": given}),
        ("input_file", "input[0].content[2]", None),
        ("input_image by file_id", "input[0].content[3]", None),
    ]


def test_a_refusal_of_the_model_stays_one() -> None:
    part = {"type": "refusal", "refusal": "I can't."}
    (message,) = told({"role": "assistant", "content": [part]})
    assert message.parts == (worker.RefusalPart("I can't."),)


CHAT = [
    {"role": "developer", "content": "Be brief."},
    {"role": "user", "content": [{"type": "text", "text": "Add."}]},
    {
        "role": "assistant",
        "content": "Wait.",
        "tool_calls": [
            {"id": "c1", "type": "function", "function": {"name": "add", "arguments": "{}"}},
            {"id": "c2", "type": "function", "function": {"name": "now", "arguments": "{}"}},
        ],
    },
    {"role": "tool", "tool_call_id": "c1", "content": "3"},
    {"role": "tool", "tool_call_id": "c2", "content": "12:00"},
    {"role": "assistant", "content": "3 at noon."},
    {"role": "user", "content": "Thanks."},
]


def test_a_conversation_is_the_same_in_both_apis() -> None:
    settings, _ = configuration.load({"HOME": "/"})
    body = json.dumps({"model": "m", "messages": CHAT}).encode()
    chat = chatrequests.read(body, settings)
    calls = [
        CALL | {"call_id": call_id, "name": name, "arguments": "{}"}
        for call_id, name in (("c1", "add"), ("c2", "now"))
    ]
    assert (
        told(
            {"role": "user", "content": "Add."},
            said("Wait."),
            *calls,
            RESULT,
            RESULT | {"call_id": "c2", "output": "12:00"},
            said("3 at noon."),
            {"role": "user", "content": "Thanks."},
            instructions="Be brief.",
        )
        == chat.messages
    )


# Whatever the items are.

TEXTS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=5)
ROLES = st.sampled_from(("user", "system", "developer"))
CONVERSATIONS = st.lists(
    st.one_of(
        st.builds(lambda role, words: {"role": role, "content": words}, ROLES, TEXTS),
        st.builds(
            lambda role, words: {
                "role": role,
                "content": [{"type": "input_text", "text": word} for word in words],
            },
            ROLES,
            st.lists(TEXTS, max_size=3),
        ),
        st.builds(said, TEXTS),
        st.builds(lambda words: {"role": "assistant", "content": words}, TEXTS),
        st.builds(
            lambda words: THOUGHT | {"encrypted_content": words, "id": f"rs_{words}"}, TEXTS
        ),
        st.builds(lambda words: CALL | {"call_id": words, "name": words}, TEXTS),
        st.just({"type": "web_search_call", "id": "ws_1"}),
    ),
    max_size=12,
).map(lambda items: [*items, *({**RESULT, "call_id": each} for each in call_ids(items))])


def call_ids(items: list[Any]) -> list[str]:
    return [item["call_id"] for item in items if item.get("type") == "function_call"]


def words_of_items(items: list[Any]) -> list[tuple[str, str]]:
    """Who said what, item by item."""
    found = []
    for item in items:
        match item:
            case {"type": "reasoning"}:
                found.append(("thought", item["encrypted_content"]))
            case {"type": "function_call"}:
                found.append(("call", item["call_id"]))
            case {"type": "function_call_output"}:
                found.append(("tool", item["call_id"]))
            case {"role": role, "content": str(content)}:
                found.append((role, content))
            case {"role": role, "content": content}:
                found += [(role, part["text"]) for part in content]
    return found


def words_of_messages(messages: tuple[worker.Message, ...]) -> list[tuple[str, str]]:
    """Who said what, message by message."""
    found: list[tuple[str, str]] = []
    for message in messages:
        if message.role == "tool":
            found.append(("tool", message.call_id or ""))
            continue
        found += [
            ("thought", msgspec.json.decode(each)["encrypted_content"])
            for each in message.reasoning
        ]
        found += [
            (message.role, part.text)
            for part in message.parts
            if isinstance(part, worker.TextPart)
        ]
        found += [("call", call.call_id) for call in message.calls]
    return found


@given(CONVERSATIONS)
def test_nothing_is_lost_or_moved(items: list[Any]) -> None:
    """Invariant: who said what, in its order, is the same in the items and in the messages."""
    if items:
        assert words_of_messages(told(*items)) == words_of_items(items)


@given(CONVERSATIONS)
def test_what_is_kept_is_kept_the_same_again(items: list[Any]) -> None:
    """Invariant: a conversation that is sent as it was listed is the same conversation."""
    if items:
        listed = kept(*items)
        assert kept(*listed) == listed
        assert told(*listed) == told(*items)


@pytest.mark.parametrize("kind", largeresponses.KINDS)
def test_the_collector_has_no_items_and_no_messages_to_look_at(kind: str) -> None:
    """A full collection would hold the loop for tens of milliseconds."""
    body = largeresponses.of_size(kind, 20_000)
    try:
        request, _ = responserequests.parse(body)
        own = responserequests.resolved(request, {})
        found = slices.at_once(conversation.messages([each.item for each in own]))
    except errors.ApiError:
        return
    looked_at: list[object] = [*own, *(each.item for each in own), *found]
    looked_at += [part for message in found for part in (*message.parts, *message.calls)]
    assert [each for each in looked_at if gc.is_tracked(each)] == []
