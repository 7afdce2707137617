"""The parts of a schema that Codex drops, in words."""

import itertools
import re
import sys
from collections.abc import Iterable, Iterator
from typing import Any, Final, TypeVar

import msgspec

VALUE_CHARACTERS: Final = 200
"""Most characters that a hint quotes of one keyword's value."""

Schema = dict[str, Any]
T = TypeVar("T")

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
"""The keywords for which there are no better words than the keyword and its value."""


def hints_of(node: Schema, path: str) -> Iterator[str]:
    """Describe the parts of a schema that Codex drops, without what is inside of it."""
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
    text = value if raw else encode(Start(VALUE_CHARACTERS).of(value)).decode()
    return text if len(text) <= VALUE_CHARACTERS else f"{text[:VALUE_CHARACTERS]}…"


class Start:
    """The start of a value, for something that shows no more than the start of its text.

    Args:
        room: how many values it may have: each is a character of its text and more.
    """

    def __init__(self, room: int) -> None:
        self._room = room

    def of(self, value: Any, levels: int = 8) -> Any:
        """A value that can be encoded, and that Codex can read; what is nested deeper is null."""
        self._room -= 1
        match value:
            case str():
                return well_formed(value)
            case int() if not -(1 << 63) <= value < 1 << 64:
                return str(value)
            case dict():
                pairs = self._fitting(value.items() if levels else ())
                return {well_formed(key): self.of(one, levels - 1) for key, one in pairs}
            case list():
                return [self.of(one, levels - 1) for one in self._fitting(value if levels else ())]
        return value

    def _fitting(self, items: Iterable[T]) -> Iterator[T]:
        return itertools.takewhile(lambda _: self._room >= 0, items)


def plain(value: Any) -> Any:
    """All of a value, as `Start` has it."""
    return Start(sys.maxsize).of(value)


def well_formed(text: str) -> str:
    """The text with every surrogate joined to its other half, or replaced where it has none."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def encode(value: Any) -> bytes:
    return msgspec.json.encode(value)
