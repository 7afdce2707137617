"""A function's schema as Codex takes it, and in words what Codex drops of it.

Codex refuses a thread for one schema it cannot read, and reduces the others to a few keywords
(`docs/codex.md`). So they are reduced here to what passes unchanged, and what gets lost goes into
the function's description.
"""

import itertools
import re
from collections.abc import Callable
from typing import Any, Final

import msgspec

from engine import slices
from engine.codex.request.schemahints import Schema, Start, encode, hints_of, plain, well_formed
from machines import parse

MAX_BYTES: Final = 256 << 10
"""The largest schema that is read, of a function or of an answer: several times the largest that
is known. It can only be read in one go, and that much may take 20 ms."""

COMPACT_BYTES: Final = 5000
"""The longest schema, as compact JSON, that Codex leaves whole. Of a longer one it drops the
descriptions, and if that is not enough, definitions, unions and all that is nested deep."""

CARRIED_BYTES: Final = 16 << 10
"""Most bytes that a description says of a schema."""

LEVELS: Final = 32
"""Levels of a schema that are kept; one is two of JSON, and a line may have 100 of those."""

JSON_LEVELS: Final = 2 * LEVELS + 10
"""Levels of JSON that a reduced schema has at most: two for one of its own, and what a constant or
the values of an `enum` have inside of the last."""

PATH_CHARACTERS: Final = 200
"""Most characters by which a hint names its place."""


def reduce(parameters: msgspec.Raw | None) -> slices.Steps[tuple[msgspec.Raw, str]]:
    """The schema that Codex gets, and in words what it loses of the client's.

    Args:
        parameters: as the client wrote them, at most `MAX_BYTES`; what is no schema of an object
            counts as none.
    """
    theirs = _resolved(_parsed(parameters))
    yield
    whole = _Reduction()
    yield from whole.walk(theirs)
    schema = encode(whole.schema)
    yield
    if len(schema) <= COMPACT_BYTES:
        return msgspec.Raw(schema), whole.hints(described=False)
    bare = _Reduction(described=False)
    yield from bare.walk(theirs)
    if len(encode(bare.schema)) > COMPACT_BYTES:
        yield
        # Every value is a character and more, so of a longer schema the start is too long.
        text = encode(Start(CARRIED_BYTES).of(theirs, 2 * LEVELS))
        if len(text) <= CARRIED_BYTES:
            return msgspec.Raw(schema), f"JSON schema of the arguments:\n{text.decode()}"
    yield
    return msgspec.Raw(schema), whole.hints(described=True)


def _parsed(parameters: msgspec.Raw | None) -> Schema:
    """A client's schema; an empty one for what is none."""
    if parameters is None:
        return {}
    try:
        found = parse.value(parameters)
    except parse.ParseError:
        found = _parsed_leniently(parameters)
    return found if isinstance(found, dict) else {}


def _parsed_leniently(parameters: msgspec.Raw) -> Any:
    """A schema with a number that no 64 bits can hold, or the like."""
    try:
        return parse.lenient(parameters)
    except parse.ParseError:
        return {}


def _resolved(root: Schema) -> Schema:
    """A schema whose whole is a reference to one of its definitions, with that in its place."""
    for _ in range(LEVELS):
        found = re.fullmatch(r"#/(\$defs|definitions)/([^/]+)", str(root.get("$ref")))
        table = root.get(found[1]) if found else None
        target = table.get(found[2]) if found and isinstance(table, dict) else None
        if not isinstance(target, dict):
            break
        rest = {keyword: value for keyword, value in root.items() if keyword != "$ref"}
        root = {**target, **rest}
    return root


