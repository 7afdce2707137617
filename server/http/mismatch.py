"""Finds the first place where a value is not what a type wants, and says it as the API would.

The problem: `msgspec` names a wrong field in words of its own, which change from version to
version and speak of Python's types. So none of them is shown: the type and the plain value are
walked side by side, in the order in which the value was written, to the first place that does not
fit. Whatever is repeated of the value is cut.

Source of the sentences: errors of OpenAI's API as its users report them.
"""

import functools
import re
import sys
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple, get_origin

import msgspec
from msgspec import inspect

SHOWN: Final = 64
"""Characters of a foreign word in a message or a path at most."""


class Missing(ValueError):
    """Raised by a type's `__post_init__` for a field that no type can say must be there.

    Attributes:
        field: its name.
    """

    def __init__(self, field: str) -> None:
        super().__init__(field)
        self.field = field


class Mismatch(NamedTuple):
    """A value that is not what it should be.

    Attributes:
        path: where it stands, such as `messages[2].content[0].type`.
        problem: a clause, for someone who is shown the path before it.
        message: a sentence of the API, which names the path where the API does.
    """

    path: str
    problem: str
    message: str


def find(kind: Any, value: Any, path: str = "") -> Mismatch | None:
    """The first mismatch of a plain value with a type, if there is any.

    Args:
        kind: a type as `msgspec` takes it.
        value: as JSON or TOML are read without a type.
        path: where it stands.
    """
    return _find(_described(kind), value, path)


def find_length(kind: Any, items: list[Any], path: str) -> Mismatch | None:
    """The mismatch of an array with its type, as far as the number of its items goes."""
    described = _described(kind)
    assert isinstance(described, inspect.ListType)
    return _length(described, items, path, "array")


@functools.lru_cache(maxsize=256)
def _described(kind: Any) -> inspect.Type:
    return inspect.type_info(kind)


def _find(kind: inspect.Type, value: Any, path: str) -> Mismatch | None:
    match kind:
        case inspect.Metadata(inner):
            return _find(inner, value, path)
        case inspect.UnionType(types):
            return _find_any(types, value, path)
        case _ if not _takes(kind, value):
            return wrong_type(path, expected((kind,)), value)
        case inspect.LiteralType(values):
            return None if value in values else unsupported(path, value, values)
        case inspect.StructType():
            return _find_in_struct(kind, value, path)
        case inspect.DictType():
            found = (_find(kind.value_type, value[name], member(path, name)) for name in value)
            return next(filter(None, found), None)
        case inspect.ListType():
            return _length(kind, value, path, "array") or _find_in_list(kind, value, path)
        case inspect.StrType():
            return _length(kind, value, path, "string") or _pattern(kind, value, path)
        case inspect.IntType() | inspect.FloatType():
            return _range(kind, value, path)
    return None


def _takes(kind: inspect.Type, value: Any) -> bool:
    """Whether a type takes values of this JSON type at all."""
    match kind:
        case inspect.NoneType():
            return value is None
        case inspect.BoolType():
            return isinstance(value, bool)
        case inspect.IntType():
            return isinstance(value, int) and not isinstance(value, bool)
        case inspect.FloatType():
            return isinstance(value, int | float) and not isinstance(value, bool)
        case inspect.StrType() | inspect.LiteralType():
            return isinstance(value, str)
        case inspect.ListType():
            return isinstance(value, list)
        case inspect.StructType() | inspect.DictType():
            return isinstance(value, dict)
    return True


def _find_any(types: Sequence[inspect.Type], value: Any, path: str) -> Mismatch | None:
    """The mismatch with a union: with the one of its types that the value seems to be meant as."""
    meant = [each for each in types if _takes(each, value)]
    if not meant:
        return wrong_type(path, expected(types), value)
    structs = [each for each in meant if isinstance(each, inspect.StructType)]
    if len(structs) > 1:
        return _find_tagged(structs, value, path)
    return _find(meant[0], value, path)


def _find_tagged(
    structs: Sequence[inspect.StructType], value: dict[str, Any], path: str
) -> Mismatch | None:
    """The mismatch with one of several structs, which its tag names."""
    field = structs[0].tag_field or ""
    where = member(path, field)
    if field not in value:
        return missing(where)
    tags = tuple(each.tag for each in structs)
    if not isinstance(value[field], str):
        return wrong_type(where, _one_of(_quoted(tags)), value[field])
    chosen = next((each for each in structs if each.tag == value[field]), None)
    if chosen is None:
        return unsupported(where, value[field], tags)
    return _find_in_struct(chosen, value, path)


def _find_in_struct(kind: inspect.StructType, value: dict[str, Any], path: str) -> Mismatch | None:
    tag = kind.tag_field
    if tag is not None and value.get(tag, kind.tag) != kind.tag:
        return unsupported(member(path, tag), value[tag], (kind.tag,))
    fields = {field.encode_name: field for field in kind.fields}
    for name, inner in value.items():
        where = member(path, name)
        if name in fields:
            found = _find(fields[name].type, inner, where)
        else:
            found = None
            if kind.forbid_unknown_fields and name != tag:
                found = _unknown(where)
        if found is not None:
            return found
    for name, field in fields.items():
        if field.required and name not in value:
            return missing(member(path, name))
    return _find_after(kind.cls, value, path)


def _find_after(kind: Any, value: dict[str, Any], path: str) -> Mismatch | None:
    """What a type's own check says of a value whose fields are all as they should be."""
    if not hasattr(get_origin(kind) or kind, "__post_init__"):
        return None
    try:
        msgspec.json.decode(msgspec.json.encode(value), type=kind)
    except msgspec.ValidationError as error:
        if isinstance(error.__cause__, Missing):
            return missing(member(path, error.__cause__.field))
    return None


