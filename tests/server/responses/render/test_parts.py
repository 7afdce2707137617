"""A part of an item is told of from its beginning to its end, under the API's names."""

from typing import Any

import msgspec
import pytest

from server.responses.render import parts

PLACE = {"item_id": "msg_1", "output_index": 0, "content_index": 0}

KINDS = {
    "output_text": ("response.content_part", "response.output_text", "text"),
    "refusal": ("response.content_part", "response.refusal", "refusal"),
    "summary_text": (
        "response.reasoning_summary_part",
        "response.reasoning_summary_text",
        "text",
    ),
    "reasoning_text": ("response.content_part", "response.reasoning_text", "text"),
}


def plain(value: Any) -> Any:
    """As a client reads it."""
    return msgspec.json.decode(msgspec.json.encode(value))


@pytest.mark.parametrize("kind", KINDS)
def test_a_part_from_its_beginning_to_its_end(kind: str) -> None:
    around, name, member = KINDS[kind]
    part = parts.Part(kind, PLACE)
    told = [part.added(), part.delta("Hel"), part.delta("lo"), *part.done()]
    assert [event["type"] for event in told] == [
        f"{around}.added",
        *[f"{name}.delta"] * 2,
        f"{name}.done",
        f"{around}.done",
    ]
    assert all(event["item_id"] == "msg_1" for event in told)
    assert [event["delta"] for event in told[1:3]] == ["Hel", "lo"]
    assert told[0]["part"][member] == ""
    assert plain(told[3])[member] == "Hello"
    assert plain(told[4])["part"][member] == "Hello"


def test_a_part_shows_what_there_is_of_it_while_it_grows_and_when_it_has_ended() -> None:
    part = parts.Part("output_text", PLACE)
    part.delta("Hel")
    assert plain(part.object()) == {
        "type": "output_text",
        "text": "Hel",
        "annotations": [],
        "logprobs": [],
    }
    part.delta("lo")
    part.done()
    assert plain(part.object())["text"] == "Hello"


def test_every_kind_has_its_names() -> None:
    assert KINDS.keys() == parts.NAMES.keys()
