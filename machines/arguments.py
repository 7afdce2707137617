"""Puts the arguments of one tool call together, from pieces or from repeats of all so far.

Theory of operation. Some upstreams send in every fragment all arguments so far. A fragment that
begins with all that came before it may be such a repeat, or nested arguments that look like one:
`{"a":` and `{"a":1}` are parts of `{"a":{"a":1}}`, or twice the same call. Then both `Reading`s
are kept and nothing goes out, until one of them can no longer become JSON, or no more comes. What
decides is the `Shape` alone: brackets, strings, commas and colons in their places. It is looked at
only where there is a doubt, and never twice at the same character of a reading, so time is linear
in what comes in.
"""

import re
from typing import Final, Literal

Place = Literal[
    "value", "element", "member", "key", "colon", "scalar", "after", "name", "text", "broken"
]
"""Where a text ends: before a value, at the start of an array or object, before a key or a colon,
in or after a value, in a key's string, in a value's string, past what can become JSON."""

_NEXT: Final[dict[tuple[Place, str], Place]] = {
    ("value", "{"): "member",
    ("value", "["): "element",
    ("value", '"'): "text",
    ("value", "scalar"): "scalar",
    ("element", "{"): "member",
    ("element", "["): "element",
    ("element", '"'): "text",
    ("element", "scalar"): "scalar",
    ("member", '"'): "name",
    ("key", '"'): "name",
    ("colon", ":"): "value",
    ("scalar", "scalar"): "scalar",
}
"""Where a token leads, apart from space, commas and what closes an array or object."""

_INNER: Final[dict[str, Place]] = {"{": "key", "[": "value"}
"""What comes after a comma in what a bracket opens."""

_CLOSED: Final[dict[str, tuple[Place, Place]]] = {
    "}": ("member", "key"),
    "]": ("element", "value"),
}
"""Where a closing bracket may stand if nothing was before it, and which inner place it ends."""

_TOKEN = re.compile(r"(?P<space>[ \t\r\n]+)|(?P<scalar>[-+.0-9A-Za-z]+)|.", re.DOTALL)
_STRING = re.compile(r'(?:[^"\\]++|\\.)*+', re.DOTALL)
SPACE = " \t\r\n"
"""What JSON allows between its tokens."""


class Shape:
    """Follows a text, fed in pieces, on its way to become one JSON value.

    It looks at brackets, strings, commas and colons; how numbers, literals and escapes are
    spelled is not checked.
    """

    __slots__ = ("_carry", "_inner", "_place")

    def __init__(self) -> None:
        self._place: Place = "value"
        self._inner: list[Place] = []
        self._carry = ""

    @property
    def broken(self) -> bool:
        """Whether no further text can make it JSON."""
        return self._place == "broken"

    @property
    def complete(self) -> bool:
        """Whether it is JSON that nothing but space can follow."""
        return self._place == "after" and not self._inner

    def fork(self) -> "Shape":
        """A copy to feed with something else."""
        copy = Shape()
        copy._place, copy._inner, copy._carry = self._place, self._inner.copy(), self._carry
        return copy

    def feed(self, text: str) -> None:
        """Read on; stops at the first character that breaks it."""
        text, self._carry = self._carry + text, ""
        position = 0
        while position < len(text) and self._place != "broken":
            if self._place in ("name", "text"):
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
            self._place = "colon" if self._place == "name" else "after"
        return end + 1

    def _take(self, kind: str) -> None:
        ended = self._place in ("after", "scalar")
        if kind == "space":
            self._place = "after" if ended else self._place
        elif kind == ",":
            self._place = self._inner[-1] if ended and self._inner else "broken"
        elif kind in _CLOSED:
            empty, inner = _CLOSED[kind]
            fits = (ended or self._place == empty) and self._inner[-1:] == [inner]
            self._place = "after" if fits else "broken"
            del self._inner[-1:]
        else:
            self._inner += [_INNER[kind]] if kind in _INNER else []
            self._place = _NEXT.get((self._place, kind), "broken")


class Reading:
    """Arguments as one way to read their fragments has them."""

    __slots__ = ("_pieces", "_shape", "_unread", "length")

    def __init__(self) -> None:
        self.length = 0
        self._pieces: list[str] = []
        self._unread: list[str] = []
        self._shape = Shape()

    def fork(self) -> "Reading":
        """A copy to be continued otherwise."""
        copy = Reading()
        copy.length, copy._pieces, copy._shape = self.length, [self.text()], self.shape().fork()
        return copy

    def append(self, piece: str) -> None:
        """Continue with a piece."""
        self.length += len(piece)
        self._pieces.append(piece)
        self._unread.append(piece)

    def text(self) -> str:
        """All of it."""
        self._pieces = ["".join(self._pieces)]
        return self._pieces[0]

    def shape(self) -> Shape:
        """The shape of all of it; what was appended since the last call is read now."""
        if self._unread:
            self._shape.feed("".join(self._unread))
            self._unread.clear()
        return self._shape

    def begins(self, piece: str) -> bool:
        """Whether a piece begins with all of it, if it is more than space."""
        if len(piece) < self.length:
            return False
        return piece.startswith(self.text()) and bool(self.text().strip(SPACE))


class Arguments:
    """The arguments of one call: what is settled, and two readings of what is not."""

    __slots__ = ("_joined", "_repeated", "_settled", "_whole")

    def __init__(self) -> None:
        self._settled = Reading()
        self._joined: Reading | None = None
        self._repeated: Reading | None = None
        self._whole: Reading | None = None

    @property
    def begun(self) -> bool:
        """Whether there are any."""
        return self._settled.length > 0

    def text(self) -> str:
        """What is settled of them."""
        return self._settled.text()

    def over(self, piece: str = "") -> bool:
        """Whether they are a whole JSON value, and `piece` is none of their last brackets."""
        fresh = piece.lstrip(SPACE)[:1] in ("", "{")
        return fresh and any(reading.shape().complete for reading in self._readings())

    def are(self, text: str) -> bool:
        """Whether this is what they may be."""
        return any(reading.text() == text for reading in self._readings())

    def add(self, piece: str) -> str:
        """Take a fragment's piece; what goes on now."""
        if self._whole is not None:
            return ""
        if self._joined is None and not self._settled.begins(piece):
            self._settled.append(piece)
            return piece
        joined = self._joined = self._joined or self._settled.fork()
        repeated = self._repeated = self._repeated or self._settled.fork()
        joined.append(piece)
        repeated.append(piece[repeated.length :] if repeated.begins(piece) else piece)
        if joined.shape().broken and not repeated.shape().broken:
            return self._settle(repeated)
        return self._settle(joined) if repeated.shape().broken else ""

    def complete(self, text: str) -> str:
        """Take all of them at once; what goes on now. Text that parts from the settled is not."""
        if not text.startswith(self._settled.text()):
            return ""
        self._whole = Reading()
        self._whole.append(text)
        return self._settle(self._whole)

    def end(self) -> str:
        """No more will come; what goes on now."""
        if self._joined is None or self._repeated is None:
            return ""
        only = self._repeated.shape().complete and not self._joined.shape().complete
        return self._settle(self._repeated if only else self._joined)

    def _readings(self) -> tuple[Reading, ...]:
        if self._joined is None or self._repeated is None:
            return (self._settled,)
        return (self._joined, self._repeated)

    def _settle(self, reading: Reading) -> str:
        held = reading.text()[self._settled.length :]
        self._settled, self._joined, self._repeated = reading, None, None
        return held
