"""A function's schema: what Codex gets of it, and what its description says instead."""

import json
import time
from typing import Any

import hypothesis
import msgspec
import pytest
from hypothesis import strategies

from engine import slices
from engine.codex.request import tools, toolschema
from machines import parse
from machines.wire import jsonrpc

pytestmark = pytest.mark.slow

EMPTY = {"type": "object", "properties": {}}


def reduced(schema: Any) -> tuple[Any, str]:
    """What becomes of a schema that a client wrote."""
    found, words = slices.at_once(toolschema.reduce(msgspec.Raw(json.dumps(schema).encode())))
    return msgspec.json.decode(found), words


def argument(schema: Any) -> tuple[Any, str]:
    """What becomes of the one argument `a` of a function."""
    found, words = reduced({"type": "object", "properties": {"a": schema}})
    return found["properties"]["a"], words.removeprefix("Argument hints:\n")


@pytest.mark.parametrize(
    "schema",
    [None, True, False, 3, "x", [], [1], {}, {"type": "array", "items": {}}, {"type": "string"}],
)
def test_what_is_no_objects_schema_is_one_without_arguments(schema: Any) -> None:
    assert reduced(schema) == (EMPTY, "")


@pytest.mark.parametrize("text", [b"", b"{", b"nonsense", b'{"a":"\xff"}', b"[" * 100_000])
def test_so_is_what_is_no_json(text: bytes) -> None:
    found, words = slices.at_once(toolschema.reduce(msgspec.Raw(text)))
    assert (msgspec.json.decode(found), words) == (EMPTY, "")
    assert msgspec.json.decode(slices.at_once(toolschema.reduce(None))[0]) == EMPTY


def test_what_codex_keeps_stays_as_it_is() -> None:
    schema = {
        "type": "object",
        "description": "Where and when.",
        "properties": {
            "city": {"type": "string", "description": "Its name.", "enum": ["Rome", "Paris"]},
            "days": {"type": ["array", "null"], "items": {"type": "integer"}, "minItems": 1},
            "unit": {"anyOf": [{"$ref": "#/$defs/Unit"}, {"type": "null"}]},
            "more": {"type": "object", "properties": {}, "additionalProperties": {}},
        },
        "required": ["days", "city"],
        "additionalProperties": False,
        "$defs": {"Unit": {"type": "string", "enum": ["C", "F"]}},
    }
    assert reduced(schema) == (schema, "")


@pytest.mark.parametrize(
    "schema",
    [
        None,
        [],
        "x",
        3,
        {"type": 3},
        {"type": "date"},
        {"type": []},
        {"enum": []},
        {"enum": "x"},
        {"anyOf": "x"},
        {"anyOf": []},
        {"description": 5},
        {"$ref": 3},
    ],
)
def test_what_codex_would_refuse_is_left_out(schema: Any) -> None:
    assert argument(schema) == ({}, "")


def test_half_characters_are_replaced() -> None:
    schema = {"type": "string", "enum": ["\ud800"], "description": "d\ud800", "default": "\udc00"}
    kept = {"type": "string", "enum": ["\ufffd"], "description": "d\ufffd"}
    assert argument(schema) == (kept, 'a: default "\ufffd"')
    found, _ = reduced({"properties": {"\ud83d\ude00\ud800": {}}, "required": ["\ud800"]})
    assert found == {**EMPTY, "properties": {"😀\ufffd": {}}, "required": ["\ufffd"]}


def test_a_schema_that_is_a_reference_is_what_it_refers_to() -> None:
    defs = {"F": {"type": "object", "properties": {"city": {"type": "string"}}}}
    found, _ = reduced({"$ref": "#/definitions/F", "definitions": defs})
    assert found == {**defs["F"], "definitions": defs}


@pytest.mark.parametrize("target", ["#/$defs/A", "#/$defs/B", "#", "#/$defs/Nobody"])
def test_references_in_a_circle_end(target: str) -> None:
    defs = {"A": {"$ref": "#/$defs/B"}, "B": {"properties": {"a": {"$ref": target}}}}
    found, _ = reduced({"$ref": "#/$defs/A", "$defs": {**defs, "C": {"$ref": "#/$defs/C"}}})
    assert found["properties"]["a"] == {"$ref": target}
    assert reduced({"$ref": "#/$defs/C", "$defs": {"C": {"$ref": "#/$defs/C"}}})[0]["type"]


