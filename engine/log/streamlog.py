"""The records of one stream: what becomes a record, and what is kept of it.

A record is the event's own fields, then `state` and `out`, which say what the machine made of it,
then what a scanner decided, where one did: `released`, `cut`, `pieces`, `joined`, `repeats`,
`marked`.
`engine.log.event_log` numbers records, seals them, and writes those of all streams together.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

import msgspec

from engine import jsonstrings, redaction
from engine.log.content import mask
from engine.log.format import records
from engine.log.read import segments
from engine.log.write import livesegment
from machines import events, outputs
from machines.stream import states

_DELTAS: Final = (events.TextDelta, events.ReasoningDelta)
"""Events that are nearly all there are."""

_encode: Final = msgspec.json.Encoder().encode


class Keeping(NamedTuple):
    """The way a log keeps contents.

    Attributes:
        event: an event as it is kept.
        join: texts as JSON strings, with a separator between them.
        decision: members that say what a scanner decided.
    """

    event: Callable[[events.StreamEvent], events.StreamEvent]
    join: Callable[[list[str], bytes], bytes]
    decision: Callable[[outputs.Decision], bytes]


def _masked_decision(decision: outputs.Decision) -> bytes:
    return records.decided(mask.mask_decision(decision))


def keeping(content: mask.Content, known: redaction.Redaction) -> Keeping:
    """Return the way that a setting of `PROXY_EVENT_LOG` keeps contents, without these
    secrets."""
    if content == "full":
        return Keeping(mask.keeper(known), jsonstrings.join, records.decided)
    return Keeping(mask.masker(known), mask.join_masked, _masked_decision)


class StreamLog:
    """The records of one stream, in order; `EventLog.stream` makes it.

    Its methods give the time of their record, in microseconds since the epoch.

    Args:
        put: takes each record.
        began: called with `prefix` and this log as the stream gets its first record, which is no
            delta.
        ended: called with `prefix` once the stream has its last record.
        spoiled: called where a record cannot be made; `give_up` must follow.
        seq: number of the next record.

    Attributes:
        id: of the stream.
        prefix: what each of its records begins with, up to the value of `seq`.
        first_segment: number of the segment that was live when the stream began.
        now: the log's time.
    """

    __slots__ = (
        "_began",
        "_ended",
        "_join",
        "_keeping",
        "_put",
        "_seq",
        "_spoiled",
        "first_segment",
        "id",
        "now",
        "prefix",
    )

    def __init__(
        self,
        stream_id: str,
        put: Callable[[livesegment.Pending], object],
        now: Callable[[], int],
        keeping: Keeping,
        began: "Callable[[bytes, StreamLog], object]",
        ended: Callable[[bytes], object],
        spoiled: "Callable[[StreamLog, Exception], object]",
        first_segment: int,
        seq: int = 0,
    ) -> None:
        self.id = stream_id
        self.prefix = b'{"stream":%b,"seq":' % _encode(stream_id)
        self.first_segment = first_segment
        self.now = now
        self._put = put
        self._keeping = keeping
        self._join = keeping.join
        self._began = began
        self._ended = ended
        self._spoiled = spoiled
        self._seq = seq

    def open(self, opened: events.Opened) -> int:
        """Record how the stream began."""
        return self._record(opened, outputs.Step(states.TABLE.initial, ()))

    def append(self, event: segments.Appended, step: outputs.Step) -> int:
        """Record an event and what the machine made of it: the hot path of a token."""
        if len(step.outputs) != 1 or not isinstance(event, _DELTAS) or step.states:
            return self._record(event, step)
        try:
            output = type(step.outputs[0])
            more = (event.kind, event.member) if isinstance(event, events.ReasoningDelta) else ()
            before, after = records.around(type(event), event.choice, step.state, output, *more)
            rest = before + self._join([event.text], b"") + after
            if step.decision is not None:
                rest += self._keeping.decision(step.decision)
        except Exception as error:
            return self._spoil(error)
        now = self.now()
        self._put((self.prefix, self._seq, b"%d,%b" % (now, rest)))
        self._seq += 1
        return now

    def append_texts(self, choice: int, texts: list[str]) -> int:
        """Record text deltas that `Stream.passes`, as `append` would."""
        put, prefix, now = self._put, self.prefix, self.now()
        try:
            before, after = records.around(events.TextDelta, choice, "content", outputs.Content)
            before = b"%d,%b" % (now, before)
            # A line feed is escaped in JSON, so it can only be a mark of ours.
            rests = before + self._join(texts, after + b"\n" + before) + after
        except Exception as error:
            return self._spoil(error)
        for seq, rest in enumerate(rests.split(b"\n"), self._seq):
            put((prefix, seq, rest))
        self._seq += len(texts)
        return now

    def close(self, last: segments.Last, state: str) -> int:
        """Record how the stream ended; nothing that comes later is kept."""
        now = self._record(last, outputs.Step(state, ()))
        self._ended(self.prefix)
        self._put = _discard
        return now

    def kept(self, event: events.StreamEvent) -> events.StreamEvent:
        """Return an event as far as anything of it may be kept: its words only where the log has
        them."""
        return self._keeping.event(event)

    def give_up(self, lose: Callable[[livesegment.Pending], object]) -> None:
        """Have what else comes counted as lost: what came before it was."""
        self._put = lose

    def _record(self, event: events.StreamEvent, step: outputs.Step) -> int:
        """What `append` does, for any event and any outputs."""
        try:
            rest = _encode(self._keeping.event(event))[1:-1]
            if step.outputs or step.states:
                rest += records.outcome(step.state, map(type, step.outputs), step.states)
            else:
                rest += records.unmoved(step.state)
            if step.decision is not None:
                rest += self._keeping.decision(step.decision)
        except Exception as error:
            return self._spoil(error)
        now = self.now()
        if not self._seq:
            self._began(self.prefix, self)
        self._put((self.prefix, self._seq, b"%d,%b" % (now, rest)))
        self._seq += 1
        return now

    def _spoil(self, error: Exception) -> int:
        """A record that cannot be made costs its own stream's log, and no answer."""
        self._spoiled(self, error)
        return self.now()


class SilentStreamLog(StreamLog):
    """The log of a stream where nothing is kept."""

    __slots__ = ()

    def open(self, opened: events.Opened) -> int:
        return self.now()

    def append(self, event: segments.Appended, step: outputs.Step) -> int:
        return self.now()

    def append_texts(self, choice: int, texts: list[str]) -> int:
        return self.now()

    def close(self, last: segments.Last, state: str) -> int:
        return self.now()


def _discard(_: livesegment.Pending) -> None:
    pass
