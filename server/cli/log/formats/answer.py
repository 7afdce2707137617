"""The HTTP answer that a client got: its status, its headers, its bytes and when each went out.

The log has no bytes. It has what they were made of, so the machine and the renderer make them
again, as a replay does. Of a masked log they are the same frames at the same times, with the texts
masked as they are in the log.
"""

from collections.abc import Iterator
from typing import Final

import msgspec

from engine.log import replay
from engine.log.find import stories
from engine.log.read import segments
from machines import errors, events
from machines.stream import machine as stream
from server.http.errors import ApiError
from server.http.exchange import HeaderList
from server.renderers import reply

UNFINISHED: Final = ("open", "client_gone", "defect")
"""Kinds of an end that no client saw as one: nothing ended its body."""


class Piece(msgspec.Struct, frozen=True):
    """Bytes that went out together.

    Attributes:
        at_us: microseconds since the stream was opened.
    """

    at_us: int
    data: bytes


class Answer(msgspec.Struct, frozen=True):
    """The answer that a client got.

    Attributes:
        status: 0 where there was none.
        chunked: whether the body came in pieces.
        pieces: of the body, in order.
        whole: whether the body came to its end.
        masked: whether the texts in it are masked, and the bytes are others than the client got.
        problem: why it is told no further; empty where it is told to its end.
    """

    status: int
    headers: HeaderList
    chunked: bool
    pieces: tuple[Piece, ...]
    whole: bool
    masked: bool
    problem: str = ""

    @property
    def body(self) -> bytes:
        """All of the body."""
        return b"".join(each.data for each in self.pieces)


class NoAnswer(Exception):
    """Raised for what has none: the life of a worker process, a stream without a beginning."""


def answer(story: stories.Story) -> Answer:
    """Make the answer of a stream, or of a refused request.

    Raises:
        NoAnswer: there is none that could be made.
    """
    found = _events(story)
    first = next(found, None)
    if first is None:
        raise NoAnswer("none of its records can be read")
    record, event = first
    if isinstance(event, events.RequestRejected):
        return _refused(event)
    if not isinstance(event, events.Opened):
        if story.stream.startswith("wk_"):
            raise NoAnswer("the life of a worker process has no answer")
        raise NoAnswer("its beginning is no longer in the log")
    return _answer(event, record.t, found)


def _events(
    story: stories.Story,
) -> Iterator[tuple[segments.Record, segments.LoggedEvent]]:
    """The records of a stream up to one that a later version wrote."""
    for record in story.records:
        try:
            yield record, record.load()
        except segments.LaterVersion:
            return


def _refused(event: events.RequestRejected) -> Answer:
    # Such a record does not say how its log keeps contents; what is masked has no letter left.
    masked = "*" in event.message and not any(map(str.isalnum, event.message))
    error = ApiError(event.code, event.message, event.param, status=event.status)
    return Answer(
        error.status, error.headers(), False, (Piece(0, error.body()),), whole=True, masked=masked
    )


def _answer(
    opened: events.Opened,
    began: int,
    found: Iterator[tuple[segments.Record, segments.LoggedEvent]],
) -> Answer:
    machine, renders = stream.Stream(opened), reply(opened)
    masked = opened.content == "masked"
    pieces: list[Piece] = []
    due, kind, problem = 1, "open", ""
    for record, event in found:
        if record.seq != due:
            problem = f"record {due} is missing: what went out behind it is not known"
            break
        due += 1
        if isinstance(event, events.Terminal):
            recovered = event.emission_trigger == replay.RECOVERED
            kind = "open" if recovered else event.kind
        if not isinstance(event, events.StreamInput):
            continue
        try:
            step = machine.step(event, record.decision if masked else None)
        except errors.MachineError as error:
            problem = f"today's code cannot go on at record {record.seq}: {error}"
            break
        data = b"".join(renders.render(output, record.t) for output in step.outputs)
        if data:
            pieces.append(Piece(record.t - began, data))
    whole = not problem and kind not in UNFINISHED
    return Answer(
        renders.status, renders.headers, renders.chunked, tuple(pieces), whole, masked, problem
    )
