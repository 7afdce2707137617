"""The last record of a stream."""

import msgspec

from machines.vocabulary import (
    GapOwner,
    GoneCause,
    StreamEvent,
    TerminalKind,
    Usage,
    UsageSource,
)


class Terminal(StreamEvent, frozen=True, tag="terminal", kw_only=True):
    """The last record of a stream; usage, metrics and the access log are projections of it.

    Attributes:
        emission_trigger: tag of the event that ended the stream.
        finish_reasons: canonical, one a choice, None where a choice never finished.
        finish_words: what the worker said, where it was not canonical.
        usage: None where the counts are unknown.
        usage_source: `estimated` where any of them is.
        frames: data frames handed to the socket.
        body_bytes: bytes of the body before HTTP framing.
        body_hash: keyed BLAKE2b-128 of that body, hex.
        ttft_us: from the opening to the first content or reasoning; None without one.
        first_content_us: from the opening to the first text, refusal or call; None without one.
        longest_gap_us: longest silence between two events of the stream.
        longest_gap_owner: whose it was; None in older logs, where it is the worker's.
        parked_us: how long the turn had waited for the results that the request brought.
        heartbeats: comments that kept the connection alive.
        tool_calls: calls that went to the client.
        tool_calls_withheld: whole calls that did not, by the server's limits.
        tool_calls_dropped: calls of a step that never was whole.
        tool_buffers_aborted: textual blocks that were none after all, by reason.
        process: id of the life of the process that ran its last turn; empty where none of ours
            did, and in older logs.
        own_us: time that was the server's own, before its head or its worker; None: not measured.
    """

    kind: TerminalKind
    emission_trigger: str
    status: int
    finish_reasons: tuple[str | None, ...] = ()
    finish_words: tuple[str | None, ...] = ()
    code: str | None = None
    cause: GoneCause | None = None
    usage: Usage | None = None
    usage_source: UsageSource = "counted"
    frames: int = 0
    body_bytes: int = 0
    body_hash: str | None = None
    ttft_us: int | None = None
    duration_us: int = 0
    longest_gap_us: int = 0
    tool_calls: int = 0
    tool_calls_withheld: int = 0
    tool_calls_dropped: int = 0
    tool_buffers_started: int = 0
    tool_buffers_flushed: int = 0
    tool_buffers_aborted: dict[str, int] = msgspec.field(default_factory=dict)
    first_content_us: int | None = None
    longest_gap_owner: GapOwner | None = None
    parked_us: int = 0
    heartbeats: int = 0
    own_us: int | None = None
    process: str = ""
