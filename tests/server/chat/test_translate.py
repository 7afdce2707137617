"""A chat request for a worker that is given turns: what it asks, and what is done in its place."""

import json
from pathlib import Path
from typing import Any

import pytest

from engine import worker
from server.api import answerform
from server.api.options import AnswerOptions
from server.chat import translate
from server.config import settings
from server.http import errors
from tests.support.requests import chatrequests

CONFIG = settings.Config(data_dir=Path("/data"), log_dir=Path("/data/log"))


def read(*messages: dict[str, Any], **fields: Any) -> AnswerOptions:
    """What is asked by a request with these messages."""
    given = list(messages) or [{"role": "user", "content": "hi"}]
    body = {"model": "m", "messages": given, **fields}
    return chatrequests.read(json.dumps(body).encode(), CONFIG)


def test_each_role_says_its_parts_in_order() -> None:
    asked = read(
        {"role": "system", "content": "Be brief."},
        {"role": "user", "name": "ann", "content": [{"type": "text", "text": "a"}] * 2},
        {"role": "assistant", "content": None, "refusal": "no"},
    )
    text = worker.TextPart("a")
    assert asked.messages == (
        worker.Message("system", (worker.TextPart("Be brief."),)),
        worker.Message("user", (text, text), "ann"),
        worker.Message("assistant", (worker.RefusalPart("no"),)),
    )


def test_parts_that_are_no_text_keep_the_field_that_they_came_from() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
    audio = {"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}}
    file = {"type": "file", "file": {"file_id": "file-1"}}
    (message,) = read({"role": "user", "content": [image, audio, file]}).messages
    assert message.parts == (
        worker.ImagePart("data:image/png;base64,AA==", "messages[0].content[0]"),
        worker.OtherPart("input_audio", "messages[0].content[1]"),
        worker.OtherPart("file", "messages[0].content[2]"),
    )


@pytest.mark.parametrize("form", [{"url": "data:,x"}, "data:,x"])
def test_an_image_may_be_its_url_alone(form: Any) -> None:
    (message,) = read(
        {"role": "user", "content": [{"type": "image_url", "image_url": form}]}
    ).messages
    assert message.parts == (worker.ImagePart("data:,x", "messages[0].content[0]"),)


@pytest.mark.parametrize("thinking", ["hm", [{"type": "text", "text": "hm"}], None])
def test_thinking_of_another_provider_is_left_out_and_named(thinking: Any) -> None:
    parts = [{"type": "thinking", "thinking": thinking}, {"type": "text", "text": "a"}]
    asked = read({"role": "assistant", "content": parts}, {"role": "user", "content": "b"})
    assert asked.messages[0] == worker.Message("assistant", (worker.TextPart("a"),))
    assert asked.ignored == ("messages[0].content[0]",)


def test_a_refusal_is_one_as_a_part_and_as_a_field() -> None:
    part = {"type": "refusal", "refusal": "no"}
    asked = read({"role": "assistant", "content": [part]}, {"role": "user", "content": "why?"})
    assert asked.messages[0] == worker.Message("assistant", (worker.RefusalPart("no"),))


def test_json_without_a_schema_is_asked_for_in_words_and_named() -> None:
    asked = read(response_format={"type": "json_object"})
    assert asked.messages[-1] == worker.Message(
        "developer", (worker.TextPart(answerform.JSON_INSTRUCTION),)
    )
    assert asked.emulated == ("response_format",)
    assert (read().emulated, len(read().messages)) == ((), 1)


@pytest.mark.parametrize(
    ("fields", "limit"),
    [
        ({}, None),
        ({"max_tokens": 3}, 12),
        ({"max_completion_tokens": 5}, 20),
        ({"max_tokens": 3, "max_completion_tokens": 5}, 20),
    ],
)
def test_tokens_are_bytes_and_the_newer_field_counts(
    fields: dict[str, Any], limit: int | None
) -> None:
    assert read(**fields).max_bytes == limit


def test_parts_of_the_whole_conversation_are_counted() -> None:
    limit = CONFIG.max_input_items
    part = {"type": "text", "text": ""}
    message = {"role": "user", "content": [part] * (limit // 2 + 1)}
    read(message)
    with pytest.raises(errors.ApiError) as refused:
        read(message, message)
    assert (refused.value.code, refused.value.param) == (
        "array_above_max_length",
        "messages[1].content",
    )


def test_texts_are_those_of_the_conversation() -> None:
    asked = read({"role": "user", "content": "a"}, {"role": "assistant", "content": "b"})
    assert list(translate.texts(asked.messages)) == ["a", "b"]