def test_what_is_nested_too_deep_for_a_line_is_cut() -> None:
    deep: Any = {"type": "string"}
    value: Any = 1
    for _ in range(60):
        deep, value = {"type": "object", "properties": {"p": deep}}, [value]
    found, _ = reduced({**deep, "properties": {**deep["properties"], "e": {"enum": [value]}}})
    schema = msgspec.json.encode(found)
    assert schema.count(b'"p"') >= toolschema.LEVELS
    assert not parse.is_deeper(schema, toolschema.JSON_LEVELS)
    line = jsonrpc.encode_request(1, "thread/start", {"dynamicTools": [{"inputSchema": found}]})
    assert not parse.is_deeper(line, 1 + tools.LEVELS)


KEYWORDS = (
    *("type", "items", "properties", "required", "additionalProperties", "$ref", "$defs"),
    *("anyOf", "enum", "const", "description", "minItems", "title", "default", "examples"),
    *("minimum", "maximum", "pattern", "not"),
)

SURROGATES = strategies.text(strategies.characters(codec=None), max_size=3)
"""What a client's `\\ud800` becomes is among them."""

WEIRD = strategies.recursive(
    strategies.none()
    | strategies.booleans()
    | strategies.integers()
    | strategies.floats()
    | strategies.sampled_from(("object", "array", "string"))
    | SURROGATES,
    lambda inner: (
        strategies.lists(inner)
        | strategies.dictionaries(strategies.sampled_from(KEYWORDS) | SURROGATES, inner)
    ),
    max_leaves=20,
)
"""JSON that resembles a schema now and then."""


@hypothesis.given(WEIRD)
def test_no_schema_is_too_weird(schema: Any) -> None:
    found, words = reduced({"type": "object", "properties": {"a": schema}, "$defs": {"D": schema}})
    assert found["type"] == "object"
    words.encode("utf-16", "surrogatepass")
    again, _ = reduced(found)
    assert again == found


@hypothesis.given(
    strategies.recursive(
        strategies.integers() | strategies.text(max_size=2),
        lambda inner: (
            strategies.lists(inner, min_size=1, max_size=2)
            | strategies.dictionaries(
                strategies.sampled_from(
                    [
                        "properties",
                        "items",
                        "anyOf",
                        "enum",
                        "const",
                        "$defs",
                        "additionalProperties",
                    ]
                ),
                inner,
                min_size=1,
            )
        ),
        max_leaves=60,
    )
)
def test_a_reduced_schema_has_no_more_levels_than_it_may(value: Any) -> None:
    for _ in range(20):
        value = {"properties": {"p": value}}
    reduced, _ = slices.at_once(toolschema.reduce(msgspec.Raw(json.dumps(value).encode())))
    assert not parse.is_deeper(reduced, toolschema.JSON_LEVELS)


def dense(size: int, unit: str) -> msgspec.Raw:
    """A schema of this size, of so many of the same properties."""
    count = size // (len(unit) + 12)
    properties = ",".join(f'"{number:07}":{unit}' for number in range(count))
    return msgspec.Raw(f'{{"properties":{{{properties}}}}}'.encode())


@pytest.mark.parametrize(
    "unit",
    [
        "{}",
        '{"type":"string","minLength":1}',
        '{"enum":[1,[2]]}',
        '{"anyOf":[{},{}]}',
        '{"not":{"a":[1]}}',
        '{"const":{"a":[1]}}',
        '{"properties":{"a":{"items":{"properties":{"b":{"title":"T"}}}}}}',
    ],
)
def test_a_large_schema_is_reduced_in_many_steps_each_of_which_is_short(unit: str) -> None:
    schema = dense(toolschema.MAX_BYTES, unit)
    assert min(longest_step(toolschema.reduce(schema)) for _ in range(2)) < 0.05


def longest_step(steps: slices.Steps[Any]) -> float:
    """Seconds of CPU time that the longest step takes."""
    longest = 0.0
    with slices.GcPaused():
        while True:
            begun = time.thread_time()
            try:
                next(steps)
            except StopIteration:
                return max(longest, time.thread_time() - begun)
            longest = max(longest, time.thread_time() - begun)