class _Reduction:
    """One walk over a schema: what Codex keeps of it, and what is to be said of the rest.

    Args:
        described: whether descriptions are kept.

    Attributes:
        schema: an object's, with no keyword or value that Codex refuses or changes.
    """

    def __init__(self, *, described: bool = True) -> None:
        self.schema: Schema = {}
        self._described = described
        self._descriptions: dict[str, dict[str, None]] = {}
        self._hints: dict[str, dict[str, None]] = {}

    def walk(self, root: Schema) -> slices.Steps[None]:
        """Reduce a schema; references are not followed, so that it ends."""
        schema = yield from self._schema(root, "", LEVELS)
        if "object" not in schema.get("type", "object"):
            schema = {}
        self.schema = {"properties": {}, **schema, "type": "object"}

    def hints(self, *, described: bool) -> str:
        """What is lost, a line an argument; empty if nothing is.

        Args:
            described: whether descriptions are lost, too.
        """
        lines = []
        for path, hints in self._hints.items():
            said = [*self._descriptions[path]] if described else []
            if hints:
                said.append(", ".join(hints))
            if said:
                lines.append(f"{path or '(all)'}: {'; '.join(said)}")
        return _cut("\n".join(("Argument hints:", *lines)), CARRIED_BYTES) if lines else ""

    def _schema(self, node: Any, path: str, levels: int) -> slices.Steps[Schema]:
        if not isinstance(node, dict) or not levels:
            return {}
        self._note(node, path)
        yield
        kept: Schema = {}
        for keyword, value in node.items():
            reduce = _VALUES.get(keyword)
            if reduce is not None:
                reduced = reduce(value)
            else:
                reduced = yield from self._nested(keyword, value, path, levels - 1)
            if reduced is not None:
                kept[keyword] = reduced
        if not self._described:
            kept.pop("description", None)
        return _typed(kept, node)

    def _nested(self, keyword: str, value: Any, path: str, levels: int) -> slices.Steps[Any]:
        """The schemas inside of one, None where Codex would refuse or drop them."""
        match keyword, value:
            case "properties", dict():
                dot = "." if path else ""
                return (yield from self._each(value, f"{path}{dot}", levels))
            case (("$defs" | "definitions"), dict()):
                return (yield from self._each(value, "#", levels))
            case "items", (dict() | bool()):
                return (yield from self._schema(value, f"{path}[]", levels))
            case "additionalProperties", dict():
                return (yield from self._schema(value, f"{path}.*" if path else "*", levels))
            case "additionalProperties", bool():
                return value
            case (("anyOf" | "oneOf" | "allOf"), [_, *_]):
                return (yield from self._all(value, path, levels))
        return None

    def _all(self, schemas: list[Any], path: str, levels: int) -> slices.Steps[list[Schema]]:
        found = []
        for one in schemas:
            found.append((yield from self._schema(one, path, levels)))
            yield
        return found

    def _each(self, schemas: Schema, prefix: str, levels: int) -> slices.Steps[Schema]:
        found = {}
        for name, one in schemas.items():
            path = f"{prefix}{name}"[:PATH_CHARACTERS]
            found[well_formed(name)] = yield from self._schema(one, path, levels)
            yield
        return found

    def _note(self, node: Schema, path: str) -> None:
        self._hints.setdefault(path, {}).update(dict.fromkeys(hints_of(node, path)))
        descriptions = self._descriptions.setdefault(path, {})
        description = node.get("description")
        if isinstance(description, str) and description:
            descriptions[" ".join(description.split())] = None


TYPES: Final = {
    str: "string",
    bool: "boolean",
    int: "integer",
    float: "number",
    type(None): "null",
    list: "array",
    dict: "object",
}
"""Types of a JSON schema, by those of what `json` parses."""

IMPLIED: Final = {
    **dict.fromkeys(("properties", "additionalProperties", "patternProperties"), "object"),
    **dict.fromkeys(("items", "prefixItems", "minItems", "maxItems", "uniqueItems"), "array"),
    **dict.fromkeys(("format", "pattern", "minLength", "maxLength"), "string"),
    **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "multipleOf"), "number"),
}
"""The type of a schema that names none, by a keyword that it has."""


def _typed(kept: Schema, node: Schema) -> Schema:
    """With what Codex would add where it is not said; left to itself it thinks in strings."""
    if "const" in node:
        kept["enum"] = [plain(node["const"])]
    if not kept.keys() & {"type", "$ref", "anyOf", "oneOf", "allOf"}:
        implied = (IMPLIED[keyword] for keyword in node if keyword in IMPLIED)
        types = list(dict.fromkeys(TYPES[type(one)] for one in kept.get("enum", ())))
        types = types or list(itertools.islice(implied, 1))
        if types:
            kept["type"] = types if len(types) > 1 else types[0]
    if "object" in kept.get("type", ()):
        kept.setdefault("properties", {})
    if "array" in kept.get("type", ()):
        kept.setdefault("items", {})
    return kept


def _text(value: Any) -> str | None:
    return well_formed(value) if isinstance(value, str) else None


def _types(value: Any) -> str | list[str] | None:
    if isinstance(value, list):
        return [one for one in value if one in TYPES.values()] or None
    return value if value in TYPES.values() else None


def _values(value: Any) -> list[Any] | None:
    return [plain(one) for one in value] or None if isinstance(value, list) else None


def _names(value: Any) -> list[str] | None:
    if not isinstance(value, list):
        return None
    return [well_formed(one) for one in value if isinstance(one, str)]


def _count(value: Any) -> int | None:
    return value if type(value) is int and 0 <= value < 1 << 32 else None


_VALUES: Final[dict[str, Callable[[Any], Any]]] = {
    "$ref": _text,
    "description": _text,
    "enum": _values,
    "minItems": _count,
    "required": _names,
    "type": _types,
}
"""Keywords that Codex keeps whose value is no schema; None for a value that it refuses."""


def _cut(text: str, limit: int) -> str:
    """At most that many bytes of a text, and a sign where there were more."""
    encoded = text.encode("utf-8", "replace")
    if len(encoded) <= limit:
        return text
    return f"{encoded[:limit].decode('utf-8', 'ignore')}…"
