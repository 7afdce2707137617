"""The spans of one ended request: that of the request, and that of the model's answer within it.

A request that no stream answered has the first alone: a refusal, a list of models. An answer that
is made in the background has its own when it ends, and that of its request has ended before.
"""

import enum

import msgspec

from server.access.entry import GOOD_KINDS, Entry, Severity
from server.tracing import attributes

Values = dict[str, str | int | float | bool | tuple[str, ...]]


class Kind(enum.Enum):
    """The part of a call that a span tells of, in OpenTelemetry's words."""

    SERVER = "server"
    """A request that was answered here."""
    CLIENT = "client"
    """A request to somebody else: a model's answer."""


class Span(msgspec.Struct, frozen=True):
    """One span.

    Attributes:
        parent_id: 0: it is the first of its trace.
        start_us, end_us: microseconds since the epoch.
        failed: whether it is shown as an error.
    """

    name: str
    kind: Kind
    span_id: int
    parent_id: int
    start_us: int
    end_us: int
    attributes: Values
    failed: bool


class Counts(msgspec.Struct):
    """The fate of the spans that were made, in numbers.

    Attributes:
        exported: that the receiver took.
        failed: that it did not, after the SDK's own retries.
        dropped: that were not handed on, as too many waited.
    """

    exported: int = 0
    failed: int = 0
    dropped: int = 0


def of_request(ended: attributes.Ended, conventions: attributes.Conventions) -> Span:
    """Make the span of a request. One that the client itself got wrong is no error here: so the
    conventions of HTTP have it."""
    entry = ended.entry
    assert entry.trace is not None, "one that is not traced has no span"
    values = attributes.values(attributes.OF_REQUESTS, ended, conventions)
    return Span(
        name=f"{values['http.request.method']} {entry.route}".rstrip(),
        kind=Kind.SERVER,
        span_id=entry.trace.request_id,
        parent_id=entry.trace.parent_id,
        start_us=_us(entry.began),
        end_us=_us(entry.began if entry.ended is None else entry.ended),
        attributes=values,
        failed=entry.severity is Severity.ERROR,
    )


def of_answer(ended: attributes.Ended, conventions: attributes.Conventions) -> Span:
    """Make the span of a model's answer: from the opening of its stream to the terminal record."""
    entry, terminal = ended.entry, ended.end.terminal
    assert entry.trace is not None, "one that is not traced has no span"
    end_us = _us(_end_of_stream(entry))
    values = attributes.values(attributes.OF_ANSWERS, ended, conventions)
    return Span(
        name=f"{values['gen_ai.operation.name']} {values['gen_ai.request.model']}",
        kind=Kind.CLIENT,
        span_id=entry.trace.answer_id,
        parent_id=entry.trace.request_id,
        start_us=end_us - terminal.duration_us,
        end_us=end_us,
        attributes=values,
        failed=terminal.kind not in GOOD_KINDS,
    )


def _end_of_stream(entry: Entry) -> float:
    if entry.stream_ended is not None:
        return entry.stream_ended
    return entry.began if entry.ended is None else entry.ended


def _us(seconds: float) -> int:
    return round(seconds * attributes.MICROSECONDS)
