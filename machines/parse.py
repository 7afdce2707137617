"""The one way to read JSON: one depth limit, one set of errors, whatever the stack.

The problem: msgspec and json refuse what is nested deeper than the interpreter's stack happens to
have room for, and a schema or arguments at that depth were read on one run and refused on the
next. So depth is decided here, before a decoder is asked, and it is the same number live and in a
replay. `allow_depth` sees to it that a decoder never refuses less.

A text with no more brackets than the limit cannot be nested deeper, and is not looked at: that is
nearly every text. For the others `DepthScan` counts, in time linear in the text and in pieces if
the caller wants to stop in between.
"""

import enum
import itertools
import json
import re
import sys
from collections.abc import Generator
from typing import Any, Final, Literal, TypeVar

import msgspec

from machines import errors

MAX_DEPTH: Final = 128
"""Levels of arrays and objects that are read. Source: serde_json's `recursion_limit`, so it is
the app-server's own."""

STACK_DEPTH: Final = 4096
"""The interpreter's recursion limit while Turntape runs: `MAX_DEPTH` and every call above it fit
many times."""

T = TypeVar("T")

Text = bytes | bytearray | msgspec.Raw | str
"""The types that JSON is read from."""

Fault = Literal["encoding", "syntax", "depth", "type"]
"""The fault of a text: its UTF-8, its JSON, its depth, or the type of a value in it."""


class ParseError(errors.DecodeError):
    """Raised for a text that is not what its reader wants.

    Attributes:
        detail: the library's own words, for people who debug. They change with its version:
            nothing is decided by them, and no client sees them.
    """

    def __init__(self, fault: Fault, detail: str) -> None:
        super().__init__(f"{fault}: {detail}")
        self.fault = fault
        self.detail = detail


_HALVES: Final = re.compile("[\ud800-\udfff]+")
_PAIR: Final = re.compile("[\ud800-\udbff][\udc00-\udfff]")

_ANYTHING: Final[msgspec.json.Decoder[Any]] = msgspec.json.Decoder()


def allow_depth() -> None:
    """Give decoders room for every text that `parse` lets through; called once, at a start.

    A process that starts with a lower limit (a debugger, an embedding program) would otherwise
    read less than another.
    """
    sys.setrecursionlimit(max(STACK_DEPTH, sys.getrecursionlimit()))


def parse(text: Text, decoder: msgspec.json.Decoder[T], depth: int = MAX_DEPTH) -> T:
    """The text as the decoder's type.

    Args:
        depth: levels it may have; less than `MAX_DEPTH` for a part that stands in a larger text.

    Raises:
        ParseError: it is not UTF-8, not JSON, nested too deep, or of another type.
    """
    if is_deeper(text, depth):
        raise ParseError("depth", f"more than {depth} levels")
    return parse_outer(text, decoder)


def parse_outer(text: Text, decoder: msgspec.json.Decoder[T]) -> T:
    """The text as a type whose parts are `msgspec.Raw`, or whose depth is known to be right.

    Whoever calls it has looked at the depth, or does so part by part.

    Raises:
        ParseError: it is not UTF-8, not JSON, of another type, or so deep that a decoder has no
            room for it, which `allow_depth` makes far more than `MAX_DEPTH`.
    """
    try:
        return decoder.decode(text)
    except msgspec.ValidationError as error:
        raise ParseError("type", str(error)) from None
    # Which of the two an encoding's fault is changed between versions of msgspec.
    except (msgspec.DecodeError, UnicodeError) as error:
        raise ParseError("syntax" if _is_unicode(text) else "encoding", str(error)) from None
    except RecursionError as error:
        raise ParseError("depth", str(error)) from None


def _is_unicode(text: Text) -> bool:
    try:
        _ = text.encode() if isinstance(text, str) else bytes(text).decode()
    except UnicodeError:
        return False
    return True


def value(text: Text, depth: int = MAX_DEPTH) -> Any:
    """The text as plain values.

    Raises:
        ParseError: it is not JSON within the limits.
    """
    return parse(text, _ANYTHING, depth)


def canonical(text: str) -> str:
    """One way to write a JSON value, for all that there are; what is no JSON is left as it is."""
    try:
        return msgspec.json.encode(value(text), order="sorted").decode()
    except ParseError:
        return text


def is_object(text: Text) -> bool:
    """Whether a text is a JSON object within the limits."""
    try:
        return isinstance(value(text), dict)
    except ParseError:
        return False


