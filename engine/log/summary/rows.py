"""The summary of an ended request: one line, made of its records in the event log.

A summary is a projection of two records, `opened` and `terminal`, or of `request_rejected` alone.
It is never made of anything else, so one that was lost is made again from the segment, to the
byte. It holds no content: names, codes and numbers, the names cut to a length.
"""

from typing import Any, Final, NamedTuple

import msgspec

from engine.log.content import mask
from engine.log.format import records, sealed
from machines import events, parse

NAME_CHARACTERS: Final = 128
"""Characters of a name that are kept: names of models are a client's words. Ids of requests are
refused above this length (`server.api.gates`)."""

REJECTED: Final = "rejected"
"""The kind of a request that was refused before it was a stream."""

ROW: Final = b'{"summary":'
"""How a row begins."""


class Counts(events.Usage, frozen=True, gc=False, omit_defaults=True, forbid_unknown_fields=False):
    """Token counts as the log has them; a later version may count more."""


class Opening(msgspec.Struct, frozen=True, gc=False):
    """The part of an `opened` record that its stream's summary repeats."""

    stream: str
    t: int
    request_id: str = ""
    model: str = ""
    target: str = ""
    worker: str = ""
    endpoint: str = events.CHAT
    effort: str | None = None
    n: int = 1
    streaming: bool = True
    key: str = ""


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
    count: int = 1


class Summary(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """One request that has ended.

    Attributes:
        summary: id of its stream, or of its refusal (`rj_…`).
        at: number of the segment that has its last record, and the offset there.
        begun: the same of its first record, where that was found and is another.
        t: when it ended, in microseconds since the epoch.
        kind: a terminal's, or `rejected`.
        trigger: the tag of the event that ended a stream; empty of a refusal.
        endpoint: of a stream; empty of a refusal, whose `route` and `method` are known instead.
        model: as the client wrote it, cut to `NAME_CHARACTERS`, and masked where it is not spelled
            as a name; so is `target`.
        key: name of the key that it was asked with; empty where there was none, or none is known.
        usage: None where the counts are unknown; a refusal has none.
        count: how many refusals it stands for.
    """

    summary: str
    at: tuple[int, int]
    t: int
    begun: tuple[int, int] | None = None
    request_id: str = ""
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

    @property
    def is_refusal(self) -> bool:
        """Whether the request was refused before it was a stream."""
        return not self.trigger


_OPENINGS: Final = msgspec.json.Decoder(Opening)
_ENDINGS: Final = msgspec.json.Decoder(_Ending)
_SUMMARIES: Final = msgspec.json.Decoder(Summary)
_encode: Final = msgspec.json.Encoder().encode
_SAME: Final = tuple(
    name
    for name in _Ending.__struct_fields__
    if name in Summary.__struct_fields__ and name not in ("request_id", "key", "code")
)
"""Members of the last record that a summary has under the same name, as they are."""


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
    told["code"] = ending.code and mask.mask_code(ending.code)
    if begun is None:
        request_id = ending.request_id[:NAME_CHARACTERS]
        return Summary(request_id=request_id, key=ending.key, **told)
    opened = begun.opening
    return Summary(
        begun=begun.place,
        request_id=opened.request_id[:NAME_CHARACTERS],
        endpoint=opened.endpoint,
        model=_name(opened.model),
        target=_name(opened.target),
        worker=opened.worker,
        effort=opened.effort and _name(opened.effort),
        n=opened.n,
        streaming=opened.streaming,
        key=opened.key,
        **told,
    )


def _name(name: str) -> str:
    """Return a name as far as it is kept: a client may have put a sentence in its place."""
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
        return parse.parse(line, _SUMMARIES, records.DEPTH)
    except parse.ParseError:
        return None
