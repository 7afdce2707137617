"""Puts the arguments of one tool call together, from pieces or from repeats of all so far.

Theory of operation. Some upstreams send in every fragment all arguments so far. A fragment that
begins with all that came before it may be such a repeat, or nested arguments that look like one:
`{"a":` and `{"a":1}` are parts of `{"a":{"a":1}}`, or twice the same call. Then both `Reading`s
are kept and nothing goes out, until one of them can no longer become JSON, or no more comes. What
decides is the `Shape` alone: brackets, strings, commas and colons in their places. It is looked at
only where there is a doubt, and never twice at the same character of a reading, so time is linear
in what comes in.

A large fragment comes in parts. What it is, is known once it has parted from what came before it,
or has repeated all of that; until then nothing of it goes on.
"""

import enum
from typing import Final

from machines import parse
from machines.tools.shape import SPACE, Shape

UNREAD_MAX: Final = 1 << 14
"""Most code points of a reading that wait until its shape is asked for: more would be too long a
step then."""


class _Text:
    """A growing text, joined no further than somebody compares with it."""

    __slots__ = ("_parts", "is_blank", "length")

    def __init__(self) -> None:
        self.length = 0
        self.is_blank = True
        self._parts: list[str] = []

    def append(self, piece: str) -> None:
        """Append a piece."""
        self.length += len(piece)
        self.is_blank = self.is_blank and not piece.strip(SPACE)
        self._parts.append(piece)

    def joined(self) -> str:
        """Return the whole text."""
        self._parts = ["".join(self._parts)]
        return self._parts[0]

    def has(self, piece: str, position: int) -> bool:
        """Return whether a piece stands at a position."""
        end = position + len(piece)
        if end > self.length:
            return False
        first = self._parts[0] if self._parts else ""
        return (first if end <= len(first) else self.joined()).startswith(piece, position)


class Progress(enum.Enum):
    """The progress of a reading in a fragment."""

    BETWEEN = enum.auto()
    """Before the first part of the next one."""

    COMPARING = enum.auto()
    """Comparing it with all that came before it."""

    ADDING = enum.auto()
    """Past what was to be compared."""


class Reading:
    """One way to read the fragments of a call's arguments.

    Args:
        base: what this reading continues; None for a reading of its own.
    """

    __slots__ = ("_base", "_held", "_own", "_progress", "_shape", "_size", "_to_repeat", "_unread")

    def __init__(self, base: "Reading | None" = None) -> None:
        self._own: _Text = _Text()
        self._base: _Text = _Text() if base is None else base._own
        self._shape = Shape() if base is None else base.shape().fork()
        self._unread: list[str] = []
        self._size = 0
        self._progress = Progress.BETWEEN
        self._held: list[str] = []
        self._to_repeat = 0

    @property
    def length(self) -> int:
        """Code points of the whole text."""
        return self._base.length + self._own.length

    @property
    def added(self) -> str:
        """The text behind the base."""
        return self._own.joined()

    def text(self) -> str:
        """Return the whole text."""
        return self._base.joined() + self._own.joined()

    def shape(self) -> Shape:
        """Return the shape of the whole text; what was appended since the last call is read
        now."""
        if self._unread:
            self._shape.feed("".join(self._unread))
            self._unread.clear()
            self._size = 0
        return self._shape

    def append(self, piece: str) -> None:
        """Append a piece."""
        self._own.append(piece)
        self._unread.append(piece)
        self._size += len(piece)
        if self._size > UNREAD_MAX:
            self.shape()

    def adopt(self, other: "Reading") -> None:
        """Append what another reading has behind this one, and take its shape."""
        self._own.append(other.added)
        self._shape = other.shape()
        self._unread.clear()
        self._size = 0

    def has(self, piece: str, position: int = 0) -> bool:
        """Return whether a piece stands at a position."""
        split = max(0, self._base.length - position)
        if split and not self._base.has(piece[:split], position):
            return False
        return self._own.has(piece[split:], max(0, position - self._base.length))

    def may_be_repeated(self, part: str, more: bool) -> bool:
        """Return whether a fragment that begins so may repeat the whole text, if that is more than
        space."""
        if self._is_blank or not (more or len(part) >= self.length):
            return False
        return self.has(part[: self.length])

    def append_news(self, part: str, more: bool) -> bool:
        """Append a fragment without what only repeats all there was before it.

        Args:
            more: whether another part of the fragment follows.

        Returns:
            Whether it is known by now if there is such a thing.
        """
        if self._progress is Progress.BETWEEN:
            self._progress, self._to_repeat = Progress.COMPARING, self.length
        if self._progress is Progress.COMPARING:
            position = self.length - self._to_repeat
            again = part[: self._to_repeat]
            self._held.append(part)
            if self._is_blank or not self.has(again, position):
                part = "".join(self._held)
            else:
                self._to_repeat -= len(again)
                if self._to_repeat and more:
                    return False
                part = "".join(self._held) if self._to_repeat else part[len(again) :]
            self._held.clear()
        self.append(part)
        self._progress = Progress.ADDING if more else Progress.BETWEEN
        return True

    def end(self) -> None:
        """Append what is held: no more will come, so it was no repeat."""
        self.append("".join(self._held))
        self._held.clear()

    @property
    def _is_blank(self) -> bool:
        return self._base.is_blank and self._own.is_blank


