"""Folds a log through today's machine, compares every step and the bytes, shows where it parts."""

import collections
import re
from collections.abc import Callable, Iterable, Sequence, Set
from typing import Final, Protocol, get_args

import msgspec

from engine.log import changes
from engine.log.content.digest import BodyDigest
from engine.log.read import segments
from machines import errors, events, outputs
from machines.stream import machine as stream, states

CONTEXT_STEPS: Final = 5
"""Steps before a divergence that are shown with it."""

STATES_SINCE: Final = 2
"""Version of the records that name all states of a step."""

RECOVERED: Final = "recovery"
"""`emission_trigger` of a terminal record that a later start wrote: nothing to compare."""


DEFECT: Final = "defect"
"""Kind of a stream that a bug ended: what that did to machine and bytes cannot be done again."""


class Renderer(Protocol):
    """Turns outputs into the bytes a client got."""

    def render(self, output: outputs.AnyOutput, now: int = 0) -> bytes:
        """Bytes of one output of a step that was recorded at `now`, empty for none."""


MakeRenderer = Callable[[events.Opened], Renderer]
"""Finds the renderer of a stream by its first record."""


class Row(msgspec.Struct, frozen=True):
    """One step: as it was recorded, as it comes out now."""

    seq: int
    event: str
    recorded: str
    replayed: str


class Cause(msgspec.Struct, frozen=True):
    """The part of a divergence that others have too which one change of the code has made.

    Attributes:
        state: of the stream before the step.
        recorded: the step as it was recorded, with `N` in the place of numbers; of the end of a
            stream only what differs.
    """

    event: str
    state: str
    recorded: str
    replayed: str


class Divergence(msgspec.Struct, frozen=True):
    """The first step of a stream that comes out differently, after the steps before it.

    Attributes:
        t: when the step was recorded, in microseconds since the epoch.
    """

    stream: str
    request_id: str
    where: str
    rows: tuple[Row, ...]
    cause: Cause
    t: int = 0


class Tally(msgspec.Struct):
    """The result of a replay.

    Attributes:
        streams: replayed to their end.
        full: of these, the ones whose bytes were compared too.
        defects: ended by a bug of the server's own, and compared up to there.
        unfinished: without an end in the log: open, or closed by a later start.
        skipped: whose beginning is no longer in the log, or that were open at a corrupt place.
        later: that a later version wrote, and that are not compared.
        purged: that were erased, so that nothing is left to compare.
    """

    streams: int = 0
    full: int = 0
    records: int = 0
    defects: int = 0
    unfinished: int = 0
    skipped: int = 0
    later: int = 0
    purged: int = 0

    @property
    def compared(self) -> int:
        """Streams that came to an end, whichever."""
        return self.streams + self.defects


