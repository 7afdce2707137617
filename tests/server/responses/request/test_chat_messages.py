"""The items of a request become the messages of a chat that chat servers take (K32-K34)."""

import json
from typing import Any

import pytest

from engine import worker
from server.http import errors
from server.responses.request import chat_messages
from tests.support.requests import responserequests

CALL = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": '{"a": 1.50}'}
RESULT = {"type": "function_call_output", "call_id": "c1", "output": "3"}
SEALED = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "secret"}
PNG = {"type": "input_image", "image_url": "data:image/png;base64,AAAA"}
PDF = {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,AAAA"}
SENT_PNG = {"type": "image_url", "image_url": {"url": PNG["image_url"], "detail": "auto"}}
SENT_PDF = {"type": "file", "file": {"filename": "a.pdf", "file_data": PDF["file_data"]}}


def messages(*items: Any, **fields: Any) -> Any:
    """The messages that these items become."""
    body = json.dumps({"model": "m", "input": list(items)} | fields).encode()
    request, _ = responserequests.parse(body)
    told = responserequests.messages(request)
    return responserequests.decoded(responserequests.chat_body(request, told))["messages"]


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def said(role: str, text: str) -> dict[str, Any]:
    return {"role": role, "content": text}


def thought(*texts: str, **more: Any) -> dict[str, Any]:
    """A reasoning item that shows the thinking itself."""
    content = [{"type": "reasoning_text", "text": text} for text in texts]
    return {"type": "reasoning", "summary": [], "content": content} | more


def call(call_id: str, arguments: str = '{"a": 1.50}') -> dict[str, Any]:
    function = {"name": "f", "arguments": arguments}
    return {"id": call_id, "type": "function", "function": function}


def result(call_id: str, content: Any = "3") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "content": content}


def test_a_step_of_many_results_is_made_in_slices() -> None:
    count = 100
    calls = tuple(worker.Call(f"c{at}", "f", "{}") for at in range(count))
    step = worker.Message("assistant", calls=calls)
    results = [worker.Message("tool", (), call_id=each.call_id) for each in calls]
    behind_what_came = count + 1
    assert len(list(chat_messages.of([step, *results]))) >= behind_what_came + count


# One system message, the first (K32).


def test_instructions_and_all_that_developers_say_is_one_leading_message() -> None:
    texts = [{"type": "input_text", "text": word} for word in "bc"]
    assert messages(
        said("developer", "a"),
        {"role": "system", "content": texts},
        said("user", "hi"),
        said("assistant", "Hello"),
        said("developer", "Now in French."),
        said("user", "bye"),
        instructions="Be brief.",
    ) == [
        said("system", "Be brief.\n\na\n\nb\n\nc\n\nNow in French."),
        said("user", "hi"),
        said("assistant", "Hello"),
        said("user", "bye"),
    ]


@pytest.mark.parametrize("fields", [{}, {"instructions": ""}])
def test_no_system_message_is_made_of_nothing(fields: dict[str, str]) -> None:
    assert messages(said("developer", ""), said("user", "hi"), **fields) == [user("hi")]


def test_an_image_of_a_developer_stays_in_its_place() -> None:
    text = {"type": "input_text", "text": "Draw like this."}
    found = messages(user("hi"), {"role": "developer", "content": [text, PNG]}, user("go"))
    assert found == [said("system", "Draw like this."), user("hi"), user([SENT_PNG]), user("go")]


def test_what_a_tool_says_unasked_keeps_its_name_and_its_place_and_is_no_rule() -> None:
    alarm = {"type": "function_call_output", "output": "!", "name": "alarm"}
    assert messages(user("hi"), alarm, said("developer", "x")) == [
        said("system", "x"),
        user("hi"),
        {"role": "user", "name": "alarm", "content": "!"},
    ]


def test_content_is_a_string_unless_it_is_of_several_parts() -> None:
    image = {"type": "input_image", "image_url": "https://host/a.png", "detail": "low"}
    audio = {"type": "input_audio", "input_audio": {"data": "", "format": "wav"}}
    file = {"type": "input_file", "file_id": "file_1"}
    texts = [{"type": "input_text", "text": word} for word in "ab"]
    refusal = [{"type": "refusal", "refusal": "no"}]
    assert messages(
        user(texts[:1]),
        user([*texts, image, audio, file]),
        {"role": "assistant", "content": refusal},
        user(""),
    ) == [
        user("a"),
        user(
            [
                {"type": "text", "text": "a"},
                {"type": "text", "text": "b"},
                {"type": "image_url", "image_url": {"url": "https://host/a.png", "detail": "low"}},
                audio,
                {"type": "file", "file": {"file_id": "file_1"}},
            ]
        ),
        said("assistant", "no"),
        user(""),
    ]


@pytest.mark.parametrize(
    ("part", "named"),
    [
        ({"type": "input_file", "file_url": "https://host/a.pdf"}, "'input_file'"),
        ({"type": "input_image", "file_id": "file_1"}, "'input_image by file_id'"),
    ],
)
def test_a_part_that_a_chat_cannot_have_is_refused_by_name(
    part: dict[str, Any], named: str
) -> None:
    text = {"type": "input_text", "text": "x"}
    with pytest.raises(errors.ApiError) as refused:
        messages(user([text, part]))
    error = refused.value
    assert (error.status, error.code) == (400, "unsupported_content")
    assert error.param == "input[0].content[1]"
    assert named in error.message


