"""The options of an answer, whichever endpoint its request came to."""

from typing import Final

import msgspec

from engine import worker
from machines import tooloptions
from server.http import reading

BYTES_PER_TOKEN: Final = 4
"""UTF-8 bytes that count as one token, because no tokenizer is at hand: `max_tokens` cuts by
it."""

UNREACHABLE_BYTES: Final = 1 << 53
"""A limit that no answer reaches, in bytes: any larger one is recorded as this, which every reader
of JSON keeps exact (RFC 8259 §6)."""


class AnswerOptions(msgspec.Struct, frozen=True, kw_only=True):
    """A request's options as the rest of the server sees them, whichever API it came by.

    Attributes:
        stop: sequences that end the answer here.
        max_bytes: of content, before the answer is cut here; None for no limit.
        most_calls: that a choice may have, 0 for as many as it likes.
        reasoning_summary: how the thinking is to be told; None: as the model has it.
        ignored: names of what nothing honours.
        emulated: names of what is done by other means.
        choices_a_turn: whether one turn answers every choice, or each has its own.
        stored: whether the answer is kept for later requests.
        reasoning_items: whether the items of its reasoning are wanted.
        body: the members of a chat request, for a worker that passes it on.
    """

    model: str
    stream: bool
    include_usage: bool
    n: int
    output_mode: tooloptions.OutputMode
    tools: tuple[worker.Tool, ...] = ()
    call_required: bool = False
    parallel_calls: bool = True
    most_calls: int
    legacy: bool = False
    stop: tuple[str, ...] = ()
    max_bytes: int | None = None
    effort: str | None = None
    reasoning_summary: str | None = None
    output_schema: msgspec.Raw | None = None
    messages: tuple[worker.Message, ...] = ()
    ignored: tuple[str, ...] = ()
    emulated: tuple[str, ...] = ()
    choices_a_turn: int = 1
    body: reading.Members = {}
    stored: bool = False
    reasoning_items: bool = False


def bytes_of(max_tokens: int | None) -> int | None:
    """Return the bytes of content that so many tokens stand for."""
    if not max_tokens:
        return None
    return min(max_tokens * BYTES_PER_TOKEN, UNREACHABLE_BYTES)
