"""The place of a request in its client's trace, as W3C Trace Context has it.

The ids are chosen when the request comes, since an upstream is told one of them. The spans that
have them are made when the request has ended: `server.tracing` does both.
"""

from typing import Final

import msgspec

SAMPLED: Final = 0x01
"""The flag of a trace that is recorded (W3C Trace Context §3.2.2.5)."""

RANDOM: Final = 0x02
"""The flag of a trace id whose right half is random (Trace Context Level 2); it is passed on."""


class TraceContext(msgspec.Struct, frozen=True):
    """The ids of one request's spans.

    Attributes:
        trace_id: of 128 bits; the client's own, where it sent one.
        parent_id: the span of the client that asked; 0: there is none.
        request_id: the span of the request, from its head to the end of its answer.
        answer_id: the span of the model's answer within it, of which upstreams are told.
        flags: whether the trace is recorded.
        state: the client's `tracestate`, as it is passed on; empty without one.
    """

    trace_id: int
    parent_id: int
    request_id: int
    answer_id: int
    flags: int
    state: str = ""

    @property
    def is_sampled(self) -> bool:
        """Whether spans are made."""
        return bool(self.flags & SAMPLED)

    @property
    def trace(self) -> str:
        """The trace id, as it is written."""
        return f"{self.trace_id:032x}"

    def headers(self) -> tuple[tuple[str, str], ...]:
        """Return what a server that is asked for the answer is told of the trace."""
        parent = ("traceparent", f"00-{self.trace}-{self.answer_id:016x}-{self.flags:02x}")
        return (parent, ("tracestate", self.state)) if self.state else (parent,)
