"""The shape of a text on its way to become one JSON value, without what its tokens mean.

Two readings of a call's arguments may both look right for a while, and `machines.tools.arguments`
chooses between them by their shapes. Whether a text can still become JSON is decided here from
brackets, strings, commas and colons in their places (RFC 8259, sections 2 to 7), in time linear in
the text.
"""

import enum
import re
from typing import Final

from machines import parse


class Place(enum.Enum):
    """Where a text ends."""

    # Members are looked up by once a token, and `Enum` hashes their names in Python.
    __hash__ = object.__hash__

    VALUE = enum.auto()
    """Before a value."""

    ELEMENT = enum.auto()
    """At the start of an array."""

    MEMBER = enum.auto()
    """At the start of an object."""

    KEY = enum.auto()
    """Before a key, behind a comma."""

    COLON = enum.auto()
    """Before a colon."""

    SCALAR = enum.auto()
    """In a number or a literal."""

    AFTER = enum.auto()
    """Behind a value."""

    NAME = enum.auto()
    """In the string of a key."""

    TEXT = enum.auto()
    """In the string of a value."""

    BROKEN = enum.auto()
    """Past what can become JSON."""


_NEXT: Final[dict[tuple[Place, str], Place]] = {
    (Place.VALUE, "{"): Place.MEMBER,
    (Place.VALUE, "["): Place.ELEMENT,
    (Place.VALUE, '"'): Place.TEXT,
    (Place.VALUE, "scalar"): Place.SCALAR,
    (Place.ELEMENT, "{"): Place.MEMBER,
    (Place.ELEMENT, "["): Place.ELEMENT,
    (Place.ELEMENT, '"'): Place.TEXT,
    (Place.ELEMENT, "scalar"): Place.SCALAR,
    (Place.MEMBER, '"'): Place.NAME,
    (Place.KEY, '"'): Place.NAME,
    (Place.COLON, ":"): Place.VALUE,
    (Place.SCALAR, "scalar"): Place.SCALAR,
}
"""The place that a token leads to, apart from space, commas and what closes an array or object."""

_INNER: Final[dict[str, Place]] = {"{": Place.KEY, "[": Place.VALUE}
"""The place behind a comma in what a bracket opens."""

_CLOSED: Final[dict[str, tuple[Place, Place]]] = {
    "}": (Place.MEMBER, Place.KEY),
    "]": (Place.ELEMENT, Place.VALUE),
}
"""The place where a closing bracket may stand if nothing was before it, and the inner place that
it ends."""

_TOKEN = re.compile(r"(?P<space>[ \t\r\n]+)|(?P<scalar>[-+.0-9A-Za-z]+)|.", re.DOTALL)
_STRING = re.compile(r'(?:[^"\\]++|\\.)*+', re.DOTALL)
SPACE = " \t\r\n"
"""The whitespace that JSON allows between its tokens (RFC 8259 §2)."""

# A member is looked up several times a token, through a descriptor where it is asked of its class.
_VALUE, _COLON, _SCALAR = Place.VALUE, Place.COLON, Place.SCALAR
_AFTER, _NAME, _TEXT, _BROKEN = Place.AFTER, Place.NAME, Place.TEXT, Place.BROKEN


class Shape:
    """Follows a text, fed in pieces, on its way to become one JSON value.

    It looks at brackets, strings, commas and colons; how numbers, literals and escapes are
    spelled is not checked. What is nested deeper than anything that is parsed is broken.

    Attributes:
        opening: the first character that is not space; empty until it has come.
    """

    __slots__ = ("_carry", "_inner", "_place", "opening")

    def __init__(self) -> None:
        self.opening = ""
        self._place = _VALUE
        self._inner: list[Place] = []
        self._carry = ""

    @property
    def broken(self) -> bool:
        """Whether no further text can make it JSON."""
        return self._place is _BROKEN

    @property
    def complete(self) -> bool:
        """Whether it is JSON that nothing but space can follow."""
        return self._place is _AFTER and not self._inner

    def fork(self) -> "Shape":
        """Return a copy, to be fed with something else."""
        copy = Shape()
        copy._place, copy._inner, copy._carry = self._place, self._inner.copy(), self._carry
        copy.opening = self.opening
        return copy

    def feed(self, text: str) -> None:
        """Read on; stops at the first character that breaks it."""
        self.opening = self.opening or text.lstrip(SPACE)[:1]
        text, self._carry = self._carry + text, ""
        position = 0
        while position < len(text) and self._place is not _BROKEN:
            if self._place in (_NAME, _TEXT):
                position = self._read_string(text, position)
            else:
                token = _TOKEN.match(text, position)
                assert token is not None
                self._take(token.lastgroup or token[0])
                position = token.end()

    def _read_string(self, text: str, position: int) -> int:
        run = _STRING.match(text, position)
        assert run is not None
        end = run.end()
        if text[end : end + 1] == "\\":
            self._carry = "\\"
        elif end < len(text):
            self._place = _COLON if self._place is _NAME else _AFTER
        return end + 1

    def _take(self, kind: str) -> None:
        ended = self._place in (_AFTER, _SCALAR)
        if kind == "space":
            self._place = _AFTER if ended else self._place
        elif kind == ",":
            self._place = self._inner[-1] if ended and self._inner else _BROKEN
        elif kind in _CLOSED:
            empty, inner = _CLOSED[kind]
            fits = (ended or self._place == empty) and self._inner[-1:] == [inner]
            self._place = _AFTER if fits else _BROKEN
            del self._inner[-1:]
        else:
            self._inner += [_INNER[kind]] if kind in _INNER else []
            deeper = len(self._inner) > parse.MAX_DEPTH
            self._place = _BROKEN if deeper else _NEXT.get((self._place, kind), _BROKEN)
