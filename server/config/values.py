"""One setting's value: read from the text that sets it, and written as one would write it."""

import re
from collections.abc import Callable
from pathlib import Path

from engine import redaction
from server.config import declared

_BYTES = re.compile(r"([0-9]+)\s*(KiB|MiB|GiB)?", re.IGNORECASE)
_SUFFIXES = {"kib": declared.KIB, "mib": declared.MIB, "gib": declared.GIB}
_WHOLE = {
    "": "a whole number",
    "ms": "whole ms",
    "s": "whole seconds",
    "bytes": "bytes, KiB, MiB or GiB",
}
_SWITCH = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}

_ESCAPES = {"n": "\n", "t": "\t", "\\": "\\"}
"""The character that a backslash and a name stand for in a verbatim text."""


def parse(item: declared.Declared, text: str) -> object:
    """The value that a text stands for.

    Raises:
        ValueError: it stands for none; says what is accepted, and holds no secret.
    """
    # A URL may hold a login, so what has an `@` is not repeated.
    shown = redaction.HIDDEN if item.kind.secret or "@" in text else repr(text)
    try:
        value = _PARSERS[item.type](item, text)
    except ValueError:
        raise ValueError(f"{shown} is not accepted; it takes {accepts(item)}") from None
    low, high = item.kind.minimum, item.kind.maximum
    if isinstance(value, int | float) and not low <= value <= high:
        raise ValueError(f"{shown} is out of range, {low} to {high}")
    return value


def _parse_switch(_: declared.Declared, text: str) -> bool:
    if (word := text.lower()) not in _SWITCH:
        raise ValueError
    return _SWITCH[word]


def _parse_whole(item: declared.Declared, text: str) -> int:
    match = _BYTES.fullmatch(text)
    if match is None or (match[2] and item.kind.unit != "bytes"):
        raise ValueError
    return int(match[1]) * _SUFFIXES.get((match[2] or "").lower(), 1)


def _parse_factor(_: declared.Declared, text: str) -> float:
    return float(text)


def _parse_text(item: declared.Declared, text: str) -> str:
    if item.choices:
        text = text.lower()
    if "true" in item.choices and text in _SWITCH:
        text = str(_SWITCH[text]).lower()
    if item.choices and text not in item.choices:
        raise ValueError
    if re.fullmatch(item.kind.pattern, text) is None:
        raise ValueError
    if item.kind.verbatim:
        text = re.sub(r"\\([nt\\])", lambda escape: _ESCAPES[escape[1]], text)
    return text


def _parse_list(item: declared.Declared, text: str) -> tuple[str, ...]:
    words = (word.strip() for word in text.split(","))
    return tuple(_parse_text(item, word) for word in words if word)


def _parse_path(_: declared.Declared, text: str) -> Path:
    try:
        # Absolute, because a child process has a working directory of its own.
        return Path(text).expanduser().absolute()
    except RuntimeError as error:  # `~` without a home directory
        raise ValueError from error


_PARSERS: dict[type, Callable[[declared.Declared, str], object]] = {
    bool: _parse_switch,
    int: _parse_whole,
    float: _parse_factor,
    str: _parse_text,
    tuple: _parse_list,
    Path: _parse_path,
}


def accepts(item: declared.Declared) -> str:
    """Describe in words the values that a setting takes."""
    kind = item.kind
    if item.choices:
        switch = [word for word in _SWITCH if word not in item.choices]
        return ", ".join([*item.choices, *(switch if "true" in item.choices else ())])
    if item.type is bool:
        return "true, false, yes, no, 1, 0"
    if item.type is Path:
        return "a path"
    if item.type in (int, float):
        words = "a number" if item.type is float else _WHOLE[kind.unit]
        if kind.maximum == declared.LARGEST:
            return f"{words}, {kind.minimum} or more"
        return f"{words}, {_number(kind, kind.minimum)} to {_number(kind, kind.maximum)}"
    return kind.expects


def show(item: declared.Declared, value: object) -> str:
    """A setting's value as one would write it; of a secret only that it is there."""
    if value is None:
        return item.setting.derived or "none"
    if item.kind.secret:
        return redaction.HIDDEN
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ",".join(value) or "none"
    if isinstance(value, int):
        return _number(item.kind, value)
    text = str(value)
    if item.kind.verbatim:
        escaped = {character: f"\\{name}" for name, character in _ESCAPES.items()}
        text = "".join(escaped.get(character, character) for character in text)
    return text


def _number(kind: declared.Kind, value: int) -> str:
    for suffix, size in (("GiB", declared.GIB), ("MiB", declared.MIB), ("KiB", declared.KIB)):
        if kind.unit == "bytes" and value and value % size == 0:
            return f"{value // size} {suffix}"
    return str(value)