class Fragments(enum.Enum):
    """The place of the next part of a call's arguments among its fragments."""

    BEGINS = enum.auto()
    """The first of a fragment."""

    GOES_ON = enum.auto()
    """Another of the fragment that the last one was of."""

    IGNORED = enum.auto()
    """To be ignored, as the call was repeated as a whole."""


class Arguments:
    """The arguments of one call: the released part, and two readings of the rest."""

    __slots__ = ("_joined", "_next", "_released", "_repeated")

    def __init__(self) -> None:
        self._released = Reading()
        self._joined: Reading | None = None
        self._repeated: Reading | None = None
        self._next = Fragments.BEGINS

    @property
    def begun(self) -> bool:
        """Whether any part was released."""
        return self._released.length > 0

    @property
    def is_object(self) -> bool:
        """Whether the released part is a whole object beyond doubt, so that nothing can follow."""
        shape = self._released.shape()
        return self._joined is None and shape.complete and shape.opening == "{"

    def text(self) -> str:
        """Return the released part."""
        return self._released.text()

    def over(self, piece: str = "") -> bool:
        """Return whether the arguments are a whole JSON value, and `piece` is none of their last
        brackets."""
        fresh = piece.lstrip(SPACE)[:1] in ("", "{")
        return fresh and any(reading.shape().complete for reading in self._readings())

    def are(self, text: str) -> bool:
        """Return whether one reading of the arguments is exactly this text."""
        readings = self._readings()
        return any(len(text) == reading.length and reading.has(text) for reading in readings)

    def may_be(self, part: str) -> bool:
        """Return whether a text that begins with this part may be one reading of the arguments."""
        return any(reading.has(part) for reading in self._readings())

    def is_value(self, text: str) -> bool:
        """Return whether the arguments may be the JSON value of this text, however they are
        written."""
        return any(_is_same(reading, text) for reading in self._readings())

    def add(self, part: str, more: bool = False) -> str:
        """Take a fragment and return the part of the arguments that is released by it.

        Args:
            more: whether this is only a part of it, and another follows.
        """
        if self._next is Fragments.IGNORED:
            return ""
        goes_on = self._next is Fragments.GOES_ON
        self._next = Fragments.GOES_ON if more else Fragments.BEGINS
        if self._joined is None or self._repeated is None:
            if goes_on or not self._released.may_be_repeated(part, more):
                self._released.append(part)
                return part
            self._joined, self._repeated = Reading(self._released), Reading(self._released)
        joined, repeated = self._joined, self._repeated
        joined.append(part)
        if not repeated.append_news(part, more):
            return ""
        if joined.shape().broken and not repeated.shape().broken:
            return self._choose(repeated)
        return self._choose(joined) if repeated.shape().broken else ""

    def take_whole(self, text: str) -> str | None:
        """Take all arguments at once and return the part that is released by it; later fragments
        are ignored.

        Returns:
            None where they are others than those that came so far.
        """
        self._next = Fragments.IGNORED
        begun = self._released.text()
        if text.startswith(begun):
            self._joined = self._repeated = None
            self._released.append(text[len(begun) :])
            return text[len(begun) :]
        for reading in self._readings():
            if _is_same(reading, text):
                return "" if reading is self._released else self._choose(reading)
        return None

    def end(self) -> str:
        """Choose a reading, as no more will come, and return the part that is released by it."""
        if self._joined is None or self._repeated is None:
            return ""
        self._repeated.end()
        only = self._repeated.shape().complete and not self._joined.shape().complete
        return self._choose(self._repeated if only else self._joined)

    def _readings(self) -> tuple[Reading, ...]:
        if self._joined is None or self._repeated is None:
            return (self._released,)
        return (self._joined, self._repeated)

    def _choose(self, reading: Reading) -> str:
        """Continue with one of the two readings, and return the part that it releases."""
        self._released.adopt(reading)
        self._joined = self._repeated = None
        return reading.added


def _is_same(reading: Reading, text: str) -> bool:
    return parse.canonical(reading.text()) == parse.canonical(text)
