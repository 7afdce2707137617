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
_LOW: Final = r"\\u[dD][c-fC-F][0-9a-fA-F]{2}"
_TOKEN: Final = re.compile(
    rf'(?P<run>[^"\\]+)|(?P<end>")|(?P<pair>{_HIGH}{_LOW})|(?P<code>\\u[0-9a-fA-F]{{4}})'
    r'|(?P<short>\\["\\/bfnrt])|(?P<wrong>\\)'
)
"""The tokens of the inside of a JSON string (RFC 8259 §7). Models also write line breaks as they
are, and backslashes that escape nothing: both stand for themselves."""

_UNSURE: Final = re.compile(
    rf"(?:\\(?:u[0-9a-fA-F]{{0,3}})?|{_HIGH}(?:\\(?:u(?:[dD](?:[c-fC-F][0-9a-fA-F]?)?)?)?)?)\Z"
)
"""An escape at the end of what is there, whose meaning the next characters decide."""

_SHORT: Final = {
    '"': '"',
    "\\": "\\",
    "/": "/",
    "b": "\b",
    "f": "\f",
    "n": "\n",
    "r": "\r",
    "t": "\t",
}
"""The characters that an escape of one letter stands for."""

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
        text, self._unsure = self._unsure + piece, ""
        found: list[str] = []
        at = 0
        while at < len(text):
            if _UNSURE.match(text, at) is not None:
                self._unsure = text[at:]
                break
            token = _TOKEN.match(text, at)
            assert token is not None  # some token begins with any character
            at = token.end()
            if token.lastgroup == "end":
                self._place = _Place.BEHIND
                break
            found.append(_meaning(token))
        return "".join(found)


def _meaning(token: re.Match[str]) -> str:
    """Return what a token inside a string stands for."""
    text = token[0]
    match token.lastgroup:
        case "pair":
            return _code(int(text[2:6], 16), int(text[8:12], 16))
        case "code":
            code = int(text[-4:], 16)
            return _REPLACEMENT if 0xD800 <= code <= 0xDFFF else chr(code)
        case "short":
            return _SHORT[text[1]]
    return text


def _code(high: int, low: int) -> str:
    """Return the character of a surrogate pair."""
    return chr(0x10000 + (high - 0xD800 << 10) + (low - 0xDC00))


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
