"""The words and counts that records of the log have in common, and what every event is."""

from typing import Final, Literal

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

GapOwner = Literal["worker", "client", "server", "queued"]
"""Whose a silence was: the worker's, a client's that did not read, ours (the event loop was held,
or we waited before another try), or that of the wait for a free place on a process."""

ReasoningKind = Literal["summary", "text", "commentary"]
"""The forms of a model's shown thinking: a summary, the thinking itself, or a message that only
comments on its work."""

Phase = Literal["commentary", "final_answer"]
"""The phases of a model's message. Source: `ResponseOutputMessage.phase` of the API."""

EmptyMessage = Literal["always", "completed", "never"]
"""When an answer without a message ends with an empty one: always, as older logs have it; unless
it is incomplete, for a chat completion is a message itself; never, where the worker tells of each
message."""


UsageSource = Literal["counted", "estimated"]
"""Where token counts are from: the worker, or an estimate for a turn that was cut here."""


ReasoningMember = Literal["reasoning_content", "reasoning"]
"""The names under which Chat Completions answers tell a model's thinking: none is of the API."""

MembersPlace = Literal["chunk", "choice", "delta", "usage"]
"""The object of a Chat Completions answer that members belong to. A message is told as deltas, so
its members are a delta's."""

OF_ALL: Final = ("chunk", "usage")
"""The places that are no choice's: what is there goes with the frames of any."""

CallKind = Literal["function", "custom"]
"""The kinds of a call: its arguments are JSON, or a text as the model wrote it."""

NO_MEMBERS: Final = msgspec.Raw(b"{}")
"""An object of no members."""

NoText = Literal["unsaid", "null", "empty"]
"""The form that an upstream gives to the content of an answer without text: none, null, or an
empty text."""


class Usage(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, forbid_unknown_fields=True):
    """Token counts of an answer.

    Attributes:
        other_tokens: those of its total that it counts neither as prompt nor as completion: some
            providers leave the reasoning out of both.
    """

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    other_tokens: int = 0

    @property
    def total_tokens(self) -> int:
        """Prompt and completion together, as the API defines it, and what the worker counts
        beside."""
        return self.prompt_tokens + self.completion_tokens + self.other_tokens

    def larger(self, other: "Usage") -> "Usage":
        """Return the larger of two counts, field by field: they may be repeated as they grow, and
        are never summed."""
        return Usage(
            max(self.prompt_tokens, other.prompt_tokens),
            max(self.completion_tokens, other.completion_tokens),
            max(self.cached_tokens, other.cached_tokens),
            max(self.reasoning_tokens, other.reasoning_tokens),
        ).with_total(max(self.total_tokens, other.total_tokens))

    def with_total(self, total: int) -> "Usage":
        """Return counts that add up to a total, where that is larger."""
        other = max(0, total - self.prompt_tokens - self.completion_tokens)
        return msgspec.structs.replace(self, other_tokens=other)


class StreamEvent(
    msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag_field="event", tag=True
):
    """Anything that can happen to a stream."""
