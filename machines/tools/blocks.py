"""Finds the tool calls that a model writes into its text as tagged blocks, such as `<use_tool>`.

Theory of operation. Text comes in any split; what comes out, adjacent texts joined, must not
depend on it, and every character comes out exactly once. Outside of a block a text's last
characters are held back exactly as long as they may begin an opening tag: as a tag has no `<` but
its first character, only the last `<` can begin one. Inside of a block everything is kept, in
pieces that are joined once, and searched once: for the block's own opening and closing tag, and
while the opening tag lasts also for the `>` that ends it and the quotes that hide one.

A block's own tags count wherever they stand, even inside quotes: a quote that a model forgot to
close costs its block, not the rest of the answer. The tags of other patterns are content.
"""

import enum
import re
from collections.abc import Callable
from typing import Final, Literal

import msgspec

from machines.tools import obsidian

MAX_BLOCK: Final = 2**20
"""Most code points of a block, both tags included: it is read in one go. No note that a model
writes comes near."""

Reason = Literal["nested", "malformed", "unclosed", "too_large"]
"""Why a block does not count: another one begins in it, its reader refused it, it has no end, or
it is too large."""


class Text(msgspec.Struct, frozen=True, gc=False):
    """A text outside of blocks; never empty."""

    text: str


class Started(msgspec.Struct, frozen=True, gc=False):
    """The beginning of a block, which is held; a `Block` or an `Aborted` follows."""


class Block(msgspec.Struct, frozen=True, gc=False):
    """A whole block and the call in it.

    Attributes:
        raw: the block as it was written.
        arguments: JSON text of an object; any other text where the model wrote no object.
    """

    raw: str
    name: str
    arguments: str


class Aborted(msgspec.Struct, frozen=True, gc=False):
    """The whole text of a block that turned out not to be one."""

    reason: Reason
    text: str


Piece = Text | Started | Block | Aborted
"""A piece of a scanned text."""


class Pattern(msgspec.Struct, frozen=True, gc=False):
    """A kind of block.

    Attributes:
        opening: `<` and the tag's name, with no other `<` and no quote; in a text, whitespace,
            `/` or `>` must follow it.
        closing: the whole closing tag, of which the same is true. An opening tag that ends with
            `/>` needs none.
        read: the call in a whole block; None where it is malformed.
    """

    opening: str
    closing: str
    read: Callable[[str], obsidian.Call | None]


USE_TOOL: Final = Pattern(obsidian.OPENING, obsidian.CLOSING, obsidian.read)
"""The blocks that Obsidian Copilot's prompts ask for."""

_ENDS_NAME: Final = r"(?=[ \t\r\n/>])"
"""A lookahead for what must follow the name of an opening tag."""


class _Part(enum.Enum):
    """The part of a block that is being searched."""

    TAG = enum.auto()
    """The opening tag, outside of quotes."""

    DOUBLE_QUOTED = enum.auto()
    SINGLE_QUOTED = enum.auto()
    BODY = enum.auto()


_ALSO: Final = {
    _Part.TAG: "|[\"'>]",
    _Part.DOUBLE_QUOTED: '|"',
    _Part.SINGLE_QUOTED: "|'",
    _Part.BODY: "",
}
"""The pattern that each part of a block is searched for besides the block's own tags."""

_QUOTED: Final = {'"': _Part.DOUBLE_QUOTED, "'": _Part.SINGLE_QUOTED}
"""The part that a quote in the opening tag begins, and the same quote ends."""


