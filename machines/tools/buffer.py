"""The tool side of one choice: what of its text is a call, and which calls go to the client.

Theory of operation. Calls come from three sources. Blocks in the text are found by
`machines.tools.blocks` and go out as soon as they are closed. Whole calls of a worker wait until
their step is whole, so that a failed step never looks like two calls out of three. Fragments are
joined by `machines.tools.fragments` and go on as they come; which of them are whole calls, the end
of the step says. All three pass the same limits and share one numbering.

What depends on the letters of a text (which of it is a block, what a fragment belongs to, which
calls are the same) stands in an `outputs.Decision`. A replay of a masked log hands it back in,
and everything else follows from it.
"""

import collections

import msgspec

from machines import events, outputs, parse
from machines.tools import blocks as usetool, fragments as toolcalls

OutputList = list[outputs.AnyOutput]

Pieces = tuple[outputs.Piece, ...]


class ToolBuffer:
    """Finds, counts and limits the calls of one choice; `machines.stream.machine` drives it.

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
        self._ids = toolcalls.CallIds(self._id_prefix)
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
        """Whether every text is content, whatever is in it and before it."""
        options = self._options
        return self._scanner is None and not options.suppress_tail and options.stop_after is None

    @property
    def calls(self) -> int:
        """The number of whole calls that went out; with them count those that fragments began,
        until their step breaks."""
        return self._emitted - self._broken

    @property
    def full(self) -> bool:
        """Whether the answer ends with the call that was emitted (`stop_after` is `first`)."""
        return self._options.stop_after == "first" and self._emitted > 0

    @property
    def exceeds(self) -> bool:
        """Whether there are more calls than `call_limit`, not counting those in fragments."""
        return self._is_over(0)

    @property
    def has_waiting_calls(self) -> bool:
        """Whether whole calls are held until their step ends."""
        return bool(self._waiting)

    @property
    def is_between_calls(self) -> bool:
        """Whether calls were emitted and none of them is incomplete."""
        return self._emitted > 0 and not self._joining and not self._in_block

    def passes(self, text: str) -> bool:
        """Return whether all of this text is content, and nothing is held before it."""
        silent = self._emitted > 0 and (self._options.suppress_tail or self.full)
        return not silent and self._is_plain(text)

    def text(self, text: str, decided: Pieces | None) -> tuple[OutputList, Pieces | None]:
        """Emit released text and the calls in it; the pieces are None where none were looked for.

        Args:
            decided: pieces to take as given.
        """
        emitted: OutputList = []
        if self.full:
            return emitted, None
        if decided is not None:
            for piece, part in self._parts(text, decided):
                emitted += self._take(piece, part, "")
            if self.exceeds:
                self._masked.clear()  # the answer ends with the call that was too many
            return emitted, decided
        if self._scanner is None or self._is_plain(text):
            return self._emit_text(text), None
        pieces: list[outputs.Piece] = []
        for found in self._scanner.feed(text):
            piece, part, arguments = self._judge(found)
            pieces.append(piece)
            emitted += self._take(piece, part, arguments)
            if self.full or self.exceeds:
                break  # the answer ends here, wherever its text was split
        return emitted, tuple(pieces)

    def called(self, call: events.ToolCalled) -> None:
        """Hold a whole call until its step ends, so that a failed step emits none of its calls."""
        self._waiting.append(call)

    def fragment(
        self, delta: events.ToolCallDelta, decided: outputs.Decision | None
    ) -> tuple[OutputList, outputs.Decision]:
        """Emit what a fragment adds to its call, and decide which call that is."""
        if decided is not None:
            return self._replayed(decided), decided
        fragment = toolcalls.Fragment(
            delta.index,
            delta.call_id,
            delta.name,
            delta.arguments,
            delta.extent == "part",
            delta.kind,
            delta.members,
        )
        whole, joiner = delta.extent == "whole", self._joiner
        changes = joiner.ingest_whole(fragment) if whole else joiner.ingest_delta(fragment)
        if changes is None:
            return [], outputs.Decision(cut="mismatch")
        emitted, decision = self._joined(changes)
        begins = any(each.name for each in decision.joined)
        over = begins and self.full and self.withheld > 0
        cut: outputs.Cut | None = None
        if self._is_over(self._joiner.count):
            cut = "call_limit"
        elif over and self._joiner.is_whole(0):
            cut = "tool_calls"
        return emitted, msgspec.structs.replace(decision, cut=cut) if cut else decision

    def spill(self, held: str) -> OutputList:
        """Emit everything that is held, as text.

        Args:
            held: what a cut-off still held after it.
        """
        rest = "".join(self._masked)
        self._masked.clear()
        for piece in self._scanner.end() if self._scanner is not None else ():
            rest += piece.text if isinstance(piece, usetool.Text | usetool.Aborted) else ""
        aborted: OutputList = [self._abort("unclosed")] if self._in_block else []
        return aborted + self._emit_text(rest + held)

    def finish_calls(
        self, decided: outputs.Decision | None
    ) -> tuple[OutputList, outputs.Decision | None]:
        """Emit the calls of a step that is complete, and return what was decided about them."""
        if decided is not None:
            decision, emitted = decided, self._replayed(decided)
        else:
            emitted, decision = self._joined((*self._joiner.end(), *self._without_arguments()))
            decision = msgspec.structs.replace(decision, repeats=self._repeats())
        self.dropped += len(self._joiner.dropped)
        emitted += self.close()
        for index, call in enumerate(self._waiting):
            if index in decision.repeats or self._at_limit:
                self.withheld += 1
            else:
                emitted += self._emit_call(call.call_id, call.name, call.arguments or "{}")
        compared = self._options.dedup and self.has_waiting_calls
        self._waiting.clear()
        decides = decision.joined or decision.marked or compared
        return emitted, decision if decides else None

    def close(self) -> OutputList:
        """Treat the calls that came in fragments as complete."""
        emitted: OutputList = []
        if self._xml:
            known = {call.index: call.arguments for call in self._joiner.snapshot()}
            for joined, (index, name) in self._joining.items():
                if index is not None:
                    emitted.append(
                        outputs.ToolBlock(name, known.get(joined) or "{}", self._choice)
                    )
        self._joining.clear()
        return emitted

    def give_up(self) -> None:
        """Drop the calls of a step that will not become complete."""
        broken = sum(index is not None for index, _ in self._joining.values())
        self._broken += broken
        self.dropped += broken + len(self._waiting)
        self._joining.clear()
        self._waiting.clear()

    def counts(self) -> OutputList:
        """Emit the number of calls, which goes before the finish."""
        if not self.calls and not self.withheld:
            return []
        return [outputs.ToolCounts(self.calls, self.withheld > 0, self._choice)]

    # Calls in the text.

    @property
    def _in_block(self) -> bool:
        """Whether a block has begun and is being held."""
        return self.started > self.flushed + self.aborted.total()

    def _is_plain(self, text: str) -> bool:
        """Return whether no block is in this text, nor a part of one."""
        return self._scanner is None or ("<" not in text and self._scanner.held == 0)

    def _parts(self, text: str, decided: Pieces) -> list[tuple[outputs.Piece, str]]:
        """Return each piece with its part of the held and the new text; the rest is held."""
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
        """Return a scanner's piece as a decision, with its text and the arguments of a call."""
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

    def _take(self, piece: outputs.Piece, text: str, arguments: str) -> OutputList:
        """Emit one piece of the text."""
        match piece.kind:
            case "text":
                return self._emit_text(text)
            case "started":
                self.started += 1
                return [outputs.ToolBufferStarted(self._choice)]
            case "aborted":
                return [self._abort(piece.word), *self._emit_text(text)]
        self.flushed += 1
        self._blocks += piece.kind != "verbatim"
        emitted: OutputList = [outputs.ToolBufferFlushed(self._choice)]
        match piece.kind:
            case "verbatim":
                emitted += self._emit_text(text)
            case "withheld":
                self.withheld += 1
            case "call":
                emitted += self._emit_call("", piece.word, arguments)
        return emitted

    def _emit_text(self, text: str) -> OutputList:
        if not text or self.full:
            return []
        if self._options.suppress_tail and self._emitted > 0:
            self._tail.append(text)  # nobody knows yet whether another call makes it a middle
            return []
        return [outputs.Content(text, self._choice)]

    def _abort(self, reason: str) -> outputs.ToolBufferAborted:
        self.aborted[reason] += 1
        return outputs.ToolBufferAborted(reason, self._choice)

    # Calls in fragments.

    def _joined(
        self, changes: tuple[toolcalls.Change, ...]
    ) -> tuple[OutputList, outputs.Decision]:
        emitted: OutputList = []
        joined: list[outputs.Joined] = []
        marks: list[toolcalls.Marked] = []
        for change in changes:
            match change:
                case toolcalls.Opened(index, _, name):
                    joined.append(outputs.Joined(index, name))
                    emitted += self._open(change)
                case toolcalls.Extended(index, arguments):
                    joined.append(outputs.Joined(index))
                    emitted += self._extend(index, arguments)
                case toolcalls.Marked():
                    marks.append(change)
        for mark in marks:
            emitted += self._mark(mark)
        marked = tuple(mark.index for mark in marks)
        return emitted, outputs.Decision(joined=tuple(joined), marked=marked)

    def _replayed(self, decided: outputs.Decision) -> OutputList:
        emitted: OutputList = []
        for joined in decided.joined:
            if joined.name:
                emitted += self._open(toolcalls.Opened(joined.index, "", joined.name, ""))
            else:
                emitted += self._extend(joined.index, "")
        for index in decided.marked:
            emitted += self._mark(toolcalls.Marked(index))
        return emitted

    def _open(self, call: toolcalls.Opened) -> OutputList:
        if self._at_limit:
            self._joining[call.index] = (None, call.name)
            self.withheld += 1
            return []
        self._joining[call.index] = (self._emitted, call.name)
        return self._begin(call)

    def _extend(self, joined: int, arguments: str) -> OutputList:
        index, _ = self._joining[joined]
        return [] if index is None else [outputs.ToolArguments(index, arguments, self._choice)]

    def _mark(self, call: toolcalls.Marked) -> OutputList:
        index, _ = self._joining[call.index]
        return [] if index is None else [outputs.CallMembers(index, call.members, self._choice)]

    def _without_arguments(self) -> tuple[toolcalls.Extended, ...]:
        """Return an empty object for each joined call of a function without arguments: it takes
        nothing."""
        calls = self._joiner.snapshot()
        empty = (call for call in calls if call.kind == "function" and not call.arguments)
        return tuple(toolcalls.Extended(call.index, "{}") for call in empty)

    # Calls of every source.

    @property
    def _at_limit(self) -> bool:
        """Whether a further call may not go out, whatever it is."""
        most = self._options.max_calls
        return self.full or 0 < most <= self._emitted

    def _is_over(self, joined: int) -> bool:
        """Return whether there are more calls than any answer has, `joined` of them in
        fragments."""
        return joined + len(self._waiting) + self._blocks > self._options.call_limit

    def _is_repeat(self, name: str, arguments: str, seen: set[tuple[str, str]]) -> bool:
        return self._options.dedup and (name, parse.canonical(arguments)) in seen

    def _repeats(self) -> tuple[int, ...]:
        """Return which of the waiting calls repeat an earlier one."""
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

    def _emit_call(self, call_id: str, name: str, arguments: str) -> OutputList:
        """Emit a whole call."""
        if self._options.dedup:
            self._seen.add((name, parse.canonical(arguments)))
        emitted = self._begin(toolcalls.Opened(0, call_id, name, arguments))
        if self._xml:
            emitted.append(outputs.ToolBlock(name, arguments, self._choice))
        return emitted

    def _begin(self, call: toolcalls.Opened) -> OutputList:
        """Emit the beginning of a call, behind text that turned out not to be the last."""
        middle = "".join(self._tail)
        self._tail.clear()
        emitted: OutputList = [outputs.Content(middle, self._choice)] if middle else []
        index = self._emitted
        self._emitted += 1
        unique = self._ids.unique(call.call_id, index)
        begun = outputs.ToolCall(
            index, unique, call.name, call.arguments, self._choice, call.kind, call.members
        )
        return [*emitted, begun]
