"""What the SDK's types know of an answer is read, made, or looked at before it passes."""

import pathlib
from typing import Any

import pydantic
import pytest
from openai.types import completion_usage
from openai.types.chat import (
    ChatCompletion,
    ChatCompletionChunk,
    ChatCompletionMessage,
    chat_completion,
    chat_completion_chunk,
    chat_completion_message_custom_tool_call as custom_call,
    chat_completion_message_function_tool_call as function_call,
)

from engine.upstream import apitypes, extras
from machines import events
from server.chat import accumulate


def members(*models: type[pydantic.BaseModel]) -> set[str]:
    """Every member that SDK types have."""
    return {name for model in models for name in model.model_fields}


@pytest.mark.parametrize(
    ("place", "own", "known"),
    [
        ("chunk", extras.OWN_CHUNK | extras.PADDING, (ChatCompletion, ChatCompletionChunk)),
        ("choice", extras.OWN_CHOICE, (chat_completion.Choice, chat_completion_chunk.Choice)),
        ("delta", extras.OWN_DELTA, (ChatCompletionMessage, chat_completion_chunk.ChoiceDelta)),
        (
            "usage",
            extras.OWN_USAGE | extras.OWN_DETAILS.keys(),
            (completion_usage.CompletionUsage,),
        ),
    ],
)
def test_every_member_that_the_sdk_knows_is_the_servers_or_typed(
    place: events.MembersPlace, own: frozenset[str], known: Any
) -> None:
    typed = apitypes.TYPED[place].keys()
    assert not typed & own
    assert members(*known) - own == set(typed)


def test_every_member_of_a_call_that_the_sdk_knows_is_the_servers() -> None:
    calls = (
        function_call.ChatCompletionMessageFunctionToolCall,
        custom_call.ChatCompletionMessageCustomToolCall,
        chat_completion_chunk.ChoiceDeltaToolCall,
    )
    assert members(*calls) == extras.OWN_CALL
    inner = (function_call.Function, custom_call.Custom)
    assert members(*inner) == extras.OWN_FUNCTION


def test_every_count_that_the_sdk_knows_is_the_servers_or_a_number() -> None:
    details = members(
        completion_usage.CompletionTokensDetails, completion_usage.PromptTokensDetails
    )
    own = {name for names in extras.OWN_DETAILS.values() for name in names}
    assert details - own == apitypes.COUNTS


def test_the_docs_name_what_is_typed_joined_otherwise_and_dropped() -> None:
    text = (pathlib.Path(__file__).parents[3] / "docs" / "upstream.md").read_text()
    typed = [name for members_of in apitypes.TYPED.values() for name in members_of]
    own = (extras.OWN_DELTA | extras.OWN_CALL | extras.OWN_CHOICE) - {"custom", "function"}
    details = [name for names in extras.OWN_DETAILS.values() for name in names]
    for name in (*typed, *extras.PADDING, *accumulate.LABELS, *details, *own):
        assert f"`{name}`" in text or name in ("delta", "message"), name


TOKEN = {"token": "a", "logprob": -1.5, "bytes": [97], "top_logprobs": []}
ALTERNATIVE = {"token": "b", "logprob": -2, "bytes": None}
CITED = {"start_index": 0, "end_index": 1, "title": "t", "url": "u"}
RESULT = {
    "categories": {"hate": False},
    "category_applied_input_types": {"hate": ["text"]},
    "category_scores": {"hate": 0.5},
    "flagged": False,
    "model": "m",
    "type": "moderation_result",
}
RESULTS = {"type": "moderation_results", "model": "m", "results": [RESULT]}

CHOICE = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant"}}
CHUNK = {"id": "i", "created": 1, "model": "m", "object": "chat.completion"}


@pytest.mark.parametrize(
    ("place", "name", "value", "fits"),
    [
        ("choice", "logprobs", {"content": [TOKEN], "refusal": None}, True),
        ("choice", "logprobs", {"content": [{**TOKEN, "id": 7, "bytes": None}]}, True),
        ("choice", "logprobs", {"content": [{**TOKEN, "top_logprobs": [ALTERNATIVE]}]}, True),
        ("choice", "logprobs", {"content": [{"token": "a", "logprob": -1}]}, False),
        ("choice", "logprobs", [{"a": -1}], False),
        ("choice", "logprobs", -0.5, False),
        ("chunk", "service_tier", "priority", True),
        ("chunk", "service_tier", "on_demand", False),
        ("chunk", "system_fingerprint", "fp", True),
        ("chunk", "system_fingerprint", 7, False),
        ("chunk", "metadata", {"a": "b"}, True),
        ("chunk", "metadata", {"a": 1}, False),
        ("chunk", "moderation", {"input": RESULTS, "output": RESULTS}, True),
        ("chunk", "moderation", {"input": RESULTS}, False),
        ("delta", "annotations", [{"type": "url_citation", "url_citation": CITED}], True),
        ("delta", "annotations", [{"type": "file", "file": {}}], False),
        ("delta", "annotations", [{"type": "url_citation", "url_citation": {"url": "u"}}], False),
        ("delta", "audio", {"id": "a", "data": "", "expires_at": 1, "transcript": "t"}, True),
        ("delta", "audio", {"id": 1, "data": "", "expires_at": 1, "transcript": "t"}, False),
    ],
)
def test_what_fits_is_what_the_sdk_takes(
    place: events.MembersPlace, name: str, value: Any, fits: bool
) -> None:
    assert apitypes.fits(value, apitypes.TYPED[place][name]) == fits
    of: dict[str, Any] = {place: {name: value}}
    message = {**CHOICE["message"], **of.get("delta", {})}  # type: ignore[dict-item]  # an object
    choice = {**CHOICE, "message": message, **of.get("choice", {})}
    body = {**CHUNK, "choices": [choice], **of.get("chunk", {})}
    try:
        ChatCompletion.model_validate(body)
    except pydantic.ValidationError:
        assert not fits
    else:
        assert fits