class Scanner:
    """Scans the text of one choice for blocks.

    Args:
        patterns: the kinds of block to find; no opening may be the same as another.
    """

    def __init__(self, patterns: tuple[Pattern, ...] = (USE_TOOL,)) -> None:
        self._patterns = {pattern.opening: pattern for pattern in patterns}
        self._opening = re.compile(f"(?:{'|'.join(map(re.escape, self._patterns))}){_ENDS_NAME}")
        self._open: _Open | None = None
        self._rest = ""

    @property
    def held(self) -> int:
        """Code points that were fed and have not come out."""
        return len(self._rest) + (self._open.size if self._open else 0)

    def feed(self, text: str) -> tuple[Piece, ...]:
        """Take `text` and return the pieces that are certain now."""
        if "<" not in text and not self._rest and self._open is None:
            return (Text(text),) if text else ()
        buffer = self._take_rest() + text
        pieces: list[Piece] = []
        position: int | None = 0
        while position is not None:
            if self._open is None:
                position = self._scan_text(buffer, position, pieces)
            else:
                position = self._scan_block(self._open, buffer, position, pieces)
        return tuple(pieces)

    def end(self) -> tuple[Piece, ...]:
        """Return the held text as pieces, as no more can come."""
        rest = self._take_rest()
        if self._open is not None:
            self._open.keep(rest)
            return (self._abort(self._open, "unclosed"),)
        return (Text(rest),) if rest else ()

    def _scan_text(self, buffer: str, position: int, pieces: list[Piece]) -> int | None:
        """Scan to the next opening tag; return where to go on, None if the buffer is used up."""
        tag = self._opening.search(buffer, position)
        end = tag.start() if tag else _undecided(buffer, position, *self._patterns)
        if end > position:
            pieces.append(Text(buffer[position:end]))
        if tag is None:
            self._rest = buffer[end:]
            return None
        pieces.append(self._begin(self._patterns[tag[0]]))
        return tag.end()

    def _scan_block(
        self, block: "_Open", buffer: str, position: int, pieces: list[Piece]
    ) -> int | None:
        """Scan to the next thing the block is searched for; returns as `_scan_text` does."""
        pattern = block.pattern
        limit = position + MAX_BLOCK - block.size
        found = block.searched.search(buffer, position, limit + 1)  # a name's end is looked ahead
        if found is None or found.end() > limit:
            if len(buffer) > limit:
                block.keep(buffer[position:limit])
                pieces.append(self._abort(block, "too_large"))
                return limit
            end = _undecided(buffer, position, pattern.opening, pattern.closing)
            block.keep(buffer[position:end])
            self._rest = buffer[end:]
            return None
        if found[0] == pattern.opening:
            block.keep(buffer[position : found.start()])
            pieces += [self._abort(block, "nested"), self._begin(pattern)]
        elif block.keep_to(found[0], buffer[position : found.end()]):
            pieces.append(self._close(block))
        return found.end()

    def _begin(self, pattern: Pattern) -> Started:
        self._open = _Open(pattern)
        return Started()

    def _close(self, block: "_Open") -> Block | Aborted:
        raw = block.text()
        call = block.pattern.read(raw)
        if call is None:
            return self._abort(block, "malformed")
        self._open = None
        return Block(raw, call.name, call.arguments)

    def _abort(self, block: "_Open", reason: Reason) -> Aborted:
        self._open = None
        return Aborted(reason, block.text())

    def _take_rest(self) -> str:
        rest, self._rest = self._rest, ""
        return rest


class _Open:
    """A block whose end has not come."""

    def __init__(self, pattern: Pattern) -> None:
        tags = f"{re.escape(pattern.opening)}{_ENDS_NAME}|{re.escape(pattern.closing)}"
        self.pattern = pattern
        self.size = len(pattern.opening)
        self._parts = [pattern.opening]
        self._searches = {part: re.compile(tags + also) for part, also in _ALSO.items()}
        self._part = _Part.TAG

    @property
    def searched(self) -> re.Pattern[str]:
        """The pattern that the block is searched for next."""
        return self._searches[self._part]

    def text(self) -> str:
        """Return all kept text."""
        return "".join(self._parts)

    def keep(self, text: str) -> None:
        """Keep a text in which nothing was found."""
        if text:
            self._parts.append(text)
            self.size += len(text)

    def keep_to(self, found: str, text: str) -> bool:
        """Keep a text that ends with what was found; return whether the block is whole by it."""
        whole = found == self.pattern.closing or (self._parts[-1][-1] + text).endswith("/>")
        self.keep(text)
        if found == ">":
            self._part = _Part.BODY
        elif found in _QUOTED:
            self._part = _QUOTED[found] if self._part is _Part.TAG else _Part.TAG
        return whole


def _undecided(buffer: str, position: int, *tags: str) -> int:
    """Return where one of these tags may begin at the end of a buffer; the buffer's length if none
    does."""
    start = buffer.rfind("<", position)
    if start >= 0 and any(tag.startswith(buffer[start:]) for tag in tags):
        return start
    return len(buffer)
