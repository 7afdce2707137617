"""A function's schema as Codex takes it, and in words what Codex drops of it.

Codex refuses a thread for one schema it cannot read, and reduces the others to a few keywords
(`docs/codex.md`). So they are reduced here to what passes unchanged, and what gets lost goes into
the function's description.
"""

import itertools
import json
import re
from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec

COMPACT_BYTES: Final = 5000
"""The longest schema, as compact JSON, that Codex leaves whole. Of a longer one it drops the
descriptions, and if that is not enough, definitions, unions and all that is nested deep."""

CARRIED_BYTES: Final = 16 << 10
"""What a description says of a schema at most."""

VALUE_CHARACTERS: Final = 200
"""What a hint says of one keyword's value."""

PATH_CHARACTERS: Final = 200
"""What a hint says of where it belongs."""

LEVELS: Final = 32
"""Levels of a schema that are kept; one is two of JSON, and a line may have 100 of those."""

Schema = dict[str, Any]


def reduce(parameters: msgspec.Raw | None) -> tuple[msgspec.Raw, str]:
    """The schema that Codex gets, and in words what it loses of the client's.

    Args:
        parameters: as the client wrote them; what is no schema of an object counts as none.
    """
    theirs = _resolved(_parsed(parameters))
    whole = _Reduction(theirs)
    schema = _json(whole.schema)
    if len(schema) <= COMPACT_BYTES:
        return msgspec.Raw(schema), whole.hints(described=False)
    if len(_json(_Reduction(theirs, described=False).schema)) > COMPACT_BYTES:
        text = _json(_plain(theirs, 2 * LEVELS))
        if len(text) <= CARRIED_BYTES:
            return msgspec.Raw(schema), f"JSON schema of the arguments:\n{text.decode()}"
    return msgspec.Raw(schema), whole.hints(described=True)


