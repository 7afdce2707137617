"""Which requests are the same as the one of a recording, in each form that a log may have it."""

import json
from typing import Any

import msgspec
import pytest

from engine import slices
from engine.log.content import keptrequest, mask
from machines import events
from server.mock import matching
from server.mock.matching import Asked, Match
from tests.support.logs import logs

MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])

BODY: dict[str, Any] = {
    "model": "m",
    "messages": [{"role": "system", "content": "Be."}, {"role": "user", "content": "Hello"}],
    "stream": True,
}


def asked(endpoint: str = events.CHAT, **fields: Any) -> Asked:
    return Asked(endpoint, MEMBERS.decode(json.dumps({**BODY, **fields})))


def recorded(content: mask.Content = "full", **fields: Any) -> tuple[events.Opened, Any]:
    """The first record of a stream, and its request, as a log has them."""
    members = MEMBERS.decode(json.dumps({**BODY, **fields}))
    kept = slices.at_once(keptrequest.keep(members, content, b"key"))
    opened = logs.opened(content=content, request=kept.request)
    return opened, msgspec.json.decode(kept.request)


def user(text: object) -> list[dict[str, object]]:
    return [{"role": "user", "content": text}]


def kinds(request: Asked, **fields: Any) -> set[Match]:
    """By what a request is the same as a recorded one."""
    opened, its = recorded(**fields)
    return {match for match in Match if matching.is_match(request, opened, its, match)}


def test_what_has_to_be_the_same_for_each_way() -> None:
    assert kinds(asked()) == set(Match)
    assert kinds(asked(temperature=1)) == {Match.MESSAGE, Match.MODEL, Match.SEQUENCE}
    assert kinds(asked(messages=user("Hello"))) == {Match.MESSAGE, Match.MODEL, Match.SEQUENCE}
    assert kinds(asked(messages=user("Bye"))) == {Match.MODEL, Match.SEQUENCE}
    assert kinds(asked(model="n")) == {Match.SEQUENCE}
    assert kinds(asked(events.RESPONSES)) == set()


def test_the_order_of_members_and_how_numbers_are_spelled_mean_nothing() -> None:
    members = MEMBERS.decode(b'{"stream":true, "model":"m","n":1.0,"messages":[]}')
    request = Asked(events.CHAT, members)
    opened, its = recorded(n=1, messages=[])
    assert matching.is_match(request, opened, its, Match.BODY)


def test_of_a_masked_recording_the_shape_of_a_text_is_compared() -> None:
    assert kinds(asked(), content="masked") == set(Match)
    assert Match.MESSAGE in kinds(asked(messages=user("Jello")), content="masked")
    assert Match.MESSAGE not in kinds(asked(messages=user("Hello!")), content="masked")
    assert Match.MODEL not in kinds(asked(model="n"), content="masked")


def test_large_requests_are_the_same_by_their_digest() -> None:
    long, other = user("x" * 300_000), user("y" * 300_000)
    assert kinds(asked(messages=long), messages=long) == set(Match)
    assert kinds(asked(messages=other), messages=long) == {Match.MODEL, Match.SEQUENCE}


@pytest.mark.parametrize(
    ("request_", "last"),
    [
        ({"input": "Hi"}, "Hi"),
        ({"input": [{"role": "user", "content": "a"}, {"type": "x"}]}, {"type": "x"}),
        ({"messages": []}, []),
        ({}, None),
        (None, None),
    ],
)
def test_the_last_message_is_found_in_either_api(request_: Any, last: Any) -> None:
    assert matching.last_message(request_) == last


def test_messages_are_shown_on_one_line_that_steers_no_terminal() -> None:
    parts = [{"type": "text", "text": "a\x1b[2J"}, {"type": "image_url"}]
    assert matching.text_of({"role": "user", "content": parts}) == "user: 'a\\x1b[2J[image_url]'"
    called = {"role": "assistant", "content": None, "tool_calls": [1]}
    assert matching.text_of(called) == """assistant: '{"content":null,"tool_calls":[1]}'"""
    assert matching.text_of("x" * 200).endswith("x'…")
    assert matching.model_of({"model": 5}) == ""
