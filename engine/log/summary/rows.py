"""The summary of an ended request: one line, made of its records in the event log.

A summary is a projection of two records, `opened` and `terminal`, or of `request_rejected` alone.
It is never made of anything else, so one that was lost is made again from the segment, to the
byte. It holds no content: names, codes and numbers, the names cut to a length.
"""

from typing import Any, Final, NamedTuple

import msgspec

from engine.log.content import mask
from engine.log.format import records, sealed, stubs
from machines import events, parse

NAME_CHARACTERS: Final = 128
"""Characters of a name that are kept: names of models are a client's words. Ids of requests are
refused above this length (`server.api.gates`)."""

REJECTED: Final = "rejected"
"""The kind of a request that was refused before it was a stream."""

OPEN: Final = "open"
"""In place of the kind of a stream that has no last record."""

LIFE: Final = "process"
"""In place of the kind of a worker process's life (`wk_…`), which no sidecar has a row of."""

LIFE_PREFIX: Final = "wk_"
"""How the id of a worker process's life begins."""

ROW: Final = b'{"summary":'
"""How a row begins."""


class Counts(events.Usage, frozen=True, gc=False, omit_defaults=True, forbid_unknown_fields=False):
    """Token counts as the log has them; a later version may count more."""


class Opening(msgspec.Struct, frozen=True, gc=False):
    """The part of an `opened` record that its stream's summary repeats."""

    stream: str
    t: int
    request_id: str = ""
    completion_id: str = ""
    model: str = ""
    target: str = ""
    worker: str = ""
    endpoint: str = events.CHAT
    effort: str | None = None
    n: int = 1
    streaming: bool = True
    key: str = ""
    content: str = "full"


class Begun(NamedTuple):
    """The beginning of a stream, and where it is."""

    place: tuple[int, int]
    opening: Opening


class _Ending(msgspec.Struct, frozen=True, gc=False):
    """The part of a `terminal` or `request_rejected` record that a summary repeats."""

    stream: str
    t: int
    event: str
    request_id: str = ""
    kind: str = REJECTED
    trigger: str = msgspec.field(default="", name="emission_trigger")
    status: int = 0
    code: str | None = None
    cause: str | None = None
    finish_reasons: tuple[str | None, ...] = ()
    usage: Counts | None = None
    usage_source: str = "counted"
    frames: int = 0
    body_bytes: int = 0
    ttft_us: int | None = None
    duration_us: int = 0
    longest_gap_us: int = 0
    longest_gap_owner: str | None = None
    first_content_us: int | None = None
    parked_us: int = 0
    own_us: int | None = None
    tool_calls: int = 0
    tool_calls_withheld: int = 0
    tool_calls_dropped: int = 0
    tool_buffers_started: int = 0
    tool_buffers_flushed: int = 0
    tool_buffers_aborted: dict[str, int] = msgspec.field(default_factory=dict)
    method: str = ""
    route: str = ""
    key: str = ""
    model: str = ""
    count: int = 1
    process: str = ""