# Calls and their results.


def test_calls_of_a_step_are_one_message_and_sealed_thoughts_are_left_out() -> None:
    assert messages(
        SEALED,
        said("assistant", "Wait."),
        CALL,
        RESULT,
        SEALED,
        CALL | {"call_id": "c2", "arguments": ""},
        SEALED,
        CALL | {"call_id": "c3"},
        said("assistant", "And wait."),
        RESULT | {"call_id": "c3", "output": [{"type": "input_text", "text": "4"}]},
        RESULT | {"call_id": "c2"},
        SEALED,
    ) == [
        said("assistant", "Wait.") | {"tool_calls": [call("c1")]},
        result("c1"),
        said("assistant", "And wait.") | {"tool_calls": [call("c2", "{}"), call("c3")]},
        result("c3", "4"),
        result("c2"),
    ]


def test_calls_alone_have_no_content() -> None:
    alone = {"role": "assistant", "content": None, "tool_calls": [call("c1")]}
    assert messages(CALL, RESULT)[0] == alone


def test_results_stand_right_behind_their_calls_whatever_came_between() -> None:
    assert messages(
        CALL,
        said("developer", "Hurry."),
        user("Are you there?"),
        said("assistant", "Yes."),
        CALL | {"call_id": "c2"},
        RESULT,
        RESULT | {"call_id": "c2"},
        user("Well?"),
    ) == [
        said("system", "Hurry."),
        {"role": "assistant", "content": None, "tool_calls": [call("c1")]},
        result("c1"),
        user("Are you there?"),
        said("assistant", "Yes.") | {"tool_calls": [call("c2")]},
        result("c2"),
        user("Well?"),
    ]


def test_a_call_id_that_repeats_is_that_of_the_last_call() -> None:
    found = messages(CALL, RESULT, CALL, RESULT | {"output": "4"})
    assert [each["content"] for each in found] == [None, "3", None, "4"]


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ('{"a": 1.50}', '{"a": 1.50}'),
        ("*** Begin Patch", '{"input":"*** Begin Patch"}'),
        ("[1]", '{"input":"[1]"}'),
        ('{"a":', '{"input":"{\\"a\\":"}'),
        ('{"a":' * 200 + "1" + "}" * 200, None),
    ],
)
def test_a_custom_call_keeps_arguments_that_are_json(given: str, sent: str | None) -> None:
    custom = {"type": "custom_tool_call", "call_id": "c1", "name": "f", "input": given}
    output = {"type": "custom_tool_call_output", "call_id": "c1", "output": "done"}
    made, told = messages(custom, output)
    arguments = made["tool_calls"][0]["function"]["arguments"]
    assert arguments == (sent or json.dumps({"input": given}, separators=(",", ":")))
    assert told == result("c1", "done")


# Media of results (K33).


def test_an_image_of_a_result_is_a_user_message_behind_all_results_of_the_step() -> None:
    text = {"type": "input_text", "text": "Here."}
    assert messages(
        CALL,
        CALL | {"call_id": "c2"},
        RESULT | {"output": [text, PNG]},
        RESULT | {"call_id": "c2"},
        said("assistant", "A cat."),
    ) == [
        {"role": "assistant", "content": None, "tool_calls": [call("c1"), call("c2")]},
        result("c1", "Here."),
        result("c2"),
        user([SENT_PNG]),
        said("assistant", "A cat."),
    ]


def test_media_of_several_results_are_told_apart_and_a_result_is_never_empty() -> None:
    follows = "The result follows in a user message."
    assert messages(
        CALL,
        CALL | {"call_id": "c2"},
        RESULT | {"output": [PNG]},
        RESULT | {"call_id": "c2", "output": [PDF]},
    )[1:] == [
        result("c1", follows),
        result("c2", follows),
        user(
            [
                {"type": "text", "text": "From the result of call c1:"},
                SENT_PNG,
                {"type": "text", "text": "From the result of call c2:"},
                SENT_PDF,
            ]
        ),
    ]


def test_an_empty_result_stays_one() -> None:
    assert messages(CALL, RESULT | {"output": []})[1] == result("c1", "")


# Reasoning (K34).


def test_thinking_goes_back_on_its_message() -> None:
    assert messages(
        user("hi"),
        thought("Let me see."),
        said("assistant", "Wait."),
        CALL,
        RESULT,
        thought("Three,", "I think."),
        thought("Yes."),
        said("assistant", "3"),
        thought("What else?"),
        user("bye"),
    ) == [
        user("hi"),
        said("assistant", "Wait.")
        | {"reasoning_content": "Let me see.", "tool_calls": [call("c1")]},
        result("c1"),
        said("assistant", "3") | {"reasoning_content": "Three,\n\nI think.\n\nYes."},
        user("bye"),
    ]


def test_thoughts_between_calls_of_a_step_are_joined() -> None:
    found = messages(thought("a"), CALL, thought("b"), CALL | {"call_id": "c2"}, RESULT)
    assert found[0]["reasoning_content"] == "a\n\nb"
    assert [each["id"] for each in found[0]["tool_calls"]] == ["c1", "c2"]


def test_a_summary_stands_for_thinking_that_is_not_shown() -> None:
    summary = [{"type": "summary_text", "text": text} for text in ("One.", "Two.")]
    (answer,) = messages(SEALED | {"summary": summary}, said("assistant", "3"))
    assert answer == said("assistant", "3") | {"reasoning_content": "One.\n\nTwo."}
