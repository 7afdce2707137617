"""The free text for a custom tool, out of the arguments of the function that stands for it.

The problem: a custom tool takes a text as the model writes it, such as a patch, and a worker knows
functions alone. So the model is offered a function of one argument, a string, and its client wants
the text that this string is, as it grows. `FreeText` takes the arguments in any pieces, and hands
out the text behind each: the same text, however they were divided.

A model may write other arguments. What begins otherwise than the function's own is held until all
of it is there; then one string in it is the text, and arguments that hold none are the text
themselves, for they may be what the model meant to say without JSON.
"""

import enum
import json
import re
from typing import Any, Final

from machines import parse

ARGUMENT: Final = "input"
"""The name of the argument that holds the text."""

_SPACE: Final = r"[ \t\n\r]{0,16}"
_OPENING: Final = re.compile(rf'{_SPACE}{{{_SPACE}"{ARGUMENT}"{_SPACE}:{_SPACE}"')

OPENING_MAX: Final = 4 * 16 + len(f'{{"{ARGUMENT}":"')
"""Characters of the longest text that `_OPENING` matches."""

_HIGH: Final = r"\\u[dD][89abAB][0-9a-fA-F]{2}"
_UNSURE: Final = re.compile(
    rf"(?:\\(?:u[0-9a-fA-F]{{0,3}})?|{_HIGH}(?:\\(?:u(?:[dD](?:[c-fC-F][0-9a-fA-F]?)?)?)?)?)\Z"
)
"""An escape at the end of what is there, whose meaning the next characters decide."""

UNSURE_MAX: Final = len("\\ud83d\\ude0")
"""Characters of the longest text that `_UNSURE` matches."""

_PAIR: Final = "\\" * 2
_WRONG: Final = re.compile(r'\\(?!["/bfnrt]|u[0-9a-fA-F]{4})')
_BACKSLASH: Final = r"\u005c"
"""A backslash by its number. Models also write backslashes that escape nothing (RFC 8259 §7): they
are told from the others once each pair is written so."""

_strings: Final = json.JSONDecoder(strict=False)
"""Reads a string at the speed of a decoder: a text may have as many escapes as characters. Models
also write line breaks as they are (`strict`)."""

_REPLACEMENT: Final = "\ufffd"
"""Stands for half of a surrogate pair, which no client can be sent (RFC 3629 §3)."""


class _Place(enum.Enum):
    """Where in the arguments the next piece stands."""

    BEFORE = enum.auto()
    WITHIN = enum.auto()
    BEHIND = enum.auto()
    UNUSUAL = enum.auto()


class FreeText:
    """The text in the arguments of one call."""

    def __init__(self) -> None:
        self._place = _Place.BEFORE
        self._held: list[str] = []
        self._unsure = ""

    @property
    def is_over(self) -> bool:
        """Whether the text has come to its end, and the end of the arguments changes nothing."""
        return self._place is _Place.BEHIND

    def feed(self, piece: str) -> str:
        """Take a piece of the arguments; return the text that is sure by it, which may be
        empty."""
        match self._place:
            case _Place.BEFORE:
                return self._open(piece)
            case _Place.WITHIN:
                return self._unescape(piece)
            case _Place.UNUSUAL:
                self._held.append(piece)
        return ""  # what stands behind the text is the end of the object

    def end(self) -> str:
        """Return the rest of the text, as the arguments are over."""
        if self._place is _Place.WITHIN:
            is_half = len(self._unsure) >= len("\\ud800")
            return _REPLACEMENT if is_half else self._unsure
        return _text_of("".join(self._held))

    def _open(self, piece: str) -> str:
        """Look for the beginning of the text."""
        self._held.append(piece)
        head = "".join(self._held)
        opening = _OPENING.match(head)
        if opening is not None:
            self._held.clear()
            self._place = _Place.WITHIN
            return self._unescape(head[opening.end() :])
        self._held = [head]
        if len(head) > OPENING_MAX:
            self._place = _Place.UNUSUAL
        return ""

    def _unescape(self, piece: str) -> str:
        """Return what a piece of the string stands for, up to its end."""
        text = self._unsure + piece
        start = _start_of_unsure(text)
        text, self._unsure = text[:start], text[start:]
        if '"' not in text and "\\" not in text:
            return text
        try:
            told, end = _strings.raw_decode(f'"{text}"')
        except ValueError:
            text = _WRONG.sub(rf"\{_BACKSLASH}", text.replace(_PAIR, _BACKSLASH))
            told, end = _strings.raw_decode(f'"{text}"')
        if end < len(text) + len('""'):
            self._place = _Place.BEHIND
        return str(parse.well_formed(told))


def _start_of_unsure(text: str) -> int:
    """Return where the escape begins whose meaning is not sure yet; the end of the text where
    there is none."""
    at = max(0, len(text) - UNSURE_MAX)
    while (found := _UNSURE.search(text, at)) is not None:
        at = found.start()
        before = at - len(text[:at].rstrip("\\"))
        if before % 2 == 0:  # else the backslash is itself escaped
            return at
        at += 1
    return len(text)


def _text_of(arguments: str) -> str:
    """Return the text that unusual arguments, all of them, stand for."""
    try:
        value: Any = parse.value(arguments)
    except parse.ParseError:
        return arguments
    if isinstance(value, str):
        return value
    if not isinstance(value, dict):
        return arguments
    if isinstance(value.get(ARGUMENT), str):
        return str(value[ARGUMENT])
    texts = [text for text in value.values() if isinstance(text, str)]
    if len(value) == len(texts) == 1:
        return texts[0]
    return arguments if value else ""