def _parsed(parameters: msgspec.Raw | None) -> Schema:
    """A client's schema; an empty one for what is none."""
    if parameters is None:
        return {}
    try:
        found = json.loads(bytes(parameters))  # takes surrogates and numbers that msgspec refuses
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


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
        root: references are not followed, so that it ends.
        described: whether descriptions are kept.

    Attributes:
        schema: an object's, with no keyword or value that Codex refuses or changes.
    """

    def __init__(self, root: Schema, *, described: bool = True) -> None:
        self._described = described
        self._descriptions: dict[str, dict[str, None]] = {}
        self._hints: dict[str, dict[str, None]] = {}
        schema = self._schema(root, "", LEVELS)
        if "object" not in schema.get("type", "object"):
            schema = {}
        self.schema: Schema = {"properties": {}, **schema, "type": "object"}

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

    def _schema(self, node: Any, path: str, levels: int) -> Schema:
        if not isinstance(node, dict) or not levels:
            return {}
        self._note(node, path)
        kept: Schema = {}
        for keyword, value in node.items():
            reduce = _VALUES.get(keyword)
            reduced = reduce(value) if reduce else self._nested(keyword, value, path, levels - 1)
            if reduced is not None:
                kept[keyword] = reduced
        if not self._described:
            kept.pop("description", None)
        return _typed(kept, node)

    def _nested(self, keyword: str, value: Any, path: str, levels: int) -> Any:
        """The schemas inside of one, None where Codex would refuse or drop them."""
        match keyword, value:
            case "properties", dict():
                dot = "." if path else ""
                return self._each(value, f"{path}{dot}", levels)
            case (("$defs" | "definitions"), dict()):
                return self._each(value, "#", levels)
            case "items", (dict() | bool()):
                return self._schema(value, f"{path}[]", levels)
            case "additionalProperties", dict():
                return self._schema(value, f"{path}.*" if path else "*", levels)
            case "additionalProperties", bool():
                return value
            case (("anyOf" | "oneOf" | "allOf"), [_, *_]):
                return [self._schema(one, path, levels) for one in value]
        return None

    def _each(self, schemas: Schema, prefix: str, levels: int) -> Schema:
        return {
            well_formed(name): self._schema(one, f"{prefix}{name}"[:PATH_CHARACTERS], levels)
            for name, one in schemas.items()
        }

    def _note(self, node: Schema, path: str) -> None:
        self._hints.setdefault(path, {}).update(dict.fromkeys(_hints(node, path)))
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
        kept["enum"] = [_plain(node["const"])]
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
    return [_plain(one) for one in value] or None if isinstance(value, list) else None


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

RANGES: Final = (
    ("minimum", "maximum", ""),
    ("minLength", "maxLength", " characters"),
    ("minProperties", "maxProperties", " properties"),
)
"""Keywords that bound the same thing from both sides, and what it is counted in."""

WORDS: Final = {
    "title": "{}",
    "format": "format {}",
    "pattern": "pattern {}",
    "exclusiveMinimum": "over {}",
    "exclusiveMaximum": "under {}",
    "multipleOf": "multiple of {}",
    "maxItems": "at most {} items",
    "contentEncoding": "encoded as {}",
    "contentMediaType": "of type {}",
    "default": "default {}",
    "example": "such as {}",
    "examples": "such as {}",
}
"""How a keyword that Codex drops is said."""

FLAGS: Final = {
    "uniqueItems": "no item twice",
    "nullable": "may be null",
    "deprecated": "deprecated",
}
"""How one is said that is true."""

RULES: Final = frozenset(
    (
        "contains",
        "dependencies",
        "dependentRequired",
        "dependentSchemas",
        "else",
        "if",
        "maxContains",
        "minContains",
        "not",
        "patternProperties",
        "prefixItems",
        "propertyNames",
        "then",
    )
)
"""Those for which there are no better words than the keyword and its value."""


def _hints(node: Schema, path: str) -> Iterator[str]:
    """What a schema says that Codex drops, without what is inside of it."""
    for low, high, unit in RANGES:
        match node.get(low), node.get(high):
            case (int() | float()) as least, (int() | float()) as most:
                yield f"{_shown(least)} to {_shown(most)}{unit}"
            case (int() | float()) as least, _:
                yield f"at least {_shown(least)}{unit}"
            case _, (int() | float()) as most:
                yield f"at most {_shown(most)}{unit}"
    for keyword, value in node.items():
        if keyword in WORDS and value is not None and not _is_idle_title(keyword, value, path):
            is_json = keyword in ("default", "example", "examples")
            yield WORDS[keyword].format(_shown(value, is_json=is_json))
        elif keyword in FLAGS and value is True:
            yield FLAGS[keyword]
        elif keyword in RULES or (keyword == "items" and isinstance(value, list)):
            yield f"{keyword} {_shown(value, is_json=True)}"


def _is_idle_title(keyword: str, value: Any, path: str) -> bool:
    """Whether a title is only the argument's name again, as generators of schemas write it."""
    name = re.split(r"[.#]", path)[-1]
    return keyword == "title" and (not path or _letters(str(value)) == _letters(name))


def _letters(text: str) -> str:
    return "".join(filter(str.isalnum, text)).casefold()


def _shown(value: Any, *, is_json: bool = False) -> str:
    raw = isinstance(value, str) and not is_json
    text = value if raw else _json(_plain(value)).decode()
    return text if len(text) <= VALUE_CHARACTERS else f"{text[:VALUE_CHARACTERS]}…"


def _cut(text: str, limit: int) -> str:
    """At most that many bytes of a text, and a sign where there were more."""
    encoded = text.encode("utf-8", "replace")
    if len(encoded) <= limit:
        return text
    return f"{encoded[:limit].decode('utf-8', 'ignore')}…"


def _plain(value: Any, levels: int = 8) -> Any:
    """A value that can be encoded, and that Codex can read; what is nested deeper is null."""
    match value:
        case str():
            return well_formed(value)
        case int() if not -(1 << 63) <= value < 1 << 64:
            return str(value)
        case dict():
            pairs = value.items() if levels else ()
            return {well_formed(key): _plain(one, levels - 1) for key, one in pairs}
        case list():
            return [_plain(one, levels - 1) for one in value] if levels else []
    return value


def well_formed(text: str) -> str:
    """The text with every surrogate joined to its other half, or replaced where it has none."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _json(value: Any) -> bytes:
    return msgspec.json.encode(value)
