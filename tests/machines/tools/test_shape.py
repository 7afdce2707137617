"""Whether a text can still become JSON is known at the character that decides it."""

import json

import pytest

from machines.tools.shape import Shape

VALID = [
    "{}",
    "[]",
    ' { "a" : [ 1 , -2.5e+3 , true , null ] , "b\\"\\\\" : { "c" : "}" } } ',
    '[[],{},"","\\u00e9",[[{"a":[]}]]]',
    '"text"',
]
BROKEN = [
    *("{{", "{,", '{"a"}', '{"a":}', '{"a":1,}', '{"a":1]', '{"a" "', '{"a"::', '"a""', "{}{"),
    *("[1}", "[,", "[1,]", "[1,,", "[]1", "['", "[1 2", '[1"', '["a"1', "[1:", "}", "]", ",", ":"),
]


@pytest.mark.parametrize("text", VALID)
def test_the_shape_of_json_is_complete_at_its_end_only(text: str) -> None:
    last = len(text.rstrip()) - 1
    json.loads(text)
    shape = Shape()
    for position, character in enumerate(text):
        shape.feed(character)
        assert not shape.broken
        assert shape.complete == (position >= last)
    at_once = Shape()
    at_once.feed(text)
    assert at_once.complete


@pytest.mark.parametrize("text", BROKEN)
def test_a_shape_is_broken_by_its_last_character(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        json.loads(text)
    shape = Shape()
    shape.feed(text[:-1])
    assert not shape.broken
    whole = shape.fork()
    whole.feed(text[-1])
    assert whole.broken
    assert not shape.broken
