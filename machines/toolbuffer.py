"""The tool side of one choice: what of its text is a call, and which calls go to the client.

Theory of operation. Calls come from three sources. Blocks in the text are found by
`machines.usetool` and go out as soon as they are closed. Whole calls of a worker wait until their
step is whole, so that a failed step never looks like two calls out of three. Fragments are joined
by `machines.toolcalls` and go on as they come. All three pass the same limits and share one
numbering.

What depends on the letters of a text (which of it is a block, what a fragment belongs to) is said
in a `Piece` or a `Joined`. A replay of a masked log hands them back in, and everything else
follows from them.
"""

import collections

import msgspec

from machines import events, outputs, toolcalls, usetool

Said = list[outputs.AnyOutput]


class ToolBuffer:
    """Of one choice; only `machines.stream` changes it.

    Attributes:
        emitted: calls that went out.
        withheld: calls that did not, by a limit.
        dropped: calls that never were whole.
        aborted: blocks that were none, by reason.
    """

    def __init__(self, choice: int, opened: events.Opened) -> None:
        options = opened.tools
        self.emitted = 0
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
        self._joiner = toolcalls.Joiner(self._id_prefix)
        self._opened: dict[int, tuple[int | None, str]] = {}
        self._waiting: list[events.ToolCalled] = []
        self._masked: list[str] = []
        self._tail: list[str] = []
        self._seen: set[tuple[str, str]] = set()

    @property
    def scans(self) -> bool:
        """Whether text is scanned for calls."""
        return self._scanner is not None

    def passes(self, text: str) -> bool:
        """Whether there is no call in this text, nor a part of one."""
        return self._scanner is None or ("<" not in text and self._scanner.held == 0)

    @property
    def full(self) -> bool:
        """Whether the answer is to end with the call it has."""
        return self._options.stop_after == "first" and self.emitted > 0

    @property
    def waits(self) -> bool:
        """Whether whole calls wait for the end of their step."""
        return bool(self._waiting)

    @property
    def open(self) -> bool:
        """Whether a block has begun and is being held."""
        return self.started > self.flushed + self.aborted.total()

    def text(
        self, text: str, decided: tuple[outputs.Piece, ...] | None
    ) -> tuple[Said, tuple[outputs.Piece, ...]]:
        """What released text says; its pieces are taken as given where they were `decided`."""
        if self._scanner is None:
            return self._say(text), ()
        said: Said = []
        if decided is not None:
            for piece, part in self._parts(text, decided):
                said += self._take(piece, part, "")
            return said, decided
        pieces: list[outputs.Piece] = []
        for found in self._scanner.feed(text) if text else ():
            if self.full:
                break
            piece, part, arguments = self._judge(found)
            pieces.append(piece)
            said += self._take(piece, part, arguments)
        return said, tuple(pieces)

    def called(self, call: events.ToolCalled) -> None:
        """A whole call waits for the end of its step."""
        self._waiting.append(call)

    def fragment(
        self, delta: events.ToolCallDelta, decided: tuple[outputs.Joined, ...] | None
    ) -> tuple[Said, tuple[outputs.Joined, ...]]:
        """What a fragment says, and what it turned out to be."""
        if decided is not None:
            return self._replayed(decided), decided
        fragment = toolcalls.Fragment(delta.index, delta.call_id, delta.name, delta.arguments)
        return self._joined(self._joiner.ingest_delta(fragment))

    def spill(self, held: str) -> Said:
        """Everything that is held, as the text it is; `held` is what a cut-off still held."""
        said: Said = []
        if self._scanner is None:
            return self._say(held)
        rest = "".join(self._masked)
        self._masked.clear()
        for piece in self._scanner.end():
            rest += piece.text if isinstance(piece, usetool.Text | usetool.Aborted) else ""
        if self.open:
            said.append(self._abort("unclosed"))
        return said + self._say(rest + held)

    def settle(self, decided: outputs.Decision | None) -> tuple[Said, outputs.Decision]:
        """What is left to say of the calls of a step that is whole."""
        if decided is not None:
            said, joined, repeats = self._replayed(decided.joined), decided.joined, decided.repeats
        else:
            said, joined = self._joined(self._joiner.end())
            said_empty, empty = self._joined(self._without_arguments())
            said, joined = said + said_empty, joined + empty
            repeats = self._repeats()
        if self._xml:
            known = {call.index: call.arguments for call in self._joiner.snapshot()}
            for index, (place, name) in self._opened.items():
                if place is not None:
                    arguments = known.get(index) or "{}"
                    said.append(outputs.ToolBlock(name, arguments, self._choice))
        for index, waiting in enumerate(self._waiting):
            if index in repeats or self._at_limit:
                self.withheld += 1
            else:
                said += self._emit(waiting.call_id, waiting.name, waiting.arguments or "{}")
        self._waiting.clear()
        return said, outputs.Decision(joined=joined, repeats=repeats)

    def give_up(self) -> None:
        """The step will not become whole: its calls are none."""
        self.dropped += len(self._waiting)
        self._waiting.clear()

    def counts(self) -> Said:
        """What a client is told of its calls before the finish."""
        if not self.emitted and not self.withheld:
            return []
        return [outputs.ToolCounts(self.emitted, self.withheld > 0, self._choice)]

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
                if self._at_limit or self._is_repeat(name, arguments):
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
        said: Said = [outputs.ToolBufferFlushed(self._choice)]
        match piece.kind:
            case "verbatim":
                said += self._say(text)
            case "withheld":
                self.withheld += 1
            case "call":
                said += self._emit("", piece.word, arguments)
        return said

    def _parts(
        self, text: str, decided: tuple[outputs.Piece, ...]
    ) -> list[tuple[outputs.Piece, str]]:
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

    def _say(self, text: str) -> Said:
        if not text:
            return []
        if self._options.suppress_tail and self.emitted:
            self._tail.append(text)  # nobody knows yet whether another call makes it a middle
            return []
        return [outputs.Content(text, self._choice)]

    def _abort(self, reason: str) -> outputs.ToolBufferAborted:
        self.aborted[reason] += 1
        return outputs.ToolBufferAborted(reason, self._choice)

    @property
    def _at_limit(self) -> bool:
        """Whether a further call may not go out, whatever it is."""
        most = self._options.most
        return self.full or (most > 0 and self.emitted >= most)

    def _is_repeat(self, name: str, arguments: str) -> bool:
        return self._options.dedup and (name, _compact(arguments)) in self._seen

    def _repeats(self) -> tuple[int, ...]:
        """Which of the waiting calls repeat an earlier one."""
        found = []
        seen = set(self._seen)
        for index, waiting in enumerate(self._waiting):
            state = (waiting.name, _compact(waiting.arguments or "{}"))
            if self._options.dedup and state in seen:
                found.append(index)
            seen.add(state)
        return tuple(found)

    def _without_arguments(self) -> tuple[toolcalls.Extended, ...]:
        """For each joined call that never had any, those of a function that takes none."""
        empty = (call for call in self._joiner.snapshot() if not call.arguments)
        return tuple(toolcalls.Extended(call.index, "{}") for call in empty)

    def _emit(self, call_id: str, name: str, arguments: str) -> Said:
        """A whole call, behind the text that turned out to be no tail."""
        said = self._begin_call(call_id, name, arguments)
        self._seen.add((name, _compact(arguments)))
        if self._xml:
            said.append(outputs.ToolBlock(name, arguments, self._choice))
        return said

    def _begin_call(self, call_id: str, name: str, arguments: str) -> Said:
        middle = "".join(self._tail)
        self._tail.clear()
        said: Said = [outputs.Content(middle, self._choice)] if middle else []
        index = self.emitted
        self.emitted += 1
        call_id = call_id or f"{self._id_prefix}{index}"
        return [*said, outputs.ToolCall(index, call_id, name, arguments, self._choice)]

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
            self._opened[joined] = (None, name)
            self.withheld += 1
            return []
        self._opened[joined] = (self.emitted, name)
        return self._begin_call(call_id, name, arguments)

    def _extend(self, joined: int, arguments: str) -> Said:
        place, _ = self._opened[joined]
        return [] if place is None else [outputs.ToolArguments(place, arguments, self._choice)]


def _compact(arguments: str) -> str:
    """Arguments without what does not matter in JSON, to compare them."""
    try:
        return msgspec.json.format(arguments, indent=-1)
    except msgspec.DecodeError:
        return arguments
