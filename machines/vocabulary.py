"""The words and counts that records of the log have in common, and what every event is."""

from typing import Literal

import msgspec

TerminalKind = Literal[
    "completed",
    "truncated",
    "empty",
    "upstream_error",
    "timeout",
    "client_gone",
    "worker_lost",
    "rejected",
    "shutdown",
    "defect",
]
"""How a stream ended: the `kind` of its one terminal record. `defect` is a bug of ours, and never
the client's or a provider's fault."""

TimerName = Literal[
    "heartbeat",
    "head_hold",
    "first_chunk",
    "idle",
    "total",
    "finish_grace",
    "truncate",
    "tool_grace",
]
"""The deadlines of a stream; see `engine.stream.deadlines` for their lengths."""

GoneCause = Literal["left", "write_stall", "cancelled"]
"""Why there is no client: it closed its connection, it stopped reading, or it asked for an end."""

ReasoningKind = Literal["summary", "text"]
"""The forms of a model's shown thinking: a summary, or the thinking itself."""


class Usage(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, forbid_unknown_fields=True):
    """Token counts as a worker reported them."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    reasoning_tokens: int = 0

    @property
    def total_tokens(self) -> int:
        """Prompt and completion together, as the API defines it."""
        return self.prompt_tokens + self.completion_tokens


class StreamEvent(
    msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag_field="event", tag=True
):
    """Anything that can happen to a stream."""