class Replay:
    """One pass over a log.

    Args:
        request: only streams of this request or stream id; None for all.
        diverged: takes each divergence, and the replay goes on; None: the first one ends it.

    Attributes:
        divergence: the first one.
    """

    def __init__(
        self,
        make_renderer: MakeRenderer,
        request: str | None = None,
        diverged: Callable[[Divergence], object] | None = None,
    ) -> None:
        self.tally = Tally()
        self.divergence: Divergence | None = None
        self._make_renderer = make_renderer
        self._request = request
        self._diverged = diverged
        self._open: dict[str, _StreamReplay] = {}

    def run(
        self, reading: segments.Reading, watched: Iterable[segments.Record] | None = None
    ) -> None:
        """Replay up to the first divergence, or the end.

        What is corrupt may have cost any stream a record that was open there: those are left out.

        Args:
            watched: the reading's records, by way of somebody who watches how far it is.
        """
        corrupt = 0
        for record in reading if watched is None else watched:
            if reading.counts["corrupt"] > corrupt:
                corrupt = reading.counts["corrupt"]
                self.tally.skipped += len(self._open)
                self._open.clear()
            event = reading.load(record)
            if event is not None:
                self.take(record, event)
            if self.divergence is not None and self._diverged is None:
                return
        self.end(reading.later, reading.incomplete, reading.purged)

    def end(
        self,
        later: Set[str] = frozenset(),
        incomplete: Set[str] = frozenset(),
        purged: Set[str] = frozenset(),
    ) -> None:
        """Count the streams that did not come to an end, once there are no more records.

        Args:
            later: those that a later version wrote something of.
            incomplete: those whose beginning is not there.
            purged: those that were erased.
        """
        for stream_id in later | purged:
            self._open.pop(stream_id, None)
        self.tally.later += len(later)
        self.tally.purged += len(purged)
        self.tally.unfinished += len(self._open)
        self.tally.skipped += len(incomplete - later - purged)

    def take(self, record: segments.Record, event: segments.LoggedEvent) -> None:
        """Take the next record of a log, and its event."""
        replayed = self._open.get(record.stream)
        if replayed is None or isinstance(event, events.Opened):
            self._take_first(record, event)
            return
        if isinstance(event, (events.WorkerChanged, events.RequestRejected)):
            return
        self.tally.records += 1
        if isinstance(event, events.Terminal):
            del self._open[record.stream]
            same = self._end(replayed, record, event)
        else:
            same = replayed.step(record, event)
        if not same:
            self._open.pop(record.stream, None)
            self._note(record, replayed.opened.request_id, replayed.rows, replayed.cause)

    def _take_first(self, record: segments.Record, event: segments.LoggedEvent) -> None:
        """Take a record of a stream that is not open: its first, or one of another kind."""
        if isinstance(event, events.Opened):
            if self._request in (None, event.request_id, record.stream):
                self._open[record.stream] = _StreamReplay(event, self._make_renderer(event))
                self.tally.records += 1
        elif isinstance(event, events.LateChange) and event.late_of:
            self._take_late(record, event)

    def _take_late(self, record: segments.Record, event: events.LateChange) -> None:
        """Hold a change in the life of a process against its machine; what it goes on with stands
        in the records of its stream."""
        wrong = changes.illegal(event)
        if wrong:
            row = Row(record.seq, record.event, changes.describe(event), wrong)
            cause = Cause(record.event, record.state, row.recorded, wrong)
            self._note(record, event.late_of, (row,), cause)

    def _note(
        self, record: segments.Record, request_id: str, rows: tuple[Row, ...], cause: Cause
    ) -> None:
        where = f"{record.path}:{record.line}"
        found = Divergence(record.stream, request_id, where, rows, cause, record.t)
        self.divergence = self.divergence or found
        if self._diverged is not None:
            self._diverged(found)

    def _end(
        self, replayed: "_StreamReplay", record: segments.Record, terminal: events.Terminal
    ) -> bool:
        """Whether a stream ended as recorded."""
        if terminal.emission_trigger == RECOVERED:
            self.tally.unfinished += 1
            return True
        if replayed.is_broken or terminal.kind == DEFECT:
            self.tally.defects += 1
            return True
        self.tally.streams += 1
        self.tally.full += replayed.compares_bytes and bool(terminal.body_hash)
        return replayed.end(record, terminal)


