"""What of an answer's form a worker can be held to, and what is asked for in words."""

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from engine import slices, worker
from server.api import answerform
from tests.support.process import growth

TEXT = {"type": "string"}


def obj(required: list[str] | None = None, closed: Any = False, **properties: Any) -> Any:
    """An object's schema; strict, unless it is told otherwise."""
    names = list(properties) if required is None else required
    return {
        "type": "object",
        "properties": properties,
        "required": names,
        "additionalProperties": closed,
    }


def form(schema: Any, strict: bool | None = None) -> answerform.AnswerForm:
    raw = msgspec.Raw(schema if isinstance(schema, bytes) else json.dumps(schema).encode())
    return slices.at_once(answerform.by_schema(raw, strict))


STRICT = (
    obj(),
    obj(a=TEXT),
    obj(a=obj(b=TEXT)),
    obj(a={"type": "array", "items": obj(b=TEXT)}),
    obj(a={"anyOf": [TEXT, {"type": "null"}]}),
    obj(a={"type": ["string", "null"]}),
    {**obj(a={"$ref": "#/$defs/x"}), "$defs": {"x": obj(b=TEXT)}},
    obj(required=["a"], a=TEXT),
)

LOOSE: tuple[Any, ...] = (
    {},
    [],
    7,
    TEXT,
    obj(required=[], a=TEXT),
    obj(required=["a"], a=TEXT, b=TEXT),
    obj(closed=True, a=TEXT),
    {"type": "object", "properties": {"a": TEXT}, "required": ["a"]},
    obj(a=obj(required=[], b=TEXT)),
    obj(a={"type": "array", "items": obj(required=[], b=TEXT)}),
    obj(a={"anyOf": [TEXT, obj(required=[], b=TEXT)]}),
    {**obj(a={"$ref": "#/$defs/x"}), "$defs": {"x": obj(required=[], b=TEXT)}},
    {**obj(a=TEXT), "allOf": []},
    obj(a={"type": "object"}),
    obj(a={"properties": {"b": TEXT}}),
    obj(a={"not": TEXT}),
    {"type": "object", "properties": [], "required": [], "additionalProperties": False},
    {**obj(a=TEXT), "required": "a"},
    {**obj(None_=TEXT), "properties": {"None": TEXT, "True": TEXT}, "required": [None, True]},
    obj(a={"anyOf": 7}),
    {"type": "array", "items": obj()},
    {**obj(), "anyOf": [obj()]},
    b'{"type": "object"',
)


@pytest.mark.parametrize("schema", STRICT)
def test_a_strict_schema_is_one_that_the_worker_is_held_to(schema: Any) -> None:
    found = form(schema)
    assert found.schema is not None
    assert json.loads(bytes(found.schema)) == schema
    assert found.told(()) == ()


@pytest.mark.parametrize("schema", LOOSE)
def test_k27_any_other_is_asked_for_in_words(schema: Any) -> None:
    found = form(schema, strict=False)
    assert found.schema is None
    (message,) = found.told(())
    assert message.role == "developer"
    (part,) = message.parts
    assert isinstance(part, worker.TextPart)
    written = schema.decode() if isinstance(schema, bytes) else json.dumps(schema)
    assert part.text.endswith(written)


@pytest.mark.parametrize("schema", LOOSE)
def test_of_what_the_client_calls_strict_the_provider_judges(schema: Any) -> None:
    assert form(schema, strict=True).schema is not None


def test_one_that_is_too_large_is_left_to_the_worker_to_refuse() -> None:
    schema = obj(required=[], a={"description": "x" * answerform.MOST_BYTES})
    assert form(schema).schema is not None


def test_names_that_are_numbers_are_not_spelled_out() -> None:
    """A schema full of them took 0.3 s, in one go."""

    def of(name: Any) -> Callable[[], object]:
        schema = {**obj(a=TEXT), "required": [name] * 25_000}
        raw = msgspec.Raw(json.dumps(schema).encode())
        assert slices.at_once(answerform.by_schema(raw, None)).schema is None
        return lambda: slices.at_once(answerform.by_schema(raw, None))

    growth.check_as_fast(of(1e300), of("b2345"))


def test_a_schema_of_any_size_takes_linear_time() -> None:
    def prepare(count: int) -> Callable[[], object]:
        schema = obj(**{f"p{number}": obj(a=TEXT) for number in range(count)})
        assert form(schema).schema is not None
        return lambda: form(schema)

    growth.check_linear(prepare, 350)