def _find_in_list(kind: inspect.ListType, value: list[Any], path: str) -> Mismatch | None:
    found = (_find(kind.item_type, one, f"{path}[{index}]") for index, one in enumerate(value))
    return next(filter(None, found), None)


def _length(
    kind: inspect.ListType | inspect.StrType, value: list[Any] | str, path: str, what: str
) -> Mismatch | None:
    size = len(value)
    got = f"an empty {what}" if not size else f"{article(what)} with length {size}"
    least, most = kind.min_length or 0, kind.max_length
    if size < least:
        problem = f"empty {what}" if not size else f"{what} too short"
        wanted = f"{article(what)} with minimum length {least}"
    elif most is not None and size > most:
        problem, wanted = f"{what} too long", f"{article(what)} with maximum length {most}"
    else:
        return None
    return out_of_range(path, problem, wanted, got)


def _pattern(kind: inspect.StrType, value: str, path: str) -> Mismatch | None:
    if kind.pattern is None or re.search(kind.pattern, value) is not None:
        return None
    wanted = f"a string that matches the pattern '{kind.pattern}'"
    return out_of_range(path, "string does not match pattern", wanted, f"'{shown(value)}'")


def _range(
    kind: inspect.IntType | inspect.FloatType, value: int | float, path: str
) -> Mismatch | None:
    what = "integer" if isinstance(kind, inspect.IntType) else "decimal"
    if kind.ge is not None and value < kind.ge:
        problem, wanted = f"{what} below minimum value", f"a value >= {kind.ge}"
    elif kind.le is not None and value > kind.le:
        problem, wanted = f"{what} above maximum value", f"a value <= {kind.le}"
    elif what == "decimal" and abs(value) > sys.float_info.max:
        problem, wanted = "decimal out of range", "a value that 64 bits can hold"
    else:
        return None
    return out_of_range(path, problem, wanted, str(value)[:SHOWN])


def missing(path: str) -> Mismatch:
    """Describe a field that is missing."""
    return Mismatch(path, "missing", f"Missing required parameter: '{path}'.")


def unsupported(path: str, value: Any, values: Iterable[Any]) -> Mismatch:
    """Describe a word that is none of the accepted ones."""
    word = f"'{shown(str(value))}'. Supported values are: {_listed(_quoted(values), 'and')}"
    return Mismatch(path, f"invalid value {word}", f"Invalid value: {word}.")


def wrong_type(path: str, wanted: str, value: Any) -> Mismatch:
    """Describe a value of a type that cannot stand there."""
    problem = f"expected {wanted}, but got {_json_type(value)} instead"
    return Mismatch(path, problem, f"Invalid type for '{path}': {problem}.")


def out_of_range(path: str, problem: str, wanted: str, got: str) -> Mismatch:
    """Describe a value that is too small, too large, too long or too short."""
    problem = f"{problem}. Expected {wanted}, but got {got} instead"
    return Mismatch(path, problem, f"Invalid '{path}': {problem}.")


def _unknown(path: str) -> Mismatch:
    return Mismatch(path, "unknown name", f"Unknown parameter: '{path}'.")


def member(path: str, name: str) -> str:
    """The path of an object's member."""
    return f"{path}.{shown(name)}" if path else shown(name)


def shown(text: str) -> str:
    """Return as much of a foreign text as is repeated."""
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def expected(types: Iterable[inspect.Type]) -> str:
    """Name the accepted types in words: `one of a string or array of objects`."""
    words: dict[str, None] = {}
    for kind in types:
        if isinstance(kind, inspect.LiteralType):
            words |= dict.fromkeys(_quoted(kind.values))
        elif not isinstance(kind, inspect.NoneType):
            noun = _noun(kind)
            words[noun if words else article(noun)] = None
    return next(iter(words)) if len(words) == 1 else _one_of(words)


def _noun(kind: inspect.Type) -> str:
    if not isinstance(kind, inspect.ListType):
        return NOUNS.get(type(kind), "value")
    items = kind.item_type
    kinds = items.types if isinstance(items, inspect.UnionType) else (items,)
    nouns = {NOUNS.get(type(each)) for each in kinds}
    noun = nouns.pop() if len(nouns) == 1 else None
    return f"array of {noun}s" if noun else "array"


NOUNS: Final[dict[type, str]] = {
    inspect.BoolType: "boolean",
    inspect.DictType: "object",
    inspect.FloatType: "decimal",
    inspect.IntType: "integer",
    inspect.StrType: "string",
    inspect.StructType: "object",
}
"""The API's names for the types of JSON."""

_JSON_TYPES: Final[dict[type, str]] = {
    bool: "a boolean",
    dict: "an object",
    float: "a decimal",
    int: "an integer",
    list: "an array",
    str: "a string",
    type(None): "null",
}


def _json_type(value: Any) -> str:
    return _JSON_TYPES.get(type(value), "another value")


def article(noun: str) -> str:
    """A noun with its indefinite article."""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def _quoted(values: Iterable[Any]) -> list[str]:
    return [f"'{value}'" for value in values]


def _one_of(words: Iterable[str]) -> str:
    return f"one of {_listed(words, 'or')}"


def _listed(words: Iterable[str], last: str) -> str:
    """`'a'`, `'a' or 'b'`, `'a', 'b', or 'c'`."""
    *before, end = words
    if not before:
        return end
    comma = "," if len(before) > 1 else ""
    return f"{', '.join(before)}{comma} {last} {end}"
