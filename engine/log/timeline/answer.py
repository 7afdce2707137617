"""The answer of a stream as its client got it: how much text, and which tool calls.

Theory of operation. Which text is a call, and which fragment is of which, the records do not
repeat: they follow from the events. So the machine runs over them once more, with the decisions
that the records have, and its outputs are the answer. It must make of each record what is written
there. Where it does not (a record is missing, a bug ended the stream, an older version made
something else of it) it is left, and calls behind that are known by their own events alone.
"""

import msgspec

from engine.log.timeline import steps, timeline
from machines import errors, events, outputs, parse
from machines.stream import finish, machine as stream


class _Call(msgspec.Struct):
    """A call as far as it is known."""

    choice: int
    call_id: str
    name: str
    at_us: int
    arguments: list[str]
    size: int = 0
    whole: bool = False
    fate: timeline.Fate = "sent"


class Answer:
    """The answer of one stream, as its records are taken.

    Args:
        opened: its first record; None where that is gone, and the machine cannot run.
        holes: `seq` of the records before which others are missing.

    Attributes:
        characters: code points of its text.
        failure: what its client was told went wrong.
        first_us: when the first piece of it went out.
        followed_us: when the machine was left; None while it runs.
    """

    def __init__(self, opened: events.Opened | None, holes: frozenset[int]) -> None:
        self.characters = 0
        self.failure: outputs.Failure | None = None
        self.first_us: int | None = None
        self.left_us: int | None = None if opened is not None else 0
        self._machine = stream.Stream(opened) if opened is not None else None
        self._masked = opened is None or opened.content == "masked"
        self._holes = holes
        self._calls: list[_Call] = []
        self._sent: dict[tuple[int, int], _Call] = {}
        self._made: list[_Call] = []
        self._cut: set[int] = set()

    @property
    def calls(self) -> tuple[timeline.Call, ...]:
        """The calls in the order in which they were made."""
        return tuple(map(self._told, sorted(self._calls, key=lambda call: call.at_us)))

    def take(self, step: steps.Step) -> None:
        """Take a record between the first and the last."""
        event = step.event
        if self.first_us is None and not _PIECES.isdisjoint(step.record.out):
            self.first_us = step.at_us
        before = len(self._calls)
        emitted = self._emitted(step)
        if emitted is None:
            self._take_alone(step)
        else:
            for output in emitted:
                self._emit(output, step)
        if isinstance(event, events.ToolCalled):
            self._made.append(self._call(step, event.call_id, event.name, event.arguments))
        elif isinstance(event, events.ToolCallDropped):
            self._drop(step, event)
        elif isinstance(event, events.TurnFinished) and emitted is not None:
            self._finish(event)
        if self._masked:
            self._measure(step, before)

    def ended(self, fate: timeline.Fate) -> None:
        """Note the end: what became of calls that were not whole by then."""
        known = fate == "unknown" or self.left_us is None
        for call in self._made:
            if not call.whole:
                call.fate = self._fate(call, fate, "dropped") if known else "unknown"
        for call in self._sent.values():
            if not call.whole:
                call.fate = self._fate(call, fate, "unfinished") if known else "unknown"
        self._calls += self._made
        self._made = []

    def _emitted(self, step: steps.Step) -> tuple[outputs.AnyOutput, ...] | None:
        """Return what the machine makes of a record; None where it is left, or was before."""
        if self._machine is None:
            return None
        record, event = step.record, step.event
        if record.seq not in self._holes and isinstance(event, events.StreamInput):
            try:
                made = self._machine.step(event, record.decision if self._masked else None)
            except (errors.MachineError, LookupError):
                pass
            else:
                out = tuple(str(output.__struct_config__.tag) for output in made.outputs)
                if (made.state, out) == (record.state, record.out):
                    return made.outputs
        self._machine, self.left_us = None, step.at_us
        return None

    def _take_alone(self, step: steps.Step) -> None:
        """Take a record whose outputs are known by their names alone."""
        event = step.event
        if isinstance(event, events.TextDelta) and "content" in step.record.out:
            self.characters += len(event.text)
        elif isinstance(event, events.TurnFailed):
            self.failure = outputs.failure_of(event)

    def _emit(self, output: outputs.AnyOutput, step: steps.Step) -> None:
        match output:
            case outputs.Content(text) | outputs.Refusal(text):
                self.characters += len(text)
            case outputs.ToolCall(index, call_id, name, arguments, choice):
                call = self._matching(call_id, name, choice) or _Call(
                    choice, call_id, name, step.at_us, [], 0
                )
                call.arguments = [arguments]
                call.whole = not isinstance(step.event, events.ToolCallDelta)
                self._sent[choice, index] = call
                self._calls.append(call)
            case outputs.ToolArguments(index, arguments, choice):
                self._sent[choice, index].arguments.append(arguments)
            case outputs.Failure():
                self.failure = output
            case outputs.Rejected(failure):
                self.failure = failure

    def _matching(self, call_id: str, name: str, choice: int) -> _Call | None:
        """Return the whole call that waited, and goes out now; its id may have been another's."""
        waiting = [call for call in self._made if call.choice == choice]
        same = (call for call in waiting if call.call_id == call_id)
        found = next(same, None) or next((call for call in waiting if call.name == name), None)
        if found is not None:
            self._made.remove(found)
        return found

    def _call(self, step: steps.Step, call_id: str, name: str, arguments: str) -> _Call:
        return _Call(step.choice or 0, call_id, name, step.at_us, [arguments], len(arguments))

    def _drop(self, step: steps.Step, event: events.ToolCallDropped) -> None:
        call = self._matching(event.call_id, event.name, event.choice)
        call = call or self._call(step, event.call_id, event.name, "")
        call.fate, call.whole = "dropped", True
        self._calls.append(call)

    def _fate(self, call: _Call, fate: timeline.Fate, cut: timeline.Fate) -> timeline.Fate:
        """Return the fate of a call that was not whole: another, where its choice was cut."""
        return cut if call.choice in self._cut else fate

    def _finish(self, event: events.TurnFinished) -> None:
        """Note that a step is over: its calls are whole where it is, and those that still wait
        were withheld."""
        if finish.canonical(event.reason) not in stream.WHOLE:
            self._cut.add(event.choice)
            return
        for (choice, _), call in self._sent.items():
            call.whole |= choice == event.choice
        for call in self._made:
            if call.choice == event.choice:
                call.fate, call.whole = "withheld", True
                self._calls.append(call)
        self._made = [call for call in self._made if call.choice != event.choice]

    def _measure(self, step: steps.Step, before: int) -> None:
        """Note the size of what is masked: the machine has no text of it."""
        event, decision = step.event, step.record.decision
        if isinstance(event, events.ToolCallDelta):
            last = self._calls[-1] if self._calls else None
            if last is not None and decision is not None and decision.joined:
                last.size += len(event.arguments or "")
        elif decision is not None and decision.pieces is not None:
            blocks = [piece for piece in decision.pieces if piece.kind == "call"]
            for call, piece in zip(self._calls[before:], blocks, strict=False):
                call.size += piece.length

    def _told(self, call: _Call) -> timeline.Call:
        arguments = "".join(call.arguments)
        return timeline.Call(
            choice=call.choice,
            call_id=call.call_id,
            name=call.name,
            size=call.size if self._masked else len(arguments.encode()),
            at_us=call.at_us,
            parses=None if self._masked else _is_object(arguments),
            fate=call.fate,
        )


_PIECES = frozenset(
    ("content", "reasoning", "refusal", "tool_call", "tool_block", "message_begun")
)
"""The outputs that are pieces of an answer."""


def _is_object(arguments: str) -> bool:
    try:
        return isinstance(parse.parse(arguments.encode(), _ANY), dict)
    except parse.ParseError:
        return False


_ANY: msgspec.json.Decoder[object] = msgspec.json.Decoder()
