"""Folds a log through today's machine, compares every step and the bytes, shows where it parts."""

import collections
from collections.abc import Callable
from typing import Final, Protocol

import msgspec

from engine.log import changes
from engine.log.content.digest import BodyDigest
from engine.log.read import segments
from machines import errors, events, outputs
from machines.stream import machine as stream

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


class Divergence(msgspec.Struct, frozen=True):
    """The first step of a stream that comes out differently, after the steps before it."""

    stream: str
    request_id: str
    where: str
    rows: tuple[Row, ...]


class Tally(msgspec.Struct):
    """The result of a replay.

    Attributes:
        streams: replayed to their end.
        full: of these, the ones whose bytes were compared too.
        defects: ended by a bug of the server's own, and compared up to there.
        unfinished: without an end in the log: open, or closed by a later start.
        skipped: whose beginning is no longer in the log, or that were open at a corrupt place.
        later: that a later version wrote, and that are not compared.
    """

    streams: int = 0
    full: int = 0
    records: int = 0
    defects: int = 0
    unfinished: int = 0
    skipped: int = 0
    later: int = 0

    @property
    def compared(self) -> int:
        """Streams that came to an end, whichever."""
        return self.streams + self.defects


class Replay:
    """One pass over a log.

    Args:
        request: only streams of this request or stream id; None for all.
    """

    def __init__(self, make_renderer: MakeRenderer, request: str | None = None) -> None:
        self.tally = Tally()
        self.divergence: Divergence | None = None
        self._make_renderer = make_renderer
        self._request = request
        self._open: dict[str, _StreamReplay] = {}

    def run(self, reading: segments.Reading) -> None:
        """Replay up to the first divergence, or the end.

        What is corrupt may have cost any stream a record that was open there: those are left out.
        """
        corrupt = 0
        for record in reading:
            if reading.counts["corrupt"] > corrupt:
                corrupt = reading.counts["corrupt"]
                self.tally.skipped += len(self._open)
                self._open.clear()
            event = reading.load(record)
            if event is not None:
                self._take(record, event)
            if self.divergence is not None:
                return
        for stream_id in reading.later:
            self._open.pop(stream_id, None)
        self.tally.later += len(reading.later)
        self.tally.unfinished += len(self._open)
        self.tally.skipped += len(reading.incomplete - reading.later)

    def _take(self, record: segments.Record, event: segments.LoggedEvent) -> None:
        if isinstance(event, events.Opened):
            if self._request in (None, event.request_id, record.stream):
                self._open[record.stream] = _StreamReplay(event, self._make_renderer(event))
                self.tally.records += 1
            return
        replayed = self._open.get(record.stream)
        if replayed is None and isinstance(event, events.LateChange) and event.late_of:
            self._take_late(record, event)
        if replayed is None or isinstance(event, events.WorkerChanged | events.RequestRejected):
            return
        self.tally.records += 1
        if isinstance(event, events.Terminal):
            del self._open[record.stream]
            same = self._end(replayed, record, event)
        else:
            same = replayed.step(record, event)
        if not same:
            where = f"{record.path}:{record.line}"
            opened = replayed.opened
            self.divergence = Divergence(
                record.stream, opened.request_id, where, tuple(replayed.rows)
            )

    def _take_late(self, record: segments.Record, event: events.LateChange) -> None:
        """Hold a change in the life of a process against its machine; what it goes on with stands
        in the records of its stream."""
        wrong = changes.illegal(event)
        if wrong:
            row = Row(record.seq, record.event, changes.describe(event), wrong)
            where = f"{record.path}:{record.line}"
            self.divergence = Divergence(record.stream, event.late_of, where, (row,))

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
    """

    def __init__(self, opened: events.Opened, renderer: Renderer) -> None:
        self.opened = opened
        self.is_broken = False
        self.rows: collections.deque[Row] = collections.deque(maxlen=CONTEXT_STEPS + 1)
        self._machine = stream.Stream(opened)
        self._renderer = renderer
        self._digest = BodyDigest(bytes.fromhex(opened.hash_key or ""))
        self._changes = changes.Changes()

    @property
    def compares_bytes(self) -> bool:
        """Whether the log holds the content, and so the bytes can be made again."""
        return self.opened.content == "full" and self.opened.hash_key is not None

    def step(self, record: segments.Record, event: events.StreamInput) -> bool:
        """Whether the step comes out as recorded."""
        self.is_broken |= isinstance(event, events.TurnFailed) and event.kind == DEFECT
        if self.is_broken:
            return True
        if isinstance(event, events.FallbackTaken):
            self._changes = changes.Changes()  # how the turn that was given up ended comes late
        elif isinstance(event, events.LateChange):
            wrong = self._changes.wrong(event)
            if wrong:
                return self._row(record, changes.describe(event), wrong)
        decided = record.decision if self.opened.content == "masked" else None
        tells_states = self.opened.schema >= STATES_SINCE
        recorded = _describe(record.state, record.states, record.out, record.decision)
        try:
            step = self._machine.step(event, decided)
        except errors.MachineError as error:
            return self._row(record, recorded, str(error))
        for output in step.outputs:
            self._digest.update(self._renderer.render(output, record.t))
        out = tuple(str(output.__struct_config__.tag) for output in step.outputs)
        states = step.states if tells_states else ()
        return self._row(record, recorded, _describe(step.state, states, out, step.decision))

    def end(self, record: segments.Record, terminal: events.Terminal) -> bool:
        """Whether the stream ended as recorded, down to its last byte."""
        machine = self._machine
        recorded = [terminal.kind, terminal.emission_trigger]
        replayed = [machine.kind or "open", machine.emission_trigger]
        if not terminal.body_hash:  # its figures could not be had: see `Pump._terminal`
            return self._row(record, ", ".join(recorded), ", ".join(replayed))
        recorded += [str(terminal.finish_reasons), str(terminal.usage), terminal.usage_source]
        reasons = tuple(choice.reason for choice in machine.choices)
        replayed += [str(reasons), str(machine.totals.usage), machine.totals.source]
        if self.compares_bytes:
            recorded.append(f"{terminal.body_bytes} bytes {terminal.body_hash}")
            replayed.append(f"{self._digest.length} bytes {self._digest.hexdigest()}")
        return self._row(record, ", ".join(recorded), ", ".join(replayed))

    def _row(self, record: segments.Record, recorded: str, replayed: str) -> bool:
        self.rows.append(Row(record.seq, record.event, recorded, replayed))
        return recorded == replayed


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
