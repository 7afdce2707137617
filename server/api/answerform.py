"""The form that an answer is asked for in, as far as a worker that is given turns can keep it.

Codex sends every schema as a strict one (0.163 to 0.171), and the API refuses a strict schema that
does not name every property as required, or lets others in. So such a schema is asked for in
words.
"""

from typing import Any, Final

import msgspec

from engine import slices, worker
from machines import parse

JSON_INSTRUCTION: Final = "Answer with a single JSON object and nothing else."
"""The instruction in place of `json_object`, which Codex does not have."""

SCHEMA_INSTRUCTION: Final = (
    "Answer with a single JSON value and nothing else. It must conform to this JSON schema:\n\n"
)
"""The instruction before a schema that is no strict one."""

LOOSE: Final = frozenset(
    (
        "allOf",
        "dependentRequired",
        "dependentSchemas",
        "else",
        "if",
        "not",
        "oneOf",
        "patternProperties",
        "prefixItems",
        "propertyNames",
        "then",
        "unevaluatedItems",
        "unevaluatedProperties",
    )
)
"""Keywords that no strict schema has. Source: OpenAI's guide to Structured Outputs."""

ONE: Final = ("items", "additionalItems")
"""Keywords whose value is a schema."""

MANY: Final = ("properties", "$defs", "definitions")
"""Keywords whose value is an object of schemas."""

LISTS: Final = ("anyOf",)
"""Keywords whose value is a list of schemas."""


MOST_BYTES: Final = 1 << 18
"""Bytes of a schema that is looked at; the worker refuses a larger one."""


_SCHEMA: Final = msgspec.json.Decoder(float_hook=str)
"""Reads a schema, in which no number counts: one such as 1e300 takes 7 µs to convert."""


class AnswerForm(msgspec.Struct, frozen=True):
    """How an answer shall look.

    Attributes:
        schema: for the worker to hold it to.
        instruction: the same in words, where the worker cannot.
    """

    schema: msgspec.Raw | None = None
    instruction: str = ""

    def told(self, messages: tuple[worker.Message, ...]) -> tuple[worker.Message, ...]:
        """Return a conversation that ends with the instruction, where there is one."""
        if not self.instruction:
            return messages
        return (*messages, worker.Message("developer", (worker.TextPart(self.instruction),)))


FREE: Final = AnswerForm()
"""Any text."""

JSON_OBJECT: Final = AnswerForm(instruction=JSON_INSTRUCTION)


def by_schema(schema: msgspec.Raw, strict: bool | None) -> slices.Steps[AnswerForm]:
    """Return the form that a schema stands for.

    Args:
        strict: as the client has it. Of a schema that it calls strict the provider judges.
    """
    too_large = memoryview(schema).nbytes > MOST_BYTES
    if strict or too_large or (yield from _is_strict(schema)):
        return AnswerForm(schema)
    return AnswerForm(instruction=SCHEMA_INSTRUCTION + bytes(schema).decode("utf-8", "replace"))


def _is_strict(raw: msgspec.Raw) -> slices.Steps[bool]:
    """Return whether a schema would be taken as a strict one."""
    try:
        root = parse.parse(bytes(raw), _SCHEMA)
    except parse.ParseError:
        return False
    if not isinstance(root, dict) or root.get("type") != "object" or "anyOf" in root:
        return False
    waiting: list[Any] = [root]
    while waiting:
        yield
        schema = waiting.pop()
        if not isinstance(schema, dict) or not _fits(schema):
            return False
        waiting += (schema[word] for word in ONE if word in schema)
        for word in MANY:
            waiting += schema.get(word, {}).values()
        for word in LISTS:
            waiting += schema.get(word, ())
    return True


def _fits(schema: dict[str, Any]) -> bool:
    """Return whether one schema is strict, whatever those within it are."""
    if not LOOSE.isdisjoint(schema):
        return False
    well_formed = all(isinstance(schema.get(word, {}), dict) for word in MANY) and all(
        isinstance(schema.get(word, []), list) for word in LISTS
    )
    kinds = schema.get("type")
    is_object = kinds == "object" or (isinstance(kinds, list) and "object" in kinds)
    if not well_formed or not (is_object or "properties" in schema):
        return well_formed
    required = schema.get("required", [])
    names = schema.get("properties", {})
    return (
        schema.get("additionalProperties") is False
        and isinstance(required, list)
        and len(required) >= len(names)
        and names.keys() <= {name for name in required if isinstance(name, str)}
    )