class _StreamReplay:
    """One stream, folded again.

    Attributes:
        is_broken: whether it met a bug; nothing is compared from there on.
        compares_bytes: whether the log holds the content, and so the bytes can be made again.
        rows: the step that differs, and those before it; empty while none does.
        cause: of the difference.
    """

    def __init__(self, opened: events.Opened, renderer: Renderer) -> None:
        self.opened = opened
        self.is_broken = False
        self.compares_bytes = opened.content == "full" and opened.hash_key is not None
        self.rows: tuple[Row, ...] = ()
        self.cause = Cause("", "", "", "")
        self._is_masked = opened.content == "masked"
        self._tells_states = opened.schema >= STATES_SINCE
        self._same: collections.deque[segments.Record] = collections.deque(maxlen=CONTEXT_STEPS)
        self._machine = stream.Stream(opened)
        self._renderer = renderer
        self._digest = BodyDigest(bytes.fromhex(opened.hash_key or ""))
        self._changes = changes.Changes()

    def step(self, record: segments.Record, event: events.StreamInput) -> bool:
        """Whether the step comes out as recorded."""
        if type(event) is not events.TextDelta:
            wrong = self._look_at(event)
            if wrong is not None:
                return self._differs(record, *wrong)
        if self.is_broken:
            return True
        decision = None if record.released is None else record.decision
        try:
            step = self._machine.step(event, decision if self._is_masked else None)
        except errors.MachineError as error:
            return self._differs(record, _recorded(record), str(error))
        if self.compares_bytes:
            for output in step.outputs:
                self._digest.update(self._renderer.render(output, record.t))
        if (
            record.state != step.state
            or record.out != _tags(step.outputs)
            or record.states != (step.states if self._tells_states else ())
            or decision != step.decision
        ):
            return self._compare(record, step)
        self._same.append(record)
        return True

    def _look_at(self, event: events.StreamInput) -> tuple[str, str] | None:
        """Follow what the machine of the stream does not: a bug, and how its turns change, as it
        is described and what is wrong with it."""
        self.is_broken |= isinstance(event, events.TurnFailed) and event.kind == DEFECT
        if self.is_broken:
            return None
        if isinstance(event, events.FallbackTaken):
            self._changes = changes.Changes()  # how the turn that was given up ended comes late
        elif isinstance(event, events.LateChange):
            wrong = self._changes.wrong(event)
            if wrong:
                return changes.describe(event), wrong
        return None

    def _compare(self, record: segments.Record, step: outputs.Step) -> bool:
        """Compare what people are shown of the two."""
        states = step.states if self._tells_states else ()
        replayed = _describe(step.state, states, _tags(step.outputs), step.decision)
        return self._differs(record, _recorded(record), replayed)

    def end(self, record: segments.Record, terminal: events.Terminal) -> bool:
        """Whether the stream ended as recorded, down to its last byte."""
        machine = self._machine
        pairs = {
            "kind": (terminal.kind, machine.kind or "open"),
            "trigger": (terminal.emission_trigger, machine.emission_trigger),
        }
        if terminal.body_hash:  # else its figures could not be had: see `Pump._terminal`
            reasons = tuple(choice.reason for choice in machine.choices)
            totals = machine.totals
            pairs["reasons"] = str(terminal.finish_reasons), str(reasons)
            pairs["usage"] = str(terminal.usage), str(totals.usage)
            pairs["usage source"] = terminal.usage_source, totals.source
            if self.compares_bytes:
                recorded = f"{terminal.body_bytes} bytes {terminal.body_hash}"
                made = f"{self._digest.length} bytes {self._digest.hexdigest()}"
                pairs["body"] = recorded, made
        if all(recorded == replayed for recorded, replayed in pairs.values()):
            return True
        different = {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
        shapes = [
            ", ".join(_end_shape(name, pair[side]) for name, pair in different.items())
            for side in (0, 1)
        ]
        was, now = (", ".join(pair[side] for pair in pairs.values()) for side in (0, 1))
        return self._differs(record, was, now, shapes)

    def _differs(
        self,
        record: segments.Record,
        recorded: str,
        replayed: str,
        shapes: Sequence[str] | None = None,
    ) -> bool:
        """Note how a step differs, unless people would be shown the same; whether it is."""
        if recorded == replayed:
            return True
        before = [Row(each.seq, each.event, *[_recorded(each)] * 2) for each in self._same]
        self.rows = (*before, Row(record.seq, record.event, recorded, replayed))
        state = self._same[-1].state if self._same else states.TABLE.initial
        shapes = shapes or [_NUMBERS.sub("N", each) for each in (recorded, replayed)]
        self.cause = Cause(record.event, state, *shapes)
        return False


def _end_shape(name: str, value: str) -> str:
    """What of the end of a stream is the same for streams that end differently by one cause."""
    return f"{name} {value}" if name in ("kind", "trigger", "reasons") else name


_NUMBERS: Final = re.compile(r"\d+")

_TAG_OF: Final[dict[type, str]] = {
    kind: str(kind.__struct_config__.tag) for kind in get_args(outputs.AnyOutput)
}
_ALONE: Final[dict[type, tuple[str, ...]]] = {kind: (tag,) for kind, tag in _TAG_OF.items()}


def _tags(emitted: tuple[outputs.AnyOutput, ...]) -> tuple[str, ...]:
    """The tags of outputs, as a record has them."""
    if len(emitted) == 1:
        return _ALONE[type(emitted[0])]
    return tuple([_TAG_OF[type(output)] for output in emitted])


def _recorded(record: segments.Record) -> str:
    return _describe(record.state, record.states, record.out, record.decision)


def _describe(
    state: str,
    states: tuple[str, ...],
    out: tuple[str, ...],
    decision: outputs.Decision | None,
) -> str:
    text = f"{' > '.join(states) or state} [{' '.join(out)}]"
    if decision is not None:
        text += f" released {decision.released}"
        text += f", cut by {decision.cut}" if decision.cut else ""
        text += "".join(
            f", {piece.kind} {piece.length} {piece.word}".rstrip()
            for piece in decision.pieces or ()
        )
        text += "".join(f", call {each.index} {each.name}".rstrip() for each in decision.joined)
        text += f", marked {decision.marked}" if decision.marked else ""
        text += f", repeats {decision.repeats}" if decision.repeats else ""
    return text