class Summary(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """One request that has ended.

    Attributes:
        summary: id of its stream, or of its refusal (`rj_…`).
        at: number of the segment that has its last record, and the offset there.
        begun: the same of its first record, where that was found and is another.
        t: when it ended, in microseconds since the epoch.
        completion_id: id of the answer, `chatcmpl-…` or `resp_…`; empty of a refusal.
        kind: a terminal's, or `rejected`; where a reader of the log makes a row of what has not
            ended, `open` or `process`.
        trigger: the tag of the event that ended a stream; empty of a refusal.
        endpoint: of a stream; empty of a refusal, whose `route` and `method` are known instead.
        model: as the client wrote it, cut to `NAME_CHARACTERS`, and masked in a masked log where
            it is not spelled as a name; so are `target` and `effort`.
        process: the worker process that ran it (`wk_…`); empty where none is known.
        key: name of the key that it was asked with; empty where there was none, or none is known.
        usage: None where the counts are unknown; a refusal has none.
        count: how many refusals it stands for.
        purged: when its records were erased, in microseconds since the epoch; 0: they were not.
    """

    summary: str
    at: tuple[int, int]
    t: int
    begun: tuple[int, int] | None = None
    request_id: str = ""
    completion_id: str = ""
    kind: str = REJECTED
    status: int = 0
    code: str | None = None
    cause: str | None = None
    trigger: str = ""
    endpoint: str = ""
    method: str = ""
    route: str = ""
    model: str = ""
    target: str = ""
    worker: str = ""
    process: str = ""
    effort: str | None = None
    n: int = 1
    streaming: bool = True
    key: str = ""
    finish_reasons: tuple[str | None, ...] = ()
    usage: Counts | None = None
    usage_source: str = "counted"
    frames: int = 0
    body_bytes: int = 0
    ttft_us: int | None = None
    duration_us: int = 0
    longest_gap_us: int = 0
    longest_gap_owner: str | None = None
    first_content_us: int | None = None
    parked_us: int = 0
    own_us: int | None = None
    tool_calls: int = 0
    tool_calls_withheld: int = 0
    tool_calls_dropped: int = 0
    tool_buffers_started: int = 0
    tool_buffers_flushed: int = 0
    tool_buffers_aborted: dict[str, int] = msgspec.field(default_factory=dict)
    count: int = 1
    purged: int = 0

    @property
    def is_refusal(self) -> bool:
        """Whether the request was refused before it was a stream."""
        return self.kind == REJECTED and not self.trigger

    @property
    def is_life(self) -> bool:
        """Whether it is of a worker process, and not of a request."""
        return self.summary.startswith(LIFE_PREFIX)

    @property
    def began_us(self) -> int:
        """When it began, in microseconds since the epoch."""
        return self.t - self.duration_us


class _Left(Summary, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """A summary without the place that it has not got."""

    summary: str = ""
    at: tuple[int, int] = (0, 0)


OF_PURGED: Final = (
    *("t", "kind", "status", "code", "cause", "trigger", "finish_reasons", "count"),
    *("endpoint", "method", "route", "model", "target", "worker", "effort", "n", "streaming"),
    *("key", "usage", "usage_source", "frames", "body_bytes", "ttft_us", "duration_us"),
    *("longest_gap_us", "longest_gap_owner", "first_content_us", "parked_us", "own_us"),
    *("tool_calls", "tool_calls_withheld", "tool_calls_dropped"),
    *("tool_buffers_started", "tool_buffers_flushed", "tool_buffers_aborted"),
)
"""Members of a summary that outlive a stream's erasure: how it ended, what it cost and whose key
that is counted to. Its client's ids are not among them."""

_OPENINGS: Final = msgspec.json.Decoder(Opening)
_LEFT: Final = msgspec.json.Decoder(_Left)
_ENDINGS: Final = msgspec.json.Decoder(_Ending)
_SUMMARIES: Final = msgspec.json.Decoder(Summary)
_encode: Final = msgspec.json.Encoder().encode
_SAME: Final = tuple(
    name
    for name in _Ending.__struct_fields__
    if name in Summary.__struct_fields__ and name not in ("request_id", "key", "model", "code")
)
"""Members of the last record that a summary has under the same name, as they are."""

_OF_FIRST: Final = (
    *("request_id", "completion_id", "endpoint", "model", "target", "worker"),
    *("effort", "n", "streaming", "key"),
)
"""Members of a summary that its first record tells."""


def opening(place: tuple[int, int], line: bytes) -> Begun:
    """Read an `opened` record.

    Raises:
        ParseError: it is none.
    """
    return Begun(place, parse.parse(line, _OPENINGS, records.DEPTH))


def stream_of(line: bytes) -> str:
    """Return the stream that a last record is of, where it is one that had a beginning; else an
    empty text.

    Raises:
        ParseError: it is no last record.
    """
    ending = parse.parse(line, _ENDINGS, records.DEPTH)
    return ending.stream if ending.event == "terminal" else ""


def summarize(at: tuple[int, int], line: bytes, begun: Begun | None) -> Summary:
    """Make the summary of a request from its last record.

    Args:
        at: where that is.
        begun: None where there is no beginning, or it is not there any more.

    Raises:
        ParseError: it is no last record.
    """
    ending = parse.parse(line, _ENDINGS, records.DEPTH)
    told: dict[str, Any] = {name: getattr(ending, name) for name in _SAME}
    told |= {"summary": ending.stream, "at": at}
    told["code"] = ending.code and _kept_code(ending.code)
    if begun is None:
        request_id = ending.request_id[:NAME_CHARACTERS]
        model = ending.model[:NAME_CHARACTERS]  # masked already, where the log is
        return Summary(request_id=request_id, key=ending.key, model=model, **told)
    return Summary(begun=begun.place, **_asked(begun.opening), **told)


def still_open(begun: Begun, now_us: int) -> Summary:
    """Make the row of a stream that has not ended.

    Args:
        now_us: up to when that is known.
    """
    opened = begun.opening
    lasts = max(0, now_us - opened.t)
    return Summary(
        summary=opened.stream,
        at=begun.place,
        t=opened.t + lasts,
        begun=begun.place,
        kind=OPEN,
        duration_us=lasts,
        **_asked(opened),
    )


def passing(place: tuple[int, int], line: bytes) -> Summary:
    """Make the row of what has neither a first record nor a last one that is known, from any of
    its records: a process's life, or a stream of which a file has the middle.

    Raises:
        ParseError: it is no record.
    """
    record = parse.parse(line, _OPENINGS, records.DEPTH)
    kind = LIFE if record.stream.startswith(LIFE_PREFIX) else OPEN
    return Summary(summary=record.stream, at=place, t=record.t, kind=kind)


def _asked(opened: Opening) -> dict[str, Any]:
    """Return the members of a summary that its first record has."""
    name = _kept_name if opened.content == "full" else _masked_name
    return {
        "request_id": opened.request_id[:NAME_CHARACTERS],
        "completion_id": opened.completion_id[:NAME_CHARACTERS],
        "endpoint": opened.endpoint,
        "model": name(opened.model),
        "target": name(opened.target),
        "worker": opened.worker,
        "effort": opened.effort and name(opened.effort),
        "n": opened.n,
        "streaming": opened.streaming,
        "key": opened.key,
    }


def begun_as(made: Summary, begun: Begun) -> Summary:
    """Return a summary that was made without its first record, with what that says."""
    return msgspec.structs.replace(made, begun=begun.place, **_asked(begun.opening))


def asked_as(made: Summary, summary: Summary) -> Summary:
    """Return a summary that was made without a first record, with what another has of that."""
    told: dict[str, Any] = {name: getattr(summary, name) for name in ("begun", *_OF_FIRST)}
    return msgspec.structs.replace(made, **told)


def left_of(summary: Summary, *, forgets_key: bool = False) -> dict[str, Any]:
    """Return what the last stub of an erased stream keeps of its summary.

    Args:
        forgets_key: whether the name of its key goes too.
    """
    members = msgspec.to_builtins(summary)
    if forgets_key:
        members.pop("key", None)
    return {name: members[name] for name in OF_PURGED if name in members}


def purged(summary: Summary, now_us: int, *, forgets_key: bool = False) -> Summary:
    """Return what is left of the summary of a stream that was erased, as its stub would have it.

    Args:
        now_us: when that was, in microseconds since the epoch.
    """
    left = {name: getattr(summary, name) for name in OF_PURGED}
    if forgets_key:
        left["key"] = ""
    return Summary(summary=summary.summary, at=summary.at, purged=now_us, **left)


def of_stub(at: tuple[int, int], line: bytes) -> Summary:
    """Make the summary of an erased stream from the stub of its last record.

    Args:
        at: where that is.

    Raises:
        ParseError: it is no such stub.
    """
    stub = stubs.read(line)
    left = parse.parse(stub.ended, _LEFT, records.DEPTH)
    told = {name: getattr(left, name) for name in OF_PURGED}
    return Summary(summary=stub.stream, at=at, purged=stub.purged, **told)


def _kept_code(code: str) -> str:
    """Return a provider's own code, of any length that the log has, and a sentence masked: a
    summary outlives the contents."""
    return code if mask.is_code(code) else mask.mask_code(code)


def _kept_name(name: str) -> str:
    """Return a name as a log with contents has it."""
    return name[:NAME_CHARACTERS]


def _masked_name(name: str) -> str:
    """Return a name without what a client may have put in its place; older logs have that."""
    return name and mask.mask_name(name[:NAME_CHARACTERS])


def written(summary: Summary) -> bytes:
    """Return the line of a summary."""
    return sealed.seal(_encode(summary)[:-1])


def read(line: bytes) -> Summary | None:
    """Return the summary of a line; None where it is not as it was written, or none that this
    version can read."""
    if not sealed.is_sealed(line) or not line.startswith(ROW):
        return None
    try:
        return parse.parse_outer(line, _SUMMARIES)  # sealed: nobody else wrote it, or nests it
    except parse.ParseError:
        return None
