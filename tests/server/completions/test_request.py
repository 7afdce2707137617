"""The prompts of a completion request, and the chat requests that they stand for."""

import json
from typing import Any

import msgspec
import pytest

from engine import slices
from server.completions import request as completionbodies
from server.http import reading
from server.http.errors import ApiError


def members(**fields: Any) -> reading.Members:
    body = {"model": "m", **fields}
    return {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in body.items()}


def parse(**fields: Any) -> completionbodies.Prompts:
    return slices.at_once(completionbodies.parse(members(**fields), 100, 5))


@pytest.mark.parametrize(
    ("fields", "texts", "each"),
    [
        ({"prompt": "a"}, ("a",), 1),
        ({"prompt": ""}, ("",), 1),
        ({"prompt": ["a", "b"], "n": 2}, ("a", "b"), 2),
        ({"prompt": ["a"], "n": 7}, ("a",), 7),  # which is refused later, as chat's `n` is
        ({"prompt": "a", "n": 2, "best_of": 2, "suffix": "", "logprobs": None}, ("a",), 2),
    ],
)
def test_prompts_and_their_choices(
    fields: dict[str, Any], texts: tuple[str, ...], each: int
) -> None:
    found = parse(**fields)
    assert (found.texts, found.each, found.echo, found.ignored) == (texts, each, False, ())


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({}, "prompt", "invalid_request"),
        ({"prompt": []}, "prompt", "invalid_request"),
        ({"prompt": 5}, "prompt", "invalid_request"),
        ({"prompt": ["a", 5]}, "prompt[1]", "invalid_request"),
        ({"prompt": [1, 2]}, "prompt", "unsupported_parameter"),
        ({"prompt": [[1, 2], [3]]}, "prompt", "unsupported_parameter"),
        ({"prompt": ["a"] * 6}, "prompt", "invalid_request"),
        ({"prompt": ["a"] * 3, "n": 2}, "prompt", "invalid_request"),
        ({"prompt": "a", "n": 0}, "n", "invalid_request"),
        ({"prompt": "a", "echo": "yes"}, "echo", "invalid_request"),
        ({"prompt": "a", "suffix": "b"}, "suffix", "unsupported_parameter"),
        ({"prompt": "a", "logprobs": 0}, "logprobs", "unsupported_parameter"),
        ({"prompt": "a", "best_of": 2}, "best_of", "unsupported_parameter"),
        ({"prompt": "a", "model": ""}, "model", "model_required"),
    ],
)
def test_what_is_wrong_is_named(fields: dict[str, Any], param: str, code: str) -> None:
    with pytest.raises(ApiError) as refused:
        parse(**fields)
    assert (refused.value.param, refused.value.code) == (param, code)


def test_a_chat_request_has_what_means_the_same_there_and_nothing_else() -> None:
    given = members(
        prompt=["a", "b"],
        n=2,
        temperature=0.5,
        stop="x",
        echo=True,
        best_of=2,
        messages=[],
        tools=[],
    )
    alone = completionbodies.chat_members(given, "a\n", is_alone=True)
    assert json.loads(msgspec.json.encode(alone)) == {
        "model": "m",
        "n": 2,
        "temperature": 0.5,
        "stop": "x",
        "messages": [{"role": "user", "content": "a\n"}],
    }
    assert "n" not in completionbodies.chat_members(given, "a", is_alone=False)
    assert parse(prompt="a", messages=[1], tools=[2], user="me").ignored == ("messages", "tools")