def lenient(text: Text, depth: int = MAX_DEPTH) -> Any:
    """The text as plain values, where it need not be strict JSON: bad UTF-8 and halves of
    surrogate pairs are replaced, NaN and infinities are taken.

    Raises:
        ParseError: it is not JSON all the same.
    """
    if is_deeper(text, depth):
        raise ParseError("depth", f"more than {depth} levels")
    words = text if isinstance(text, str) else bytes(text).decode("utf-8", "replace")
    try:
        return well_formed(json.loads(words))
    except ValueError as error:
        raise ParseError("syntax", str(error)) from None


def well_formed(found: Any) -> Any:
    """A value with every surrogate joined to its other half, or replaced where it has none: it
    could not be encoded again."""
    match found:
        case str():
            return _well_formed(found)
        case dict():
            return {well_formed(key): well_formed(member) for key, member in found.items()}
        case list() | tuple():
            return [well_formed(item) for item in found]
    return found


def _well_formed(text: str) -> str:
    if text.isascii() or _HALVES.search(text) is None:
        return text
    if _PAIR.search(text) is None:  # whatever a JSON reader made: it joins pairs itself
        return _HALVES.sub(lambda run: "\ufffd" * len(run[0]), text)
    # The codec calls back for every half that it replaces.
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def compact(text: str, depth: int = MAX_DEPTH) -> str:
    """The text without the whitespace between its tokens, which stay as they are.

    Raises:
        ParseError: it is not JSON within the limits.
    """
    if is_deeper(text, depth):
        raise ParseError("depth", f"more than {depth} levels")
    try:
        return msgspec.json.format(text, indent=-1)
    except (msgspec.DecodeError, UnicodeError) as error:
        raise ParseError("syntax", str(error)) from None


def is_deeper(text: Text, depth: int = MAX_DEPTH) -> bool:
    """Whether a text has more levels than `depth`.

    One that is too short for so many to be opened and closed is not looked at: most lines of a
    worker are.
    """
    size = memoryview(text).nbytes if isinstance(text, msgspec.Raw) else len(text)
    if size <= 2 * depth + 1:
        return False
    if type(text) is bytes and text.count(b"[") + text.count(b"{") <= depth:
        return False
    return _at_once(scan_depth(text, depth))


def scan_depth(text: Text, depth: int = MAX_DEPTH) -> Generator[None, None, bool]:
    """`is_deeper` for a text that may be long: yields where the scan may be interrupted."""
    if isinstance(text, str) and text.count("[") + text.count("{") <= depth:
        return False
    data = _encoded(text)
    if data[:1] == b'"':  # a string has no levels, whatever is in it
        return False
    if data.count(b"[") + data.count(b"{") <= depth:
        return False
    scan = DepthScan(depth)
    for start in range(0, len(data), SLICE_BYTES):
        scan.feed(data[start : start + SLICE_BYTES])
        if scan.exceeded:
            return True
        yield
    return False


def scan_items(text: Text, limit: int) -> Generator[None, None, bool]:
    """Whether an array or an object has more items than `limit`: before they are made.

    Yields where the scan may be interrupted. A text that is neither has none.
    """
    data = _encoded(text)
    if data.count(b",") < limit:
        return False
    scan = ItemScan()
    for start in range(0, len(data), SLICE_BYTES):
        scan.feed(data[start : start + SLICE_BYTES])
        if scan.commas >= limit:
            return True
        yield
    return False


def _encoded(text: Text) -> bytes | bytearray:
    if isinstance(text, str):
        return text.encode("utf-8", "surrogatepass")
    return bytes(text) if isinstance(text, msgspec.Raw) else text


def _at_once(scan: Generator[None, None, bool]) -> bool:
    while True:
        try:
            next(scan)
        except StopIteration as end:
            return bool(end.value)


SLICE_BYTES: Final = 1 << 16
"""Bytes that are scanned in one go: a text that is far too deep is found out in the first of
them."""

PEELED: Final = 4
"""Levels that are taken off at the most before the rest is counted: a wide text has few."""

# A branch of several parts is atomic in a possessive group: before 3.11.5 the group goes on from
# where such a branch failed (CPython's gh-106052).
_CLOSED: Final = re.compile(rb'(?:[^"]++|(?>"[^"\\]*+(?:\\.[^"\\]*+)*+"))*+', re.DOTALL)
# One that does not end is matched too: else each of its quotes would be tried as a beginning.
_STRING: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_STRING_REST: Final = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)
_SQUARE: Final = bytes.maketrans(b"{}", b"[]")
_NOT_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))
_NOT_MARKS: Final = bytes(set(range(256)) - set(b"[]{},"))
_FLAT: Final = re.compile(rb"\[,*+\]")
_RUNS: Final = re.compile(rb",++|[][]")
_STEPS: Final = {ord("["): 1, ord("]"): -1, ord(","): 0}


