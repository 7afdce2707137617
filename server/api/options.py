"""The options of an answer, whichever endpoint its request came to."""

from typing import Final

import msgspec

from engine import worker
from engine.routing import models
from engine.stream import estimate
from machines import events, tooloptions
from server.http import reading

UNREACHABLE_BYTES: Final = 1 << 53
"""A limit that no answer reaches, in bytes: any larger one is recorded as this, which every reader
of JSON keeps exact (RFC 8259 §6)."""

USUAL_TIERS: Final = ("auto", "default")
"""The values of `service_tier` that ask for nothing."""


class SearchOptions(msgspec.Struct, frozen=True):
    """A wish that the worker may search the web, which an operator allows for each model.

    Attributes:
        paths: where the request says so.
        unheard: paths of what it says about the search that no worker honours.
    """

    paths: tuple[str, ...]
    unheard: tuple[str, ...] = ()
    access: worker.SearchAccess = "live"


class AnswerOptions(msgspec.Struct, frozen=True, kw_only=True):
    """A request's options as the rest of the server sees them, whichever API it came by.

    Attributes:
        stop: sequences that end the answer here.
        max_bytes: of content, before the answer is cut here; None for no limit.
        tool_shapes: of those tools that the client did not declare as functions, by name.
        most_calls: that a choice may have, 0 for as many as it likes.
        reasoning_summary: how the thinking is to be told; None: as the model has it.
        verbosity: how much the answer shall say; None: as the model has it.
        service_tier: that it is made in; None for the usual one.
        search: None where the request wants none of the web.
        ignored: names of what nothing honours.
        emulated: names of what is done by other means.
        choices_a_turn: whether one turn answers every choice, or each has its own.
        stored: whether the answer is kept for later requests.
        reasoning_items: whether its reasoning is wanted in the form that only its provider reads.
        separate_items: whether each item of the provider's is told by itself, and not joined.
        empty_message: when an answer without a message ends with an empty one.
        conversation: the client's own name of the conversation; empty without one.
        body: the members of a chat request, for a worker that passes it on.
        body_bytes: UTF-8 bytes of the prompt in it, where `messages` has none.
        prompts: the options of each prompt, where the choices answer several: as many each, in
            their order, and each in a turn of its own.
    """

    model: str
    stream: bool
    include_usage: bool
    n: int
    output_mode: tooloptions.OutputMode
    tools: tuple[worker.Tool, ...] = ()
    tool_shapes: dict[str, tooloptions.ToolShape] = {}
    call_required: bool = False
    parallel_calls: bool = True
    most_calls: int
    legacy: bool = False
    stop: tuple[str, ...] = ()
    max_bytes: int | None = None
    effort: str | None = None
    reasoning_summary: str | None = None
    verbosity: str | None = None
    service_tier: str | None = None
    search: SearchOptions | None = None
    output_schema: msgspec.Raw | None = None
    messages: tuple[worker.Message, ...] = ()
    ignored: tuple[str, ...] = ()
    emulated: tuple[str, ...] = ()
    choices_a_turn: int = 1
    conversation: str = ""
    body: reading.Members = {}
    body_bytes: int = 0
    prompts: "tuple[AnswerOptions, ...]" = ()
    stored: bool = False
    reasoning_items: bool = False
    separate_items: bool = False
    empty_message: events.EmptyMessage = "always"


def tier_of(named: str | None) -> tuple[str | None, tuple[str, ...]]:
    """Return the tier that a turn is to name, and the name of the field where it can name no such
    tier."""
    if named in models.SERVICE_TIERS:
        return named, ()
    return None, () if named in (None, *USUAL_TIERS) else ("service_tier",)


def bytes_of(max_tokens: int | None) -> int | None:
    """Return the bytes of content that so many tokens stand for."""
    if not max_tokens:
        return None
    return min(max_tokens * estimate.BYTES_PER_TOKEN, UNREACHABLE_BYTES)
