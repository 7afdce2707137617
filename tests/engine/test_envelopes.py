"""The members and the text of a provider's error, in every form that one was seen in."""

import json
from typing import Any

import pytest

from engine import envelopes, redaction


@pytest.mark.parametrize(
    ("value", "code", "message"),
    [
        ({"error": {"message": "m", "code": "c"}}, "c", "m"),
        ({"error": {"error": {"message": "m", "code": "c"}}}, "c", "m"),
        ([{"error": {"message": "m", "code": "c"}}], "c", "m"),
        ({"error": "m"}, None, "m"),
        ({"code": "c", "error": "m"}, "c", "m"),
        ({"code": "c", "error": {"message": "m"}}, None, "m"),
        ({"message": "m", "code": "c"}, "c", "m"),
        ({"detail": "m"}, None, "m"),
        ({"detail": [{"loc": ["body"], "msg": "m"}]}, None, "m"),
        ({"msg": "m"}, None, "m"),
        ("m", None, "m"),
        ({}, None, ""),
        ([], None, ""),
        (None, None, ""),
        (7, None, ""),
        ({"error": None}, None, ""),
        ({"error": []}, None, ""),
        ({"detail": [{"loc": 1}]}, None, ""),
        ({"error": {"message": {"text": "m"}}}, None, ""),
    ],
)
def test_an_error_is_found_in_whatever_it_is_wrapped(
    value: Any, code: str | None, message: str
) -> None:
    error = envelopes.members(value)
    assert error.get("code") == code
    assert envelopes.message(error, redaction.NONE) == message


def test_a_deep_one_is_found_too() -> None:
    value: Any = {"message": "m"}
    for _ in range(128):  # as deep as any JSON is read
        value = {"error": value}
    assert envelopes.message(envelopes.members(value), redaction.NONE) == "m"


def test_its_text_has_no_hosts_and_no_keys() -> None:
    known = redaction.Redaction(("operators-own-key",))
    error = envelopes.members({"detail": "operators-own-key at https://h.example/x is wrong"})
    assert envelopes.message(error, known) == "******** at ******** is wrong"


LLAMA = {
    "code": 400,
    "message": "the request exceeds the available context size",
    "type": "exceed_context_size_error",
    "n_prompt_tokens": 4096,
    "n_ctx": 2048,
}
ROUTED = {
    "message": "Provider returned error",
    "code": 429,
    "metadata": {"raw": "see https://h.example/x", "provider_name": "Z", "flags": [True, None]},
}
AZURE = {
    "message": "filtered",
    "type": None,
    "param": "prompt",
    "code": "content_filter",
    "status": 400,
    "innererror": {"content_filter_result": {"hate": {"filtered": True, "severity": "high"}}},
}


@pytest.mark.parametrize(
    ("error", "further"),
    [
        (LLAMA, {"type": "exceed_context_size_error", "n_prompt_tokens": 4096, "n_ctx": 2048}),
        (
            ROUTED,
            {"metadata": {"raw": "see ********", "provider_name": "Z", "flags": [True, None]}},
        ),
        (AZURE, {"innererror": AZURE["innererror"]}),
        ({"failed_generation": "<f>{}</f>", "type": "error"}, {"failed_generation": "<f>{}</f>"}),
        ({"type": {"a": 1}, "detail": [{"msg": "x", "input": "y"}]}, {}),
        ({"see https://h.example": 1, "": 2, "a" * 129: 3, "b": "sk-1234"}, {"b": ""}),
        (
            {"a": "x" * 9000, "b": "y" * 9000, "c": ["z" * 1999] * 9},
            {"a": "x" * 2000, "b": "y" * 2000},
        ),
        ({"a": dict.fromkeys(map(str, range(99))), "b": 1}, {}),
    ],
)
def test_k79_an_errors_own_members_are_cleaned_and_capped(
    error: dict[str, Any], further: dict[str, Any]
) -> None:
    assert json.loads(bytes(envelopes.further(error, redaction.NONE))) == further


class Counting:
    """Secrets that count how often they are looked for."""

    def __init__(self) -> None:
        self.looks = 0

    def start_of(self, text: str, limit: int, _: str = "") -> str:
        self.looks += 1
        return text[:limit]


@pytest.mark.parametrize("name", ["n{}", "https://h.example/{}"], ids=["names", "none"])
def test_k79_an_error_of_very_many_members_is_not_read_to_its_end(name: str) -> None:
    known: Any = Counting()
    error = {name.format(at): "x" for at in range(20_000)}
    envelopes.further(error, known)
    assert known.looks <= 2 * envelopes.LOOKED_AT


def test_k79_deep_members_end_somewhere() -> None:
    deep: Any = 1
    for _ in range(99):
        deep = [deep]
    found = bytes(envelopes.further({"a": deep}, redaction.NONE))
    assert found == b'{"a":[[[[[[[[null]]]]]]]]}'