class _String(enum.Enum):
    """Where a text ends that is scanned in pieces, as far as strings go."""

    OUTSIDE = enum.auto()
    INSIDE = enum.auto()
    ESCAPED = enum.auto()
    """Behind a backslash in a string."""


class _Scan:
    """Reads a text that comes in pieces, without its strings.

    What is not JSON may be counted wrong; that is for its decoder to find.
    """

    _dropped: bytes
    """What is of no interest outside of strings."""

    def __init__(self) -> None:
        self._depth = 0
        self._string = _String.OUTSIDE

    def feed(self, data: bytes | bytearray) -> None:
        """Read on."""
        if self._string is not _String.OUTSIDE:
            data = data[self._read_string(data) :]
        closed = _CLOSED.match(data)
        assert closed is not None
        end = closed.end()
        if end < len(data):  # here a string begins that has no end in this piece
            self._string = _String.INSIDE
            self._read_string(data[end + 1 :])
        self._count(_STRING.sub(b"", data[:end]).translate(_SQUARE, self._dropped))

    def _read_string(self, data: bytes | bytearray) -> int:
        """Where a string ends that began before this piece: behind its quote, or at its end."""
        if not data:
            return 0
        rest = _STRING_REST.match(data, 1 if self._string is _String.ESCAPED else 0)
        assert rest is not None
        if data[rest.end() : rest.end() + 1] == b'"':
            self._string = _String.OUTSIDE
            return rest.end() + 1
        self._string = _String.ESCAPED if rest.end() < len(data) else _String.INSIDE
        return len(data)

    def _count(self, marks: bytes | bytearray) -> None:
        """Take a piece of which only square brackets, and maybe commas, are left."""
        raise NotImplementedError


class DepthScan(_Scan):
    """Counts the levels of a text that comes in pieces, 30 ns a bracket and less.

    Attributes:
        exceeded: whether there were more than `limit`.
    """

    _dropped = _NOT_BRACKETS

    @property
    def is_closed(self) -> bool:
        """Whether every bracket that was opened is closed, and every string."""
        return self._depth <= 0 and self._string is _String.OUTSIDE

    def __init__(self, limit: int = MAX_DEPTH) -> None:
        super().__init__()
        self.exceeded = False
        self._limit = limit

    def _count(self, marks: bytes | bytearray) -> None:
        flat, levels = _peeled(marks)
        depths = self._depths(flat)
        if max(depths) + levels > self._limit:
            # Brackets that do not close in this piece were not peeled: count all of it.
            self.exceeded |= max(self._depths(marks)) > self._limit
        self._depth = depths[-1]

    def _depths(self, brackets: bytes | bytearray) -> list[int]:
        """The depth before each of them, and after the last."""
        steps = map(_STEPS.__getitem__, brackets)
        return list(itertools.accumulate(steps, initial=self._depth))


class ItemScan(_Scan):
    """Counts the items of an array or an object that comes in pieces, 50 ns a mark and less.

    Attributes:
        commas: between its own items, not those of what is inside of it.
    """

    _dropped = _NOT_MARKS

    def __init__(self) -> None:
        super().__init__()
        self.commas = 0

    def _count(self, marks: bytes | bytearray) -> None:
        if self._depth == 0 and marks:  # its own bracket, which must stay while others are peeled
            self._depth, marks = 1, marks[1:]
        for _ in range(PEELED):
            flatter = _FLAT.sub(b"", marks)
            is_worth_it = len(flatter) < len(marks) * 3 // 4
            marks = flatter
            if not is_worth_it:
                break
        for run in _RUNS.findall(marks):
            step = _STEPS[run[0]]
            if step:
                self._depth += step
            elif self._depth == 1:
                self.commas += len(run)


def _peeled(brackets: bytes | bytearray) -> tuple[bytes | bytearray, int]:
    """The brackets without their innermost levels, and how many of those went: as many as are
    cheaper to take off than to count."""
    for levels in range(PEELED):
        flatter = brackets.replace(b"[]", b"")
        if len(flatter) > len(brackets) * 3 // 4:
            return brackets, levels
        brackets = flatter
    return brackets, PEELED
