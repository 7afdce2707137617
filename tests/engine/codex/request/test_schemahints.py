"""What Codex drops of a function's schema is said in words that the model reads."""

import json
from typing import Any

import msgspec
import pytest

from engine import slices
from engine.codex.request import toolschema

pytestmark = pytest.mark.slow


def reduced(schema: Any) -> tuple[Any, str]:
    """What becomes of a schema that a client wrote."""
    found, words = slices.at_once(toolschema.reduce(msgspec.Raw(json.dumps(schema).encode())))
    return msgspec.json.decode(found), words


def argument(schema: Any) -> tuple[Any, str]:
    """What becomes of the one argument `a` of a function."""
    found, words = reduced({"type": "object", "properties": {"a": schema}})
    return found["properties"]["a"], words.removeprefix("Argument hints:\n")


@pytest.mark.parametrize(
    ("schema", "kept", "hint"),
    [
        ({"type": "string", "pattern": "^[A-Z]"}, {"type": "string"}, "pattern ^[A-Z]"),
        ({"type": "string", "format": "date"}, {"type": "string"}, "format date"),
        ({"format": "uuid"}, {"type": "string"}, "format uuid"),
        ({"type": "integer", "minimum": 1, "maximum": 7}, {"type": "integer"}, "1 to 7"),
        ({"type": "number", "minimum": 0.5}, {"type": "number"}, "at least 0.5"),
        (
            {"type": "integer", "exclusiveMinimum": 0, "default": 3},
            {"type": "integer"},
            "over 0, default 3",
        ),
        ({"type": "string", "maxLength": 5}, {"type": "string"}, "at most 5 characters"),
        ({"type": "string", "default": "a b"}, {"type": "string"}, 'default "a b"'),
        ({"type": "string", "default": None}, {"type": "string"}, ""),
        ({"type": "string", "examples": ["x", "y"]}, {"type": "string"}, 'such as ["x","y"]'),
        ({"type": "string", "title": "A"}, {"type": "string"}, ""),
        ({"type": "string", "title": "The city"}, {"type": "string"}, "The city"),
        ({"type": "string", "nullable": True}, {"type": "string"}, "may be null"),
        (
            {"type": "array", "items": {}, "maxItems": 2, "uniqueItems": True},
            {"type": "array", "items": {}},
            "at most 2 items, no item twice",
        ),
        (
            {"type": "array", "items": [{"type": "string"}]},
            {"type": "array", "items": {}},
            'items [{"type":"string"}]',
        ),
        ({"not": {"type": "null"}}, {}, 'not {"type":"null"}'),
        ({"const": 3}, {"enum": [3], "type": "integer"}, ""),
        ({"enum": ["a", 1]}, {"enum": ["a", 1], "type": ["string", "integer"]}, ""),
        (True, {}, ""),
    ],
)
def test_what_codex_drops_is_said(schema: Any, kept: Any, hint: str) -> None:
    assert argument(schema) == (kept, f"a: {hint}" if hint else "")


def test_hints_name_where_they_belong() -> None:
    schema = {
        "type": "object",
        "minProperties": 1,
        "properties": {
            "to": {"type": "array", "items": {"properties": {"zip": {"pattern": "^\\d+$"}}}},
            "tags": {"additionalProperties": {"type": "string", "maxLength": 9}},
            "id": {"anyOf": [{"type": "string", "format": "uuid"}, {"minimum": 1}]},
        },
        "$defs": {"Unit": {"type": "string", "default": "C"}},
    }
    assert reduced(schema)[1].splitlines() == [
        "Argument hints:",
        "(all): at least 1 properties",
        "to[].zip: pattern ^\\d+$",
        "tags.*: at most 9 characters",
        "id: format uuid, at least 1",
        '#Unit: default "C"',
    ]


def of_size(size: int, **first: Any) -> dict[str, Any]:
    """An object's schema with descriptions that is so long as compact JSON."""
    schema = {"type": "object", "properties": {"a": {"type": "string", **first}}}
    bare = len(msgspec.json.encode(schema)) + len(',"description":""')
    schema["properties"]["a"]["description"] = "d" * (size - bare)  # type: ignore[index] # a dict
    return schema


def test_descriptions_that_codex_drops_are_said() -> None:
    fits, longer = of_size(5000, pattern="x"), of_size(5001)
    assert reduced(fits)[1] == "Argument hints:\na: pattern x"
    assert reduced(of_size(5000))[1] == ""
    description = longer["properties"]["a"]["description"]
    assert reduced(longer) == (longer, f"Argument hints:\na: {description}")


def test_a_structure_that_codex_drops_is_carried_whole() -> None:
    schema = {
        "type": "object",
        "properties": {"a": {"enum": [f"choice {number}" for number in range(500)]}},
        "$defs": {"U": {"type": "string", "format": "uri"}},
    }
    _, words = reduced(schema)
    assert words.startswith("JSON schema of the arguments:\n")
    assert json.loads(words.partition("\n")[2]) == schema


@pytest.mark.parametrize("count", [500, 5000])
def test_what_is_carried_is_bounded(count: int) -> None:
    names = {f"p{number}": {"type": "string", "format": "中" * 40} for number in range(count)}
    schema, words = reduced({"type": "object", "properties": names})
    assert len(schema["properties"]) == count
    assert words.startswith("Argument hints:\np0: format 中")
    assert words.endswith("…")
    assert len(words.encode()) < toolschema.CARRIED_BYTES + 10


def test_long_names_do_not_multiply() -> None:
    name = "n" * 100_000
    inner = {f"p{number}": {"format": "date"} for number in range(10_000)}
    _, words = reduced({"properties": {name: {"type": "object", "properties": inner}}})
    assert len(words) < 1000
