"""The tool side of one choice: what of its text is a call, and which calls go to the client.

Theory of operation. Calls come from three sources. Blocks in the text are found by
`machines.tools.blocks` and go out as soon as they are closed. Whole calls of a worker wait until
their step is whole, so that a failed step never looks like two calls out of three. Fragments are
joined by `machines.tools.fragments` and go on as they come; which of them are whole calls, the end
of the step says. All three pass the same limits and share one numbering.

What depends on the letters of a text (which of it is a block, what a fragment belongs to, which
calls are the same) is said in an `outputs.Decision`. A replay of a masked log hands it back in,
and everything else follows from it.
"""

import collections
from typing import Final

from machines import events, outputs, parse
from machines.tools import blocks as usetool, fragments as toolcalls

Said = list[outputs.AnyOutput]

Pieces = tuple[outputs.Piece, ...]

BROKEN: Final = {
    "call_limit": outputs.Failure(
        "too_many_tool_calls",
        "The model made more tool calls than this server takes of one answer.",
    ),
    "mismatch": outputs.Failure(
        "upstream_text_mismatch",
        "The provider repeated a tool call with other arguments than it had sent.",
    ),
}
"""The cuts after which an answer is not whole, and what its client is told."""


class ToolBuffer:
    """Of one choice; only `machines.stream.machine` changes it.

    Attributes:
        withheld: calls that did not go out, by a limit.
        dropped: calls of a step that never was whole.
        started: blocks that began.
        flushed: blocks that were closed.
        aborted: blocks that were none, by reason.
    """

    def __init__(self, choice: int, opened: events.Opened) -> None:
        options = opened.tools
        self.withheld = 0
        self.dropped = 0
        self.started = 0
        self.flushed = 0
        self.aborted: collections.Counter[str] = collections.Counter()
        self._choice = choice
        self._options = options
        self._xml = options.output_mode == "obsidian-xml"
        self._scanner = usetool.Scanner() if self._xml or options.names else None
        # Of a choice's own, so that no two calls of an answer have the same.
        self._id_prefix = f"call_{opened.completion_id.rpartition('-')[2]}_{choice}_"
        self._ids: set[str] = set()
        self._seen: set[tuple[str, str]] = set()
        self._blocks = 0
        self._emitted = 0
        self._broken = 0
        self._joiner = toolcalls.Joiner(self._id_prefix)
        self._joining: dict[int, tuple[int | None, str]] = {}
        self._waiting: list[events.ToolCalled] = []
        self._tail: list[str] = []
        self._masked: list[str] = []

    @property
    def inert(self) -> bool:
        """Whether every text is content, whatever it says and whatever came before it."""
        options = self._options
        return self._scanner is None and not options.suppress_tail and options.stop_after is None

    @property
    def calls(self) -> int:
        """Whole calls that went out; those that fragments began, until their step breaks."""
        return self._emitted - self._broken

    @property
    def full(self) -> bool:
        """Whether nothing is to be said after the call there is."""
        return self._options.stop_after == "first" and self._emitted > 0

    @property
    def exceeds(self) -> bool:
        """Whether there are more calls than any answer has, apart from those in fragments."""
        return self._is_over(0)

    @property
    def waits(self) -> bool:
        """Whether whole calls wait for the end of their step."""
        return bool(self._waiting)

    @property
    def rests(self) -> bool:
        """Whether there are calls, and none of which only a part has come."""
        return self._emitted > 0 and not self._joining and not self._in_block

    def passes(self, text: str) -> bool:
        """Whether all of this text is content, and nothing is held before it."""
        silent = self._emitted > 0 and (self._options.suppress_tail or self.full)
        return not silent and self._is_plain(text)

    def text(self, text: str, decided: Pieces | None) -> tuple[Said, Pieces | None]:
        """What released text says, and its pieces: None where there was nothing to find.

        Args:
            decided: pieces to take as given.
        """
        said: Said = []
        if self.full:
            return said, None
        if decided is not None:
            for piece, part in self._parts(text, decided):
                said += self._take(piece, part, "")
            if self.exceeds:
                self._masked.clear()  # the answer ends with the call that was too many
            return said, decided
        if self._scanner is None or self._is_plain(text):
            return self._say(text), None
        pieces: list[outputs.Piece] = []
        for found in self._scanner.feed(text):
            piece, part, arguments = self._judge(found)
            pieces.append(piece)
            said += self._take(piece, part, arguments)
            if self.full or self.exceeds:
                break  # the answer ends here, wherever its text was split
        return said, tuple(pieces)

    def called(self, call: events.ToolCalled) -> None:
        """A whole call waits for the end of its step."""
        self._waiting.append(call)

    def fragment(
        self, delta: events.ToolCallDelta, decided: outputs.Decision | None
    ) -> tuple[Said, outputs.Decision]:
        """What a fragment says, and what it turned out to be."""
        if decided is not None:
            return self._replayed(decided.joined), decided
        fragment = toolcalls.Fragment(
            delta.index, delta.call_id, delta.name, delta.arguments, delta.extent == "part"
        )
        if delta.extent == "whole":
            changes = self._joiner.ingest_whole(fragment)
        else:
            changes = self._joiner.ingest_delta(fragment)
        if changes is None:
            return [], outputs.Decision(cut="mismatch")
        said, joined = self._joined(changes)
        begins = any(each.name for each in joined)
        over = begins and self.full and self.withheld > 0
        cut: outputs.Cut | None = None
        if self._is_over(self._joiner.count):
            cut = "call_limit"
        elif over and self._joiner.is_whole(0):
            cut = "tool_calls"
        return said, outputs.Decision(cut=cut, joined=joined)

    def spill(self, held: str) -> Said:
        """Everything that is held, as the text it is.

        Args:
            held: what a cut-off still held after it.
        """
        rest = "".join(self._masked)
        self._masked.clear()
        for piece in self._scanner.end() if self._scanner is not None else ():
            rest += piece.text if isinstance(piece, usetool.Text | usetool.Aborted) else ""
        aborted: Said = [self._abort("unclosed")] if self._in_block else []
        return aborted + self._say(rest + held)

    def settle(self, decided: outputs.Decision | None) -> tuple[Said, outputs.Decision | None]:
        """What is left to say of the calls of a step that is whole, and what was decided."""
        if decided is not None:
            joined, repeats = decided.joined, decided.repeats
            said = self._replayed(joined)
        else:
            said, joined = self._joined((*self._joiner.end(), *self._without_arguments()))
            repeats = self._repeats()
        self.dropped += len(self._joiner.dropped)
        said += self.close()
        for index, call in enumerate(self._waiting):
            if index in repeats or self._at_limit:
                self.withheld += 1
            else:
                said += self._emit(call.call_id, call.name, call.arguments or "{}")
        compared = self._options.dedup and self.waits
        self._waiting.clear()
        if not (joined or compared):
            return said, None
        return said, outputs.Decision(joined=joined, repeats=repeats)

    def close(self) -> Said:
        """The calls that came in fragments are whole."""
        said: Said = []
        if self._xml:
            known = {call.index: call.arguments for call in self._joiner.snapshot()}
            for joined, (index, name) in self._joining.items():
                if index is not None:
                    said.append(outputs.ToolBlock(name, known.get(joined) or "{}", self._choice))
        self._joining.clear()
        return said

    def give_up(self) -> None:
        """The step will not become whole: its calls are none."""
        broken = sum(index is not None for index, _ in self._joining.values())
        self._broken += broken
        self.dropped += broken + len(self._waiting)
        self._joining.clear()
        self._waiting.clear()

    def counts(self) -> Said:
        """What a client is told of its calls before the finish."""
        if not self.calls and not self.withheld:
            return []
        return [outputs.ToolCounts(self.calls, self.withheld > 0, self._choice)]

    # Text.

    @property
    def _in_block(self) -> bool:
        """Whether a block has begun and is being held."""
        return self.started > self.flushed + self.aborted.total()

    def _is_plain(self, text: str) -> bool:
        """Whether no block is in this text, nor a part of one."""
        return self._scanner is None or ("<" not in text and self._scanner.held == 0)

    def _parts(self, text: str, decided: Pieces) -> list[tuple[outputs.Piece, str]]:
        """Each piece with its part of the held and the new text; the rest is held."""
        self._masked.append(text)
        if not decided:
            return []
        buffer = "".join(self._masked)
        parts = []
        start = 0
        for piece in decided:
            parts.append((piece, buffer[start : start + piece.length]))
            start += piece.length
        self._masked = [buffer[start:]]
        return parts

    def _judge(self, found: usetool.Piece) -> tuple[outputs.Piece, str, str]:
        """A scanner's piece as a decision, its text, and the arguments of a call."""
        match found:
            case usetool.Text(text):
                return outputs.Piece("text", len(text)), text, ""
            case usetool.Started():
                return outputs.Piece("started"), "", ""
            case usetool.Aborted(reason, text):
                return outputs.Piece("aborted", len(text), reason), text, ""
            case usetool.Block(raw, name, arguments):
                if not self._xml and name not in self._options.names:
                    return outputs.Piece("verbatim", len(raw)), raw, ""
                if self._at_limit or self._is_repeat(name, arguments, self._seen):
                    return outputs.Piece("withheld", len(raw), name), raw, ""
                return outputs.Piece("call", len(raw), name), raw, arguments

    def _take(self, piece: outputs.Piece, text: str, arguments: str) -> Said:
        """What one piece of the text says."""
        match piece.kind:
            case "text":
                return self._say(text)
            case "started":
                self.started += 1
                return [outputs.ToolBufferStarted(self._choice)]
            case "aborted":
                return [self._abort(piece.word), *self._say(text)]
        self.flushed += 1
        self._blocks += piece.kind != "verbatim"
        said: Said = [outputs.ToolBufferFlushed(self._choice)]
        match piece.kind:
            case "verbatim":
                said += self._say(text)
            case "withheld":
                self.withheld += 1
            case "call":
                said += self._emit("", piece.word, arguments)
        return said

    def _say(self, text: str) -> Said:
        if not text or self.full:
            return []
        if self._options.suppress_tail and self._emitted > 0:
            self._tail.append(text)  # nobody knows yet whether another call makes it a middle
            return []
        return [outputs.Content(text, self._choice)]

    def _abort(self, reason: str) -> outputs.ToolBufferAborted:
        self.aborted[reason] += 1
        return outputs.ToolBufferAborted(reason, self._choice)

    # Fragments.

    def _joined(
        self, changes: tuple[toolcalls.Change, ...]
    ) -> tuple[Said, tuple[outputs.Joined, ...]]:
        said: Said = []
        joined: list[outputs.Joined] = []
        for change in changes:
            if isinstance(change, toolcalls.Opened):
                joined.append(outputs.Joined(change.index, change.name))
                said += self._open(change.index, change.call_id, change.name, change.arguments)
            else:
                joined.append(outputs.Joined(change.index))
                said += self._extend(change.index, change.arguments)
        return said, tuple(joined)

    def _replayed(self, decided: tuple[outputs.Joined, ...]) -> Said:
        said: Said = []
        for joined in decided:
            if joined.name:
                said += self._open(joined.index, "", joined.name, "")
            else:
                said += self._extend(joined.index, "")
        return said

    def _open(self, joined: int, call_id: str, name: str, arguments: str) -> Said:
        if self._at_limit:
            self._joining[joined] = (None, name)
            self.withheld += 1
            return []
        self._joining[joined] = (self._emitted, name)
        return self._begin(call_id, name, arguments)

    def _extend(self, joined: int, arguments: str) -> Said:
        index, _ = self._joining[joined]
        return [] if index is None else [outputs.ToolArguments(index, arguments, self._choice)]

    def _without_arguments(self) -> tuple[toolcalls.Extended, ...]:
        """An empty object for each joined call that has none: its function takes nothing."""
        empty = (call for call in self._joiner.snapshot() if not call.arguments)
        return tuple(toolcalls.Extended(call.index, "{}") for call in empty)

    # Calls of every source.

    @property
    def _at_limit(self) -> bool:
        """Whether a further call may not go out, whatever it is."""
        most = self._options.most
        return self.full or 0 < most <= self._emitted

    def _is_over(self, joined: int) -> bool:
        """Whether there are more calls than any answer has, `joined` of them in fragments."""
        return joined + len(self._waiting) + self._blocks > self._options.call_limit

    def _is_repeat(self, name: str, arguments: str, seen: set[tuple[str, str]]) -> bool:
        return self._options.dedup and (name, parse.canonical(arguments)) in seen

    def _repeats(self) -> tuple[int, ...]:
        """Which of the waiting calls repeat an earlier one."""
        if not self._options.dedup:
            return ()
        found = []
        seen = self._seen.copy()
        for index, call in enumerate(self._waiting):
            arguments = call.arguments or "{}"
            if self._is_repeat(call.name, arguments, seen):
                found.append(index)
            seen.add((call.name, parse.canonical(arguments)))
        return tuple(found)

    def _emit(self, call_id: str, name: str, arguments: str) -> Said:
        """A whole call."""
        if self._options.dedup:
            self._seen.add((name, parse.canonical(arguments)))
        said = self._begin(call_id, name, arguments)
        if self._xml:
            said.append(outputs.ToolBlock(name, arguments, self._choice))
        return said

    def _begin(self, call_id: str, name: str, arguments: str) -> Said:
        """A call, behind the text that turned out to be no tail."""
        middle = "".join(self._tail)
        self._tail.clear()
        said: Said = [outputs.Content(middle, self._choice)] if middle else []
        index = self._emitted
        self._emitted += 1
        unique = self._unique_id(call_id, index)
        return [*said, outputs.ToolCall(index, unique, name, arguments, self._choice)]

    def _unique_id(self, call_id: str, index: int) -> str:
        made = f"{self._id_prefix}{index}"
        unique = call_id or made
        while unique in self._ids:
            unique, made = made, f"{made}_"
        self._ids.add(unique)
        return unique
